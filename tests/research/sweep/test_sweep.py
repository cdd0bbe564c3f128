"""A sweep: nothing is computed twice, what a part depends on makes it another one, and what cannot be begun is refused."""

import shutil
from pathlib import Path

import pytest

import tickmesh as tm
from tests.support.backtest_scene import RandomMarket
from tests.support.stored import write_log
from tests.support.sweep_scene import MadeUpBackend, lay, made_up_answer
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.research.sweep import running
from tickmesh.research.sweep.outcome import SweepOutcome
from tickmesh.research.sweep.parts import PartAnswer, SweepPart
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query.times import ReadError

START = "2024-08-09"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return lay(tmp_path_factory.mktemp("mesh"))


@pytest.fixture
def no_processes(monkeypatch):
    """Kernels are known by the text of their file alone, so that laying out parts needs no process."""

    def codes(self, config):
        return {"trend": (config.root / "models" / "trend.py").read_text()}

    monkeypatch.setattr(running._Layer, "_kernels", codes)


def sweep(root: Path, backend: MadeUpBackend, **words) -> SweepOutcome:
    """A sweep over two latencies and the minutes of the recording, with made-up answers."""
    words = {"vary": {"latency": "1 2"}, "start": START, "every": "10s", "store": root / "kept.sqlite"} | words
    return tm.sweep(root, backend=backend, **words)


def test_only_what_is_not_kept_yet_is_computed_after_an_interruption(tmp_path, no_processes):
    root, backend = lay(tmp_path, 300), MadeUpBackend()

    def interrupt(phase: str, done: int, of: int) -> None:
        if phase == "parts" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(root, backend, shown=interrupt)
    first = [part.key for part in backend.asked]
    whole = sweep(root, backend)
    assert len(first) == 3 and whole.computed == len(whole.keys) - 3 > 3
    assert not set(first) & {part.key for part in backend.asked}
    assert sweep(root, backend).computed == 0
    more = sweep(root, backend, vary={"latency": "1 2 4"})
    assert {part.parameters["latency"] for part in backend.asked} == {"4"} and len(more.trials) == 3


def test_a_failed_part_is_tried_again_and_another_is_not(tmp_path, no_processes):
    def fail(part: SweepPart) -> PartAnswer:
        return PartAnswer(key=part.key, error="broken") if part.parameters["latency"] == "2" else made_up_answer(part)

    root = lay(tmp_path, 300)
    broken = sweep(root, MadeUpBackend(fail))
    assert {one["error"] for one in broken.failures} == {"broken"} and "they are tried again" in " ".join(broken.notes)
    backend = MadeUpBackend()
    mended = sweep(root, backend)
    assert {part.parameters["latency"] for part in backend.asked} == {"2"} and not mended.failures


@pytest.mark.parametrize("change", ["kernel", "settings", "archive", "log"])
def test_what_a_part_depends_on_makes_it_another_part(tmp_path, no_processes, change):
    root, backend = lay(tmp_path, 300), MadeUpBackend()
    parts = len(sweep(root, backend).keys)
    config = load(root)
    if change == "kernel":
        (root / "models" / "trend.py").write_text("# another one\n")
    elif change == "settings":
        (root / "mesh.toml").write_text((root / "mesh.toml").read_text().replace('"0.05"', '"0.06"'))
    elif change == "archive":  # a day grows: all that is after its first event may be another
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(LogReader(config.log_dir), 250, 90)
        writer.close()
    else:  # what is in the log only concerns parts that end after the archive does
        end = _time_of(config, 300) + 5_000_000_000
        sweep(root, backend, end=end)
        shutil.rmtree(config.log_dir)
        write_log(config.log_dir, RandomMarket(7).run(310))
        longer = sweep(root, backend, end=end)
        assert 0 < longer.computed < len(longer.keys)
        return
    assert sweep(root, backend).computed == parts


def _time_of(config, seq: int) -> int:
    return next(LogReader(config.log_dir).events(seq - 1)).seq_ns


def test_impossible_parameters_are_rows_of_their_trial_alone(tmp_path, no_processes):
    root, backend = lay(tmp_path, 300), MadeUpBackend()
    found = sweep(root, backend, vary={"strategies.main.order_quantity": ["0.05", "much"]})
    assert {part.parameters["strategies.main.order_quantity"] for part in backend.asked} == {"0.05"}
    assert all("order_quantity = 'much' is impossible" in one["error"] for one in found.failures)
    assert len(found.failures) == len(backend.asked)


@pytest.mark.parametrize(
    "words, sentence",
    [
        ({"vary": {"quue": "risk_averse"}}, "'quue' is no parameter; allowed are latency, queue"),
        ({"vary": {"queue": []}}, "queue has no value"),
        ({"vary": {"queue": "fifo fifo"}}, "queue has a value twice"),
        ({"vary": {"queue": "a b"}, "queue": "c"}, "queue is varied and fixed at once"),
        ({"instruments": "XRPUSDT"}, "there is no instrument 'XRPUSDT' in what the strategies trade"),
        ({"every": "1ns"}, r"periods of 1ns; 10000 are allowed"),
        ({"start": "2030-01-01"}, "to start at 2030-01-01T00:00:00Z and to end at 2024-.*: the end has to be after the start"),
        ({"strategies": ["none"]}, "there is no strategy 'none' in mesh.toml; there are main"),
        ({"workers": 0}, "0 workers; 1 or more are allowed"),
        ({"workers": 2, "cluster": "tcp://127.0.0.1:1"}, "name one of both"),
        ({"store": "mesh.toml"}, "mesh.toml cannot be used to keep a sweep"),
    ],
)
def test_what_cannot_be_begun_is_refused_in_a_sentence(root, monkeypatch, words, sentence):
    monkeypatch.chdir(root)
    with pytest.raises(ReadError, match=sentence):
        tm.sweep(root, **words)
