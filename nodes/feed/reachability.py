"""Whether a venue's servers are reached, judged by the tries to reach them. No I/O: the caller brings time and reasons.

A break is no news, since connections break and come back within a second. A series of failures is: it is named once, with every
server that was tried and the reason of each, then once an hour, and its end once. No line that keeps trying fills a log.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

STREAM = "market data"  # the two sides of a venue, as a person reads them
REST = "answer over REST"
GRACE_S = 3.0  # a series of failures as long as this is named
AGAIN_S = 3600.0  # and named again after so long


class ReachNews(NamedTuple):
    """What to raise an alert of: servers that are not reached, or that are reached again."""

    level: str
    what: str
    target: str
    why: str
    action: str


@dataclass
class _Series:
    """Failures one after the other: since when, the newest reason of each server, and when they were last named."""

    begun_s: float
    reasons: dict[str, str] = field(default_factory=dict)  # server → why
    named_s: float | None = None


class Reachability:
    """Judges both sides of one venue; times are monotonic seconds. A side is STREAM or REST.

    Failures of REST are named only while the stream is reached: without a network both fail for one reason.
    """

    def __init__(self, venue: str):
        self.venue = venue
        self._failing: dict[str, _Series] = {}  # by side

    def failed(self, side: str, why: str, begun_s: float, now_s: float) -> ReachNews | None:
        """Takes a try that was begun at `begun_s` and failed, `why`: "server: reason"; gives what is news, or None."""
        series = self._failing.setdefault(side, _Series(begun_s))
        server, _, reason = why.partition(": ")
        series.reasons[server] = reason
        if now_s - series.begun_s < GRACE_S or (side == REST and STREAM in self._failing):
            return None
        if series.named_s is not None and now_s - series.named_s < AGAIN_S:
            return None
        series.named_s = now_s
        since = f"for {now_s - series.begun_s:.0f} s"
        return ReachNews(
            "warning", "unreachable", self.venue, f"no {side} {since}: {_sentence(series.reasons)}",
            "tried again and again, calmly: it goes on by itself when the venue is reached",
        )  # fmt: skip

    def reached(self, side: str, now_s: float) -> ReachNews | None:
        """Takes a try that succeeded; gives what is news, or None."""
        series = self._failing.pop(side, None)
        if series is None or series.named_s is None:
            return None
        why = f"{side} is there again after {now_s - series.begun_s:.0f} s"
        return ReachNews("info", "reachable", self.venue, why, "it goes on by itself")


def _sentence(reasons: dict[str, str]) -> str:
    """All servers with their reasons; those of one reason together."""
    servers: dict[str, list[str]] = {}
    for server, reason in sorted(reasons.items()):
        servers.setdefault(reason, []).append(server)
    return "; ".join(f"{', '.join(many)}: {reason}" if reason else ", ".join(many) for reason, many in servers.items())
