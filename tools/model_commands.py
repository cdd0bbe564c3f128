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
    topic: Annotated[
        list[str] | None, typer.Argument(help="With --speed: only these, as tap takes them.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare with what was published live; so without --speed.")] = False,
    speed: Annotated[
        float | None, typer.Option(min=0, help="Publish what was recorded on a bus again, so many times as fast; 0: at once.")
    ] = None,
    start: Annotated[str, typer.Option(help="From here on: a seq, a time (UTC), or so long ago (1h).")] = "",
    end: Annotated[str, typer.Option(help="Up to here.")] = "",
    source: Annotated[str, typer.Option(help="all (archive, then log), log, or archive.")] = "all",
    model: Annotated[list[str] | None, typer.Option(help="Check only this model (or executor); again for more.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Give models events in lists of so many, as live; without it columns. The result is the same."),
    ] = None,
    into: Annotated[Path | None, typer.Option(help="With --speed: the folder of the bus; else run/replay.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="With --speed: again and again, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Run models and executor over what was recorded; they must publish what they published live, to the bit.

    mesh replay --check                              everything; exit code 1 and the first divergence where it differs

    mesh replay --check --start 2h --model flow      what the events of the last two hours caused, by one model

    mesh replay --speed 10 trade quote               trades and quotes on a bus again, for tap --at run/replay
    """
    if speed is not None:
        if check or model or batch is not None:
            raise terminal.UsageFailure("--speed publishes and compares nothing; leave out --check, --model and --batch")
        from tickmesh.tools.replaying import speed as publishing

        published = publishing.publish(topic or [], speed, start, end, source, into, loop, json)
        terminal.print_json(published) if json else publishing.show(published)
        return
    if topic or into is not None or loop:
        raise terminal.UsageFailure("topics, --into and --loop are of --speed: a check reads what the models read")
    from tickmesh.tools import replay as command
    from tickmesh.tools.replaying.shown import show

    result = command.replay(source, batch, start, end, model or [])
    terminal.print_json(result) if json else show(result)
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
