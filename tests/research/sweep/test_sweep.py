"""A sweep on this machine: what comes of it is what single backtests give, nothing is computed twice, nothing ends it."""

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

import tickmesh as tm
from tests.support.backtest_scene import RandomMarket
from tests.support.command_run import mesh_here
from tests.support.stored import write_log
from tests.support.sweep_scene import MadeUpBackend, lay, made_up_answer, wait_until
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.research.sweep import running
from tickmesh.research.sweep.outcome import SweepOutcome
from tickmesh.research.sweep.parts import PartAnswer, SweepPart
from tickmesh.research.sweep.processes import ProcessBackend
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query.times import ReadError

VARY = {"latency": "1 5,3", "models.trend.sign": [1.0, 0.0]}
START = "2024-08-09"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return lay(tmp_path_factory.mktemp("mesh"))


@pytest.fixture(scope="module")
def swept(root) -> SweepOutcome:
    """Two workers, one of them killed as soon as it has a part; of two signs one makes the kernel fail."""
    backend = ProcessBackend(2)

    def kill_one() -> None:
        wait_until(lambda: bool(backend.at_work), "a worker has a part")
        os.kill(next(iter(backend.at_work)).pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    outcome = tm.sweep(root, VARY, START, every=None, backend=backend)
    killer.join()
    return outcome


@pytest.fixture
def no_processes(monkeypatch):
    """Kernels are known by the text of their file alone, so that laying out parts needs no process."""

    def codes(self, config):
        return {"trend": (config.root / "models" / "trend.py").read_text()}

    monkeypatch.setattr(running._Layer, "_kernels", codes)


def test_each_part_is_the_backtest_of_its_parameters_and_instrument(root, swept):
    rows = [row for row in swept.rows() if not row.error]
    assert [(row.parameters["latency"], row.instrument) for row in rows] == [
        (latency, f"binance.{symbol}") for latency in ("1", "5,3") for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    alone = running.traded_alone(load(root), "binance.ETHUSDT", ())
    result = tm.backtest(alone, rows[3].start_ns, rows[3].end_ns, latency="5,3")
    cash = -(result.fills["side"] * result.fills["quantity"] * result.fills["price"]).sum() - result.fills["fee"].sum()
    last = result.marks["binance.ETHUSDT"][-1]
    worth = (result.fills["side"] * result.fills["quantity"]).sum() * (last["bid"] + last["ask"]) / 2
    assert rows[3].measures["net"] == pytest.approx(cash + worth) and rows[3].measures["orders"] == len(result.orders) > 20
    assert rows[3].measures["fills"] == len(result.fills) and rows[3].coverage == result.coverage
    assert rows[3].gains.sum() == pytest.approx(rows[3].measures["net"], rel=0.1) and rows[1].gains.sum() != rows[3].gains.sum()


def test_a_kernel_that_fails_is_a_row_with_file_and_line_and_a_killed_worker_costs_nothing(swept):
    failed = [row for row in swept.rows() if row.error]
    assert len(failed) == 4 and {row.parameters["models.trend.sign"] for row in failed} == {0.0}
    assert all("trend.py:" in row.error and "ZeroDivisionError" in row.error for row in failed)
    assert swept.computed == len(swept.keys) == 8
    (best, *_), bad = swept.trials, swept.trials[-1]
    assert best.failed == 0 and best.sharpe.value is not None and best.deflated.value is not None
    assert (bad.failed, bad.sharpe.value) == (2, None) and "2 of 2 parts failed" in bad.sharpe.why


def test_the_command_shows_what_is_kept_without_computing_it(root, swept):
    words = ["--vary", "latency=1 5,3", "--vary", "models.trend.sign=1.0", "--start", START, "--every", "all"]
    done = mesh_here(root, "sweep", *words)
    assert done.returncode == 0, done.stderr
    assert "4 parts, 0 of them computed now; 2 trials" in done.stdout.replace("\n", " ") and "5,3" in done.stdout


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
        ({"start": "2030-01-01", "end": "2029-01-01"}, "the sweep's end has to be after its start"),
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
