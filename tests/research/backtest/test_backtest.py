"""`tickmesh.backtest()` over a made-up recording: what comes of it, what a peeking model gains, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import tickmesh as tm
from tests.support.backtest_scene import SUBJECTS, lay
from tests.support.command_run import mesh_here
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind, Status
from tickmesh.nodes.model.node import Step
from tickmesh.research.backtest.blind import one_event_at_a_time
from tickmesh.research.backtest.stored import load as stored
from tickmesh.storage.columns import reading
from tickmesh.storage.query.times import ReadError

KERNEL = """
import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.interface import QUOTE, Parameter

KINDS = (Kind.quote, Kind.trade)
HORIZON_NS = 0
PARAMETERS = {"peeks": Parameter(0.0, 0.0, 2.0, "1: it looks at the next quote; 2: it fails at a trade")}
STATE = np.dtype([("before", "<i8")])


@njit(cache=True)
def kernel(state, parameters, units, rows, count, quotes, trades, levels, out):
    n = 0
    for r in range(count):
        row = rows[r]
        if row.kind != QUOTE:
            n += 1 // int(2.0 - parameters[0].peeks) * 0
            continue
        last = row.first + row.count - 1
        now = quotes[last].bid_ticks
        then = state[0].before
        if parameters[0].peeks == 1.0:
            then, now = now, now
            if last + 1 < len(quotes):
                now = quotes[last + 1].bid_ticks
            if r + 1 < count and then == now:
                now += rows[r + 1].kind == QUOTE
        state[0].before = quotes[last].bid_ticks
        if then != 0 and now != then:
            out[n].row, out[n].value, out[n].price, out[n].reference_ticks = r, 1.0 if now > then else -1.0, np.nan, now
            n += 1
    return n
"""
SETTINGS = """
[[models]]
name = "honest"
kernel = "glance"
instruments = ["binance.*"]
[[models]]
name = "peeking"
kernel = "glance"
instruments = ["binance.*"]
parameters = { peeks = 1.0 }
[[models]]
name = "failing"
kernel = "glance"
instruments = ["binance.*"]
parameters = { peeks = 2.0 }

[exchange]
entry_ms = 5.0
response_ms = 5.0
queue = "probability_log"
fees = "free"

[[strategies]]
name = "honest"
models = ["honest"]
instruments = ["binance.*"]
order_quantity = "0.05"
styles = ["post_only", "sweep"]
execution = { slippage_max_bp = 5.0 }
[[strategies]]
name = "peeking"
models = ["peeking"]
instruments = ["binance.*"]
order_quantity = "0.05"
styles = ["market"]
state = "off"
[[strategies]]
name = "failing"
models = ["failing"]
instruments = ["binance.*"]
styles = ["market"]
state = "off"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A mesh's folder: 1,500 events, two thirds of them archived, and two models of one kernel, of which one peeks."""
    return lay(tmp_path_factory.mktemp("mesh"), SETTINGS, ("glance", KERNEL), 1500)


def test_it_trades_as_mesh_toml_says_and_the_same_each_time(root):
    result = tm.backtest(root)
    again = tm.backtest(root)
    assert (result.instruments, result.strategies) == (SUBJECTS, ("honest",))
    assert result.fills.tobytes() == again.fills.tobytes() and result.orders.tobytes() == again.orders.tobytes()
    assert len(result.fills) > 20 and result.fills["maker"].any() and not result.fills["maker"].all()
    assert (result.fills["fee"] == 0).all() and result.settings["queue"] == "probability_log"
    orders = result.orders
    assert (orders["arrived_ns"] - orders["sent_ns"] >= 5_000_000)[orders["arrived_ns"] > 0].all()
    filled = np.zeros(len(orders))
    np.add.at(filled, result.fills["order"], result.fills["quantity"])
    assert np.allclose(filled, orders["filled"])
    assert ((orders["status"] == Status.Filled) == np.isclose(orders["filled"], orders["quantity"])).all()
    assert (result.fills["time_ns"] >= orders["arrived_ns"][result.fills["order"]]).all(), "nothing before it is there"
    for mark in result.marks.values():
        assert (np.diff(mark["time_ns"]) >= 0).all() and (mark["bid"] < mark["ask"]).all()
    mids = orders["arrival_mid"]
    assert np.isfinite(mids).all() and (abs(mids / 60_000 - 1) < 0.01).all()
    assert any("quote.binance" in line and "is not complete" in line for line in result.coverage), "a gap was recorded"


def test_a_model_that_peeks_gains_nothing(root):
    config = load(root)
    over_columns = sum(len(Step(config, "peeking").step_span(span)) for span in reading.spans(config, (Kind.quote,)))
    assert over_columns > 100, "over columns it sees what comes"
    result = tm.backtest(root, strategies=["peeking"])
    assert result.settings["signals"] == 0 and len(result.orders) == 0


def test_one_event_at_a_time_an_honest_model_says_what_it_says_over_columns(root):
    config = load(root)
    plain, blind = Step(config, "honest"), Step(config, "honest")
    blind.wrap_kernel(one_event_at_a_time)
    for span in reading.spans(config, plain.kinds):
        assert plain.step_span(span).tobytes() == blind.step_span(span).tobytes()
    assert plain.state_bytes() == blind.state_bytes() and plain.counters()["signals"] > 100


def test_a_part_of_the_recording_is_traded_with_the_books_of_before(root):
    whole = tm.backtest(root)
    middle = int(whole.orders["sent_ns"][len(whole.orders) // 2])
    part = tm.backtest(root, start=middle, end=whole.end_ns, latency="2,1", fees="2,5")
    assert part.start_ns >= middle and len(part.fills) and (part.orders["sent_ns"] >= middle).all()
    assert part.fills["fee"][part.fills["maker"]].sum() > 0 and part.settings["maker_fee_ppm"] == 200
    assert len(tm.backtest(root, end=middle).orders) < len(whole.orders)


def test_a_warm_up_trades_nothing_and_makes_up_for_the_past_that_a_model_needs(root):
    start = int(
        tm.backtest(root).orders["sent_ns"][0]
    )  # the time of a signal, of which a model that begins there knows nothing
    cold, warm, as_whole = (tm.backtest(root, start=start, warm_up=text) for text in ("0s", "1h", ""))
    assert all(one.start_ns >= start and (one.orders["sent_ns"] >= start).all() for one in (cold, warm))
    assert cold.settings["signals"] < warm.settings["signals"] == as_whole.settings["signals"]
    assert any("model-honest depends on all of the past, and had a warm-up of 1h" in line for line in warm.coverage)


def test_the_settings_say_what_a_report_needs(root):
    result = tm.backtest(root, balances="BTC=0.01,USDT=100000")
    trades = {name: tm.open(root).trades(name, gaps="ignore").to_pandas() for name in SUBJECTS}
    notional = {name: float((rows["price"] * rows["quantity"]).sum()) for name, rows in trades.items()}
    assert result.settings["market_volume"] == pytest.approx(notional)
    assert result.settings["quote_currency"] == dict.fromkeys(SUBJECTS, "USDT")
    assert "Account has insufficient balance for requested action." in result.settings["rejected"]
    lots = result.fills["side"] * result.fills["quantity"]
    for place, held in enumerate((0.01, 0.0)):
        own = result.fills["instrument"] == place
        assert (held + np.cumsum(lots[own])).min() > -1e-9, "nothing is sold that is not there"


def test_a_model_that_fails_is_said_with_file_and_line(root):
    done = mesh_here(root, "backtest", "--strategy", "failing")
    line = next(n for n, text in enumerate(KERNEL.splitlines(), 1) if "1 // int" in text)
    assert done.returncode == 1 and f"glance.py:{line}" in done.stderr.replace("\n", ""), done.stderr


@pytest.mark.parametrize(
    "said, sentence",
    [
        ({"strategies": ["none"]}, "there is no strategy 'none' in mesh.toml; there are honest, peeking, failing"),
        ({"queue": "fifo"}, "queue = 'fifo' is unknown; there are risk_averse"),
        ({"through": "half"}, "through = 'half' is unknown; there are shown, whole"),
        ({"fees": "cheap"}, "fees 'cheap' are none; allowed: spot"),
        ({"latency": "nowhere.csv"}, "latency 'nowhere.csv' is none: allowed are ms like 5"),
        ({"latency": "recorded"}, "no order on binance.BTCUSDT, binance.ETHUSDT was recorded"),
        ({"start": "2024-08-10", "end": "2024-08-09"}, "the end has to be after the start"),
        ({"start": "2030-01-01"}, "nothing is recorded from 2030-01-01 to the end of what is recorded that could be traded"),
        ({"start": "2024-08-09", "warm_up": "long"}, "a warm-up of 'long' is none; allowed are 30s"),
        ({"warm_up": "1h"}, "a warm-up of 1h lies before the start, and none is given; give one"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(root, said, sentence):
    with pytest.raises(ReadError, match=sentence.replace("(", r"\(")):
        tm.backtest(root, **said)


def test_the_command_says_first_what_is_missing(root):
    done = mesh_here(root, "backtest", "--latency", "1", "--at", root)
    assert done.returncode == 0, done.stderr
    assert "is not complete" in done.stdout.splitlines()[0] and "honest" in done.stdout
    refused = mesh_here(root, "backtest", "--queue", "fifo", "--json")
    assert refused.returncode == 1 and "there are risk_averse" in refused.stderr


def test_the_command_keeps_a_result_and_writes_its_report(root):
    kept, page = root / "kept.npz", root / "page.html"
    given = {"balances": "USDT=1", "leverage": "5", "order-limits": "unchecked", "warm-up": "30s", "start": "2024-08-09"}
    terms = [f"--{name}={value}" for name, value in given.items()]
    done = mesh_here(root, "backtest", "--latency", "1", *terms, "--save", kept, "--html", page, "--json")
    assert done.returncode == 0, done.stderr
    orders = sum(row["orders"] for row in json.loads(done.stdout)["rows"])
    settings = stored(kept).settings
    assert settings["rejected"] == {"Account has insufficient balance for requested action.": orders}
    said = [settings[name] for name in ("balances", "leverage", "order_limits", "warm_up")]
    assert said == ["USDT=1", 5, "unchecked", "30s"]
    assert len(stored(kept).orders) == orders > 0 and page.read_text().startswith("<!doctype html>")
    refused = mesh_here(root, "backtest", "--save", root / "no" / "such.npz")
    assert refused.returncode == 1 and "no" in refused.stderr and "Traceback" not in refused.stderr
