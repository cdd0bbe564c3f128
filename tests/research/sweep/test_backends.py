"""Sweeps that compute: by processes of this machine, and by a real cluster of Dask, which gives the same to the bit.

In one test, since each process loads all that a backtest needs: what one sweep gave the next ones are compared with.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.research_scene import recorded
from tests.support.sweep_scene import dask_cluster, lay, wait_until
from tickmesh.bus.config import load
from tickmesh.research.backtest.measures.equity import equity_at
from tickmesh.research.backtest.report import all_mids
from tickmesh.research.sweep.outcome import SweepOutcome
from tickmesh.research.sweep.processes import ProcessBackend
from tickmesh.research.sweep.store import StoredPart
from tickmesh.research.sweep.variation import traded_alone
from tickmesh.storage.query.times import ReadError

pytestmark = pytest.mark.mesh
dataframe = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
pytest.importorskip("distributed", reason="Dask distributed is not installed")
VARY = {"latency": "1 50,30", "models.trend.sign": [1.0, 0.0]}  # with a sign of 0 the kernel fails
SECOND_NS = 1_000_000_000
WORDS = {"start": "2024-08-09", "every": None}


@pytest.mark.timeout(500)
def test_processes_and_a_cluster_give_what_single_backtests_do_though_workers_are_killed(tmp_path):
    (tmp_path / "mesh").mkdir()
    root = lay(tmp_path / "mesh", 600)
    backend = ProcessBackend(1)
    with killing(lambda: [psutil.Process(child.pid) for child in list(backend.at_work)]):
        here = tm.sweep(root, VARY, backend=backend, **WORDS)
    rows = list(here.rows())
    check_against_a_backtest(root, rows)
    check_failures(here)
    check_command(root)
    environment = {**os.environ, "TICKMESH_CACHE": str(tmp_path / "cache")}
    with dask_cluster(tmp_path, environment) as (address, workers):
        with killing(lambda: [psutil.Process(one.pid) for one in at_work(workers)]):
            there = tm.sweep(
                f"file://{root}", VARY, end=rows[0].end_ns, store=tmp_path / "kept.sqlite", cluster=address, **WORDS
            )
        wait_until(lambda: sum(one.poll() is None for one in workers) == 1, "one worker was killed")
        assert there.computed == 8 and list(map(plain, there.rows())) == list(map(plain, rows))
        assert (tmp_path / "cache").is_dir(), "its data were at a URL, of which the worker has fetched a copy"
        check_bars(tmp_path, address)


@contextlib.contextmanager
def killing(found: Callable[[], list[psutil.Process]]) -> Iterator[None]:
    """Kills the first process that is at work in the block."""

    def killed() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself: the next one, then
            for process in found():
                process.kill()
                return True
        return False

    killer = threading.Thread(target=lambda: wait_until(killed, "a process computes"))
    killer.start()
    yield
    killer.join()


def at_work(workers: list[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
    return [one for one in workers if one.poll() is None and psutil.Process(one.pid).children()]


def plain(row: StoredPart) -> StoredPart:
    return row._replace(seconds=0.0, gains=row.gains.tolist(), error=row.error.rpartition("models/")[2])  # of its own copy


def check_against_a_backtest(root: Path, rows: list[StoredPart]) -> None:
    done = [row for row in rows if not row.error]
    assert [(row.parameters["latency"], row.instrument) for row in done] == [
        (latency, f"binance.{symbol}") for latency in ("1", "50,30") for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    one = done[3]
    result = tm.backtest(traded_alone(load(root), "binance.ETHUSDT", ()), one.start_ns, one.end_ns, latency="50,30")
    fills, last = result.fills, result.marks["binance.ETHUSDT"][-1]
    cash = -(fills["side"] * fills["quantity"] * fills["price"]).sum() - fills["fee"].sum()
    net = cash + (fills["side"] * fills["quantity"]).sum() * (last["bid"] + last["ask"]) / 2
    assert one.measures["net"] == pytest.approx(net) and one.measures["fills"] == len(fills) > 10
    assert one.measures["orders"] == len(result.orders) and one.coverage == result.coverage
    last_whole = np.array([one.start_ns + len(one.gains) * SECOND_NS])  # gains are of whole intervals, here seconds
    assert one.gains.sum() == pytest.approx(equity_at(result, all_mids(result), last_whole).equity[0])
    assert one.gains.sum() != done[1].gains.sum() and len(one.gains) == (one.end_ns - one.start_ns) // SECOND_NS


def check_failures(here: SweepOutcome) -> None:
    failed = [row for row in here.rows() if row.error]
    assert len(failed) == 4 and {row.parameters["models.trend.sign"] for row in failed} == {0.0}
    assert all("trend.py:" in row.error and "ZeroDivisionError" in row.error for row in failed)
    assert here.computed == len(here.keys) == 8
    best, bad = here.trials[0], here.trials[-1]
    assert best.failed == 0 and best.sharpe.value is not None and best.deflated.value is not None
    assert (bad.failed, bad.sharpe.value) == (2, None) and "2 of 2 parts failed" in bad.sharpe.why


def check_command(root: Path) -> None:
    done = mesh_here(
        root, "sweep", "--vary", "latency=1 50,30", "--vary", "models.trend.sign=1.0", "--start", "2024-08-09", "--every", "all"
    )
    assert done.returncode == 0, done.stderr
    assert "4 parts, 0 of them computed now; 2 trials" in done.stdout.replace("\n", " ") and "50,30" in done.stdout


def check_bars(folder: Path, address: str) -> None:
    (folder / "days").mkdir()
    days = recorded(folder / "days").root
    words = {"every": "1s", "start": "2024-08-09", "end": "2024-08-12", "to": folder / "bars"}
    made = tm.sweep_bars(days, cluster=address, **words)
    assert not made.failures and len(made.files) == made.computed == 9  # of three instruments, one of which was never traded
    assert (folder / "bars" / "binance" / "BTCUSDT" / "2024-08-10.parquet").is_file()
    read = dataframe.read_parquet(str(folder / "bars" / "*" / "*" / "*.parquet")).compute()
    wanted = tm.open(days).bars(None, *list(words.values())[:3], gaps="ignore").to_pandas().reset_index()
    order = ["instrument", "venue", "time"]
    read, wanted = (one.sort_values(order).reset_index(drop=True)[["time", "close", "volume"]] for one in (read, wanted))
    assert len(read) == made.bars == 6 and (read == wanted.assign(time=wanted["time"].dt.tz_localize(None))).all(axis=None)
    assert tm.sweep_bars(days, workers=1, **words).computed == 0


def test_a_scheduler_that_is_not_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("tickmesh.research.sweep.cluster.CONNECT_S", 0.3)
    root = lay(tmp_path, 60)
    with pytest.raises(ReadError, match="no scheduler of Dask answers at tcp://127.0.0.1:1: "):
        tm.sweep(root, start="2024-08-09", every=None, cluster="tcp://127.0.0.1:1")
