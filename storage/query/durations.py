"""Lengths of time as people write them, to nanoseconds."""

import contextlib
import re

from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.query.bars import Every, seconds
from tickmesh.storage.query.times import ReadError

__all__ = ["Every", "nanoseconds"]

FRACTIONS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000}


def nanoseconds(every: Every) -> int:
    """Reads nanoseconds from what `bars.seconds` reads, or from parts of a second like "100ms", "250us". Raises ReadError."""
    match = re.fullmatch(r"\s*(\d+)\s*([nuµm]s)\s*", every.lower()) if isinstance(every, str) else None
    length = int(match[1]) * FRACTIONS_NS[match[2]] if match else 0
    if match is None:
        with contextlib.suppress(ReadError):  # its sentence is about bars
            length = seconds(every) * SECOND_NS
    if length < 1:
        raise ReadError(f"{every!r} is no length of time; allowed are 1ns and more, like 250us, 100ms, 1s, 5m, 4h, 1d")
    return length
