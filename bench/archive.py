"""What the archive costs: bytes per trade, quote and depth level beside parquet, and events per second in and out.

`python bench/archive.py [capture.gz …]`: by default the hftbacktest captures under TICKMESH_DATA (../shared/data beside the
project), and a synthetic market where there are none. Everything is measured in this run, on this machine.
"""

import gzip
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tickmesh.bus.names import producer_bytes  # noqa: E402
from tickmesh.bus.schema import DTYPES, Flag, Kind  # noqa: E402
from tickmesh.bus.segments import Batch  # noqa: E402
from tickmesh.bus.wire import encode, stamp_sent, stamp_sequenced  # noqa: E402
from tickmesh.storage.archive.file import ArchiveFile  # noqa: E402
from tickmesh.storage.archive.merge import merge  # noqa: E402
from tickmesh.storage.archive.reader import ArchiveReader  # noqa: E402
from tickmesh.storage.archive.writer import ArchiveWriter  # noqa: E402
from tickmesh.storage.hdf5.columns import Table  # noqa: E402

SUBJECT = "binance.BTCUSDT"
CAPTURES = ("usdm/btcusdt_20240808.gz", "spot/btcusdt_20240808.gz")
MILLISECOND = 1_000_000
MICROSECOND_DIGITS = 16  # of a stamp of our days
CUT_EVENTS = 5_000  # about a minute of a busy instrument
SHOWN = {Kind.trade: "trade", Kind.quote: "quote", Kind.depth: "depth level"}


class Frame(msgspec.Struct):
    """One combined-stream frame of Binance, spot or USD-M; of the REST snapshot only `lastUpdateId` and the levels."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    lastUpdateId: int = 0
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


class Trade(msgspec.Struct):
    t: int
    p: str
    q: str
    T: int
    E: int
    m: bool


class Quote(msgspec.Struct):
    u: int
    b: str
    B: str
    a: str
    A: str
    T: int = 0


class Depth(msgspec.Struct):
    U: int
    u: int
    E: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    pu: int | None = None  # USD-M: the id that the change before ended with


def mantissa(text: str) -> int:
    """At 10^−8, exactly."""
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(8, "0"))


def levels_of(bids: list, asks: list) -> np.ndarray:
    out = np.zeros(max(len(bids) + len(asks), 1), DTYPES[Kind.depth])
    for i, (price, quantity) in enumerate(bids + asks):
        out[i] = (mantissa(price), mantissa(quantity), 1 if i < len(bids) else -1, b"")
    return out


def captured(path: Path, subject: str = SUBJECT) -> Iterator[tuple[int, bytearray]]:
    """(receive time, event) of every trade, quote and depth change of a capture, whose stamps are ns or µs."""
    frame, trade = msgspec.json.Decoder(Frame), msgspec.json.Decoder(Trade)
    quote, depth = msgspec.json.Decoder(Quote), msgspec.json.Decoder(Depth)
    with gzip.open(path) as file:
        for line in file:
            stamp, _, text = line.partition(b" ")
            recv, got = int(stamp) * (1000 if len(stamp) <= MICROSECOND_DIGITS else 1), frame.decode(text)
            if got.lastUpdateId:
                ids = dict(first_id=got.lastUpdateId, last_id=got.lastUpdateId, flags=int(Flag.SNAPSHOT), recv_ns=recv)
                yield recv, encode(Kind.depth, subject, levels_of(got.bids, got.asks), **ids)
            elif not got.stream:
                continue
            elif "@trade" in got.stream:
                t = trade.decode(got.data)
                record = np.zeros(1, DTYPES[Kind.trade])
                venue, event = t.T * MILLISECOND, t.E * MILLISECOND
                record[0] = (t.t, mantissa(t.p), mantissa(t.q), venue, event, -1 if t.m else 1, b"")
                ids = dict(first_id=t.t, last_id=t.t, venue_ns=event, recv_ns=recv)
                yield recv, encode(Kind.trade, subject, record, **ids)
            elif "@bookTicker" in got.stream:
                q = quote.decode(got.data)
                record = np.zeros(1, DTYPES[Kind.quote])
                prices = (mantissa(q.b), mantissa(q.B), mantissa(q.a), mantissa(q.A))
                record[0] = (q.u, *prices, q.T * MILLISECOND)
                yield recv, encode(Kind.quote, subject, record, first_id=q.u, last_id=q.u, recv_ns=recv)
            elif "@depth" in got.stream:
                d = depth.decode(got.data)
                first = d.U if d.pu is None else d.pu + 1  # as a feed does: the ids between are no hole
                ids = dict(first_id=first, last_id=d.u, venue_ns=d.E * MILLISECOND, recv_ns=recv)
                yield recv, encode(Kind.depth, subject, levels_of(d.b, d.a), **ids)


def synthetic(count: int = 60_000) -> Iterator[tuple[int, bytearray]]:
    """A random walk, for a machine without captures: sizes are only a rough guide then."""
    rng = np.random.default_rng(1)
    price, now, number = 6_183_763_000_000, 1_723_161_600 * 10**9, 1
    for _ in range(count):
        now += int(rng.exponential(5e6))
        price += int(rng.integers(-3, 4)) * 1_000_000
        number += int(rng.integers(1, 9))
        quantity = int(rng.exponential(50) + 1) * 100_000
        ms = now // MILLISECOND * MILLISECOND
        what = rng.random()
        if what < 0.3:
            record = np.zeros(1, DTYPES[Kind.trade])
            record[0] = (number, price, quantity, ms, ms, int(rng.choice([1, -1])), b"")
            yield now, encode(Kind.trade, SUBJECT, record, first_id=number, last_id=number, venue_ns=ms, recv_ns=now)
        elif what < 0.8:
            record = np.zeros(1, DTYPES[Kind.quote])
            record[0] = (number, price - 1_000_000, quantity, price, int(rng.integers(1, 99)) * 10**5, 0)
            yield now, encode(Kind.quote, SUBJECT, record, first_id=number, last_id=number, recv_ns=now)
        else:
            out = np.zeros(int(rng.integers(1, 40)), DTYPES[Kind.depth])
            out["price_ticks"] = price + rng.integers(-900, 900, len(out)) * 1_000_000
            out["quantity_lots"] = rng.integers(0, 900, len(out)) * 100_000
            out["side"] = np.where(out["price_ticks"] < price, 1, -1)
            yield now, encode(Kind.depth, SUBJECT, out, first_id=number, last_id=number, venue_ns=ms, recv_ns=now)


def sequenced(events: Iterator[tuple[int, bytearray]]) -> list[Batch]:
    """Stamped as two feeds and the sequencer would, with hop times of some tens of µs; in batches of 100."""
    rng = np.random.default_rng(2)
    links: dict[int, int] = {}
    numbers = [0, 0]
    seq_ns, blobs, batches = 0, [], []
    for seq, (recv, event) in enumerate(events, 1):
        line = int(rng.random() < 0.3)
        numbers[0] += 1
        numbers[1] += int(rng.random() < 0.999)
        sent = recv + int(rng.lognormal(10.3, 0.4))
        seq_ns = max(seq_ns, sent + int(rng.lognormal(11, 0.4)))
        stamp_sent(event, producer_bytes(f"feed-{line + 1}"), 1_723_161_000 * 10**9 + line, numbers[line], sent)
        stamp_sequenced(event, seq, links.get(event[8], 0), seq_ns)
        links[event[8]] = seq
        blobs.append(bytes(event))
        if len(blobs) == 100:
            batches.append(Batch(seq - 99, seq, memoryview(b"".join(blobs))))
            blobs = []
    if blobs:
        batches.append(Batch(seq - len(blobs) + 1, seq, memoryview(b"".join(blobs))))
    return batches


def parquet_bytes(columns: dict[str, np.ndarray], best: bool) -> int:
    """Compressed bytes of the column chunks: zstd with pyarrow's defaults, or the best of its encodings for each column."""
    total = 0
    for name, values in columns.items():
        array = pa.array(values if values.dtype.kind != "S" else values.astype(object))
        choices: list[dict] = [dict(compression="zstd")]
        if best:
            choices.append(dict(compression="zstd", compression_level=9, use_dictionary=False))
            for encoding in ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT") if values.dtype.kind in "iu" else ():
                if values.dtype.itemsize >= 4:
                    choices.append(
                        dict(compression="zstd", compression_level=9, use_dictionary=False, column_encoding={name: encoding})
                    )
        sizes = []
        for choice in choices:
            sink = io.BytesIO()
            pq.write_table(pa.table({name: array}), sink, **choice)
            meta = pq.ParquetFile(sink).metadata
            sizes.append(sum(meta.row_group(i).column(0).total_compressed_size for i in range(meta.num_row_groups)))
        total += min(sizes)
    return total


def record_columns(kind: Kind, table: Table) -> dict[str, np.ndarray]:
    names = [name for name in DTYPES[kind].names or () if not name.startswith("reserved")]
    columns = {name: np.ascontiguousarray(table.records[name]) for name in names}
    return columns | ({"count": np.ascontiguousarray(table.headers["count"])} if kind is Kind.depth else {})


def header_columns(kind: Kind, table: Table) -> dict[str, np.ndarray]:
    """All that is not told by the kind, and not a record column already."""
    left_out = {"size", "kind", "reserved", "count" if kind is Kind.depth else ""}
    if kind in (Kind.trade, Kind.quote):
        left_out |= {"last_id"}
    if kind is Kind.trade:
        left_out |= {"venue_ns"}
    names = [name for name in table.headers.dtype.names or () if name not in left_out]
    return {name: np.ascontiguousarray(table.headers[name]) for name in names}


def stored_bytes(segment: ArchiveFile, kind: Kind) -> tuple[int, int]:
    """(record columns, header columns) in the file; a column with two names counts once, as a record column."""
    group = segment.file[kind.name]
    body = group["levels" if kind is Kind.depth else "records"]
    own = {name: body[name] for name in body}
    seen = {dataset.id.get_offset() or dataset.name: dataset for dataset in own.values()}
    first = sum(dataset.id.get_storage_size() for dataset in own.values())
    rest = 0
    for name, dataset in group["events"].items():
        if any(dataset == other for other in seen.values()):
            continue
        if kind is Kind.depth and name == "count":
            first += dataset.id.get_storage_size()
        else:
            rest += dataset.id.get_storage_size()
    return first, rest


def sealed(batches: list[Batch], count: int, folder: Path) -> tuple[int, float, int, float]:
    """(bytes of the sealed files, seconds it took, bytes of the cuts, processor time) of the same events in small cuts."""
    writer = ArchiveWriter(folder / "cuts")
    writer.archive(batches, count, CUT_EVENTS, 1)
    writer.close()
    files = ArchiveReader(folder / "cuts").files
    size, start, cpu = 0, time.perf_counter(), time.process_time()
    for name in sorted({file.folder for file in files}):
        target = folder / "sealed" / name / "day.h5"
        span = {"first_seq": np.uint64(1), "last_seq": np.uint64(count), "part": "day", "folder": name}
        merge([file.path for file in files if file.folder == name], target, span)
        size += target.stat().st_size
    took, took_cpu = time.perf_counter() - start, time.process_time() - cpu
    return size, took, sum(file.path.stat().st_size for file in files), took_cpu


def run(name: str, events: Iterator[tuple[int, bytearray]]) -> dict[str, float]:
    batches = sequenced(events)
    count = batches[-1].last
    raw = sum(len(batch.body) for batch in batches)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        writer = ArchiveWriter(folder)
        start, cpu = time.perf_counter(), time.process_time()
        writer.archive(batches, count, 1 << 30, 1)
        write_s, write_cpu_s = time.perf_counter() - start, time.process_time() - cpu
        writer.close()
        archive = ArchiveReader(folder)
        start = time.perf_counter()
        seen = sum(1 for _ in archive.events())
        read_s = time.perf_counter() - start
        assert seen == count
        file_bytes = sum(file.path.stat().st_size for file in archive.files)
        sealed_bytes, seal_s, cut_bytes, seal_cpu_s = sealed(batches, count, folder)
        rows, columns_s = 0, 0.0
        for kind in SHOWN:
            start = time.perf_counter()
            rows += len(archive.columns(kind, SUBJECT))
            columns_s += time.perf_counter() - start
        print(f"\n{name}: {count:,} events, {raw / 1e6:.1f} MB in the log, {file_bytes / 1e6:.2f} MB in the archive")
        print(
            f"  write {count / write_s:,.0f} events/s, {count / write_cpu_s:,.0f} a second of the processor "
            "(read back and checked before it is visible)"
        )
        print(f"  read  {count / read_s:,.0f} events/s as events, {rows / columns_s:,.0f} rows/s as arrays")
        print(
            f"  seal  {count / seal_s:,.0f} events/s, {count / seal_cpu_s:,.0f} a second of the processor, "
            f"from cuts of {CUT_EVENTS:,} events"
        )
        print(f"  size  {cut_bytes / 1e6:.2f} MB in cuts, {sealed_bytes / 1e6:.2f} MB sealed")
        print(f"  {'bytes per':<12} {'record columns':>32}   {'with all header columns':>32}")
        print(f"  {'':<12} {'archive':>8} {'parquet':>8} {'best':>6} {'ratio':>7}   {'archive':>8} {'parquet':>8} {'best':>6}")
        kinds: dict[Kind, tuple[Any, Any]] = {}
        for file in archive.files:
            with ArchiveFile(file.path) as segment:
                kinds |= {kind: (segment.table(kind), stored_bytes(segment, kind)) for kind in segment.kinds}
        figures = {
            f"{name} write_events_a_cpu_s": count / write_cpu_s, f"{name} seal_events_a_cpu_s": count / seal_cpu_s,
            f"{name} sealed_bytes": float(sealed_bytes),
        }  # fmt: skip
        for kind, label in SHOWN.items():
            if kind not in kinds:
                continue
            table, (own, rest) = kinds[kind]
            n = len(table.records)
            records, headers = record_columns(kind, table), header_columns(kind, table)
            plain, best = parquet_bytes(records, False), parquet_bytes(records, True)
            plain_all, best_all = plain + parquet_bytes(headers, False), best + parquet_bytes(headers, True)
            print(
                f"  {label:<12} {own / n:8.2f} {plain / n:8.2f} {best / n:6.2f} {own / plain:6.0%}   "
                f"{(own + rest) / n:9.2f} {plain_all / n:8.2f} {best_all / n:6.2f}"
            )
            figures[f"{name} bytes a {label}"] = own / n
    return figures


def main() -> dict[str, float]:
    print("archive: HDF5 (shuffle + zstd) beside parquet: zstd with defaults, and the best encoding of each column")
    data = Path(os.environ.get("TICKMESH_DATA") or ROOT.parent / "shared" / "data")
    paths = [Path(word) for word in sys.argv[1:] if Path(word).is_file()] or [data / "hftbacktest" / name for name in CAPTURES]
    found = [path for path in paths if path.is_file()]
    figures: dict[str, float] = {}
    for path in found:
        figures |= run("/".join(path.parts[-2:]), captured(path))
    if not found:
        print(f"no capture under {data} (set TICKMESH_DATA): a synthetic market instead")
        figures |= run("synthetic", synthetic())
    return figures


if __name__ == "__main__":
    main()
