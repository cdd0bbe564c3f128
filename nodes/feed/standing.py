"""What a venue says of each configured instrument: whether it knows it, and whether it is traded. No I/O."""

from typing import NamedTuple

UNKNOWN = "unknown"


class StandingNews(NamedTuple):
    """An alert in the making."""

    level: str
    what: str
    why: str
    action: str


class Standings:
    """`words`: subject → UNKNOWN, or the venue's own word (HALT, delisted, …); one that is traded is not in it."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    @property
    def unknown(self) -> set[str]:
        return {subject for subject, word in self.words.items() if word == UNKNOWN}

    def hear(self, subject: str, word: str, why: str = "") -> StandingNews | None:
        """The venue's word, "" where the instrument is traded; gives what is news. `why`: more of an unknown one."""
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
