"""Bars of any length of whole seconds: sealed days from their pyramid, the rest from ticks, up to this moment.

Time is the venue's. A trade is in the bar of its own time whenever it came: days are looked through for what was repaired late.
"""

import re
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.catalog import OVERLAY, day_start_ns
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveGone, folder_of
from tickmesh.storage.archive.reader import DAY_NS, ArchiveReader, File, PrunedWarning, day_of
from tickmesh.storage.bars import pyramid
from tickmesh.storage.bars.bar import BAR, LAST_QUOTE, SECOND_NS, between, merge
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import BarPart, bars_of, held, join, stored
from tickmesh.storage.hdf5.columns import from_bytes
from tickmesh.storage.query import reader
from tickmesh.storage.query.bar_coverage import with_covered
from tickmesh.storage.query.bar_gaps import bars_with_coverage
from tickmesh.storage.query.gaps import Gaps, Rows, outside
from tickmesh.storage.query.reader import ReadError, Time

if TYPE_CHECKING:
    import pandas

Source = Literal["auto", "pyramid", "ticks"]
Every = int | str | timedelta
Progress = Callable[[int, int], None]
Before = dict[Kind, int]  # by kind: the era before some events
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
ROWS_BATCH = 50_000  # events of the log that are turned into rows at once
COMPILED_TICKS = 2_000_000  # of one file: loading numba takes half a second, or two when there is nothing in its cache
FILLED_MAX = 20_000_000  # bars: 4 GB


def seconds(every: Every) -> int:
    """Reads whole seconds from an int, a timedelta or a text like 90s, 1m, 4h, 1d, 1w. Raises ReadError."""
    length: float = 0
    if isinstance(every, timedelta):
        length = every.total_seconds()
    elif isinstance(every, (int, np.integer)):
        length = int(every)
    elif match := re.fullmatch(r"\s*(\d+)\s*([smhdw]?)\s*", str(every).lower()):
        length = int(match[1]) * UNITS_S[match[2] or "s"]
    if length < 1 or length != int(length):
        raise ReadError(f"{every!r} is no length of a bar; allowed are whole seconds, like 1s, 90s, 1m, 4h, 1d or 1w")
    return int(length)


def bars(
    config: Config,
    subject: str,
    every: Every,
    start: Time = None,
    end: Time = None,
    source: Source = "auto",
    fill: bool = False,
    gaps: Gaps = "warn",
    progress: Progress = lambda done, of: None,
    off_book: bool = False,
) -> np.ndarray:
    """Reads bars of start ≤ venue time < end, in order, dtype `tickmesh.storage.bars.bar.BAR`; prices and sums are
    mantissas.

    Buckets are aligned to the Unix epoch (weeks begin on Thursday); the first and the last hold only what is in the range.
    A bucket in which nothing happened is absent, with `fill` it repeats the close and the quote before it.
    `source`: "ticks" uses no pyramid, "pyramid" nothing else (sealed days only), "auto" each where it is. `gaps`: what is to be
    done where trades or quotes are missing (storage/query/bar_gaps.py); the array's `coverage` has the ledger. `off_book`:
    with trades that never met the book (docs/messages.md), which no pyramid has. Raises ReadError.
    """
    window = Window(seconds(every) * SECOND_NS, reader.to_ns(start), reader.to_ns(end))
    found = seen(config, subject, window, source, progress, off_book).bars
    return bars_with_coverage(config, subject, window, filled(found, window) if fill else found, gaps)


def frame(
    config: Config,
    subject: str,
    every: Every,
    start: Time = None,
    end: Time = None,
    source: Source = "auto",
    fill: bool = False,
    gaps: Gaps = "warn",
    progress: Progress = lambda done, of: None,
    off_book: bool = False,
) -> "pandas.DataFrame":
    """Reads bars as a DataFrame with decimal columns (storage/query/bar_frame.py names them) and a UTC index `time`.

    Unlike `bars` it says how much of each bar's time is `covered`, and has an empty row where something is not and there is no
    bar, as when the mesh was down. Not with gaps="ignore".
    """
    from tickmesh.storage.query.bar_frame import frame_of

    rows = bars(config, subject, every, start, end, source, fill, gaps, progress, off_book).view(Rows)
    if gaps != "ignore":
        rows = with_covered(config, subject, Window(seconds(every) * SECOND_NS, reader.to_ns(start), reader.to_ns(end)), rows)
    known = reader.definitions(config, subject, start, end)
    if len(known) > 1:
        raise ReadError(
            f"{subject}: the venue's definition changes in this range, from exponents {known[0][1:]} to {known[1][1:]} at seq "
            f"{known[1][0]}; bars of both have no common scale. Ask for less, or take `bars`, which gives mantissas"
        )
    return frame_of(rows, *known[0][1:])


def seen(
    config: Config, subject: str, window: Window, source: Source = "auto", progress: Progress = lambda done, of: None,
    off_book: bool = False,
) -> BarPart:  # fmt: skip
    """Reads bars with the count of trades and quotes that no time can be given (`timeless`, of all files looked at)."""
    if source not in get_args(Source):
        raise ReadError(f"{source!r} is no source of bars; allowed: {', '.join(get_args(Source))}")
    if source == "pyramid" and any(edge is not None and edge % SECOND_NS for edge in window[1:]):
        raise ReadError("a pyramid holds whole seconds; give a start and an end of whole seconds, or another source")
    if off_book:
        if source == "pyramid":
            raise ReadError("no pyramid has trades off the book; leave the source out, or take ticks")
        source = "ticks"
    archived, before, parts = _archived(config, subject, window, source, progress, off_book)
    if source != "pyramid":
        parts += _logged(config, subject, window, archived, before, off_book)
    joined = join(parts, window)
    first = None if window.start_ns is None else window.start_ns // window.every_ns * window.every_ns
    return joined._replace(bars=between(joined.bars, first, window.end_ns))


def _archived(
    config: Config, subject: str, window: Window, source: Source, progress: Progress, off_book: bool
) -> tuple[int, Before, list[BarPart]]:
    """(seq up to which it is, eras after it, what it says) of the archive; again when files were sealed away meanwhile."""
    archive = ArchiveReader(config.archive_dir)
    while True:
        try:
            files = chosen(archive, folder_of(Kind.trade, subject), window, source)
            parts = []
            for number, file in enumerate(files):
                progress(number, len(files))
                if (part := _of_file(file, window, source, archive, off_book)) is not None:
                    parts.append(part)
            progress(len(files), len(files))
            before = {kind: archive.era_after(kind, subject) for kind in (Kind.trade, Kind.quote)}
            return archive.archived_seq, before, parts
        except ArchiveGone:
            known = archive.files
            archive.refresh()
            if archive.files == known:
                raise


def chosen(archive: ArchiveReader, folder: str, window: Window, source: Source = "auto") -> list[File]:
    """Chooses the files that may hold something of the window, in order of seq.

    The venue's day and ours differ by moments, so the neighbours are among them. A trade that came days later lies in its
    day's overlay, or, while that later day is not sealed, only in a cut. Raises ArchiveError when one of them is not there.
    """
    first = day_of(window.start_ns - DAY_NS) if window.start_ns is not None else ""
    last = day_of(window.end_ns + DAY_NS) if window.end_ns is not None else "9999"
    archive.require(folder, (first, last), all_cuts=True)
    own = [file for file in archive.files if file.folder == folder and first <= file.day]
    files = [file for file in own if file.day <= last or file.part == "cut"]
    spans = {file.span for file in files if file.part == "day" or (file.part == "rest" and source != "ticks")}
    strayed = [f for f in archive.overlays if f.folder == folder and first <= f.day <= last and f.span not in spans]
    return sorted(files + strayed)


def kernels_for(file: Any) -> Any:
    """Loads tickmesh.storage.bars.kernels for a file with so many ticks that it is worth it; None for numpy alone."""
    ticks = sum(int(file[kind.name].attrs["records"]) for kind in (Kind.trade, Kind.quote) if kind.name in file)
    if ticks < COMPILED_TICKS:
        return None
    try:
        from tickmesh.storage.bars import kernels as bar_kernels
    except RuntimeError:
        return None  # numba finds no folder that it could write its cache into
    return bar_kernels


def _of_file(file: File, window: Window, source: Source, archive: ArchiveReader, off_book: bool) -> BarPart | None:
    eras = None
    if file.part == OVERLAY:  # whole events: those with trades of two days lie in the overlays of both
        eras = {kind: archive.eras(file, kind) for kind in (Kind.trade, Kind.quote)}
        begin_ns = day_start_ns(file.day)
        window = window.within(begin_ns, begin_ns + DAY_NS)
    with ArchiveFile(file.path) as segment:
        try:
            has_pyramid = source != "ticks" and pyramid.has_pyramid(segment.file)
            from_pyramid = has_pyramid and all((edge or 0) % SECOND_NS == 0 for edge in window[1:])
            if file.part == "rest" and not from_pyramid:
                _warn_pruned(file, window)
            kernels = None if from_pyramid else kernels_for(segment.file)
            if has_pyramid:
                return pyramid.seen_in(segment.file, window, kernels)
            if source == "pyramid" and file.part != OVERLAY:  # which belongs to a sealed day, and has none
                return None
            return bars_of(stored(segment.file, kernels, eras, off_book), window)
        except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
            raise ArchiveError(f"{file.path} is damaged: {error}; restore it from a copy or rebuild it") from None


def _warn_pruned(file: File, window: Window) -> None:
    """Of a pruned day only the pyramid is left."""
    started = window.end_ns is None or day_of(window.end_ns) >= file.day
    if started and (window.start_ns is None or day_of(window.start_ns) <= file.day):
        warnings.warn(
            f"the ticks of {file.day} were removed after their export; its bars of whole seconds are left, read the rest there",
            PrunedWarning, stacklevel=outside(),
        )  # fmt: skip


def _logged(config: Config, subject: str, window: Window, archived: int, before: Before, off_book: bool) -> list[BarPart]:
    """From the log, what is not archived."""
    parts: list[BarPart] = []
    raws: dict[Kind, list[bytes]] = {}
    waiting, eras = 0, dict(before)
    for event in reader.events(config, archived, kinds=pyramid.KINDS, subject=subject):
        raws.setdefault(Kind(event.kind), []).append(bytes(event.raw))
        waiting += 1
        if waiting >= ROWS_BATCH:
            parts.append(_of_raws(raws, window, eras, off_book))
            raws, waiting = {}, 0
    return [*parts, _of_raws(raws, window, eras, off_book)] if raws else parts


def _of_raws(raws: dict[Kind, list[bytes]], window: Window, eras: dict[Kind, int], off_book: bool) -> BarPart:
    """`eras`: before the events, and afterwards behind them."""
    tables = {kind: from_bytes(kind, b"".join(own), np.array([len(raw) for raw in own], "i8")) for kind, own in raws.items()}
    ticks = held(tables, eras, off_book)
    for kind, column in ((Kind.trade, ticks.trades), (Kind.quote, ticks.quotes)):
        if kind in tables:
            eras[kind] = column.eras[-1][1]
    return bars_of(ticks, window)


def filled(bars: np.ndarray, window: Window) -> np.ndarray:
    """Adds an empty bar for every bucket from start to end that has none (from the first to the last bar where they are None).

    One in which nothing was traded has the close before it as its prices, one without a quote the quote before it, and 0 where
    there is none yet; counts and sums are 0. Raises ReadError beyond FILLED_MAX bars.
    """
    every = window.every_ns
    if not len(bars) and (window.start_ns is None or window.end_ns is None):
        return bars
    first = int(bars["begin_ns"][0]) if window.start_ns is None else window.start_ns // every * every
    last = int(bars["begin_ns"][-1]) if window.end_ns is None else (window.end_ns - 1) // every * every
    count = max((last - first) // every + 1, 0)
    if count > FILLED_MAX:
        raise ReadError(f"{count} bars were to be filled; at most {FILLED_MAX} are. Take longer bars or a shorter range")
    empty = np.zeros(count, BAR)
    empty["begin_ns"] = first + every * np.arange(count)
    out = merge(np.concatenate([bars, empty]))
    before = _row_before(out["count"] > 0)
    for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks"):
        out[name] = np.where(out["count"] > 0, out[name], np.where(before >= 0, out["close_ticks"][before], 0))
    before = _row_before(out["quotes"] > 0)
    for name in LAST_QUOTE:
        out[name] = np.where(before >= 0, out[name][before], 0)
    return out


def _row_before(has: np.ndarray) -> np.ndarray:
    """The nearest row at or before each that has; −1 where there is none."""
    return np.maximum.accumulate(np.where(has, np.arange(len(has)), -1)) if len(has) else np.zeros(0, "i8")
