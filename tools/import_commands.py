"""`mesh import` as typer reads it; its work is in import_history.py."""

from pathlib import Path
from typing import Annotated

import typer

from tickmesh.tools import terminal

FILES = typer.Argument(help="Files, or folders of them; a folder of mesh export is one.", metavar="FILE...")
SYMBOL = typer.Option(help="Where the files do not say it, as the venue spells it; of a raw capture again for more.")


def add_to(commands: typer.Typer) -> None:
    """Adds the command to a group."""
    commands.command(name="import")(import_history)


def import_history(
    files: Annotated[list[Path], FILES],
    source: Annotated[
        str, typer.Option(help="Folder under data/ that it goes into; one import goes on where another ended.")
    ] = "import",
    venue: Annotated[str, typer.Option(help="Where the files do not say it: binance, binance_usdm …")] = "",
    symbol: Annotated[list[str] | None, SYMBOL] = None,
    format: Annotated[str, typer.Option(help="Where neither name nor first line of a file tells it; docs/import.md.")] = "",
    tick: Annotated[str, typer.Option(help="Tick size, like 0.01, as the venue says it; none is guessed.")] = "",
    lot: Annotated[str, typer.Option(help="Lot size, likewise.")] = "",
    price_exponent: Annotated[
        int | None, typer.Option(min=-18, max=0, help="Decimals that prices are stored with; else −8.")
    ] = None,
    quantity_exponent: Annotated[int | None, typer.Option(min=-18, max=0, help="Of quantities, likewise.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything and say what would come of it; write nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Bring history that others recorded into an archive of its own, with what is missing in it and what proves the rest.

    Binance's public dumps, raw captures, hftbacktest arrays, Tardis CSV, folders of mesh export. Interrupted, it goes on at the
    next call; what is there already changes nothing. The archive is read like any other:

    mesh import BTCUSDT-trades-2024-08-*.zip BTCUSDT-1m-2024-08.zip --source btc

    mesh ls --at data/btc

    mesh import btcusdt_20240808.gz --source capture --dry-run

    mesh import btcusdt.npz --symbol BTCUSDT --tick 0.1 --lot 0.001

    Exit code 1: bars do not agree, or nothing could be imported; why is printed.
    """
    from tickmesh.tools import import_history as command
    from tickmesh.tools.importing.archiving import StatedTerms
    from tickmesh.tools.importing.source import Named

    named = Named(format, venue, tuple(symbol or ()))
    result = command.import_files(files, source, named, StatedTerms(tick, lot, price_exponent, quantity_exponent), dry_run)
    terminal.print_json(result) if json else command.show(result)
    if not result["ok"]:
        raise typer.Exit(1)
