"""What the judge has found: counts by name, and the first few sentences of each kind."""

from collections import Counter
from typing import Any

SENTENCES_MAX = 5  # of one kind; the count tells the rest


class Findings:
    """The findings of a check: `fault` counts against the verdict, `count` does not."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sentences: list[str] = []

    def count(self, name: str, by: int = 1) -> None:
        """Adds `by` to the counter of this name."""
        self.counts[name] += by

    def fault(self, name: str, sentence: str) -> None:
        """Counts a fault of this name; of each name the first few sentences are kept."""
        self.faults[name] += 1
        if self.faults[name] <= SENTENCES_MAX:
            self.sentences.append(sentence)

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """The verdict so far: "ok", "incomplete" (what was compared holds, and not all could be) or "wrong"."""
        if self.ok:
            return "ok"
        return "wrong" if self.faults.keys() - {"not_compared"} else "incomplete"

    def as_dict(self) -> dict[str, Any]:
        """The part of `mesh verify --json` that says what was counted, and every fault."""
        return {"ok": self.ok, **dict(self.counts), "faults": dict(self.faults), "sentences": self.sentences}
