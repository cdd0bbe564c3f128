"""Files with whatever done to them, through the exchange's own reading and serving, two receptions and the arbiter: no crash,
no hang, and no valid line that is neither stored nor named. (test_fuzz_captures.py begins at the feed, and asks the judge.)

TICKMESH_FUZZ_S: for how many seconds, instead of a few rounds; TICKMESH_FUZZ_SEED: where to begin (0). A failure names the
seed of its round.
"""

import gzip
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tests.support.mesh_run as run
from tests.support.capture_claims import FATES, account
from tests.support.capture_mutations import Damaged, damaged, small
from tests.support.capture_run import Outcome, run_capture
from tests.support.captures import DATA
from tickmesh.nodes.exchange.server.files import CaptureFiles

SECONDS = float(os.environ.get("TICKMESH_FUZZ_S") or 0)
SEED = int(os.environ.get("TICKMESH_FUZZ_SEED") or 0)
ROUND = 40  # examples of one seed
ROUNDS = 3  # where no time is given
EXAMPLE_S_MAX = 20.0
BASE_LINES = 3000
REAL = ("hftbacktest/spot/btcusdt_20240808.gz", "hftbt_playground/raw/spot/nexousdt_20240723.dat.gz", "hard/h1_hole100.gz")

pytestmark = pytest.mark.timeout(SECONDS + 300)


def beginning(path: Path) -> list[bytes]:
    with gzip.open(path) as lines:
        return [line.rstrip(b"\n") for line, _ in zip(lines, range(BASE_LINES))]


def bases() -> list[list[bytes]]:
    return [small(), *(beginning(DATA / name) for name in REAL if (DATA / name).exists())]


def outcome_of(data: bytes, pauses_ms: tuple[int, ...] = (0,), batch: int = 16) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="tickmesh-fuzz-") as folder:
        return run_capture(Path(folder), data, pauses_ms, batch)


def test_no_damage_crashes_hangs_or_hides_a_line(caplog):
    caplog.set_level(logging.CRITICAL, "exchange")
    fates: Counter = Counter()
    examples = 0
    failed: list[Exception] = []
    deadline = time.monotonic() + SECONDS
    found = bases()

    def one(file: Damaged, pauses_ms: list[int], batch: int) -> None:
        nonlocal examples
        began = time.monotonic()
        if SECONDS and began > deadline and not failed:
            return
        try:
            outcome = outcome_of(file.data, tuple(pauses_ms), batch)
            fates.update(account(file.lines, outcome))
            assert time.monotonic() - began < EXAMPLE_S_MAX, "it hangs, or nearly"
        except Exception as error:
            failed.append(error)  # it is to be made smaller, however long that takes
            raise
        examples += 1

    pauses = st.lists(st.sampled_from((0, 0, 1, 200, 1500)), min_size=1, max_size=4)
    usual = settings(max_examples=ROUND, derandomize=False, database=None, suppress_health_check=list(HealthCheck))
    seed = SEED
    while time.monotonic() < deadline if SECONDS else seed < SEED + ROUNDS:
        try:
            hypothesis.seed(seed)(usual(given(damaged(found), pauses, st.sampled_from((1, 7, 64)))(one)))()
        except Exception as error:
            error.add_note(f"TICKMESH_FUZZ_SEED={seed}, after {examples} examples")
            raise
        seed += 1
    print(f"{examples} damaged captures, seeds {SEED} to {seed - 1}: {dict(fates)}")
    assert examples >= 10 and fates["stored"] > 100
    assert set(fates) <= set(FATES)


@pytest.mark.mesh
def test_the_same_holds_through_real_processes(make_root):
    """One capture with a dozen things done to it: nothing dies of it, and each line is accounted for."""
    kept: list[Damaged] = []

    @hypothesis.seed(3)
    @settings(
        max_examples=12, derandomize=False, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(damaged(bases(), lines_max=1500, least=10, most=14))
    def draw(file: Damaged) -> None:
        kept.append(file)

    draw()
    file = next(file for file in kept if file.done[-1] == "whole" and len(set(file.done)) > 7)
    root = make_root("[log]\nhold_ms = 100\n")
    (root / "damaged.dat").write_bytes(file.data)
    run.ok(root, "mesh", "up", "--capture", "damaged.dat", "--speed", "0")
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}")
    survey = CaptureFiles([root / "damaged.dat"]).read_whole(root / "survey")

    def fates() -> Counter | None:
        outcome = Outcome()
        outcome.survey = survey
        outcome.duplicates = sys.maxsize
        outcome.log(event.raw for event in run.events(root))
        try:
            return account(file.lines, outcome)
        except AssertionError as error:
            wrong[:] = [str(error)]
            return None

    wrong: list[str] = []
    found = run.until(fates, lambda: f"{wrong}, {file}\n{run.logs(root)}", 30)
    assert found["stored"] > 100
    pids = {node["name"]: node["restarts_left"] for node in run.status(root)["nodes"]}
    assert set(pids.values()) == {run.config_of(root).sentinel.restarts_per_hour}, "nothing was restarted"
    run.ok(root, "mesh", "down")
