"""`mesh kill-switch`: throws and lifts it, also while the log takes nothing; says who threw it, why, and what is still open."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tickmesh.bus.clock import follow, now_ns
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.nodes.orders.commanding import CommandFailure, switch_kill
from tickmesh.nodes.orders.commands import content_of
from tickmesh.tools import terminal, trading
from tickmesh.tools.log_window import SECOND, read_window
from tickmesh.tools.paused import lost, paused_because


def switch(on: bool, why: str) -> terminal.JsonObject:
    """Throws or lifts the kill switch. `seq`: None where the log does not take it (yet).

    Raises terminal.Failure where neither file nor log can be written, and for a switch that cannot be lifted.
    """
    try:
        done = switch_kill(trading.trading_config(), on, why)
    except CommandFailure as failure:
        raise terminal.Failure(str(failure)) from None
    return {"seq": done.seq, **content_of(done.command), "not_logged": done.not_logged, "emergency": done.emergency}


def state() -> terminal.JsonObject:
    """Whether it is on, by whom, why, since when; the file; what is open by the executor's newest word; what is lost."""
    config = trading.trading_config()
    follow(config.log_dir)
    window = read_window(config)
    counted = trading.newest_counts(window) or {}
    path = config.run_dir / KILL_SWITCH_FILE
    known: Mapping[str, Any] = counted.get("kill_switch", {"on": None, "since_ns": 0, "by": "", "why": ""})
    open_orders = {name: one["open_orders"] for name, one in counted.get("positions", {}).items() if one["open_orders"]}
    file = path.exists()
    return {
        **known, "file": file, "file_why": path.read_text(errors="replace").strip() if file else "",
        "open": open_orders if counted else None, "lost": lost(config, window, now_ns()),
    }  # fmt: skip


def show_switched(result: terminal.JsonObject) -> None:
    """Prints what throwing or lifting it did."""
    if result["seq"] is not None:
        trading.show_command({name: value for name, value in result.items() if name not in ("not_logged", "emergency")})
        return
    print_plain = terminal.out.print
    print_plain(f"the file run/{KILL_SWITCH_FILE} is written; the log does not have it: {result['not_logged']}", markup=False)
    emergency = result["emergency"]
    if emergency is None:
        print_plain(
            "a sentinel acts on the file: it cancels what is open at the venue; see run/logs/sentinel-1.log", markup=False
        )
    elif emergency["left"]:
        print_plain(
            f"no sentinel lives, and what is open at the venue could not be cancelled: {emergency['why']}", markup=False
        )
    else:
        print_plain(
            f"no sentinel lives: {emergency['cancelled']} orders were cancelled at the venue, none is open", markup=False
        )


def show_state(result: terminal.JsonObject) -> None:
    """Prints the state of the kill switch."""
    if result["on"] is None:
        said = "not known: the executor has said nothing lately"
    elif result["on"]:
        said = f"on since {_time(result['since_ns'])}: {result['why'] or 'no reason was given'} (by {result['by']})"
    else:
        said = "off"
    terminal.out.print(f"the kill switch is {said}", markup=False)
    if result["file"]:
        why = f": {result['file_why']}" if result["file_why"] else ""
        terminal.out.print(f"the file run/{KILL_SWITCH_FILE} is there{why}", markup=False)
    open_orders = result["open"]
    if open_orders is not None:
        listed = ", ".join(f"{count} of {name}" for name, count in sorted(open_orders.items())) or "none"
        terminal.out.print(f"orders that are open: {listed}", markup=False)
    for name, age_s in result["lost"].items():
        terminal.out.print(f"paused: {paused_because({name: age_s}, 0.0)[0]}", markup=False)


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
