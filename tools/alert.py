"""`mesh alert`: the rules and receivers of mesh.toml, and whether receivers take a message."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from rich.console import Console

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.settings_alerts import DEFAULT_ALERTS, NotifySettings
from tickmesh.nodes.alerts.episodes import sentence
from tickmesh.nodes.notifier.deliver import Undelivered, deliver
from tickmesh.nodes.notifier.plan import trial
from tickmesh.tools import terminal
from tickmesh.tools.status import status
from tickmesh.tools.tables import TerminalTable, fit
from tickmesh.tools.terminal import JsonObject

NOBODY = "mesh.toml has no [[notify]]: nobody is told of alerts (docs/alerts.md); `mesh status` shows them"


def test(names: Sequence[str]) -> JsonObject:
    """Sends a message to receivers, all at once; gives what became of each. Raises Failure for a name that is none's."""
    config = terminal.config()
    chosen = _chosen(config, names)

    async def all_of_them() -> list[JsonObject]:
        return await asyncio.gather(*(_tried(config, one) for one in chosen))

    return {"receivers": asyncio.run(all_of_them())}


def _chosen(config: Config, names: Sequence[str]) -> list[NotifySettings]:
    known = {one.name: one for one in config.notify}
    if not known:
        raise terminal.Failure(NOBODY)
    if wrong := [name for name in names if name not in known]:
        raise terminal.Failure(f"mesh.toml has no receiver {wrong[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


async def _tried(config: Config, settings: NotifySettings) -> JsonObject:
    begun, why = time.monotonic(), ""
    try:
        await deliver(settings, config.root, trial(settings, config.root.name, now_ns()))
    except Undelivered as error:
        why = str(error)
    seconds = round(time.monotonic() - begun, 3)
    return {"name": settings.name, "to": settings.to, "delivered": not why, "why": why, "seconds": seconds}


def show_test(result: JsonObject) -> None:
    """Prints what `test` gives, a line for each receiver."""
    for one in result["receivers"]:
        ended = f"delivered in {one['seconds']:.1f} s" if one["delivered"] else f"NOT delivered: {one['why']}"
        print(f"{one['name']} ({one['to']}): {ended}")


def overview() -> JsonObject:
    """Rules, receivers (without addresses), and troubles of the last hours; what `--json` prints."""
    config = terminal.config()
    rules = [{**msgspec.structs.asdict(one), "default": one in DEFAULT_ALERTS} for one in config.alerts]
    hidden = ("url", "url_file", "command")
    receivers = [
        {key: value for key, value in msgspec.structs.asdict(one).items() if key not in hidden} for one in config.notify
    ]
    return {"rules": rules, "receivers": receivers, "alerts": status().get("alerts", [])}


def show(result: JsonObject) -> None:
    """Prints what `overview` gives."""
    table = TerminalTable("rule", "above", "for", "of", "level", "note")
    for one in result["rules"]:
        note = "off" if not one["enabled"] else "default" if one["default"] else ""
        table.add_row(one["rule"], f"{one['above']:g}", f"{one['for_s']:g} s", ", ".join(one["of"]), one["level"], note)
    drawn, _ = fit(console := Console(), table)
    console.print(drawn)
    for one in result["receivers"]:
        more = [f"from {one['level']} on", f"of {', '.join(one['of'])}"]
        more += [f"quiet {one['quiet']}"] if one["quiet"] else []
        more += [f"again after {one['repeat_s']:g} s"] if one["repeat_s"] else []
        print(f"{one['name']} ({one['to']}): {', '.join(more)}")
    if not result["receivers"]:
        print(NOBODY)
    for one in result["alerts"]:
        print(sentence(one))
