"""What hftbacktest is handed: rows in both orders, the same books and trades; loaded with it where it is installed."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support import published
from tests.support.command_run import mesh_here
from tests.support.research_scene import SUBJECT, recorded
from tickmesh.bus.schema import DEPTH, Flag, Kind
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.tools.exporting.event_arrays import EVENT, event_array, in_both_orders

EXCHANGE, LOCAL, BUY, SELL, SORT = 1 << 31, 1 << 30, 1 << 29, 1 << 28, 0xFF
SECOND = 10**9


def heard(count, seed, jitter):
    """Rows as they were heard: their exchange times out of order by up to `jitter` ns."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, EVENT)
    rows["local_ts"] = 10**18 + np.cumsum(rng.integers(0, 3, count))
    rows["exch_ts"] = rows["local_ts"] - 1000 - rng.integers(0, jitter + 1, count)
    rows["px"], rows["ev"] = np.arange(count), 1
    return rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("jitter", [0, 3, 2000])
def test_each_side_has_every_row_once_in_the_order_of_its_clock(seed, jitter):
    rows = heard(300, seed, jitter)
    out = in_both_orders(rows)
    for flag, name in ((EXCHANGE, "exch_ts"), (LOCAL, "local_ts")):
        own = out[(out["ev"] & np.uint64(flag)) != 0]
        expected = sorted(rows[["exch_ts", "local_ts", "px"]].tolist(), key=lambda row: row[0 if name == "exch_ts" else 1])
        assert own[["exch_ts", "local_ts", "px"]].tolist() == expected
    if jitter == 0:
        assert len(out) == len(rows), "what is in both orders is not split"
    assert len(in_both_orders(rows[:0])) == 0


def rows_of(kind, *values):
    out = np.zeros(len(values), row_dtype(kind))
    for row, one in zip(out, values):
        for name, value in one.items():
            row[name] = value
    return out


def test_a_book_is_cleared_before_it_is_set_and_clocks_that_differ_are_moved():
    at = {"venue_ns": 5 * SECOND, "recv_ns": 4 * SECOND}
    depth = rows_of(
        Kind.depth,
        {"seq": 2, "flags": Flag.UNSYNCED, "price_ticks": 7, "quantity_lots": 1, "side": 1, **at},
        {"seq": 3, "flags": Flag.SNAPSHOT, "price_ticks": 9, "quantity_lots": 5, "side": 1, **at},
        {"seq": 3, "flags": Flag.SNAPSHOT, "price_ticks": 11, "quantity_lots": 5, "side": -1, **at},
        {"seq": 5, "price_ticks": 9, "quantity_lots": 0, "side": 1, "venue_ns": 6 * SECOND, "recv_ns": 5 * SECOND},
        {"seq": 6, "side": 0, "venue_ns": 6 * SECOND, "recv_ns": 5 * SECOND},
    )  # fmt: skip
    trades = rows_of(
        Kind.trade,
        {"seq": 4, "price_ticks": 9, "quantity_lots": 3, "side": -1, "venue_ns": 5 * SECOND, "recv_ns": 4 * SECOND},
        {"seq": 7, "flags": Flag.OFF_BOOK, "price_ticks": 1, "quantity_lots": 3, "side": -1, "recv_ns": 5 * SECOND},
    )
    before = np.array([(8, 2, 1, b"")], DEPTH)
    out = event_array(before, depth, trades, (-1, -3))
    sorts = [(int(ev) & SORT, 1 if int(ev) & BUY else -1) for ev in out.rows["ev"]]
    assert sorts == [(4, 1), (3, 1), (3, -1), (4, 1), (4, -1), (2, -1), (1, 1)]
    assert out.rows["px"][[0, 3, 4]].tolist() == [0.8, 0.9, 1.1] and out.rows["qty"][3] == 0.005
    assert np.isnan(out.rows["px"][1:3]).all(), "a side is cleared whole"
    assert out.moved_ns == SECOND and out.unsynced == 1 and out.untimed == 0
    assert (out.rows["local_ts"] - out.rows["exch_ts"]).min() == 0


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("mesh")
    recorded(root, archived=1.0)
    done = mesh_here(root, "export", "--to", "hftbacktest", "--partial", "--topic", f"depth.{SUBJECT}", "--json")
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout)


def test_days_are_written_once_and_say_what_they_are(exported):
    root, result = exported
    assert [one["path"] for one in result["files"]] == [f"binance/BTCUSDT/2024-08-{day}.npz" for day in ("09", "10", "11")]
    again = json.loads(mesh_here(root, "export", "--format", "hftbacktest", "--partial", "--json").stdout)
    assert again["written"] == 0 or {one["instrument"] for one in again["files"]} != {SUBJECT}
    refused = mesh_here(root, "export", "--format", "hftbacktest", "--topic", "signal")
    assert refused.returncode == 2 and "is in no event array" in refused.stderr


def test_what_was_exported_comes_back(exported):
    """Through the import's reader, which knows nothing of the writer: the same trades, prices and quantities exactly."""
    root, result = exported
    files = [Path(result["folder"]) / one["path"] for one in result["files"]]
    done = mesh_here(root, "import", *files, "--symbol", "BTCUSDT", "--source", "back", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["odd"] == 0, done.stderr
    was = [
        r for event in published.stored_events(root / "data/sim", "trade") if event.subject == SUBJECT for r in event.records
    ]
    now = [r for event in published.stored_events(root / "data/back", "trade") for r in event.records]
    scaled = [(int(r["price_ticks"]) * 10**6, int(r["quantity_lots"]) * 10**3, int(r["side"]), int(r["venue_ns"])) for r in was]
    assert [(int(r["price_ticks"]), int(r["quantity_lots"]), int(r["side"]), int(r["venue_ns"])) for r in now] == scaled


@pytest.mark.timeout(900)  # it compiles its backtester anew in each environment, for minutes where the machine is busy
def test_hftbacktest_loads_it_and_has_the_same_book(exported):
    hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed (make peers)")
    from hftbacktest.data.validation import validate_event_order

    _, result = exported
    folder = Path(result["folder"])
    files = [str(folder / one["path"]) for one in result["files"]]
    for file in files:
        validate_event_order(np.load(file)["data"])
    asset = hft.BacktestAsset().data(files).linear_asset(1.0).constant_order_latency(0, 0).tick_size(0.01).lot_size(0.00001)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    test = hft.HashMapMarketDepthBacktest([asset.last_trades_capacity(1000)])
    while test.elapse(60 * SECOND) == 0:
        pass
    depth = test.depth(0)
    levels = {1: {}, -1: {}}
    for file in files:
        for row in np.load(file)["data"]:
            sort, side = int(row["ev"]) & SORT, 1 if int(row["ev"]) & BUY else -1
            if int(row["ev"]) & LOCAL and sort == 3:
                levels[side] = {}
            elif int(row["ev"]) & LOCAL and sort in (1, 4):
                levels[side][round(row["px"] * 100)] = row["qty"]
    found = {side: {price: q for price, q in own.items() if q} for side, own in levels.items()}
    assert depth.best_bid_tick == max(found[1]) and depth.best_ask_tick == min(found[-1])
    test.close()
