"""Periods of a sweep: days, hours … of a span, aligned to the Unix epoch."""

from tickmesh.storage.query.coverage import iso
from tickmesh.storage.query.durations import Every, nanoseconds
from tickmesh.storage.query.times import ReadError

PERIODS_MAX = 10_000


def periods(start_ns: int, end_ns: int, every: Every | None) -> list[tuple[int, int]]:
    """[start, end) of each period of a span, in order; the first and the last are cut by it. None: one, the whole span.

    Raises ReadError for an empty span and for more than PERIODS_MAX.
    """
    if start_ns >= end_ns:
        raise ReadError(
            f"the sweep is to start at {iso(start_ns)} and to end at {iso(end_ns)}: the end has to be after the start, and is, "
            "where none is given, that of what is recorded"
        )
    if every is None:
        return [(start_ns, end_ns)]
    length = nanoseconds(every)
    first, last = start_ns // length, (end_ns - 1) // length
    if last - first >= PERIODS_MAX:
        raise ReadError(
            f"{last - first + 1} periods of {every}; {PERIODS_MAX} are allowed: take longer ones, or a shorter span"
        )
    return [(max(start_ns, n * length), min(end_ns, (n + 1) * length)) for n in range(first, last + 1)]
