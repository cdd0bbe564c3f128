"""A naive reader of archive files, from docs/archive.md: h5py, plain lists, one event after the other."""

import hashlib
import heapq
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import unquote

import h5py
import hdf5plugin

from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import KINDS, PACKED, Event, Layouts, Values, build_event, comparable, record_layout

h5py.h5pl.append(hdf5plugin.PLUGIN_PATH.encode())  # it finds its filters by a pattern: not below a folder with [ ] in its name
NAME = re.compile(r"(\d{20})-(\d{20})(\.day|\.rest)?\.h5")
SIDES = ("price_ticks", "quantity_lots", "side")
ROWS = 20_000  # events of one kind that are looked at together
FAULTS = (OSError, KeyError, ValueError, IndexError, TypeError)


Column = list[Any]  # one field of several rows: integers, floats or bytes
Digests = Sequence["hashlib._Hash"]


class _Pruned(TypedDict):
    first_seq: int
    last_seq: int
    folders: list[str]


class _Manifest(TypedDict, total=False):
    archived_seq: int
    sealed_seq: int
    pruned: dict[str, _Pruned]  # by day


def _manifest(folder: Path) -> _Manifest:
    try:
        tree: _Manifest = json.loads((folder / "watermark.json").read_bytes())
        return tree
    except FileNotFoundError:
        return {"archived_seq": 0}


def read_seals(folder: Path) -> tuple[int, dict[tuple[int, int], list[str]]]:
    """Reads from watermark.json: the seq up to which days are sealed, and (first seq, last seq) → folders that were pruned."""
    tree = _manifest(folder)
    pruned = {(int(p["first_seq"]), int(p["last_seq"])): p["folders"] for p in tree.get("pruned", {}).values()}
    return int(tree.get("sealed_seq", 0)), pruned


def watermark(folder: Path) -> int:
    """Reads from watermark.json up to which seq everything is in the files; 0 where there is no archive."""
    return int(_manifest(folder)["archived_seq"])


def cuts(folder: Path, upto: int) -> list[tuple[int, int, list[Path]]]:
    """Lists the visible files up to the watermark `upto`: (first seq, last seq, files) of every cut or sealed day, in order."""
    sealed_seq, pruned = read_seals(folder)
    found: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/*/*/*.h5")):
        if match := NAME.fullmatch(path.name):
            first, last = int(match[1]), int(match[2])
            gone = "/".join(path.parts[-4:-2]) in pruned.get((first, last), ())
            day = last <= sealed_seq and gone == (match[3] == ".rest")
            if last <= upto and (day if match[3] else first > sealed_seq):
                found[first, last].append(path)
    return [(first, last, files) for (first, last), files in sorted(found.items())]


def subject_of(path: Path) -> str:
    """The instrument that a file is of, from its folders: they are percent-encoded, `%00` is an empty one."""
    return ".".join("" if part == "%00" else unquote(part) for part in path.parts[-4:-2])


def read(folder: Path, upto: int, findings: Findings) -> Iterator[Event]:
    """Reads every event up to the watermark `upto`, by seq; damaged, missing and doubled ones become findings."""
    _, pruned = read_seals(folder)
    expected = 1
    while True:
        rest = [cut for cut in cuts(folder, upto) if cut[0] >= expected]  # again and again: a mesh may seal meanwhile
        if not rest:
            break
        for first, last, files in rest:
            if not all(path.exists() for path in files):
                break
            if first != expected:
                findings.fault("archive_hole", f"archive: seq {expected} to {first - 1} are in no file")
            yield from _span(first, last, files, (first, last) in pruned, findings)
            expected = last + 1
    if expected - 1 != upto:
        findings.fault("archive_hole", f"archive: the files end with {expected - 1}, the watermark is {upto}")


def _span(first: int, last: int, files: list[Path], pruned: bool, findings: Findings) -> Iterator[Event]:
    """The events of one cut or day. Their number is judged here; a pruned day keeps only some of them."""
    if pruned:
        findings.count("pruned_days")
    before, strange = first - 1, 0
    streams = [stream for path in files for stream in events_of(path, findings)]
    # Stable: rows that were swapped within a file stay swapped where their seq was swapped with them.
    for one in heapq.merge(*streams, key=lambda event: event.seq):
        if not strange and not (first <= one.seq <= last and (before < one.seq if pruned else one.seq == before + 1)):
            strange = before + 1 if one.seq > before + 1 else one.seq
        before = one.seq
        yield one
    if not pruned and not strange and before != last:
        strange = before + 1
    if strange:
        findings.fault("archive_seq", f"{files[0].name}: seq {strange} is missing, doubled or out of place")


def events_of(path: Path, findings: Findings) -> list[Iterator[Event]]:
    """Reads one file: an iterator for each kind, by seq. Its checksum is compared first; a large file is read twice."""
    findings.count("archive_files")
    small: list[Event] = []
    try:
        with h5py.File(path, "r", locking=False) as file:
            total = sum(int(file[kind].attrs["events"]) for kind in KINDS.values() if kind in file)
            digests = {}
            whole = hashlib.sha256()
            for number, kind in KINDS.items():
                if kind in file:
                    own = hashlib.sha256()
                    before = 0
                    for one in _events(file, number, kind, (own, whole)):
                        if one.seq <= before:
                            findings.fault("archive_order", f"{path}: the rows of {kind} are not in the order of seq")
                        before = one.seq
                        if total <= 10 * ROWS:
                            small.append(one)
                    digests[kind] = own.hexdigest()
            _compare_sum(file, path, digests, whole, findings)
    except FAULTS as error:
        findings.fault("archive_file", f"{path} cannot be read: {error!r}")
        return []
    if total <= 10 * ROWS:
        return [iter(sorted(small, key=lambda event: event.seq))]
    return [_again(path, number, kind) for number, kind in KINDS.items() if kind in digests]


def _again(path: Path, number: int, kind: str) -> Iterator[Event]:
    with h5py.File(path, "r", locking=False) as file:
        yield from _events(file, number, kind, ())


def _compare_sum(file: h5py.File, path: Path, digests: dict[str, str], whole: "hashlib._Hash", findings: Findings) -> None:
    """A cut's sum is over everything in one; a day's over the sums of its parts, in order of their names."""
    form, _, _ = record_layout(tuple(tuple(row) for row in json.loads(file["schema"][()])["depth"]))
    images = ["book"] if "book" in file else []
    images += [f"books/{hour}" for hour in file.get("books", ())]
    for name in images:
        own = hashlib.sha256()
        columns = [_column(file[name], side, len(file[name]["side"]), "<i8") for side in SIDES]
        for row in zip(*columns):
            data = form.pack(*row, b"")
            own.update(data)
            whole.update(data)
        digests[name] = own.hexdigest()
    rows = ledger_rows(file)
    if rows is not None:
        form, _, _ = record_layout(tuple(tuple(row) for row in json.loads(file["schema"][()])["coverage"]))
        data = b"".join(form.pack(*row) for row in rows)
        whole.update(data)
        digests["ledger"] = hashlib.sha256(data).hexdigest()
    if file.attrs.get("part", "cut") == "cut":
        seen = whole.hexdigest()
    else:
        derived = {n: str(g.attrs["content_sha256"]) for n, g in file.items() if "content_sha256" in g.attrs}
        lines = "".join(f"{name} {one}\n" for name, one in sorted((derived | digests).items()))
        seen = hashlib.sha256(lines.encode()).hexdigest()
    if seen != file.attrs["content_sha256"]:
        findings.fault("archive_checksum", f"{path}: its content does not match its content_sha256")


def ledger_rows(file: h5py.File) -> list[Values] | None:
    """Reads the coverage ledger of an open file, as the file describes a record of it; None where it has none."""
    if "ledger" not in file:
        return None
    group = file["ledger"]
    count = int(group.attrs["rows"])
    fields = json.loads(file["schema"][()])["coverage"]
    return list(zip(*(_column(group, name, count, code) for name, code in fields)))


def _column(group: h5py.Group, name: str, count: int, code: str, start: int = 0, stop: int | None = None) -> Column:
    """Rows of one column: stored × scale_factor + add_offset, modulo the field's size; zeros where it is absent."""
    text = code.lstrip("|").startswith("S")
    stop = count if stop is None else stop
    if name not in group:
        return [b"" if text else 0] * (stop - start)
    if len(group[name]) != count:
        raise ValueError(f"column {group[name].name} has {len(group[name])} rows, {count} belong there")
    values: Column = group[name][start:stop].tolist()
    attributes = group[name].attrs
    if "scale_factor" in attributes:
        scale, offset = int(attributes["scale_factor"]), int(attributes["add_offset"])
        return [_wrap(value * scale + offset, code) for value in values]
    return values


def _wrap(value: int, code: str) -> int:
    bits = 8 * int(code[-1])
    value %= 1 << bits
    return value - (1 << bits) if "i" in code and value >= 1 << (bits - 1) else value


def _events(file: h5py.File, number: int, kind: str, digests: Digests) -> Iterator[Event]:
    """All events of a kind, some rows at a time; what depends on the rows before is carried along."""
    fields: Layouts = {n: tuple(tuple(row) for row in rows) for n, rows in json.loads(file["schema"][()]).items()}
    group, rows = file[kind], file[kind]["events"]
    n, m = int(group.attrs["events"]), int(group.attrs["records"])
    body = group["levels" if kind == "depth" else "records"]
    before: dict[bytes, int] = {}
    links = {}
    if "link_rows" in rows:
        count = len(rows["link_rows"])
        links = dict(zip(_column(rows, "link_rows", count, "<i8"), _column(rows, "link_values", count, "<u8")))
    sources = rows["sources"][:].tolist()
    numbers = [first for _, _, first in sources]
    record = 0
    for start in range(0, n, ROWS):
        stop = min(start + ROWS, n)
        headers = _headers(rows, n, start, stop, number, dict(fields["header"]))
        for row, (seq, subject) in enumerate(zip(headers["seq"], headers["subject"]), start):
            headers["link"].append(links.get(row, before.get(subject, 0)))
            before[subject] = seq
        steps = _column(rows, "number_step", n, "<u8", start, stop)
        for source, step in zip(_column(rows, "source", n, "<u4", start, stop), steps):
            numbers[source] = _wrap(numbers[source] + step, "<u8")
            headers["producer"].append(comparable(sources[source][0]))
            headers["epoch"].append(sources[source][1])
            headers["number"].append(numbers[source])
        end = record + sum(headers["count"])
        if kind in PACKED:
            records = _column(body, "msgpack", m, "u1", record, end)
        else:
            records = list(zip(*(_column(body, name, m, code, record, end) for name, code in fields[kind])))
        yield from _join(kind, headers, records, fields, digests)
        record = end
    if record != m:
        raise ValueError(f"{kind} has {m} records, its events have {record}")


def _headers(rows: h5py.Group, n: int, start: int, stop: int, number: int, codes: dict[str, str]) -> dict[str, Column]:
    """The header fields of some rows that need no row before; the others as empty lists."""

    def column(name: str, code: str = "") -> Column:
        return _column(rows, name, n, code or codes[name], start, stop)

    headers = {name: column(name) for name in ("seq", "seq_ns", "count", "flags", "k", "last_id", "venue_ns", "reserved")}
    headers["first_id"] = [_wrap(a - b, "<i8") for a, b in zip(headers["last_id"], column("id_span", "<i8"))]
    headers["sent_ns"] = [_wrap(a - b, "<i8") for a, b in zip(headers["seq_ns"], column("sent_to_seq_ns", "<i8"))]
    headers["recv_ns"] = [_wrap(a - b, "<i8") for a, b in zip(headers["sent_ns"], column("recv_to_sent_ns", "<i8"))]
    if "cause_seq" in rows:
        headers["cause_seq"] = column("cause_seq")
    else:
        headers["cause_seq"] = [s - b if b else 0 for s, b in zip(headers["seq"], column("cause_back", "<u8"))]
    subjects = [comparable(name) for name in rows["subjects"][:].tolist()]
    headers["subject"] = [subjects[i] for i in column("subject", "<u4")]
    headers["kind"] = [number] * (stop - start)
    return headers | {name: [] for name in ("link", "producer", "epoch", "number")}


def _join(kind: str, headers: dict[str, Column], records: Column, fields: Layouts, digests: Digests) -> Iterator[Event]:
    """Headers with their records, and the checksum over the very bytes that the log holds."""
    pack_header, _, _ = record_layout(fields["header"])
    form, wanted, _ = record_layout(fields[kind]) if kind not in PACKED else (None, (), ())
    names = [name for name, _ in fields["header"] if name != "size"]
    start = 0
    for values in zip(*(headers[name] for name in names)):
        row = dict(zip(names, values))
        mine = records[start : start + row["count"]]
        start += row["count"]
        body = bytes(mine) if form is None else b"".join(form.pack(*record) for record in mine)
        row["size"] = pack_header.size + len(body)
        head = pack_header.pack(*(row[name] for name, _ in fields["header"]))
        for digest in digests:
            digest.update(head)
            digest.update(body)
        own: Any = body if form is None else [tuple(comparable(record[i]) for i in wanted) for record in mine]
        yield build_event(kind, row, own)
