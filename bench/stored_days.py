"""Days of one instrument in an archive of its own, made as fast as columns are written: what benchmarks of reading read.

Of every eight events five are quotes, two are trades and one is a change of the book with LEVELS levels; a day opens with the
instrument's definition and a snapshot of the book. Seeded: the same days each time. Files are those of the archive's writer,
one cut a day, but that nothing is proven (an empty ledger) and no checksum of the contents is in them.
"""

import json
from collections.abc import Iterator, Mapping

import h5py
import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import (
    COVERAGE,
    DEPTH,
    DESCRIPTION,
    DTYPES,
    HEADER,
    QUOTE,
    SCHEMA_HASH,
    SCHEMA_VERSION,
    TRADE,
    Flag,
    Kind,
)
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.archive.catalog import DAY_NS, MANIFEST, Watermark, day_of, manifest
from tickmesh.storage.archive.file import FORMAT, HDF5_VERSIONS, folder_of, names_of, write_book
from tickmesh.storage.coverage.ledger import CoverageLedger, write_ledger
from tickmesh.storage.coverage.position import BEGINNING
from tickmesh.storage.hdf5.columns import Table
from tickmesh.storage.hdf5.encoding import TableWriter

SUBJECT = "binance.BTCUSDT"
START_NS = 19_944 * DAY_NS  # 2024-08-09
WINDOW = 1 << 18  # events that are made at once
PATTERN = (Kind.quote, Kind.trade, Kind.quote, Kind.quote, Kind.trade, Kind.quote, Kind.depth, Kind.quote)
LEVELS = 12
TICK, LOT = 1_000_000, 1000  # a cent at 10^−8, and 10^−5
MIDDLE = 6_000_000  # the price's ticks
SNAPSHOT_LEVELS = 2000
LOG_ID = 1


def write_days(config: Config, days: int, events: int, pattern: tuple[Kind, ...] = PATTERN) -> int:
    """Writes so many days with `events` market events each into the config's archive; gives the last seq."""
    seq = 0
    for day in range(days):
        seq = _write_day(config, day, seq, events, pattern)
        mark = Watermark(seq, LOG_ID)
        (config.archive_dir / MANIFEST).write_bytes(manifest(mark))
    return seq


def _write_day(config: Config, day: int, before: int, events: int, pattern: tuple[Kind, ...]) -> int:
    folder, name = folder_of(Kind.trade, SUBJECT), day_of(START_NS + day * DAY_NS)
    first, last = before + 1, before + events + 2
    path = config.archive_dir / folder / name / f"{first:020d}-{last:020d}.h5"
    path.parent.mkdir(parents=True)
    writers = {kind: TableWriter(kind) for kind in dict.fromkeys((Kind.instrument, Kind.depth, *pattern))}
    for tables in _windows(day, first, events, pattern):
        for kind, table in tables.items():
            writers[kind].survey(table)
    with h5py.File(path, "w", libver=HDF5_VERSIONS) as file:
        for kind in sorted(writers):
            writers[kind].begin(file.create_group(kind.name))
        for tables in _windows(day, first, events, pattern):
            for kind, table in tables.items():
                writers[kind].write(table)
        for writer in writers.values():
            writer.close()
        write_book(file.create_group("book"), ArchivedBook())
        write_ledger(file, CoverageLedger(np.zeros(0, COVERAGE), BEGINNING))
        file.attrs.update(
            {
                "format": FORMAT, "schema_version": SCHEMA_VERSION, "schema_hash": SCHEMA_HASH, "content_sha256": "",
                "log_id": f"{LOG_ID:016x}", "first_seq": np.uint64(first), "last_seq": np.uint64(last), "folder": folder,
                "day": name, "files": names_of([path], config.archive_dir), "price_exponent": -8, "quantity_exponent": -8,
            }
        )  # fmt: skip
        file.create_dataset("schema", data=json.dumps(DESCRIPTION))
    return last


def _windows(day: int, first: int, events: int, pattern: tuple[Kind, ...]) -> Iterator[Mapping[Kind, Table]]:
    """The events of a day in order, some at a time; the first two are the definition and the book."""
    random = np.random.default_rng(day + 1)
    begin_ns, step_ns = START_NS + day * DAY_NS, DAY_NS // (events + 2)
    rules = np.array([(-8, -8, TICK, LOT, LOT, 0, 0)], DTYPES[Kind.instrument])
    far = np.arange(1, SNAPSHOT_LEVELS // 2 + 1)
    book = np.zeros(SNAPSHOT_LEVELS, DEPTH)
    book["price_ticks"] = np.concatenate([MIDDLE - far, MIDDLE + far]) * TICK
    book["side"], book["quantity_lots"] = np.repeat([1, -1], SNAPSHOT_LEVELS // 2), 50 * LOT
    opening = {
        Kind.instrument: Table(_headers(Kind.instrument, np.array([first]), np.array([begin_ns]), rules, 1), rules),
        Kind.depth: Table(_headers(Kind.depth, np.array([first + 1]), np.array([begin_ns]), book, SNAPSHOT_LEVELS), book),
    }
    opening[Kind.depth].headers["flags"] = Flag.SNAPSHOT
    yield opening
    kinds = np.array(pattern, "i8")
    for start in range(0, events, WINDOW):
        at = np.arange(start, min(start + WINDOW, events))
        price = MIDDLE + np.cumsum(random.integers(-1, 2, len(at)) * (random.random(len(at)) < 0.2))
        quantity = (random.lognormal(5, 2, len(at)).astype("i8") + 1) * LOT
        side = np.where(random.random(len(at)) < 0.5, 1, -1)
        yield {
            kind: _table(kind, first + 2 + at[own], begin_ns + (at[own] + 2) * step_ns, price[own], quantity[own], side[own])
            for kind in dict.fromkeys(pattern)
            if (own := np.flatnonzero(kinds[at % len(kinds)] == kind)).size
        }


def _table(kind: Kind, seqs: np.ndarray, times: np.ndarray, price: np.ndarray, quantity: np.ndarray, side: np.ndarray) -> Table:
    venue_ns = times // 1_000_000 * 1_000_000
    if kind is Kind.trade:
        trades = np.zeros(len(seqs), TRADE)
        trades["trade_id"], trades["price_ticks"], trades["quantity_lots"], trades["side"] = seqs, price * TICK, quantity, side
        trades["venue_ns"] = trades["event_ns"] = venue_ns
        return Table(_headers(kind, seqs, times, trades, 1), trades)
    if kind is Kind.quote:
        quotes = np.zeros(len(seqs), QUOTE)
        quotes["update_id"], quotes["venue_ns"] = seqs, venue_ns
        quotes["bid_ticks"], quotes["ask_ticks"] = (price - 1) * TICK, price * TICK
        quotes["bid_lots"], quotes["ask_lots"] = quantity, np.roll(quantity, 1)
        return Table(_headers(kind, seqs, times, quotes, 1), quotes)
    levels = np.zeros(len(seqs) * LEVELS, DEPTH)
    away = np.tile(np.arange(1, LEVELS + 1), len(seqs))
    levels["side"] = np.where(away % 2, 1, -1)
    levels["price_ticks"] = (np.repeat(price, LEVELS) - levels["side"] * away) * TICK
    levels["quantity_lots"] = np.repeat(quantity, LEVELS) * (away % 3 > 0)
    return Table(_headers(kind, seqs, times, levels, LEVELS), levels)


def _headers(kind: Kind, seqs: np.ndarray, times: np.ndarray, records: np.ndarray, count: int) -> np.ndarray:
    """As a feed and the sequencer would stamp them, with hops of some tens of µs."""
    out = np.zeros(len(seqs), HEADER)
    out["size"], out["count"], out["kind"] = HEADER.itemsize + count * records.itemsize, count, kind
    out["producer"], out["subject"], out["epoch"] = b"feed-1", SUBJECT.encode(), START_NS
    out["seq"] = out["number"] = out["first_id"] = out["last_id"] = seqs
    out["seq_ns"], out["recv_ns"], out["sent_ns"] = times, times - 90_000, times - 60_000
    out["venue_ns"] = times // 1_000_000 * 1_000_000
    return out
