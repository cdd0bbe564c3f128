"""Whether the log's time goes on, and whether a stream that took nothing while its lines brought events raised an alert."""

from typing import Any

import msgpack

from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.intervals import STREAMS
from tickmesh.tools.judge.log import Event

SECOND = 1_000_000_000
STANDS_NS = 10 * SECOND  # received meanwhile, while seq_ns does not go on by a tenth of it
PACED = 5  # events that the sequencer says by its own clock, meanwhile: so it is no backlog that is caught up with
DEAF_NS = 60 * SECOND  # a mesh tells of it after 30 s; statistics are of 10 s each
NAMES = {number: name for name, number in STREAMS.items()}


class PaceCheck:
    """Checks that the log's time goes on, and that a stream which takes nothing for long raises an alert."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.paced = 0
        self.windows: dict[str, tuple[int, int, int]] = {}  # line → recv_ns, seq_ns, paced where its window began
        self.newest: dict[str, int] = {}
        self.taken: set[tuple[str, str]] = set()  # streams of which something was logged since their last statistics
        self.silent: dict[tuple[str, str], int] = {}  # … that took nothing: for how long; -1: an alert was raised

    def look(self, event: Event) -> None:
        """Checks one event; they come in order."""
        if event.kind in STREAMS or event.kind == "gap":
            self._received(event)
        elif event.kind in ("clock", "cursor"):
            self.paced += 1
        elif event.kind == "line":
            self._lines(event)
        elif event.kind == "alert":
            self._alert(event)

    # -- time

    def _received(self, event: Event) -> None:
        if event.kind == "gap":
            for row in event.records:
                if row[2] in NAMES:
                    self.taken.add((NAMES[row[2]], event.subject))
            return
        self.taken.add((event.kind, event.subject))
        if not event.recv_ns or not event.producer.startswith("feed"):
            return
        now = (event.recv_ns, event.seq_ns, self.paced)
        begun = self.windows.setdefault(event.producer, now)
        stepped = event.recv_ns < self.newest.get(event.producer, 0) - SECOND
        self.newest[event.producer] = event.recv_ns
        passed, advanced = event.recv_ns - begun[0], event.seq_ns - begun[1]
        if stepped or advanced >= STANDS_NS // 10:
            self.windows[event.producer] = now
        elif passed >= STANDS_NS:
            if self.paced - begun[2] >= PACED:
                self.findings.fault(
                    "seq_ns_stands",
                    f"seq {event.seq}: {passed / SECOND:.1f} s passed for {event.producer}, "
                    f"and seq_ns went on by {advanced / SECOND:.3f} s",
                )
            self.windows[event.producer] = now

    # -- streams that drop what they hear

    def _lines(self, event: Event) -> None:
        brought: dict[tuple[str, str], tuple[int, int]] = {}
        for record in event.records:
            _line, stream, joined, begin_ns, end_ns, events = record[:6]
            if not joined and stream in NAMES:
                key = (NAMES[stream], event.subject)
                known = brought.get(key, (0, 0))
                brought[key] = (known[0] + events, max(known[1], end_ns - begin_ns))
        for key, (events, lasted_ns) in brought.items():
            if key in self.taken:
                self.silent.pop(key, None)
            elif events:
                self._took_nothing(key, event.seq, lasted_ns)
        self.taken -= brought.keys()

    def _took_nothing(self, key: tuple[str, str], seq: int, lasted_ns: int) -> None:
        before = self.silent.get(key, 0)
        if before < 0:
            return
        self.silent[key] = before + lasted_ns
        if self.silent[key] >= DEAF_NS:
            self.findings.fault(
                "deaf",
                f"seq {seq}: {'.'.join(key)} took nothing for {self.silent[key] / SECOND:.0f} s, its lines brought events, "
                "and nothing says so",
            )
            self.silent[key] = -1

    def _alert(self, event: Event) -> None:
        target = _target(event.records)
        for key in self.silent:
            if target == ".".join(key):
                self.silent[key] = -1


def _target(packed: Any) -> str:
    try:
        content = msgpack.unpackb(packed)
    except ValueError:  # a finding of another check
        return ""
    return str(content.get("target", "")) if isinstance(content, dict) else ""
