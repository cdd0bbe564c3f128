"""What `mesh top` shows of a mesh that is down, does not trade, or is in trouble, without a mesh."""

from typing import Any

from tickmesh.nodes.alerts.episodes import LEVELS
from tickmesh.tools.top.panels import head, panels

NOTHING: dict[str, Any] = {
    "time_ns": 1_767_225_600 * 10**9, "trouble": "", "status": None, "processes": [], "topics": [], "positions": None,
    "pnl": None, "orders": [], "fills": [],
}  # fmt: skip
LOG = {"last_seq": 4711, "durable_seq": 4700, "archived_seq": 0, "rate": 131.4, "age_s": 0.02}
STATUS: dict[str, Any] = {
    "running": True, "verdict": "healthy", "reasons": [], "mode": "sim", "source": "sim", "nodes": [], "topics": [],
    "trading": None, "alerts": [], "log": LOG,
}  # fmt: skip
HELD = {"position": 0.5, "average_price": 60000.0, "realised": 1.0, "unrealised": -2.0, "fee_cost": 0.25, "fills": 7}
PNL = {"profit": -1.25, "currency": "USDT", "kill_switch": {"on": False, "why": ""}}
POSITIONS = {
    "positions": {"binance.BTCUSDT": {**HELD, "open_orders": 3}},
    "strategies": {"fast": {"binance.BTCUSDT": HELD}, "idle": {}},
}


def shown(name: str, **picture: Any) -> list[tuple[str, ...]]:
    found = next(one for one in panels({**NOTHING, **picture}) if one.name == name)
    assert all(len(row.cells) == len(found.columns) for row in found.rows)
    return [row.cells for row in found.rows]


def test_a_mesh_that_cannot_be_looked_at_or_is_down():
    assert head({**NOTHING, "trouble": "mesh.toml is wrong"})[1] == "trouble: mesh.toml is wrong"
    lines = head({**NOTHING, "status": {**STATUS, "running": False, "verdict": "down", "log": {}}, "pnl": PNL})
    assert len(lines) == 1 and "NOT RUNNING" in lines[0] and "profit" not in lines[0], "what was is not what is"
    assert [(one.name, len(one.rows)) for one in panels(NOTHING)] == [
        (name, 0) for name in ("Processes", "Topics", "Positions", "Orders", "Alerts")
    ]


def test_the_head_has_verdict_money_and_kill_switch_and_no_more_reasons_than_have_room():
    lines = head({**NOTHING, "status": STATUS, "pnl": PNL, "positions": POSITIONS})
    assert len(lines) == 2 and "healthy" in lines[0]
    assert lines[1] == "log 4711, 131.4/s, 0.0 s old  profit -1.2500 USDT, 3 open orders, kill switch off"
    reasons = [{"about": f"feed-{one}", "why": "it is not heard of", "do": ""} for one in range(5)]
    thrown = {**PNL, "kill_switch": {"on": True, "why": "a test"}}
    lines = head(
        {**NOTHING, "status": {**STATUS, "verdict": "degraded", "reasons": reasons}, "pnl": thrown, "positions": POSITIONS}
    )
    assert "DEGRADED" in lines[0] and "KILL SWITCH ON (a test)" in lines[1]
    assert lines[2:] == ["feed-0: it is not heard of", "feed-1: it is not heard of (and 3 more)"]


def test_a_process_without_a_heartbeat_and_one_with_an_old_one():
    node = {"state": "RUNNING", "pid": 7, "uptime_s": 7200, "restarts_left": 4, "restarts_last_minute": 0}
    nodes = [{**node, "name": "recorder"}, {**node, "name": "executor", "restarts_last_minute": 3}]
    beats = [{"name": "executor", "heartbeat_age_s": 12.34, "stale": True, "lag": 5}]
    assert shown("Processes", status={**STATUS, "nodes": nodes}, processes=beats) == [
        ("recorder", "RUNNING", "7", "2 h", "-", "-", "4"),
        ("executor", "CRASH LOOP (3/min)", "7", "2 h", "12.3 s STALE", "5", "4"),
    ]


def test_positions_by_strategy_and_in_all():
    trading = {"strategies": {"fast": {"state": "live"}, "idle": {"state": "off"}}}
    rows = shown("Positions", status={**STATUS, "trading": trading}, positions=POSITIONS)
    assert [row[:4] for row in rows] == [
        ("fast", "live", "binance.BTCUSDT", "0.5"), ("idle", "off", "-", "-"), ("in all", "", "binance.BTCUSDT", "0.5"),
    ]  # fmt: skip


def test_troubles_that_go_on_come_first():
    one = {"age_s": 90, "level": LEVELS[1], "target": "binance", "what": "stale_stream", "why": "nothing came"}
    alerts = [{**one, "seq": seq, "goes_on": seq == 2} for seq in (1, 2, 3)]
    rows = shown("Alerts", status={**STATUS, "alerts": alerts})
    assert [row[2] for row in rows] == ["goes on", "over", "over"] and rows[0][4] == "stale stream"
