"""A log without a file: events get the next seq and the simulated time, and go to one executor's step at once."""

from collections import deque

from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor.node import READS, Step

LOG_ID = "00c0ffee00c0ffee"


class SimulatedLog:
    """The one order of events of a simulated mesh. What the step answers is in the log next, and read back by it."""

    def __init__(self, step: Step):
        self._step = step
        self._reads = frozenset(int(kind) for kind in READS)
        self._numbers: dict[str, int] = {}
        self.seq = 0
        self.now_ns = 0

    def open(self, now_ns: int) -> None:
        """Begins the log: the sequencer's `run` event."""
        self.add(encode(Kind.run, "sequencer", {"node": "sequencer", "log_id": LOG_ID}), "sequencer", now_ns)

    def add(self, event: bytearray, producer: str, now_ns: int) -> list[Event]:
        """Appends an event; gives what the executor said to it, which is in the log, too."""
        self.now_ns = max(now_ns, self.now_ns)
        own: list[Event] = []
        waiting: deque[tuple[bytearray, str]] = deque([(event, producer)])
        while waiting:
            raw, who = waiting.popleft()
            logged = self.stamped(raw, who)
            if who == self._step.name:
                own.append(logged)
            if logged.kind in self._reads:
                waiting.extend((answer, self._step.name) for answer in self._step.step([logged]))
        return own

    def stamped(self, event: bytearray, producer: str) -> Event:
        """Appends an event, and tells nobody of it."""
        number = self._numbers[producer] = self._numbers.get(producer, 0) + 1
        stamp_sent(event, producer_bytes(producer), 1, number, self.now_ns)
        self.seq += 1
        stamp_sequenced(event, self.seq, 0, self.now_ns)
        return decode(bytes(event))
