"""`mesh`: the operator's commands. Each one's work is in the file of its name."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tickmesh.tools import (
    account_commands,
    alert_commands,
    backtest_command,
    command_line,
    compare_command,
    deployment_commands,
    import_commands,
    model_commands,
    research_commands,
    sweep_command,
    terminal,
    trading_commands,
    watching_commands,
)

commands = command_line.command_group("Runs, shows, checks and replays this folder's mesh.")
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
OFF = "outbox, spill, log, numbers, backfill, resync, line, renewal, respawn, contradiction, era, unsynced, clock, unknown"
VENUE = typer.Option(help="A real venue: binance, binance_usdm, coinbase, kraken, okx. Again for another one.")
INSTRUMENTS = typer.Option(
    help="Of the --venue, by commas: its own names or nearly so. One such list for each venue, in order."
)
FOLDER = typer.Argument(metavar="[DIR]", help="The mesh's folder, made where it is not; else this one.", show_default=False)
MORE_FILES = typer.Argument(help="Further files of --capture or --against.", metavar="[FILE]...", show_default=False)


@commands.callback()
def mesh(version: command_line.Version = False) -> None:
    """Runs, shows, checks and replays this folder's mesh."""


@commands.command()
def up(
    files: Annotated[list[Path] | None, MORE_FILES] = None,
    capture: Annotated[list[Path] | None, typer.Option(help="Replay these raw captures, in this order.")] = None,
    speed: Annotated[float | None, typer.Option(min=0, help="Of the replay; 0 = as fast as it is taken.")] = None,
    venue: Annotated[list[str] | None, VENUE] = None,
    instruments: Annotated[list[str] | None, INSTRUMENTS] = None,
    source: Annotated[str, typer.Option(help="Folder of that recording under data/; else the venues' names.")] = "",
    mode: Annotated[
        Literal["capture", "paper"], typer.Option(help="Of a --venue. paper: orders are filled here, on its market.")
    ] = "capture",
    live: Annotated[bool, typer.Option("--live", help="Ask to confirm that orders go to real venues.")] = False,
    confirm: Annotated[str, typer.Option(help="Confirm it, by the venues' names as `mesh up` says.")] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the mesh to be seen working.")] = 120.0,
    json: Json = False,
) -> None:
    """Start everything; return when the mesh has been seen working. Of a mesh that is up: as reload.

    Without options the market is that of mesh.toml, as shipped the local exchange's. A real venue, without an account:

    mesh up --venue binance --instruments BTCUSDT,ETHUSDT

    mesh up --venue binance --instruments BTCUSDT --venue kraken --instruments BTC/USD,ETH/USD

    mesh up --venue binance --instruments BTCUSDT --mode paper

    Exit code 3: the mesh is up, and a model cannot run or not all of it is recorded yet; why is printed.
    """
    from tickmesh.tools import up as command
    from tickmesh.tools.up_shown import show
    from tickmesh.tools.wanted import paired

    wanted = paired(venue or [], instruments or [])
    if wanted and (capture or files):
        raise terminal.UsageFailure("--venue records a real venue, --capture replays files: one of them at a time")
    if source and not wanted:
        raise terminal.UsageFailure("--source names the folder of a recording; give its --venue and --instruments too")
    if mode != "capture" and not wanted:
        raise terminal.UsageFailure("--mode is of a --venue; without one mesh.toml says it")
    captures = [*(capture or []), *(files or [])]
    if files and not capture:
        raise terminal.UsageFailure(f"what is {files[0]} for? Captures are given with --capture FILE")
    if speed is not None and not captures:
        raise terminal.UsageFailure("--speed is the speed of a replay; give its --capture FILE too")
    result = command.up(
        captures, 1.0 if speed is None else speed, timeout, terminal.announcer(json), wanted, source, mode, live, confirm
    )
    terminal.print_json(result) if json else show(result)
    if result.get("failed") or result.get("not_running"):
        raise typer.Exit(1)
    if result.get("not_recording") or result.get("models_stopped"):
        raise typer.Exit(3)


@commands.command()
def init(
    folder: Annotated[Path | None, FOLDER] = None,
    venue: Annotated[list[str] | None, VENUE] = None,
    instruments: Annotated[list[str] | None, INSTRUMENTS] = None,
    mode: Annotated[
        Literal["capture", "paper", "testnet", "live", "sim"] | None,
        typer.Option(help="capture: real venues (the default); paper: with orders filled here; sim: the local exchange."),
    ] = None,
    source: Annotated[str, typer.Option(help="Folder of what is recorded, under data/; else the venues' names.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a mesh.toml that has settings; it stays as mesh.toml.old.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a mesh.toml with every line explained into a folder; without options it asks.

    A mesh is a folder of yours: mesh.toml, models/, data/. The program is elsewhere, and is upgraded without touching it.

    mesh init ~/mesh --mode sim

    mesh init --venue binance --instruments BTCUSDT,ETHUSDT

    mesh init --venue okx --instruments BTC-USDT,BTC-USDT-SWAP --venue coinbase --instruments BTC-USD
    """
    from tickmesh.tools import init as command

    result = command.init(venue or [], instruments or [], mode, source, force, folder)
    terminal.print_json(result) if json else command.show(result)


@commands.command()
def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for what is started, each stage.")] = 60.0,
    json: Json = False,
) -> None:
    """Apply a changed mesh.toml while data flows: start what is new, stop what is gone, restart what changed."""
    from tickmesh.tools import reload as command

    result = command.reload(timeout, dry_run, terminal.announcer(json))
    terminal.print_json(result) if json else command.show(result)
    if result["failed"]:
        raise typer.Exit(1)
    if result["models_stopped"]:
        raise typer.Exit(3)


@commands.command()
def down(
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the end of everything.")] = 240.0,
    force: Annotated[
        bool, typer.Option("--force", help="Where supervisord does not answer, end it and all of its processes, in order.")
    ] = False,
    json: Json = False,
) -> None:
    """Stop everything, in order; leave no process and a complete archive."""
    from tickmesh.tools import down as command

    result = command.down(timeout, force)
    terminal.print_json(result) if json else command.show(result)


@commands.command()
def status(json: Json = False) -> None:
    """Show a verdict with its reasons, processes, topics and troubles.

    Exit code 0: healthy. 1: degraded, every reason is printed with what to do. 2: down.
    """
    from tickmesh.tools import status as command
    from tickmesh.tools.status_shown import show
    from tickmesh.tools.verdict import EXIT_CODES

    result = command.status()
    terminal.print_json(result) if json else show(result)
    raise typer.Exit(EXIT_CODES[result["verdict"]])


@commands.command()
def verify(
    files: Annotated[list[Path] | None, MORE_FILES] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Compare with these raw captures, or with the folder of the local exchange's ledger."),
    ] = None,
    settled: Annotated[
        bool,
        typer.Option(
            "--settled", help="With a ledger: trading had ended before the mesh was stopped, so nothing of it is late."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check log, recent store and archive; or both against captures, or against what the local exchange did."""
    from tickmesh.tools import verify as command

    if files and not against:
        raise terminal.UsageFailure(f"what is {files[0]} for? Captures are given with --against FILE")
    result = command.verify([*(against or []), *(files or [])], settled)
    terminal.print_json(result) if json else command.show(result)
    if not result["ok"]:
        raise typer.Exit(1)


@commands.command()
def coverage(
    instrument: Annotated[str | None, typer.Argument(help="A symbol or venue.symbol; else all.", show_default=False)] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only trade, quote or depth.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only what is missing; exit code 1 if anything is.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a timeline (PNG or SVG).")] = None,
    json: Json = False,
) -> None:
    """Show what is known of every stored interval: complete, repaired, missing or unproven, and why."""
    from tickmesh.tools import coverage as command

    result = command.coverage(instrument, kind or [], missing)
    if plot is not None:
        command.draw(result, plot)
    terminal.print_json(result) if json else command.show(result, missing)
    if missing and not result["ok"]:
        raise typer.Exit(1)


@commands.command()
def outage(
    plot: Annotated[Path, typer.Option(help="Where the picture goes (PNG or SVG).")] = Path("outage.png"),
    calm: Annotated[float, typer.Option(min=1, help="Seconds before the overload.")] = 15.0,
    length: Annotated[float, typer.Option(min=1, help="Seconds of overload.")] = 25.0,
    after: Annotated[float, typer.Option(min=1, help="Seconds after it.")] = 20.0,
    running: Annotated[bool, typer.Option(help="At the exchange of the mesh that runs here, not at one of its own.")] = False,
    json: Json = False,
) -> None:
    """Overload a local exchange: makers cut off, only market orders get through. Plots trades, bid and ask."""
    from tickmesh.tools import outage as command

    result = command.outage(plot, calm, length, after, running)
    terminal.print_json(result) if json else command.show(result)
    if not result["ok"]:
        raise typer.Exit(1)


@commands.command()
def styles(
    style: Annotated[list[str] | None, typer.Option(help="Only this one, beside market; again for more.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Only this market; again for more.")] = None,
    parents: Annotated[int, typer.Option(min=2, max=10_000, help="Parent orders of each style in each market.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the made-up market and of the intervals.")] = 1,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    json: Json = False,
) -> None:
    """Compare execution styles: what is filled, slippage, fees and shortfall beside plain market orders.

    On the local exchange's market, in its outage, and on the captures in TICKMESH_DATA; in simulated time, no mesh is needed.
    """
    from tickmesh.tools import styles as command

    result = command.compare(style or [], scenario or [], parents, seed)
    if markdown:
        terminal.out.print(command.markdown(result), markup=False, end="")
    else:
        terminal.print_json(result) if json else command.show(result)


@commands.command()
def chaos(
    kills: Annotated[int, typer.Option(min=0, help="SIGKILLs in all; several may come at once.")] = 30,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn: who, when, which faults, the market.")] = 1,
    off: Annotated[str, typer.Option(help=f"Switch one recovery path off, to see the sweep fail: {OFF}.")] = "",
    instruments: Annotated[int, typer.Option(min=2, max=200, help="One is halted; from three on at two venues.")] = 2,
    orders: Annotated[bool, typer.Option("--orders", help="Of trading: what becomes of orders, not of market data.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the sweep's mesh here (else it is kept only when it failed).")
    ] = None,
    json: Json = False,
) -> None:
    """Run a mesh of its own under random kills and venue faults, and judge every event it stored by the exchange's ledger."""
    from tickmesh.tools.chaos import orders as of_orders
    from tickmesh.tools.chaos import sweep as command

    if orders and (off or instruments != 2):
        raise terminal.UsageFailure("--orders trades on three instruments, and takes neither --off nor --instruments")
    result = of_orders.chaos_of_orders(kills, seed, folder) if orders else command.chaos(kills, seed, off, folder, instruments)
    if json:
        terminal.print_json(result)
    else:
        (of_orders if orders else command).show(result)
    if not result["ok"]:
        raise typer.Exit(1)


@commands.command()
def rebuild(
    day: Annotated[str | None, typer.Option(help="A sealed day, like 2024-08-09; else the newest.")] = None,
    into: Annotated[Path | None, typer.Option(help="Keep what is made in this empty folder.")] = None,
    source: Annotated[str, typer.Option("--from", help="events (log, else archive), or raw frames.")] = "events",
    json: Json = False,
) -> None:
    """Make a sealed day again, or all market data from raw frames, and compare with what is stored."""
    from tickmesh.tools import rebuild as command

    result = command.rebuild(day, into, source, json)
    terminal.print_json(result) if json else command.show(result)
    if not result["ok"]:
        raise typer.Exit(1)


@commands.command()
def bars(
    instrument: Annotated[str, typer.Argument(help="A symbol, or venue.symbol.")],
    every: Annotated[str, typer.Option(help="Length of a bar: 1s, 90s, 1m, 4h, 1d, 1w.")] = "1m",
    start: Annotated[
        str | None, typer.Option(help="From this time on (UTC), like 2024-08-09T12:00, or so long ago (1h).")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Up to this time, or so long ago.")] = None,
    source: Annotated[str, typer.Option(help="auto, pyramid (sealed days only), or ticks.")] = "auto",
    fill: Annotated[bool, typer.Option("--fill", help="A bar also where nothing happened.")] = False,
    gaps: Annotated[
        str, typer.Option(help="Where trades or quotes are missing: warn, raise, mask (a column), ignore.")
    ] = "warn",
    off_book: Annotated[
        bool, typer.Option("--off-book", help="With trades that never met the book, like those of an insurance fund.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="Bars that are shown, the last ones.")] = 20,
    csv: Annotated[Path | None, typer.Option(help="Write all of them into this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw candles, volume and spread (PNG or SVG).")] = None,
    json: Json = False,
) -> None:
    """Show bars of an instrument, from archive and log, up to this moment."""
    from tickmesh.tools import bars as command

    result = command.bars(instrument, every, start, end, source, fill, gaps, off_book)
    for path, write in ((csv, command.write_csv), (plot, command.draw)):
        if path is not None:
            write(result, path)
    if json:
        terminal.print_json(command.as_json(result))
    elif csv is None and plot is None:
        command.show(result, rows)


@commands.command()
def export(
    topic: Annotated[
        list[str] | None, typer.Option(help="trade, depth.binance, quote.binance.BTCUSDT …; market data without.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Days from here on (UTC), like 2024-08-09, or 7d ago.")] = None,
    end: Annotated[str | None, typer.Option(help="Days before this one, or so long ago.")] = None,
    format: Annotated[
        Literal["parquet", "arrow", "hftbacktest", "nautilus"],
        typer.Option(help="Of the files; hftbacktest: its event arrays (.npz); nautilus: its Parquet catalog."),
    ] = "parquet",
    decimals: Annotated[
        Literal["mantissa", "float", "exact"],
        typer.Option(help="Prices and quantities as integers with an exponent, as floats, or as exact decimals."),
    ] = "mantissa",
    to: Annotated[Path | None, typer.Option(help="The folder; else data/<source>/export.", metavar="FOLDER")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="The days that are not over, too, as far as they are.")] = False,
    json: Json = False,
) -> None:
    """Write finished days as Parquet, Arrow or what other programs load. Interrupted, it goes on at the next call."""
    from tickmesh.tools import export as command
    from tickmesh.tools import export_arrays, export_nautilus

    for name, other in (("hftbacktest", export_arrays), ("nautilus", export_nautilus)):
        if name in (format, str(to)):
            result = other.export(topic or [], start, end, None if str(to) == name else to, partial)
            terminal.print_json(result) if json else other.show(result)
            return
    result = command.export(topic or [], start, end, format, decimals, to, partial)
    terminal.print_json(result) if json else command.show(result)
    if result["gone"] or result["failed"]:
        raise typer.Exit(1)


import_commands.add_to(commands)
research_commands.add_to(commands)
backtest_command.add_to(commands)
sweep_command.add_to(commands)
compare_command.add_to(commands)
model_commands.add_to(commands)
trading_commands.add_to(commands)
account_commands.add_to(commands)
watching_commands.add_to(commands)
alert_commands.add_to(commands)
deployment_commands.add_to(commands)


def main() -> None:
    """The command `mesh`."""
    terminal.run(command_line.caller(commands, "mesh"), "mesh")


if __name__ == "__main__":
    main()
