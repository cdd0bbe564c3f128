"""What benchmarks share: each can be begun, a run leaves nothing behind, contestants take turns, their days are an archive."""

import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import bench
from bench import stored_days
from bench.__main__ import ALL, main
from bench.compare import compare
from bench.compare import main as side_by_side
from bench.floor import nothing_left, take_turns, throw_away_mesh
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.catalog import DAY_NS
from tickmesh.storage.archive.reader import ArchiveReader

CHILD = "import tempfile; print(tempfile.mkdtemp())"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A temporary folder and one that stands for RAM, both empty."""
    disk, ram = tmp_path / "disk", tmp_path / "ram"
    disk.mkdir()
    ram.mkdir()
    monkeypatch.setenv("TMPDIR", str(disk))
    monkeypatch.setenv("TICKMESH_TMPFS", str(ram))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return disk, ram


def test_every_benchmark_can_be_begun(capsys, tmp_path):
    """All modules are there with what they import, `make bench` knows their names, and each begins without a word more."""
    modules = {path.stem: importlib.import_module(f"bench.{path.stem}") for path in Path(bench.__file__).parent.glob("*.py")}
    for name in ALL:
        inspect.signature(modules[name].main).bind()
    assert main(["bus", "nothing"]) == 2
    assert "no benchmark nothing; there are bus," in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "--json" in shown and all(name in shown for name in ALL)
    began = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ALL:
            patch.setattr(modules[name], "main", lambda name=name: began.append(name) or {"figure": len(began)})
        assert main(["bus", "kernels", "--json", str(tmp_path / "figures.json")]) == 0
        assert main([]) == 0
    assert began == ["bus", "kernels", *ALL]
    assert json.loads((tmp_path / "figures.json").read_text()) == {"bus": {"figure": 1}, "kernels": {"figure": 2}}


@pytest.mark.parametrize("ends", [None, SystemExit, ValueError], ids=["it ends", "it is stopped", "it fails"])
def test_a_benchmark_leaves_nothing_behind(places, ends):
    """Neither its meshes' folders, nor their outboxes, nor what its processes put into the temporary folder."""
    disk, ram = places
    try:
        with nothing_left():
            config = throw_away_mesh()
            config.outbox_dir.mkdir()
            (config.outbox_dir / "segment").write_bytes(b"x")
            child = Path(
                subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.strip()
            )
            for made, place in ((config.root, disk), (config.outbox_dir, ram), (child, disk)):
                assert made.is_dir() and place in made.parents, f"{made} is to be below {place}"
            if ends is not None:
                raise ends
    except (SystemExit, ValueError):
        assert ends is not None
    assert [*disk.iterdir(), *ram.iterdir()] == []
    assert (os.environ["TMPDIR"], os.environ["TICKMESH_TMPFS"]) == (str(disk), str(ram)), "whatever comes next is as before"
    assert tempfile.gettempdir() == str(disk)


def test_contestants_take_turns_after_a_round_that_does_not_count():
    order: list[str] = []

    def contestant(name: str):
        def work() -> int:
            order.append(name)
            return order.count(name)

        return work

    turns = take_turns({"ours": contestant("ours"), "theirs": contestant("theirs")}, 2)
    assert order == ["ours", "theirs"] * 3
    assert {name: one.given for name, one in turns.items()} == {"ours": 3, "theirs": 3}


def test_the_days_that_benchmarks_read_are_an_archive(root):
    """Events without a hole, in order of time, each day from its definition and its book on."""
    config, times = load(root), len(stored_days.PATTERN) * 20
    last = stored_days.write_days(config, 2, times)
    events = list(ArchiveReader(config.archive_dir).events())
    assert [event.seq for event in events] == list(range(1, last + 1))
    assert [Kind(event.kind) for event in events] == 2 * [Kind.instrument, Kind.depth, *20 * stored_days.PATTERN]
    stamps = [event.seq_ns for event in events]
    assert stamps == sorted(stamps)
    assert [(stamp - stored_days.START_NS) // DAY_NS for stamp in stamps] == [0] * (last // 2) + [1] * (last // 2)
    assert {event.count for event in events if event.kind == Kind.depth} == {stored_days.SNAPSHOT_LEVELS, stored_days.LEVELS}


def test_a_crowd_is_measurable_beyond_what_rounds_without_it_move_by():
    """Rounds drift alike with and without a crowd; a third more is seen, nothing is taken for noise."""
    import numpy as np

    from bench.gateway import compared

    moved = np.random.default_rng(15).normal(0.0, 0.04, (15, 2)) + np.linspace(0.0, 0.5, 15)[:, None]
    rounds = 3000.0 * np.exp(moved)
    ratios, limits = compared(rounds[::2], rounds[1::2] * [1.0, 1.34])
    assert abs(np.log(ratios[0])) <= limits[0] and 1.25 < ratios[1] < 1.45 and np.log(ratios[1]) > limits[1]


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([10.0, 10.1, 9.9, 10.0, 10.2], [12.0, 12.1, 11.9, 12.0, 12.2], "more"),
        ([10.0, 10.1, 9.9, 10.0, 10.2], [8.0, 8.1, 7.9, 8.0, 8.2], "less"),
        ([10.0, 14.0, 7.0, 12.0, 9.0], [12.0, 9.0, 16.0, 11.0, 13.0], "same"),  # a fifth more, and that much apart
        (10.0, 11.5, "same"),  # once each: nobody knows the noise
        (10.0, 20.0, "more"),
        (0, 0, "same"),
        (0, 3, "differs"),
    ],
)
def test_two_runs_are_set_side_by_side(a, b, verdict):
    (one,), alone = compare({"bus": {"figure": a, "words": "x"}}, {"bus": {"figure": b}, "archive": {"new": 1}})
    assert (one.name, one.verdict) == ("bus: figure", verdict) and alone == ["archive: new"]


def test_comparing_is_a_command(tmp_path, capsys):
    for name, figure in (("a.json", 10), ("b.json", 30)):
        (tmp_path / name).write_text(json.dumps({"bus": {"figure": figure}}))
    assert side_by_side([str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "more" in capsys.readouterr().out
    assert side_by_side([str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"][0]["ratio"] == 3
