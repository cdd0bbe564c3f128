"""The sweep of orders: trading under kills and faults loses and doubles nothing, and what is switched off is noticed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.config import load
from tickmesh.tools.chaos.orders_figures import PATHS
from tickmesh.tools.chaos.orders_plan import CODA, FAULTS, coda, plan, victims_of
from tickmesh.tools.chaos.orders_settings import STRATEGIES, SYMBOLS, VENUES, order_settings

pytestmark = pytest.mark.timeout(900)

KILLS = int(os.environ.get("TICKMESH_KILLS", "30"))
MESH = str(Path(sys.prefix) / "bin/mesh")
SWITCHED_OFF = PROJECT / "tests/support/switched_off"


def switches() -> dict:
    """What can be switched off; the file is no module of ours: every Python that has its folder on its path loads it."""
    spec = importlib.util.spec_from_file_location("switches", SWITCHED_OFF / "sitecustomize.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PATHS


def sweep(folder: Path, kills: int, seed: int, without: str = "") -> tuple[int, dict]:
    """Runs a sweep; gives its exit status and what it printed."""
    words = [MESH, "chaos", "--orders", "--json", "--folder", str(folder / "mesh"), "--kills", str(kills), "--seed", str(seed)]
    more = {"PYTHONPATH": str(SWITCHED_OFF), "TICKMESH_WITHOUT": without} if without else {}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=880, env={**os.environ, **more})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_plan_of_orders_is_a_function_of_the_seed():
    assert plan(30, 7) == plan(30, 7) != plan(30, 8)
    strikes = plan(30, 7, VENUES)
    killed = [name for strike in strikes for name in strike.kill]
    assert len(killed) == 30 and set(killed) == set(victims_of(VENUES))
    kinds = [{name: value for name, value in strike.fault.items() if name != "seed"} for strike in strikes if strike.fault]
    assert all(fault in kinds for fault in FAULTS), "each fault at least once"
    assert [strike.at_s for strike in strikes] == sorted(strike.at_s for strike in strikes)
    assert [strike.at_s for strike in CODA] == sorted(strike.at_s for strike in CODA)


def test_the_sweep_s_mesh_has_three_instruments_three_strategies_and_limits(tmp_path):
    (tmp_path / "mesh.toml").write_text(order_settings(1))
    config = load(tmp_path)
    assert [one.subject for one in config.traded] == [f"{venue}.{symbol}" for venue in VENUES for symbol in SYMBOLS]
    assert sorted(one.name for one in config.strategies_resolved) == list(STRATEGIES)
    assert config.risk.open_orders_max and config.risk.notional_max and config.session.on_stop == "cancel"
    assert len({one.sizings for one in config.strategies_resolved}) == 2, "by worth, and by a target"


@pytest.mark.mesh
def test_no_order_is_lost_or_doubled_whatever_dies(tmp_path):
    code, result = sweep(tmp_path, KILLS, 1)
    assert code == 0 and result["ok"], result["wrong"]
    assert result["kills"] == KILLS + sum(len(strike.kill) for strike in coda(VENUES))
    ledger = result["judged"]["ledger"]
    assert ledger["requests_checked"] > 200 and ledger["fills_checked"] > 50 and ledger["balances_checked"] >= 5
    for name in ("sent_twice", "sent_early", "sent_after_stop", "order_unknown", "intent_open", "limit_exceeded", "balance"):
        assert ledger[name] == 0
    assert set(result["paths"]) == set(PATHS) and all(used > 0 for used in result["paths"].values())


@pytest.mark.long
@pytest.mark.mesh
@pytest.mark.parametrize("without", switches())
def test_with_a_recovery_path_switched_off_the_sweep_of_orders_fails(tmp_path, without):
    code, result = sweep(tmp_path, 8, 2, without)
    assert code == 1 and not result["ok"] and result["wrong"]
