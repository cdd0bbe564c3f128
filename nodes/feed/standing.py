"""What a venue says of each configured instrument: whether it knows it, and whether it is traded. No I/O."""

from typing import NamedTuple

UNKNOWN = "unknown"


class StandingNews(NamedTuple):
    """What to raise an alert of: that an instrument is unknown, halted, or traded again."""

    level: str
    what: str
    why: str
    action: str


class Standings:
    """The venue's word on each instrument that is not traded: in `words`, subject → UNKNOWN, or its own (HALT, delisted, …)."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    @property
    def unknown(self) -> set[str]:
        """Subjects of instruments that the venue does not know."""
        return {subject for subject, word in self.words.items() if word == UNKNOWN}

    def take(self, subject: str, word: str, why: str = "") -> StandingNews | None:
        """Takes the venue's word on an instrument ("": it is traded; `why`: more of it); gives what is news, or None."""
        before = self.words.get(subject, "")
        if word == before:
            return None
        self.words[subject] = word
        if not word:
            del self.words[subject]
            return StandingNews(
                "info", "instrument_back", f"the venue trades it again; it was {before}", "it is heard from now on"
            )
        if word == UNKNOWN:
            why = f"the venue's definitions have no instrument of this name{': ' + why if why else ''}"
            if subject != subject.partition(".")[0] + subject[subject.index(".") :].upper():
                why += "; the names that it has are mostly in capitals"
            return StandingNews(
                "critical", "unknown_instrument", why, "nothing of it is recorded; correct mesh.toml if it is a slip"
            )
        return StandingNews(
            "warning", "halted_instrument", f"the venue says {word}", "nothing of it comes until it is traded again"
        )
