"""The commands of `mesh` about orders, as typer reads them; their work is in orders.py, pnl.py and closing.py."""

from collections.abc import Callable
from typing import Annotated

import typer

from tickmesh.tools import terminal

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Instrument = Annotated[str, typer.Option(help="Of this instrument alone: binance.BTCUSDT, or BTCUSDT.")]
Strategy = Annotated[str | None, typer.Option(help="Of this strategy alone; '' is what belongs to none.")]
Since = Annotated[
    str, typer.Option(help="From here on: a seq, a time (2026-01-31T12:00:00, UTC), or so long ago (30s, 5m, 1h).")
]
Last = Annotated[
    int | None,
    typer.Option(min=1, max=1_000_000, help="So many at most, the newest; 20, with --since 10,000.", show_default=False),
]
Why = Annotated[str, typer.Option(help="A reason, which is kept in the log.")]
Timeout = Annotated[
    float, typer.Option(min=0, max=3600, help="Seconds to wait for it to be done; then it is said why it is not.")
]


def add_to(commands: typer.Typer) -> None:
    """Adds the commands to a group."""
    for command in (orders, fills, pnl, cancel, flatten):
        commands.command()(command)


def orders(
    open: Annotated[bool, typer.Option("--open", help="Those alone that are not over.")] = False,
    instrument: Instrument = "",
    strategy: Strategy = None,
    since: Since = "",
    last: Last = None,
    json: Json = False,
) -> None:
    """Show orders: all that are open, and the newest that are over. From log and archive, whether the mesh runs or not.

    mesh orders --open

    mesh orders --instrument BTCUSDT --strategy maker --since 1h
    """
    from tickmesh.tools import orders as command

    result = command.orders(instrument, strategy, since, last, open)
    terminal.print_json(result) if json else command.show_orders(result)


def fills(
    instrument: Instrument = "", strategy: Strategy = None, since: Since = "", last: Last = None, json: Json = False
) -> None:
    """Show the newest fills, with their fees. From log and archive, whether the mesh runs or not.

    mesh fills --last 100

    mesh fills --strategy maker --since 2026-01-31
    """
    from tickmesh.tools import orders as command

    result = command.fills(instrument, strategy, since, last)
    terminal.print_json(result) if json else command.show_fills(result)


def pnl(instrument: Instrument = "", strategy: Strategy = None, since: Since = "", json: Json = False) -> None:
    """Show what was gained and lost, from fills alone: by strategy, by instrument, and in all; of a span of time with --since.

    net = realised + unrealised - fees. What is held counts at the mid price, a fee in a third asset at the price it had.

    mesh pnl

    mesh pnl --strategy maker --since 24h
    """
    from tickmesh.tools import pnl as command

    result = command.pnl(instrument, strategy, since)
    terminal.print_json(result) if json else command.show(result)


def cancel(
    order: Annotated[str, typer.Argument(help="A client order id, as `mesh orders --open` has it.", show_default=False)] = "",
    instrument: Instrument = "",
    strategy: Strategy = None,
    all: Annotated[bool, typer.Option("--all", help="Every open order.")] = False,
    why: Why = "",
    timeout: Timeout = 30.0,
    json: Json = False,
) -> None:
    """Cancel one order, those of an instrument or a strategy, or all; return when the venue has confirmed it.

    Who ordered them goes on and may order again: `mesh strategy NAME off` or `mesh kill-switch on` prevents that.

    mesh cancel --instrument BTCUSDT

    mesh cancel --all --why "maintenance"

    Exit code 1: not all is confirmed in time; why is printed, and the executor goes on with it.
    """
    from tickmesh.tools import closing as command

    _one_scope(bool(order), bool(instrument or strategy), all)
    result = command.cancel(order, instrument, strategy or "", why, timeout)
    _end(result, json, command.show_cancel)


def flatten(
    instrument: Instrument = "",
    strategy: Strategy = None,
    all: Annotated[bool, typer.Option("--all", help="Every position.")] = False,
    why: Why = "",
    timeout: Timeout = 32.0,
    json: Json = False,
) -> None:
    """Cancel orders and close positions by market orders, of an instrument, a strategy, or all; return when that is done.

    Nothing else is ordered there meanwhile. After 30 s the executor gives up. Then who traded goes on: `mesh strategy NAME off`
    before it prevents that. A position below the venue's least order stays.

    mesh flatten --strategy maker

    mesh flatten --all --why "the weekend"

    Exit code 1: not all is closed in time; why is printed.
    """
    from tickmesh.tools import closing as command

    _one_scope(False, bool(instrument or strategy), all)
    result = command.flatten(instrument, strategy or "", why, timeout)
    _end(result, json, command.show_flatten)


def _one_scope(order: bool, part: bool, all: bool) -> None:
    """Raises UsageFailure for a command that says of nothing, or of several things, what it is about."""
    if order + part + all != 1:
        raise terminal.UsageFailure("say what: --instrument, --strategy (or both), one order where it is to cancel, or --all")


def _end(result: terminal.JsonObject, json: bool, show: Callable[[terminal.JsonObject], None]) -> None:
    terminal.print_json(result) if json else show(result)
    if not result["ok"]:
        if not json:
            terminal.err.print(result["why_not"], markup=False)
        raise typer.Exit(1)
