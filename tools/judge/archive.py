"""A naive reader of archive files, from docs/archive.md: h5py, plain lists, one event after the other."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the compression filters

from tools.judge.findings import Findings
from tools.judge.log import KINDS, PACKED, Event, event, layout, plain

NAME = re.compile(r"(\d{20})-(\d{20})\.h5")
SIDES = ("price_ticks", "quantity_lots", "side")


def watermark(folder: Path) -> int:
    """Everything up to this seq is said to be in the files; 0 where there is no archive."""
    try:
        return int(json.loads((folder / "watermark.json").read_bytes())["archived_seq"])
    except FileNotFoundError:
        return 0


def cuts(folder: Path, upto: int) -> list[tuple[int, int, list[Path]]]:
    """(first seq, last seq, files) of every cut up to the watermark, in order."""
    found: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/*/*/*.h5")):
        if (match := NAME.fullmatch(path.name)) and int(match[2]) <= upto:
            found[int(match[1]), int(match[2])].append(path)
    return [(first, last, files) for (first, last), files in sorted(found.items())]


def read(folder: Path, upto: int, findings: Findings) -> Iterator[Event]:
    """Every event up to the watermark `upto`, by seq; reports damaged, missing and doubled ones."""
    expected = 1
    for first, last, files in cuts(folder, upto):
        if first != expected:
            findings.fault("archive_hole", f"archive: seq {expected} to {first - 1} are in no file")
        events: list[Event] = []
        for path in files:
            findings.count("archive_files")
            try:
                events += read_file(path, findings)
            except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
                findings.fault("archive_file", f"{path} cannot be read: {error!r}")
        seen = sorted(event.seq for event in events)
        if seen != list(range(first, last + 1)):
            strange = sorted(set(range(first, last + 1)) ^ set(seen)) or [a for a, b in zip(seen, seen[1:]) if a == b]
            findings.fault("archive_seq", f"{files[0].name}: seq {strange[0]} is missing, doubled or out of place")
        # Stable: rows that were swapped within a file stay swapped where their seq was swapped with them.
        yield from sorted(events, key=lambda event: event.seq)
        expected = last + 1
    if expected - 1 != upto:
        findings.fault("archive_hole", f"archive: the files end with {expected - 1}, the watermark is {upto}")


def read_file(path: Path, findings: Findings) -> list[Event]:
    """The events of one file, by kind; compares its checksum."""
    digest = hashlib.sha256()
    out: list[Event] = []
    with h5py.File(path, "r", locking=False) as file:
        fields = {n: tuple(tuple(row) for row in rows) for n, rows in json.loads(file["schema"][()]).items()}
        for number, kind in KINDS.items():
            if kind in file:
                events = _events(file[kind], number, kind, fields, digest)
                if [e.seq for e in events] != sorted(e.seq for e in events):
                    findings.fault("archive_order", f"{path}: the rows of {kind} are not in the order of seq")
                out += events
        if "book" in file:
            form, _, _ = layout(fields["depth"])
            sides = [_column(file["book"], name, len(file["book/side"]), "<i8") for name in SIDES]
            for row in zip(*sides):
                digest.update(form.pack(*row, b""))
        if digest.hexdigest() != file.attrs["content_sha256"]:
            findings.fault("archive_checksum", f"{path}: its content does not match its content_sha256")
    return out


def _column(group: Any, name: str, count: int, code: str) -> list:
    """One column's values: stored × scale_factor + add_offset, modulo the field's size; zeros where it is absent."""
    text = code.lstrip("|").startswith("S")
    if name not in group:
        return [b"" if text else 0] * count
    values = group[name][:].tolist()
    if len(values) != count:
        raise ValueError(f"column {group[name].name} has {len(values)} rows, {count} belong there")
    attributes = group[name].attrs
    if "scale_factor" in attributes:
        scale, offset = int(attributes["scale_factor"]), int(attributes["add_offset"])
        return [_wrap(value * scale + offset, code) for value in values]
    return values


def _wrap(value: int, code: str) -> int:
    bits = 8 * int(code[-1])
    value %= 1 << bits
    return value - (1 << bits) if "i" in code and value >= 1 << (bits - 1) else value


def _records(group: Any, kind: str, fields: dict) -> list:
    """Rows of one kind, reserved fields included: tuples, or the bytes of the packed kinds."""
    count = int(group.attrs["records"])
    body = group["levels" if kind == "depth" else "records"]
    if kind in PACKED:
        return _column(body, "msgpack", count, "u1")
    return list(zip(*(_column(body, name, count, code) for name, code in fields[kind])))


def _events(group: Any, number: int, kind: str, fields: dict, digest: Any) -> list[Event]:
    n = int(group.attrs["events"])
    codes = dict(fields["header"])
    rows = group["events"]

    def column(name: str, code: str = "") -> list:
        return _column(rows, name, n, code or codes[name])

    headers = {name: column(name) for name in ("seq", "seq_ns", "count", "flags", "k", "last_id", "venue_ns", "reserved")}
    headers["first_id"] = [_wrap(a - b, "<i8") for a, b in zip(headers["last_id"], column("id_span", "<i8"))]
    headers["sent_ns"] = [a - b for a, b in zip(headers["seq_ns"], column("sent_to_seq_ns", "<i8"))]
    headers["recv_ns"] = [_wrap(a - b, "<i8") for a, b in zip(headers["sent_ns"], column("recv_to_sent_ns", "<i8"))]
    if "cause_seq" in rows:
        headers["cause_seq"] = column("cause_seq")
    else:
        headers["cause_seq"] = [s - b if b else 0 for s, b in zip(headers["seq"], column("cause_back", "<u8"))]
    subjects = [plain(name) for name in rows["subjects"][:].tolist()]
    headers["subject"] = [subjects[i] for i in column("subject", "<u4")]
    headers["link"] = _links(headers["seq"], headers["subject"], rows)
    headers["producer"], headers["epoch"], headers["number"] = _sources(rows, column)
    headers["kind"] = [number] * n
    return _join(kind, headers, _records(group, kind, fields), fields, digest)


def _links(seqs: list[int], subjects: list[bytes], rows: Any) -> list[int]:
    """The seq of the subject's row before in this file, but for the rows that are listed."""
    before: dict[bytes, int] = {}
    out = []
    for seq, subject in zip(seqs, subjects):
        out.append(before.get(subject, 0))
        before[subject] = seq
    if "link_rows" in rows:
        count = len(rows["link_rows"])
        wrong = zip(_column(rows, "link_rows", count, "<i8"), _column(rows, "link_values", count, "<u8"))
        for row, value in wrong:
            out[row] = value
    return out


def _sources(rows: Any, column: Any) -> tuple[list[bytes], list[int], list[int]]:
    """Producer, epoch and number of every row: each source counts on from its first number by the steps."""
    sources = rows["sources"][:].tolist()
    numbers = [first for _, _, first in sources]
    producers, epochs, out = [], [], []
    for source, step in zip(column("source", "<u4"), column("number_step", "<u8")):
        numbers[source] = _wrap(numbers[source] + step, "<u8")
        producers.append(plain(sources[source][0]))
        epochs.append(sources[source][1])
        out.append(numbers[source])
    return producers, epochs, out


def _join(kind: str, headers: dict[str, list], records: list, fields: dict, digest: Any) -> list[Event]:
    """Headers with their records, and the checksum over the very bytes that the log holds."""
    pack_header, _, _ = layout(fields["header"])
    form, wanted, _ = layout(fields[kind]) if kind not in PACKED else (None, (), ())
    names = [name for name, _ in fields["header"] if name != "size"]
    out, start = [], 0
    for values in zip(*(headers[name] for name in names)):
        row = dict(zip(names, values))
        mine = records[start : start + row["count"]]
        start += row["count"]
        body = bytes(mine) if form is None else b"".join(form.pack(*record) for record in mine)
        row["size"] = pack_header.size + len(body)
        digest.update(pack_header.pack(*(row[name] for name, _ in fields["header"])))
        digest.update(body)
        own: Any = body if form is None else [tuple(plain(record[i]) for i in wanted) for record in mine]
        out.append(event(kind, row, own))
    if start != len(records):
        raise ValueError(f"{kind} has {len(records)} records, its events have {start}")
    return out
