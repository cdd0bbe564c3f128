"""An event loop that looks for what comes next, for a while, before it lets the kernel put its process to sleep.

To be woken takes tens of microseconds, more where the core has fallen asleep too; who is awake needs none of it. The price is
the core. It gives way at each look (sched_yield), so that another process that wants this core has its turn.
"""

import asyncio
import os
import time


class Spinning:
    """Keeps the running loop awake for `spin_us` µs (above 0) after each call of `go_on`."""

    def __init__(self, spin_us: int):
        self._for_ns = spin_us * 1000
        self._until_ns = 0
        self.awake = False
        self.looks = 0  # turns of the loop that it was kept awake for

    def go_on(self, *_: object) -> None:
        """Notes that something has come, whatever it is: the loop looks for more from now on."""
        self._until_ns = time.monotonic_ns() + self._for_ns
        if not self.awake:
            self.awake = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        # A loop with a callback to call soon asks the kernel for what has come, and does not wait for it.
        if time.monotonic_ns() < self._until_ns:
            self.looks += 1
            os.sched_yield()
            asyncio.get_running_loop().call_soon(self._look)
        else:
            self.awake = False


def spinning_of(spin_us: int) -> Spinning | None:
    """What keeps a loop awake; None for 0 µs: it sleeps as soon as nothing has come."""
    return Spinning(spin_us) if spin_us else None
