"""Places in the log, as people write them: a number, a time, so long ago."""

from datetime import UTC, date, datetime, time
from typing import NamedTuple

from tickmesh.bus.clock import now_ns
from tickmesh.storage.query.times import ago_ns
from tickmesh.tools.terminal import UsageFailure


class Place(NamedTuple):
    """A place in the log: an event's `seq`, or a time of the log in ns; the other one is None."""

    seq: int | None
    ns: int | None


def place(option: str, text: str, local: bool = False) -> Place:
    """The place that `option` (--from, --until) names: a seq, a time, `30s` ago, or now.

    A time is UTC unless it says otherwise (or `local`: this machine's zone); without a day it is one of today.
    """
    if text.isdigit():
        return Place(int(text), None)
    if (ago := ago_ns(text)) is not None:
        return Place(None, ago)
    try:
        moment = datetime.fromisoformat(text) if "-" in text else datetime.combine(_today(local), time.fromisoformat(text))
    except ValueError:
        raise UsageFailure(
            f"{option} {text!r} is neither a sequence number (4711), nor a time (2026-01-31T12:00:00, 12:00 of today, now), "
            "nor so long ago (30s, 5m, 1h)"
        ) from None
    if moment.tzinfo is None:
        moment = moment.astimezone() if local else moment.replace(tzinfo=UTC)
    return Place(None, int(moment.timestamp()) * 10**9 + moment.microsecond * 1000)


def _today(local: bool) -> date:
    now = datetime.fromtimestamp(now_ns() // 10**9, UTC)
    return (now.astimezone() if local else now).date()
