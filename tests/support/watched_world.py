"""A mesh that publishes what a mesh publishes, second by second, into a judge and the budget of restarts."""

import random

import numpy as np

from tickmesh.bus.schema import CLOCK, CURSOR, LINE, WATERMARK, Kind
from tickmesh.bus.settings import SentinelSettings
from tickmesh.bus.wire import decode, encode, stamp_sequenced
from tickmesh.nodes.sentinel.judge import Diagnosis, Judge, Process
from tickmesh.nodes.sentinel.restarts import Restarts

SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND
READERS = ("recorder", "model-flow", "executor", "sentinel-1", "sentinel-2")
FEEDS = ("feed-1", "feed-2")


class World:
    """A mesh that publishes what a mesh publishes, second by second, into a judge; a test makes parts of it fail."""

    def __init__(self, seed: int = 1, **settings):
        self.random = random.Random(seed)
        self.settings = SentinelSettings(**settings)
        self.judge = Judge(self.settings, segment_s=6.0)
        self.now = BEGIN
        self.seq = 0
        self.beats: dict[str, dict] = {}
        self.hung: set[str] = set()
        self.processes: dict[str, Process] = {}
        self.taken: dict[str, int] = {}
        self.alerts: list[Diagnosis] = []
        self.restarts = Restarts(self.settings)
        self.decisions: list = []
        self.rate = 0  # market events a second
        for name in ("sequencer", *FEEDS, *READERS):
            self.start(name)

    def start(self, name: str) -> None:
        """Starts a process, or starts it again."""
        pid = self.random.randrange(1000, 10**6)
        self.processes[name] = Process(name, pid, self.now, ready_ns=self.now)
        self.beats[name] = {"pid": pid}
        if name in FEEDS:
            self.beats[name] |= {"events": 0, "reconnects": 0}
        elif name != "sequencer":
            self.beats[name] |= {"lag": 0, "deaf_s": 0.0}
        self.hung.discard(name)

    def publish(self, kind: Kind, subject: str, content) -> None:
        """Publishes an event to the judge."""
        raw = encode(kind, subject, content)
        self.seq += 1
        stamp_sequenced(raw, self.seq, 0, self.now)
        self.judge.take([decode(raw)])

    def pass_second(self, looks: bool = True) -> list[Diagnosis]:
        """Passes one second: heartbeats in some order, a cursor, a clock; then the judge looks. Gives what it finds."""
        if "sequencer" not in self.hung:
            self.seq += self.rate
            names = [name for name in self.beats if name not in self.hung]
            self.random.shuffle(names)
            for name in names:
                self.now += SECOND // 50
                beat = self.beats[name]
                if name in FEEDS:
                    beat["events"] += self.rate
                if name == "sequencer":
                    beat["durable_seq"] = self.seq
                self.taken[name] = self.taken.get(name, 0) + 1
                self.publish(Kind.health, name, beat)
            cursors = np.zeros(len(self.taken), CURSOR)
            for row, (name, number) in zip(cursors, self.taken.items()):
                row["producer"], row["number"] = name, number
            self.publish(Kind.cursor, "sequencer", cursors)
            clock = np.zeros(1, CLOCK)
            clock["durable_seq"] = self.seq
            self.publish(Kind.clock, "sequencer", clock)
            if "recorder" not in self.hung:
                self.publish(Kind.watermark, "recorder", np.array([(self.seq, self.seq)], WATERMARK))
        self.now = self.now // SECOND * SECOND + SECOND
        if not looks:
            return []
        verdicts = self.judge.look(self.now, list(self.processes.values()))
        self.alerts += verdicts
        working = frozenset(p.name for p in self.processes.values() if self.judge.works(p))
        decided = self.restarts.decide(verdicts, list(self.processes.values()), working, self.now)
        self.decisions += decided
        for decision in decided:
            if decision.restart:
                self.start(decision.target)
        return verdicts

    def run(self, seconds: int) -> list[Diagnosis]:
        """Passes so many seconds; gives what the judge finds."""
        return [verdict for _ in range(seconds) for verdict in self.pass_second()]


def publish_line(world: World, name: str, firsts: int, duplicates: int) -> None:
    """Publishes statistics of a line."""
    row = np.zeros(1, LINE)
    row["line"], row["firsts"], row["duplicates"], row["events"] = name, firsts, duplicates, firsts + duplicates
    row["begin_ns"], row["end_ns"], row["stream"] = world.now - 10 * SECOND, world.now, Kind.trade
    world.publish(Kind.line, "binance.BTCUSDT", row)
