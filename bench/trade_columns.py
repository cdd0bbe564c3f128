"""Reading a day of trades from the page cache into an array a column, with one thread and with two.

`python -m bench trade_columns`. Chunks are read under HDF5's lock and decoded beside it (storage/hdf5/chunks.py); each thread
has half of the rows of a column at a time. TICKMESH_BENCH_TRADES: other trades of the day.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench import stored_days
from bench.floor import line, take_turns, throw_away_mesh
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.file import ArchiveFile
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.hdf5 import kernels
from tickmesh.storage.hdf5.chunks import OrderedColumn
from tickmesh.storage.hdf5.packing import CHUNK_ROWS

TRADES = 4_000_000
COLUMNS = ("trade_id", "venue_ns", "price_ticks", "quantity_lots", "side")
RECORD = DTYPES[Kind.trade]


def read(group: object, rows: int, threads: int) -> dict[str, np.ndarray]:
    """All COLUMNS of `group`, the records of a file's trades."""
    out = {name: np.zeros(rows, RECORD[name]) for name in COLUMNS}
    middle = rows // 2 // CHUNK_ROWS * CHUNK_ROWS

    def part(job: tuple[str, int, int]) -> None:
        name, start, stop = job
        OrderedColumn(group, name, rows, kernels).read_into(out[name][start:stop], start, stop)

    with ThreadPoolExecutor(threads) as pool:
        jobs = [(name, start, stop) for name in COLUMNS for start, stop in ((0, middle), (middle, rows))]
        list(pool.map(part, jobs))
    return out


def main() -> dict[str, list[float]]:
    config = throw_away_mesh()
    stored_days.write_days(config, 1, int(os.environ.get("TICKMESH_BENCH_TRADES") or TRADES), (Kind.trade,))
    (file,) = ArchiveReader(config.archive_dir).files
    with ArchiveFile(file.path) as segment:
        rows, group = segment.reader(Kind.trade).records, segment.file["trade/records"]
        turns = take_turns({"one": lambda: read(group, rows, 1), "two": lambda: read(group, rows, 2)})
        stored = segment.table(Kind.trade).records
    for name, values in turns["two"].given.items():
        assert (values == stored[name]).all(), name
    print(f"trade_columns: {rows:,} trades of a day, {len(COLUMNS)} columns: {', '.join(COLUMNS)}; aim: 100 million rows/s")
    for name, turn in turns.items():
        line(f"{name} thread{'s' if name == 'two' else ''}", f"{rows / turn.wall_s / 1e6:.1f} million rows/s",
             f"{rows / turn.cpu_s / 1e6:.1f} million a second of the processor")  # fmt: skip
    return {f"{name}_rows_a_cpu_s": [rows / seconds for seconds in turn.cpu_rounds] for name, turn in turns.items()}
