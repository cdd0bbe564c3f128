"""When the loss of what trading needs becomes a kill switch. No I/O.

What is lost pauses trading by itself: without the sequencer nothing reaches anybody, without the executor nothing is ordered,
and without the session's heartbeat the executor orders nothing. What rests at the venue then rests there unattended, so after a
set time the loss latches.
"""

from collections.abc import Collection, Mapping

from tickmesh.bus.config import Config
from tickmesh.nodes.orders.accounts import account_venues, session_name
from tickmesh.nodes.sentinel.vitals import PAUSE_NS, SECOND, SEQUENCER


def watched(config: Config) -> list[str]:
    """The processes without which a mesh does not trade: the executor, and the sessions of its accounts."""
    return ["executor", *(session_name(venue) for venue in account_venues(config))]


class Latch:
    """Looks at the log and at heartbeats, every half second or so. `latch_s`: how long a loss may last; 0: for ever. `watched`:
    the processes without which nothing is traded.

    What was never heard of is not lost: a mesh that starts slowly has nothing at the venue that it could attend to.
    """

    def __init__(self, latch_s: float, pause_s: float, watched: Collection[str]):
        self._watched = watched
        self._latch_s, self._pause_s = latch_s, pause_s
        self._looked_ns = 0
        self._since_ns = 0  # the log has not moved since
        self._seen: object = None
        self._has_moved = False
        self.lost: dict[str, float] = {}  # who is lost, for how long already, in seconds

    def look(
        self, now_ns: int, log_seen: object, signs: Mapping[str, int], log_ns: int, meant_down: Collection[str] = ()
    ) -> str:
        """Gives why the kill switch has to be thrown now; "" if it has not.

        `log_seen`: something that differs when the log has grown; `signs`: when each process was heard of last, by the log's
        time, which is `log_ns` now; `meant_down`: whom an operator has stopped.
        """
        if not 0 <= now_ns - self._looked_ns <= PAUSE_NS:  # this one was stopped, or the machine slept: it waits anew
            self._since_ns = now_ns
        elif log_seen != self._seen:
            self._since_ns = now_ns
            self._has_moved |= self._seen is not None
        self._looked_ns, self._seen = now_ns, log_seen
        silent_s = (now_ns - self._since_ns) / SECOND
        self.lost = {}
        if self._has_moved and silent_s >= self._pause_s and SEQUENCER not in meant_down:
            self.lost[SEQUENCER] = silent_s
        if silent_s < self._pause_s:  # a log that stands still says nothing of the others
            for name in self._watched:
                unheard_s = (log_ns - signs.get(name, log_ns)) / SECOND
                if unheard_s >= self._pause_s and name not in meant_down:
                    self.lost[name] = unheard_s
        if not self._latch_s:
            return ""
        for name, lost_s in self.lost.items():
            if lost_s >= self._latch_s:
                what = "nothing has come into the log" if name == SEQUENCER else f"{name} has not been heard of"
                return f"{what} for {lost_s:.0f} s; risk.lost_latch_s allows {self._latch_s:g}"
        return ""
