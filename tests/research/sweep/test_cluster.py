"""A sweep on a cluster of Dask, with a real scheduler and two workers: what one machine gives, to the bit."""

import os
import subprocess
import threading

import dask.dataframe
import psutil
import pytest

import tickmesh as tm
from tests.support.research_scene import recorded
from tests.support.sweep_scene import dask_cluster, lay, wait_until
from tickmesh.research.sweep.processes import ProcessBackend
from tickmesh.storage.query.times import ReadError

pytestmark = pytest.mark.mesh
pytest.importorskip("distributed", reason="Dask distributed is not installed")


@pytest.mark.timeout(400)
def test_a_cluster_gives_what_one_machine_gives_though_a_worker_is_killed(tmp_path):
    """Its data are at a URL, of which the worker fetches a copy. Bars of days × instruments are made by the rest of it."""
    (tmp_path / "mesh").mkdir()
    root = lay(tmp_path / "mesh", 400)
    words = {"vary": {"latency": "1 5,3"}, "start": "2024-08-09", "every": None}
    here = tm.sweep(root, backend=ProcessBackend(1), **words)
    environment = {**os.environ, "TICKMESH_CACHE": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": str(root / "run" / "kernels")}
    with dask_cluster(tmp_path, environment) as (address, workers):

        def kill_one() -> None:
            def computing() -> list[subprocess.Popen[bytes]]:
                return [one for one in workers if one.poll() is None and psutil.Process(one.pid).children()]

            wait_until(lambda: bool(computing()), "a worker computes")
            computing()[0].kill()

        killer = threading.Thread(target=kill_one)
        killer.start()
        end = next(iter(here.rows())).end_ns
        there = tm.sweep(f"file://{root}", store=tmp_path / "kept.sqlite", cluster=address, end=end, **words)
        killer.join()
        assert sum(one.poll() is None for one in workers) == 1
        assert [row._replace(seconds=0, gains=row.gains.tolist()) for row in there.rows()] == [
            row._replace(seconds=0, gains=row.gains.tolist()) for row in here.rows()
        ]
        assert there.computed == 4 and not there.failures and (tmp_path / "cache").is_dir()
        (tmp_path / "days").mkdir()
        days = recorded(tmp_path / "days").root
        words = {"every": "1s", "start": "2024-08-09", "end": "2024-08-12", "to": tmp_path / "bars"}
        made = tm.sweep_bars(days, cluster=address, **words)
    assert not made.failures and len(made.files) == made.computed == 9  # of three instruments, one of which was never traded
    assert (tmp_path / "bars" / "binance" / "BTCUSDT" / "2024-08-10.parquet").is_file()
    read = dask.dataframe.read_parquet(str(tmp_path / "bars" / "*" / "*" / "*.parquet")).compute()
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
