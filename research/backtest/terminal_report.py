"""The report of a backtest on a terminal: first what data is missing, then its tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tickmesh.research.backtest.report import BacktestReport
from tickmesh.research.backtest.sections import ReportTable, sections, time_text

WARNING = "bold red"


def print_to(report: BacktestReport, console: Console) -> None:
    """Prints a report. What coverage is missing comes first, in the warning's colour."""
    print_warnings(report.coverage, console)
    console.print(Text(f"{time_text(report.start_ns)} … {time_text(report.end_ns)}", style="bold"))
    for sentence in report.notes:
        console.print(Text(sentence))
    for section in sections(report):
        print_section(section, console)
    console.print(Text("What each figure is: docs/backtest-report.md, or the page that --html writes.", style="dim"))


def print_warnings(coverage: Sequence[str], console: Console) -> None:
    """Prints what data is missing, a sentence each."""
    for sentence in coverage:
        console.print(Text(f"Missing data: {sentence}", style=WARNING))


def print_section(section: ReportTable, console: Console) -> None:
    """Prints one table and why cells of it are not defined."""
    console.print()
    console.print(Text(section.title, style="bold"))
    table = Table(box=None, header_style="bold")
    for place, name in enumerate(section.headers):
        table.add_column(Text(name), justify="left" if place == 0 else "right")
    for row in section.rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    for place, reason in enumerate(section.reasons, 1):
        console.print(Text(f"({place}) {reason}", style="dim"))
