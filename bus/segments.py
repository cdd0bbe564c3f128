"""The log's files: what a segment and a batch look like, how they are found, checked and released. Layout: docs/messages.md."""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from tickmesh.bus.files import sync_folder
from tickmesh.bus.schema import DESCRIPTION, SCHEMA_HASH, SCHEMA_VERSION

MAGIC = b"tickmesh"
_SIZE_CRC = struct.Struct("<II")
_BATCH = struct.Struct("<IIQII")  # size, crc, first number, count, reserved
_COVERED = struct.Struct("<QII")  # what the CRC covers before the body
_DURABLE = struct.Struct("<QQI")  # number, log_id, crc
BATCH_HEAD = _BATCH.size
IDENTITIES_MAX = 1000  # kept in a segment's head, the newest: one for each power cut
Folders = Path | tuple[Path, ...]  # where a log's segments lie: an outbox's in RAM and on disk (bus/outbox_room.py)


class LogError(Exception):
    """A fault of the log: a sentence for the operator."""


class LogLocked(LogError):
    """Another process writes this log."""


class LogFull(LogError):
    """The disk took no more bytes of the log; nothing of the batch was kept."""


class LogCorrupt(LogError):
    """Bytes in the middle of the log do not match their CRC."""


class LogReleased(LogError):
    """A request for numbers older than the oldest segment; the archive has them."""


class LogNewer(LogError):
    """The log was written by a program with a newer schema."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of a segment: events `first` … `last`, back to back in `body`."""

    first: int
    last: int
    body: memoryview


@dataclass(frozen=True, slots=True)
class BatchRun(Batch):
    """Batches that follow one another, as they lie: `body` has their heads too; the events are at starts[i]…stops[i] of it."""

    starts: list[int]
    stops: list[int]


class Preamble(NamedTuple):
    """The head of a segment. `state`: bytes that the writer finds again without reading older segments."""

    size: int
    log_id: int
    first: int
    boot_id: str
    state: bytes
    schema_version: int
    schema_hash: str
    description: dict[str, Any]
    identities: list[list[int]]  # [log_id, first number] of each that the log has had, oldest first; [] in older files


class Identity(NamedTuple):
    """A log's identity from the number `first` on; what is before it stayed as it was, and belongs to the log too."""

    log_id: int
    first: int


def folders_of(folder: Folders) -> tuple[Path, ...]:
    """A log's folders as a tuple, the one that it prefers first."""
    return folder if isinstance(folder, tuple) else (Path(folder),)


def segments(folder: Folders) -> list[tuple[int, Path]]:
    """Lists (first number, path) of every segment of a log, in order. Raises LogError where a folder cannot be listed."""
    found = []
    for one in folders_of(folder):
        try:
            names = os.listdir(one)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LogError(f"{one} cannot be read: {error.strerror}") from None
        found += [(int(n[:-4]), one / n) for n in names if n.endswith(".seg") and n[:-4].isdigit()]
    return sorted(found)


def read_preamble(path: Path) -> Preamble:
    """Reads the head of a segment. Raises LogCorrupt when it is torn, LogNewer when the schema is newer than this program's."""
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
    tree.setdefault("identities", [])
    return Preamble(len(head) + size, **{key: tree[key] for key in Preamble._fields[1:]})


def identities(folder: Folders) -> list[Identity]:
    """Every identity that the log has had, oldest first, from the newest segment's head; [] for an empty log.

    In a log of an older version, whose heads do not have them: those of the segments that are still there.
    """
    found = segments(folder)
    if not found:
        return []
    known = [Identity(*pair) for pair in read_preamble(found[-1][1]).identities]
    if not known:
        for first, path in found:
            with contextlib.suppress(FileNotFoundError):  # released between two looks
                log_id = read_preamble(path).log_id
                if not known or known[-1].log_id != log_id:
                    known.append(Identity(log_id, first))
    return known


def head_bytes(log_id: int, first: int, boot: str, state: bytes, known: Sequence[Identity]) -> bytes:
    """Encodes the head of a new segment, which stands before its batches."""
    tree = {
        "log_id": log_id,
        "first": first,
        "boot_id": boot,
        "state": state,
        "schema_version": SCHEMA_VERSION,
        "schema_hash": SCHEMA_HASH,
        "description": DESCRIPTION,
        "identities": [list(identity) for identity in known],
    }
    packed: bytes = msgpack.packb(tree)
    return MAGIC + _SIZE_CRC.pack(len(packed), zlib.crc32(packed)) + packed


def batch_bytes(first: int, blobs: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Encodes one batch: events `first`, `first` + 1, …"""
    body = b"".join(blobs)
    covered = _COVERED.pack(first, len(blobs), 0)
    crc = zlib.crc32(body, zlib.crc32(covered))
    return _SIZE_CRC.pack(len(body), crc) + covered + body


def batch_size(head: bytes) -> int:
    """The bytes of the body that a batch's head announces."""
    size: int = _BATCH.unpack_from(head)[0]
    return size


def scan(buffer: bytes | bytearray | memoryview, offset: int = 0) -> Iterator[tuple[int, Batch]]:
    """Reads (end offset, batch) of every whole batch with a right CRC, up to the first that is not."""
    end = len(buffer)
    view = memoryview(buffer)
    while offset + BATCH_HEAD <= end:
        size, crc, first, count, _ = _BATCH.unpack_from(buffer, offset)
        stop = offset + BATCH_HEAD + size
        if size == 0 or stop > end or zlib.crc32(view[offset + 8 : stop]) != crc:
            return
        yield stop, Batch(first, first + count - 1, view[offset + BATCH_HEAD : stop])
        offset = stop


def scan_runs(buffer: bytes | bytearray | memoryview, offset: int = 0) -> Iterator[tuple[int, BatchRun]]:
    """Reads what `scan` reads, as few runs: (end offset, run) of batches whose numbers follow one another."""
    end, view, crc32 = len(buffer), memoryview(buffer), zlib.crc32
    while True:
        starts: list[int] = []
        stops: list[int] = []
        begin, first, following = offset, 0, 0
        while offset + BATCH_HEAD <= end:
            size, crc, number, count, _ = _BATCH.unpack_from(buffer, offset)
            start, stop = offset + BATCH_HEAD, offset + BATCH_HEAD + size
            if size == 0 or stop > end or crc32(view[offset + 8 : stop]) != crc or (starts and number != following):
                break
            first, following = (first if starts else number), number + count
            starts.append(start - begin)
            stops.append(stop - begin)
            offset = stop
        if not starts:
            return
        yield offset, BatchRun(first, following - 1, view[begin:offset], starts, stops)


def durable_bytes(number: int, log_id: int) -> bytes:
    """Encodes the file `durable`: the number up to which the log is on disk, and its identity."""
    record = _DURABLE.pack(number, log_id, 0)[:-4]
    return record + zlib.crc32(record).to_bytes(4, "little")


class DurableMark(NamedTuple):
    """Up to which number the log `log_id` was on disk at some moment; 0, 0: that is not known."""

    number: int
    log_id: int


def read_durable_mark(folder: Path) -> DurableMark:
    """Reads the file `durable`."""
    try:
        data = (folder / "durable").read_bytes()
        number, log_id, crc = _DURABLE.unpack(data)
    except (OSError, struct.error):
        return DurableMark(0, 0)
    return DurableMark(number, log_id) if zlib.crc32(data[:16]) == crc else DurableMark(0, 0)


def read_durable(folder: Path) -> int:
    """Reads the number up to which everything was on disk at some moment; 0 if it is unknown."""
    return read_durable_mark(folder).number


def release(folder: Folders, upto: int, keep: int = 1) -> int:
    """Removes segments that hold only numbers ≤ `upto`, but leaves the newest `keep`. Returns how many it removed.

    Of a log that is synced (it has the file `durable`) one after the other is removed for good, the oldest first: a power cut
    must not bring an older one back beside a hole. The next one has to hold a number ≤ `upto` then: only so its head is known
    to be on disk, and after a power cut a log without any whole head would not know where it was. Raises LogError when the disk
    refuses; the rest is there then.
    """
    found = segments(folder)
    synced = (folders_of(folder)[0] / "durable").exists()
    gone = 0
    for index in range(len(found) - max(keep, 1)):
        if found[index + 1][0] > (upto if synced else upto + 1):
            break
        try:
            with contextlib.suppress(FileNotFoundError):
                found[index][1].unlink()
            if synced:
                sync_folder(found[index][1].parent)
        except OSError as error:
            raise LogError(
                f"{found[index][1]} is archived, but cannot be removed: {error.strerror or error}; repair the disk or its "
                "permissions. It is tried again"
            ) from None
        gone += 1
    return gone


def used_bytes(folder: Folders, after: int = 0) -> int:
    """The bytes on disk of the segments with numbers > `after`; the first of them may hold older ones as well."""
    total = 0
    found = segments(folder)
    for index, (_, path) in enumerate(found):
        if index + 1 < len(found) and found[index + 1][0] <= after + 1:
            continue
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
