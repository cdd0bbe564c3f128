"""The commands of `mesh` that show what was recorded, as typer reads them; each one's work is in the file of its name."""

from pathlib import Path
from typing import Annotated

import typer

from tickmesh.tools import terminal

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
At = Annotated[
    Path | None,
    typer.Option("--at", help="Another mesh, a copied data folder (data/sim), or a folder of mesh export.", metavar="FOLDER"),
]
Start = Annotated[str | None, typer.Option(help="From this time on: 2024-08-09, 2024-08-09T12:30, 1h (ago).")]
End = Annotated[str | None, typer.Option(help="Up to this time.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV on stdout.")]
TOPIC = "kind.instrument or kind.process, like trade.binance.BTCUSDT, quote.BTCUSDT, health.feed-1."


def add_to(commands: typer.Typer) -> None:
    """Adds the commands to a group."""
    commands.command()(ls)
    commands.command()(info)
    commands.command()(head)
    commands.command()(sql)
    commands.command()(plot)
    commands.command()(market_report)
    commands.command()(backtest_report)


def ls(
    topic: Annotated[str, typer.Argument(help="Only topics with this in their name.", show_default=False)] = "",
    at: At = None,
    json: Json = False,
) -> None:
    """List what was recorded: topics, days, rows, bytes. With the mesh running or not.

    mesh ls

    mesh ls BTCUSDT --at copied/data/sim
    """
    from tickmesh.tools import ls as command

    result = command.ls(topic, at)
    terminal.print_json(result) if json else command.show(result)


def info(topic: Annotated[str, typer.Argument(help=TOPIC)], at: At = None, json: Json = False) -> None:
    """Show one topic: its span, rows, size, coverage, definitions and columns.

    mesh info trade.BTCUSDT
    """
    from tickmesh.tools import info as command

    result = command.info(topic, at)
    terminal.print_json(result) if json else command.show(result)


def head(
    topic: Annotated[str, typer.Argument(help=TOPIC)],
    rows: Annotated[int, typer.Option("-n", min=1, max=1_000_000, help="How many rows.")] = 10,
    tail: Annotated[bool, typer.Option("--tail", help="The newest rows, not the first.")] = False,
    start: Start = None,
    end: End = None,
    at: At = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Show the first rows of a topic, or the newest, with every column.

    mesh head trade.BTCUSDT --tail -n 20

    mesh head quote.binance.BTCUSDT --start 2024-08-09T12:00 --csv
    """
    from tickmesh.tools import head as command

    command.show(command.head(topic, rows, tail, start, end, at), csv, json)


def sql(
    query: Annotated[str, typer.Argument(help="A select; tables are trades, quotes, depth, orders, fills, health …")],
    instruments: Annotated[list[str] | None, typer.Option(help="Only these (names or patterns). Again for more.")] = None,
    start: Start = None,
    end: End = None,
    at: At = None,
    csv: Csv = False,
    json: Json = False,
) -> None:
    """Ask with SQL (DuckDB) what was recorded, up to this moment. Columns: docs/fields.md.

    mesh sql "select side, count(*), sum(notional) from trades group by all"

    mesh sql "select date_trunc('minute', seq_ns) m, max(price) from trades group by all order by 1" --start 1h --csv
    """
    from tickmesh.tools import sql as command

    command.show(command.sql(query, instruments, start, end, at), csv, json)


def plot(
    instrument: Annotated[str, typer.Argument(help="A symbol or venue.symbol.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help=".html: a page to zoom in; .png, .svg, .pdf: a picture.", show_default="INSTRUMENT.html"),
    ] = None,
    start: Start = None,
    end: End = None,
    at: At = None,
    book: Annotated[bool, typer.Option("--book/--no-book", help="The book's heat map under it.")] = True,
    every_row: Annotated[
        int | None,
        typer.Option(min=0, help="Rows that a page may hold; of more it has every 64's extremes.", show_default="20000000"),
    ] = None,
    json: Json = False,
) -> None:
    """Draw every trade with bid and ask, spread, volume, what is missing, our orders and fills, and the book (docs/looking.md).

    mesh plot BTCUSDT --start 1h

    mesh plot binance.BTCUSDT --start 2024-08-09T12:00 --end 2024-08-09T13:00 --to btc.png
    """
    from tickmesh.tools import plot as command

    result = command.plot(instrument, to, start, end, at, book, every_row)
    terminal.print_json(result) if json else command.show(result)


def market_report(
    instrument: Annotated[str, typer.Argument(help="A symbol or venue.symbol.")],
    start: Start = None,
    end: End = None,
    at: At = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the most efficient window and the worst one (.png, .svg, .pdf).")
    ] = None,
    window: Annotated[float, typer.Option(min=0.1, help="Seconds of each window.")] = 60.0,
    json: Json = False,
) -> None:
    """Report how good a market was, and how well it was recorded: spread, depth, rates, latency, lines (docs/looking.md).

    mesh market-report BTCUSDT --start 24h

    mesh market-report binance.BTCUSDT --at data/import --plot windows.png --window 30
    """
    from tickmesh.tools import market_report as command

    result = command.market_report(instrument, start, end, at, plot, window)
    terminal.print_json(result) if json else command.show(result)


def backtest_report(
    files: Annotated[list[Path], typer.Argument(help="Stored backtests; several are compared.", metavar="FILE...")],
    html: Annotated[Path | None, typer.Option(help="Write a page with plots that needs nothing else.")] = None,
    interval: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds of the gains that ratios are made of.", show_default="as suits")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap's intervals.")] = 1,
    trials: Annotated[
        int | None,
        typer.Option(min=2, help="How many were tried in all, for the deflated Sharpe ratio.", show_default="the FILEs"),
    ] = None,
    market: Annotated[
        Path | None, typer.Option(help="A mesh or data folder with the market's trades, for the capacity.", metavar="FOLDER")
    ] = None,
    json: Json = False,
) -> None:
    """Report a stored backtest: profit, risk, fills, markouts, shortfall, capacity (docs/backtest-report.md).

    mesh backtest-report run/backtest.npz --html report.html

    mesh backtest-report slow.npz fast.npz --trials 40
    """
    from tickmesh.tools import backtest_report as command

    result = command.backtest_report(files, interval, seed, trials, html, market)
    terminal.print_json(command.as_json(result)) if json else command.show(result)
