"""How `mesh status` looks to a person."""

from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import TABLE, Lane
from tickmesh.nodes.alerts.episodes import sentence
from tickmesh.tools.status import strategy_state
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import JsonObject, out
from tickmesh.tools.verdict import DOWN, HEALTHY, LOOP_RESTARTS, Finding, is_trouble

MODES = {
    "sim": "Mode sim: the local exchange's market and orders; no money.",
    "capture": "Mode capture: real venues are recorded; no orders.",
    "paper": "Mode paper: a real venue's market; orders are filled here, on paper; no money.",
    "testnet": "Mode testnet: market and orders of a venue's testnet; no money.",
    "live": "Mode LIVE: orders go to a real venue, with real money.",
}


def show(result: JsonObject) -> None:
    """Prints the status for a person."""
    if result["running"]:
        _show_running(result)
        out.print()
    _show_verdict(result)


def _show_verdict(result: JsonObject) -> None:
    """The last lines, which a terminal shows whatever its height: the verdict and every reason."""
    word, reasons = result["verdict"], [Finding(**reason) for reason in result["reasons"]]
    if not result["running"]:
        out.print(f"tickmesh is not running: {word}.", style="bold")
        reasons = [reason for reason in reasons if reason.why != "it is not running"]
    else:
        out.print({HEALTHY: "healthy.", DOWN: "down: nothing of it runs."}.get(word, f"{word}:"), style="bold")
    for reason in reasons:
        out.print(f"  {reason}", markup=False)
    if not result["running"]:
        out.print("`mesh up` starts it.")


def _state(node: JsonObject) -> str:
    times = node["restarts_last_minute"]
    return f"CRASH LOOP ({times} deaths in a minute)" if times >= LOOP_RESTARTS else node["state"]


def _show_trading(counted: JsonObject) -> None:
    if counted.get("positions"):
        table = TerminalTable(box=None, header_style="bold")
        for name in ("traded", "position", "at", "realised", "unrealised", "fills", "open"):
            table.add_column(name, no_wrap=name == "traded")
        for subject, one in sorted(counted["positions"].items()):
            table.add_row(
                subject, f"{one['position']:.8g}", f"{one['average_price']:.8g}", f"{one['realised']:.4f}",
                f"{one['unrealised']:.4f}", str(one["fills"]), str(one["open_orders"]),
            )  # fmt: skip
        out.print()
        out.print(table)
        fees = ", ".join(f"{amount:.8f} {asset}" for asset, amount in sorted(counted["fees"].items())) or "none"
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counted["refused"].items())) or "none"
        out.print(f"fees: {fees}; of {counted['signals']} strong signals refused: {refused}", markup=False)
    states = {name: strategy_state(name, one["state"]) for name, one in counted.get("strategies", {}).items()}
    if len(states) > 1 or set(states.values()) - {"live"}:
        said = ", ".join(f"{name or '(none)'} {state}" for name, state in states.items())
        out.print(f"strategies: {said}", markup=False)
    for subject, orders in counted.get("unlisted_orders", {}).items():
        what = f"{orders} open order{'s' if orders > 1 else ''} of ours, and executor.instruments does not list it (any more)"
        out.print(f"\n{subject}: {what}; the executor cancels them, and keeps its position", style="bold", markup=False)


def _show_session(seen: JsonObject) -> None:
    """What is on the account beside our own; nothing where there is nothing of it."""
    words = {
        "adopted": "orders adopted that the log did not know", "foreign": "reports of somebody else's orders",
        "contradictions": "reports that contradict an order's history",
    }  # fmt: skip
    for process, counts in seen.items():
        said = [f"{counts[name]} {what}" for name, what in words.items() if counts.get(name)]
        if said:
            out.print(f"seen by {process}: {', '.join(said)}", markup=False)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _memory(taken: JsonObject) -> str:
    """The memory of the whole mesh, in words."""
    measure = "shared pages counted once" if taken["is"] == "pss" else "shared pages counted in each process (RSS)"
    return f"memory: {_megabytes(taken['bytes'])}, {measure}; supervisord {_megabytes(taken['supervisord_bytes'])} of it"


def _show_running(result: JsonObject) -> None:
    names = ("node", "state", "pid", "uptime", "memory", "heartbeat", "behind", "restarts left")
    table = TerminalTable(*names, box=None, header_style="bold", least=("pid", "uptime", "memory"))
    for node in result["nodes"]:
        beat, uptime, lag = node["heartbeat_age_s"], node["uptime_s"], node["lag"]
        table.add_row(
            node["name"], _state(node), str(node["pid"] or "-"),
            f"{uptime} s" if uptime is not None else "-",
            _megabytes(node["memory_bytes"]) if node["memory_bytes"] else "-",
            f"{beat:.1f} s ago" if beat is not None else "-",
            f"{lag} events" if lag is not None else "-",
            str(node["restarts_left"]),
        )  # fmt: skip
    out.print(table)
    out.print(_memory(result["memory"]))
    out.print()
    table = TerminalTable("topic", "last seq", "per s", "lag", "age", box=None, header_style="bold", least=("last seq",))
    for topic in result["topics"]:
        if TABLE[Kind[topic["topic"].partition(".")[0]]].lane is Lane.system:
            continue  # what processes say of themselves is in the table above
        lag = topic["lag_ms"]
        table.add_row(
            topic["topic"], str(topic["last_seq"]), f"{topic['rate']:.1f}",
            f"{lag:.2f} ms" if lag is not None else "-",
            f"{topic['age_s']:.1f} s" + (" STALE" if topic["stale"] else ""),
        )  # fmt: skip
    out.print(table)
    if result["trading"]:
        _show_trading(result["trading"])
    if result["session"]:
        _show_session(result["session"])
    for why in result["paused"]:
        out.print(f"trading is paused: {why}", style="bold", markup=False)
    for one in result["instruments"]:
        if is_trouble(one):
            continue  # the verdict below has it
        out.print(f"\n{one['instrument']}: {one['why']}", style="bold", markup=False)
    if at := result["replay"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in at["not_served"].items())
        left_out = f"{sum(at['not_served'].values())} not served: {reasons}" if reasons else "all served"
        left_out += f"; not in the capture: {', '.join(at['not_in_capture'])}" if at["not_in_capture"] else ""
        ended = "; ended" if at["ended"] else ""
        out.print(f"\nreplay: at {at['position']} of {at['lines']} lines, {left_out}{ended}", markup=False)
    for alert in result["alerts"]:
        out.print(f"\n{sentence(alert)}", markup=False)
    if result["disk"]["short"]:
        out.print(f"\nDISK: {result['disk']['short']}", markup=False)
    log = result["log"]
    out.print(
        f"\nlog: {log['last_seq']} events, {log['rate']:g}/s, on disk up to {log['durable_seq']}, "
        f"archived up to {log['archived_seq']}; source {result['source']}"
    )
    if result["gateway"]:
        out.print(f"gateway: {result['gateway']} (docs/gateway.md)", markup=False)
        out.print(f"dashboard: {result['page']} (docs/dashboard.md)", markup=False, soft_wrap=True)
    out.print(MODES[result["mode"]], style="bold")
