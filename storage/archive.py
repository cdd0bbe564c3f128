"""The archive: a folder of immutable HDF5 files, and a manifest that says up to which `seq` they are complete.

A *cut* writes the events of one range of `seq` of one UTC day, one file a subject, then renames `watermark.json`. Files beyond
the manifest are from a cut that was interrupted: readers do not see them, the next writer (storage/cut.py) removes them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bus.schema import DTYPES, HEADER, Kind
from bus.wire import Event
from storage.columns import Table, to_bytes
from storage.segment import ArchiveError, Segment, folder_of

DAY_NS = 86_400 * 1_000_000_000
MANIFEST = "watermark.json"
NAME = re.compile(r"(\d{20})-(\d{20})\.h5")


class Watermark(NamedTuple):
    """Every event with seq ≤ `archived_seq` is in the files. `log_id`: of the log they were taken from."""

    archived_seq: int
    log_id: int


class File(NamedTuple):
    first: int
    last: int
    path: Path
    folder: str  # venue/instrument
    day: str


def read_watermark(folder: Path) -> Watermark:
    """(0, 0) for an archive that does not exist yet. Raises ArchiveError when the manifest cannot be read."""
    path = Path(folder) / MANIFEST
    try:
        tree = json.loads(path.read_bytes())
        return Watermark(int(tree["archived_seq"]), int(tree["log_id"], 16))
    except FileNotFoundError:
        return Watermark(0, 0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(
            f'{path} cannot be read: {error!r}; it should be like {{"archived_seq": 1, "log_id": "00ff"}}'
        ) from None


def day_of(seq_ns: int) -> str:
    """UTC day of a time, YYYY-MM-DD."""
    return str(np.datetime64(seq_ns // DAY_NS, "D"))


def list_files(folder: Path) -> list[File]:
    """Every archive file, visible to readers or not, in order of `seq`."""
    found = []
    for path in Path(folder).glob("*/*/*/*.h5"):
        if match := NAME.fullmatch(path.name):
            venue, instrument, day = path.parts[-4:-1]
            found.append(File(int(match[1]), int(match[2]), path, f"{venue}/{instrument}", day))
    return sorted(found)


def manifest(archived_seq: int, log_id: int) -> bytes:
    return json.dumps({"archived_seq": archived_seq, "log_id": f"{log_id:016x}"}).encode() + b"\n"


class ArchiveReader:
    """The archive up to its watermark at the moment of opening (`refresh` moves on)."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.refresh()

    def refresh(self) -> None:
        self.archived_seq, self.log_id = read_watermark(self.folder)
        self.files = [f for f in list_files(self.folder) if f.last <= self.archived_seq]

    def cuts(self, after: int = 0, until: int | None = None, folders: set[str] | None = None) -> Iterator[list[File]]:
        """The files of one cut after the other. Raises ArchiveError when a whole cut is missing in between."""
        last = min(self.archived_seq, until if until is not None else self.archived_seq)
        chosen = [f for f in self.files if f.last > after and f.first <= last]
        position = 0
        expected = after + 1
        while position < len(chosen):
            first, end = chosen[position].first, chosen[position].last
            cut = []
            while position < len(chosen) and chosen[position].first == first:
                cut.append(chosen[position])
                position += 1
            if first > expected:
                raise self._hole(expected, first - 1)
            expected = end + 1
            yield [f for f in cut if folders is None or f.folder in folders]
        if expected <= last:
            raise self._hole(expected, last)

    def _hole(self, first: int, last: int) -> ArchiveError:
        return ArchiveError(
            f"{self.folder} has no file with seq {first} to {last}, although {MANIFEST} says it holds everything up to "
            f"{self.archived_seq}; restore the files from a copy"
        )

    def events(
        self,
        after: int = 0,
        until: int | None = None,
        kinds: Iterable[Kind] | None = None,
        subject: str | None = None,
    ) -> Iterator[Event]:
        """Events with after < seq ≤ until in order, the same bytes as in the log. One cut is in memory at a time.

        Raises ArchiveError for a damaged file, and for a missing one when nothing is filtered out.
        """
        wanted = frozenset(Kind) if kinds is None else frozenset(kinds)
        folders = None if subject is None else {folder_of(kind, subject) for kind in wanted}
        for cut in self.cuts(after, until, folders):
            buffers: list[memoryview] = []
            seqs: list[np.ndarray] = []
            places: list[np.ndarray] = []
            for file in cut:
                with Segment(file.path) as segment:
                    for kind in segment.kinds:
                        if kind in wanted:
                            table = segment.table(kind)
                            data, starts = to_bytes(table)
                            keep = np.ones(len(starts), bool)
                            if subject is not None:
                                keep = table.headers["subject"] == subject.encode()
                            places.append(np.stack([np.full(keep.sum(), len(buffers)), starts[keep]]))
                            seqs.append(table.headers["seq"][keep])
                            buffers.append(memoryview(data).toreadonly())
            if not seqs:
                continue
            seq = np.concatenate(seqs)
            if subject is None and kinds is None and len(seq) != cut[0].last - cut[0].first + 1:
                raise ArchiveError(
                    f"the files {cut[0].path.name} hold {len(seq)} events; {cut[0].last - cut[0].first + 1} belong there. "
                    f"One is missing: {', '.join(self._missing(cut)) or 'unknown which'}; restore it from a copy"
                )
            order = np.argsort(seq, kind="stable")
            low, high = np.searchsorted(seq[order], [after, np.iinfo("i8").max if until is None else until], "right")
            which, start = np.concatenate(places, axis=1)[:, order[low:high]].tolist()
            for buffer, offset in zip(which, start):
                yield Event(buffers[buffer], offset)

    def _missing(self, cut: list[File]) -> list[str]:
        with Segment(cut[0].path) as segment:
            return [name for name in json.loads(segment.attributes["files"]) if not (self.folder / name).exists()]

    def columns(self, kind: Kind, subject: str, start_ns: int | None = None, end_ns: int | None = None) -> np.ndarray:
        """One row a record with start_ns ≤ seq_ns < end_ns, in order; dtype `row_dtype(kind)`."""
        folder = folder_of(kind, subject)
        first_day = day_of(start_ns) if start_ns is not None else ""
        last_day = day_of(end_ns) if end_ns is not None else "9999"
        parts = []
        for file in self.files:
            if file.folder == folder and first_day <= file.day <= last_day:
                with Segment(file.path) as segment:
                    if kind.name in segment.file:
                        table = segment.table(kind)
                        parts.append(rows_of(kind, table, subject, start_ns, end_ns))
        return np.concatenate(parts) if parts else np.zeros(0, row_dtype(kind))

    def exponents(self, subject: str) -> tuple[int, int] | None:
        """(price_exponent, quantity_exponent) of the newest file of an instrument that knows them."""
        for file in reversed(self.files):
            if file.folder == folder_of(Kind.trade, subject):
                with Segment(file.path) as segment:
                    if segment.exponents is not None:
                        return segment.exponents
        return None

    def check(self) -> list[str]:
        """Reads every file and every event once. Sentences about what is wrong; [] when all is well."""
        wrong = []
        for file in self.files:
            try:
                with Segment(file.path) as segment:
                    segment.check()
            except ArchiveError as error:
                wrong.append(str(error))
        if not wrong:
            try:
                expected = 1
                for event in self.events():
                    if event.seq != expected:
                        wrong.append(f"seq {event.seq} follows {expected - 1} in {self.folder}")
                        break
                    expected += 1
            except ArchiveError as error:
                wrong.append(str(error))
        return wrong


_ROW_HEADER = ("seq", "seq_ns", "recv_ns", "flags", "first_id", "last_id", "venue_ns")


def row_dtype(kind: Kind) -> np.dtype:
    """seq, seq_ns, recv_ns, flags, first_id, last_id, venue_ns of the event, then the record's own fields (which win)."""
    own = DTYPES[kind]
    fields = [(name, own[name].str) for name in own.names or () if not name.startswith("reserved")]
    fields = fields or [("msgpack", own.str)]
    names = {name for name, _ in fields}
    return np.dtype([(name, HEADER[name].str) for name in _ROW_HEADER if name not in names] + fields)


def rows_of(kind: Kind, table: Table, subject: str, start_ns: int | None = None, end_ns: int | None = None) -> np.ndarray:
    """A table's records with their event's fields beside them, dtype `row_dtype(kind)`."""
    headers, records = table
    keep = headers["subject"] == subject.encode()
    if start_ns is not None:
        keep &= headers["seq_ns"] >= start_ns
    if end_ns is not None:
        keep &= headers["seq_ns"] < end_ns
    counts = headers["count"].astype("i8")
    if not keep.all():
        records = records[np.repeat(keep, counts)]
        headers, counts = headers[keep], counts[keep]
    dtype = row_dtype(kind)
    out = np.zeros(len(records), dtype)
    single = len(headers) == len(records)
    own = records.dtype.names or ()
    for name in dtype.names or ():
        if name in own:
            out[name] = records[name]
        elif name == "msgpack":
            out[name] = records
        else:
            out[name] = headers[name] if single else np.repeat(headers[name], counts)
    return out
