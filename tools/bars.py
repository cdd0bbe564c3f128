"""`mesh bars`: bars of any length from what was recorded, as a table, JSON, CSV or a picture."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from rich.table import Table

from tickmesh.bus.config import Config
from tickmesh.bus.segments import LogError
from tickmesh.research.sources import ACCOUNT
from tickmesh.storage.archive.file import of_instrument, subject_of
from tickmesh.storage.archive.reader import ArchiveReader, PrunedWarning
from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.query import bars as resample
from tickmesh.storage.query.bar_coverage import with_covered
from tickmesh.storage.query.bar_frame import frame_of
from tickmesh.storage.query.bar_gaps import bars_with_coverage
from tickmesh.storage.query.gaps import CoverageWarning, Gaps
from tickmesh.storage.query.reader import exponents
from tickmesh.tools.arguments import moment
from tickmesh.tools.extras import use_matplotlib
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, config, err, out

if TYPE_CHECKING:
    import pandas as pd  # heavy: only when there is something to show
    from matplotlib.axes import Axes

CANDLES_MAX = 20_000
COLUMNS = ("time", "open", "high", "low", "close", "volume", "covered")
MORE_COLUMNS = ("trades", "bought", "vwap", "spread", "bid", "ask")
WIDE = 150  # characters that all columns may take
DATE = "%Y-%m-%d %H:%M:%S"
BODY = 0.7  # share of a bar's length that its candle fills


class BarsResult(NamedTuple):
    """Bars of one instrument as a frame, and warnings. `timeless`: trades and quotes without a venue time, in no bar."""

    subject: str
    every_s: int
    source: str
    frame: "pd.DataFrame"
    timeless: int
    warnings: list[str]


def bars(
    instrument: str,
    every: str,
    start: str | None,
    end: str | None,
    source: str = "auto",
    fill: bool = False,
    gaps: str = "warn",
    off_book: bool = False,
) -> BarsResult:
    """Reads bars of an instrument from archive and log; prints warnings. Raises Failure or UsageFailure with a sentence."""
    mesh = config()
    subject = find_subject(mesh, instrument)
    span = moment("--start", start) if start else None, moment("--end", end) if end else None
    try:
        every_s = resample.seconds(every)
        window = Window(every_s * SECOND_NS, *span)
        if window.start_ns is not None and window.end_ns is not None and window.start_ns >= window.end_ns:
            raise UsageFailure(f"the start {start} is not before the end {end}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with progress("reading files") as shown:
                seen = resample.seen(mesh, subject, window, cast(resample.Source, source), shown, off_book)
            rows = resample.filled(seen.bars, window) if fill else seen.bars
            rows = bars_with_coverage(mesh, subject, window, rows, cast(Gaps, gaps))
            if gaps != "ignore":
                rows = with_covered(mesh, subject, window, rows)
        if not len(seen.bars):
            raise Failure(f"nothing is known of {subject} {_range(start, end)}; {_alternatives(mesh, subject, source)}")
        frame = frame_of(rows, *exponents(mesh, subject))
    except LogError as error:
        raise Failure(str(error)) from None
    sentences = [str(one.message) for one in caught if issubclass(one.category, (CoverageWarning, PrunedWarning))]
    for sentence in sentences:
        err.print(f"mesh: {sentence}")
    return BarsResult(subject, every_s, source, frame, seen.timeless, sentences)


def find_subject(mesh: Config, name: str) -> str:
    """The subject that a person means by `BTCUSDT` or `binance.BTCUSDT`. Raises Failure with those that are there."""
    known = {instrument.subject for instrument in mesh.instruments if mesh.log_dir.is_dir()}
    known |= {subject_of(file.folder) for file in ArchiveReader(mesh.archive_dir).files if of_instrument(file.folder)}
    known = {one for one in known if one.partition(".")[2] not in ("", ACCOUNT)}  # a node's name, as of commands, has no dot
    meant = name.casefold()
    found = sorted(one for one in known if meant in (one.casefold(), one.partition(".")[2].casefold()))
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"{name} is known of {len(found)} venues; say which: {', '.join(found)}")
    there = ", ".join(sorted(known)) or "nothing yet"
    raise Failure(f"{name} was not recorded in {mesh.source_dir}; there is {there}")


def _range(start: str | None, end: str | None) -> str:
    words = [f"from {start}"] if start else []
    return " ".join(words + [f"to {end}"] if end else words) or "at all"


def _alternatives(mesh: Config, subject: str, source: str) -> str:
    """What a person could ask for instead."""
    archive = ArchiveReader(mesh.archive_dir)
    days = sorted({file.day for file in archive.files if subject_of(file.folder) == subject})
    if not days:
        return "it has no archived day"
    named = days[0] if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
    more = "; days that are not sealed have no pyramid, --source auto reads them too" if source == "pyramid" else ""
    return f"its archive has {named}{more}"


def as_json(result: BarsResult) -> JsonObject:
    """The result as `--json` prints it: times as ISO 8601; what is not known is null."""
    rows = result.frame.reset_index()
    rows["time"] = [time.isoformat() for time in rows["time"]]
    return {
        "instrument": result.subject,
        "every_s": result.every_s,
        "source": result.source,
        "timeless": result.timeless,
        "warnings": result.warnings,
        "coverage": result.frame.attrs["coverage"],
        "bars": rows.to_dict("records"),
    }


def write_csv(result: BarsResult, path: Path) -> None:
    """Writes all bars into a CSV file. Raises Failure with a sentence."""
    try:
        result.frame.to_csv(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}") from None
    err.print(f"{len(result.frame):,} bars in {path}")


def show(result: BarsResult, rows: int) -> None:
    """Prints the last `rows` bars as a table; on a narrow terminal with fewer columns."""
    frame = result.frame
    wide = not out.is_terminal or out.width >= WIDE
    table = Table(title=f"{result.subject}, {_length(result.every_s)} bars (UTC)", title_justify="left", box=None)
    for name in (*COLUMNS, *(MORE_COLUMNS if wide else ())):
        table.add_column(name, justify="left" if name == "time" else "right", no_wrap=True)
    shown = frame.iloc[-rows:]
    for time, row in zip(shown.index, shown.to_dict("records")):
        cells = [time.strftime(DATE if wide else "%m-%d %H:%M:%S")]
        cells += [_number(row[name]) for name in ("open", "high", "low", "close", "volume")]
        cells += [_covered(row.get("covered"))]
        if wide:
            bought = f"{row['buy_volume'] / row['volume']:.0%}" if row["volume"] else ""
            cells += [f"{row['count']:,}", bought, _number(row["vwap"], 8), _number(row["spread_mean"], 4)]
            cells += [_number(row["bid_price"]), _number(row["ask_price"])]
        table.add_row(*cells)
    console = out if not wide or out.width >= WIDE else type(out)(width=WIDE, highlight=False)  # in a file nothing is cut off
    console.print(table)
    first, last = (f"{time:{DATE}}" for time in (frame.index[0], frame.index[-1]))
    trades, volume = int(frame["count"].sum()), frame["volume"].sum()
    out.print(f"{len(frame):,} bars from {first} to {last}: {trades:,} trades, volume {_number(volume)}")
    if "covered" in frame and len(partly := frame[frame["covered"] < 1]):
        none = int((partly["covered"] <= 0).sum())
        out.print(
            f"{len(partly):,} of them are not wholly covered, {none:,} not at all: the mesh was down, something is missing, or "
            "--start or --end cuts them. Covered is time in which the venue was heard; whether anything is missing, "
            "`mesh coverage` says by ids, also of "
            "time in which the mesh was down"
        )
    if result.timeless:
        out.print(f"{result.timeless:,} trades and quotes have no time of the venue and are in no bar")


def _length(every_s: int) -> str:
    unit, seconds = max((pair for pair in resample.UNITS_S.items() if every_s % pair[1] == 0), key=lambda pair: pair[1])
    return f"{every_s // seconds}{unit}"


def _covered(share: float | None) -> str:
    """Nothing where all is covered, so that the eye falls on what is not; never rounded up to 100 %, nor down to nothing."""
    if share is None or share >= 1:
        return ""
    return "0%" if share <= 0 else f"{min(max(share, 0.01), 0.99):.0%}"


def _number(value: float, digits: int = 10) -> str:
    return "" if value != value else f"{value:,.{digits}g}"


def _shade_uncovered(frame: "pd.DataFrame", middles: np.ndarray, length: float, *axes: "Axes") -> None:
    """Shades the bars that are not wholly covered, the more the less of them is: a dip in what was heard is no calm market."""
    if "covered" not in frame:
        return
    lost = 1 - frame["covered"].to_numpy()
    label: str | None = "not covered"
    for at in np.flatnonzero(lost > 0):
        for number, one in enumerate(axes):
            low, high, alpha = middles[at] - length / 2, middles[at] + length / 2, 0.1 + 0.4 * float(lost[at])
            one.axvspan(low, high, facecolor="tab:orange", alpha=alpha, linewidth=0, label=None if number else label)
        label = None


def draw(result: BarsResult, path: Path) -> None:
    """Draws bars into a file: candles with the best bid and ask at each bar's end, volume bought and sold, and the spread."""
    use_matplotlib("a plot")
    from matplotlib import dates, pyplot

    frame = result.frame
    if len(frame) > CANDLES_MAX:
        raise Failure(f"{len(frame):,} bars are too many to draw, at most {CANDLES_MAX:,}; take longer ones or a shorter range")
    figure, (top, middle, below) = pyplot.subplots(
        3, 1, figsize=(12, 7), sharex=True, height_ratios=(4, 1, 1), layout="constrained"
    )
    length = result.every_s / 86_400  # matplotlib counts in days
    middles, width = dates.date2num(frame.index.tz_localize(None).to_numpy()) + length / 2, length * BODY
    top.fill_between(middles, frame["bid_price"], frame["ask_price"], color="0.85", linewidth=0, label="bid … ask")
    _shade_uncovered(frame, middles, length, top, middle, below)
    up = (frame["close"] >= frame["open"]).to_numpy()
    for rows, colour, name in ((up, "tab:green", "rose"), (~up, "tab:red", "fell")):
        part = frame[rows]
        top.vlines(middles[rows], part["low"], part["high"], color=colour, linewidth=0.8)
        body = (part["close"] - part["open"]).abs()
        top.bar(middles[rows], body, width, np.minimum(part["open"], part["close"]), color=colour, edgecolor=colour,
                linewidth=0.6, label=name)  # fmt: skip
    middle.bar(middles, frame["buy_volume"], width, color="tab:green")
    middle.bar(middles, frame["volume"] - frame["buy_volume"], width, frame["buy_volume"], color="tab:red")
    below.fill_between(middles, frame["spread_min"], frame["spread_max"], color="0.85", step="mid", linewidth=0)
    below.step(middles, frame["spread_mean"], where="mid", color="black", linewidth=0.8)
    top.set_ylabel("price")
    middle.set_ylabel("volume:\nbought, sold")
    below.set_ylabel("ask − bid:\nmean, range")
    below.set_xlabel("UTC")
    locator = dates.AutoDateLocator()
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    top.legend(loc="upper left", fontsize=8, ncols=4)
    top.set_title(f"{result.subject}, {_length(result.every_s)} bars", fontsize=10)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise Failure(f"{path} cannot be drawn: {error}") from None
    finally:
        pyplot.close(figure)
    err.print(f"{len(frame):,} bars drawn in {path}")
