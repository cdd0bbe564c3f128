"""The sweep: a mesh under random kills and faults keeps everything, and the sweep notices when a recovery path is gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.chaos.figures import Figures
from tools.chaos.plan import CODA, FAULTS, FEEDS, VICTIMS, paths, plan
from tools.chaos.sweep import SWITCHES

pytestmark = pytest.mark.timeout(600)

KILLS = int(os.environ.get("TICKMESH_KILLS", "30"))
MESH = str(Path(sys.prefix) / "bin/mesh")


def sweep(folder, *words) -> tuple[int, dict]:
    done = subprocess.run(
        [MESH, "chaos", "--json", "--folder", str(folder / "mesh"), *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_plan_is_a_function_of_the_seed():
    assert plan(30, 7) == plan(30, 7) != plan(30, 8)
    strikes = plan(30, 7)
    killed = [name for strike in strikes for name in strike.kill]
    assert len(killed) == 30 and set(killed) == set(VICTIMS)
    assert any(strike.kill == FEEDS for strike in strikes)
    kinds = [{name: value for name, value in strike.fault.items() if name != "seed"} for strike in strikes if strike.fault]
    assert all(fault in kinds for fault in FAULTS)
    assert paths(strikes) == set(Figures([]).paths) > paths(plan(1, 7)) > paths([]), "30 kills use every path"
    assert [strike.at_s for strike in strikes] == sorted(strike.at_s for strike in strikes)
    assert all(set(strike.kill) <= {"recorder"} for strike in plan(5, 1, ["recorder"]))


@pytest.mark.mesh
def test_nothing_is_lost_and_the_ledger_is_true(tmp_path):
    code, result = sweep(tmp_path, "--kills", KILLS, "--seed", 1)
    assert code == 0 and result["ok"], result["wrong"]
    assert result["kills"] == KILLS and result["faults"] >= len(FAULTS) + len(CODA)
    ledger = result["judged"]["ledger"]
    assert ledger["trades"] > 500 and ledger["lost"] == ledger["duplicated"] == ledger["different"] == 0
    assert ledger["coverage_rows"] > 10 and ledger["coverage_books"] > 50
    assert len(result["paths"]) == 11 and all(used > 0 for used in result["paths"].values())


@pytest.mark.long
@pytest.mark.mesh
@pytest.mark.parametrize("off", SWITCHES)
def test_with_a_recovery_path_switched_off_the_sweep_fails(tmp_path, off):
    kills = 40 if off == "outbox" else 8  # what one death loses is often still in a socket's queue
    code, result = sweep(tmp_path, "--kills", kills, "--seed", 2, "--off", off)
    assert code == 1 and not result["ok"] and result["wrong"]
    if off not in ("line", "renewal", "respawn"):  # without those nothing is lost, it is only not what it should be
        assert [words for words in result["wrong"] if "never used" not in words], "what is wrong is in what it stored"
