"""`mesh sweep` as typer reads it; the work is in tools/sweep.py."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tickmesh.tools import terminal
from tickmesh.tools.research_commands import Json, Start


def add_to(commands: typer.Typer) -> None:
    """Adds the command to a group."""
    commands.command()(sweep)


def sweep(
    vary: Annotated[
        list[str] | None,
        typer.Option(help="A parameter and its values, with spaces between them. Again for more.", metavar="NAME=VALUES"),
    ] = None,
    start: Start = None,
    end: Annotated[str | None, typer.Option(help="Up to this time.")] = None,
    every: Annotated[str, typer.Option(help="How long a part is: 1d, 6h, 1h … or all, one part.")] = "1d",
    instruments: Annotated[list[str] | None, typer.Option(help="Only these (names or patterns). Again for more.")] = None,
    together: Annotated[bool, typer.Option("--together", help="All instruments in one backtest, not each by itself.")] = False,
    strategy: Annotated[list[str] | None, typer.Option(help="Only this one, whatever its state is. Again for more.")] = None,
    store: Annotated[
        Path | None, typer.Option(help="The file in which answers are kept.", show_default="data/<source>/sweeps.sqlite")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on this machine.", show_default="its cores")] = None,
    cluster: Annotated[str, typer.Option(help="A scheduler of Dask instead, like tcp://10.0.0.1:8786.")] = "",
    limit: Annotated[float, typer.Option(min=1, help="Seconds that one part may take.")] = 3600.0,
    bars: Annotated[str, typer.Option(help="No backtests: bars of this length, a Parquet file a day and instrument.")] = "",
    to: Annotated[str, typer.Option(help="Of --bars: the folder, or a URL.", show_default="bars-LENGTH")] = "",
    at: Annotated[
        str | None, typer.Option("--at", help="Another mesh's folder, or its URL (s3://…).", metavar="FOLDER")
    ] = None,
    json: Json = False,
) -> None:
    """Backtest parameters × days × instruments in parallel; what was computed before is not computed again.

    Parameters: latency, queue, fees, through, impact, seed, warm_up; models.NAME.KEY, strategies.NAME.KEY, executor.KEY …
    Ctrl-C costs the parts at work, no more: the same command goes on. docs/scale.md has what to use when.

    mesh sweep --vary "queue=risk_averse probability_log" --vary "latency=1 5 5,3" --start 2024-08-01 --end 2024-08-08

    mesh sweep --vary "models.flow.threshold=0.3 0.5 0.7" --start 7d --every 6h --workers 2 --json

    mesh sweep --vary "queue=risk_averse probability_power" --cluster tcp://10.0.0.1:8786 --at /shared/mesh

    mesh sweep --bars 1m --start 2024-08-01 --end 2024-09-01 --to bars-1m
    """
    from tickmesh.tools import sweep as command

    common: dict[str, Any] = {
        "start": start, "end": end, "instruments": instruments or None, "store": store, "workers": workers, "cluster": cluster,
        "limit_s": limit,
    }  # fmt: skip
    if bars:
        if vary or together or strategy or every != "1d":
            raise terminal.UsageFailure("--bars takes days and instruments: no --vary, --every, --together or --strategy")
        made = command.run_bars(at, common | {"every": bars, "to": to or f"bars-{bars}"})
        terminal.print_json(made.as_dict()) if json else command.show_bars(made)
        code = 1 if made.failures else 0
    else:
        if to:
            raise terminal.UsageFailure("--to is where --bars are written; give --bars 1m too")
        words = {
            "vary": command.varied_values(vary or []), "every": None if every == "all" else every, "together": together,
            "strategies": tuple(strategy or ()),
        }  # fmt: skip
        found = command.run(at, common | words)
        terminal.print_json(found.as_dict()) if json else command.show(found)
        code = 1 if len(found.failures) == len(found.keys) else 0
    if code:
        raise typer.Exit(code)
