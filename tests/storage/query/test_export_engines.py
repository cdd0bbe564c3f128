"""Exports in the hands of engines: the pages' own examples, joins that see no later event, several instruments, sums, sizes."""

import contextlib
import io
import re
import runpy
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import reader
from tickmesh.storage.query.arrow import ExportColumns
from tickmesh.storage.query.scales import product

pytestmark = pytest.mark.filterwarnings("ignore::tickmesh.storage.query.gaps.CoverageWarning")
SUBJECTS = {"binance.BTCUSDT": (-2, -5), "binance.DOGEUSDT": (-8, 0)}
TRADES = "data/sim/export/trade/binance/BTCUSDT"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A day of two instruments as an older sequencer wrote it, every time for 20 events, exported as mantissas and as Arrow."""
    root = tmp_path_factory.mktemp("exported")
    (root / "mesh.toml").write_text("")
    config = load(root)
    assert config.source_dir == root / "data/sim"
    market, rng = Market(seq_ns=START + 7), np.random.default_rng(3)
    raws = [market.instrument(exponents, subject) for subject, exponents in SUBJECTS.items()]
    for step in range(4000):
        tied = 0 if step % 20 else 1_000_003
        if rng.random() < 0.4:
            raws.append(market.trade(int(rng.integers(1, 1 << 40)), step_ns=tied))
        elif rng.random() < 0.2:
            raws.append(market.trade(int(rng.integers(1, 1 << 40)), "binance.DOGEUSDT", step_ns=tied))
        else:
            quote = np.zeros(1, DTYPES[Kind.quote])
            quote[0] = (market.seq, *rng.integers(1, 1 << 53, 4), 0)
            raws.append(market.event(Kind.quote, "binance.BTCUSDT", quote, last_id=market.seq, step_ns=tied))
    market.seq_ns = START + DAY
    raws.append(market.trade())
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(raws), 10_000)
    writer.close()
    for words in ((), ("--decimals", "float", "--to", "float"), ("--decimals", "exact", "--to", "exact")):
        assert mesh_here(root, "export", *words).returncode == 0
    return root


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / page).read_text(), re.S)


def run(source: str, folder: Path) -> tuple[dict[str, object], str]:
    """Runs an example by itself in a folder; its names, and what it printed."""
    path = folder / "example.py"
    path.write_text(source)
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        return runpy.run_path(str(path)), out.getvalue()


def naive(config: Config) -> list[tuple[int, int]]:
    """For each trade the last quote with a lower seq, which is what was known when it was heard."""
    trades = reader.arrays(config, "trade.binance.BTCUSDT", None, START + DAY)["seq"]
    quotes = reader.arrays(config, "quote.binance.BTCUSDT")["seq"]
    return [(int(seq), max((int(q) for q in quotes if q < seq), default=0)) for seq in trades]


@pytest.mark.parametrize("place", range(3), ids=["pandas", "polars", "DuckDB"])
def test_the_recommended_join_never_sees_a_later_event(root, place):
    names, _ = run(blocks("engines.md")[place], root)
    joined = names["joined"]
    with contextlib.chdir(root):  # DuckDB reads when it is asked
        frame = joined if isinstance(joined, pd.DataFrame) else joined.to_pandas() if place == 1 else joined.df()
    got = [(int(seq), 0 if pd.isna(quote) else int(quote)) for seq, quote in zip(frame["seq"], frame["quote_seq"])]
    assert got == naive(load(root)) and len(got) > 1000


def test_a_join_of_frames_by_seq_does_not_either_and_one_by_an_old_time_does(root):
    config = load(root)
    trades = reader.frame(config, "trade.binance.BTCUSDT", None, START + DAY)
    quotes = reader.frame(config, "quote.binance.BTCUSDT")
    quotes["quote_seq"] = quotes["seq"]
    joined = pd.merge_asof(trades, quotes[["seq", "quote_seq", "bid_price"]], on="seq")
    assert joined["quote_seq"].fillna(0).astype("i8").tolist() == [quote for _, quote in naive(config)]
    by_time = pd.merge_asof(trades[["seq", "seq_ns"]], quotes[["quote_seq", "seq_ns"]], on="seq_ns")
    assert (by_time["quote_seq"] > by_time["seq"]).sum() > 1000, "this is what the page warns of"


def test_the_examples_of_the_page_run(root):
    sums, arrow, *_ = blocks("export.md")  # what nautilus reads is tested where it is installed
    _, printed = run(sums, root)
    trades = reader.frame(load(root), "trade.binance.DOGEUSDT", None, START + DAY)
    row = next(row for row in eval(printed, {"datetime": __import__("datetime")}) if row[1] == "DOGEUSDT")  # what it printed
    assert row[3] == trades.quantity.sum() and row[4] == pytest.approx(trades.notional.sum() / trades.quantity.sum())
    assert mesh_here(root, "export", "--format", "arrow", "--topic", "trade", "--to", "ipc/data/sim/export").returncode == 0
    _, printed = run(arrow, root / "ipc")
    assert f"[({len(naive(load(root)))}, " in printed


def test_several_instruments_are_read_by_one_glob_without_mixing(root):
    table = duckdb.sql(
        f"select instrument, price_ticks * power(10, price_exponent) as p from '{root}/data/sim/export/trade/*/*/*.parquet'"
    )
    by = {name: part.p.to_numpy() for name, part in table.df().groupby("instrument")}
    floats = pl.read_parquet(root / "float/trade/*/*/*.parquet")
    for subject, exponents in SUBJECTS.items():
        name = subject.partition(".")[2]
        wanted = reader.arrays(load(root), f"trade.{subject}", None, START + DAY)["price_ticks"] / 10.0 ** -exponents[0]
        assert np.allclose(np.sort(by[name]), np.sort(wanted), rtol=1e-15)
        assert floats.filter(pl.col("instrument") == name)["price"].to_list() == wanted.tolist()


def test_sums_of_notional_are_exact_or_floats_that_do_not_wrap(root):
    """Σ price_ticks × quantity_lots is beyond 2^63 here, and wraps in numpy, pandas and polars."""
    rows = reader.arrays(load(root), "trade.binance.BTCUSDT", None, START + DAY)
    true = Decimal(sum(int(p) * int(q) for p, q in zip(rows["price_ticks"], rows["quantity_lots"]))).scaleb(-7)
    assert int(true.scaleb(7)) > 2**63
    exact = f"{root}/exact/trade/binance/BTCUSDT/2024-08-09.parquet"
    assert duckdb.sql(f"select sum(notional) from '{exact}'").fetchall() == [(true,)]
    assert pl.read_parquet(exact)["notional"].sum() == true == sum(pq.read_table(exact)["notional"].to_pylist())
    for folder in ("float", "data/sim/export"):
        assert pd.read_parquet(root / folder / "trade/binance/BTCUSDT")["notional"].sum() == pytest.approx(
            float(true), rel=1e-12
        )
    assert pd.read_parquet(root / "float/trade/binance/BTCUSDT")["notional"].tolist() == (
        reader.frame(load(root), "trade.binance.BTCUSDT", None, START + DAY)["notional"].tolist()
    )


def test_products_of_128_bits_are_those_of_integers():
    rng = np.random.default_rng(1)
    edges = np.array([0, 1, -1, 2**32 - 1, 2**32, -(2**32), 2**63 - 1, -(2**63)], "i8")
    left = np.concatenate([np.repeat(edges, len(edges)), rng.integers(-(2**63), 2**63, 500)])
    right = np.concatenate([np.tile(edges, len(edges)), rng.integers(-(2**63), 2**63, 500)])
    got = [int(high) * 2**64 + int(low) % 2**64 for low, high in product(left, right)]
    assert got == [int(a) * int(b) for a, b in zip(left.tolist(), right.tolist())]


def test_integers_are_packed_by_their_differences(root):
    """Half of what a dictionary takes, for a stream of trades."""
    path = root / TRADES / "2024-08-09.parquet"
    packed = pq.read_table(path)
    encodings = pq.read_metadata(path).row_group(0)
    by = {encodings.column(i).path_in_schema: encodings.column(i) for i in range(encodings.num_columns)}
    assert "DELTA_BINARY_PACKED" in by["seq"].encodings and "DELTA_BINARY_PACKED" in by["seq_ns"].encodings
    assert "RLE_DICTIONARY" in by["side"].encodings
    other = root / "dictionaries.parquet"
    pq.write_table(packed, other, compression="zstd", version="2.6")
    ids = [("seq", 0.5), ("trade_id", 0.5), ("price_ticks", 1.0)]
    sizes = pq.read_metadata(other).row_group(0)
    before = {sizes.column(i).path_in_schema: sizes.column(i).total_compressed_size for i in range(sizes.num_columns)}
    assert all(by[name].total_compressed_size <= before[name] * share for name, share in ids)


@pytest.mark.parametrize(
    "decimals, names",
    [("mantissa", {"price_ticks", "quantity_lots", "fee_mantissa", "price_exponent"}), ("exact", {"price", "quantity", "fee"})],
)
def test_a_fee_is_not_a_mantissa_beside_decimals(decimals, names):
    rows = np.zeros(2, row_dtype(Kind.fill))
    rows["price_ticks"], rows["quantity_lots"], rows["fee"], rows["side"] = 6_183_763, 2, 915_855, (1, -1)
    columns = ExportColumns(Kind.fill, "binance.BTCUSDT", (-2, -5), decimals)
    table = columns.table(rows, columns.schema())
    assert names | {"notional", "side", "maker"} <= set(table.column_names) and table["side"].to_pylist() == ["buy", "sell"]
    assert table["notional"][0].as_py() == (Decimal("1.2367526") if decimals == "exact" else pytest.approx(1.2367526))
    assert decimals == "mantissa" or table["fee"][0].as_py() == Decimal("0.00915855")
