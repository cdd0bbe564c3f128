"""Appends to the mesh's log, and to the outbox of every producer: one process each, under flock.

An append is one `write` of one batch, so it survives SIGKILL as it is; a thread calls `fdatasync` for power cuts.
"""

import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.files import boot_id, sync_folder
from tickmesh.bus.log_files import (
    acquire_locks,
    begin_segment,
    log_full,
    read_owner,
    refused_by,
    reserve,
    write_owner,
    write_whole,
)
from tickmesh.bus.schema import SCHEMA_HASH
from tickmesh.bus.segments import (  # fmt: skip
    IDENTITIES_MAX,
    Folders,
    Identity,
    LogCorrupt,
    LogError,
    LogFull,
    LogLocked,
    batch_bytes,
    durable_bytes,
    folders_of,
    head_bytes,
    identities,
    read_durable,
    read_preamble,
    scan,
    segments,
)


class LogWriter:
    """Appends to the log in `folder`. Opening it cuts a torn tail and decides whether the log keeps its identity.

    `sync_ms`: interval of the sync thread; 0 = never (an outbox need not survive a power cut). `state()` is stored at the
    head of every new segment; a writer with a state calls `roll_if_full` when that state is that of what is appended,
    and without a state segments roll by themselves. After a power cut the tail may be gone and numbers may go back below
    what others have seen: then `log_id` is new, and a log that is never synced begins again with 1.
    An outbox has several folders: a segment that its place has no room for is gone on with at another one. `places()`: in
    which order a new one tries them, else as they are given. Raises LogLocked, LogNewer, LogCorrupt, LogFull.
    """

    def __init__(
        self,
        folder: Folders,
        *,
        segment_bytes: int = 16 << 20,
        sync_ms: int = 50,
        state: Callable[[], bytes] | None = None,
        new_id: Callable[[], int] = lambda: int.from_bytes(os.urandom(8), "little") >> 1,
        boot: str | None = None,
        places: Callable[[], Sequence[Path]] | None = None,
    ):
        self.folders = folders_of(folder)
        self.folder = self.folders[0]
        self._places = places or (lambda: self.folders)
        self.segment_bytes = segment_bytes
        self.state = state
        self.boot = boot_id() if boot is None else boot
        self._syncs = sync_ms > 0
        self.cut_bytes = 0
        self.last = 0
        self._fd = self._durable_fd = -1
        self._path: Path | None = None  # of the segment that is appended to
        self.place = self.folder  # of the folders the one that it lies in
        self.moved_because = ""  # what other places said to this segment, a sentence without its full stop
        self._size = 0
        self._bare_at = 0  # first number of a segment whose head has no state though its writer has one; 0: it has
        self._older = False  # the segment found last is of another schema: nothing more may be written into it
        self._kept_state = b""  # of a segment found without events: whoever begins there anew has the same
        self._torn = False  # behind `_size` lies what a refused append left, and it could not be cut yet
        self._rolled: deque[int] = deque()  # file descriptors of full segments that are still to be synced
        self._sync_error: Exception | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._locks: list[FileLock] = []
        try:
            self._locks = acquire_locks(self.folders)
            durable = read_durable(self.folder)
            self._recover(new_id, durable)
            if self._syncs:
                # Written in place for ever: a full disk must not keep the mark from moving.
                self._durable_fd = os.open(self.folder / "durable", os.O_RDWR | os.O_CREAT, 0o600)
                self._sync_before(durable)
                self._mark(self._sync_segments())
        except FileLocked:
            raise LogLocked(f"{self.folder} is written by another process; stop that one first") from None
        except (OSError, LogError) as error:
            self._let_go()
            raise error if isinstance(error, LogError) else log_full([(self.folder, error)]) from None
        self.durable = self.last
        if self._syncs:
            self._thread = threading.Thread(target=self._sync_loop, args=(sync_ms / 1000,), daemon=True)
            self._thread.start()

    def _recover(self, new_id: Callable[[], int], durable: int) -> None:
        for folder in self.folders:
            for stray in folder.glob("*.new"):
                stray.unlink()
        found = segments(self.folders)
        same = bool(found) and self._goes_on(found[-1][1])
        if not same and not self._syncs:
            # Its tail may be gone, and its numbers would clash with those that were heard. Before this boot owns it:
            # when we die halfway, the next start finds the old owner and goes on.
            for _, path in found:
                path.unlink()
            found = []
        self.log_id = new_id()
        if found:
            # Within one boot only the last append can be torn; after a power cut anything since the last sync can be.
            start = len(found) - 1
            if not same:
                while start > 0 and found[start][0] > durable:
                    start -= 1
            log_id = self._cut(found, start, durable)
            if same and log_id:
                self.log_id = log_id
        self.identities = identities(self.folders)
        if not self.identities or self.identities[-1].log_id != self.log_id:
            stayed = [identity for identity in self.identities if identity.first <= self.last + 1]
            self.identities = [*stayed[1 - IDENTITIES_MAX :], Identity(self.log_id, self.last + 1)]
        # First the new identity's segment, then this boot owns the log: when we die between, the next start finds the old
        # owner and takes a new identity again.
        if not same or self._older or not segments(self.folders):
            self._roll(self._kept_state)
        if self._syncs:
            write_owner(self.folder, self.boot, self.log_id, clean=False)

    def _goes_on(self, newest: Path) -> bool:
        """Whether what was written last is all there: by this boot, or up to a clean end. The head of an outbox's newest
        segment says it, for the machine's; a log's owner, for its disk."""
        if not self._syncs:
            with contextlib.suppress(LogCorrupt):
                return read_preamble(newest).boot_id == self.boot != ""
            return False
        owner = read_owner(self.folder)
        return bool(owner.get("clean")) or owner.get("boot") == self.boot != ""

    def _cut(self, found: list[tuple[int, Path]], start: int, durable: int) -> int:
        """Finds the end of what is whole from segment `start` on; cuts the rest. Returns the log_id there."""
        log_id = 0
        for index in range(start, len(found)):
            first, path = found[index]
            try:
                preamble = read_preamble(path)
            except LogCorrupt:
                if first <= durable or (index == 0 and len(found) > 1):
                    raise
                break
            if index > start and first != self.last + 1:
                break
            log_id = preamble.log_id
            self._bare_at = first if self.state is not None and not preamble.state else 0
            self._older = preamble.schema_hash != SCHEMA_HASH
            data = path.read_bytes()
            end = preamble.size
            self.last = first - 1
            for stop, batch in scan(data, preamble.size):
                if batch.first != self.last + 1:
                    break
                end, self.last = stop, batch.last
            self._kept_state = preamble.state if self.last < first else b""
            self._fd, self._size = self._open(path), end
            if end < len(data):
                if self.last < durable:
                    raise LogCorrupt(
                        f"{path}: bytes {end} to {len(data)} are damaged although everything up to {durable} was "
                        f"synced; the disk lost data. Keep a copy of {self.folder}, then move the folder away"
                    )
                self.cut_bytes += len(data) - end
                os.ftruncate(self._fd, end)
                index += 1
                break
        else:
            index = len(found)
        for _, path in found[index:]:
            self.cut_bytes += path.stat().st_size
            path.unlink()
        return log_id

    def _open(self, path: Path) -> int:
        if self._fd >= 0:
            os.close(self._fd)
        self._path, self.place = path, path.parent
        return os.open(path, os.O_WRONLY | os.O_APPEND)

    def _roll(self, state: bytes = b"", avoid: Path | None = None) -> None:
        """Starts the segment of the next number, with `state` in its head, or the writer's own where that is empty.

        It is visible only when its head is whole. `avoid`: a folder that has just taken nothing. Raises LogFull.
        """
        state = state or (self.state() if self.state else b"")
        head = head_bytes(self.log_id, self.last + 1, self.boot, state, self.identities)
        refused: list[tuple[Path, OSError]] = []
        for folder in [place for place in self._places() if place != avoid]:
            path = folder / f"{self.last + 1:020d}.seg"
            empty = self._path if self._path is not None and self._path.name == path.name else None
            try:
                self._untear()
                fd = begin_segment(path, head, empty)
                break
            except OSError as error:
                refused.append((folder, error))
                if empty is not None and not empty.exists():
                    self._path = None  # nothing may be appended to what nobody finds
        else:
            raise log_full(refused)
        self.moved_because = refused_by(refused)
        if self._syncs:  # an outbox lies in RAM, and takes what it fills
            reserve(fd, self.segment_bytes)
        if self._fd >= 0 and self._syncs:
            self._rolled.append(self._fd)
        elif self._fd >= 0:
            os.close(self._fd)  # nobody syncs an outbox; left open, a released segment would keep its memory
        self._fd, self._path, self.place, self._size = fd, path, path.parent, len(head)
        self._bare_at = self.last + 1 if self.state is not None and not state else 0

    def move(self) -> bool:
        """Begins a new segment where the first of `places()` is another place than the present one's; says whether it did.

        Raises LogFull, and then it goes on where it was.
        """
        if self._places()[0] == self.place:
            return False
        before = self.place
        self._roll()
        return self.place != before

    def roll_if_full(self) -> None:
        """Begins a new segment if this one has reached its size, or was begun without a state. Raises LogFull.

        A new identity begins one before its writer has found its state in those before: they may be released, whatever is in
        their heads, so the state is written into another head at once.
        """
        if self._size > self.segment_bytes or 0 < self._bare_at <= self.last:
            self._roll()

    def append(self, first: int, blobs: Sequence[bytes | bytearray | memoryview]) -> None:
        """Appends one batch: events numbered `first`, `first` + 1, … It is written whole, or not at all.

        Raises LogFull when the disk takes no more (the log is as before), ValueError when `first` is not the next number, or
        the log has been closed.
        """
        if self._fd < 0:
            raise ValueError(f"{self.folder} has been closed; number {first} comes too late")
        if first != self.last + 1:
            raise ValueError(f"number {first} is not the next one of {self.folder}; that is {self.last + 1}")
        if self._sync_error is not None:
            raise self._unsynced()
        if not blobs:
            return  # a batch of no bytes is what the end of a log looks like: whatever follows would never be read
        if self.state is None:
            self.roll_if_full()
        batch = batch_bytes(first, blobs)
        try:
            if self._path is None:  # the empty segment has gone, and no other could begin
                self._roll()
            self._write_batch(batch)
        except OSError as error:
            refused = [(self.place, error)]
            if len(self.folders) == 1:
                raise log_full(refused) from None
            try:
                self._roll(avoid=self.place)
                self._write_batch(batch)
                self.moved_because = refused_by(refused)
            except LogFull as other:
                raise LogFull(f"{refused_by(refused)}. {other}") from None
            except OSError as again:
                raise log_full([*refused, (self.place, again)]) from None
        self._size += len(batch)
        self.last += len(blobs)

    def _write_batch(self, batch: bytes) -> None:
        try:
            if self._torn:
                self._untear()
            self._torn = True
            write_whole(self._fd, batch)
        except OSError:
            with contextlib.suppress(OSError):
                self._untear()
            raise
        self._torn = False

    def _untear(self) -> None:
        """Nothing may be written behind half a batch."""
        if self._torn:
            os.ftruncate(self._fd, self._size)
            self._torn = False

    def _sync_before(self, durable: int) -> None:
        """Segments that a predecessor filled and perhaps did not live to sync."""
        found = segments(self.folder)
        for (_, path), (following, _) in zip(found, found[1:]):
            if following > durable:
                fd = os.open(path, os.O_RDONLY)
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)
        sync_folder(self.folder)

    def _sync_loop(self, interval: float) -> None:
        while not self._closing.wait(interval):
            try:
                if self.last > self.durable:
                    self._sync_now()
            except Exception as error:  # noqa: BLE001 - nobody joins this thread: who appends next raises it
                self._sync_error = error
            if self._sync_error is not None:
                return

    def _sync_now(self) -> None:
        """Moves `durable` on. After a failed sync nobody knows what is on the disk: nothing more is accepted."""
        try:
            last = self._sync_segments()
        except OSError as error:
            self._sync_error = error
            return
        try:
            self._mark(last)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # some disks need room even for this: the mark moves when there is some
                self._sync_error = error
            return
        self.durable = last

    def _sync_segments(self) -> int:
        """Returns the number up to which everything is on disk."""
        last = self.last  # before the sync: what is appended meanwhile is not covered
        while True:
            fd = self._fd
            for full in [rolled for rolled in tuple(self._rolled) if rolled != fd]:
                os.fdatasync(full)
                sync_folder(self.folder)
                self._rolled.popleft()
                os.close(full)
            os.fdatasync(fd)
            if not self._rolled:  # else the writer rolled meanwhile, and `fd` was perhaps not the one with `last`
                return last

    def _mark(self, last: int) -> None:
        os.pwrite(self._durable_fd, durable_bytes(last, self.log_id), 0)

    def close(self) -> None:
        """Syncs everything and marks the log as cleanly closed. Raises LogError when the disk failed at it."""
        if self._fd < 0:
            return
        self._closing.set()
        failed_before = self._sync_error is not None
        if self._thread is not None:
            self._thread.join()
            if self._sync_error is None:
                self._sync_now()
        if self._sync_error is None and self._syncs:
            with contextlib.suppress(OSError):  # a full disk: the next start takes it as not cleanly closed
                write_owner(self.folder, self.boot, self.log_id, clean=True)
        self._let_go()
        if self._sync_error is not None and not failed_before:
            raise self._unsynced()

    def _unsynced(self) -> LogError:
        return LogError(f"{self.folder}: the disk failed to sync: {self._sync_error}; nothing more is accepted. Check the disk")

    def _let_go(self) -> None:
        for fd in {self._fd, self._durable_fd, *self._rolled}:
            if fd >= 0:
                os.close(fd)
        for lock in self._locks:
            lock.close()
        self._fd = self._durable_fd = -1
        self._rolled.clear()
