"""The coverage ledger: what is known of every interval of ids of every stored stream, from archive and log as one.

Each archive file says what its events prove; what is not archived yet is computed from the log. docs/coverage.md explains.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Coverage, Evidence, Kind, Reason
from tickmesh.bus.segments import LogReleased
from tickmesh.storage.archive.file import SYSTEM, ArchiveError, ArchiveFile, ArchiveGone, folder_of, of_instrument
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.coverage.duration import ends_ns, length_ns, union_ns
from tickmesh.storage.coverage.intervals import COVERED, merge
from tickmesh.storage.coverage.position import BEGINNING
from tickmesh.storage.coverage.stretch import of_tables
from tickmesh.storage.hdf5.columns import Table, from_bytes
from tickmesh.storage.query.times import ReadError, Time, to_ns

__all__ = [
    "COVERED",
    "added",
    "chosen",
    "described",
    "look",
    "merge",
    "missing",
    "of_tables",
    "read",
    "published_until",
    "share",
    "subjects",
]

DOUBTED = (Reason.no_snapshot, Reason.contradiction)  # unproven for what was heard, not by a stream's nature
CHUNK_EVENTS = 50_000  # of the log that are looked at at once


class Look(NamedTuple):
    """One instrument's ledger at one moment, and where its events are: archive files in order, then the log's tables."""

    rows: np.ndarray
    files: list[Path]
    tail: list[dict[Kind, Table]]


def read(
    config: Config, subject: str, kinds: Iterable[Kind | str] | None = None, start: Time = None, end: Time = None
) -> np.ndarray:
    """Reads the ledger of one instrument (`venue.instrument`) up to this moment: COVERAGE rows by stream, era and id.

    `start`, `end`: only intervals that touch start ≤ venue time < end; one whose time is not known is always among them.
    Raises ArchiveError, LogError or ReadError with a sentence.
    """
    wanted = COVERED if kinds is None else [_kind(kind) for kind in kinds]
    return chosen(look(config, subject).rows, wanted, to_ns(start), to_ns(end))


def chosen(rows: np.ndarray, kinds: Iterable[Kind], start_ns: int | None, end_ns: int | None) -> np.ndarray:
    """The rows of a ledger that are of these kinds and touch start ≤ venue time < end, or whose time is not known."""
    keep = np.isin(rows["stream"], list(kinds))
    if start_ns is not None:
        keep &= (rows["end_ns"] >= start_ns) | (rows["end_ns"] == 0)
    if end_ns is not None:
        keep &= rows["begin_ns"] < end_ns
    found: np.ndarray = rows[keep]
    return found


def _kind(kind: Kind | str) -> Kind:
    found = Kind.__members__.get(kind) if isinstance(kind, str) else kind
    if found not in COVERED:
        raise ReadError(f"{kind} has no coverage; it should be one of {', '.join(one.name for one in COVERED)}")
    return Kind(found)


def look(config: Config, subject: str) -> Look:
    """Reads the whole ledger of one instrument; reads again when files were archived or sealed meanwhile."""
    return retry_if_moved(config, lambda: _look(config, subject))


Result = TypeVar("Result")


def retry_if_moved(config: Config, work: Callable[[], Result]) -> Result:
    """Calls `work` and gives its result; calls it again when files were archived, sealed or pruned while it read them."""
    while True:
        before = _moment(config)
        try:
            return work()
        except (ArchiveError, LogReleased) as error:
            if _moment(config) != before:
                continue
            if isinstance(error, ArchiveError):
                raise
            raise ReadError(
                f"{config.archive_dir} ends before {config.log_dir} begins ({error}); restore the missing part from a copy"
            ) from None


def _moment(config: Config) -> tuple[int, list[Path]]:
    archive = ArchiveReader(config.archive_dir)
    return archive.archived_seq, [file.path for file in archive.files]


def _look(config: Config, subject: str) -> Look:
    archive = ArchiveReader(config.archive_dir)
    folder = folder_of(Kind.trade, subject)
    archive.require(folder)
    parts, state = [], BEGINNING
    files = [file.path for file in archive.files if file.folder == folder]
    for number, path in enumerate(files):
        with ArchiveFile(path) as segment:
            if (ledger := segment.ledger(state if number else None)) is not None:
                parts.append(ledger.rows)
                state = ledger.after
    tail = []
    for tables in _tables_of_log(config, archive.archived_seq, subject):
        rows, state = of_tables(tables, subject, state)
        parts.append(rows)
        tail.append(tables)
    return Look(merge(parts), files, tail)


def _tables_of_log(config: Config, after: int, subject: str) -> Iterator[dict[Kind, Table]]:
    """One instrument's events in the log with seq > `after`, some at a time."""
    kinds = (*COVERED, Kind.gap)
    raws: dict[Kind, list[bytes]] = defaultdict(list)
    held = 0
    for event in LogReader(config.log_dir).events(after):
        if event.kind in kinds and event.subject == subject:
            raws[Kind(event.kind)].append(bytes(event.raw))
            held += 1
            if held >= CHUNK_EVENTS:
                yield _tables(raws)
                raws.clear()
                held = 0
    if held:
        yield _tables(raws)


def _tables(raws: dict[Kind, list[bytes]]) -> dict[Kind, Table]:
    return {kind: from_bytes(kind, b"".join(own), np.array([len(raw) for raw in own], "i8")) for kind, own in raws.items()}


def subjects(config: Config) -> list[str]:
    """Lists every instrument of which anything is stored, or that is configured."""

    def found() -> list[str]:
        archive = ArchiveReader(config.archive_dir)
        names = {instrument.subject for instrument in config.instruments}
        newest = {file.folder: file.path for file in archive.files if of_instrument(file.folder)}
        for path in newest.values():
            with ArchiveFile(path) as segment:
                names.update(segment.subjects())
        logged = LogReader(config.log_dir).events(archive.archived_seq)
        names.update(event.subject for event in logged if event.kind in COVERED)
        return sorted(names)

    return retry_if_moved(config, found)


def added(config: Config, after: int, until: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """The coverage that archive files with `after` < last seq ≤ `until` state, by subject; a sentence for each damaged file."""

    def found() -> tuple[dict[str, np.ndarray], list[str]]:
        parts: dict[str, list[np.ndarray]] = defaultdict(list)
        damaged: list[str] = []
        for file in ArchiveReader(config.archive_dir).files:
            if after < file.last <= until and of_instrument(file.folder):
                try:
                    with ArchiveFile(file.path) as segment:
                        if (ledger := segment.ledger()) is not None and len(ledger.rows):
                            parts[segment.subjects()[0]].append(ledger.rows)
                except ArchiveGone:
                    raise  # sealed meanwhile: look again
                except ArchiveError as error:
                    damaged.append(str(error))
        return {subject: merge(own) for subject, own in sorted(parts.items())}, damaged

    return retry_if_moved(config, found)


def published_until(config: Config) -> int:
    """The seq up to which the coverage of archive files is in the log, too, by the recorder's newest watermark."""

    def newest() -> int:
        archive = ArchiveReader(config.archive_dir)
        logged = LogReader(config.log_dir).events(archive.archived_seq)
        found = [int(event.records["archived_seq"][-1]) for event in logged if event.kind == Kind.watermark]
        for file in reversed(archive.files):
            if found:
                break
            if file.folder == SYSTEM:
                try:
                    with ArchiveFile(file.path) as segment:
                        if Kind.watermark in segment.kinds:
                            found = segment.table(Kind.watermark).records["archived_seq"].tolist()
                except ArchiveGone:
                    raise
                except ArchiveError:
                    continue  # an older one says less: then more is said again, which changes nothing
        return max(found, default=0)

    return retry_if_moved(config, newest)


# -- what to say about rows


def missing(rows: np.ndarray) -> np.ndarray:
    """The rows whose ids are missing."""
    out: np.ndarray = rows[rows["state"] == Coverage.missing]
    return out


def is_lacking(rows: np.ndarray) -> np.ndarray:
    """Whether each row (bool) states a lack: missing ids, changes without a book, or ids that were taken back.

    What a venue conflates or does not number lacks nothing that is known of.
    """
    doubted = (rows["state"] == Coverage.unproven) & np.isin(rows["reason"], DOUBTED)
    out: np.ndarray = (rows["state"] == Coverage.missing) | doubted
    return out


def lacking(rows: np.ndarray) -> np.ndarray:
    """The rows that state a lack, by `is_lacking`."""
    out: np.ndarray = rows[is_lacking(rows)]
    return out


def share(rows: np.ndarray) -> tuple[float, float]:
    """The shares (of ids, of time), 0…1, that are complete or repaired, of rows of one stream; (0, 0) of no rows.

    Of time: of the span from the first known begin to the last end, what no other row covers. Intervals overlap in time, so
    each moment counts once. A row whose end is not known (the last ids of an era) lasts until something else begins.
    """
    if not len(rows):
        return 0.0, 0.0
    proven = np.isin(rows["state"], (Coverage.complete, Coverage.repaired))
    ids = rows["last_id"] - rows["first_id"] + 1
    begin, end = rows["begin_ns"], ends_ns(rows)
    known = (begin > 0) & (end >= begin)
    whole = int(end[known].max() - begin[known].min()) if known.any() else 0
    lost_ns = length_ns(union_ns(begin[known & ~proven], end[known & ~proven]))
    by_time = 1 - lost_ns / whole if whole else float(proven.all())
    return float(ids[proven].sum() / ids.sum()), by_time


def described(rows: np.ndarray) -> list[dict[str, Any]]:
    """Describes rows by plain values: names for numbers, ISO 8601 times (UTC) or None where the time is not known."""
    return [
        {
            "kind": Kind(row["stream"]).name,
            "state": Coverage(row["state"]).name,
            "first_id": int(row["first_id"]),
            "last_id": int(row["last_id"]),
            "begin": iso(int(row["begin_ns"])),
            "end": iso(int(row["end_ns"])),
            "evidence": Evidence(row["evidence"]).name,
            "reason": Reason(row["reason"]).name,
            "era": int(row["era"]),
        }
        for row in rows
    ]


def span_text(row: Mapping[str, Any]) -> str:
    """The time of a row of `described` in words. The end of an era's last lack is not known: there ids began anew."""
    end = row["end"] or ("where ids began anew" if row["reason"] == Reason.reset.name else "now")
    return f"{row['begin'] or 'unknown'} to {end}"


def iso(ns: int) -> str | None:
    """Formats a time: 2024-08-09T00:00:00.123456789Z, without zeros at the end; None for 0, which is not known."""
    return f"{str(np.datetime64(ns, 'ns')).rstrip('0').rstrip('.')}Z" if ns else None
