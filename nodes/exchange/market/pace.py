"""When a line of a capture is due, whatever its receive times are. Pure."""

SILENCE_NS_MAX = 300 * 10**9  # a longer one is passed over: files that do not follow one another, or a time out of order


class ReceivePace:
    """Turns receive times into elapsed time, which never goes back and never stands for longer than SILENCE_NS_MAX."""

    def __init__(self) -> None:
        self._elapsed_ns = 0
        self._last_ns = 0

    def elapsed(self, at_ns: int, next_ns: int) -> int:
        """The ns from the first line to one received at `at_ns`; `next_ns` is the receive time after it; 0 = has none.

        A line is due no later than the one after it, so a single time that jumps ahead delays nothing; a single one that
        goes back changes nothing, and only where the next stays there too the pace goes on from it.
        """
        if not at_ns:
            return self._elapsed_ns
        if next_ns:
            at_ns = min(at_ns, max(next_ns, self._last_ns))
        if not self._last_ns:
            self._last_ns = at_ns
        step = at_ns - self._last_ns
        if step < 0 and next_ns >= self._last_ns:
            return self._elapsed_ns
        self._last_ns = at_ns
        if 0 <= step <= SILENCE_NS_MAX:
            self._elapsed_ns += step
        return self._elapsed_ns
