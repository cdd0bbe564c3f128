"""What a request for data is told about what is missing: nothing that is not proven is handed out in silence."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.patterns import some
from tickmesh.bus.schema import COVERAGE, HEADER, Coverage, Flag, Kind, Reason
from tickmesh.bus.segments import LogError
from tickmesh.bus.topics import topic
from tickmesh.storage.archive.catalog import DAY_NS, day_of, day_start_ns
from tickmesh.storage.archive.eras import era_of, eras_in
from tickmesh.storage.archive.file import ArchiveFile
from tickmesh.storage.archive.rows import By
from tickmesh.storage.query.coverage import (
    COVERED,
    Look,
    chosen,
    described,
    is_lacking,
    lacking,
    look,
    retry_if_moved,
    span_text,
)
from tickmesh.storage.query.recorded import RecordedSpan, recorded_spans
from tickmesh.storage.query.times import ReadError

Gaps = Literal["warn", "raise", "mask", "ignore"]
SHOWN_MAX = 5  # intervals that a warning names; `coverage` has all
NO_STRETCH = -1
OWN = ("tickmesh.storage.", "tickmesh.research.")
COVERAGE_NONE = np.zeros(0, COVERAGE)
CHUNK_ROWS = 4096  # of a file that are looked at for the event at the edge of a request


class CoverageWarning(UserWarning):
    """Warns that a request touches an interval that is missing, or whose ids or book are in doubt (`coverage.is_lacking`)."""


class CoverageError(LogError):
    """A request that touches an interval that is missing or in doubt. `intervals`: those, COVERAGE rows."""

    def __init__(self, sentence: str, intervals: np.ndarray):
        super().__init__(sentence)
        self.intervals = intervals


class Rows(np.ndarray):
    """An array of rows with their `coverage`: COVERAGE rows that the request touched (None: not asked for).

    Views and slices keep those of the whole request.
    """

    coverage: np.ndarray | None

    def __array_finalize__(self, other: Any) -> None:
        self.coverage = getattr(other, "coverage", None)


def coverage_of(rows: np.ndarray) -> np.ndarray:
    """The COVERAGE rows that an array carries; no rows where it carries none."""
    carried = getattr(rows, "coverage", None)
    return np.zeros(0, COVERAGE) if carried is None else carried


def rows_with_coverage(
    config: Config,
    kind: Kind,
    subject: str,
    start_ns: int | None,
    end_ns: int | None,
    rows: np.ndarray,
    gaps: Gaps,
    by: By = "seq",
) -> Rows:
    """Adds their coverage to `rows` (dtype row_dtype) of start_ns ≤ seq_ns < end_ns; warns, raises or masks as `gaps` asks.

    `by` "venue": of start_ns ≤ venue time < end_ns. Raises CoverageError, and ReadError for another word than the four.
    """
    if gaps not in get_args(Gaps):
        raise ReadError(f"gaps={gaps!r} is unknown; it should be one of {', '.join(map(repr, get_args(Gaps)))}")
    out = rows.view(Rows)
    if gaps == "ignore":
        return out
    by_venue = None
    if by == "seq":
        ledger = touched(config, kind, subject, start_ns, end_ns)
    else:
        by_venue = look(config, subject).rows
        ledger = chosen(by_venue, [kind], start_ns, end_ns)
    check_recorded(config, kind, subject, (start_ns, end_ns), gaps, by_venue)
    lost = lacking(ledger)
    if len(lost) and gaps == "raise":
        raise CoverageError(sentence(kind, subject, lost), lost)
    if len(lost) and gaps == "warn":
        warnings.warn(sentence(kind, subject, lost), CoverageWarning, stacklevel=outside())
    if gaps == "mask":
        out = with_stretch(rows, ledger).view(Rows)
    out.coverage = ledger
    return out


def check_span(
    topics: Sequence[str], span: RecordedSpan, start_ns: int | None, end_ns: int | None, gaps: Gaps = "warn"
) -> None:
    """Warns (CoverageWarning), or with gaps="raise" raises CoverageError, of a request that reaches beyond what is recorded.

    With "mask" it warns too: rows that there are not carry no mark. With "ignore" it does nothing.
    """
    if gaps == "ignore" or not (beyond := span.beyond(start_ns, end_ns)):
        return
    text = f"{some(list(topics))}: {beyond}"
    if gaps == "raise":
        raise CoverageError(text, COVERAGE_NONE)
    warnings.warn(text, CoverageWarning, stacklevel=outside())


def check_recorded(
    config: Config, kind: Kind, subject: str, asked: tuple[int | None, int | None], gaps: Gaps = "warn",
    by_venue: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Warns or raises as `check_span` does, of one stream of a mesh; `asked`: start and end, ns.

    `by_venue`: the instrument's whole ledger, where the times that are asked for are the venue's.
    """
    if gaps == "ignore" or asked == (None, None):
        return
    span = recorded_spans(config, kind, [subject])[subject]
    check_span([topic(kind, subject)], span if by_venue is None else span.with_venue_times(by_venue), *asked, gaps)


def sentence(kind: Kind, subject: str, lost: np.ndarray) -> str:
    """The sentence of a warning about `lost`, rows that state a lack."""
    named = [
        f"ids {row['first_id']} to {row['last_id']}, {span_text(row)} ({_why(row)})" for row in described(lost[:SHOWN_MAX])
    ]
    more = f"; and {len(lost) - SHOWN_MAX} more" if len(lost) > SHOWN_MAX else ""
    gone = int((lost["state"] == Coverage.missing).sum())
    what = [f"is missing {_intervals(gone)}"] if gone else []
    what += [f"cannot be proven in {_intervals(len(lost) - gone)}"] if gone < len(lost) else []
    return (
        f"{kind.name}.{subject} {' and '.join(what)} of what was asked for: "
        f'{"; ".join(named)}{more}. gaps= "raise", "mask" or "ignore" chooses what happens then; `mesh coverage` shows all'
    )


WORDS = {
    Reason.no_snapshot.name: "no_snapshot: changes are there, but no book to apply them to",
    Reason.contradiction.name: "contradiction: ids were said that their own line took back",
}


def _why(row: dict[str, Any]) -> str:
    reason: str = row["reason"]
    return WORDS.get(reason, reason)


def _intervals(count: int) -> str:
    return f"{count} interval{'s' if count > 1 else ''}"


def touched(config: Config, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> np.ndarray:
    """The ledger's rows of a stream from the last event before `start_ns` to the first at or after `end_ns` (seq_ns).

    By ids, so what is missing at the edges of a request, or in all of it, is found whatever the venue's clock says.
    """
    if kind not in COVERED:
        return np.zeros(0, COVERAGE)
    return retry_if_moved(config, lambda: _touched(config, kind, subject, start_ns, end_ns))


def _touched(config: Config, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> np.ndarray:
    seen = look(config, subject)
    rows: np.ndarray = seen.rows[seen.rows["stream"] == kind]
    if not len(rows) or (start_ns is None and end_ns is None):
        return rows
    keep = np.ones(len(rows), bool)
    eras = eras_in(rows, kind)
    if start_ns is not None and (edge := edge_at(seen, kind, start_ns, forward=False)) is not None:
        era = era_of(eras, edge.seq)
        keep &= (rows["era"] > era) | ((rows["era"] == era) & (rows["last_id"] > edge.last_id))
    if end_ns is not None and (edge := edge_at(seen, kind, end_ns, forward=True)) is not None:
        era = era_of(eras, edge.seq)
        keep &= (rows["era"] < era) | ((rows["era"] == era) & (rows["first_id"] < edge.first_id))
    return rows[keep]


class Edge(NamedTuple):
    """The event at one edge of a request: its seq, ids and times (0: not known)."""

    seq: int
    first_id: int
    last_id: int
    venue_ns: int = 0
    seq_ns: int = 0


def edge_at(seen: Look, kind: Kind, ns: int, forward: bool) -> Edge | None:
    """The first event with seq_ns ≥ `ns`, or the last before it; what was repaired late is out of place."""

    def archived() -> Iterator[Edge | None]:
        day = day_of(ns)
        for path in seen.files if forward else seen.files[::-1]:  # archive/venue/instrument/day/file
            if path.parent.name >= day if forward else path.parent.name <= day:
                yield _edge_of_file(path, kind, ns, forward)

    def logged() -> Iterator[Edge | None]:
        for tables in seen.tail if forward else seen.tail[::-1]:
            if kind in tables:
                headers = tables[kind].headers
                yield _nearest(headers[(headers["seq_ns"] >= ns) == forward], forward)

    places = chain(archived(), logged()) if forward else chain(logged(), archived())
    return next((edge for edge in places if edge is not None), None)


def _edge_of_file(path: Path, kind: Kind, ns: int, forward: bool) -> Edge | None:
    with ArchiveFile(path) as segment:
        if kind not in segment.kinds:
            return _edge_of_pruned(segment, kind, ns, forward)
        reader = segment.reader(kind)
        at = reader.first_row("seq_ns", ns)
        rows = range(at, reader.events, CHUNK_ROWS) if forward else range(at, 0, -CHUNK_ROWS)
        for row in rows:
            start, stop = (row, min(row + CHUNK_ROWS, reader.events)) if forward else (max(row - CHUNK_ROWS, 0), row)
            headers = np.zeros(stop - start, HEADER)
            for name in ("seq", "flags", "first_id", "last_id", "venue_ns", "seq_ns"):
                headers[name] = reader.header_column(name, start, stop)
            if (edge := _nearest(headers, forward)) is not None:
                return edge
    return None


def _edge_of_pruned(segment: ArchiveFile, kind: Kind, ns: int, forward: bool) -> Edge | None:
    """Of a pruned day that lies wholly on the asked side: the first or last id that its ledger names, its events are gone."""
    begin_ns = day_start_ns(segment.attributes["day"])
    if segment.part != "rest" or not (begin_ns >= ns if forward else begin_ns + DAY_NS <= ns):
        return None
    ledger = segment.ledger()
    rows = COVERAGE_NONE if ledger is None else ledger.rows[ledger.rows["stream"] == kind]
    rows = rows[~is_lacking(rows)]
    if not len(rows):
        return None
    era = rows["era"].min() if forward else rows["era"].max()
    own = rows[rows["era"] == era]
    seq = int(segment.attributes["first_seq" if forward else "last_seq"])
    return Edge(max(seq, int(era)), int(own["first_id"].min()), int(own["last_id"].max()))


def _nearest(headers: np.ndarray, forward: bool) -> Edge | None:
    chosen = headers[(headers["flags"] & (Flag.REPAIRED | Flag.SNAPSHOT)) == 0]
    if not len(chosen):
        return None
    header = chosen[0 if forward else -1]
    return Edge(*(int(header[name]) for name in Edge._fields))


def with_stretch(rows: np.ndarray, ledger: np.ndarray) -> np.ndarray:
    """Adds a field `stretch` (i4) to `rows`: rows of one number have nothing missing between them.

    −1 in an interval that is missing or in doubt, and before the ledger begins. `ledger`: COVERAGE rows of the rows' stream, as
    `merge` orders them.
    """
    out = np.zeros(len(rows), np.dtype([*rows.dtype.descr, ("stretch", "<i4")]))
    for name in rows.dtype.names or ():
        out[name] = rows[name]
    if not len(ledger):
        return out
    gone = is_lacking(ledger)
    follows = (ledger["era"][1:] == ledger["era"][:-1]) & (ledger["first_id"][1:] == ledger["last_id"][:-1] + 1)
    broken = np.concatenate([[False], ~follows | gone[:-1]])
    counted = np.cumsum(broken & ~gone)
    numbers = np.where(gone, NO_STRETCH, counted - counted[~gone].min(initial=len(counted)))
    out["stretch"] = NO_STRETCH
    eras = era_of(eras_in(ledger, ledger["stream"][0]), rows["seq"])
    for era in np.unique(ledger["era"]):
        own, chosen = ledger["era"] == era, eras == era
        first, last = ledger["first_id"][own], ledger["last_id"][own]
        ids = rows["last_id"][chosen]
        place = np.maximum(np.searchsorted(first, ids, "right") - 1, 0)
        inside = (first[place] <= ids) & (ids <= last[place])
        newest = (ids > last[-1]) & (rows["first_id"][chosen] <= last[-1] + 1)  # of a change that nothing has confirmed yet
        stretch = np.where(inside | newest, numbers[own][place], NO_STRETCH)
        out["stretch"][chosen] = stretch
    return out


def outside() -> int:
    """How many frames up the caller of storage and research is, for the line that a warning points at."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(OWN):
        frame, level = frame.f_back, level + 1
    return level
