"""A mesh in one process under load, every change to its files recorded, and the same mesh on what a power cut left of them.

The real sequencer, recorder, producers and a step; only time is the test's: who does what next is drawn, so that a roll, a
cut of the archive and a checkpoint fall between two syncs in every order.
"""

import asyncio
import contextlib
import hashlib
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

import tickmesh.bus.log_writer
import tickmesh.storage.recent.store
from tests.support.breaking.disk import Change, Disk
from tests.support.breaking.runs import config_of, trade
from tests.support.breaking.watch import Watch
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import SIGNAL, Kind
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import Event, encode, events
from tickmesh.nodes.recorder import node as recorder
from tickmesh.nodes.runner.history import history
from tickmesh.nodes.runner.step import StepRunner
from tickmesh.nodes.sequencer import node as sequencer
from tickmesh.storage.archive.file import ArchiveFile
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.hdf5.columns import to_bytes
from tickmesh.storage.recent.reader import RecentReader

TMPFS = "shm"  # where outboxes are: it does not outlive the power
NEVER_MS = 3_600_000  # the test says when the log is synced


class Counting:
    """A model whose signals count the trades it has seen: a wrong state after a restart shows in the next one."""

    READS = (Kind.trade,)
    WRITES = (Kind.signal,)

    class Step:
        """Its state: how many trades it has seen."""

        def __init__(self, config: Config, instance: str):
            self.seen = 0

        def step(self, events: list[Event]) -> list[bytearray]:
            out = []
            for event in events:
                self.seen += 1
                record = np.zeros(1, SIGNAL)
                record["value"] = self.seen
                out.append(encode(Kind.signal, event.subject, record, cause_seq=event.seq))
            return out

        def save(self) -> bytes:
            return struct.pack("<Q", self.seen)

        def counters(self) -> dict[str, int]:
            return {}

        def identity(self) -> dict[str, str]:
            return {}

        def load(self, state: bytes) -> None:
            (self.seen,) = struct.unpack("<Q", state)


class SilentContext(Context):
    """A recorder's context that publishes nothing: what it publishes does not matter here."""

    def publish(self, events: list[bytearray]) -> None:
        """Drops the events."""
        pass


class Moment(NamedTuple):
    """What is acknowledged at a moment: seq up to which the log is durable, is archived, and stands in a checkpoint."""

    durable: int
    archived: int
    saved: int


class Mesh:
    """A mesh in one process, from one start to the power cut. `logged`: all events of its log, by seq."""

    def __init__(self, root: Path, boot: str):
        tickmesh.bus.log_writer.boot_id = tickmesh.storage.recent.store.boot_id = lambda: boot  # put back by `booted`
        config = config_of(root)
        self.config = Config(
            msgspec.structs.replace(config.mesh, log=msgspec.structs.replace(config.mesh.log, sync_ms=NEVER_MS)), root
        )
        sequencer.CURSOR_NS = sequencer.SWEEP_NS = 0
        self.core = sequencer.Sequencer(self.config)
        self.logged = {event.seq: bytes(event.raw) for event in LogReader(self.config.log_dir).events(self.first - 1)}
        self.core.logged.append(self._listen)
        self.feeds = [Producer(self.config, name) for name in ("feed-1", "feed-2")]
        self.model = Producer(self.config, "model-x")
        self.runner = StepRunner(Counting, self.config, "model-x", "x")
        self.runner.checkpoints.interval_s = 0.0
        self.resumed_seq = self.runner.seq
        for some in history(self.config, self.runner.seq, self.runner.lanes):
            self.runner.replay(some)
        self.model.publish(self.runner.unpublished())
        self.recorder = recorder.Recorder(SilentContext(self.config, "recorder"))
        self.saved = self.resumed_seq
        stored = {**archived(self.config.archive_dir), **self.logged}  # the log alone may have no trade any more
        self.trades = max((event.last_id for event in map(Event, stored.values()) if event.kind == Kind.trade), default=0)

    @property
    def first(self) -> int:
        """The first seq that the log has."""
        return LogReader(self.config.log_dir).first

    def _listen(self, batch: list[bytearray]) -> None:
        for event in batch:
            self.logged[Event(event).seq] = bytes(event)

    def moment(self) -> Moment:
        """What is acknowledged now: seqs that are durable, archived, in a checkpoint."""
        return Moment(self.core.log.durable, self.recorder.archive.archived_seq, self.saved)

    # -- what happens, one by one

    def publish_trade(self) -> None:
        """Both feeds publish the next trade."""
        self.trades += 1
        for feed in self.feeds:
            feed.publish([trade(self.trades)])

    def take(self) -> None:
        """The sequencer takes what producers have published."""
        self.core.sequence(self.core.intake.sweep(0))
        while self.core.turn() or self.core.intake.behind:
            pass

    def step(self) -> None:
        """The model takes what is in the log."""
        for some in history(self.config, self.runner.seq, self.runner.lanes):  # what the log has released, the archive has
            for event in some:
                if published := self.runner.live([event]):
                    self.model.publish(published)

    def sync(self) -> None:
        """Makes the log durable."""
        self.core.log._sync_now()

    def checkpoint(self) -> None:
        """Saves a checkpoint of the model, if one is due."""
        self.runner.offer_checkpoint()
        if snapshot := self.runner.checkpoints.take(self.core.log.durable):
            self.runner.checkpoints.checkpoint.save(snapshot.seq, snapshot.state, self.core.log.log_id)
            self.saved = snapshot.seq

    def record(self) -> None:
        """The recorder stores what is logged, and cuts."""
        self.recorder.put(
            [Event(self.logged[seq]) for seq in range(self.recorder.recent.recent_seq + 1, self.core.log.last + 1)]
        )
        self.recorder.commit()
        asyncio.run(self.recorder.cut(self.recorder.log.durable, bool))  # it never stops

    def live(self, rng: random.Random, steps: int) -> None:
        """Does so many things in a random order."""
        deeds = [self.publish_trade] * 12 + [self.take] * 6 + [self.core.tick] * 4 + [self.step] * 4
        deeds += [self.sync] * 2 + [self.checkpoint] * 2 + [self.record]
        for _ in range(steps):
            rng.choice(deeds)()

    def settle(self) -> None:
        """Goes on until nothing is left to publish and all of it is archived."""
        for _ in range(3):
            self.take()
            self.step()
        self.core.tick()
        self.sync()
        self.record()

    def close(self) -> None:
        """Closes every file."""
        for producer in (*self.feeds, self.model):
            producer.close()
        self.recorder.recent.close()
        self.recorder.archive.close()
        self.core.close()


@contextlib.contextmanager
def booted(root: Path, boot: str) -> Iterator[Mesh]:
    """A mesh that was started on what is under `root`."""
    before: Any = (
        tickmesh.bus.log_writer.boot_id,
        tickmesh.storage.recent.store.boot_id,
        sequencer.CURSOR_NS,
        sequencer.SWEEP_NS,
    )
    try:
        mesh = Mesh(root, boot)
        try:
            yield mesh
        finally:
            mesh.close()
    finally:
        tickmesh.bus.log_writer.boot_id, tickmesh.storage.recent.store.boot_id, sequencer.CURSOR_NS, sequencer.SWEEP_NS = before


class Recording:
    """Records one life of a mesh: each change of its files with what was acknowledged then, and all events logged."""

    def __init__(
        self, root: Path, rng: random.Random, steps: int, boot: str = "first boot", acknowledged: Moment | None = None
    ):
        self.root = str(root.resolve())
        self.changes: list[tuple[Change, Moment]] = []
        self._acknowledged = acknowledged or Moment(0, 0, 0)  # in the boot before
        self._mesh: Mesh | None = None
        config_of(root)
        self._disk = Disk(self.root)
        watch = Watch(root, record=self._record)
        with watch:
            with booted(root, boot) as mesh:
                self._mesh = mesh
                mesh.live(rng, steps)
                self.logged = dict(mesh.logged)
                self.log_id = mesh.core.log.log_id
                watch.remove()  # its decent end is another story

    def _record(self, op: str, *what: Any) -> None:
        durable = self._acknowledged.durable
        if op == "write" and len(what[2]) == 20:  # the file `durable`: acknowledged as soon as it is written
            durable = max(durable, *struct.unpack("<Q", what[2][:8]))
        if self._mesh is not None:
            self._acknowledged = Moment(*map(max, self._acknowledged, self._mesh.moment()))
        self._acknowledged = self._acknowledged._replace(durable=max(durable, self._acknowledged.durable))
        self.changes.append((Change(op, what), self._acknowledged))

    def images(self, into: Path, count: int, rng: random.Random) -> Iterator[Moment]:
        """Cuts the power `count` times, at moments in order; each time `into` is what was left. Once only."""
        done = 0
        for moment in sorted(rng.randint(1, len(self.changes)) for _ in range(count)):
            for change, _acknowledged in self.changes[done:moment]:
                self._disk.apply(change)
            done = moment
            self._disk.image(into, rng, without=(TMPFS,))
            _tear_the_recent_store(into, rng)
            yield self.changes[moment - 1][1]


def _tear_the_recent_store(into: Path, rng: random.Random) -> None:
    """LMDB's file is written by C, unseen, and never synced: after a power cut it may hold anything."""
    folder = into / "data/sim/recent"
    if folder.is_dir() and rng.random() < 0.5:
        (folder / "data.mdb").write_bytes(b"".join(rng.choice((bytes(4096), rng.randbytes(4096))) for _ in range(4)))


_read: dict[str, dict[int, bytes]] = {}  # events of an archive file by the hash of its bytes: most images share most files


def archived(folder: Path) -> dict[int, bytes]:
    """Reads what ArchiveReader.check and .events look at, each file of the same bytes once only. Raises ArchiveError."""
    out: dict[int, bytes] = {}
    for cut in ArchiveReader(folder).cuts():
        for file in cut:
            digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
            if digest not in _read:
                with ArchiveFile(file.path) as segment:
                    segment.check()
                    found = [e for kind in segment.kinds for e in events(memoryview(to_bytes(segment.table(kind))[0]))]
                    _read[digest] = {event.seq: bytes(event.raw) for event in found}
            out |= _read[digest]
    return dict(sorted(out.items()))


def survived(mesh: Mesh, recording: Recording, acknowledged: Moment) -> None:
    """Asserts what must hold on the first look after a power cut."""
    kept, last = mesh.logged, mesh.core.log.last
    assert last >= acknowledged.durable, f"{acknowledged.durable} was durable, {last} is left"
    assert list(kept) == list(range(mesh.first, last + 1))
    assert all(recording.logged[seq] == raw for seq, raw in kept.items()), "what is left is as it was logged"
    assert mesh.core.log.log_id != recording.log_id, "numbers may have gone back: the log has a new identity"
    assert not list(mesh.config.log_dir.glob("*.new"))
    stored = archived(mesh.config.archive_dir)
    assert list(stored) == list(range(1, mesh.recorder.archive.archived_seq + 1))
    assert all(recording.logged[seq] == raw for seq, raw in stored.items())
    assert acknowledged.archived <= len(stored) <= acknowledged.durable
    assert mesh.first <= len(stored) + 1, "what was released is archived"
    assert acknowledged.saved <= mesh.resumed_seq <= acknowledged.durable


def went_on(mesh: Mesh) -> None:
    """Asserts what must hold when the mesh has worked again for a while and has come to rest."""
    stored = archived(mesh.config.archive_dir)
    assert list(stored) == list(range(1, mesh.core.log.last + 1)), "everything is archived"
    assert mesh.core.log.durable == mesh.core.log.last
    log = LogReader(mesh.config.log_dir)
    logged = {event.seq: bytes(event.raw) for event in log.events(log.first - 1)}
    assert all(stored[seq] == raw for seq, raw in logged.items())
    assert log.log_id == mesh.core.log.log_id
    everything = [Event(raw) for raw in stored.values()]
    trades = [event for event in everything if event.kind == Kind.trade]
    signals = [event for event in everything if event.kind == Kind.signal]
    assert [event.last_id for event in trades] == list(range(1, mesh.trades + 1))
    assert [event.cause_seq for event in signals] == [event.seq for event in trades], "each trade has one signal"
    assert [event.records["value"][0] for event in signals] == list(range(1, len(trades) + 1)), "of the right state"
    with RecentReader(mesh.config.recent_dir) as recent:
        assert recent.recent_seq == mesh.core.log.last
