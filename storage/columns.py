"""Events as columns of an HDF5 group, and back to the same bytes. The layout is in docs/archive.md.

Integers are packed as in the CF conventions: value = stored × scale_factor + add_offset, which halves what shuffle + zstd
leave of a price mantissa. A column that is 0 in every row is absent.
"""

from typing import Any, NamedTuple

import hdf5plugin
import numpy as np

from bus.schema import DTYPES, HEADER, Kind
from bus.wire import HEADER_SIZE

CHUNK_ROWS = 1 << 16  # whole chunks are what h5py reads fastest; 64 Ki rows bound what a point query unpacks
FILTER_BYTES = 256  # a smaller column costs more in filter descriptions than it saves
ZSTD_LEVEL = 5
SOURCE = np.dtype([("producer", "S16"), ("epoch", "<u8"), ("first_number", "<u8")])
U8 = np.dtype("<u8")

# Header columns that may hold the same values as a record column: one dataset with two names then.
TWINS = {"last_id": ("trade_id", "update_id"), "venue_ns": ("event_ns", "venue_ns", "now_ns")}
PLAIN = ("seq", "seq_ns", "count", "flags", "k", "last_id", "venue_ns", "reserved")


class Table(NamedTuple):
    """Events of one kind. `headers`: shape (n,), HEADER. `records`: shape (sum of counts,), DTYPES[kind]."""

    headers: np.ndarray
    records: np.ndarray


def from_bytes(kind: Kind, data: bytes, sizes: np.ndarray) -> Table:
    """`data`: whole events of one kind back to back; `sizes`: the bytes of each."""
    buffer = np.frombuffer(data, "u1")
    dtype = DTYPES[kind]
    if len(sizes) and (sizes == sizes[0]).all():
        rows = buffer.reshape(len(sizes), int(sizes[0]))
        headers, body = rows[:, :HEADER_SIZE], rows[:, HEADER_SIZE:]
        return Table(np.ascontiguousarray(headers).view(HEADER)[:, 0], np.ascontiguousarray(body).reshape(-1).view(dtype))
    starts = np.cumsum(sizes) - sizes
    places = (starts[:, None] + np.arange(HEADER_SIZE)).reshape(-1)
    body_mask = np.ones(len(buffer), bool)
    body_mask[places] = False
    return Table(buffer[places].view(HEADER), buffer[body_mask].view(dtype))


def to_bytes(table: Table) -> tuple[bytearray, np.ndarray]:
    """The events back to back, and where each begins (int64)."""
    headers, records = table
    n = len(headers)
    sizes = headers["size"].astype("i8")
    starts = np.cumsum(sizes) - sizes
    out = bytearray(int(sizes.sum()))
    buffer = np.frombuffer(out, "u1")
    head_bytes = np.ascontiguousarray(headers).view("u1").reshape(n, HEADER_SIZE)
    body_bytes = np.ascontiguousarray(records).view("u1")
    if n and (sizes == sizes[0]).all():
        rows = buffer.reshape(n, int(sizes[0]))
        rows[:, :HEADER_SIZE] = head_bytes
        rows[:, HEADER_SIZE:] = body_bytes.reshape(n, -1)
        return out, starts
    places = (starts[:, None] + np.arange(HEADER_SIZE)).reshape(-1)
    body_mask = np.ones(len(buffer), bool)
    body_mask[places] = False
    buffer[places] = head_bytes.reshape(-1)
    buffer[body_mask] = body_bytes
    return out, starts


def pack(values: np.ndarray) -> tuple[np.ndarray, int, int]:
    """(stored, scale_factor, add_offset) with the least bytes a value; (values, 1, 0) where nothing is won.

    Exact for every int: it counts modulo 2^64, and the parts fit the column's own type.
    """
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 4 or not len(values):
        return values, 1, 0
    low, high = int(values.min()), int(values.max())
    if high - low > np.iinfo(values.dtype).max:
        return values, 1, 0
    distance = values.astype(U8) - U8.type(low % (1 << 64))
    scale = int(np.gcd.reduce(distance)) or 1
    most = (high - low) // scale
    for code in ("u1", "<u2", "<u4"):
        small = np.dtype(code)
        if small.itemsize < values.dtype.itemsize and most <= np.iinfo(small).max:
            return (distance // U8.type(scale)).astype(small), scale, low
    if scale > 1 and values.dtype.itemsize == 8:
        return (distance // U8.type(scale)).astype(values.dtype), scale, low
    return values, 1, 0


def put(group: Any, name: str, values: np.ndarray) -> None:
    """One column. Absent when all zero and not `name` = seq, so that an empty column costs nothing."""
    stored, scale, offset = pack(values)
    options: dict[str, Any] = {}
    constant_zero = stored.dtype.kind in "iu" and not stored.any()
    if not constant_zero and stored.nbytes > FILTER_BYTES:
        options = dict(
            chunks=(min(len(stored), CHUNK_ROWS),), shuffle=stored.dtype.itemsize > 1, fletcher32=True,
            **hdf5plugin.Zstd(ZSTD_LEVEL),
        )  # fmt: skip
    # A dataset that was never written reads as zeros and takes no space.
    dataset = group.create_dataset(name, stored.shape, stored.dtype, None if constant_zero else stored, **options)
    if (scale, offset) != (1, 0):
        dataset.attrs["scale_factor"] = values.dtype.type(scale)
        dataset.attrs["add_offset"] = values.dtype.type(offset)


def get(group: Any, name: str, count: int, dtype: np.dtype) -> np.ndarray:
    """The column's values as `dtype`, shape (count,); zeros where it is absent."""
    if name not in group:
        return np.zeros(count, dtype)
    dataset = group[name]
    stored = dataset[:]
    if len(stored) != count:
        raise ValueError(f"column {dataset.name} has {len(stored)} rows; {count} belong there")
    if not len(dataset.attrs):
        return stored if stored.dtype == dtype else stored.astype(dtype)
    scale, offset = dataset.attrs["scale_factor"], dataset.attrs["add_offset"]
    wide = stored.astype(U8)
    if scale != 1:
        wide *= U8.type(int(scale) % (1 << 64))
    wide += U8.type(int(offset) % (1 << 64))
    return wide.astype(dtype)


def write_table(group: Any, table: Table) -> None:
    """Fills `group` (named after the kind) with `events` and `records` (for depth `levels`)."""
    headers, records = table
    body = group.create_group(records_name(group))
    columns = {name: records[name] for name in records.dtype.names or ()} or {"msgpack": records}
    for name, values in columns.items():
        if not name.startswith("reserved") or _any(values):
            put(body, name, np.ascontiguousarray(values))
    events = group.create_group("events")
    group.attrs["events"], group.attrs["records"] = len(headers), len(records)
    aligned = len(headers) == len(records)
    for name in PLAIN:
        values = np.ascontiguousarray(headers[name])
        twin = next((t for t in TWINS.get(name, ()) if aligned and t in columns and _same(columns[t], values)), None)
        if twin is not None:
            events[name] = body[twin]
        elif name == "seq" or values.any():
            put(events, name, values)
    derived = {
        "id_span": headers["last_id"] - headers["first_id"],
        "recv_to_sent_ns": headers["sent_ns"] - headers["recv_ns"],
        "sent_to_seq_ns": headers["seq_ns"] - headers["sent_ns"],
    }
    caused = headers["cause_seq"] != 0
    back = np.where(caused, headers["seq"] - headers["cause_seq"], U8.type(0))
    whole = not (caused & (back == 0)).any()
    derived["cause_back" if whole else "cause_seq"] = back if whole else headers["cause_seq"]
    for name, values in derived.items():
        if values.any():
            put(events, name, values)
    _put_subjects(events, headers)
    _put_sources(events, headers)


def read_table(group: Any, kind: Kind, description: dict) -> Table:
    """What `write_table` was given. Fields that this schema has and the file's had not are 0."""
    n, m = int(group.attrs["events"]), int(group.attrs["records"])
    dtype = DTYPES[kind]
    body, events = group[records_name(group)], group["events"]
    old = {name: np.dtype(code) for name, code in description[kind.name]}
    if dtype.names is None:
        records = get(body, "msgpack", m, dtype)
    else:
        records = np.zeros(m, dtype)
        for name in dtype.names:
            if name in body:
                records[name] = get(body, name, m, old.get(name, dtype[name]))
    headers = np.zeros(n, HEADER)
    for name in PLAIN:
        headers[name] = get(events, name, n, HEADER[name])
    headers["kind"] = kind
    headers["size"] = HEADER_SIZE + headers["count"] * dtype.itemsize
    headers["first_id"] = headers["last_id"] - get(events, "id_span", n, HEADER["first_id"])
    headers["sent_ns"] = headers["seq_ns"] - get(events, "sent_to_seq_ns", n, HEADER["sent_ns"])
    headers["recv_ns"] = headers["sent_ns"] - get(events, "recv_to_sent_ns", n, HEADER["recv_ns"])
    if "cause_seq" in events:
        headers["cause_seq"] = get(events, "cause_seq", n, U8)
    elif "cause_back" in events:
        back = get(events, "cause_back", n, U8)
        headers["cause_seq"] = np.where(back != 0, headers["seq"] - back, U8.type(0))
    _get_subjects(events, headers)
    _get_sources(events, headers)
    return Table(headers, records)


def records_name(group: Any) -> str:
    return "levels" if group.name.rpartition("/")[2] == "depth" else "records"


def dictionary(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distinct values in order of first appearance, index of each row's value). Any fixed-size dtype of n × 8 bytes."""
    words = np.ascontiguousarray(values).view(U8).reshape(len(values), -1)
    if (words == words[0]).all():
        return values[:1], np.zeros(len(values), "<u4")
    mixed = np.zeros(len(words), U8)
    for column in range(words.shape[1]):  # an odd multiplier and a fold spread the bits; collisions are looked for below
        mixed = (mixed ^ words[:, column]) * U8.type(0x9E3779B97F4A7C15)
        mixed ^= mixed >> U8.type(29)
    _, firsts, index = np.unique(mixed, return_index=True, return_inverse=True)
    if not (words[firsts][index] == words).all():
        _, firsts, index = np.unique(words, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), "<u4")
    rank[order] = np.arange(len(order), dtype="<u4")
    return values[firsts[order]], rank[index.reshape(-1)]


def _put_subjects(events: Any, headers: np.ndarray) -> None:
    """`link` is the previous `seq` of the same subject here, but in the rows that are listed as exceptions."""
    subjects, index = dictionary(np.ascontiguousarray(headers["subject"]))
    events.create_dataset("subjects", data=subjects)
    if index.any():
        put(events, "subject", index)
    wrong = np.flatnonzero(_previous(headers["seq"], index, len(subjects)) != headers["link"])
    if len(wrong):
        put(events, "link_rows", wrong)
        put(events, "link_values", headers["link"][wrong])


def _get_subjects(events: Any, headers: np.ndarray) -> None:
    subjects = events["subjects"][:]
    index = get(events, "subject", len(headers), np.dtype("<u4"))
    headers["subject"] = subjects[index]
    headers["link"] = _previous(headers["seq"], index, len(subjects))
    if "link_rows" in events:
        rows = get(events, "link_rows", len(events["link_rows"]), np.dtype("<i8"))
        headers["link"][rows] = get(events, "link_values", len(rows), U8)


def _previous(seq: np.ndarray, index: np.ndarray, subjects: int) -> np.ndarray:
    """`seq` of the row before of the same subject; 0 for a subject's first row."""
    out = np.zeros(len(seq), U8)
    for subject in range(subjects):
        rows = np.flatnonzero(index == subject) if subjects > 1 else slice(None)
        own = seq[rows]
        out[rows] = np.concatenate([np.zeros(1, U8), own[:-1]])
    return out


def _put_sources(events: Any, headers: np.ndarray) -> None:
    """`sources`: producer and epoch with their first number here; `number_step`: from the same source's row before."""
    pair = np.zeros(len(headers), SOURCE[["producer", "epoch"]].descr[:2])
    pair["producer"], pair["epoch"] = headers["producer"], headers["epoch"]
    pairs, index = dictionary(pair)
    sources = np.zeros(len(pairs), SOURCE)
    sources["producer"], sources["epoch"] = pairs["producer"], pairs["epoch"]
    step = np.zeros(len(headers), U8)
    for source in range(len(sources)):
        rows = np.flatnonzero(index == source)
        numbers = headers["number"][rows]
        sources["first_number"][source] = numbers[0]
        step[rows[1:]] = np.diff(numbers)
    events.create_dataset("sources", data=sources)
    if index.any():
        put(events, "source", index)
    if step.any():
        put(events, "number_step", step)


def _get_sources(events: Any, headers: np.ndarray) -> None:
    sources = events["sources"][:]
    index = get(events, "source", len(headers), np.dtype("<u4"))
    headers["producer"] = sources["producer"][index]
    headers["epoch"] = sources["epoch"][index]
    step = get(events, "number_step", len(headers), U8)
    for source in range(len(sources)):
        rows = np.flatnonzero(index == source)
        headers["number"][rows] = sources["first_number"][source] + np.cumsum(step[rows], dtype=U8)


def _any(values: np.ndarray) -> bool:
    return bool(np.ascontiguousarray(values).view("u1").any())


def _same(column: np.ndarray, values: np.ndarray) -> bool:
    return column.dtype.itemsize == values.dtype.itemsize and bool((column == values).all())
