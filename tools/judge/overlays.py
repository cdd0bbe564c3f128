"""Whether the overlays of sealed days are what docs/archive.md says: each trade of another day once more, and nothing else."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tickmesh.tools.judge import archive
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event

DAY_NS = 86_400_000_000_000
VENUE_NS = 3  # place of the trade time in a record


class Overlays:
    """Notes from archived events which trades the overlays of sealed days have to hold; afterwards `judge` compares."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.sealed_seq, self.pruned = archive.read_seals(folder)
        self.due: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)  # subject, day → seq → hash of the event

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Takes archived events in order and passes them on."""
        for event in events:
            if event.kind == "trade" and event.seq <= self.sealed_seq:
                self._look(event)
            yield event

    def _look(self, event: Event) -> None:
        own = event.seq_ns // DAY_NS
        for number in {record[VENUE_NS] // DAY_NS for record in event.records if record[VENUE_NS]} - {own}:
            self.due[event.subject, _day(number)][event.seq] = _sum(event)

    def judge(self, findings: Findings) -> None:
        """Reads every overlay and fills the findings: a trade too many, missing or different is a fault."""
        for path in sorted(self.folder.glob("*/*/*/overlay/*.h5")):
            match = archive.NAME.fullmatch(path.name)
            place = path.parent.parent  # of the day that its trades belong to
            span = (int(match[1]), int(match[2])) if match else (0, 0)
            if span[1] > self.sealed_seq or "/".join(place.parts[-3:-1]) in self.pruned.get(span, ()):
                continue  # not visible yet; or its trades are nowhere else any more
            due = self.due[archive.subject_of(place / path.name), place.name]
            for stream in archive.events_of(path, findings):
                for event in stream:
                    findings.count("overlay_trades")
                    if due.pop(event.seq, None) != _sum(event):
                        why = "is not a trade of that day, differs, or is there twice"
                        findings.fault("overlay", f"{path}: seq {event.seq} {why}")
        for (subject, day), left in self.due.items():
            if left:
                what = f"{len(left)} trades of {day} are not in its overlays"
                findings.fault("overlay", f"{subject}: {what}, first seq {min(left)}")


def _day(number: int) -> str:
    return f"{datetime.fromtimestamp(number * (DAY_NS // 10**9), UTC):%Y-%m-%d}"


def _sum(event: Event) -> int:
    return hash(tuple(tuple(value) if isinstance(value, list) else value for value in event))
