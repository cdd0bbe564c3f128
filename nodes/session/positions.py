"""What is held of each instrument by the fills of the log, and where the venue keeps another position. Sans I/O."""

from collections.abc import Mapping


class Positions:
    """Positions by subject, in lots, + is long: `known`, which a checkpoint holds.

    `changes` counts the fills that were taken in. `elsewhere`: subject → what the venue has instead; `differing`: the same as a
    sentence. `doubted`: the venue has refused to close one, so they are to be compared.
    """

    def __init__(self, known: dict[str, int]):
        self.known = known
        self.changes = 0
        self.differing: dict[str, str] = {}
        self.elsewhere: dict[str, int] = {}
        self.doubted = False

    def count(self, subject: str, side: int, lots: int) -> None:
        """Takes in a fill that is new."""
        self.changes += 1
        self.known[subject] = self.known.get(subject, 0) + side * lots

    def differences(self, reported: Mapping[str, int]) -> dict[str, int]:
        """By how much the venue's positions differ, by subject; one that it does not name is none."""
        subjects = reported.keys() | {subject for subject, lots in self.known.items() if lots}
        found = {subject: reported.get(subject, 0) - self.known.get(subject, 0) for subject in sorted(subjects)}
        return {subject: lots for subject, lots in found.items() if lots}

    def note(self, differences: Mapping[str, int]) -> None:
        """Takes notice of differences that no fill on its way explains; what is not among them has gone."""
        self.elsewhere = {subject: self.known.get(subject, 0) + lots for subject, lots in differences.items()}
        self.differing = {
            subject: f"the venue's position in {subject} is {lots} lots, "
            f"that of the fills in the log {self.known.get(subject, 0)}"
            for subject, lots in self.elsewhere.items()
        }
