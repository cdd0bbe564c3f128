"""How long to wait before the next try."""

import random


class Backoff:
    """Waits that double from the first of `bounds_s` to the second, each drawn between half and the whole of it.

    The jitter keeps many clients from coming back at the same moment.
    """

    def __init__(self, bounds_s: tuple[float, float]):
        self.bounds_s = self._shortest, self._longest = bounds_s
        self._next = self._shortest

    def reset(self) -> None:
        """Begins again with the shortest wait: a try was worth something."""
        self._next = self._shortest

    def wait_s(self) -> float:
        """How long to wait before the next try; the call after this one gives twice as much, up to the bound."""
        wait = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._longest, self._next * 2)
        return wait
