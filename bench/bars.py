"""Resampling a day of 20 and of 50 million trades to one-minute bars: from ticks and from the pyramid, beside other engines.

`python -m bench bars`. The day is made here, seeded, in a temporary folder: as an archive file, as Parquet (zstd, the same
columns with the same integer types) for polars and duckdb, and in ArcticDB where that is installed. Every engine gives the same
bars (checked); ArcticDB gives no first and last ids, bought volume and notional, and so has less to do. Ours take one thread,
the others all cores: compared are time, and time of the processor. Files are in the page cache for all, contestants take turns.
TICKMESH_BENCH_BAR_TRADES: other numbers of trades, like "1000000,2000000".
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bench import arctic
from bench.floor import take_turns
from tickmesh.bus.schema import DESCRIPTION, HEADER, SCHEMA_HASH, SCHEMA_VERSION, TRADE, Kind
from tickmesh.storage.archive.file import FORMAT, HDF5_VERSIONS, ArchiveFile
from tickmesh.storage.bars import kernels, pyramid
from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import TRADE_COLUMNS, bars_of, stored
from tickmesh.storage.hdf5.chunks import Chunked
from tickmesh.storage.hdf5.columns import Table
from tickmesh.storage.hdf5.encoding import TableWriter
from tickmesh.storage.hdf5.packing import CHUNK_ROWS

TRADES = 20_000_000
LARGE = 50_000_000
WINDOW = 1 << 20
DAY_NS = 86_400 * SECOND_NS
START_NS = 19_944 * DAY_NS  # 2024-08-09
MINUTE = 60 * SECOND_NS


def market(trades: int = TRADES, seed: int = 1) -> Iterator[np.ndarray]:
    """TRADE records of one day, WINDOW at a time: a busy pair at 10^−8 whose price moves in cents, sizes in 10^−5."""
    rng = np.random.default_rng(seed)
    tick, at = 6_183_763, 0.0
    for first in range(0, trades, WINDOW):
        rows = min(WINDOW, trades - first)
        out = np.zeros(rows, TRADE)
        waits = rng.exponential(86_399e3 / trades, rows)
        times = np.minimum(at + np.cumsum(waits), 86_399_999.0)
        at = float(times[-1])
        out["trade_id"] = np.arange(first, first + rows) + 3_000_000_000
        out["venue_ns"] = out["event_ns"] = START_NS + times.astype("i8") * 1_000_000
        steps = tick + np.cumsum(rng.integers(-1, 2, rows) * (rng.random(rows) < 0.2))
        tick = int(steps[-1])
        out["price_ticks"] = steps * 1_000_000
        out["quantity_lots"] = (rng.lognormal(5, 2, rows).astype("i8") + 1) * 1000
        out["side"] = np.where(rng.random(rows) < 0.5, 1, -1)
        yield out


def with_headers(records: np.ndarray, first: int) -> Table:
    """As a feed and the sequencer would stamp them, with hops of some tens of µs."""
    out = np.zeros(len(records), HEADER)
    out["size"], out["count"], out["kind"] = HEADER.itemsize + TRADE.itemsize, 1, Kind.trade
    out["producer"], out["subject"], out["epoch"] = b"feed-1", b"binance.BTCUSDT", START_NS
    out["seq"] = out["number"] = np.arange(first + 1, first + 1 + len(records))
    out["link"] = out["seq"] - 1
    out["first_id"] = out["last_id"] = records["trade_id"]
    out["venue_ns"] = out["recv_ns"] = records["venue_ns"]
    out["sent_ns"], out["seq_ns"] = out["recv_ns"] + 30_000, out["recv_ns"] + 90_000
    return Table(out, records)


def make(folder: Path, trades: int) -> tuple[Path, Path]:
    """(archive file with its pyramid, parquet file)."""
    day, parquet = folder / "day.h5", folder / "day.parquet"
    writer = TableWriter(Kind.trade)
    for number, records in enumerate(market(trades)):
        writer.survey(with_headers(records, number * WINDOW))
    sink = None
    with h5py.File(day, "w", libver=HDF5_VERSIONS) as file:
        writer.begin(file.create_group("trade"))
        for number, records in enumerate(market(trades)):
            writer.write(with_headers(records, number * WINDOW))
            table = pa.table({name: np.ascontiguousarray(records[name]) for name in TRADE_COLUMNS})
            sink = sink or pq.ParquetWriter(parquet, table.schema, compression="zstd")
            sink.write_table(table, row_group_size=WINDOW)
        writer.close()
        file.attrs.update({"format": FORMAT, "schema_version": SCHEMA_VERSION, "schema_hash": SCHEMA_HASH})
        file.create_dataset("schema", data=json.dumps(DESCRIPTION))
    if sink is not None:
        sink.close()
    with h5py.File(day, "r+") as file:
        pyramid.derive(file)
    return day, parquet


def read_columns(path: Path) -> int:
    """The floor: the same columns decoded, and nothing done with them. One thread, as of the bars: two are no quicker."""
    with ArchiveFile(path) as segment:
        rows = int(segment.file["trade"].attrs["records"])
        columns = [Chunked(segment.file["trade/records"], name, rows, kernels) for name in TRADE_COLUMNS]
        pieces = range(-(-rows // CHUNK_ROWS))
        return sum(len(column.piece(piece).stored) for piece in pieces for column in columns) // len(columns)


def from_ticks(path: Path) -> np.ndarray:
    with ArchiveFile(path) as segment:
        return bars_of(stored(segment.file, kernels), Window(MINUTE)).bars


def from_pyramid(path: Path) -> np.ndarray:
    with ArchiveFile(path) as segment:
        return pyramid.seen_in(segment.file, Window(MINUTE)).bars


def by_polars(path: Path) -> list[tuple]:
    price, lots = pl.col("price_ticks"), pl.col("quantity_lots")
    return (
        pl.scan_parquet(path)
        .group_by((pl.col("venue_ns") // MINUTE).alias("minute"))
        .agg(
            pl.len(), pl.col("trade_id").min().alias("first"), pl.col("trade_id").max().alias("last"),
            price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
            lots.sum().alias("volume"), lots.filter(pl.col("side") > 0).sum().alias("bought"),
            (price.cast(pl.Float64) * lots).sum().alias("notional"),
        )
        .sort("minute")
        .collect()
        .rows()
    )  # fmt: skip


def by_duckdb(path: Path) -> list[tuple]:
    found = duckdb.sql(
        f"""select venue_ns // {MINUTE} as minute, count(*), min(trade_id), max(trade_id), arg_min(price_ticks, trade_id),
        max(price_ticks), min(price_ticks), arg_max(price_ticks, trade_id), sum(quantity_lots)::bigint,
        sum(quantity_lots) filter (side > 0)::bigint, sum(price_ticks::double * quantity_lots)
        from read_parquet('{path}') group by minute order by minute"""
    )
    assert found is not None
    return found.fetchall()


def same(bars: np.ndarray, rows: list[tuple]) -> bool:
    names = ("count", "first_id", "last_id", "open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots")
    ours = [bars["begin_ns"] // MINUTE, *(bars[name] for name in (*names, "buy_volume_lots"))]
    return [tuple(row[: len(ours)]) for row in rows] == list(zip(*(column.tolist() for column in ours)))


def compare(trades: int) -> dict[str, float]:
    """Prints the figures of a day of so many trades; gives trades/s and ratios."""
    with tempfile.TemporaryDirectory(prefix="tickmesh-bench-") as scratch:
        day, parquet = make(Path(scratch), trades)
        with h5py.File(day) as file:
            body = sum(file["trade/records"][name].id.get_storage_size() for name in TRADE_COLUMNS)
            level = file["bars/60"].id.get_storage_size()
        print(f"bars: one-minute bars of a day of {trades:,} trades")
        print(f"  {body / 1e6:.0f} MB in these columns of the archive, {parquet.stat().st_size / 1e6:.0f} MB as parquet (zstd)")
        contestants: dict[str, Callable[[], Any]] = {
            "reading the columns alone": lambda: read_columns(day),
            "bars from ticks": lambda: from_ticks(day),
            "polars over parquet": lambda: by_polars(parquet),
            "duckdb over parquet": lambda: by_duckdb(parquet),
        }
        if arctic.INSTALLED:
            library = arctic.stored(Path(scratch), market(trades))
            contestants["ArcticDB"] = lambda: arctic.minutes(library)
        else:
            print("  ArcticDB is not installed (pip install 'tickmesh[bench]')")
        turns = take_turns(contestants | {"bars from the pyramid": lambda: from_pyramid(day)})
    ticks, pyramid_turn = turns["bars from ticks"], turns.pop("bars from the pyramid")
    assert same(ticks.given, turns["duckdb over parquet"].given), "ticks and duckdb differ"
    assert same(ticks.given, turns["polars over parquet"].given), "ticks and polars differ"
    assert ticks.given.tobytes() == pyramid_turn.given.tobytes(), "ticks and pyramid differ"
    if "ArcticDB" in turns:
        arctic.check(turns["ArcticDB"].given, ticks.given)
    for name, one in turns.items():
        print(
            f"  {name:<26} {one.wall_s * 1000:8.1f} ms   {trades / one.wall_s / 1e6:6.1f} M trades/s   "
            f"{one.cpu_s * 1000:8.1f} ms of the processor"
        )
    peers = [one for name, one in turns.items() if name not in ("reading the columns alone", "bars from ticks")]
    floor, wall, cpu = turns["reading the columns alone"], min(p.wall_s for p in peers), min(p.cpu_s for p in peers)
    print(f"  {'bars from the pyramid':<26} {pyramid_turn.wall_s * 1000:8.1f} ms   {level / 1000:.0f} kB read")
    for what, ours_s, floor_s, peer_s in (
        ("time", ticks.wall_s, floor.wall_s, wall), ("processor", ticks.cpu_s, floor.cpu_s, cpu),
    ):  # fmt: skip
        print(
            f"  from ticks, {what}: {ours_s / floor_s:.2f} × the columns alone (aim ≤ 1.5), "
            f"{peer_s / ours_s:.1f} × the fastest peer (aim 2)"
        )
    print(f"  from the pyramid: {wall / pyramid_turn.wall_s:.0f} × the fastest peer (aim 100)")
    return {
        "bars_trades_per_s": trades / ticks.wall_s, "bars_to_columns": ticks.cpu_s / floor.cpu_s,
        "bars_to_peer": cpu / ticks.cpu_s, "pyramid_to_peer": wall / pyramid_turn.wall_s,
    }  # fmt: skip


def main() -> dict[str, float]:
    wanted = os.environ.get("TICKMESH_BENCH_BAR_TRADES") or f"{TRADES},{LARGE}"
    figures: dict[str, float] = {}
    for trades in map(int, wanted.split(",")):
        figures |= {f"{name}_{trades}": value for name, value in compare(trades).items()}
    return figures


if __name__ == "__main__":
    main()
