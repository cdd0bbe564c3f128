"""How much of a bar's time is covered: what the mesh heard of the instrument, and has not lost. docs/bars.md explains."""

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Coverage, Kind
from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.coverage.duration import ends_ns, union_ns
from tickmesh.storage.query import reader
from tickmesh.storage.query.coverage import Look, is_lacking, look
from tickmesh.storage.query.gaps import Rows, edge_at
from tickmesh.storage.query.times import ReadError

STREAMS = (Kind.trade, Kind.depth)  # their times are the venue's; a venue's quotes need not have any
DOWN_NS = 2 * SECOND_NS  # a shorter hole in the log's time lost nothing: the feeds lived, and kept what they heard
ROWS_MAX = 20_000_000  # bars
FOREVER = np.iinfo("i8").max // 4


def with_covered(config: Config, subject: str, window: Window, bars: Rows) -> Rows:
    """Adds a field `covered` (f8) to bars: the share of each one's time, 0…1, in which nothing was lost of what the venue said.

    Not covered is what lies before the first and after the last event, what the ledger calls missing of trades or of the book,
    the time in which the mesh was down, and what of a bar lies outside the window. A bucket between the first bar and the last
    that is not wholly covered and has no bar gets one: empty, its fields 0. `bars`: BAR, perhaps with more fields.
    Raises ReadError.
    """
    lost = uncovered(config, subject)
    for low, high in ((-FOREVER, window.start_ns), (window.end_ns, FOREVER)):
        if low is not None and high is not None:
            lost = np.concatenate([lost, [[low, high]]])
    lost = union_ns(lost[:, 0], lost[:, 1])
    begins = _begins(bars["begin_ns"], lost, window.every_ns)
    out = np.zeros(len(begins), np.dtype([*bars.dtype.descr, ("covered", "<f8")]))
    out["begin_ns"] = begins
    places = np.searchsorted(begins, bars["begin_ns"])
    for name in bars.dtype.names or ():
        out[name][places] = bars[name]
    lost_ns = _before(lost, begins + window.every_ns) - _before(lost, begins)
    out["covered"] = 1 - lost_ns / window.every_ns
    rows = out.view(Rows)
    rows.coverage = bars.coverage
    return rows


def uncovered(config: Config, subject: str) -> np.ndarray:
    """The venue time in which something may have been lost of an instrument: shape (n, 2), ns, disjoint and in order."""
    seen = look(config, subject)
    parts = [np.zeros((0, 2), "i8"), *_down(config, seen)]
    first, last = FOREVER, 0
    for kind in STREAMS if np.isin(seen.rows["stream"], STREAMS).any() else (Kind.quote,):
        rows = seen.rows[seen.rows["stream"] == kind]
        there = rows[(rows["state"] != Coverage.missing) & (rows["begin_ns"] > 0)]
        if not len(there):
            continue
        first, last = min(first, int(there["begin_ns"].min())), max(last, int(there["end_ns"].max()))
        chosen = is_lacking(rows) if kind == Kind.trade else rows["state"] == Coverage.missing
        chosen &= rows["begin_ns"] > 0
        parts.append(np.column_stack([rows["begin_ns"], ends_ns(rows)])[chosen])
    if last:
        parts.append(np.array([[-FOREVER, first], [last, FOREVER]], "i8"))
    lost = np.concatenate(parts)
    return union_ns(lost[:, 0], lost[:, 1])


def _down(config: Config, seen: Look) -> list[np.ndarray]:
    """The venue times in which the mesh was down: before each start of the sequencer the log's time has a hole.

    It lies between the instrument's last event before that and its first after it, as far from each as in the log's time.
    """
    out = []
    for seq, start_ns in reader.moments(config, Kind.run, "sequencer"):
        newest = next(reader.events(config, seq - 2, seq - 1), None) if seq > 1 else None
        if newest is None or start_ns - newest.seq_ns < DOWN_NS:
            continue
        around = [(edge_at(seen, kind, start_ns, False), edge_at(seen, kind, start_ns, True)) for kind in STREAMS]
        before = max((edge for edge, _ in around if edge is not None), key=lambda edge: edge.venue_ns, default=None)
        after = min((edge for _, edge in around if edge is not None), key=lambda edge: edge.venue_ns, default=None)
        if before is not None and after is not None and before.venue_ns and after.venue_ns:
            begin_ns = before.venue_ns + newest.seq_ns - before.seq_ns
            end_ns = after.venue_ns - (after.seq_ns - start_ns)
            if begin_ns < end_ns:
                out.append(np.array([[begin_ns, end_ns]], "i8"))
    return out


def _begins(has: np.ndarray, lost: np.ndarray, every_ns: int) -> np.ndarray:
    """The beginnings of the bars that there are, and of all buckets between the first and the last that are partly lost."""
    if not len(has):
        return has
    first, last = int(has[0]), int(has[-1])
    parts = [has]
    low, high = np.maximum(lost[:, 0], first), np.minimum(lost[:, 1], last + every_ns)
    count = int(((high - low)[high > low] // every_ns + 2).sum())
    if count > ROWS_MAX:
        raise ReadError(f"{count} bars are not covered; at most {ROWS_MAX} are shown. Take longer bars or a shorter range")
    for begin, end in zip(low[high > low].tolist(), high[high > low].tolist()):
        parts.append(np.arange(begin // every_ns * every_ns, end, every_ns))
    return np.unique(np.concatenate(parts))


def _before(lost: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
    """How much of disjoint intervals in order lies before each time, ns, but for the same constant in all."""
    if not len(lost):
        return np.zeros(len(at_ns), "i8")
    whole = np.concatenate([[0], np.cumsum(np.clip(lost[:, 1], None, FOREVER) - np.clip(lost[:, 0], 0, None))])
    place = np.searchsorted(lost[:, 0], at_ns, "right") - 1
    inside = np.where(place >= 0, np.minimum(at_ns, lost[place, 1]) - np.clip(lost[place, 0], 0, None), 0)
    out: np.ndarray = whole[np.maximum(place, 0)] + inside
    return out
