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
    commands.command("new-model")(new_model)
    commands.command()(train)


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
    silence_max: Annotated[
        float,
        typer.Option(help="Seconds, by the log, for which a node may publish nothing of what it had to: a restart takes less."),
    ] = 60.0,
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

    result = command.replay(source, batch, start, end, model or [], silence_max)
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


def new_model(
    name: Annotated[str, typer.Argument(help="Of the file models/NAME.py, the kernel and the process model-NAME.")],
    template: Annotated[
        str,
        typer.Option(help="mean_reversion: from quotes alone; features: made of the feature library (docs/features.md)."),
    ] = "features",
    add: Annotated[bool, typer.Option("--add", help="Put its [\\[models]] table at the end of mesh.toml.")] = False,
    json: Json = False,
) -> None:
    """Write a model to begin from, which works as it is; say what to put into mesh.toml and what to do next.

    mesh new-model my_model --add

    mesh new-model reverting --template mean_reversion

    A file that is there is never replaced.
    """
    from tickmesh.tools import new_model as command

    result = command.new_model(terminal.config(), name, template, add)
    terminal.print_json(result) if json else command.show(result)


def train(
    name: Annotated[str, typer.Argument(help="Of the file models/NAME.py, the kernel and the process model-NAME.")],
    instrument: Annotated[str, typer.Option(help="venue.symbol, or the symbol where one venue has it.")],
    feature: Annotated[list[str] | None, typer.Option(help="Of docs/features.md. Again for more; else a usual choice.")] = None,
    parameter: Annotated[list[str] | None, typer.Option("--set", help="Of the features: half_life_ms=500. Again.")] = None,
    every: Annotated[str, typer.Option(help="A moment to learn from each 1s, 500ms, 10s …")] = "1s",
    horizon: Annotated[str, typer.Option(help="How far ahead it looks: a multiple of --every.")] = "10s",
    beyond: Annotated[float, typer.Option(min=0, help="A move counts beyond so many half spreads.")] = 1.0,
    learner: Annotated[Literal["boosted", "logistic"], typer.Option(help="Trees (scikit-learn), or a line.")] = "boosted",
    folds: Annotated[int, typer.Option(min=2, max=100, help="Stretches that are judged by what came before them.")] = 5,
    embargo: Annotated[str, typer.Option(help="Distance of training and test beside the horizon, like 1m.")] = "0",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of what is drawn.")] = 1,
    start: Annotated[str | None, typer.Option(help="From this time on: 2024-08-09, 1h (ago).")] = None,
    end: Annotated[str | None, typer.Option(help="Up to this time.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Put its [\\[models]] table at the end of mesh.toml.")] = False,
    json: Json = False,
) -> None:
    """Learn a model from what was recorded, judge it on what it had not seen, freeze it (docs/learning.md).

    mesh train learner --instrument BTCUSDT --horizon 10s --add

    mesh train line --instrument binance.BTCUSDT --learner logistic --feature ofi --feature queue_imbalance
    """
    from tickmesh.tools import train as command
    from tickmesh.tools.check_model import parameters_of

    wanted = command.Wanted(
        instrument, feature or command.USUAL, every, horizon, start, end, beyond, learner, folds, embargo, seed
    )  # fmt: skip
    result = command.train(terminal.config(), name, wanted, parameters_of(parameter or []), add)
    terminal.print_json(result) if json else command.show(result)
