"""What `mesh up` waits for and `mesh status` shows of an executor of several instruments."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.support.executor_tape import ASK, BID, LOT, Tape, intents, make
from tests.support.parent_scene import Scene
from tickmesh.bus.config import Config
from tickmesh.bus.schema import FUNDING, GapState, Kind
from tickmesh.bus.settings import Instrument, Mesh, ModelSettings
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings, StrategySettings
from tickmesh.bus.wire import encode
from tickmesh.nodes.orders.commands import KillSwitch, SwitchStrategy
from tickmesh.tools import status, status_shown, terminal, trading, up, verdict
from tickmesh.tools.log_window import LogWindow
from tickmesh.tools.paused import lost, paused_because
from tickmesh.tools.seen import seen_sentence

SYMBOLS = ("BTCUSDT", "ETHUSDT")
BTC, ETH = SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
ALL = ("binance.*",)


def beat(step, tape: Tape):
    """The executor's health in the log."""
    return tape.log(encode(Kind.health, "executor", {"pid": 1, **step.counters()}), "executor")


def observed(*refused: str) -> up.Observed:
    """What `up` sees of an executor of two instruments that refused a signal about each of these, for its size."""
    step, tape = make(SYMBOLS, instruments=ALL, order_quantity="0.000000001"), Tape()
    tape.opened(step, SUBJECTS)
    step.step([tape.signal(1.0, subject=subject) for subject in refused])
    return up.Observed("executor", beats={"executor": beat(step, tape).map()})


def test_an_executor_cannot_trade_when_it_can_trade_none_of_its_instruments():
    assert observed().cannot_trade() == {} and not observed().no_trading
    assert observed(ETH).cannot_trade() == {ETH: "1 refused for quantity"}
    assert not observed(ETH).no_trading, "of the other one nothing is known yet"
    assert observed(ETH, BTC).no_trading
    assert not up.Observed("executor").no_trading


def test_what_up_has_seen_is_not_called_none_a_second():
    rates, counts = {"trade": 29.0, "intent": 0.0, "fill": 0.0}, {"trade": 80, "intent": 3, "fill": 0}
    assert seen_sentence(rates, counts) == "In the log: per second 29 trades; so far 3 intents; not yet any fill."
    assert seen_sentence({"depth": 0.0, "fill": 0.0}, {"depth": 2, "fill": 1}) == "In the log: so far 2 depth changes, 1 fill."
    assert seen_sentence({"trade": 1.0}, {"trade": 2}) == "In the log: per second 1 trade."
    seen = up.Observed("executor")
    seen.counts[Kind.fill] = 2
    seen.earlier = seen.counts.copy()
    seen.counts[Kind.trade] += 5
    assert (seen.recent[Kind.fill], seen.counts[Kind.fill], seen.recent[Kind.trade]) == (0, 2, 5)


@pytest.mark.parametrize(
    ("traded", "modelled", "waits"),
    [((), BTC, True), ((ETH,), BTC, False), ((ETH,), ETH, True), (ALL, BTC, True), (ALL, "*", True), ((), ETH, False)],
)
def test_an_order_is_waited_for_where_a_model_and_the_executor_meet(traded, modelled, waits):
    mesh = Mesh(
        instruments=tuple(Instrument(symbol) for symbol in SYMBOLS), models=(ModelSettings("m", "trade_flow", (modelled,)),),
        executor=ExecutorSettings(instruments=traded),
    )  # fmt: skip
    assert (Kind.intent in up.required_kinds(Config(mesh, Path("/nonexistent")))) == waits


def test_no_signal_is_waited_for_where_models_publish_features_alone():
    mesh = Mesh(models=(ModelSettings("m", "live_features", ("*",), features=("mid",)),))
    assert not {Kind.signal, Kind.intent} & set(up.required_kinds(Config(mesh, Path("/nonexistent"))))


def test_status_shows_positions_by_instrument_and_what_is_left_behind(monkeypatch):
    step, tape = make(SYMBOLS, instruments=ALL, styles=("limit",)), Tape()
    tape.opened(step, SUBJECTS)
    for published in [step.step([tape.signal(-1.0, subject=subject)]) for subject in SUBJECTS]:
        step.step([tape.log(event, "executor") for event in published])
        name = intents(published)[0]["client_order_id"]
    step.step([tape.fill(name, 3, LOT // 2, side=-1, subject=ETH)])
    after = make(SYMBOLS, instruments=(BTC,), styles=("limit",))
    after.step(tape.events)
    window = LogWindow()
    assert status.trading(window) is None
    window.add(beat(after, tape))
    counted = status.trading(window)
    assert counted["unlisted_orders"] == {ETH: 1} and counted["open_orders"] == 2 and counted["fills"] == 1
    page = io.StringIO()
    monkeypatch.setattr(status_shown, "out", Console(file=page, width=200))
    status_shown._show_trading(counted)
    rows = [line.split() for line in page.getvalue().splitlines() if line.strip().startswith("binance")]
    assert [row[:2] for row in rows[:2]] == [[BTC, "0"], [ETH, "-0.0005"]]
    assert f"{ETH}: 1 open order of ours, and executor.instruments does not list it" in page.getvalue()


def test_positions_show_fundings_by_strategy_instrument_and_in_all(monkeypatch):
    step, tape = make(("BTCUSDT",), (StrategySettings(name="fast"),)), Tape()
    tape.opened(step)
    (order,) = tape.answer(step, tape.signal(0.9))
    row = np.zeros(1, FUNDING)
    row["asset"], row["amount"], row["transaction_id"] = b"USDT", -12_345_678, 1
    step.step([tape.fill(order["client_order_id"], 3, LOT), tape.log(encode(Kind.funding, BTC, row))])
    monkeypatch.setattr(trading, "trading_config", lambda: None)
    monkeypatch.setattr(trading, "_counted", lambda _: beat(step, tape).map())
    result = trading.positions()
    assert result["fundings"] == {"USDT": pytest.approx(-0.12345678)} == result["positions"][BTC]["fundings"]
    page = io.StringIO()
    monkeypatch.setattr(trading.terminal, "out", Console(file=page, width=200))
    trading.show_positions(result)
    rows = [line.split() for line in page.getvalue().splitlines()]
    assert rows[1][:3] == ["fast", "live", BTC] and rows[2][:3] == ["in", "all", BTC]
    assert [row[-2] for row in rows[:3]] == [
        "funding",
        "-0.1235",
        "-0.1235",
    ] and "fundings: -0.12345678 USDT" in page.getvalue()


def test_positions_show_what_a_strategy_is_at(monkeypatch):
    scene = Scene("patient", lots=3 * LOT, patience_ms=60_000)
    (order,) = scene.signal()
    scene.accept(order)
    scene.fill(order, LOT)
    scene.see(scene.tape.gap(5, 9, GapState.open))
    counted = beat(scene.step, scene.tape).map()
    parent = counted["strategies"]["s"]["parents"][BTC]
    assert (parent["filled"], parent["wanted"], parent["orders"]) == (pytest.approx(0.001), pytest.approx(0.003), 1)
    half_spread = (ASK - BID) / 2 * LOT * 1e-16
    assert parent["shortfall"] == pytest.approx(7e-8 - half_spread), "bought at the bid, and the fee"
    page = io.StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=page, width=300))
    trading.show_positions(counted)
    (said,) = [line for line in page.getvalue().splitlines() if "parent" in line]
    assert said.startswith(
        f"s buys {BTC} by patient (parent {order['parent_seq']}): 0.001 of 0.003 done, 1 orders, shortfall so far"
    )
    assert said.endswith("; waits: gap")
    scene.over(order, filled=LOT)
    scene.see(scene.tape.clock(60_001))
    assert beat(scene.step, scene.tape).map()["strategies"]["s"]["parents"] == {}, "it is over"


def said_by(*commands) -> dict:
    """The health of an executor of two strategies, after these commands."""
    pair = (StrategySettings(name="fast"), StrategySettings(name="slow"))
    step, tape = make(SYMBOLS, pair, instruments=ALL), Tape()
    tape.opened(step, SUBJECTS)
    for command in commands:
        step.step([tape.command(command)])
    return beat(step, tape).map()


def test_up_does_not_wait_for_orders_that_nobody_may_send():
    off = [SwitchStrategy(name, "off", "operator") for name in ("fast", "slow")]
    thrown = KillSwitch(True, "operator", "the news")
    for commands, why in (
        ([thrown], "the kill switch is on: the news; `mesh kill-switch off` lifts it"),
        (off, "no strategy is live: fast is off, slow is off"),
    ):
        seen = up.Observed("executor", beats={"executor": said_by(*commands)})
        assert seen.no_trading and seen.cannot_trade() == {"all": why}
    assert not up.Observed("executor", beats={"executor": said_by(off[0])}).no_trading, "the other one is live"


@pytest.mark.parametrize(("patterns", "waits"), [(("m",), True), (("x*", "m*"), True), (("x*",), False)])
def test_an_order_is_waited_for_where_a_strategy_acts_on_a_model(patterns, waits):
    models = tuple(ModelSettings(name, "trade_flow", (BTC if name == "m" else ETH,)) for name in ("m", "x"))
    strategies = (StrategySettings(models=patterns, instruments=(BTC,)),)
    mesh = Mesh(instruments=tuple(Instrument(symbol) for symbol in SYMBOLS), models=models, strategies=strategies)
    assert (Kind.intent in up.required_kinds(Config(mesh, Path("/nonexistent")))) == waits


def test_status_says_that_the_kill_switch_is_on_and_which_limit_stopped_a_strategy(tmp_path):
    stopped = SwitchStrategy("fast", "off", "executor", "3 lost; daily_loss_max allows 2")
    by_hand = SwitchStrategy("slow", "off", "operator", "lunch")
    window, tape = LogWindow(), Tape()
    window.add(tape.log(encode(Kind.health, "executor", said_by(KillSwitch(True, "operator", "the news"), stopped, by_hand))))
    found = list(verdict.trading(verdict.Seen(config=Config(Mesh(), tmp_path), now_ns=0, window=window)))
    assert [str(one) for one in found] == [
        "kill switch: nothing is traded: the news (by operator); `mesh kill-switch off` lifts it",
        "strategy fast: it is off: 3 lost; daily_loss_max allows 2; `mesh strategy fast on` switches it on",
    ]
    assert verdict.trading in verdict.FINDERS


def test_status_shows_what_is_on_the_account_beside_our_own(monkeypatch):
    tape, window = Tape(), LogWindow()
    assert status.session_counts(window) is None
    counts = {"pid": 1, "foreign": 3, "adopted": 2, "contradictions": 0, "clock_skew_ms": 1.5, "fills": 9}
    window.add(tape.log(encode(Kind.health, "session", counts), "session"))
    seen = status.session_counts(window)
    assert seen == {"session": {"foreign": 3, "adopted": 2, "contradictions": 0, "clock_skew_ms": 1.5}}
    page = io.StringIO()
    monkeypatch.setattr(status_shown, "out", Console(file=page, width=200))
    status_shown._show_session(seen)
    assert (
        page.getvalue().strip()
        == "seen by session: 2 orders adopted that the log did not know, 3 reports of somebody else's orders"
    )
    page.truncate(0)
    status_shown._show_session({"session": {"foreign": 0, "adopted": 0, "contradictions": 0}})
    assert not page.getvalue().strip("\0"), "nothing of it is nothing to be shown"


def test_what_is_lost_pauses_by_name_and_age():
    config = Config(Mesh(instruments=(Instrument("BTCUSDT"),), risk=RiskSettings(lost_pause_s=5.0)), Path("/nonexistent"))
    tape, window = Tape(), LogWindow()
    assert lost(config, window, tape.now_ns) == {"sequencer": 0.0}
    window.add(tape.log(encode(Kind.health, "session", {"pid": 1}), "session"))
    window.add(tape.clock(2000))
    assert lost(config, window, tape.now_ns + 1) == {"executor": 0.0}, "it is not in what was read back"
    window.add(tape.log(encode(Kind.health, "executor", {"pid": 1}), "executor"))
    window.add(tape.clock(4000))
    assert lost(config, window, tape.now_ns + 1) == {"session": 6.0}
    assert paused_because({"session": 6.0}, 30.0) == ["session has not been heard of for 6 s; after 30 s the kill switch is on"]
    assert lost(config, window, tape.now_ns + 5 * 10**9) == {"sequencer": 5.0}, "a log that stands still says nothing of others"
