"""Tardis CSV files: their rows as events, messages of a book together, and nothing called complete that has no ids."""

import json
from decimal import Decimal

import pytest

from tests.support import published
from tests.support.command_run import mesh_here
from tickmesh.bus.config import load
from tickmesh.bus.schema import Coverage, Flag, Kind
from tickmesh.storage.query import coverage

START = 1_735_689_600_000_000  # µs
EXACT = 100_000_000
HEAD = "exchange,symbol,timestamp,local_timestamp"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mesh.toml").write_text('source = "tardis"\n')
    return tmp_path


def imported(root, *files):
    done = mesh_here(root, "import", *files, "--source", "tardis", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def row(exchange, number, *cells):
    return ",".join(map(str, (exchange, "BTCUSDT", START + number * 1000, START + number * 1000 + 700, *cells)))


def test_trades_of_binance_have_its_ids_and_others_none(root):
    lines = [row("binance", n, 500 + n + (n >= 20), "sell" if n % 2 else "buy", "60000.5", "0.01") for n in range(40)]
    lines[7] = row("binance", 7, 507, "unknown", "60000.5", "0.01")
    others = [row("bybit", n, f"uuid-{n}", "buy", "60000.5", "0.01") for n in range(10)]
    result = imported(
        root,
        published.gzipped(root / "binance_trades.csv.gz", [f"{HEAD},id,side,price,amount", *lines]),
        published.gzipped(root / "bybit_trades.csv.gz", [f"{HEAD},id,side,price,amount", *others]),
    )
    assert result["odd"] == 1 and "none is made up" in result["odd_rows"][0]["why"]
    assert result["missing"] == {"trade.tardis_binance.BTCUSDT": 2}
    events = published.stored_events(root / "data/tardis", "trade")
    own = [event for event in events if event.subject == "tardis_binance.BTCUSDT"]
    assert [event.last_id for event in own] == [500 + n + (n >= 20) for n in range(40) if n != 7]
    assert (own[3].recv_ns, int(own[3].records[0]["venue_ns"])) == ((START + 3700) * 1000, (START + 3000) * 1000)
    assert [int(event.records[0]["side"]) for event in own[:4]] == [1, -1, 1, -1]
    rows = coverage.read(load(root), "tardis_bybit.BTCUSDT", ["trade"])
    assert [Coverage(int(one["state"])) for one in rows] == [Coverage.unproven]


def test_a_book_is_its_snapshot_and_the_messages_after_it(root):
    lines = [row("binance-futures", 0, "true", side, price, 3) for side, price in (("bid", 99), ("bid", 98), ("ask", 101))]
    lines += [row("binance-futures", 1, "false", "bid", "99", "0"), row("binance-futures", 1, "false", "ask", "100.5", "2.5")]
    lines += [row("binance-futures", 2, "false", "ask", "nan", "1"), row("binance-futures", 2, "false", "ask", "100.5", "1e-3")]
    quotes = [row("binance-futures", n, n, "101", "99", n) for n in range(1, 6)] + [
        row("binance-futures", 7, "", "", "99", "1")
    ]
    result = imported(
        root,
        published.gzipped(root / "book.csv.gz", [f"{HEAD},is_snapshot,side,price,amount", *lines]),
        published.gzipped(root / "quotes.csv.gz", [f"{HEAD},ask_amount,ask_price,bid_price,bid_amount", *quotes]),
    )
    assert result["odd"] == 1
    events = published.stored_events(root / "data/tardis", "depth")
    assert [(bool(event.flags & Flag.SNAPSHOT), len(event.records)) for event in events] == [(True, 3), (False, 2), (False, 1)]
    levels = [(Decimal(int(r["price_ticks"])) / EXACT, Decimal(int(r["quantity_lots"])) / EXACT, int(r["side"]))
              for event in events for r in event.records]  # fmt: skip
    assert levels[3:] == [(99, 0, 1), (Decimal("100.5"), Decimal("2.5"), -1), (Decimal("100.5"), Decimal("0.001"), -1)]
    empty = published.stored_events(root / "data/tardis", "quote")[-1].records[0]
    assert (int(empty["ask_ticks"]), int(empty["ask_lots"]), int(empty["bid_ticks"])) == (0, 0, 99 * EXACT)
    rows = coverage.read(load(root), "tardis_binance_usdm.BTCUSDT")
    assert {Kind(int(one["stream"])) for one in rows} == {Kind.depth, Kind.quote}
    assert {Coverage(int(one["state"])) for one in rows} == {Coverage.unproven}


def test_snapshots_of_levels_replace_the_book(root):
    names = ",".join(f"asks[{n}].price,asks[{n}].amount,bids[{n}].price,bids[{n}].amount" for n in range(2))
    lines = [row("okex", n, 101 + n, 1, 99, 2, 102 + n, 3, "", "") for n in range(4)]
    imported(root, published.gzipped(root / "levels.csv.gz", [f"{HEAD},{names}", *lines]))
    events = published.stored_events(root / "data/tardis", "depth")
    assert [event.flags & Flag.SNAPSHOT for event in events] == [Flag.SNAPSHOT] * 4 and events[
        0
    ].subject == "tardis_okx.BTCUSDT"
    levels = [(int(r["price_ticks"]) // EXACT, int(r["side"])) for r in events[2].records]
    assert levels == [(99, 1), (103, -1), (104, -1)]
