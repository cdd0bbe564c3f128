"""The commands of `mesh` about trading, as typer reads them; their work is in trading.py."""

from typing import Annotated, Literal

import typer

from tickmesh.tools import terminal

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Why = Annotated[str, typer.Option(help="A reason, which is kept in the log.")]


def add_to(commands: typer.Typer) -> None:
    """Adds the commands to a group."""
    commands.command()(strategy)
    commands.command()(limit)
    commands.command("kill-switch")(kill_switch)
    commands.command()(positions)


def strategy(
    name: Annotated[str, typer.Argument(help="Of [\\[strategies]] in mesh.toml; 'default' where there are none.")],
    state: Annotated[
        Literal["on", "live", "off", "shadow"],
        typer.Argument(help="on, or live as in mesh.toml: it trades. shadow: signals and simulated fills, nothing is sent."),
    ],
    why: Why = "",
    json: Json = False,
) -> None:
    """Switch a strategy, from this moment of the log on. What it has open is cancelled unless it is on; its position stays.

    mesh strategy fast shadow --why "fills look wrong"
    """
    from tickmesh.tools import trading as command

    result = command.switch(name, state, why)
    terminal.print_json(result) if json else command.show_command(result)


def limit(
    scope: Annotated[str, typer.Argument(help="A strategy's name, or 'account' for \\[risk]; without any: list them.")] = "",
    name: Annotated[str, typer.Argument(help="The limit, as in mesh.toml; without one: list those of the scope.")] = "",
    value: Annotated[str, typer.Argument(help="A decimal; without it: as mesh.toml says.")] = "",
    json: Json = False,
) -> None:
    """Tighten a limit, or list those that hold now. What mesh.toml says is never widened.

    mesh limit

    mesh limit account notional_max 500

    mesh limit fast position_max 0.001
    """
    from tickmesh.tools import trading as command

    if not name:
        result = command.limits(scope)
        terminal.print_json(result) if json else command.show_limits(result)
        return
    result = command.tighten(scope, name, value)
    terminal.print_json(result) if json else command.show_command(result)


def kill_switch(
    state: Annotated[Literal["on", "off", "status"], typer.Argument(help="on: cancel everything, order nothing more.")],
    why: Why = "",
    json: Json = False,
) -> None:
    """Cancel every order and trade nothing more, until a person lifts it; or say whether that is so.

    With risk.on_kill = "flatten" positions are closed, too. The file run/kill-switch does the same while it is there. on works
    without the log, too: then the sentinels cancel at the venue, or this command itself where none lives.
    """
    from tickmesh.tools import kill_switch as command

    if state == "status":
        result = command.state()
        terminal.print_json(result) if json else command.show_state(result)
        return
    result = command.switch(state == "on", why)
    terminal.print_json(result) if json else command.show_switched(result)
    if result["emergency"] is not None and result["emergency"]["left"]:
        raise typer.Exit(1)


def positions(json: Json = False) -> None:
    """Show positions, profit and fees by strategy, by instrument, and in all."""
    from tickmesh.tools import trading as command

    result = command.positions()
    terminal.print_json(result) if json else command.show_positions(result)
