"""Instruments of which a line asks for less than all, and why: a book that is too large, or no room on the connection."""

from collections.abc import Iterable

from tickmesh.bus.settings import InstrumentSettings
from tickmesh.nodes.runner.disk_space import Alert

CALM_S = 60.0  # between two alerts of messages too large that name no book


class GivenUp:
    """The instruments of a line that are not asked for in full: in `why`, subject → why its book, or all of it, is given up."""

    def __init__(self, venue: str, bytes_max: int):
        self.venue = venue
        self.bytes_max = bytes_max
        self.why: dict[str, str] = {}
        self._alerted_at_s = -CALM_S

    def take_oversize(self, subject: str, size: int, head: bytes, now_s: float) -> Alert | None:
        """Gives up a book whose message of `size` bytes ended a connection; gives the alert to raise, if it is news.

        `subject`: the instrument whose book it is, or "" where that is not known. Such a book is not asked for again: it would
        cost the other streams their connection each time.
        """
        why = f"a message of {size} bytes came, {self.bytes_max} are allowed"
        if subject and subject not in self.why:
            self.why[subject] = f"its book is given up: {why}"
            action = "its book is given up, the other streams go on; a planned renewal asks for it again"
            return Alert("critical", "oversize", f"depth.{subject}", why, action)
        if now_s - self._alerted_at_s > CALM_S:
            self._alerted_at_s = now_s
            action = "connected anew, after waits that grow"
            return Alert("critical", "oversize", self.venue, f"{why}; it begins {head[:64]!r}", action)
        return None

    def leave_out(self, beyond: Iterable[InstrumentSettings], instruments_max: int) -> list[Alert]:
        """Gives up instruments beyond what one connection takes; gives the alerts to raise, of those that were not given up."""
        why = f"the venue takes {instruments_max} instruments a connection"
        news = [one.subject for one in beyond if one.subject not in self.why]
        self.why.update(dict.fromkeys(news, f"left out: {why}"))
        action = "nothing of it is recorded: name fewer in mesh.toml"
        return [Alert("critical", "left_out", subject, why, action) for subject in news]

    def take_up_again(self, instruments: Iterable[InstrumentSettings]) -> None:
        """Forgets why books of these instruments were given up: they are asked for on the next connection."""
        for one in instruments:
            self.why.pop(one.subject, None)
