"""`mesh compare` as typer reads it; the work is in tools/compare.py."""

from typing import Annotated

import typer

from tickmesh.tools import terminal
from tickmesh.tools.research_commands import At, Csv, End, Json, Start


def add_to(commands: typer.Typer) -> None:
    """Adds the command to a group."""
    commands.command()(compare)


def compare(
    start: Start = None,
    end: End = None,
    queue: Annotated[str, typer.Option(help="risk_averse, probability_power, probability_log. Else what fits best.")] = "",
    quotes: Annotated[
        bool | None, typer.Option(help="Places in the best level follow quotes too.", show_default="what fits best")
    ] = None,
    through: Annotated[str, typer.Option(help="Beyond its price an order gets what was shown, or its whole.")] = "shown",
    impact: Annotated[bool, typer.Option(help="What orders take is gone until the level changes.")] = True,
    fit: Annotated[
        bool, typer.Option(help="Fit latency and queue; without it once, with the settings of \\[exchange].")
    ] = True,
    whole: Annotated[
        bool, typer.Option("--whole", help="A backtest decides anew; else the orders that were sent are sent again.")
    ] = False,
    every: Annotated[
        str,
        typer.Option(
            help="With --whole: begin anew at the live state so often; no backtest of the whole, but for how long one follows.",
            show_default="never",
        ),
    ] = "",
    account: Annotated[
        str, typer.Option(help="Of the account at this venue alone: binance, binance_usdm.", show_default="all accounts")
    ] = "",
    least: Annotated[float, typer.Option(min=0, max=1, help="Exit 1 where a smaller share is reproduced.")] = 0.0,
    at: At = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Set live fills beside the simulated venue's: which it reproduces, how the others differ, and why. The mesh may run.

    Orders are sent again when they arrived then, to a market in which they never were. With --whole nothing is sent again: the
    executor decides anew, from the recorded signals on, and trades at the simulated venue. Prints settings that fit, to paste.
    docs/compare.md has every figure.

    mesh compare --start 2h

    mesh compare --whole --least 0.95

    mesh compare --account binance_usdm --start 1d

    mesh compare --start 2024-08-09 --end 2024-08-10 --least 0.95 --json
    """
    from tickmesh.tools import compare as command

    found = command.run(at, command.CompareChoice(start, end, queue, quotes, "", through, impact, fit, whole, every, account))
    if csv:
        terminal.out.file.write(command.as_csv(found))
    else:
        terminal.print_json(command.summary(found)) if json else command.show(found)
    command.demand(found, least)
