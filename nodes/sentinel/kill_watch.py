"""The kill switch as a sentinel sees it: a file, commands, and what the executor says of them. No I/O.

The file run/kill-switch is the switch where no log can be reached: whoever can make a file can stop all trading. It becomes a
command as soon as one can be published, and where nobody carries it out in time the sentinel cancels by itself.
"""

from typing import Any

SECOND = 1_000_000_000
AGAIN_NS = 3 * SECOND  # the executor's next health shows within a second whether it has heard of the file
BEHIND_NS = 2 * SECOND  # a health that is older than this after a command may not know it yet
CANCEL_AGAIN_NS, CANCEL_AGAIN_NS_MAX = 10 * SECOND, 60 * SECOND  # between two emergency cancels, doubled each time


class KillWatch:
    """Decides when a command is to be published because the file is there, and when orders are to be cancelled without the
    session: `patience_ns` after the switch came on, unless the executor says by then that it is on and no order open.

    Times are the log's, and this machine's by the mesh's clock.
    """

    def __init__(self, patience_ns: int):
        self._patience_ns = patience_ns
        self._switch: bool | None = None  # as the log has it; None: not heard of
        self._commanded_ns = 0
        self._log_ns = 0
        self._open_orders = -1  # by the executor's newest health; -1: it has said nothing since the switch came on
        self._since_ns = 0  # when it was first seen on, by file or log; 0: it is off
        self._published_ns = 0
        self._file_ns = 0
        self._cancel_ns = 0  # before then nothing is cancelled (again)
        self._pause_ns = CANCEL_AGAIN_NS

    @property
    def since_ns(self) -> int:
        """When this sentinel saw the switch come on; 0: it is off."""
        return self._since_ns

    def read_command(self, on: bool, seq_ns: int) -> None:
        """Takes in a command of the log that switches it."""
        self._switch, self._commanded_ns = on, seq_ns
        if on:
            self._open_orders = -1

    def read_health(self, health: dict[str, Any], seq_ns: int) -> None:
        """Takes in a health event of the executor."""
        switch = health.get("kill_switch")
        if not isinstance(switch, dict) or seq_ns < self._commanded_ns:
            return
        says_on = bool(switch.get("on"))
        if says_on or seq_ns - self._commanded_ns >= BEHIND_NS:
            self._switch = says_on
        self._open_orders = int(health.get("open_orders", -1)) if says_on else -1

    def read_time(self, seq_ns: int) -> None:
        """Takes in when the newest event was logged."""
        self._log_ns = seq_ns

    def publishes(self, file_is_there: bool, now_ns: int) -> bool:
        """Whether a command has to be published now: the file is there, and the log has no switch that is on.

        Again only while the log goes on: what a silent one has not taken stands in the outbox.
        """
        self._file_ns = (self._file_ns or now_ns) if file_is_there else 0
        unheard = self._switch is None and now_ns - self._file_ns < self._patience_ns
        if not file_is_there or self._switch or unheard:
            return False
        if self._published_ns and self._log_ns - self._published_ns < AGAIN_NS:
            return False
        self._published_ns = now_ns
        return True

    def cancels(self, file_is_there: bool, now_ns: int) -> bool:
        """Whether orders are to be cancelled now without the session. A second time more rarely."""
        if not (file_is_there or self._switch):
            self._since_ns = 0
            return False
        if not self._since_ns:
            self._since_ns, self._pause_ns = now_ns, CANCEL_AGAIN_NS
            self._cancel_ns = now_ns + self._patience_ns
        if now_ns < self._cancel_ns or (self._switch and self._open_orders == 0):
            return False
        self._cancel_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, CANCEL_AGAIN_NS_MAX)
        return True
