"""Does something grow that should not? Slopes of samples over time, and what is beyond the bounds stated here.

A process that is killed begins anew, with less memory: so a slope is of the lives of a process, each counted from its own
middle, and the first WARM_S of a life are left out (imports, caches, the first cuts). A life that goes on for less than
SPAN_S_MIN after that says nothing: one page more or less would be a slope. Growth is said only when it is beyond the bound by
more than twice the slope's standard error: a short run that cannot tell says nothing against a mesh.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

WARM_S = 300.0
SPAN_S_MIN = 300.0
HOUR_S = 3600.0

# What may grow in an hour. Of a process: anonymous memory (MB), and open descriptors. Of the mesh: files, and the median
# of the hop from a line's receipt to the log. Of its disk: bytes an event of the log, by part; parts that are bounded in the
# end (log, recent store) grow until they are full.
BOUNDS: dict[str, float] = {"anonymous_mb": 24.0, "descriptors": 12.0, "files": 240.0, "hop_ms": 5.0}
BYTES_AN_EVENT: dict[str, float] = {"log": 700.0, "recent": 400.0, "exchange": 400.0, "archive": 150.0, "other": 100.0}


class Sample(NamedTuple):
    """One figure at one moment: seconds since the beginning, of which life (a pid; 0: of the mesh), and how much."""

    at_s: float
    life: int
    value: float


class Slope(NamedTuple):
    """How much a figure grows in an hour, the standard error of that, and how many samples it is made of."""

    an_hour: float
    error: float
    samples: int


def slope(samples: Iterable[Sample]) -> Slope | None:
    """Fits the slope that all lives have in common, by least squares; None where no life is long enough."""
    lives: dict[int, list[Sample]] = {}
    for one in samples:
        lives.setdefault(one.life, []).append(one)
    times, values, count = [], [], 0
    for own in lives.values():
        warm = [one for one in own if one.at_s - own[0].at_s >= WARM_S]
        if not warm or warm[-1].at_s - warm[0].at_s < SPAN_S_MIN:
            continue
        at, value = np.array([one.at_s for one in warm]), np.array([one.value for one in warm])
        times.append(at - at.mean())
        values.append(value - value.mean())
        count += 1
    if not times:
        return None
    x, y = np.concatenate(times), np.concatenate(values)
    spread = float(x @ x)
    found = float(x @ y) / spread
    left = y - found * x
    error = float(np.sqrt(left @ left / max(len(x) - count - 1, 1) / spread))
    return Slope(found * HOUR_S, error * HOUR_S, len(x))


def judge(figures: Mapping[tuple[str, str], Iterable[Sample]]) -> tuple[dict[str, dict[str, Slope]], list[str]]:
    """(slopes by whose and what, a sentence for each growth beyond its bound). `figures`: samples by (whose, what)."""
    found: dict[str, dict[str, Slope]] = {}
    wrong = []
    for (whose, what), samples in figures.items():
        fitted = slope(samples)
        if fitted is None:
            continue
        found.setdefault(whose, {})[what] = fitted
        bound = BOUNDS.get(what)
        if bound is not None and fitted.an_hour - 2 * fitted.error > bound:
            wrong.append(f"{what} of {whose} grow by {fitted.an_hour:.1f} ± {fitted.error:.1f} an hour; {bound:g} are allowed")
    return found, wrong


def judge_disk(first: Mapping[str, int], last: Mapping[str, int], events: int) -> tuple[dict[str, float], list[str]]:
    """(bytes an event by part of the disk, a sentence for each beyond its bound). `first`, `last`: bytes by part."""
    grown = {part: (last[part] - first.get(part, 0)) / max(events, 1) for part in last}
    wrong = [
        f"{part} grew by {grown[part]:.0f} bytes an event; {bound:g} are allowed"
        for part, bound in BYTES_AN_EVENT.items()
        if grown.get(part, 0.0) > bound
    ]
    return grown, wrong
