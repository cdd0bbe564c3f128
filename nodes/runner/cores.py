"""Which cores each process of a mesh may run on, by `[latency] pin`. Pure; nodes/runner/placing.py acts on it."""

from collections.abc import Collection, Sequence

from tickmesh.bus.config import ConfigError
from tickmesh.bus.settings_latency import Pin


def chosen_cores(pin: Pin, count: int, allowed: Collection[int]) -> list[int]:
    """The cores of `count` processes of the hot path, of those that may be used at all. Raises ConfigError for one of no use.

    "auto": the last ones, one for each process, but never the first, which the kernel's own work and all else have.
    """
    if isinstance(pin, str):
        return sorted(allowed)[:0:-1][:count]
    if absent := [core for core in pin if core not in allowed]:
        there = ", ".join(map(str, sorted(allowed)))
        raise ConfigError(f"latency.pin = {list(pin)} is impossible: there is no core {absent[0]} for it; allowed: {there}")
    return list(pin)


def cores_of(name: str, hot: Sequence[str], pin: Pin, allowed: Collection[int]) -> frozenset[int]:
    """The cores of one process: its own, or with those of the hot path (`hot`, names) all of theirs where they are too few.

    The others have what is left, or all where nothing is left. Raises ConfigError for a core that is not there.
    """
    chosen = chosen_cores(pin, len(hot), allowed)
    if not chosen:
        return frozenset(allowed)
    if name in hot:
        return frozenset([chosen[hot.index(name)]] if len(chosen) >= len(hot) else chosen)
    return frozenset(allowed) - frozenset(chosen) or frozenset(allowed)
