"""What a person, or a breached limit, orders: the content of `command` events (docs/messages.md), made and read. No I/O."""

from typing import Any

import msgspec

from tickmesh.bus.settings_trading import StrategyState

WHY_CHARACTERS = 200  # of a reason; a longer one is cut


class SwitchStrategy(msgspec.Struct, tag_field="command", tag="strategy", frozen=True):
    """A strategy is switched."""

    name: str
    state: StrategyState
    by: str
    why: str = ""


class SetLimit(msgspec.Struct, tag_field="command", tag="limit", frozen=True):
    """A limit of a scope (a strategy, or `account`) is tightened to `value`, a decimal; "": as mesh.toml says."""

    scope: str
    limit: str
    value: str
    by: str


class KillSwitch(msgspec.Struct, tag_field="command", tag="kill_switch", frozen=True):
    """All orders are cancelled and none is made any more, until it is off."""

    on: bool
    by: str
    why: str = ""


class CancelOrders(msgspec.Struct, tag_field="command", tag="cancel", frozen=True):
    """Open orders are cancelled: the one of this client order id, else those of an instrument and a strategy; "": of any."""

    by: str
    order: str = ""
    instrument: str = ""
    strategy: str = ""
    why: str = ""


class Flatten(msgspec.Struct, tag_field="command", tag="flatten", frozen=True):
    """Orders of an instrument and a strategy ("": of any) are cancelled, and their positions closed by market orders."""

    by: str
    instrument: str = ""
    strategy: str = ""
    why: str = ""


Command = SwitchStrategy | SetLimit | KillSwitch | CancelOrders | Flatten


def content_of(command: Command) -> dict[str, Any]:
    """The map of a command's event."""
    content: dict[str, Any] = msgspec.to_builtins(command)
    if "why" in content:
        content["why"] = content["why"][:WHY_CHARACTERS]
    return content


def read_command(content: dict[str, Any]) -> Command:
    """A command from the map of its event. Raises ValueError for what is none."""
    try:
        command: Command = msgspec.convert(content, Command)
    except msgspec.ValidationError as error:
        raise ValueError(f"this is no command: {error}") from None
    return command
