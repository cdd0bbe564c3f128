"""The part of a core that heavy work for clients may take: what it used beyond that is waited out first."""

import asyncio
import threading
import time
from collections.abc import Callable

SAVED_S = 1.0  # of the processor, by not using it: so much may be used at once
OWED_S = 2.0  # more is forgiven: what was loaded for the first piece of a kind took long, and the next will not


class CoreShare:
    """An account of processor time: filled by `share` seconds a second, charged with what heavy work has used.

    `now_s`: a monotonic clock, seconds.
    """

    def __init__(self, share: float, now_s: Callable[[], float] = time.monotonic):
        self.share = share
        self._now_s = now_s
        self._now = now_s()
        self._saved = SAVED_S
        self._lock = threading.Lock()  # threads charge what they have used

    def charge(self, used_s: float) -> None:
        """Takes so many seconds of the processor from the account."""
        with self._lock:
            self._fill()
            self._saved = max(self._saved - used_s, -OWED_S)

    def wait_s(self) -> float:
        """How long to wait until what was used is paid for: 0 while there is something left."""
        with self._lock:
            self._fill()
            return max(-self._saved / self.share, 0.0)

    async def paid(self, at_most_s: float = float("inf")) -> None:
        """Returns when what was used is paid for, or the time is over."""
        end_s = self._now_s() + at_most_s
        while (wait_s := min(self.wait_s(), end_s - self._now_s())) > 0:
            await asyncio.sleep(wait_s)

    def _fill(self) -> None:
        now = self._now_s()
        self._saved = min(self._saved + (now - self._now) * self.share, SAVED_S)
        self._now = now
