"""Header and records to bytes, and back.

An event is built once with `encode`, stamped in place by its producer (`stamp_sent`) and by the sequencer
(`stamp_sequenced`), and read with `decode` or `events`; none of them copies the records. Whoever needs a field or two of an
event's bytes has `kind_of`, `ids_of` … or a reader of its own (layout.py); whoever changes one calls a `stamp_…`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np

from tickmesh.bus.layout import HEADER_SIZE, RECORDS, event_writer, header_reader, header_slice, header_writer, struct_of
from tickmesh.bus.names import SUBJECT_BYTES
from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.bus.topics import topic

_HEADER = struct_of(HEADER, *(HEADER.names or ()))
_read_size, _read_size_and_count = header_reader("size"), header_reader("size", "count")
_read_kind, _read_flags = header_reader("kind"), header_reader("flags")
_read_cause = header_reader("k", "cause_seq")
_read_venue_ns, _read_recv_ns = header_reader("venue_ns"), header_reader("recv_ns")
_read_seq_ns, _read_reserved = header_reader("seq_ns"), header_reader("reserved")
_write_size, _SIZE_AT = header_writer("size", "count")
_write_flags, _FLAGS_AT = header_writer("flags")
_write_k, _K_AT = header_writer("k")
_write_sent, _SENT_AT = header_writer("epoch", "number")
_write_sequenced, _SEQUENCED_AT = header_writer("seq", "link")
_write_first_id, _FIRST_ID_AT = header_writer("first_id")
_write_ids, _IDS_AT = header_writer("first_id", "last_id")
_write_ids_and_times, _ = header_writer("first_id", "recv_ns")
_write_venue_ns, _VENUE_NS_AT = header_writer("venue_ns")
_write_recv_ns, _RECV_NS_AT = header_writer("recv_ns")
_write_sent_ns, _SENT_NS_AT = header_writer("sent_ns")
_write_seq_ns, _SEQ_NS_AT = header_writer("seq_ns")
_write_reserved, _RESERVED_AT = header_writer("reserved")
_DTYPE_OF: dict[int, np.dtype] = {int(kind): dtype for kind, dtype in DTYPES.items()}  # a number from outside may be no Kind
_SIZE_OF: dict[int, int] = {kind: dtype.itemsize for kind, dtype in _DTYPE_OF.items()}  # of one record
_PRODUCER, _NO_PRODUCER = header_slice("producer"), bytes(HEADER["producer"].itemsize)
# In `reserved` of a depth event: that the venue sent a checksum of the book after it (the low 32 bits), and that the
# line's own book had the same one.
HAS_CHECKSUM, CHECKED = 1 << 32, 1 << 33
EVENT_SIZE_MAX = 16 << 20  # a full snapshot of 5000 levels a side is 240 kB; anything near this is a fault

assert _HEADER.size == HEADER_SIZE == 176  # as docs/messages.md has it


Bytes = bytes | bytearray | memoryview  # what an event is read from
TEXTS_KEPT = 4096  # names of processes and subjects that are remembered as text


class _Texts(dict[bytes, str]):
    """The text of a name as it stands in a header, by its bytes; a mesh has few of them, and reads them at every event."""

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= TEXTS_KEPT:
            self.clear()
        text = self[raw] = raw.rstrip(b"\0").decode()
        return text


_TEXTS = _Texts()
text_of: Callable[[bytes], str] = _TEXTS.__getitem__  # of a name's bytes in a header. Raises UnicodeDecodeError


class WireError(ValueError):
    """Bytes that are not an event."""


class Event:
    """One event: header fields as attributes, `records` as a numpy array over the same bytes.

    `raw` is the whole event (header and records) as received; it stays valid as long as the Event lives.
    """

    __slots__ = (
        "size", "count", "kind", "flags", "k", "producer", "subject", "epoch", "number", "seq", "link", "cause_seq",
        "first_id", "last_id", "venue_ns", "recv_ns", "sent_ns", "seq_ns", "reserved", "raw", "_records",
    )  # fmt: skip

    size: int
    count: int
    kind: int
    flags: int
    k: int
    producer: str
    subject: str
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
    raw: memoryview

    def __init__(self, buffer: Bytes, offset: int = 0):
        (
            self.size, self.count, self.kind, self.flags, self.k, producer, subject, self.epoch, self.number,
            self.seq, self.link, self.cause_seq, self.first_id, self.last_id, self.venue_ns, self.recv_ns,
            self.sent_ns, self.seq_ns, self.reserved,
        ) = _HEADER.unpack_from(buffer, offset)  # fmt: skip
        texts = _TEXTS
        self.producer, self.subject = texts[producer], texts[subject]
        self.raw = memoryview(buffer)[offset : offset + self.size]
        self._records: np.ndarray | None = None

    @property
    def records(self) -> np.ndarray:
        """The records as an array: shape (count,), dtype `schema.DTYPES[kind]`, a read-only view of `raw`."""
        if self._records is None:
            self._records = np.frombuffer(self.body, _DTYPE_OF[self.kind], self.count)
        return self._records

    @property
    def body(self) -> memoryview:
        """The bytes of the records."""
        return self.raw[RECORDS]

    @property
    def topic(self) -> str:
        """The topic: `kind.subject`."""
        return topic(self.kind, self.subject)

    def map(self) -> dict[str, Any]:
        """Decodes the content of a msgpack kind (run, health, refusal) to a dict."""
        content: dict[str, Any] = msgpack.unpackb(self.body)
        return content

    def __repr__(self) -> str:
        return f"<{self.topic} seq={self.seq} {self.producer}#{self.number} ×{self.count}>"


def encode(
    kind: Kind,
    subject: str,
    records: np.ndarray | dict[str, Any] | bytes,
    *,
    flags: int = 0,
    k: int = 0,
    cause_seq: int = 0,
    first_id: int = 0,
    last_id: int = 0,
    venue_ns: int = 0,
    recv_ns: int = 0,
) -> bytearray:
    """Encodes a new event, not yet stamped by a producer.

    `records`: array of `DTYPES[kind]`, shape (n,) with n ≥ 1; or the same as bytes; or a dict for a msgpack kind.
    Raises WireError when empty, when the subject is longer than its field, or when the dtype is another.
    """
    if isinstance(records, (bytes, bytearray, memoryview)):
        body = bytes(records)
        count, rest = divmod(len(body), _SIZE_OF[kind])
        if rest:
            raise WireError(f"{len(body)} bytes are no whole number of {kind.name} records of {_SIZE_OF[kind]} bytes")
    elif isinstance(records, dict):
        body = msgpack.packb(records)
        count = len(body)
    else:
        if records.dtype != (dtype := DTYPES[kind]):
            raise WireError(f"a {kind.name} record is {dtype}, not {records.dtype}")
        body = records.tobytes()
        count = len(records)
    if count == 0:
        raise WireError(f"an event of {kind.name}.{subject} has no record; it needs at least one")
    name = subject.encode()
    if not 0 < len(name) <= SUBJECT_BYTES:
        raise WireError(f"subject {subject!r} has {len(name)} bytes; 1 to {SUBJECT_BYTES} are allowed")
    size = HEADER_SIZE + len(body)
    if size > EVENT_SIZE_MAX:
        raise WireError(f"an event of {kind.name}.{subject} has {size} bytes; {EVENT_SIZE_MAX} are allowed")
    head = _HEADER.pack(
        size, count, kind, flags, k, b"", name, 0, 0, 0, 0, cause_seq, first_id, last_id, venue_ns, recv_ns, 0, 0, 0
    )
    return bytearray(head + body)


def one_record(kind: Kind, subject: str) -> Callable[..., bytearray]:
    """Makes a function that encodes events of one record each, many times as fast as `encode`.

    The function takes (first_id, last_id, venue_ns, recv_ns, *fields of the record but the reserved ones). It raises
    struct.error for a number that does not fit.
    """
    image = encode(kind, subject, bytes(DTYPES[kind].itemsize))
    form, at = event_writer(kind)
    copy, write = image.copy, form.pack_into

    def make(*fields: int) -> bytearray:
        event = copy()
        write(event, at, *fields)
        return event

    return make


def many_records(kind: Kind, subject: str) -> Callable[..., bytearray]:
    """Makes a function that encodes events of any number of records, many times as fast as `encode`.

    The function takes (records as bytes, first_id, last_id, venue_ns, recv_ns, flags=0).
    """
    itemsize = DTYPES[kind].itemsize
    head = encode(kind, subject, bytes(itemsize))[:HEADER_SIZE]
    most = (EVENT_SIZE_MAX - HEADER_SIZE) // itemsize

    def make(records: bytes, first_id: int, last_id: int, venue_ns: int, recv_ns: int, flags: int = 0) -> bytearray:
        count, rest = divmod(len(records), itemsize)
        if rest or not 0 < count <= most:
            raise WireError(f"{len(records)} bytes are no 1 to {most} {kind.name} records of {itemsize} bytes")
        event = head + records
        _write_size(event, _SIZE_AT, HEADER_SIZE + len(records), count)
        _write_flags(event, _FLAGS_AT, flags)
        _write_ids_and_times(event, _IDS_AT, first_id, last_id, venue_ns, recv_ns)
        return event

    return make


def extended(event: bytearray, records: bytes) -> bytearray:
    """A new event: `event` with more records of its kind behind those that it has."""
    size, count = _read_size_and_count(event)
    longer = event + records
    _write_size(longer, _SIZE_AT, size + len(records), count + len(records) // ((size - HEADER_SIZE) // count))
    return longer


def with_records(event: bytearray, records: Bytes) -> bytearray:
    """A new event: other records of its kind under the stamps of `event`."""
    other = event[:HEADER_SIZE] + records
    _write_size(other, _SIZE_AT, len(other), len(records) // DTYPES[Kind(kind_of(event))].itemsize)
    return other


# -- one field of an event's bytes

ids_of: Callable[..., tuple[int, int]] = header_reader("first_id", "last_id")  # of an event: (first_id, last_id)


def kind_of(event: Bytes) -> int:
    """The event's kind, as a number."""
    return int(_read_kind(event)[0])


def flags_of(event: Bytes) -> int:
    """The event's flags, as a number; see schema.Flag."""
    return int(_read_flags(event)[0])


def cause_of(event: Bytes) -> tuple[int, int]:
    """The event's (cause_seq, k), which name one that was derived from another."""
    k, cause_seq = _read_cause(event)
    return cause_seq, k


def venue_ns_of(event: Bytes) -> int:
    """The venue's own time of the event, ns; 0 where it gave none."""
    return int(_read_venue_ns(event)[0])


def recv_ns_of(event: Bytes) -> int:
    """When the event, or its cause, left the socket, ns."""
    return int(_read_recv_ns(event)[0])


def seq_ns_of(event: Bytes) -> int:
    """When the event was sequenced, ns; 0 before that."""
    return int(_read_seq_ns(event)[0])


def stamp_ids(event: bytearray, first_id: int, last_id: int) -> None:
    """Writes the venue's ids that the event covers."""
    _write_ids(event, _IDS_AT, first_id, last_id)


def stamp_first_id(event: bytearray, first_id: int) -> None:
    """Writes the first id alone: in a snapshot, the id from which on its line is whole."""
    _write_first_id(event, _FIRST_ID_AT, first_id)


def stamp_venue_ns(event: bytearray, venue_ns: int) -> None:
    """Writes the venue's own time of the event."""
    _write_venue_ns(event, _VENUE_NS_AT, venue_ns)


def stamp_checksum(event: bytearray, checksum: int, checked: bool = False) -> None:
    """Writes the venue's CRC-32 of the book after this event (unsigned), and whether a book on this line had it too."""
    _write_reserved(event, _RESERVED_AT, checksum | HAS_CHECKSUM | (CHECKED if checked else 0))


def checksum(event: bytearray) -> tuple[int | None, bool]:
    """Reads (checksum, checked) as `stamp_checksum` wrote them; (None, False) where the venue sent none."""
    (word,) = _read_reserved(event)
    return (word & 0xFFFFFFFF if word & HAS_CHECKSUM else None), bool(word & CHECKED)


def stamp_sent(event: bytearray, producer: bytes, epoch: int, number: int, sent_ns: int) -> None:
    """Writes what the outbox adds: producer (`producer_bytes` of its name), epoch, number and time."""
    event[_PRODUCER] = producer
    _write_sent(event, _SENT_AT, epoch, number)
    _write_sent_ns(event, _SENT_NS_AT, sent_ns)


def clear_producer(event: bytearray) -> None:
    """Takes the producer's name out of an event that was not sent; the next sender stamps it again."""
    event[_PRODUCER] = _NO_PRODUCER


def stamp_received(event: bytearray, recv_ns: int) -> None:
    """Writes when the event's cause left the socket; the runner calls it, since a step knows no wall clock."""
    _write_recv_ns(event, _RECV_NS_AT, recv_ns)


def stamp_sequenced(event: bytearray, seq: int, link: int, seq_ns: int) -> None:
    """Writes what the sequencer adds: seq, link and seq_ns."""
    _write_sequenced(event, _SEQUENCED_AT, seq, link)
    _write_seq_ns(event, _SEQ_NS_AT, seq_ns)


def stamp_k(event: bytearray, k: int) -> None:
    """Writes which of its cause's effects the event is; for a mark, the kind of the stream that it is about."""
    _write_k(event, _K_AT, k)


def add_flags(event: bytearray, flags: int) -> None:
    """Sets flags of the event, beside those that it has."""
    _write_flags(event, _FLAGS_AT, flags_of(event) | flags)


def decode(buffer: Bytes, offset: int = 0) -> Event:
    """Decodes the event at `offset`. Raises WireError when the bytes there cannot be one."""
    available = len(buffer) - offset
    if available < HEADER_SIZE:
        raise WireError(f"{available} bytes are too few for a header of {HEADER_SIZE}")
    event = Event(buffer, offset)
    dtype = _DTYPE_OF.get(event.kind)
    if dtype is None:
        raise WireError(f"kind {event.kind} is unknown; {min(Kind)} to {max(Kind)} are known")
    expected = HEADER_SIZE + event.count * dtype.itemsize
    if event.size != expected or event.count == 0 or event.size > available:
        raise WireError(
            f"{Kind(event.kind).name} with {event.count} records says it has {event.size} bytes; "
            f"it needs {expected} and {available} are there"
        )
    return event


def events(buffer: Bytes, offset: int = 0) -> Iterator[Event]:
    """Decodes every event in a buffer of whole events, in order."""
    end = len(buffer)
    while offset < end:
        event = decode(buffer, offset)
        yield event
        offset += event.size


def starts(buffer: Bytes) -> list[int]:
    """Where every event of a buffer of whole events begins, and behind them where the last one ends."""
    at, end = 0, len(buffer)
    out = [at]
    while at < end:
        (size,) = _read_size(buffer, at)
        if not HEADER_SIZE < size <= end - at:
            raise WireError(f"an event at byte {at} says it has {size} bytes; {end - at} are there")
        at += size
        out.append(at)
    return out


def sizes(buffer: Bytes, offset: int = 0) -> Iterator[tuple[int, int]]:
    """Finds (offset, size) of every event in a buffer, without decoding it."""
    end = len(buffer)
    while offset < end:
        (size,) = _read_size(buffer, offset)
        if not HEADER_SIZE < size <= end - offset:
            raise WireError(f"an event at byte {offset} says it has {size} bytes; {end - offset} are there")
        yield offset, size
        offset += size
