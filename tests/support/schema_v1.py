"""Logs and archives as schema version 1 wrote them: a frozen copy of its fields, and a small writer of its own.

What a version of today has written is rewritten in place; nothing here uses how today's program translates the other way.
"""

import hashlib
import json
import struct
import zlib
from pathlib import Path

import h5py
import msgpack
import numpy as np

from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.bus.segments import read_preamble, scan
from tickmesh.bus.wire import Event, events
from tickmesh.storage.archive.catalog import list_files
from tickmesh.tools.judge import archive as judge
from tickmesh.tools.judge.log import KINDS, record_layout

SCHEMA_HASH = "8d45f5738c53de0d"
FIELDS = {
    "header": "size:<u4 count:<u4 kind:<u2 flags:<u2 k:<u4 producer:|S16 subject:|S32 epoch:<u8 number:<u8 seq:<u8 link:<u8 "
    "cause_seq:<u8 first_id:<i8 last_id:<i8 venue_ns:<i8 recv_ns:<i8 sent_ns:<i8 seq_ns:<i8 reserved:<u8",
    "instrument": "price_exponent:<i4 quantity_exponent:<i4 tick_size:<i8 lot_size:<i8 min_quantity:<i8 min_notional:<i8 "
    "reserved:<i8",
    "trade": "trade_id:<i8 price_ticks:<i8 quantity_lots:<i8 venue_ns:<i8 event_ns:<i8 side:|i1 reserved:|S7",
    "quote": "update_id:<i8 bid_ticks:<i8 bid_lots:<i8 ask_ticks:<i8 ask_lots:<i8 venue_ns:<i8",
    "depth": "price_ticks:<i8 quantity_lots:<i8 side:|i1 reserved:|S7",
    "gap": "first_id:<i8 last_id:<i8 stream:<u2 state:<u2 reason:<u2 reserved:<u2 before_ns:<i8 after_ns:<i8 reserved2:<i8",
    "signal": "model:|S16 value:<f8 price:<f8 horizon_ns:<i8 reference_ticks:<i8",
    "intent": "client_order_id:|S36 target_id:|S36 action:|u1 side:|i1 order_type:|u1 time_in_force:|u1 reserved:<u4 "
    "price_ticks:<i8 quantity_lots:<i8 expires_ns:<i8 reserved2:<i8",
    "update": "client_order_id:|S36 reserved:<u4 order_id:<i8 status:|u1 side:|i1 order_type:|u1 time_in_force:|u1 code:<i4 "
    "price_ticks:<i8 quantity_lots:<i8 filled_lots:<i8 venue_ns:<i8 origin:|S16 reason:|S80",
    "fill": "client_order_id:|S36 side:|i1 maker:|u1 reserved:<u2 order_id:<i8 trade_id:<i8 price_ticks:<i8 quantity_lots:<i8 "
    "fee:<i8 fee_asset:|S8 venue_ns:<i8 origin:|S16",
    "balance": "asset:|S16 free:<i8 locked:<i8 venue_ns:<i8 reserved:<i8",
    "clock": "now_ns:<i8 durable_seq:<u8 correction_ns:<i8",
    "cursor": "producer:|S16 epoch:<u8 number:<u8 duplicates:<u8 held:<u8",
    "run": "msgpack:|u1",
    "health": "msgpack:|u1",
    "refusal": "msgpack:|u1",
    "watermark": "archived_seq:<u8 recent_seq:<u8",
    "coverage": "first_id:<i8 last_id:<i8 begin_ns:<i8 end_ns:<i8 stream:<u2 state:<u2 evidence:<u2 reason:<u2 era:<u8",
    "line": "line:|S16 stream:<u2 joined:<u2 reserved:<u4 begin_ns:<i8 end_ns:<i8 events:<u8 firsts:<u8 duplicates:<u8 "
    "disordered:<u8 lead_p50_ns:<i8 lead_p99_ns:<i8 lag_p50_ns:<i8 lag_p99_ns:<i8",
    "raw": "msgpack:|u1",
    "alert": "msgpack:|u1",
}
DESCRIPTION = {name: [field.split(":") for field in text.split()] for name, text in FIELDS.items()}
OLD = {name: np.dtype([(field, code) for field, code in rows]) for name, rows in DESCRIPTION.items()}


def event_of_version_1(raw: bytes) -> bytes:
    """Rewrites an event of today; its names have to be short enough."""
    event = Event(raw)
    kind = Kind(event.kind)
    body = bytes(event.body)
    if DTYPES[kind].names:
        body = narrowed(np.frombuffer(body, DTYPES[kind]), OLD[kind.name]).tobytes()
    header = narrowed(np.frombuffer(raw, HEADER, 1), OLD["header"])
    header["size"] = header.nbytes + len(body)
    return header.tobytes() + body


def narrowed(rows: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The same rows in narrower fields. Raises AssertionError where one is cut."""
    out = np.zeros(len(rows), dtype)
    for name in dtype.names:
        out[name] = rows[name]
        assert dtype[name].kind != "S" or (out[name] == rows[name]).all(), name
    return out


def log_as_version_1(folder: Path) -> list[bytes]:
    """Rewrites every segment of a log or an outbox that nobody has open; gives the events as they were."""
    raws = []
    for path in sorted(folder.glob("*.seg")):
        head, data = read_preamble(path), path.read_bytes()
        tree = {
            "log_id": head.log_id, "first": head.first, "boot_id": head.boot_id, "state": head.state, "schema_version": 1,
            "schema_hash": SCHEMA_HASH, "description": DESCRIPTION, "identities": head.identities,
        }  # fmt: skip
        packed = msgpack.packb(tree)
        out = b"tickmesh" + struct.pack("<II", len(packed), zlib.crc32(packed)) + packed
        for _, batch in scan(data, head.size):
            mine = [bytes(event.raw) for event in events(batch.body)]
            raws += mine
            body = b"".join(event_of_version_1(raw) for raw in mine)
            covered = struct.pack("<QII", batch.first, len(mine), 0) + body
            out += struct.pack("<II", len(body), zlib.crc32(covered)) + covered
        path.write_bytes(out)
    return raws


def archive_as_version_1(folder: Path) -> None:
    """Rewrites every file of an archive."""
    for file in list_files(folder):
        file.path.chmod(0o644)
        with h5py.File(file.path, "r+") as written:
            _file_as_version_1(written)
        file.path.chmod(0o444)


def _file_as_version_1(file: h5py.File) -> None:
    for kind in KINDS.values():
        if kind in file:
            rows = file[kind]["events"]
            sources = [("producer", "S16"), ("epoch", "<u8"), ("first_number", "<u8")]
            _replace(rows, "sources", narrowed(rows["sources"][:], np.dtype(sources)))
            body = file[kind]["levels" if kind == "depth" else "records"]
            for name, code in DESCRIPTION[kind]:
                if name in body and code.startswith("|S"):
                    _replace(body, name, body[name][:].astype(code))
    _replace(file, "schema", json.dumps(DESCRIPTION))
    file.attrs["schema_version"], file.attrs["schema_hash"] = 1, SCHEMA_HASH
    file.attrs["content_sha256"] = _content_sha256(file)


def _replace(group: h5py.Group, name: str, values: object) -> None:
    del group[name]
    group.create_dataset(name, data=values)


def _content_sha256(file: h5py.File) -> str:
    """The checksum of the file, and those of its kinds, as the judge computes them from the bytes of the file's own schema."""
    whole = hashlib.sha256()
    for number, kind in KINDS.items():
        if kind in file:
            own = hashlib.sha256()
            for _ in judge._events(file, number, kind, (own, whole)):
                pass
            if "content_sha256" in file[kind].attrs:
                file[kind].attrs["content_sha256"] = own.hexdigest()
    if file.attrs.get("part", "cut") != "cut":
        names = list(file)
        file.visititems(lambda name, group: names.append(name) if name.startswith("books/") else None)
        sums = {name: file[name].attrs["content_sha256"] for name in names if "content_sha256" in file[name].attrs}
        return hashlib.sha256("".join(f"{name} {sums[name]}\n" for name in sorted(sums)).encode()).hexdigest()
    if "book" in file:
        form, _, _ = record_layout(tuple(map(tuple, DESCRIPTION["depth"])))
        group = file["book"]
        for row in zip(*(judge._column(group, name, len(group["side"]), "<i8") for name in judge.SIDES)):
            whole.update(form.pack(*row, b""))
    if (rows := judge.ledger_rows(file)) is not None:
        form, _, _ = record_layout(tuple(map(tuple, DESCRIPTION["coverage"])))
        for row in rows:
            whole.update(form.pack(*row))
    return whole.hexdigest()
