"""Stretches of time as lists of (begin, end), in one unit: what lies in both of two, and what is left without another."""

from collections.abc import Iterable, Sequence

Stretch = tuple[int, int]  # (begin, end): from `begin` on, until before `end`


def length(stretches: Iterable[Stretch]) -> int:
    """The sum of the lengths of stretches that do not overlap."""
    return sum(end - begin for begin, end in stretches)


def within(stretches: Iterable[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """The parts of `stretches` that lie in one of `others`, in order; each moment once."""
    return _joined((max(a, c), min(b, d)) for a, b in stretches for c, d in others)


def without(stretches: Iterable[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    """The parts of `stretches` that lie in none of `others`, in order; each moment once."""
    left = _joined(stretches)
    for begin, end in _joined(others):
        left = _joined(part for a, b in left for part in ((a, min(b, begin)), (max(a, end), b)))
    return left


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    out: list[Stretch] = []
    for begin, end in sorted(one for one in stretches if one[0] < one[1]):
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((begin, end))
    return out
