"""The sweep of orders: trading under kills and faults loses and doubles nothing, and what is switched off is noticed."""

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.config import load
from tickmesh.bus.settings_trading import Style
from tickmesh.tools.chaos.orders_coda import SCENES, coda
from tickmesh.tools.chaos.orders_figures import PATHS
from tickmesh.tools.chaos.orders_plan import FAULTS, guests_of, on_host, plan, victims_of
from tickmesh.tools.chaos.orders_settings import STRATEGIES, STYLES, SYMBOLS, VENUES, order_settings

pytestmark = pytest.mark.timeout(900)

KILLS = int(os.environ.get("TICKMESH_KILLS", "30"))
MESH = str(Path(sys.prefix) / "bin/mesh")
SWITCHED_OFF = PROJECT / "tests/support/switched_off"


@cache
def loaded() -> ModuleType:
    """What switches off; the file is no module of ours: every Python that has its folder on its path loads it."""
    spec = importlib.util.spec_from_file_location("switches", SWITCHED_OFF / "sitecustomize.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def switches() -> dict:
    """What can be switched off: the module that it changes, and how."""
    return loaded().PATHS


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
    drawn = [set(strike.kill) for strike in plan(200, 7, VENUES) if strike.kill][len(victims_of(VENUES)) + 1 :]
    assert all(not one & after for one, after in zip(drawn, drawn[1:])), "nobody has to be waited for"


def test_the_coda_leads_to_every_recovery_path_that_a_kill_alone_does_not():
    for scene in SCENES:
        assert [strike.at_s for strike in scene.strikes] == sorted(strike.at_s for strike in scene.strikes), scene.name
    led_to = [path for scene in SCENES for path in scene.paths]
    assert len(set(led_to)) == len(led_to)
    # The others come of trading itself, and of the orderly stop at the end
    assert set(PATHS) - set(led_to) == {"amended", "repriced", "cancelled_at_stop"}
    killed = [set(strike.kill) for scene in coda(VENUES) for strike in scene.strikes if "session" in strike.kill]
    assert killed and all("session-binance_usdm" in names for names in killed), "of all venues"


def test_the_sweep_s_mesh_has_three_instruments_three_strategies_and_limits(tmp_path):
    (tmp_path / "mesh.toml").write_text(order_settings(1))
    config = load(tmp_path)
    assert [one.subject for one in config.traded] == [f"{venue}.{symbol}" for venue in VENUES for symbol in SYMBOLS]
    assert sorted(one.name for one in config.strategies_resolved) == list(STRATEGIES)
    assert config.risk.open_orders_max and config.risk.notional_max and config.session.on_stop == "cancel"
    assert len({one.sizings for one in config.strategies_resolved}) == 2, "by worth, and by a target"
    used = {style for one in config.strategies_resolved for style in one.styles}
    assert used == set(STYLES) == set(get_args(Style)), "all styles there are"


def test_every_third_seed_hosts_executor_and_sessions_and_strikes_their_host(tmp_path):
    assert [seed for seed in range(1, 10) if guests_of(seed, VENUES)] == [3, 6, 9]
    guests = guests_of(3, VENUES)
    strikes = [*on_host(plan(30, 3, VENUES), guests), *(one for scene in coda(VENUES, guests) for one in scene.strikes)]
    killed = [strike.kill for strike in strikes if strike.kill]
    assert all(len(set(names)) == len(names) for names in killed), "each once in a strike"
    assert not set(guests) & {name for names in killed for name in names} and ("sequencer",) in killed
    assert "outbox_tail" not in {path for scene in coda(VENUES, guests) for path in scene.paths}
    (tmp_path / "mesh.toml").write_text(order_settings(3, hosted=True))
    assert load(tmp_path).host == ("executor", "session")


@pytest.mark.parametrize("without", switches())
def test_what_a_switch_replaces_is_there(without):
    """A switch that replaces nothing would break the process that loads it, and its sweep would fail for another reason."""
    name, change = switches()[without]
    file = Path(importlib.util.find_spec(name).origin)
    spec = importlib.util.spec_from_file_location("copy_of_it", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        change(module)
        assert loaded().replaced() > 0
    finally:
        loaded().take_back()


@pytest.mark.mesh
def test_no_order_is_lost_or_doubled_whatever_dies(tmp_path):
    code, result = sweep(tmp_path, KILLS, 1)
    assert code == 0 and result["ok"], result["wrong"]
    assert result["kills"] >= KILLS + sum(len(strike.kill) for scene in coda(VENUES) for strike in scene.strikes)
    ledger = result["judged"]["ledger"]
    assert ledger["requests_checked"] > 200 and ledger["fills_checked"] > 50 and ledger["balances_checked"] >= 5
    assert ledger["parents_checked"] > 100 and ledger["amends_checked"] > 0 and ledger["limits_in_all_checked"] > 0
    for name in ("sent_twice", "sent_early", "sent_after_stop", "order_unknown", "intent_open", "limit_exceeded", "balance"):
        assert ledger[name] == 0
    assert set(result["styles"]) == set(STYLES) and all(filled > 0 for filled in result["styles"].values())
    assert set(result["paths"]) == set(PATHS) and all(used > 0 for used in result["paths"].values())
    words = [MESH, "compare", "--at", str(tmp_path / "mesh"), "--quotes", "--no-fit", "--json"]
    again = json.loads(subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True).stdout)
    assert again["filled_live"] > 20 and again["share"] >= 0.95, [one for one in again["rows"] if one["outcome"] != "same"]


# By which words a sweep has to say that it misses what was switched off; the others: `recovery path NAME was never used`.
NOTICED = {
    "query": "it has no end", "absent": "found_absent", "trades": "fill_by_query", "adopt": "adopted", "pause": "order_pause",
    "expiry": "expired_unsent", "cancel_waiting": "cancelled_unsent", "cancel_again": "cancelled_again",
    "strays": "strays_cancelled", "stop": "cancelled_at_stop", "strategy": "strategy_switched", "amend": "amended",
    "reprice": "repriced", "reconcile": "were answered", "repeated": "twice", "kill_switch": "the kill switch",
    "limit": "position_notional is 180",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.mesh
@pytest.mark.parametrize("without", switches())
def test_with_a_recovery_path_switched_off_the_sweep_of_orders_fails(tmp_path, without):
    code, result = sweep(tmp_path, 8, 2, without)
    assert code == 1 and not result["ok"]
    assert any(NOTICED.get(without, without) in sentence for sentence in result["wrong"]), result["wrong"]
