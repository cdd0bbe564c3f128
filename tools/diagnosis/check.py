"""One finding of `mesh doctor`: how it is, what was seen, what is allowed, what to do."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Grade = Literal["ok", "warn", "fail"]
OK: Grade = "ok"
WARN: Grade = "warn"  # it works, and something is worse than it should be
FAIL: Grade = "fail"  # a mesh cannot start, loses something, or can be read by others
GRADES: tuple[Grade, ...] = (OK, WARN, FAIL)


class Check(NamedTuple):
    """A finding about `name` (`clock.ntp`). `seen`, `allowed`, `do`: parts of sentences; `do` is "" where it is ok."""

    name: str
    grade: Grade
    seen: str
    allowed: str
    do: str = ""


def check(name: str, grade: Grade, seen: str, allowed: str, do: str) -> Check:
    """Builds a finding; of one that is ok there is nothing to do."""
    return Check(name, grade, seen, allowed, "" if grade == OK else do)


def worst(checks: Iterable[Check]) -> Grade:
    """The worst grade of these findings."""
    return max((one.grade for one in checks), key=GRADES.index, default=OK)


def size_text(count: float) -> str:
    """Bytes for a person: `1.5 GiB`, `64.0 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
