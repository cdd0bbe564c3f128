"""A disk that is really full, under a real sequencer: it says so, loses nothing, and goes on when there is room."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from bus.config import load
from bus.log import LogReader
from bus.schema import TRADE, Kind
from bus.sockets import Producer
from bus.wire import encode

pytestmark = pytest.mark.mesh


@pytest.fixture
def small_disk(tmp_path):
    """A mesh's folder whose data/ is a file system of 2 MiB; only root may mount one."""
    data = tmp_path / "data"
    data.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", data], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    (tmp_path / "mesh.toml").write_text("[log]\nsegment_bytes = 262144\n")
    yield tmp_path
    subprocess.run(["umount", "-l", data], check=True)


def trade(i):
    record = np.zeros(1, TRADE)
    record["trade_id"] = i
    return encode(Kind.trade, "binance.BTCUSDT", record, first_id=i, last_id=i)


def trades(config):
    return [e.last_id for e in LogReader(config.log_dir).events() if e.kind == Kind.trade]


def until(condition, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.02)


def test_a_full_disk_loses_nothing(small_disk):
    config = load(small_disk)
    errors = small_disk / "errors"
    ready = small_disk / "run/ready/sequencer.json"
    with open(errors, "w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "nodes", "sequencer"], cwd=small_disk, stderr=stderr)
    try:
        until(lambda: ready.exists() and json.loads(ready.read_text())["pid"] == process.pid, "ready")
        producer = Producer(config, "feed-1")
        ballast = small_disk / "data/ballast"
        ballast.write_bytes(bytes(1 << 20))
        for i in range(1, 6001):  # 1.4 MB of events into less than 1 MB
            producer.say([trade(i)])
        until(lambda: "takes no more data" in errors.read_text(), lambda: errors.read_text() + str(process.poll()))
        assert process.poll() is None, "it waits for room instead of ending"
        assert "Traceback" not in errors.read_text()
        os.truncate(ballast, 0)
        os.remove(ballast)
        until(lambda: trades(config)[-1:] == [6000], lambda: f"{trades(config)[-1:]}")
        process.terminate()
        process.wait(20)
        assert trades(config) == list(range(1, 6001))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
