"""What `mesh top` shows as lines and tables of text: the same on the screen and with --once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import TABLE, Lane
from tickmesh.tools.event_text import time_text
from tickmesh.tools.log_window import SECOND
from tickmesh.tools.status import strategy_state
from tickmesh.tools.terminal import JsonObject
from tickmesh.tools.verdict import DOWN, HEALTHY, LOOP_RESTARTS

REASONS_MAX = 2  # that the head shows; the rest is counted


class PanelRow(NamedTuple):
    """One line of a table. `key`: what it is about; `subject`: the process or strategy that keys act on, or ""."""

    key: str
    cells: tuple[str, ...]
    subject: str = ""


class Panel(NamedTuple):
    """One table. `name`: of its tab; `least`: columns that a narrow terminal loses first; `nothing`: shown without rows."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[PanelRow]
    nothing: str
    least: tuple[str, ...] = ()


def head(picture: JsonObject) -> list[str]:
    """The lines at the top: mode, verdict and log; money and kill switch; then what is wrong."""
    found, pnl = picture["status"], picture["pnl"]
    time_ = f"{datetime.fromtimestamp(picture['time_ns'] / SECOND, UTC):%H:%M:%S} UTC"
    if found is None:
        return [f"tickmesh  {time_}", f"trouble: {picture['trouble']}"]
    word, log = found["verdict"], found["log"]
    if not found["running"]:
        lines = [f"tickmesh  {time_}  mode {found['mode']}, source {found['source']}  NOT RUNNING: `mesh up` starts it"]
    else:
        age = f", {log['age_s']:.1f} s old" if log["age_s"] is not None else ""
        verdict = word if word in (HEALTHY, DOWN) else word.upper()
        mode = f"mode {found['mode'].upper() if found['mode'] == 'live' else found['mode']}, source {found['source']}"
        lines = [f"tickmesh  {time_}  {mode}  {verdict}", f"log {log['last_seq']}, {log['rate']:g}/s{age}"]
    if pnl is not None and found["running"]:
        switch = pnl["kill_switch"] or {}
        thrown = f"KILL SWITCH ON ({switch.get('why') or 'no reason given'})" if switch.get("on") else "kill switch off"
        profit = f"profit {pnl['profit']:.4f} {pnl['currency']}" if pnl["profit"] is not None else "profit not known"
        waiting = sum(one["open_orders"] for one in picture["positions"]["positions"].values())
        lines[-1] += f"  {profit}, {waiting} open orders, {thrown}"
    reasons = [f"{one['about']}: {one['why']}" for one in found["reasons"] if found["running"]]
    reasons = [*([f"trouble: {picture['trouble']}"] if picture["trouble"] else []), *reasons]
    more = f" (and {len(reasons) - REASONS_MAX} more)" if len(reasons) > REASONS_MAX else ""
    return [*lines, *(line + (more if place == REASONS_MAX - 1 else "") for place, line in enumerate(reasons[:REASONS_MAX]))]


def panels(picture: JsonObject) -> list[Panel]:
    """All tables, in the order of their keys 1 to 5."""
    return [_processes(picture), _topics(picture), _positions(picture), _orders(picture), _alerts(picture)]


def _processes(picture: JsonObject) -> Panel:
    """State and restarts as supervisord has them, heartbeat and lag as the log has them."""
    beats = {one["name"]: one for one in picture["processes"]}
    rows = []
    for node in (picture["status"] or {"nodes": []})["nodes"]:
        name, times = node["name"], node["restarts_last_minute"]
        beat = beats.get(name)
        state = f"CRASH LOOP ({times}/min)" if times >= LOOP_RESTARTS else node["state"]
        heartbeat = "-" if beat is None else f"{beat['heartbeat_age_s']:.1f} s" + (" STALE" if beat["stale"] else "")
        rows.append(PanelRow(name, (
            name, state, str(node["pid"] or "-"), _span(node["uptime_s"]), heartbeat,
            "-" if beat is None or beat["lag"] is None else str(beat["lag"]), str(node["restarts_left"]),
        ), name))  # fmt: skip
    columns = ("process", "state", "pid", "up", "heartbeat", "behind", "restarts left")
    return Panel("Processes", columns, rows, "No process of this mesh runs.", ("pid", "up"))


def _topics(picture: JsonObject) -> Panel:
    """Rates and lags as `mesh status` has them; what processes publish of themselves is in the table of processes."""
    rows = []
    for one in (picture["status"] or {"topics": []})["topics"]:
        if TABLE[Kind[one["topic"].partition(".")[0]]].lane is Lane.system:
            continue
        lag = f"{one['lag_ms']:.2f} ms" if one["lag_ms"] is not None else "-"
        age = f"{one['age_s']:.1f} s" + (" STALE" if one["stale"] else "")
        rows.append(PanelRow(one["topic"], (one["topic"], f"{one['rate']:.1f}", lag, age, str(one["last_seq"]))))
    return Panel("Topics", ("topic", "per s", "lag", "age", "last seq"), rows, "Nothing has come in lately.", ("last seq",))


def _positions(picture: JsonObject) -> Panel:
    """A row for each strategy and instrument, and one for each instrument in all."""
    rows: list[PanelRow] = []
    found, counted = picture["positions"], (picture["status"] or {}).get("trading") or {}
    for name, held in (found or {"strategies": {}})["strategies"].items():
        state = strategy_state(name, counted.get("strategies", {}).get(name, {}).get("state", ""))
        for subject, one in (held or {"-": None}).items():
            rows.append(PanelRow(f"{name} {subject}", (name or "(none)", state, subject, *_held(one)), name))
    for subject, one in sorted((found or {"positions": {}})["positions"].items()):
        rows.append(PanelRow(f"in all {subject}", ("in all", "", subject, *_held(one))))
    columns = ("strategy", "state", "instrument", "position", "at", "realised", "unrealised", "fees", "fills")
    return Panel("Positions", columns, rows, "The executor has published no position lately.", ("fills", "fees", "at"))


def _held(one: JsonObject | None) -> tuple[str, ...]:
    if one is None:
        return ("-",) * 6
    return (
        f"{one['position']:.8g}", f"{one['average_price']:.8g}", f"{one['realised']:.4f}", f"{one['unrealised']:.4f}",
        f"{one['fee_cost']:.4f}", str(one["fills"]),
    )  # fmt: skip


def _orders(picture: JsonObject) -> Panel:
    """Open orders first, then the newest that are over."""
    rows = []
    for one in picture["orders"]:
        status = one["status"] + (f" ({one['reason']})" if one["reason"] else "")
        rows.append(PanelRow(one["client_order_id"], (
            time_text(one["created_ns"])[:-6], one["instrument"], one["side"] or "-", one["quantity"], one["price"] or "market",
            one["filled"], status, one["strategy"] or "-",
        )))  # fmt: skip
    columns = ("at", "instrument", "side", "quantity", "price", "filled", "status", "strategy")
    return Panel("Orders", columns, rows, "No order has been made.", ("strategy", "filled"))


def _alerts(picture: JsonObject) -> Panel:
    """Troubles that go on first, then those that are over, the newest first."""
    alerts: list[Any] = sorted(
        (picture["status"] or {"alerts": []})["alerts"], key=lambda one: (not one["goes_on"], -one["seq"])
    )
    rows = []
    for one in alerts:
        state = "goes on" if one["goes_on"] else "over"
        what = one["what"].replace("_", " ")
        rows.append(PanelRow(f"{one['seq']}", (_span(one["age_s"]), one["level"], state, one["target"], what, one["why"])))
    return Panel("Alerts", ("ago", "level", "state", "about", "what", "why"), rows, "There is no trouble.", ("why",))


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
