"""Exported files, read by the programs that people use, are what the archive holds; however often the export was killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.dataframe as dask
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.fields import MANTISSAS, Form, record_looks, row_looks
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.prune import prune, read_exported
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import coverage, reader, times
from tickmesh.storage.query.arrow import ADDED

SUBJECT = "binance.BTCUSDT"
DAYS = ("2024-08-09", "2024-08-10", "2024-08-11")


def stored(root: Path, events_each: int = 700) -> Config:
    """Three days of a market: two archived and over, the third archived in part, its rest in the log."""
    (root / "mesh.toml").write_text("")
    config = load(root)
    market = Market()
    raws = [market.instrument((-2, -5))]
    rng = np.random.default_rng(5)
    for day in range(3):
        market.seq_ns = START + day * DAY + 1_000_000
        raws.append(market.trade(price=6_183_763))
        for _ in range(events_each):
            quote = np.zeros(1, DTYPES[Kind.quote])
            quote[0] = (market.seq, *rng.integers(1, 1 << 53, 4), 0)
            raws.append(market.event(Kind.quote, SUBJECT, quote, last_id=market.seq))
            raws.append(market.trade(price=int(rng.integers(1, 1 << 40))))
            levels = [(int(p), int(q), int(s)) for p, q, s in zip(rng.integers(1, 1 << 30, 3), (0, 5, 7), (1, -1, 1))]
            raws.append(market.depth(levels, market.seq))
            if rng.random() < 0.02:
                raws.append(market.gap(Kind.trade))
        raws.append(market.trade(subject="binance.ETHUSDT"))
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(raws) - events_each, 900)
    writer.close()
    return config


def mesh(root: Path, *words: str, check: bool = True) -> dict:
    done = mesh_here(root, "export", "--json", *words)
    assert not check or done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr, "code": done.returncode}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tickmesh.tools.cli", "export", "--json", *words]


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


def rows(config: Config, topic: str, day: str) -> np.ndarray:
    return reader.arrays(config, topic, day, str(np.datetime64(day) + 1))


def topics_in(folder: Path) -> set[str]:
    names = {str(path.relative_to(folder)) for path in folder.glob("*/*/*/*") if not path.name.startswith(".")}
    return {name for name in names if not name.startswith("coverage/")}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_every_value_comes_back(tmp_path, format):
    config = stored(tmp_path)
    wanted = {
        f"{kind}/binance/BTCUSDT/{day}.{format}": rows(config, f"{kind}.{SUBJECT}", day)
        for kind in ("trade", "quote", "depth", "gap", "instrument")
        for day in (DAYS[:1] if kind == "instrument" else DAYS[:2])
    }
    topics = [word for kind in {name.partition("/")[0] for name in wanted} for word in ("--topic", f"{kind}.{SUBJECT}")]
    said = mesh(tmp_path, *topics, "--format", format, "--to", "out")
    assert (said["written"], said["skipped"]) == (len(wanted), 0)
    assert topics_in(tmp_path / "out") == set(wanted) and all(map(len, wanted.values()))
    for name, values in wanted.items():
        check_read_back(values, tmp_path / "out" / name)


def check_read_back(wanted: np.ndarray, path: Path) -> None:
    kind = Kind[path.parts[-4]]
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        frames = [pd.read_parquet(path), pl.read_parquet(path).to_pandas(), duckdb.sql(f"select * from '{path}'").df()]
        if kind is Kind.trade:
            frames.append(dask.read_parquet(path).compute())
    else:
        table = pa.ipc.open_file(path).read_all()
        frames = [
            pd.read_feather(path),
            pl.read_ipc(path).to_pandas(),
            duckdb.from_arrow(table).df(),
        ]
    for frame in [*frames, table.to_pandas()]:
        compare(kind, wanted, frame)
    assert table.schema.metadata[b"tickmesh.price_exponent"] == b"-2"
    if kind is Kind.trade:
        assert table.schema.field("quantity_lots").metadata == {b"exponent": b"-5"}


def compare(kind: Kind, wanted: np.ndarray, frame: pd.DataFrame) -> None:
    """Every value: nanoseconds and mantissas to the last digit, codes as their words, 0 for an unknown time as null."""
    looks = {name: row_looks(kind)[name] for name in wanted.dtype.names or ()}
    stored = {name: name if name.endswith(("_ticks", "_lots")) else f"{name}_mantissa" for name in looks}
    names = [stored[name] if look.form in MANTISSAS else look.name for name, look in looks.items()]
    assert [name for name in frame.columns if name not in ADDED or name in names] == names
    assert len(frame) == len(wanted) and set(frame["venue"]) == {"binance"} and set(frame["instrument"]) == {"BTCUSDT"}
    if kind in (Kind.trade, Kind.quote, Kind.depth):
        assert set(frame["price_exponent"]) == {-2} and set(frame["quantity_exponent"]) == {-5}
    for name, look in looks.items():
        if look.form is Form.moment:
            times = frame[name]
            assert str(times.dtype) == "datetime64[ns]", f"{name} is {times.dtype}"
            assert (times.astype("i8").where(times.notna(), 0).to_numpy() == wanted[name]).all(), name
        elif look.form in (Form.word, Form.words):
            assert [None if pd.isna(word) else word for word in frame[look.name]] == [
                look.word(code) for code in wanted[name]
            ], name
        else:
            mine = frame[stored[name] if look.form in MANTISSAS else name].to_numpy()
            assert mine.dtype.kind == wanted[name].dtype.kind or wanted[name].dtype == "u8", f"{name} is {mine.dtype}"
            assert (mine == wanted[name].astype(mine.dtype)).all(), name


def test_decimals_are_exact_and_floats_are_those_of_frame(tmp_path):
    config = stored(tmp_path)
    topic = f"quote.{SUBJECT}"
    mesh(tmp_path, "--topic", topic, "--decimals", "exact", "--to", "exact")
    mesh(tmp_path, "--topic", topic, "--decimals", "float", "--to", "float")
    wanted = rows(config, topic, DAYS[0])
    exact = pq.read_table(tmp_path / f"exact/quote/binance/BTCUSDT/{DAYS[0]}.parquet")
    assert [int(value.scaleb(2)) for value in exact["bid_price"].to_pylist()] == wanted["bid_ticks"].tolist()
    assert [int(value.scaleb(5)) for value in exact["ask_quantity"].to_pylist()] == wanted["ask_lots"].tolist()
    frame = reader.frame(config, topic, DAYS[0], DAYS[1])
    floats = pd.read_parquet(tmp_path / f"float/quote/binance/BTCUSDT/{DAYS[0]}.parquet")
    for name in ("bid_price", "bid_quantity", "ask_price", "ask_quantity"):
        assert (floats[name].to_numpy() == frame[name].to_numpy()).all()


def test_finished_days_are_skipped_and_the_open_one_waits_for_partial(tmp_path):
    config = stored(tmp_path)
    first = mesh(tmp_path)
    assert first["written"] == first["files"] and first["partial"] == []
    assert not list(Path(first["folder"]).rglob(f"{DAYS[2]}.*"))
    again = mesh(tmp_path)
    assert (again["written"], again["skipped"]) == (0, first["files"])
    for _ in range(2):  # an open day is written anew each time
        part = mesh(tmp_path, "--partial", "--topic", "trade")
        assert sorted(part["partial"]) == [f"trade/binance/{s}/{DAYS[2]}.parquet" for s in ("BTCUSDT", "ETHUSDT")]
    frame = pd.read_parquet(Path(first["folder"]) / f"trade/binance/BTCUSDT/{DAYS[2]}.parquet")
    compare(Kind.trade, rows(config, f"trade.{SUBJECT}", DAYS[2]), frame)


@pytest.mark.parametrize("span", [(DAYS[1], DAYS[2]), ("2d", "24h")], ids=["days", "so long ago"])
def test_a_chosen_span_and_topics(tmp_path, monkeypatch, span):
    monkeypatch.setattr(times, "now_ns", lambda: int(np.datetime64(DAYS[1], "ns").astype("i8")) + 2 * DAY)
    stored(tmp_path)
    said = mesh(tmp_path, "--start", span[0], "--end", span[1], "--topic", "trade.binance", "--topic", "gap", "--to", "out")
    assert topics_in(tmp_path / "out") == {f"trade/binance/{s}/{DAYS[1]}.parquet" for s in ("BTCUSDT", "ETHUSDT")} | {
        f"gap/binance/BTCUSDT/{DAYS[1]}.parquet"
    }
    assert said["files"] == 3


def test_bad_input_is_a_sentence(tmp_path):
    stored(tmp_path, 5)
    for words, part in (
        (("--topic", "health"), "cannot be exported"), (("--start", "yesterday"), "is neither a time"),
        (("--to", "data/sim/archive"), "lies in the archive"), (("--to", "data/sim/archive/x/out"), "lies in the archive"),
        (("--to", "mesh.toml"), "cannot be"), (("--format", "csv"), "csv"),
    ):  # fmt: skip
        said = mesh(tmp_path, *words, check=False)
        assert part in said["error"] and said["code"] in (1, 2) and "Traceback" not in said["error"], said
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.json").write_text("{")
    assert "cannot be read" in mesh(tmp_path, "--to", "out", check=False)["error"]


def test_a_damaged_or_missing_file_is_made_again(tmp_path):
    stored(tmp_path)
    folder = Path(mesh(tmp_path)["folder"])
    before = files(folder)
    names = sorted(topics_in(folder))
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(b"half")
    (folder / f"coverage/binance/BTCUSDT/{DAYS[0]}.parquet").unlink()
    assert mesh(tmp_path)["written"] == 2
    assert files(folder) == before


@pytest.mark.long
def test_killed_at_any_moment_it_goes_on_to_the_same_files(tmp_path):
    """Each run is killed some time after it has finished one more file: while it writes, reads back or renames the next."""
    stored(tmp_path, 2000)
    mesh(tmp_path, "--to", "undisturbed")
    chance = random.Random(9)
    folder = tmp_path / "killed"
    wanted, killed = topics_in(tmp_path / "undisturbed"), 0
    while len(there := topics_in(folder)) < len(wanted) - 1:
        process = subprocess.Popen(command("--to", "killed"), cwd=tmp_path, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(topics_in(folder)) == len(there):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.04))
        process.send_signal(chance.choice((signal.SIGKILL, signal.SIGINT)))
        code = process.wait(30)
        assert code in (-signal.SIGKILL, 130, 0)
        killed += code != 0
        for path in folder.rglob("*.parquet"):
            if not path.name.startswith("."):
                pq.read_table(path)  # never half a file
    assert killed >= 2
    mesh(tmp_path, "--to", "killed")
    assert files(folder) == files(tmp_path / "undisturbed")


def seal(config: Config) -> list[str]:
    writer = ArchiveWriter(config.archive_dir)
    sealer = Sealer(writer)
    days = []
    while (day := sealer.due()) is not None:
        sealer.seal(day)
        days.append(day)
    writer.close()
    return days


def test_a_sealed_day_is_marked_when_all_of_it_is_here_and_gives_the_same_files(tmp_path):
    config = stored(tmp_path)
    before = Path(mesh(tmp_path, "--to", "before")["folder"])
    assert read_exported(config.archive_dir) == {}, "it is not sealed yet"
    assert seal(config) == list(DAYS[:2])
    assert mesh(tmp_path, "--topic", "trade", "--to", "some")["marked"] == [], "depth and quotes are not there"
    after = Path(mesh(tmp_path, "--to", "after")["folder"])
    assert files(after) == files(before), "whether it was read from cuts or from a sealed day"
    marks = read_exported(config.archive_dir)
    assert set(marks) == set(DAYS[:2]) and all(Path(one.folder) == after for one in marks.values())


def test_a_day_whose_file_was_changed_is_not_marked(tmp_path):
    config = stored(tmp_path)
    seal(config)
    folder = Path(mesh(tmp_path)["folder"])
    (config.archive_dir / "exported.json").unlink()
    path = folder / f"depth/binance/BTCUSDT/{DAYS[0]}.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert mesh(tmp_path)["marked"] == [DAYS[1]]


def test_a_pruned_day_stays_exported_and_is_never_exported_empty(tmp_path):
    config = stored(tmp_path)
    seal(config)
    folder = Path(mesh(tmp_path)["folder"])
    there = files(folder)
    writer = ArchiveWriter(config.archive_dir)
    assert prune(writer, DAYS[0]) > 0
    writer.close()
    again = mesh(tmp_path)
    assert (again["written"], again["gone"]) == (0, []) and files(folder) == there
    name = f"trade/binance/BTCUSDT/{DAYS[0]}.parquet"
    (folder / name).unlink()
    done = mesh_here(tmp_path, "export", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["gone"] == [name]
    assert not (folder / name).exists()


def test_coverage_goes_along(tmp_path):
    config = stored(tmp_path)
    folder = Path(mesh(tmp_path)["folder"])
    frame = pd.read_parquet(folder / f"coverage/binance/BTCUSDT/{DAYS[1]}.parquet")
    wanted = coverage.read(config, SUBJECT, None, DAYS[1], DAYS[2])
    assert len(wanted)
    assert set(frame["instrument"]) == {"BTCUSDT"}
    for name in ("first_id", "last_id"):
        assert frame[name].tolist() == wanted[name].tolist(), name
    for name in ("stream", "state", "evidence", "reason"):
        look = record_looks(Kind.coverage)[name]
        shown = [None if pd.isna(word) else word for word in frame[name]]
        assert shown == [look.word(code) for code in wanted[name]], name
    trades = pq.read_schema(folder / f"trade/binance/BTCUSDT/{DAYS[1]}.parquet")
    said = json.loads(trades.metadata[b"tickmesh.coverage"])
    assert [row["first_id"] for row in said] == wanted["first_id"][wanted["stream"] == Kind.trade].tolist()


def test_two_exports_into_one_folder_are_refused(tmp_path):
    import fcntl

    stored(tmp_path, 5)
    folder = Path(mesh(tmp_path)["folder"])
    lock = os.open(folder / ".lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert "another export" in mesh(tmp_path, check=False)["error"]
    os.close(lock)
