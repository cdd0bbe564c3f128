"""A naive reader of log segments, from docs/messages.md ("Event", "In files")."""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from tickmesh.tools.judge.findings import Findings

KINDS = {
    1: "instrument", 2: "trade", 3: "quote", 4: "depth", 5: "gap", 6: "signal", 7: "intent", 8: "update", 9: "fill",
    10: "balance", 11: "clock", 12: "cursor", 13: "run", 14: "health", 15: "refusal", 16: "watermark",
    17: "coverage", 18: "line", 19: "raw", 20: "alert", 21: "command", 22: "shadow", 23: "parent", 24: "funding",
    25: "feature",
}  # fmt: skip
Fields = tuple[tuple[str, str], ...]  # name and dtype of each field of a record
Layouts = dict[str, Fields]  # "header" and each kind → its fields
Values = tuple[Any, ...]  # of a record: integers, floats, bytes
PACKED = ("run", "health", "refusal", "raw", "alert", "command")
SNAPSHOT, REPAIRED, OFF_BOOK = 1, 2, 16
MAGIC = b"tickmesh"
CODES = {
    "<i8": "q", "<u8": "Q", "<i4": "i", "<u4": "I", "<u2": "H", "<f8": "d", "|i1": "b", "|u1": "B",
}  # fmt: skip

HEADER_INTEGERS = (
    "flags", "k", "epoch", "number", "seq", "link", "cause_seq", "first_id", "last_id", "venue_ns", "recv_ns", "sent_ns",
    "seq_ns", "reserved",
)  # fmt: skip


class ReleasedMeanwhile(Exception):
    """A segment in the middle of what was being read has been released: it is in the archive now, and was not judged."""


class Event(NamedTuple):
    """One event, wherever it was read from. `records`: tuples in the order of docs/messages.md, or the packed bytes."""

    kind: str
    producer: str
    subject: str
    records: Any
    flags: int
    k: int
    epoch: int
    number: int
    seq: int
    link: int
    cause_seq: int
    first_id: int
    last_id: int
    venue_ns: int
    recv_ns: int
    sent_ns: int
    seq_ns: int
    reserved: int


def build_event(kind: str, header: dict[str, Any], records: Any) -> Event:
    """Builds an Event from header fields by name, and records."""
    numbers = (header[name] for name in HEADER_INTEGERS)
    return Event(kind, comparable(header["producer"]).decode(), comparable(header["subject"]).decode(), records, *numbers)


@cache
def record_layout(fields: Fields) -> tuple[struct.Struct, tuple[int, ...], tuple[str, ...]]:
    """The struct of a record with these fields, indexes of those that carry meaning, and their names."""
    codes = "".join(CODES.get(code) or code.lstrip("|S") + "s" for _, code in fields)
    wanted = tuple(i for i, (name, _) in enumerate(fields) if not name.startswith("reserved"))
    return struct.Struct("<" + codes), wanted, tuple(fields[i][0] for i in wanted)


def comparable(value: Any) -> Any:
    """A field's value such that equal values compare equal: no padding, None for NaN."""
    if isinstance(value, bytes):
        return value.rstrip(b"\0")
    return value if value == value else None


def segment_files(folder: Path) -> list[Path]:
    """The log segments in a folder, oldest first."""
    return sorted(folder.glob("*.seg"))


def read(folder: Path, findings: Findings, after: int = 0) -> Iterator[Event]:
    """Reads all log segments: events with seq > `after`, in order; what is not as docs/messages.md says becomes a finding.

    Raises ReleasedMeanwhile where a mesh that runs released a segment after one before it was read.
    """
    files = segment_files(folder)
    for older, newer in zip(files, files[1:]):
        if older.stem.isdigit() and int(newer.stem) <= after + 1:
            files = files[files.index(newer) :]
    expected = None
    for path in files:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            if expected is None:
                continue  # released while we came to it
            raise ReleasedMeanwhile(f"{path.name} was released before it was read") from None
        first = int(path.stem)
        if expected is not None and first != expected:
            findings.fault("log_hole", f"{path.name} begins with {first}, the one before ended with {expected - 1}")
        expected = first
        for found in _segment(path, data, path == files[-1], findings):
            if found.seq != expected:
                findings.fault("log_seq", f"{path.name}: event with seq {found.seq} where {expected} belongs")
            expected = found.seq + 1
            if found.seq > after:
                yield found


class LogHead(NamedTuple):
    """The content of a segment's head: fields of header and records, and the log's identity (0: it has none)."""

    fields: Layouts
    log_id: int


def read_head(folder: Path) -> LogHead | None:
    """Reads the head of the newest segment that has a whole one; None where there is none."""
    for path in reversed(segment_files(folder)):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:  # released while we came to it
            start = file.read(16)
            if len(start) == 16 and start[:8] == MAGIC:
                tree = msgpack.unpackb(file.read(struct.unpack_from("<I", start, 8)[0]))
                return LogHead(layouts_of(tree["description"]), int(tree.get("log_id", 0)))
    return None


def read_segment(path: Path, findings: Findings) -> Iterator[Event]:
    """Reads the events of the newest segment, as far as they are whole."""
    try:
        yield from _segment(path, path.read_bytes(), True, findings)
    except FileNotFoundError:  # released while we came to it
        return


def layouts_of(description: dict[str, Any]) -> Layouts:
    """Reads the fields of header and records from a description of a schema."""
    return {name: tuple((field, code) for field, code in rows) for name, rows in description.items()}


def _segment(path: Path, data: bytes, newest: bool, findings: Findings) -> Iterator[Event]:
    if data[:8] != MAGIC or len(data) < 16:
        findings.fault("log_head", f"{path.name} does not begin as a segment")
        return
    size, crc = struct.unpack_from("<II", data, 8)
    packed = data[16 : 16 + size]
    if zlib.crc32(packed) != crc:
        findings.fault("log_head", f"{path.name}: the CRC of its head is wrong")
        return
    head = msgpack.unpackb(packed)
    if head["first"] != int(path.stem):
        findings.fault("log_head", f"{path.name} says that it begins with {head['first']}")
    fields = layouts_of(head["description"])
    offset = 16 + size
    number = head["first"]
    while offset < len(data):
        if len(data) - offset < 24:
            _torn(path, data, offset, newest, findings)
            return
        size, crc, first, count, _ = struct.unpack_from("<IIQII", data, offset)
        end = offset + 24 + size
        if size == 0 or end > len(data) or zlib.crc32(data[offset + 8 : end]) != crc:
            _torn(path, data, offset, newest and end > len(data), findings)
            return
        if first != number:
            findings.fault("log_batch", f"{path.name}: a batch begins with {first}, not {number}")
        yield from decode_batch(data[offset + 24 : end], fields)
        number = first + count
        offset = end


def _torn(path: Path, data: bytes, offset: int, allowed: bool, findings: Findings) -> None:
    """Half a batch at the end of the newest segment is one being written, or one that a crash cut: nobody got it."""
    if allowed:
        findings.count("torn_tail_bytes", len(data) - offset)
    else:
        findings.fault("log_crc", f"{path.name}: the batch at byte {offset} has a wrong CRC or size")


def decode_batch(body: bytes, fields: Layouts) -> Iterator[Event]:
    """Decodes the events of one batch, by the description in the head of its file."""
    header, _, _ = record_layout(fields["header"])
    names = [name for name, _ in fields["header"]]
    offset = 0
    while offset < len(body):
        values = dict(zip(names, header.unpack_from(body, offset)))
        start, end = offset + header.size, offset + values["size"]
        kind = KINDS[values["kind"]]
        records: Any
        if kind in PACKED:
            records = body[start:end]
        else:
            form, wanted, _ = record_layout(fields[kind])
            rows = form.iter_unpack(body[start:end])
            records = [tuple(comparable(row[i]) for i in wanted) for row in rows]
        if len(records) != values["count"]:
            raise ValueError(f"event {values['seq']} has {len(records)} records, its header says {values['count']}")
        yield build_event(kind, values, records)
        offset = end
