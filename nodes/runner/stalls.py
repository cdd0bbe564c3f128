"""A step that does not come back from an event: ended by the kernel of the system, and the event found by its next lives.

Compiled code lets no other thread of Python run. So a timer of processor time ends the process (SIGVTALRM) unless it is set
again, which every list of events does; the time that a process is stopped or waits does not count. The next life knows by
run/stalls/<name> and gives its step one event at a time, noting which; it stalls there again, and the life after that has the
event. Nothing is done for an event as long as nothing stalls.

In the sequencer's process the timer runs only while a hosted step works, and run/stalls/sequencer.at has a byte for each: who
was at work at the end. The next life gives the stack that the last one has left to those (`HostedStalls`), and then each of
them is in the same case as a process of its own.
"""

import asyncio
import contextlib
import faulthandler
import mmap
import signal
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.models import cache, loading
from tickmesh.nodes.models.faults import ModelFault

STALL_S = 10.0  # of processor time, within one list of events
HOST = "sequencer"
_AT = struct.Struct("<Q")


class StallRecord:
    """What the lives before have left of a step: run/stalls/<name>, the stack of one that stalled, and <name>.at, the event.

    `key`: what the step is made of; what was noted of another one is forgotten. `suspect`: a life stalled.
    `stalled`: a second one did, that was given one event at a time, at `stalled_at`; 0: while it was loaded, or not known.
    """

    def __init__(self, run_dir: Path, name: str, key: str = ""):
        self._dump, self._place = run_dir / "stalls" / name, run_dir / "stalls" / f"{name}.at"
        self._key = key.encode()
        self._map: mmap.mmap | None = None
        self.suspect = _has_stack(self._dump)
        self.stalled, self.stalled_at = False, 0
        with contextlib.suppress(OSError, struct.error):
            noted = self._place.read_bytes()
            (seq,) = _AT.unpack_from(noted)
            if noted[_AT.size :] != self._key:
                self.suspect = False
            elif self.suspect:
                self.stalled, self.stalled_at = True, seq

    def note(self, seq: int) -> None:
        """Notes, for the next life, the event that the step is about to be given; 0: it is about to be loaded."""
        if self._map is None:
            self._place.write_bytes(_AT.pack(0) + self._key)
            with self._place.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), _AT.size)
        _AT.pack_into(self._map, 0, seq)

    def found(self) -> None:
        """Forgets the event: it is known, or the step has come back from it."""
        self._place.unlink(missing_ok=True)
        self._map = None

    def begin_noting(self) -> bool:
        """Empties the stack, and notes that the step is about to be loaded: only a stall of this life counts for the next one.
        False, and nothing is noted, where there is no room for it."""
        try:
            self.note(0)
            self._dump.write_bytes(b"")
        except OSError:
            return False
        return True

    def forget(self) -> None:
        """Forgets stack and event: the next life begins anew."""
        self._dump.unlink(missing_ok=True)
        self.found()


class StallWatch(StallRecord):
    """The timer of a step in a process of its own, and its record: no `stalled_at` means that it has to be looked for."""

    def __init__(self, run_dir: Path, name: str, key: str = ""):
        (run_dir / "stalls").mkdir(parents=True, exist_ok=True, mode=0o700)
        super().__init__(run_dir, name, key)
        self._file = self._dump.open("w")

    def arm(self) -> bool:
        """Gives the process STALL_S of processor time from now on; False, so that it can stand in a condition."""
        signal.setitimer(signal.ITIMER_VIRTUAL, STALL_S)
        return False

    def begin(self) -> None:
        """From now on a process that does not come back writes where it is and ends."""
        faulthandler.register(signal.SIGVTALRM, self._file, all_threads=False, chain=True)
        self.arm()

    def note(self, seq: int) -> None:
        """As StallRecord, and gives it STALL_S for the event."""
        super().note(seq)
        self.arm()

    def end(self) -> None:
        """Takes the timer away."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        with contextlib.suppress(ValueError, RuntimeError):
            faulthandler.unregister(signal.SIGVTALRM)
        self._file.close()


class HostedStalls:
    """Which hosted step is at work, for the next life of the sequencer, and the timer that ends this one if it stays there.

    `names`: of the guests. `bound_s`: of processor time, for one list of events. Nothing is watched where run/ takes no file.
    """

    def __init__(self, run_dir: Path, names: Sequence[str], bound_s: float):
        self.bound_s = bound_s
        self._dump, self._place = run_dir / "stalls" / HOST, run_dir / "stalls" / f"{HOST}.at"
        self._names = list(names)
        self._at_work: bytearray | mmap.mmap = bytearray(len(self._names))
        self._loading = 0  # how many are loaded now, each in a thread: the loop sets the timer again for them
        self._suspects: set[str] = set()
        self._one_by_one, self._calm = asyncio.Lock(), asyncio.Event()
        self._watches = False
        try:
            self._dump.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_over()
            self._place.write_bytes(bytes(len(self._names)) + "\n".join(["", *self._names]).encode())
            with self._place.open("r+b") as file:
                self._at_work = mmap.mmap(file.fileno(), 0)
            self._file = self._dump.open("w")
            self._watches = True
        except OSError:
            self._suspects.clear()
        if not self._suspects:
            self._calm.set()

    def _take_over(self) -> None:
        """Gives the stack that the last life has left to those that were at work: only one alone can have been at an event."""
        names: list[str] = []
        if _has_stack(self._dump) and self._place.exists():
            flags, *noted = self._place.read_bytes().split(b"\n")
            names = [name.decode() for at_work, name in zip(flags, noted) if at_work]
        for name in names:
            (self._dump.parent / name).write_bytes(self._dump.read_bytes())
        for name in self._names:
            if (name in names and len(names) > 1) or not _has_stack(self._dump.parent / name):
                (self._dump.parent / f"{name}.at").unlink(missing_ok=True)
            if _has_stack(self._dump.parent / name):
                self._suspects.add(name)

    def begin(self) -> None:
        """From now on a process whose guest does not come back writes where it is and ends."""
        if self._watches:
            faulthandler.register(signal.SIGVTALRM, self._file, all_threads=True, chain=True)

    def enter(self, place: int) -> None:
        """Notes that the guest at this place is given something, and has `bound_s` of processor time for it."""
        self._at_work[place] = 1
        if self._watches:
            signal.setitimer(signal.ITIMER_VIRTUAL, self.bound_s)

    def leave(self, place: int) -> None:
        """Notes that it has come back."""
        self._at_work[place] = 0
        if self._watches and not self._loading:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)

    @contextlib.contextmanager
    def at_work(self, place: int) -> Iterator[None]:
        """`enter` and `leave` around a block."""
        self.enter(place)
        try:
            yield
        finally:
            self.leave(place)

    def place(self, name: str) -> int:
        """The place of a guest, for `enter` and `leave`."""
        return self._names.index(name)

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Surrounds the loading of a step in a thread. After a stall those that were at work go first, one by one, and nobody
        else is at work meanwhile: so whoever stalls then is known."""
        if name not in self._suspects:
            await self._calm.wait()
            with self._loaded(name):
                yield
            return
        try:
            async with self._one_by_one:
                with self._loaded(name):
                    yield
        finally:
            self._suspects.discard(name)
            if not self._suspects:
                self._calm.set()

    async def calm(self) -> None:
        """Returns when no guest has to be alone any more."""
        await self._calm.wait()

    @contextlib.contextmanager
    def _loaded(self, name: str) -> Iterator[None]:
        place = self.place(name)
        self._loading += 1
        self.enter(place)
        try:
            yield
        finally:
            self._loading -= 1  # first: the last one takes the timer away
            self.leave(place)

    async def stay_armed(self) -> None:
        """Sets the timer again as long as the loop has its turn and somebody is loaded."""
        while True:
            if self._watches and self._loading:
                signal.setitimer(signal.ITIMER_VIRTUAL, self.bound_s)
            await asyncio.sleep(self.bound_s / 20)

    def end(self) -> None:
        """Takes the timer away."""
        if self._watches:
            self._watches = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
            with contextlib.suppress(ValueError, RuntimeError):
                faulthandler.unregister(signal.SIGVTALRM)
            self._file.close()


class ModelStall(ModelFault):
    """A step that two lives have not come back from the same event of. `sources`: the hash of a model's, "" of another step."""

    def __init__(self, what: str, where: str, sources: str, seq: int, on: str):
        super().__init__(what, where, seq, on)
        self.sources = sources


def stall_of(config: Config, name: str, instance: str, seq: int, bound_s: float) -> ModelStall:
    """The fault of a step that took `bound_s` of processor time twice, at the event `seq` (0: while it was loaded).

    `where` is its only `while` loop, or where its kernel begins. Raises ConfigError as `key_of`.
    """
    what = f"it does not come back: {bound_s:g} s of processor time, twice; a loop in it may have no end"
    if not seq:
        what = f"{what}, and it runs where no event has come yet"
    event = next(LogReader(config.log_dir).events(seq - 1), None) if seq else None
    on = f"{Kind(event.kind).name} of {event.subject}" if event is not None else "no longer in the log"
    if (file := _file_of(config, name, instance)) is None:
        return ModelStall(what, name, "", seq, on)
    loops, begins = loading.loop_lines(file)
    if len(loops) > 1:
        what = f"{what} (`while` is in lines {', '.join(map(str, loops))})"
    line = loops[0] if len(loops) == 1 else begins
    return ModelStall(what, f"{loading.short(str(file))}:{line}", cache.sources_hash(file), seq, on)


def key_of(config: Config, name: str, instance: str) -> str:
    """What a model is made of, 16 hex digits: its sources and its settings; "" of another step. Raises ConfigError."""
    if (file := _file_of(config, name, instance)) is None:
        return ""
    return sha256(f"{cache.sources_hash(file)} {config.model(instance)}".encode()).hexdigest()[:16]


def _file_of(config: Config, name: str, instance: str) -> Path | None:
    """The file of a model's kernel; None for a step that is no model."""
    if name != f"model-{instance}":
        return None
    loading.use_folder(config)
    return loading.file_of(config.model(instance).kernel)


def _has_stack(dump: Path) -> bool:
    return dump.exists() and dump.stat().st_size > 0
