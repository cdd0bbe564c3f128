"""`mesh backtest-report`: what a stored backtest gained, at which risk, and how its orders fared; several side by side."""

from pathlib import Path

from tickmesh.research.backtest.page import write
from tickmesh.research.backtest.report import BacktestReport, as_dict, plain, summarize
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.sections import compared
from tickmesh.research.backtest.sensitivity import SideBySide, side_by_side
from tickmesh.research.backtest.stored import ResultError, load
from tickmesh.research.backtest.terminal_report import print_section, print_to, print_warnings
from tickmesh.research.database import Database
from tickmesh.tools.opened import reading
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out


def backtest_report(
    files: list[Path],
    interval_s: float | None = None,
    seed: int = 1,
    trials: int | None = None,
    page: Path | None = None,
    market: Path | None = None,
) -> BacktestReport | SideBySide:
    """The report of one file, and its page where one is wanted; of several how they compare. Raises Failure with a sentence.

    `market`: where the market's trades are, for the capacity.
    """
    if len(files) > 1 and (page is not None or market is not None):
        raise UsageFailure("--html and --market are of one backtest; give one FILE")
    if len(files) == 1 and trials is not None:
        raise UsageFailure("--trials is of a comparison; give the FILEs that were kept of them")
    if doubled := sorted({str(path) for path in files if files.count(path) > 1}):
        raise UsageFailure(f"{', '.join(doubled)}: the same backtest twice is no trial more")
    interval_ns = None if interval_s is None else round(interval_s * 1e9)
    try:
        results = _loaded(files)
        if len(files) > 1:
            return side_by_side(results, interval_ns, trials)
        (result,) = results.values()
        volume = None if market is None else reading(market, lambda db: traded(db, result), ["pyarrow"])
        report = summarize(result, interval_ns, seed, volume)
    except ResultError as error:
        raise Failure(str(error)) from None
    if page is not None:
        try:
            write(result, report, page)
        except OSError as error:
            raise Failure(f"{page} cannot be written: {error.strerror}") from None
    return report


def traded(db: Database, result: BacktestResult) -> dict[str, float]:
    """What the market traded on the book in the time of a backtest, in quote currency, of each instrument that was traded."""
    from pyarrow import compute

    volumes = {}
    for subject in result.instruments:
        total = 0.0
        for table in db.trades(subject, result.start_ns, result.end_ns).chunks():
            off_book = compute.match_substring(table["event_flags"], "OFF_BOOK")
            total += compute.sum(table["notional"].filter(compute.invert(off_book))).as_py() or 0.0
        volumes[subject] = total
    return volumes


def _loaded(files: list[Path]) -> dict[str, BacktestResult]:
    results = {}
    with progress("reading backtests") as shown:
        for done, path in enumerate(files):
            shown(done, len(files))
            results[str(path)] = load(path)
    return results


def as_json(found: BacktestReport | SideBySide) -> JsonObject:
    """What `--json` prints (docs/backtest-report.md)."""
    return as_dict(found) if isinstance(found, BacktestReport) else plain(found)


def show(found: BacktestReport | SideBySide) -> None:
    """Prints a report, or a comparison, for a person."""
    if isinstance(found, BacktestReport):
        print_to(found, out)
        return
    print_warnings([f"{row.name}: {sentence}" for row in found.rows for sentence in row.coverage], out)
    for sentence in found.notes:
        out.print(sentence, markup=False)
    print_section(compared(found), out)
