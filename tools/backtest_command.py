"""`mesh backtest` as typer reads it; the work is in tools/backtest.py."""

from pathlib import Path
from typing import Annotated

import typer

from tickmesh.tools import terminal
from tickmesh.tools.research_commands import At, End, Json, Start


def add_to(commands: typer.Typer) -> None:
    """Adds the command to a group."""
    commands.command()(backtest)


def backtest(
    start: Start = None,
    end: End = None,
    strategy: Annotated[list[str] | None, typer.Option(help="Only this one, whatever its state is. Again for more.")] = None,
    latency: Annotated[
        str,
        typer.Option(help="ms one way (5), there and back (5,3), a file of measured ones, or recorded. Else as \\[exchange]."),
    ] = "",
    queue: Annotated[str, typer.Option(help="risk_averse, probability_power, probability_log. Else as \\[exchange].")] = "",
    fees: Annotated[str, typer.Option(help="spot, free …, or maker,taker in basis points (2,5). Else as \\[exchange].")] = "",
    through: Annotated[str, typer.Option(help="Beyond its price an order gets what was shown, or its whole.")] = "shown",
    impact: Annotated[bool, typer.Option(help="What orders take is gone until the level changes.")] = True,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 1,
    balances: Annotated[
        str, typer.Option(help="What the accounts begin with (USDT=1000,BTC=0.5), or unchecked. Else as \\[exchange].")
    ] = "",
    leverage: Annotated[int, typer.Option(help="Of USD-M contracts.")] = 20,
    order_limits: Annotated[str, typer.Option(help="unchecked: venues take any number of orders. Else as \\[exchange].")] = "",
    warm_up: Annotated[str, typer.Option(help="Models and executor see the market so long before the start (1h).")] = "",
    quotes: Annotated[bool, typer.Option(help="Places in the best level follow quotes too.")] = False,
    save: Annotated[Path | None, typer.Option(help="Keep it in this file (.npz), for `mesh backtest-report`.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write its report as a page with plots.")] = None,
    at: At = None,
    json: Json = False,
) -> None:
    """Trade what was recorded with the strategies of mesh.toml at a simulated venue. The mesh may be running.

    Models see the log event by event, the executor is the one that runs live. Its orders wait in the recorded books' queues.
    The first line says what is missing in the recording. docs/backtest.md has what is assumed.

    mesh backtest --start 2024-08-09 --end 2024-08-10 --latency 5,3

    mesh backtest --start 1h --strategy patient --queue probability_power --fees 2,5 --json

    mesh backtest --save run/patient.npz --html patient.html
    """
    from tickmesh.tools import backtest as command

    choice = command.BacktestChoice(
        start,
        end,
        tuple(strategy or ()),
        latency,
        queue,
        fees,
        through,
        impact,
        seed,
        balances,
        leverage,
        order_limits,
        warm_up,
        quotes,
    )
    found = command.run(at, choice)
    command.keep(found, save, html)
    result = command.summary(found)
    terminal.print_json(result) if json else command.show(result)
