"""The part of a core that this process may use for what can wait: what it used beyond that is waited out first."""

import asyncio
import time
from collections.abc import Callable

SAVED_S = 1.0  # of the processor, by not using it: so much may be used at once
OWED_S = 1.0  # more is forgiven: what was loaded for the first piece of a kind took long, and the next will not


class CoreShare:
    """An account of processor time. It is filled by `share` seconds a second; all that the process uses is taken from it.

    `used_s`: seconds of the processor that the process has used; `now_s`: a monotonic clock, seconds.
    """

    def __init__(
        self, share: float, used_s: Callable[[], float] = time.process_time, now_s: Callable[[], float] = time.monotonic
    ):
        self.share = share
        self._used_s, self._now_s = used_s, now_s
        self._used, self._now = used_s(), now_s()
        self._saved = SAVED_S

    def wait_s(self) -> float:
        """How long to wait until what was used is paid for: 0 while there is something left."""
        used, now = self._used_s(), self._now_s()
        saved = self._saved + (now - self._now) * self.share - (used - self._used)
        self._used, self._now, self._saved = used, now, max(min(saved, SAVED_S), -OWED_S)
        return max(-self._saved / self.share, 0.0)

    async def paid(self) -> None:
        """Returns when what was used is paid for."""
        while wait_s := self.wait_s():
            await asyncio.sleep(wait_s)
