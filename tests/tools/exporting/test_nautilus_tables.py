"""What nautilus_trader is handed: trades, quotes and books to the last digit; loaded with it where it is installed."""

import contextlib
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import tickmesh as tm
from tests.support.backtest_scene import lay
from tests.support.command_run import mesh_here
from tests.support.sweep_scene import KERNEL, SETTINGS
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DEPTH, Flag, Kind
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools.exporting.nautilus_tables import (
    ADD,
    CLEAR,
    DELETE,
    LAST,
    UPDATE,
    NautilusInstrument,
    delta_table,
    fixed,
    quote_table,
    trade_table,
)

SUBJECT, NAME = "binance.BTCUSDT", "BTCUSDT.BINANCE"
OF = NautilusInstrument(NAME, (-1, -3), "CurrencyPair", {})


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = lay(tmp_path_factory.mktemp("mesh"), SETTINGS, ("trend", KERNEL), 900)
    done = mesh_here(root, "export", "--to", "nautilus", "--partial", "--json")
    assert done.returncode == 0, done.stderr
    return root


def tables(root: Path, kind: str) -> dict[str, list[dict]]:
    folder = root / "data/sim/export-nautilus/data" / kind
    return {path.parent.name: pq.ParquetFile(path).read().to_pylist() for path in sorted(folder.rglob("*.parquet"))}


def decimal(raw: bytes) -> Decimal:
    return Decimal(int.from_bytes(raw, "little", signed=True)).scaleb(-16)


@pytest.mark.parametrize("exponent", [0, -1, -8, -16])
def test_numbers_of_128_bits_are_exact(exponent):
    values = [0, 1, -1, 61_000_01, -(10**18), -(2**48), 2**63 - 1, -(2**63 - 1), 4_294_967_296, 4_294_967_295]
    values += np.random.default_rng(1).integers(-(2**62), 2**62, 200).tolist()
    found = fixed(np.array(values), exponent).to_pylist()
    assert [int.from_bytes(one, "little", signed=True) for one in found] == [one * 10 ** (16 + exponent) for one in values]


@pytest.mark.parametrize("exponent", [-17, 1])
def test_what_16_decimals_cannot_hold_is_refused(exponent):
    with pytest.raises(ValueError, match=f"an exponent of {exponent}; nautilus_trader holds 0 to 16 decimals"):
        fixed(np.zeros(1, "i8"), exponent)


def test_every_trade_and_quote_is_there_at_the_time_when_the_mesh_had_it(root):
    db = tm.open(root)
    for kind, method, prices in (("trade_tick", db.trades, ("price",)), ("quote_tick", db.quotes, ("bid_price", "ask_price"))):
        found = tables(root, kind)
        assert set(found) == {NAME, "ETHUSDT.BINANCE"}
        archived = method(SUBJECT, gaps="ignore", decimals="exact").to_pandas()[: len(found[NAME])]
        assert len(archived) > 100
        for column in prices:
            assert [decimal(row[column]) for row in found[NAME]] == archived[column].tolist()
        assert [row["ts_init"] for row in found[NAME]] == archived["seq_ns"].astype("i8").tolist()
    sides = [("none", "buyer", "seller")[row["aggressor_side"]] for row in tables(root, "trade_tick")[NAME]]
    assert sides == [f"{one}er" for one in db.trades(SUBJECT, gaps="ignore").to_pandas()["side"].tolist()[: len(sides)]]


def test_a_book_is_cleared_before_it_is_set_and_an_event_ends_with_its_last_row():
    rows = np.zeros(6, row_dtype(Kind.depth))
    rows["seq"], rows["seq_ns"] = [2, 3, 3, 5, 5, 6], [20, 30, 30, 50, 50, 60]
    rows["flags"] = [Flag.UNSYNCED, Flag.SNAPSHOT, Flag.SNAPSHOT, 0, 0, 0]
    rows["price_ticks"], rows["quantity_lots"], rows["side"] = [7, 9, 11, 9, 8, 0], [1, 5, 5, 0, 2, 0], [1, 1, -1, 1, 1, 0]
    book = np.zeros(1, DEPTH)
    book["price_ticks"], book["quantity_lots"], book["side"] = 4, 4, -1
    table, left_out = delta_table(book, rows, OF)
    found = table.to_pylist()
    assert left_out == 1
    assert [row["action"] for row in found] == [CLEAR, ADD, CLEAR, ADD, ADD, DELETE, UPDATE]
    assert [row["flags"] & LAST != 0 for row in found] == [False, True, False, False, True, False, True]
    assert [row["side"] for row in found] == [0, 2, 0, 1, 2, 1, 1]
    assert [row["ts_init"] for row in found] == [30, 30, 30, 30, 30, 50, 50]
    assert [decimal(row["price"]) * 10 for row in found] == [0, 4, 0, 9, 11, 9, 8]


def test_what_nautilus_cannot_say_is_left_out_and_counted():
    trades = np.zeros(3, row_dtype(Kind.trade))
    trades["seq"], trades["price_ticks"], trades["quantity_lots"] = [5, 6, 7], 9, [1, 1, 0]
    trades["flags"], trades["trade_id"] = [0, Flag.OFF_BOOK, 0], [0, 2, 3]
    table, left_out = trade_table(trades, OF)
    assert (table["trade_id"].to_pylist(), left_out) == (["5"], 2), "one without an id has its seq for one"
    quotes = np.zeros(2, row_dtype(Kind.quote))
    quotes["bid_ticks"], quotes["ask_ticks"], quotes["recv_ns"], quotes["venue_ns"] = [8, 0], 9, 4, 3
    quotes["seq_ns"] = 2
    table, left_out = quote_table(quotes, OF)
    assert (table["ts_event"].to_pylist(), table["ts_init"].to_pylist(), left_out) == ([3], [2], 1)


def test_what_is_there_is_skipped_and_another_log_is_refused(root, tmp_path):
    again = json.loads(mesh_here(root, "export", "--to", "nautilus", "--partial", "--json").stdout)
    assert (again["written"], again["skipped"]) == (0, 6)
    only = ("export", "--format", "nautilus", "--partial", "--to", tmp_path, "--topic", "trade.binance.ETHUSDT")
    (one,) = json.loads(mesh_here(root, *only, "--json").stdout)["files"]
    assert one["nautilus"] == "ETHUSDT.BINANCE" and one["kind"] == "trade"
    path = tmp_path / "nautilus.json"
    path.write_text(path.read_text().replace(one["log_id"], "0" * 16))
    assert "was made from log 0000" in mesh_here(root, *only).stderr
    assert "is in no catalog" in mesh_here(root, "export", "--format", "nautilus", "--topic", "gap").stderr


def test_a_day_that_has_grown_takes_the_place_of_what_was_written_of_it(tmp_path):
    root, config = lay(tmp_path, SETTINGS, ("trend", KERNEL), 300), load(tmp_path)
    words = ("export", "--to", "nautilus", "--partial", "--json")
    aside = config.log_dir.rename(tmp_path / "aside")  # what is archived is all that there is
    before = {one["path"]: one["rows"] for one in json.loads(mesh_here(root, *words).stdout)["files"]}
    aside.rename(config.log_dir)
    with contextlib.closing(ArchiveWriter(config.archive_dir)) as writer:
        writer.archive_log(LogReader(config.log_dir), 300, 90)
    after = {one["path"]: one["rows"] for one in json.loads(mesh_here(root, *words).stdout)["files"]}
    folder = root / "data/sim/export-nautilus"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.parquet") if "currency_pair" not in path.parts}
    assert there == set(after) and not set(before) & there and sum(after.values()) > sum(before.values())


def test_nautilus_loads_it_as_it_is(root):
    pytest.importorskip("nautilus_trader", reason="nautilus_trader is not installed")
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.enums import BookType
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    catalog = ParquetDataCatalog(str(root / "data/sim/export-nautilus"))
    instrument = next(one for one in catalog.instruments() if one.id.value == NAME)
    assert (str(instrument.price_increment), str(instrument.size_increment)) == ("0.1", "0.001")
    db = tm.open(root)
    trades, quotes = catalog.trade_ticks([NAME]), catalog.quote_ticks([NAME])
    for ticks, method, column, name in ((trades, db.trades, "price", "price"), (quotes, db.quotes, "bid_price", "bid_price")):
        archived = method(SUBJECT, gaps="ignore", decimals="exact").to_pandas()[: len(ticks)]
        assert [getattr(one, name).as_decimal() for one in ticks] == archived[column].tolist()
        assert [one.ts_init for one in ticks] == archived["seq_ns"].astype("i8").tolist()
    book = OrderBook(instrument.id, BookType.L2_MBP)
    deltas = catalog.order_book_deltas([NAME])
    for one in deltas:
        book.apply_delta(one)
    ours = db.books(SUBJECT, at=deltas[-1].ts_init)
    for side, levels in (("bid", book.bids()), ("ask", book.asks())):
        own = ours[ours["side"] == side]
        assert [float(str(level.price)) for level in levels] == own["price"].tolist()
        assert [level.size() for level in levels] == pytest.approx(own["quantity"].tolist())
