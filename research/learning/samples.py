"""What there is to learn from: features at moments, and where the mid was a horizon later. A label is never a feature."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.research.feature_frames import feature_chunks
from tickmesh.storage.query.durations import Every, nanoseconds
from tickmesh.storage.query.times import ReadError, Time

UP, DOWN, NEITHER = 1, 0, -1


class Samples(NamedTuple):
    """Moments in order. `at_ns`: (n,) i8; `values`: (n, features) f8, NaN where not known; `labels`: (n,) i1 of UP, DOWN,
    NEITHER; `horizon_ns`: a label is known so long after its moment."""

    names: tuple[str, ...]
    at_ns: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    horizon_ns: int

    def decided(self) -> "Samples":
        """Leaves out what has no label."""
        kept = self.labels != NEITHER
        return self._replace(at_ns=self.at_ns[kept], values=self.values[kept], labels=self.labels[kept])


def read_samples(
    config: Config, subject: str, names: Sequence[str], every: Every, horizon: Every, start: Time = None, end: Time = None,
    parameters: Mapping[str, float] | None = None, beyond: float = 1.0, shown: Callable[[int], None] = lambda count: None,
) -> Samples:  # fmt: skip
    """Computes the features of `names` (in order of the table) at every multiple of `every`, and labels them.

    `beyond`: of the spread, see `labelled`; `shown`: called with how many moments there are so far. Raises ReadError for a
    horizon that is no multiple of `every`, and as feature_chunks does.
    """
    from tickmesh.nodes.models.features.table import NAMES

    every_ns, horizon_ns = nanoseconds(every), nanoseconds(horizon)
    if horizon_ns % every_ns:
        raise ReadError(f"horizon = {horizon!r} is no multiple of every = {every!r}; give one, like 10s of 1s")
    if unknown := [name for name in names if name not in NAMES]:
        raise ReadError(f"{unknown[0]!r} is no feature; there are {', '.join(NAMES)}")
    ordered = [name for name in NAMES if name in names]
    read = [name for name in NAMES if name in (*names, "mid", "quoted_spread")]
    times, parts = [np.zeros(0, "i8")], [np.zeros((0, len(read)))]
    count = 0
    for chunk in feature_chunks(config, subject, read, start, end, every, parameters):
        times.append(chunk.samples["at_ns"])
        parts.append(chunk.values)
        count += len(chunk.samples)
        shown(count)
    if not count:
        raise ReadError(
            f"{subject}: nothing is recorded from {start or 'the beginning'} to {end or 'now'} that could be learned from"
        )
    at_ns, values = np.concatenate(times), np.concatenate(parts)
    labels = labelled(at_ns, values[:, read.index("mid")], values[:, read.index("quoted_spread")], horizon_ns, beyond)
    return Samples(tuple(ordered), at_ns, values[:, [read.index(name) for name in ordered]], labels, horizon_ns)


def labelled(at_ns: np.ndarray, mids: np.ndarray, spreads: np.ndarray, horizon_ns: int, beyond: float) -> np.ndarray:
    """(n,) i1: UP where the mid `horizon_ns` later is above this one by more than `beyond` half spreads, DOWN where below.

    NEITHER where it moves less, is not known at either end, or there is no moment exactly then."""
    then = np.searchsorted(at_ns, at_ns + horizon_ns)
    exists = then < len(at_ns)
    then = np.minimum(then, max(len(at_ns) - 1, 0))
    exists &= at_ns[then] == at_ns + horizon_ns
    move, cost = np.where(exists, mids[then] - mids, np.nan), beyond * spreads / 2
    with np.errstate(invalid="ignore"):
        return np.select([move > cost, move < -cost], [UP, DOWN], NEITHER).astype("i1")
