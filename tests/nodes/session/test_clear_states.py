"""What the local exchange refuses again and again: a clear state, a sentence with what to do, and no retry storm."""

import asyncio
import os

import pytest

from tests.support.faults_scene import command_fault, end_fault
from tests.support.session_at_exchange import PATIENCE_S, at_exchange
from tests.support.waiting import until
from tickmesh.bus.process import Stopped

PAUSE = (0.6, 8.0)  # refused_pause_s in these tests; refused at 0 s, then after 0.6, 1.2, 2.4 s more
STORM_S = 4.0
TRIES_MAX = 7  # within STORM_S: as many as begin a pause at most, then one after each
ENDS = ("Rejected", "Expired", "New")  # of orders in these tests; New: one that still waited when it was over
NO_PERMISSION = "Invalid API-key, IP, or permissions for action."
INSUFFICIENT = "Account has insufficient balance for requested action."
NO_MARGIN = "Margin is insufficient."

# Each at spot or at USD-M, by the words there; what a code means at which venue: tests/nodes/venues
REFUSALS = {
    "withdrawn permission": ("may_not_trade", "binance.account", dict(status=400, code=-2015, message=NO_PERMISSION)),
    "withdrawn futures": ("may_not_trade", "binance_usdm.account", dict(status=400, code=-2015, message=NO_PERMISSION)),
    "no balance": ("balance_too_small", "binance.BTCUSDT buy", dict(status=400, code=-2010, message=INSUFFICIENT)),
    "no margin": ("balance_too_small", "binance_usdm.BTCUSDT buy", dict(status=400, code=-2019, message=NO_MARGIN)),
    "filter": ("orders_against_rules", "binance.BTCUSDT", dict(status=400, code=-1013, message="Filter failure: LOT_SIZE")),
    "least notional": ("orders_against_rules", "binance_usdm.BTCUSDT", dict(status=400, code=-4164, message="Order's worth")),
    "closed market": ("trading_halted", "binance.BTCUSDT", dict(status=400, code=-2010, message="Market is closed.")),
    "delisted": ("not_listed", "binance_usdm.BTCUSDT", dict(status=400, code=-1121, message="Invalid symbol.")),
    "overloaded": ("venue_unwell", "binance.account", dict(status=503, code=-1008, message="Server is currently overloaded.")),
    "unwell": ("venue_unwell", "binance_usdm.account", dict(status=500, code=-1001, message="Internal error; try again.")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_orders_that_are_refused_again_and_again_are_paused_said_and_taken_up_again(tmp_path, name):
    what, target, answer = REFUSALS[name]

    async def play(mesh, rest):
        number = await command_fault(rest, kind="answer", endpoint="*order.place", **answer)
        made = await mesh.insist(STORM_S)
        tries = mesh.asked("order.place")
        assert 1 <= tries <= TRIES_MAX < len(made), f"{tries} requests of {len(made)} orders in {STORM_S} s"
        assert {(one[0] != "info", one[1]) for one in mesh.alerts(what)} == {(True, target)}
        why = mesh.alerts(what)[0][2]
        assert answer["message"] in why and target in why and mesh.ctx.ask_counters()["paused"] == [mesh.alerts(what)[-1][2]]
        await end_fault(rest, number)
        await mesh.recovers(what)
        assert mesh.ctx.ask_counters()["paused"] == []
        await until(lambda: {mesh.last_states().get(cid) for cid in made} <= {*ENDS}, PATIENCE_S)

    at_exchange(tmp_path, play, account=target.partition(".")[0], refused_pause_s=PAUSE)


def test_one_side_without_balance_and_one_instrument_leave_the_others_alone(tmp_path):
    async def play(mesh, rest):
        refusal = REFUSALS["no balance"][2]
        await command_fault(rest, kind="answer", endpoint="order.place", times=3, **refusal)
        for _ in range(3):
            cid = mesh.order()
            await until(lambda cid=cid: mesh.states(cid)[-1:] == ["Rejected"], PATIENCE_S)
        waiting = mesh.order()
        sold = mesh.order(side=-1, price_ticks=90_000 * 10**8)
        await until(lambda: mesh.states(sold)[-1:] == ["New"], PATIENCE_S)
        assert mesh.states(waiting) == [], "it waits, and expires"
        await until(lambda: mesh.states(waiting) == ["Expired"], PATIENCE_S)

    at_exchange(tmp_path, play, refused_pause_s=(60.0, 60.0))


def test_a_cancel_goes_out_whatever_is_paused(tmp_path):
    async def play(mesh, rest):
        stands = mesh.order(ttl_s=30.0)
        await until(lambda: mesh.states(stands)[-1:] == ["New"], PATIENCE_S)
        await command_fault(rest, kind="answer", endpoint="order.place", **REFUSALS["withdrawn permission"][2])
        refused = mesh.order()
        await until(lambda: mesh.states(refused)[-1:] == ["Rejected"], PATIENCE_S)
        mesh.publish_intent("cancel", target=stands)
        await until(lambda: mesh.states(stands)[-1] == "Canceled", PATIENCE_S)

    at_exchange(tmp_path, play, refused_pause_s=(60.0, 60.0))


@pytest.mark.parametrize("account, code, words", [
    ("binance", -1022, "Signature for this request is not valid."), ("binance_usdm", -2015, NO_PERMISSION),
])  # fmt: skip
def test_a_wrong_key_is_said_and_tried_ever_more_rarely(tmp_path, account, code, words):
    async def play(mesh, rest):
        number = await command_fault(rest, kind="answer", endpoint="*userDataStream.*", status=401, code=code, message=words)
        mesh.start()
        await until(lambda: mesh.alerts("key_refused"), PATIENCE_S)
        cid = mesh.order(ttl_s=1.0)
        await asyncio.sleep(STORM_S)
        assert mesh.asked("userDataStream") <= TRIES_MAX
        level, target, why = mesh.alerts("key_refused")[0]
        assert (level, target) == ("critical", f"{account}.account") and words in why
        assert mesh.states(cid) in ([], ["Expired"]) and mesh.ctx.counters["orders_sent"] == 0
        await end_fault(rest, number)
        await mesh.works()
        await until(lambda: mesh.alerts("key_refused")[-1][0] == "info", PATIENCE_S)
        await until(lambda: mesh.states(cid) == ["Expired"], PATIENCE_S)

    at_exchange(tmp_path, play, started=False, account=account, refused_pause_s=PAUSE)


def test_a_venue_closed_for_maintenance_is_asked_ever_more_rarely_and_its_words_are_shown(tmp_path):
    """Handshakes and requests, of whatever kind: orders wait and expire, what stood stands, and all goes on when it opens."""

    async def play(mesh, rest):
        stands = mesh.order(ttl_s=30.0)
        await until(lambda: mesh.states(stands)[-1:] == ["New"], PATIENCE_S)
        refused = {"kind": "refuse", "status": 503, "message": "maintenance until noon"}
        faults = [await command_fault(rest, **refused), await command_fault(rest, endpoint="*", **refused)]
        await command_fault(rest, kind="cut", length_s=0)
        await until(lambda: mesh.ctx.counters["reconnects"] > 0, PATIENCE_S)
        late = mesh.order(ttl_s=1.0)
        await asyncio.sleep(STORM_S)
        asked = mesh.asked("")
        assert 2 <= asked <= 2 * TRIES_MAX, f"{asked} requests and handshakes in {STORM_S} s"
        assert "maintenance until noon" in mesh.ctx.counters["last_error"]
        for number in faults:
            await end_fault(rest, number)
        await until(lambda: mesh.states(late) == ["Expired"], PATIENCE_S)
        mesh.publish_intent("cancel", target=stands)
        await until(lambda: mesh.states(stands)[-1] == "Canceled", PATIENCE_S)

    at_exchange(tmp_path, play, backoff_s=(0.2, 10.0))


def test_without_a_key_the_session_stops_for_good_with_a_sentence(tmp_path):
    async def play(mesh, rest):
        (tmp_path / "key.toml").write_text('api_key = "mine"\n')
        os.chmod(tmp_path / "key.toml", 0o600)
        mesh.start()
        await asyncio.wait([mesh.task], timeout=PATIENCE_S)
        assert isinstance(mesh.task.exception(), Stopped) and "one of secret (HMAC)" in str(mesh.task.exception())
        await until(lambda: mesh.alerts("stopped"), PATIENCE_S)
        mesh.task = None
        await mesh.ctx.close()
        (alert,) = mesh.alerts("stopped")
        assert alert[:2] == ("critical", "session") and "key.toml" in alert[2]

    at_exchange(tmp_path, play, started=False, key_file="key.toml")


@pytest.mark.parametrize("account, symbol", [("binance", "BTCUSDT"), ("binance_usdm", "binance_usdm.BTCUSDT")])
@pytest.mark.parametrize("kind, what", [("halt", "trading_halted"), ("unknown", "not_listed")])
def test_a_halted_and_a_delisted_symbol_at_the_exchange_itself(tmp_path, kind, what, account, symbol):
    async def play(mesh, rest):
        number = await command_fault(rest, kind=kind, symbol=symbol)
        made = await mesh.insist(2.0)
        await until(lambda: mesh.alerts(what), PATIENCE_S)
        assert mesh.ctx.counters["orders_sent"] <= 4 < len(made)
        await end_fault(rest, number)
        await mesh.recovers(what)

    at_exchange(tmp_path, play, account=account, refused_pause_s=PAUSE)
