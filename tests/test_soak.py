"""`make soak` says what grows: real processes that leak memory, descriptors or files fail it, and one that does not passes."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from bench.soak import Soak
from bench.soak_verdict import BYTES_AN_EVENT, SPAN_S_MIN, WARM_S, Sample, judge, judge_disk, slope
from tests.support.places import PROJECT
from tests.support.stored import Market, write_log

STEP_S = 10.0
LEAKER = """
import os, pathlib, sys
what, folder, kept = sys.argv[1], pathlib.Path(sys.argv[2]), []
for number, _ in enumerate(sys.stdin):
    if what == "memory":
        kept.append(bytearray(os.urandom(300_000)))
    elif what == "descriptors":
        kept.append(os.open("/dev/null", os.O_RDONLY))
    elif what == "files":
        for n in range(3):
            (folder / f"{number}-{n}").touch()
    print("done", flush=True)
"""


@pytest.mark.parametrize(
    ("leak", "told"),
    [
        ("memory", "anonymous_mb of leaker"),
        ("descriptors", "descriptors of leaker"),
        ("files", "files of mesh"),
        ("nothing", ""),
    ],
)
def test_a_planted_leak_is_found(tmp_path, leak, told):
    (tmp_path / "mesh.toml").write_text("")
    run = Soak(tmp_path, 0.0)
    write_log(run.config.log_dir, Market().mixed(20))
    child = subprocess.Popen([sys.executable, "-c", LEAKER, leak, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        (tmp_path / "run/ready").mkdir(parents=True)
        (tmp_path / "run/ready/leaker.json").write_text(json.dumps({"pid": child.pid, "wall_ns": 0}))
        for number in range(70):  # the clock is ours: one step is STEP_S
            child.stdin.write(b"more\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"done\n"
            run.sample(number * STEP_S)
    finally:
        child.kill()
        child.wait()
    result = run.result()
    assert result["ok"] is not bool(told), result
    assert len(result["wrong"]) == bool(told) and all(told in sentence for sentence in result["wrong"]), result["wrong"]
    assert {"anonymous_mb", "pss_mb", "rss_mb", "descriptors"} == set(result["slopes"]["leaker"])


INTERRUPTED = """
import sys
from pathlib import Path
from bench.soak import Soak, show
run = Soak(Path(sys.argv[1]), 1e6)
sample = run.sample
run.sample = lambda at_s: (sample(at_s), print("sampled", flush=True))
run.run()
show(run.result())
"""


def test_ctrl_c_ends_it_and_it_reports_what_it_saw(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    write_log(Soak(tmp_path, 0.0).config.log_dir, Market().mixed(20))
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "sampled\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "0 kills, 0 events in the log" in out and "nothing grows beyond its bound; ended early" in out
    assert "no life of disk, mesh was long enough to tell; it takes 10 minutes" in out


def test_ended_before_anything_was_seen_it_says_so(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    with pytest.raises(SystemExit, match="before it had seen anything"):
        Soak(tmp_path, 0.0).result()


def test_a_slope_is_that_of_lives_not_of_their_deaths():
    """Each life begins low, jumps while it warms up, and grows by 60 an hour; kills neither hide that nor make it up."""
    samples = []
    for life, begun in ((1, 0.0), (2, 800.0), (3, 1500.0)):
        for step in range(70):
            warming = 100.0 * min(step * STEP_S, WARM_S - 1) / WARM_S
            samples.append(Sample(begun + step * STEP_S, life, 1000.0 * life + warming + step * STEP_S / 60))
    found = slope(samples)
    assert found is not None and found.an_hour == pytest.approx(60.0, abs=0.5) and found.error < 0.1
    assert slope(samples[: int((WARM_S + SPAN_S_MIN) / STEP_S)]) is None, "too short to tell"


def test_noise_is_no_growth():
    rng = np.random.default_rng(4)
    for _ in range(20):
        samples = [Sample(step * STEP_S, 7, 50.0 + float(rng.normal(0, 2))) for step in range(180)]
        assert judge({("feed-1", "anonymous_mb"): samples})[1] == []
    leaking = [one._replace(value=one.value + 0.02 * one.at_s) for one in samples]  # 72 MB an hour below the same noise
    (sentence,) = judge({("feed-1", "anonymous_mb"): leaking})[1]
    assert sentence.startswith("anonymous_mb of feed-1 grow by")


@pytest.mark.parametrize("part", BYTES_AN_EVENT)
def test_a_part_of_the_disk_that_takes_more_for_an_event_is_told(part):
    first, events = dict.fromkeys(BYTES_AN_EVENT, 10**6), 1000
    last = {name: first[name] + int(bound * events) for name, bound in BYTES_AN_EVENT.items()}
    assert judge_disk(first, last, events)[1] == []
    (sentence,) = judge_disk(first, {**last, part: last[part] + events}, events)[1]
    assert sentence.startswith(f"{part} grew by")
