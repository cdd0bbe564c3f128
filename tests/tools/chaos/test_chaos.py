"""The sweep: a mesh under random kills and faults keeps everything, and the sweep notices when a recovery path is gone."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import tests.support.mesh_run as run
from tickmesh.bus.schema import Flag, Kind
from tickmesh.tools.chaos.figures import Figures, LogPace
from tickmesh.tools.chaos.market import instruments_of
from tickmesh.tools.chaos.plan import (
    ANEW,
    CLOCKS,
    CODA,
    ERA_EVERY_S,
    FAULTS,
    FEEDS,
    USDM_FEEDS,
    VICTIMS,
    coda,
    on_host,
    plan,
    required_paths,
)
from tickmesh.tools.chaos.sweep import SWITCHES
from tickmesh.tools.cli import OFF

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
    assert all(fault in kinds for fault in (*FAULTS, ANEW))
    assert all(clock in [strike.clock for strike in strikes] for clock in CLOCKS)
    assert [strike.tmpfs for strike in (*strikes, *CODA) if strike.tmpfs] == ["fill", "empty"] * 2
    assert required_paths(strikes) == set(Figures([]).paths) > required_paths(plan(1, 7)) > required_paths([]), (
        "30 kills use every path"
    )
    assert [strike.at_s for strike in strikes] == sorted(strike.at_s for strike in strikes)
    assert all(set(strike.kill) <= {"recorder"} for strike in plan(5, 1, ["recorder"]))
    assert {name for strike in coda(["feed-binance-1"]) for name in strike.kill} == {"feed-binance-1"}
    both = [strike for strike in plan(5, 3) if "sequencer" in strike.kill]
    assert "other_line" not in required_paths(on_host(both)), "the other line's host died with this one"
    hosted = on_host(strikes)
    assert [strike._replace(kill=()) for strike in hosted] == [strike._replace(kill=()) for strike in strikes]
    assert {name for strike in hosted for name in strike.kill} == set(VICTIMS) - {"feed-binance-1"}
    assert all(len(set(strike.kill)) == len(strike.kill) > 0 for strike in on_host(CODA) if strike.kill), "once each"
    assert ("sequencer", "feed-binance-2") in [strike.kill for strike in hosted], "both lines at once"
    begun = [strike.at_s for strike in plan(1000, 7) if strike.fault.get("kind") == "anew"]
    assert len(begun) > 5 and min(later - before for before, later in pairwise(begun)) >= ERA_EVERY_S


def test_a_sweep_of_many_instruments_is_about_both_venues():
    """Each instrument once, one halted and one unknown; the feeds of the second venue die alone, together, and in the coda."""
    few, many = instruments_of(2), instruments_of(20)
    assert [one.subject for one in few] == ["binance.BTCUSDT", "binance.ETHUSDT", "binance.FOOUSDT"]
    assert many[:3] == few and len({one.subject for one in many}) == 21
    assert Counter(one.venue for one in many if not one.silent) == {"binance": 10, "binance_usdm": 9}
    victims = (*VICTIMS, *USDM_FEEDS)
    kills = [strike.kill for strike in plan(13, 1, victims) if strike.kill]
    assert {FEEDS, USDM_FEEDS} <= set(kills) and {name for kill in kills for name in kill} == set(victims)
    assert set(USDM_FEEDS) <= {name for strike in coda(victims) for name in strike.kill}


def test_the_help_names_every_switch():
    assert OFF.split(", ") == list(SWITCHES)


@pytest.mark.mesh
def test_a_sweep_that_is_ended_leaves_no_mesh(tmp_path):
    """By SIGTERM, which tools/terminal.py makes a Ctrl-C of: the way of both."""
    folder = tmp_path / "mesh"
    process = subprocess.Popen([MESH, "chaos", "--folder", str(folder)], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        run.until(lambda: run.ready(folder, "feed-binance-1") and run.ready(folder, "recorder"), "the sweep's mesh runs", 60)
        pids = [int(path.read_text()) for path in folder.glob("run/*.pid")]
        pids += [int(json.loads(path.read_text())["pid"]) for path in folder.glob("run/ready/*.json")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    finally:
        process.kill()
    assert len(pids) > 3
    run.until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "supervisord is the last to go", 20)


class Said(NamedTuple):
    """What Pace reads of a live event."""

    seq_ns: int
    venue_ns: int
    seq: int = 1
    kind: int = Kind.trade
    flags: int = 0


def test_a_log_whose_time_does_not_go_as_the_venue_s_is_found():
    def heard(change, said_s: float = 0.0) -> list[str]:
        """Ten minutes of ten trades a second, 20 ms on their way; `change` is what the log's clock does after five."""
        pace = LogPace()
        for tenth in range(6000):
            venue_s = 1000 + tenth / 10
            if tenth == 3000:
                pace.moved_ns += int(said_s * 1e9)
            late_s = 8.0 if 1000 < tenth < 1040 else 0.02  # the sequencer was away
            seq_s = venue_s + late_s + (change(venue_s - 1300) if tenth >= 3000 else 0)
            pace.take(Said(int(seq_s * 1e9), int(venue_s * 1e9)))
        return pace.wrong

    assert heard(lambda passed_s: 0.0) == []
    assert heard(lambda passed_s: 3600.0, said_s=3600.0) == []
    assert heard(lambda passed_s: 3600.0), "a step that nobody says"
    assert heard(lambda passed_s: 0.0, said_s=3600.0), "one that was said and not done"
    assert heard(lambda passed_s: -passed_s), "it stands still"
    assert heard(lambda passed_s: -passed_s / 20), "it is slow"
    pace = LogPace()
    for flag in (Flag.REPAIRED, Flag.SNAPSHOT):
        pace.take(Said(10**12, 1, flags=flag))
    assert not pace.wrong, "what is fetched says nothing of the time"


@pytest.mark.mesh
def test_nothing_is_lost_and_the_ledger_is_true(tmp_path):
    code, result = sweep(tmp_path, "--kills", KILLS, "--seed", 1)
    assert code == 0 and result["ok"], result["wrong"]
    assert result["kills"] == KILLS + sum(len(strike.kill) for strike in coda(VICTIMS))
    assert result["faults"] > len(FAULTS) + sum(bool(strike.fault) for strike in CODA)
    assert result["clock_faults"] >= len(CLOCKS) + 3
    ledger = result["judged"]["ledger"]
    assert ledger["trades"] > 500 and ledger["lost"] == ledger["duplicated"] == ledger["different"] == 0
    assert ledger["coverage_rows"] > 10 and ledger["coverage_books"] > 50
    assert ledger["eras"] >= 3 and ledger["changes_checked"] > 1000
    assert len(result["paths"]) == 17 and all(used > 0 for used in result["paths"].values())


@pytest.mark.long
@pytest.mark.mesh
@pytest.mark.parametrize("off", SWITCHES)
def test_with_a_recovery_path_switched_off_the_sweep_fails(tmp_path, off):
    kills = 40 if off == "outbox" else 8  # what one death loses is often still in a socket's queue
    code, result = sweep(tmp_path, "--kills", kills, "--seed", 2, "--off", off)
    assert code == 1 and not result["ok"] and result["wrong"]
    if off not in ("line", "renewal", "respawn", "unknown"):  # without those nothing is lost, it is only not what it should be
        assert [words for words in result["wrong"] if "never used" not in words], "what is wrong is in what it stored"
