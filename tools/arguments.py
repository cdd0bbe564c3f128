"""Places in the log, and times, as people write them: a number, a time, so long ago."""

import re
from datetime import UTC, date, datetime
from typing import NamedTuple

from tickmesh.bus.clock import now_ns
from tickmesh.storage.query.times import ReadError, ago_ns, to_ns
from tickmesh.tools.terminal import UsageFailure

OF_TODAY = re.compile(r"\d\d:.+")
TIMES = "a time (2026-01-31T12:00:00, 12:00 of today, now), nor so long ago (30s, 5m, 1h)"


class Place(NamedTuple):
    """A place in the log: an event's `seq`, or a time of the log in ns; the other one is None."""

    seq: int | None
    ns: int | None


def place(option: str, text: str, local: bool = False) -> Place:
    """The place that `option` (--from, --until) names: a seq, or a time as `moment` has it. Raises UsageFailure."""
    if text.isdigit():
        return Place(int(text), None)
    ns = _moment(text, local)
    if ns is None:
        raise UsageFailure(f"{option} {text!r} is neither a sequence number (4711), nor {TIMES}")
    return Place(None, ns)


def moment(option: str, text: str) -> int:
    """The time in ns that `option` (--start, --end) names: a time, `30s` ago, or now. Raises UsageFailure.

    A time is UTC unless it says otherwise; without a day it is one of today.
    """
    ns = _moment(text, False)
    if ns is None:
        raise UsageFailure(f"{option} {text!r} is neither {TIMES}")
    return ns


def _moment(text: str, local: bool) -> int | None:
    """As `moment`, None where it is none; `local`: a time that names no zone is this machine's."""
    if (ago := ago_ns(text)) is not None:
        return ago
    if OF_TODAY.fullmatch(text):
        text = f"{_today(local)}T{text}"
    try:
        if local and (naive := datetime.fromisoformat(text)).tzinfo is None:
            return to_ns(naive.astimezone())
        return to_ns(text)
    except (ValueError, ReadError):
        return None


def _today(local: bool) -> date:
    now = datetime.fromtimestamp(now_ns() // 10**9, UTC)
    return (now.astimezone() if local else now).date()
