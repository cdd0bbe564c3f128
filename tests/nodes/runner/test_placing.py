"""`[latency]`: which cores and which priority a process takes, and what is refused."""

import asyncio
import ctypes
import itertools
import json
import os
import resource
import selectors
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tickmesh.bus import spinning
from tickmesh.bus.config import ConfigError, load
from tickmesh.nodes.process_table import hot_path
from tickmesh.nodes.runner.cores import cores_of
from tickmesh.nodes.runner.placing import CORES, NO_RIGHT
from tickmesh.tools.diagnosis.hot_path import CAP_SYS_NICE

PR_CAPBSET_DROP = 24  # of prctl(2)
HOT = ["sequencer", "feed-binance-1", "executor"]
EIGHT = range(8)


def placed(pin, names=(*HOT, "recorder"), allowed=EIGHT):
    return [sorted(cores_of(name, HOT, pin, allowed)) for name in names]


def test_each_of_the_hot_path_has_a_core_of_its_own_where_there_are_enough_and_others_stay_off_them():
    assert placed((5, 2, 3)) == [[5], [2], [3], [0, 1, 4, 6, 7]]
    assert placed("auto") == [[7], [6], [5], [0, 1, 2, 3, 4]]
    assert placed(()) == [list(EIGHT)] * 4


def test_where_cores_are_few_they_are_shared_and_nobody_is_left_without_one():
    assert placed((6, 7)) == [[6, 7], [6, 7], [6, 7], [0, 1, 2, 3, 4, 5]]
    assert placed("auto", allowed=[2, 3]) == [[3], [3], [3], [2]]
    assert placed("auto", allowed=[4]) == [[4]] * 4, "of one core nothing can be kept"
    assert placed((0, 1), allowed=[0, 1])[-1] == [0, 1], "the others need some"


def test_a_core_that_is_not_there_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"latency.pin = \[1, 9\] is impossible: there is no core 9 for it; allowed: 0, 1"):
        placed((1, 9), allowed=[1, 0])


PROCESS = """
import json, os, sys, threading
from pathlib import Path
from tickmesh.bus.config import load
from tickmesh.bus.operator_log import set_up
from tickmesh.nodes.runner.placing import place
set_up(["-".join(filter(None, sys.argv[2:]))])
place(load(Path(sys.argv[1])), *sys.argv[2:])
found = []
thread = threading.Thread(target=lambda: found.append((sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0))))
thread.start(); thread.join()
print(json.dumps(found[0]))
"""


def process(root, settings, node, instance="", cores="", limit=None):
    """(cores, policy) of a thread of a process that has taken its place, and what it wrote for the operator."""
    (root / "mesh.toml").write_text(settings)
    environment = {**os.environ, **({CORES: cores} if cores else {})}
    words = [sys.executable, "-c", PROCESS, str(root), node, instance]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, preexec_fn=limit)
    return tuple(json.loads(done.stdout)), done.stderr


def test_a_process_takes_its_core_also_where_who_started_it_is_kept_off_it(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core: nothing can be kept for anybody")
    pinned = f"[latency]\npin = [{cores[-1]}]"
    (mine, _), wrote = process(tmp_path, pinned, "feed", "1")
    assert mine == cores[-1:] and f"runs on core {cores[-1]} alone" in wrote
    assert process(tmp_path, pinned, "gateway")[0][0] == cores[:-1]
    assert process(tmp_path, "", "feed", "1")[0][0] == cores

    def as_a_sentinels_child():
        os.sched_setaffinity(0, cores[:-1])

    inherited = ",".join(map(str, cores))
    assert process(tmp_path, pinned, "sequencer", cores=inherited, limit=as_a_sentinels_child)[0][0] == cores[-1:]


def test_without_the_right_to_go_first_a_process_says_so_and_goes_on(tmp_path):
    def powerless():
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE)  # root's; others have none, and may not drop it either

    (_, policy), wrote = process(tmp_path, "[latency]\nrealtime = true", "sequencer", limit=powerless)
    assert policy == os.SCHED_OTHER and NO_RIGHT in wrote
    (_, policy), wrote = process(tmp_path, "[latency]\nrealtime = true", "recorder", limit=powerless)
    assert policy == os.SCHED_OTHER and not wrote, "it is nothing that a tick waits for"


def test_who_is_hosted_has_the_place_of_the_sequencer(tmp_path):
    (tmp_path / "mesh.toml").write_text('host = ["feed-1", "model"]')
    assert hot_path(load(tmp_path)) == ["sequencer", "feed-binance-2", "executor", "session"]


class SleeplessSelector(selectors.DefaultSelector):
    """Counts how often a loop only looks for what has come; where it would sleep, `asleep` is done instead."""

    looks = 0
    asleep: "asyncio.Future[None]"

    def select(self, timeout=None):
        if timeout == 0:
            self.looks += 1
        else:
            self.asleep.set_result(None)
        return super().select(0)


def test_a_loop_looks_for_more_for_a_while_and_sleeps_then(monkeypatch):
    now_us = itertools.count()  # each look takes a microsecond
    monkeypatch.setattr(spinning, "time", SimpleNamespace(monotonic_ns=lambda: next(now_us) * 1000))
    selector = SleeplessSelector()

    async def one_event():
        awake = spinning.spinning_of(10)
        assert awake is not None and spinning.spinning_of(0) is None
        awake.go_on()
        awake.go_on()  # two events are one wait
        selector.looks, selector.asleep = 0, asyncio.get_running_loop().create_future()
        await selector.asleep
        return awake, selector.looks

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        awake, looks = runner.run(one_event())
    assert awake.looks == 9 and looks == 10 and not awake.awake, "it looks as long as it is to, and sleeps then"
