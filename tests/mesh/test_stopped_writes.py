"""Writers are stopped inside every write, and their calls fail: after a restart everything opens, verifies and is complete."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.breaking.runs import trade
from tests.support.places import PROJECT
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import Producer
from tickmesh.storage.archive.reader import ArchiveReader

LONG = bool(os.environ.get("TICKMESH_LONG"))  # every call of every run with every fate, instead of a sample with every site

# What must be among the sites, in the issue's own words.
STEPS = {
    "log": {
        "appending": "LogWriter.append: write",
        "rolling": "LogWriter._roll of LogWriter.roll_if_full: rename",
        "syncing": "LogWriter._sync_segments of LogWriter._sync_now of LogWriter._sync_loop: fdatasync",
        "marking": "LogWriter._mark of LogWriter._sync_now",
        "owning": "write_file of LogWriter._recover of LogWriter.__init__: rename",
        "releasing": "release: unlink",
    },
    "sequencer": {
        "appending": "LogWriter.append of Publisher.append: write",
        "rolling": "roll_if_full of Sequencer.tick: rename",
        "outbox": "LogWriter.append of Outbox.append: write",
        "releasing": "release of Intake.release",
    },
    "recorder": {
        "archiving": "place of ArchiveWriter._write of ArchiveWriter._archive: write .N-N.h5",
        "naming": "ArchiveWriter._archive: rename N-N.h5",
        "laying aside": "ArchiveWriter._lay_aside of ArchiveWriter._archive: write",
        "joining": "merge_cut of ArchiveWriter._write",
        "manifest": "ArchiveWriter.publish of ArchiveWriter._write: rename watermark.json",
        "committing": "RecentWriter._commit: commit",
        "releasing": "release of Recorder.release",
        "beginning anew": "RecentWriter._wipe",
    },
    "checkpoint": {"checkpoint": "write_file of Checkpoint.save: rename"},
    "outbox": {
        "appending": "Outbox.append: write",
        "beginning anew": "LogWriter._recover of LogWriter.__init__ of Outbox.__init__: unlink",
    },
}
SAMPLE = {"log": 50, "sequencer": 30, "recorder": 1, "checkpoint": 20, "outbox": 30}  # at least each site once


def stops(run: str, mode: str, most: int) -> dict:
    words = [sys.executable, "-m", "tests.support.breaking.stops", run, mode, "7", str(0 if LONG else most)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("run", STEPS)
@pytest.mark.timeout(36_000 if LONG else 600)
def test_killed_at_every_step_it_loses_nothing(run):
    report = stops(run, "kill", SAMPLE[run])
    assert not report["failures"], "\n".join(report["failures"])
    for word, part in STEPS[run].items():
        assert any(part in site for site in report["sites"]), f"{word} was never seen: {sorted(report['sites'])}"
    assert report["killed"] + report["missed"] == report["trials"] >= len(report["sites"])
    assert report["missed"] <= report["trials"] // 5, "a step that did not come again proves nothing"


@pytest.mark.parametrize("run", STEPS)
@pytest.mark.timeout(36_000 if LONG else 600)
def test_a_disk_that_refuses_costs_nothing(run):
    """ENOSPC and EIO, once and for a while, at every step: it goes on, or ends with a sentence; nothing is lost."""
    report = stops(run, "fail", SAMPLE[run])
    assert not report["failures"], "\n".join(report["failures"])
    assert report["finished"] + sum(report["sentences"].values()) + report["missed"] >= report["trials"] - report["killed"]
    assert report["finished"] > 0 and not report["killed"]


SETTINGS = """
[log]
segment_bytes = 65536
outbox_segment_bytes = 65536
sync_ms = 5
keep_segments = 2
[recorder]
segment_s = 0.2
segment_events = 1000
commit_ms = 10
"""
SEQUENCER = [
    ("LogWriter._write_batch of LogWriter.append of Publisher.append: write N.seg", 40, "inside"),
    ("LogWriter._roll of LogWriter.roll_if_full of Sequencer.tick: rename N.seg", 1, "before"),
    ("LogWriter._mark of LogWriter._sync_now of LogWriter._sync_loop: write durable", 9, "inside"),
    ("LogWriter._roll of LogWriter.roll_if_full of Sequencer.tick: rename N.seg", 2, "after"),
]
RECORDER = [
    ("place of ArchiveWriter._write of ArchiveWriter._archive: write .N-N.h5.tmp", 2, "inside"),
    ("RecentWriter._commit: commit", 5, "before"),
    ("place of ArchiveWriter.publish of ArchiveWriter._write: rename watermark.json", 2, "before"),
    ("release of Recorder.release of Recorder.cut: unlink N.seg", 1, "after"),
]


class Armed:
    """A real node process that kills itself at one step after the other, and then lives."""

    def __init__(self, root: Path, name: str, steps: list[tuple[str, int, str]]):
        self.root, self.name, self.steps = root, name, list(steps)
        self.deaths = 0
        self.start()

    def start(self) -> None:
        site, nth, fate = self.steps[0] if self.steps else ("", 0, "before")
        words = [sys.executable, "-m", "tests.support.breaking.armed", str(self.root), site, str(nth), fate, self.name]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TICKMESH_ROOT": str(self.root)}
        self.process = subprocess.Popen(words, cwd=PROJECT, env=environment)

    def look(self) -> None:
        if (status := self.process.poll()) is not None:
            assert status == -signal.SIGKILL, f"{self.name} ended with {status} at {self.steps[:1]}"
            self.deaths += 1
            self.steps.pop(0)
            self.start()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0


@pytest.mark.mesh
def test_whole_processes_that_die_in_their_writes(tmp_path):
    """Sequencer and recorder, killed inside while a feed goes on talking; the independent judge has the last word."""
    (tmp_path / "mesh.toml").write_text(SETTINGS)
    config = load(tmp_path)
    producer = Producer(config, "feed-1")
    nodes = [Armed(tmp_path, "sequencer", SEQUENCER), Armed(tmp_path, "recorder", RECORDER)]
    try:
        deadline = time.monotonic() + 90
        while any(node.steps for node in nodes):
            assert time.monotonic() < deadline, [node.steps for node in nodes]
            producer.publish([trade(producer.number + 1)])
            time.sleep(0.002)
            for node in nodes:
                node.look()
        last = producer.number
        while not said_all(config, last):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for node in nodes:  # the sequencer first, as `mesh down` does
            ready = tmp_path / f"run/ready/{node.name}.json"
            while json.loads(ready.read_text())["pid"] != node.process.pid:
                time.sleep(0.02)
                assert time.monotonic() < deadline
            node.stop()
    finally:
        producer.close()
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                node.process.kill()
                node.process.wait()
    assert [node.deaths for node in nodes] == [len(SEQUENCER), len(RECORDER)]
    archive = ArchiveReader(config.archive_dir)
    assert [e.last_id for e in archive.events() if e.kind == Kind.trade] == list(range(1, last + 1))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TICKMESH_ROOT": str(tmp_path)}
    judge = subprocess.run(
        [sys.executable, "-m", "tickmesh.tools.cli", "verify", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert judge.returncode == 0, judge.stdout + judge.stderr


def said_all(config, last: int) -> bool:
    """Whether the newest trade is in the log."""
    log = LogReader(config.log_dir)
    return any(e.kind == Kind.trade and e.last_id == last for e in log.events(max(log.last - 300, log.first - 1)))
