"""Quotes whose ids are out of step with those before, until a line has said enough near them to confirm them. No I/O."""

CONFIRM = 3  # events of its line, each near and above, that confirm an id out of proportion: a venue may be wrong twice


class Leap:
    """How many quotes each line has said since the ids of a stream leapt; empty while they are in step.

    Two lines may be wrong alike, so what one says confirms nothing of what another one does.
    """

    def __init__(self) -> None:
        self.quotes: dict[str, int] = {}  # by line

    def __bool__(self) -> bool:
        return bool(self.quotes)

    def __contains__(self, line: str) -> bool:
        return line in self.quotes

    def add(self, line: str) -> bool:
        """Takes note of a line's quote while ids are out of step; gives whether nothing has confirmed them yet."""
        self.quotes[line] = self.quotes.get(line, 0) + 1
        if self.quotes[line] > CONFIRM:
            self.quotes.clear()
        return bool(self.quotes)

    def clear(self) -> None:
        """Ids are in step again, or what was out of step is taken back."""
        self.quotes.clear()

    def state(self) -> dict[str, int]:
        """Plain values for the head of a log segment; `restore` takes them."""
        return dict(sorted(self.quotes.items()))

    def restore(self, state: dict[str, int]) -> None:
        """Puts it where `state` was taken."""
        self.quotes = dict(state)
