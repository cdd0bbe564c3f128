"""How long to wait before the next try."""

import random


class Backoff:
    """Doubles from `shortest` to `longest` seconds; each wait is drawn between half and the whole of it.

    The jitter keeps many clients from coming back at the same moment. Call `reset` once a try was worth something.
    """

    def __init__(self, bounds_s: tuple[float, float]):
        self.bounds_s = self._shortest, self._longest = bounds_s
        self._next = self._shortest

    def reset(self) -> None:
        self._next = self._shortest

    def wait_s(self) -> float:
        wait = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._longest, self._next * 2)
        return wait
