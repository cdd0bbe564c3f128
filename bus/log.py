"""Append-only segments: the mesh's log, and the outbox of every producer.

One process writes (`LogWriter`, under flock), any number read while it does (`LogReader`, `Tail`). An append is one
`write` of one batch, so it survives SIGKILL as it is; a thread calls `fdatasync` for power cuts. Layout: docs/messages.md.
"""

import contextlib
import errno
import fcntl
import json
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import msgpack

from bus.schema import DESCRIPTION, SCHEMA_HASH, SCHEMA_VERSION
from bus.wire import Event, events

MAGIC = b"tickmesh"
_SIZE_CRC = struct.Struct("<II")
_BATCH = struct.Struct("<IIQII")  # size, crc, first number, count, reserved
_COVERED = struct.Struct("<QII")  # what the CRC covers before the body
_DURABLE = struct.Struct("<QQI")  # number, log_id, crc
BATCH_HEAD = _BATCH.size
READ_BYTES = 1 << 20


class LogError(Exception):
    """A sentence for the operator."""


class LogLocked(LogError):
    """Another process writes this log."""


class LogFull(LogError):
    """The disk took no more; nothing of the batch was kept."""


class LogCorrupt(LogError):
    """Bytes in the middle of the log do not match their CRC."""


class LogReleased(LogError):
    """The asked numbers are older than the oldest segment; the archive has them."""


class LogNewer(LogError):
    """Written by a newer schema."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events `first` … `last`, back to back in `body`."""

    first: int
    last: int
    body: memoryview


class Preamble(NamedTuple):
    """The head of a segment. `state`: what the writer wants to find again without reading older segments."""

    size: int
    log_id: int
    first: int
    boot_id: str
    state: bytes
    schema_version: int
    schema_hash: str
    description: dict


def boot_id() -> str:
    """Differs after a power cut or reboot; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def segments(folder: Path) -> list[tuple[int, Path]]:
    """(first number, path) of every segment, in order."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted((int(n[:-4]), folder / n) for n in names if n.endswith(".seg") and n[:-4].isdigit())


def read_preamble(path: Path) -> Preamble:
    """Raises LogCorrupt when it is torn, LogNewer when the schema is newer than this program's."""
    with open(path, "rb") as file:
        head = file.read(len(MAGIC) + _SIZE_CRC.size)
        if len(head) < len(MAGIC) + _SIZE_CRC.size or not head.startswith(MAGIC):
            raise LogCorrupt(f"{path} is not a log segment: it does not begin with {MAGIC.decode()!r} and a size")
        size, crc = _SIZE_CRC.unpack_from(head, len(MAGIC))
        packed = file.read(size)
    if len(packed) < size or zlib.crc32(packed) != crc:
        raise LogCorrupt(f"{path}: the segment's head is torn: {len(packed)} of {size} bytes, or a wrong CRC")
    tree = msgpack.unpackb(packed)
    if tree["schema_version"] > SCHEMA_VERSION:
        raise LogNewer(
            f"{path} was written with schema version {tree['schema_version']}; this program knows up to "
            f"{SCHEMA_VERSION}. Use the newer program, or another data folder"
        )
    return Preamble(len(head) + size, **{key: tree[key] for key in Preamble._fields[1:]})


def scan(buffer, offset: int = 0) -> Iterator[tuple[int, Batch]]:
    """(end offset, batch) of every whole batch with a right CRC, up to the first that is not."""
    end = len(buffer)
    view = memoryview(buffer)
    while offset + BATCH_HEAD <= end:
        size, crc, first, count, _ = _BATCH.unpack_from(buffer, offset)
        stop = offset + BATCH_HEAD + size
        if size == 0 or stop > end or zlib.crc32(view[offset + 8 : stop]) != crc:
            return
        yield stop, Batch(first, first + count - 1, view[offset + BATCH_HEAD : stop])
        offset = stop


class LogWriter:
    """Appends to the log in `folder`. Opening it cuts a torn tail and decides whether the log keeps its identity.

    `sync_ms`: interval of the sync thread; 0 = never (an outbox need not survive a power cut). `state()` is stored at the
    head of every new segment; a writer with a state calls `roll_if_full` when that state is that of what is appended,
    and without a state segments roll by themselves. After a power cut the tail may be gone and numbers may go back below
    what others have seen: then `log_id` is new (`fresh_identity`).
    Raises LogLocked, LogNewer, LogCorrupt, LogFull.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 16 << 20,
        sync_ms: int = 50,
        state: Callable[[], bytes] | None = None,
        new_id: Callable[[], int] = lambda: int.from_bytes(os.urandom(8), "little") >> 1,
        boot: str | None = None,
    ):
        self.folder = Path(folder)
        self.segment_bytes = segment_bytes
        self.state = state
        self.boot = boot_id() if boot is None else boot
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self.folder)
        self._syncs = sync_ms > 0
        self.cut_bytes = 0
        self.last = 0
        self._fd = -1
        self._size = 0
        self._rolled: deque[int] = deque()  # file descriptors of full segments that are still to be synced
        self._sync_error: OSError | None = None
        self._closing = threading.Event()
        durable = read_durable(self.folder)
        try:
            self._recover(new_id)
        except LogError:
            os.close(self._lock)
            raise
        except OSError as error:
            os.close(self._lock)
            raise _full(self.folder, error) from None
        self.durable = self.last
        self._thread: threading.Thread | None = None
        if sync_ms:
            # Written in place for ever: a full disk must not keep the mark from moving.
            self._durable_fd = os.open(self.folder / "durable", os.O_RDWR | os.O_CREAT, 0o600)
            self._sync_before(durable)
            self._sync_now()
            self._thread = threading.Thread(target=self._sync_loop, args=(sync_ms / 1000,), daemon=True)
            self._thread.start()

    def _recover(self, new_id: Callable[[], int]) -> None:
        for stray in self.folder.glob("*.new"):
            stray.unlink()
        found = segments(self.folder)
        owner = self._read_owner()
        # A clean end means a synced one only where there is a sync at all.
        same = bool(found) and ((owner.get("clean") and self._syncs) or owner.get("boot") == self.boot != "")
        # Within one boot only the last append can be torn; after a power cut anything since the last sync can be.
        durable = read_durable(self.folder)
        self.log_id = new_id()
        if found:
            start = len(found) - 1
            if not same:
                while start > 0 and found[start][0] > durable:
                    start -= 1
            self.log_id = self._cut(found, start, durable)
            if not same:
                self.log_id = new_id()
        self.fresh_identity = not same
        self._write_owner(clean=False)
        if not same or not segments(self.folder):
            self._roll()

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
            data = path.read_bytes()
            end = preamble.size
            self.last = first - 1
            for stop, batch in scan(data, preamble.size):
                if batch.first != self.last + 1:
                    break
                end, self.last = stop, batch.last
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
        return os.open(path, os.O_WRONLY | os.O_APPEND)

    def _read_owner(self) -> dict:
        try:
            return json.loads((self.folder / "owner").read_bytes())
        except (OSError, ValueError):
            return {}

    def _write_owner(self, clean: bool) -> None:
        text = json.dumps({"pid": os.getpid(), "boot": self.boot, "clean": clean, "log_id": f"{self.log_id:016x}"})
        write_file(self.folder / "owner", text.encode())

    def _roll(self) -> None:
        """Starts the segment of the next number. It is visible only when its head is whole."""
        tree = {
            "log_id": self.log_id,
            "first": self.last + 1,
            "boot_id": self.boot,
            "state": self.state() if self.state else b"",
            "schema_version": SCHEMA_VERSION,
            "schema_hash": SCHEMA_HASH,
            "description": DESCRIPTION,
        }
        packed = msgpack.packb(tree)
        head = MAGIC + _SIZE_CRC.pack(len(packed), zlib.crc32(packed)) + packed
        path = self.folder / f"{self.last + 1:020d}.seg"
        fresh = path.with_suffix(".new")
        try:
            with open(fresh, "wb") as file:
                file.write(head)
            os.rename(fresh, path)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise _full(self.folder, error) from None
        if self._fd >= 0 and self._syncs:
            self._rolled.append(self._fd)
        elif self._fd >= 0:
            os.close(self._fd)  # nobody syncs an outbox; left open, a released segment would keep its memory
        self._fd, self._size = fd, len(head)

    def roll_if_full(self) -> None:
        """Begins a new segment if this one has reached its size. Raises LogFull."""
        if self._size > self.segment_bytes:
            self._roll()

    def append(self, first: int, blobs: Sequence[bytes | bytearray | memoryview]) -> None:
        """One batch: events numbered `first`, `first` + 1, … Whole or not at all.

        Raises LogFull when the disk takes no more (the log is as before), ValueError when `first` is not the next number.
        """
        if first != self.last + 1:
            raise ValueError(f"number {first} is not the next one of {self.folder}; that is {self.last + 1}")
        if self._sync_error is not None:
            raise LogError(f"{self.folder}: the disk failed to sync: {self._sync_error}; nothing more is accepted")
        if self.state is None:
            self.roll_if_full()
        body = b"".join(blobs)
        covered = _COVERED.pack(first, len(blobs), 0)
        crc = zlib.crc32(body, zlib.crc32(covered))
        batch = _SIZE_CRC.pack(len(body), crc) + covered + body
        try:
            written = os.write(self._fd, batch)
            if written < len(batch):
                raise OSError(errno.ENOSPC, "the disk is full")
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise _full(self.folder, error) from None
        self._size += written
        self.last += len(blobs)

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
            if self.last > self.durable:
                try:
                    self._sync_now()
                except OSError as error:
                    self._sync_error = error
                    return

    def _sync_now(self) -> None:
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
                break
        self.durable = last
        record = struct.pack("<QQ", last, self.log_id)
        os.pwrite(self._durable_fd, record + struct.pack("<I", zlib.crc32(record)), 0)

    def close(self) -> None:
        """Syncs everything and marks the log as cleanly closed."""
        if self._fd < 0:
            return
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            if self._sync_error is None:
                self._sync_now()
            os.close(self._durable_fd)
        if self._sync_error is None:
            with contextlib.suppress(OSError):  # a full disk: the next start takes it as not cleanly closed
                self._write_owner(clean=True)
        os.close(self._fd)
        self._fd = -1
        os.close(self._lock)


def _lock(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise LogLocked(f"{folder} is written by another process; stop that one first") from None
    return fd


def _full(folder: Path, error: OSError) -> LogFull:
    return LogFull(f"{folder} takes no more data: {error.strerror or error}; free space or repair it, nothing was lost")


def write_file(path: Path, data: bytes) -> None:
    """Atomically: written aside, synced, renamed."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_durable(folder: Path) -> int:
    """Number up to which everything was on disk at some moment; 0 if unknown."""
    try:
        data = (folder / "durable").read_bytes()
        number, _log_id, crc = _DURABLE.unpack(data)
    except (OSError, struct.error):
        return 0
    return number if zlib.crc32(data[:16]) == crc else 0


class Tail:
    """Reads a log from a number on, to its present end and further as it grows. Cheap to keep, cheap to ask."""

    def __init__(self, folder: Path, after: int = 0):
        self.folder = Path(folder)
        self.log_id = 0
        self.next = after + 1
        self._fd = -1
        self._offset = 0
        self._convert: Callable[[memoryview], memoryview] | None = None

    def seek(self, after: int) -> None:
        """The next read begins after `after`. Forward within a segment it hops, else it opens the right one."""
        if after + 1 < self.next:
            self.close()
        self.next = after + 1

    def read(self, bytes_max: int = READ_BYTES) -> list[Batch]:
        """Batches that are there now, from the wanted number on (the first may begin before it); [] at the end.

        Raises LogReleased when the wanted number is gone, LogCorrupt for damage in the middle.
        """
        while True:
            if self._fd < 0 and not self._open():
                return []
            want = bytes_max
            while True:
                data = os.pread(self._fd, want, self._offset)
                out, used = self._parse(data)
                if used or len(data) < want:
                    break
                want *= 4  # one batch larger than the buffer
            if out or used:
                if out:
                    return out
                continue
            if self._advance():
                continue
            self._check_tail(data)
            return []

    def _parse(self, data: bytes) -> tuple[list[Batch], int]:
        out, used = [], 0
        for stop, batch in scan(data):
            used = stop
            if batch.last >= self.next:
                if batch.first > self.next:
                    raise LogCorrupt(f"{self.folder}: number {self.next} is missing; {batch.first} follows")
                self.next = batch.last + 1
                out.append(batch if self._convert is None else replace(batch, body=self._convert(batch.body)))
        self._offset += used
        return out, used

    def _open(self) -> bool:
        found = segments(self.folder)
        if not found:
            return False
        if found[0][0] > self.next:
            raise LogReleased(
                f"{self.folder} begins with number {found[0][0]}; {self.next} has been released, the archive has it"
            )
        first, path = [pair for pair in found if pair[0] <= self.next][-1]
        preamble = read_preamble(path)
        self._fd = os.open(path, os.O_RDONLY)
        self._offset = preamble.size
        self._first = first
        self.log_id = preamble.log_id
        if preamble.schema_hash != SCHEMA_HASH:
            from bus.evolution import converter  # rarely needed

            self._convert = converter(preamble.description)
        else:
            self._convert = None
        return True

    def _advance(self) -> bool:
        """Goes to the next segment once the present one is read to its end."""
        found = [first for first, _ in segments(self.folder) if first <= self.next]
        if found and found[-1] == self._first:
            return False
        self.close()
        return self._open()

    def _check_tail(self, data: bytes) -> None:
        """A batch that is still being written looks torn; one with more behind it is damaged."""
        if len(data) < BATCH_HEAD:
            return
        size = _BATCH.unpack_from(data)[0]
        if size and BATCH_HEAD + size < len(data):
            again = os.pread(self._fd, len(data), self._offset)
            if next(scan(again), None) is None and len(again) >= len(data):
                raise LogCorrupt(
                    f"{self.folder}: the batch at byte {self._offset} of segment {self._first:020d} does not match its "
                    f"CRC, and {len(data) - BATCH_HEAD - size} bytes follow; number {self.next} cannot be read"
                )

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class LogReader:
    """Reads a log that may be written meanwhile. Every call sees what is there at that moment."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @property
    def first(self) -> int:
        """Oldest number that is still there; 0 for an empty log."""
        found = segments(self.folder)
        return found[0][0] if found else 0

    @property
    def last(self) -> int:
        """Newest number; 0 for an empty log."""
        found = segments(self.folder)
        if not found:
            return 0
        last = found[-1][0] - 1
        for batch in self.batches(last):
            last = batch.last
        return last

    @property
    def log_id(self) -> int:
        found = segments(self.folder)
        return read_preamble(found[-1][1]).log_id if found else 0

    @property
    def durable(self) -> int:
        return read_durable(self.folder)

    def batches(self, after: int = 0, until: int | None = None) -> Iterator[Batch]:
        """Batches from the one that holds `after` + 1 on, to the present end or the one that holds `until`."""
        tail = Tail(self.folder, after)
        try:
            while batches := tail.read():
                for batch in batches:
                    if until is not None and batch.first > until:
                        return
                    yield batch
        finally:
            tail.close()

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """Events with `after` < number ≤ `until`, in order."""
        for batch in self.batches(after, until):
            for number, event in enumerate(events(batch.body), batch.first):
                if until is not None and number > until:
                    return
                if number > after:
                    yield event

    def seq_at(self, ns: int) -> int:
        """Last seq whose `seq_ns` is before `ns`; 0 if none. (For the mesh's log, not for an outbox.)"""
        seq = 0
        found = segments(self.folder)
        low = 0
        for index, (first, _path) in enumerate(found):
            head = next(self.events(first - 1), None)
            if head is None or head.seq_ns >= ns:
                break
            low = index
        for batch in self.batches(found[low][0] - 1) if found else ():
            for event in events(batch.body):
                if event.seq_ns >= ns:
                    return seq
                seq = event.seq
        return seq


def release(folder: Path, upto: int, keep: int = 1) -> int:
    """Removes segments that hold only numbers ≤ `upto`, but leaves the newest `keep`. Returns how many went."""
    found = segments(folder)
    gone = 0
    for index in range(len(found) - max(keep, 1)):
        if found[index + 1][0] > upto + 1:
            break
        with contextlib.suppress(FileNotFoundError):
            found[index][1].unlink()
        gone += 1
    return gone


def used_bytes(folder: Path) -> int:
    total = 0
    for _, path in segments(folder):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
