"""A disk that is really full, under a real sequencer: it says so, loses nothing, and goes on when there is room."""

import errno
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import TRADE, Kind
from tickmesh.bus.settings import DiskSettings
from tickmesh.bus.sockets import Producer
from tickmesh.bus.space import PLENTY, Free, Room, Space, free_of, judge, refusal, short
from tickmesh.bus.wire import encode
from tickmesh.storage.archive.reader import read_watermark
from tickmesh.storage.query import reader
from tickmesh.tools import status

pytestmark = pytest.mark.mesh


def mount(folder, options):
    """A mesh's folder whose data/ is a file system of its own; only root may mount one."""
    data = folder / "data"
    data.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", data], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    return data


@pytest.fixture
def small_disk(tmp_path):
    data = mount(tmp_path, "size=2m")
    (tmp_path / "mesh.toml").write_text("[log]\nsegment_bytes = 262144\n")
    yield tmp_path
    subprocess.run(["umount", "-l", data], check=True)


FEW_FILES = """
[recorder]
segment_s = 0.3
[log]
segment_bytes = 262144
[disk]
low_bytes = 1048576
critical_bytes = 1048576
low_inodes = 30
critical_inodes = 4
look_s = 0.2
"""


@pytest.fixture
def few_inodes(tmp_path):
    data = mount(tmp_path, "size=64m,nr_inodes=70")
    (tmp_path / "mesh.toml").write_text(FEW_FILES)
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
        process = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "sequencer"], cwd=small_disk, stderr=stderr)
    try:
        until(lambda: ready.exists() and json.loads(ready.read_text())["pid"] == process.pid, "ready")
        producer = Producer(config, "feed-1")
        ballast = small_disk / "data/ballast"
        ballast.write_bytes(bytes(1 << 20))
        for i in range(1, 6001):  # 1.4 MB of events into less than 1 MB
            producer.publish([trade(i)])
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


def alerts(config):
    return [event.map() for event in LogReader(config.log_dir).events() if event.kind == Kind.alert]


def disk_alerts(config, level):
    return [alert for alert in alerts(config) if (alert["what"], alert["level"]) == ("disk", level)]


def test_a_disk_without_inodes_is_said_by_name(few_inodes):
    """Megabytes are free, no file can be made: alerts, status and the restarting sequencer say so; nothing is lost."""
    config = load(few_inodes)
    processes, errors = {}, few_inodes / "errors"

    def start(name):
        with open(errors, "a") as stderr:
            processes[name] = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", name], cwd=few_inodes, stderr=stderr)

    def is_ready(name):
        file = few_inodes / f"run/ready/{name}.json"
        return file.exists() and json.loads(file.read_text())["pid"] == processes[name].pid

    try:
        for name in ("sequencer", "recorder"):
            start(name)
        until(lambda: all(map(is_ready, processes)), lambda: errors.read_text())
        producer = Producer(config, "feed-1")
        producer.publish([trade(1)])
        until(lambda: read_watermark(config.archive_dir).archived_seq, "the first cut")
        made = 0
        try:
            while True:
                (few_inodes / f"data/ballast-{made}").touch()
                made += 1
        except OSError:
            pass
        producer.publish([trade(2)])
        until(lambda: any(a["what"] == "archive" for a in alerts(config)), lambda: f"{alerts(config)} {errors.read_text()}")
        said = next(a for a in alerts(config) if a["what"] == "archive")
        assert said["level"] == "critical" and "no inodes are left, though" in said["why"] and "free space" not in said["why"]
        # A look in between, while they were being made, may have found them low before they were gone.
        until(lambda: disk_alerts(config, "critical"), lambda: f"{alerts(config)}")
        critical = disk_alerts(config, "critical")[0]
        assert "inodes are free" in critical["why"] and "(every file takes one)" in critical["why"]
        assert critical["action"] == "everything is kept"
        room = free_of(config.source_dir)
        assert room.inodes == 0 and room.bytes > 40 << 20
        assert "inodes are free" in status.disk_room(config)["short"]
        processes["sequencer"].kill()
        processes["sequencer"].wait()
        errors.write_text("")
        start("sequencer")
        until(lambda: processes["sequencer"].poll() is not None, "it cannot begin")
        assert "no inodes are left" in errors.read_text() and "; free space" not in errors.read_text()
        for number in range(made):
            (few_inodes / f"data/ballast-{number}").unlink()
        start("sequencer")
        until(lambda: is_ready("sequencer"), lambda: errors.read_text())
        producer.publish([trade(3)])
        until(lambda: any(a["level"] == "info" and a["what"] == "archive" for a in alerts(config)), lambda: f"{alerts(config)}")
        for name in ("sequencer", "recorder"):
            processes[name].terminate()
            processes[name].wait(30)
        stored = [event.last_id for event in reader.events(config, kinds=[Kind.trade])]
        assert stored == [1, 2, 3]
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def test_what_is_short_is_named(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "bytes" in refusal(full, tmp_path) and "free space" in refusal(full, tmp_path)
    assert "quota" in refusal(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path)
    assert refusal(OSError(errno.EACCES, "Permission denied"), tmp_path) == "Permission denied; repair it or make it writable"
    disk = DiskSettings(low_bytes=100, critical_bytes=10, low_inodes=50, critical_inodes=5)
    both = judge(Room(), Free(99, 4), disk)
    assert both == (Space.low, Space.critical) and "99 bytes" in short(both, Free(99, 4), disk)
    assert "4 inodes are free, less than 5" in short(both, Free(99, 4), disk)
    assert judge(Room(), Free(1000, PLENTY), disk) == (Space.enough, Space.enough), "some file systems do not count inodes"
