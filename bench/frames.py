"""The trades of a day into a DataFrame: from the archive by `db.trades`, beside polars on Parquet of the same table.

`python -m bench frames`. The Parquet files are written by polars with its defaults (zstd): of the whole table, and of the
columns alone that are stored for a trade. Everything is in the page cache, everybody on one core; seconds of the processor.
TICKMESH_BENCH_TRADES: another number of trades.
"""

import os
from pathlib import Path

import polars as pl

from bench import stored_days
from bench.floor import line, one_core, take_turns, throw_away_mesh
from tickmesh.bus.schema import Kind
from tickmesh.research.database import Database
from tickmesh.research.sources import MeshSource

TRADES = 4_000_000
STORED = ("seq", "seq_ns", "trade_id", "price", "quantity", "venue_ns", "event_ns", "side")


def main() -> dict[str, float]:
    trades = int(os.environ.get("TICKMESH_BENCH_TRADES") or TRADES)
    config = throw_away_mesh(instruments=[{"symbol": stored_days.SUBJECT.partition(".")[2]}])
    stored_days.write_days(config, 1, trades, (Kind.trade,))
    selection = Database(MeshSource(config)).trades(stored_days.SUBJECT, gaps="ignore")
    whole, some = (config.root / name for name in ("whole.parquet", "some.parquet"))
    frame = selection.to_polars()
    stored = [name for name in STORED if name in frame.columns]
    frame.write_parquet(whole)
    frame.select(stored).write_parquet(some)
    size = sum(path.stat().st_size for path in Path(config.archive_dir).rglob("*.h5"))
    print(f"frames: {trades:,} trades; {size >> 20} MB in the archive, {whole.stat().st_size >> 20} MB as Parquet")
    del frame
    with one_core():
        turns = take_turns(
            {
                "polars": selection.to_polars,
                "pandas": selection.to_pandas,
                "numpy, as stored": selection.to_numpy,
                "parquet": lambda: pl.read_parquet(whole),
                "parquet, stored columns": lambda: pl.read_parquet(some),
            }
        )
    assert turns["polars"].given.equals(turns["parquet"].given), "the frames differ"
    figures = {}
    for name, peer in (("polars", "parquet"), ("pandas", "parquet"), ("numpy, as stored", "parquet, stored columns")):
        own, other = turns[name].cpu_s, turns[peer].cpu_s
        figures[f"frames_{name.partition(',')[0]}_rows_per_s"] = trades / own
        line(
            f"trades of a day to {name}", f"{trades / own / 1e6:.1f} M rows/s",
            f"{trades / other / 1e6:.1f} M/s, polars on {peer}", own / other,
        )  # fmt: skip
    return figures


if __name__ == "__main__":
    main()
