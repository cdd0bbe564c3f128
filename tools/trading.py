"""`mesh strategy`, `limit`, `positions`: who may trade and how much, and what came of it."""

from fractions import Fraction

from tickmesh.bus.config import Config
from tickmesh.bus.names import OPERATOR
from tickmesh.bus.settings_trading import ACCOUNT, Limits, StrategyState
from tickmesh.nodes.executor.traders import limit_error, tightened
from tickmesh.nodes.orders.commands import Command, SetLimit, SwitchStrategy, content_of
from tickmesh.tools import terminal
from tickmesh.tools.commanding import publish_command
from tickmesh.tools.log_window import LogWindow, read_window
from tickmesh.tools.status import strategy_state, trading
from tickmesh.tools.tables import TerminalTable

STATES: dict[str, StrategyState] = {"on": "live", "live": "live", "off": "off", "shadow": "shadow"}


def switch(name: str, state: str, why: str) -> terminal.JsonObject:
    """Switches a strategy; gives what `--json` prints. Raises terminal.Failure."""
    config = trading_config()
    names = [one.name for one in config.strategies]
    if name not in names:
        raise terminal.UsageFailure(f"mesh.toml has no strategy {name!r}; there: {', '.join(names) or 'none'}")
    return _commanded(config, SwitchStrategy(name, STATES[state], OPERATOR, why))


def tighten(scope: str, limit: str, value: str) -> terminal.JsonObject:
    """Tightens a limit of a strategy or of the account. Raises terminal.Failure."""
    config = trading_config()
    of_scope = _stated_limits(config, scope)[scope]
    if reason := limit_error(limit, value):
        raise terminal.UsageFailure(reason)
    stated = getattr(of_scope, limit)
    if value and stated and Fraction(str(stated)) < Fraction(value):
        raise terminal.UsageFailure(f"{value} is wider than the {stated} of mesh.toml, which holds; nothing was changed")
    return _commanded(config, SetLimit(scope, limit, value, OPERATOR))


def limits(scope: str = "") -> terminal.JsonObject:
    """What limits each scope, or one: by name what mesh.toml says and what holds now, "" for none. Raises terminal.Failure."""
    config = trading_config()
    counted = _counted(config)["tightened"]
    found = {}
    for name, stated in _stated_limits(config, scope).items():
        now = tightened(stated, counted.get(name, {}))
        each = {one: (getattr(stated, one), getattr(now, one)) for one in Limits.__struct_fields__}
        found[name] = {one: {"stated": str(said or ""), "now": str(held or "")} for one, (said, held) in each.items() if held}
    return {"limits": found}


def _stated_limits(config: Config, scope: str = "") -> dict[str, Limits]:
    """By scope what mesh.toml says, of all scopes or one. Raises terminal.UsageFailure for one that is not there."""
    found: dict[str, Limits] = {ACCOUNT: config.risk, **{one.name: one for one in config.strategies}}
    if scope and scope not in found:
        raise terminal.UsageFailure(f"there is nothing {scope!r} that has limits; there: {', '.join(found)}")
    return {scope: found[scope]} if scope else found


def positions() -> terminal.JsonObject:
    """What the executor's newest health says of positions and profit: by strategy, by instrument, and in all."""
    counted = _counted(trading_config())
    names = ("strategies", "positions", "fees", "fundings", "profit", "kill_switch", "tightened", "open_orders", "fills")
    return {name: counted[name] for name in names}


def trading_config() -> Config:
    """The settings of a mesh that trades. Raises terminal.Failure for one that does not."""
    config = terminal.config()
    if config.mode == "capture" or not config.executor.enabled:
        raise terminal.Failure("this mesh does not trade: its mode is 'capture', or executor.enabled is false, in mesh.toml")
    return config


def _counted(config: Config) -> terminal.JsonObject:
    counted = newest_counts(read_window(config))
    if counted is None:
        raise terminal.Failure("the executor has said nothing lately: is it running? See `mesh status`")
    return counted


def newest_counts(window: LogWindow) -> terminal.JsonObject | None:
    """What the executor counts, by its newest health; None where it has said nothing lately."""
    counted = trading(window)
    return counted if counted is not None and "strategies" in counted else None


def _commanded(config: Config, command: Command) -> terminal.JsonObject:
    return {"seq": publish_command(config, command), **content_of(command)}


def show_command(result: terminal.JsonObject) -> None:
    """Prints a command that is in the log."""
    said = ", ".join(
        f"{name} {value}" for name, value in result.items() if name not in ("seq", "command", "by") and value != ""
    )
    terminal.out.print(f"{result['command']}: {said}; in the log at seq {result['seq']}, it holds from there on", markup=False)


def show_limits(result: terminal.JsonObject) -> None:
    """Prints for a person what limits each scope."""
    table = TerminalTable("scope", "limit", "in mesh.toml", "now", box=None, header_style="bold")
    for scope, by_name in result["limits"].items():
        for name, one in by_name.items():
            table.add_row(scope, name, one["stated"] or "none", one["now"])
    for scope in (scope for scope, by_name in result["limits"].items() if not by_name):
        table.add_row(scope, "none", "", "")
    terminal.out.print(table)


def show_positions(result: terminal.JsonObject) -> None:
    """Prints positions for a person."""
    table = TerminalTable(box=None, header_style="bold", least=("fills", "funding", "fees", "at", "state"))
    for name in ("strategy", "state", "instrument", "position", "at", "realised", "unrealised", "fees", "funding", "fills"):
        table.add_column(name, no_wrap=name in ("strategy", "instrument"))
    for name, one in result["strategies"].items():
        rows = [(subject, held, "") for subject, held in one["positions"].items()]
        rows += [(subject, held, " (shadow)") for subject, held in one["shadow"].items()]
        for subject, held, kind in rows or [("-", None, "")]:
            table.add_row(f"{name or '(none)'}{kind}", strategy_state(name, one["state"]), subject, *_figures(held))
    for subject, held in sorted(result["positions"].items()):
        table.add_row("in all", "", subject, *_figures(held))
    terminal.out.print(table)
    for name, one in result["strategies"].items():
        for subject, parent in one.get("parents", {}).items():  # health of a version before has none
            terminal.out.print(_working(name, subject, parent), markup=False)
    for scope, limits in sorted(result["tightened"].items()):
        said = ", ".join(f"{name} {value}" for name, value in sorted(limits.items()))
        terminal.out.print(f"tightened limits of {scope}: {said}", markup=False)
    fees, fundings = _amounts(result["fees"]), _amounts(result["fundings"])
    said = f"profit {result['profit']:.4f}, fees and fundings that have a price included; fees: {fees}; fundings: {fundings}"
    terminal.out.print(said, markup=False)


def _amounts(by_asset: terminal.JsonObject) -> str:
    return ", ".join(f"{amount:.8f} {asset}" for asset, amount in sorted(by_asset.items())) or "none"


def _working(strategy: str, subject: str, parent: terminal.JsonObject) -> str:
    """What a strategy is at, a sentence."""
    does = "buys" if parent["side"] > 0 else "sells"
    kind, waits = " (shadow)" if parent["shadow"] else "", f"; waits: {parent['waits']}" if parent["waits"] else ""
    return (
        f"{strategy}{kind} {does} {subject} by {parent['style']} (parent {parent['seq']}): {parent['filled']:.8g} of "
        f"{parent['wanted']:.8g} done, {parent['orders']} orders, shortfall so far {parent['shortfall']:.4f}{waits}"
    )


def _figures(held: terminal.JsonObject | None) -> tuple[str, ...]:
    if held is None:
        return ("-",) * 7
    return (
        f"{held['position']:.8g}", f"{held['average_price']:.8g}", f"{held['realised']:.4f}", f"{held['unrealised']:.4f}",
        f"{held['fee_cost']:.4f}", f"{held['funding']:.4f}", str(held["fills"]),
    )  # fmt: skip
