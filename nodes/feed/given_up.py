"""Instruments of which a line asks for less than all, and why: a book that is too large, or no room on the connection."""

from collections.abc import Iterable

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.runner.disk_space import Alert

CALM_S = 60.0  # a message too large that names no book is told of once in so long


class GivenUp:
    """`why`: subject → why its book, or all of it, is not asked for. Times are of a monotonic clock, seconds."""

    def __init__(self, venue: str, bytes_max: int):
        self.venue = venue
        self.bytes_max = bytes_max
        self.why: dict[str, str] = {}
        self._told_s = -CALM_S

    def oversize(self, subject: str, size: int, head: bytes, now_s: float) -> Alert | None:
        """A message of `size` bytes ended a connection; `subject`: of the book that it is, or "". What is to be said of it.

        Such a book is not asked for again: it would cost the other streams their connection each time.
        """
        why = f"a message of {size} bytes came, {self.bytes_max} are allowed"
        if subject and subject not in self.why:
            self.why[subject] = f"its book is given up: {why}"
            action = "its book is given up, the other streams go on; a planned renewal asks for it again"
            return Alert("critical", "oversize", f"depth.{subject}", why, action)
        if now_s - self._told_s > CALM_S:
            self._told_s = now_s
            action = "connected anew, after waits that grow"
            return Alert("critical", "oversize", self.venue, f"{why}; it begins {head[:64]!r}", action)
        return None

    def leave_out(self, beyond: Iterable[Instrument], instruments_max: int) -> list[Alert]:
        """Instruments beyond what the venue takes on one connection: what is to be said of those that are news."""
        why = f"the venue takes {instruments_max} instruments a connection"
        news = [one.subject for one in beyond if one.subject not in self.why]
        self.why.update(dict.fromkeys(news, f"left out: {why}"))
        action = "nothing of it is recorded: name fewer in mesh.toml"
        return [Alert("critical", "left_out", subject, why, action) for subject in news]

    def take_up_again(self, instruments: Iterable[Instrument]) -> None:
        """Their books are asked for on the next connection, while the old one goes on."""
        for one in instruments:
            self.why.pop(one.subject, None)
