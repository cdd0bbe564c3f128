"""The judge finds every planted fault, and finds nothing where there is none. It shares no code with what it judges."""

import ast
import gzip
import json
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pytest

from tests.support.places import PROJECT
from tests.support.stored import Market, write_log
from tests.support.verify_scene import SUBJECT, renumbered, scene
from tickmesh.bus.config import load
from tickmesh.bus.layout import HEADER_SIZE
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.segments import release, segments
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import verify as command
from tickmesh.tools.judge import against_capture, book, capture, log
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.terminal import Failure


def store(root: Path, events: list[bytes], upto: int | None = None) -> None:
    """A data folder as a mesh leaves it: a log, and an archive of its events up to `upto`."""
    config = load(root)
    write_log(config.log_dir, events)
    reader = LogReader(config.log_dir)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(reader, reader.last if upto is None else upto, 40)
    writer.close()


@pytest.fixture
def captured(root):
    path = root / "capture.gz"
    path.write_bytes(gzip.compress("\n".join(scene().lines).encode() + b"\n"))
    return path


@pytest.mark.parametrize("upto", [0, 50, None], ids=["log only", "archive and log", "archive"])
def test_finds_nothing_where_all_is_well(root, captured, upto):
    made = scene()
    store(root, made.events, upto)
    alone = command.verify([])
    assert alone["ok"], alone
    assert alone["events"] == len(made.events) == alone["last_seq"]
    assert alone.get("compared_with_log", 0) == (len(made.events) if upto is None else upto)
    result = command.verify([captured])
    assert result["ok"], result
    assert (result["trades"], result["quotes"], result["depth_events"]) == (29, 30, 30)
    assert result["book_checks"] == result["book_equal"] == result["book_expected"] == 30
    assert [result[name] for name in ("lost", "duplicated", "different", "out_of_order", "invented")] == [0] * 5


@pytest.mark.parametrize("against", [False, True], ids=["alone", "a capture"])
def test_a_segment_that_is_released_under_the_judge_makes_it_read_again(root, captured, monkeypatch, against):
    """As a recorder does that archives meanwhile: from the archive's new end on, or it says that the log ran away from it."""
    made = scene()
    config = load(root)
    write_log(config.log_dir, made.events, 4000, 10)
    writer = ArchiveWriter(config.archive_dir)
    reader, one_segment, released = LogReader(config.log_dir), log._segment, []

    def release_then_read(path, *more):
        yield from one_segment(path, *more)
        found = segments(config.log_dir)
        if len(found) > 3:
            writer.archive_log(reader, found[2][0], 40)  # the next one holds something archived: only then one may go
            released.append(release(config.log_dir, found[2][0]))

    monkeypatch.setattr(log, "_segment", release_then_read)
    result = command.verify([captured] if against else [])
    assert released[0] == 2 and result["ok"], result
    assert result["archived_seq"] > 0 and (against or result["last_seq"] == len(made.events))
    writer.close()

    def always_released(path, *_more):
        raise log.ReleasedMeanwhile(f"{path.name} was released before it was read")

    monkeypatch.setattr(log, "_segment", always_released)
    with pytest.raises(Failure, match="released under the judge 5 times in a row"):
        command.verify([])


def mantissa_changed(raws):
    event = bytearray(raws[12])
    assert event[8] in (Kind.trade, Kind.quote, Kind.depth)
    event[HEADER_SIZE + 8] ^= 1  # the second field of the record, or the quantity of a level
    return [*raws[:12], bytes(event), *raws[13:]]


FAULTS = {
    "one mantissa changed": (mantissa_changed, "different"),
    "one trade dropped": (lambda raws: [r for i, r in enumerate(raws) if i != indexes(raws, Kind.trade)[5]], "lost"),
    "one quote dropped": (lambda raws: [r for i, r in enumerate(raws) if i != indexes(raws, Kind.quote)[5]], "lost"),
    "one depth change dropped": (lambda raws: [r for i, r in enumerate(raws) if i != indexes(raws, Kind.depth)[5]], "lost"),
    "one row doubled": (lambda raws: raws[:20] + [raws[19]] + raws[20:], "duplicated"),
    "two trades swapped": (lambda raws: swapped(raws, Kind.trade), "out_of_order"),
    "two quotes swapped": (lambda raws: swapped(raws, Kind.quote), "out_of_order"),
    "two depth changes swapped": (lambda raws: swapped(raws, Kind.depth), "out_of_order"),
}


def indexes(raws: list[bytes], kind: Kind) -> list[int]:
    return [i for i, raw in enumerate(raws) if raw[8] == kind]


def swapped(raws: list[bytes], kind: Kind) -> list[bytes]:
    a, b = indexes(raws, kind)[6:8]
    out = list(raws)
    out[a], out[b] = out[b], out[a]
    return out


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("upto", [0, None], ids=["log", "archive"])
def test_finds_what_differs_from_the_capture(root, captured, name, upto):
    plant, finding = FAULTS[name]
    store(root, renumbered(plant(scene().events)), upto)
    result = command.verify([captured])
    assert not result["ok"] and result[finding] >= 1, result
    assert sum(result[name] for name in ("lost", "duplicated", "different", "out_of_order", "invented")) <= 2


def rewrite(path: Path, change) -> None:
    """Opens an archive file for writing, as no program of ours would."""
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        change(file)


def column_of(file, name: str) -> str:
    return next(f"{kind}/{body}/{name}" for kind in ("trade", "depth") for body in ("records", "levels")
                if f"{kind}/{body}/{name}" in file)  # fmt: skip


def edited(name: str, edit):
    def change(file) -> None:
        place = column_of(file, name)
        values, attributes = edit(file[place][:]), dict(file[place].attrs)
        del file[place]
        file[place] = values
        file[place].attrs.update(attributes)

    return change


IN_FILE = {
    "one mantissa changed": edited("price_ticks", lambda v: np.concatenate([v[:3], v[3:4] ^ 1, v[4:]])),
    "one row dropped": edited("price_ticks", lambda v: np.delete(v, 3)),
    "one row doubled": edited("price_ticks", lambda v: np.insert(v, 3, v[3])),
    "two rows swapped": edited("trade_id", lambda v: v[[1, 0, *range(2, len(v))]]),
    "a file removed": None,
    "a file cut short": None,
}


@pytest.mark.parametrize("name", IN_FILE)
@pytest.mark.parametrize("with_capture", [False, True], ids=["by itself", "against the capture"])
def test_finds_what_was_done_to_an_archive_file(root, captured, name, with_capture):
    store(root, scene().events)
    path = sorted(load(root).archive_dir.glob("binance/*/*/*.h5"))[1]
    if name == "a file removed":
        path.unlink()
    elif name == "a file cut short":
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-300])
    else:
        rewrite(path, IN_FILE[name])
    result = command.verify([captured] if with_capture else [])
    assert not result["ok"], result


def test_finds_what_was_done_to_the_log(root):
    store(root, scene().events, 0)
    path = sorted(load(root).log_dir.glob("*.seg"))[0]
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)
    result = command.verify([])
    assert not result["ok"] and "log_crc" in result["faults"], result


def test_a_torn_tail_is_no_fault(root):
    store(root, scene().events, 0)
    path = sorted(load(root).log_dir.glob("*.seg"))[-1]
    path.write_bytes(path.read_bytes() + b"\x99\0\0\0half a batch")
    result = command.verify([])
    assert result["ok"] and result["torn_tail_bytes"] == 16, result


def test_says_so_when_there_is_nothing_to_judge(root):
    done = subprocess.run([sys.executable, "-m", "tickmesh.tools.cli", "verify"], cwd=root, capture_output=True, text=True,
                          env={"PYTHONPATH": str(PROJECT)})  # fmt: skip
    assert done.returncode == 1 and "neither a log nor an archive" in done.stderr and "Traceback" not in done.stderr


def test_the_exit_code_is_the_verdict(root, captured):
    store(root, renumbered(mantissa_changed(scene().events)))
    words = [sys.executable, "-m", "tickmesh.tools.cli", "verify", "--json"]
    env = {"PYTHONPATH": str(PROJECT)}
    good = subprocess.run(words, cwd=root, capture_output=True, env=env)
    bad = subprocess.run([*words, "--against", captured.name], cwd=root, capture_output=True, env=env)
    assert (good.returncode, json.loads(good.stdout)["ok"]) == (0, True)
    assert (bad.returncode, json.loads(bad.stdout)["different"]) == (1, 1)


HIDDEN = ("nodes", "storage", "bus.wire", "bus.log", "bus.log_writer", "bus.segments", "bus.sockets", "bus.schema")
FORBIDDEN = tuple(f"tickmesh.{name}" for name in HIDDEN)


def test_the_judge_imports_nothing_of_what_it_judges(root):
    """By its text, and by what is loaded once the whole command has run."""
    for path in [*(PROJECT / "tools/judge").glob("*.py"), PROJECT / "tools/verify.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names for bad in FORBIDDEN if n == bad or n.startswith(bad + ".")], path
    store(root, scene().events)
    code = f"""if True:
        import sys
        from tickmesh.tools import cli
        sys.argv = ["mesh", "verify", "--json"]
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code, end.code
        print([m for m in sys.modules for bad in {FORBIDDEN!r} if m == bad or m.startswith(bad + ".")])
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
                          env={"PYTHONPATH": str(PROJECT)})  # fmt: skip
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.data
def test_the_books_of_the_real_capture_are_the_venue_s(data):
    stream = capture.read_captures([data / "hftbacktest/spot/btcusdt_20240808.gz"]).streams["binance.BTCUSDT"]
    assert len(stream.trades.values) == 9757
    checks = book.compare_best(book.changes_of_capture(stream.snapshots, stream.changes), stream.quotes.values)
    assert (len(checks), sum(checks.values())) == (564, 564)


def test_a_signal_an_order_or_a_fill_said_twice_is_found(root):
    market, events = Market(), []
    for _ in range(2):
        events.append(market.event(Kind.quote, SUBJECT, quote(market.seq), last_id=market.seq + 1))
    for kind in (Kind.signal, Kind.intent, Kind.fill):
        record = np.zeros(1, DTYPES[kind])
        if kind is not Kind.signal:
            record["client_order_id"] = b"order-1"
        for _ in range(2):
            events.append(market.event(kind, SUBJECT, record, producer=kind.name.encode(), cause_seq=1, k=0))
    write_log(load(root).log_dir, events)
    faults = command.verify([])["faults"]
    assert faults == {"said_twice": 2, "order_twice": 1, "fill_twice": 1}


def test_what_a_producer_said_and_is_not_there_is_found(root):
    """A lost fill leaves a hole in its producer's numbers."""
    market, events = Market(), []
    for number in range(6):
        record = np.zeros(1, DTYPES[Kind.fill])
        record["client_order_id"], record["trade_id"] = b"order-%d" % number, number
        events.append(market.event(Kind.fill, SUBJECT, record, producer=b"session"))
        events.append(market.clock())
    without = [raw for raw in events if raw is not events[4]]
    write_log(load(root).log_dir, renumbered(without))
    verdict = command.verify([])
    assert verdict["faults"] == {"number_hole": 1}
    assert "session number 4 follows 2" in verdict["sentences"][0]


def quote(update_id: int) -> np.ndarray:
    record = np.zeros(1, DTYPES[Kind.quote])
    record["update_id"] = update_id + 1
    return record


@pytest.mark.parametrize(
    ("said", "ok"),
    [
        ([(504, 505)], True),
        ([(504, 504), (505, 505)], True),  # a book in step for a moment within the hole: two gaps
        ([(505, 509), (400, 504)], True),
        ([(504, 504)], False),
        ([(505, 505), (505, 506)], False),
        ([], False),
    ],
)
def test_ids_that_are_missing_need_gaps_that_name_each_of_them(root, said, ok):
    made, market = scene(), Market()
    trades = indexes(made.events, Kind.trade)
    without = [raw for i, raw in enumerate(made.events) if i not in trades[3:5]]
    gaps = []
    for first, last in said:
        record = np.zeros(1, DTYPES[Kind.gap])
        record["first_id"], record["last_id"], record["stream"], record["state"] = first, last, Kind.trade, 1
        gaps.append(market.event(Kind.gap, SUBJECT, record, producer=b"sequencer"))
    write_log(load(root).log_dir, renumbered([*without[: trades[3]], *gaps, *without[trades[3] :]]))
    verdict = command.verify([])
    assert verdict["ok"] is ok and verdict["faults"] == ({} if ok else {"hole": 1})


def test_fields_are_read_by_the_file_s_own_description(root):
    """An older file, with fewer fields, is judged by what it says of itself."""
    store(root, scene().events, 0)
    findings = Findings()
    read = list(log.read(load(root).log_dir, findings))
    assert findings.ok and len(read) == len(scene().events)
    stored = against_capture.gather_stored(read)[SUBJECT]
    assert len(stored.trades) == 29 and stored.depth[1][2] is True
