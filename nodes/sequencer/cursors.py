"""What the sequencer has to know to go on, and how it is found again in the log after a crash. No I/O.

The state is stored at the head of every segment; a restart reads the last segment's head and replays its events.
"""

from collections.abc import Iterable

import msgpack
import numpy as np

from tickmesh.bus.intake import Cursor
from tickmesh.bus.schema import CURSOR, Kind
from tickmesh.bus.sockets import LANES
from tickmesh.bus.topics import LANE_OF_KIND
from tickmesh.bus.wire import Event
from tickmesh.nodes.sequencer import eras
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.sequencer.recovery import observe

NAME = "sequencer"


class LogPosition:
    """Where the log stands: links, lanes, time and every producer's cursor. `number`: of the sequencer's own events."""

    def __init__(self, arbiter: Arbiter):
        self.arbiter = arbiter
        self.links: dict[tuple[int, str], int] = {}
        self.previous = [0] * LANES
        self.seq_ns = 0
        self.number = 0
        self.cursors: dict[str, Cursor] = {}

    def pack(self) -> bytes:
        """Packs the position for the head of a log segment; `restore` takes it."""
        packed: bytes = msgpack.packb(
            {
                "links": [[kind, subject, seq] for (kind, subject), seq in self.links.items()],
                "previous": self.previous,
                "seq_ns": self.seq_ns,
                "number": self.number,
                "cursors": {name: [c.epoch, self.low_water(name)] for name, c in self.cursors.items()},
                "skips": {name: self.beyond(name) for name in self.cursors},
                "duplicates": self.arbiter.copies.duplicates,
                "streams": self.arbiter.state(),
            }
        )
        return packed

    def restore(self, packed: bytes) -> None:
        """Puts the position where `pack` was called."""
        if not packed:
            return
        tree = msgpack.unpackb(packed)
        self.links = {(kind, subject): seq for kind, subject, seq in tree["links"]}
        self.previous = tree["previous"]
        self.seq_ns = tree["seq_ns"]
        self.number = tree["number"]
        for name, (epoch, number) in tree["cursors"].items():
            self.cursors[name] = cursor = Cursor(epoch, number)
            cursor.skip = set(tree["skips"].get(name, ()))
        self.arbiter.copies.duplicates = tree["duplicates"]
        self.arbiter.restore(tree["streams"])

    def low_water(self, name: str) -> int:
        """The number up to which every event of a producer is in the log or judged a duplicate; held ones are beyond it."""
        held = self.arbiter.held_numbers(name)
        return min(held) - 1 if held else self.cursors[name].number

    def beyond(self, name: str) -> list[int]:
        """Numbers above the low water that are decided all the same."""
        held = set(self.arbiter.held_numbers(name))
        if not held:
            return []
        return [n for n in range(min(held), self.cursors[name].number + 1) if n not in held]

    def replay(self, events: Iterable[Event]) -> None:
        """Takes events of the log since the packed state, and moves cursors, streams, links and lanes as they state."""
        for event in events:
            self.links[event.kind, event.subject] = event.seq
            self.previous[LANE_OF_KIND[event.kind]] = event.seq
            self.seq_ns = event.seq_ns
            if event.producer == NAME:
                self.number = event.number
            else:
                cursor = self.cursors.setdefault(event.producer, Cursor())
                if event.epoch != cursor.epoch:
                    self._begin_numbers(event.producer, cursor, event.epoch, 0)
                if event.number > cursor.number:
                    cursor.skip.add(event.number)
            observe(self.arbiter, event)
            if event.kind == Kind.cursor:
                self._observe_cursors(event.records)
        for cursor in self.cursors.values():
            while cursor.number + 1 in cursor.skip:
                cursor.number += 1
                cursor.skip.discard(cursor.number)

    def _begin_numbers(self, producer: str, cursor: Cursor, epoch: int, number: int) -> None:
        if cursor.epoch:
            eras.forget_numbers(self.arbiter.streams, producer)
        cursor.epoch, cursor.number = epoch, number
        cursor.skip.clear()

    def _observe_cursors(self, records: np.ndarray) -> None:
        for producer, epoch, number, duplicates, _held in records.tolist():
            name = producer.decode()
            cursor = self.cursors.setdefault(name, Cursor())
            if epoch != cursor.epoch:
                self._begin_numbers(name, cursor, epoch, number)
            else:
                cursor.number = max(cursor.number, number)
                cursor.skip = {n for n in cursor.skip if n > cursor.number}
            self.arbiter.copies.duplicates[name] = duplicates

    def records(self) -> np.ndarray:
        """Builds one `cursor` record for each producer, shape (n,)."""
        out = np.zeros(len(self.cursors), CURSOR)
        for row, (name, cursor) in zip(out, sorted(self.cursors.items())):
            held = len(self.arbiter.held_numbers(name))
            row["producer"] = name.encode()
            row["epoch"], row["number"] = cursor.epoch, self.low_water(name)
            row["duplicates"], row["held"] = self.arbiter.copies.duplicates.get(name, 0), held
        return out
