"""The commands of `mesh` about models, as typer reads them; each one's work is in the file of its name."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tickmesh.tools import terminal

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def add_to(commands: typer.Typer) -> None:
    """Adds the commands to a group."""
    commands.command()(replay)
    commands.command("run-model")(run_model)
    commands.command("check-model")(check_model)


def replay(
    source: Annotated[str, typer.Option(help="all (archive, then log), log, or archive.")] = "all",
    batch: Annotated[
        int | None,
        typer.Option(help="Give models events in lists of so many, as live; without it columns. The result is the same."),
    ] = None,
    json: Json = False,
) -> None:
    """Run the models over what was recorded; they must publish what they published live, to the bit."""
    from tickmesh.tools import replay as command

    result = command.replay(source, batch)
    terminal.print_json(result) if json else command.show(result)
    if not result["ok"]:
        raise typer.Exit(1)


def run_model(
    kernel: Annotated[str, typer.Argument(help="The name of a kernel of this mesh, or a model's file.")],
    parameter: Annotated[list[str] | None, typer.Option("--set", help="A parameter: half_life_ms=200. Again for more.")] = None,
    instruments: Annotated[list[str] | None, typer.Option(help="venue.symbol, or a pattern; else all. Again for more.")] = None,
    source: Annotated[Literal["all", "log", "archive"], typer.Option(help="all: the archive, then the log.")] = "all",
    csv: Annotated[Path | None, typer.Option(help="Write all signals into this file.")] = None,
    json: Json = False,
) -> None:
    """Run a model over what was recorded, with other parameters; show its signals. Nothing is published.

    Parameters without --set are those of mesh.toml's model with this kernel (the first), else the defaults of its file.

    mesh run-model trade_flow --set fast_ms=200 --instruments 'binance.*' --csv signals.csv
    """
    from tickmesh.tools import run_model as command
    from tickmesh.tools.check_model import parameters_of

    result = command.command(kernel, parameters_of(parameter or []), instruments or [], source, csv)
    terminal.print_json(result) if json else command.show(result)


def check_model(
    file: Annotated[str, typer.Argument(help="A model's file, or the name of a kernel of this mesh.")],
    parameter: Annotated[list[str] | None, typer.Option("--set", help="A parameter: half_life_ms=200. Again for more.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds of processor time until it is taken to be stuck.")] = 120.0,
    json: Json = False,
) -> None:
    """Try a model on made events, in a process of its own and with the bounds of all arrays checked.

    mesh check-model nodes/models/spread.py

    Exit code 1: it cannot run; file, line and reason are printed. `mesh up` does the same for the models of mesh.toml.
    """
    from tickmesh.tools import check_model as command

    result = command.check_model(terminal.config(), file, parameter or [], timeout)
    if json:
        terminal.print_json(result)
        raise typer.Exit(0 if result["ok"] else 1)
    command.show(result)
