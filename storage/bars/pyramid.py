"""The bar pyramid of one archive file: bars of a second and coarser ones, so that a question about months reads kilobytes.

It is computed from the file's own columns and may be made anew at any time; no checksum of the file's content covers it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.storage.bars.bar import BAR, I8, LEVELS_S, SECOND_NS, coarsen, none
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import BarPart, bars_of, stored
from tickmesh.storage.bars.timing import CHANGE, OPEN, Edges
from tickmesh.storage.hdf5.filters import ZSTD
from tickmesh.storage.hdf5.packing import CHUNK_BYTES, CHUNK_ROWS, FILTER_BYTES, pack

GROUP = "bars"
VERSION = 2  # of the fields' meaning: another one's pyramid is not read, the ticks are
FIRST = 1  # but the first one is: it knew no era, and no quote at its beginning whose change ended the file before
ENDLESS = 1 << 40  # more changes than any file has: how many the first version had it did not say
KINDS = (Kind.trade, Kind.quote, Kind.depth)


def derive(file: Any, sources: list[Path] | None = None) -> None:
    """Adds the pyramid of bars to a file of one instrument that is being made, open in h5py; to other files nothing.

    What is left of a pruned day has no ticks: it keeps the pyramid of its source.
    """
    if any(kind.name in file for kind in KINDS):
        write(file.create_group(GROUP), bars_of(stored(file), Window(SECOND_NS)))
        return
    for source in sources or ():
        with h5py.File(source, "r", locking=False) as one:
            if GROUP in one:
                one.copy(GROUP, file)


def write(group: Any, seen: BarPart) -> None:
    """Writes the pyramid into an empty HDF5 group. `seen.bars`: of one second."""
    bars = seen.bars
    group.attrs["version"], group.attrs["timeless"] = VERSION, seen.timeless
    if len(bars):
        group.attrs["begin_ns"], group.attrs["end_ns"] = bars["begin_ns"][0], bars["begin_ns"][-1] + SECOND_NS
    edges = seen.edges
    group.attrs["changes"], group.attrs["last_changes"], group.attrs["broken"] = edges.first, edges.last, edges.broken
    for name, rows in (("waiting", edges.quotes), ("opening", edges.opening), ("closing", edges.closing)):
        if len(rows):
            group.create_dataset(name, data=rows)
    for level in LEVELS_S:
        bars = coarsen(bars, level * SECOND_NS)
        _write_level(group, str(level), bars)


def _write_level(group: Any, name: str, bars: np.ndarray) -> None:
    """One dataset for all fields, a row each: HDF5 takes longer to open twenty datasets than to read a day of minutes."""
    fields = [field for field in BAR.names or () if field == "begin_ns" or bars[field].any()]
    packed = [pack(np.ascontiguousarray(bars[field])) for field in fields]
    matrix = np.array([stored for stored, _, _ in packed], I8).reshape(len(fields), len(bars))
    options: dict[str, Any] = {}
    if matrix.nbytes > FILTER_BYTES:
        rows = len(fields) if matrix.nbytes <= CHUNK_BYTES else 1
        options = dict(chunks=(rows, min(len(bars), CHUNK_ROWS)), shuffle=True, fletcher32=True, **ZSTD)
    dataset = group.create_dataset(name, data=matrix, **options)
    dataset.attrs["fields"] = " ".join(fields)
    dataset.attrs["scale_factor"] = np.array([scale for _, scale, _ in packed], "<i8")
    dataset.attrs["add_offset"] = np.array([offset for _, _, offset in packed], "<i8")


def read(group: Any, level_s: int, start_ns: int | None = None, end_ns: int | None = None) -> np.ndarray:
    """Reads bars of one level with start_ns ≤ begin_ns < end_ns, dtype BAR."""
    dataset = group[str(level_s)]
    if not dataset.size:
        return none()
    fields = str(dataset.attrs["fields"]).split(" ")
    scale, offset = dataset.attrs["scale_factor"], dataset.attrs["add_offset"]
    first, last = 0, dataset.shape[1]
    if start_ns is not None or end_ns is not None:
        begin = dataset[fields.index("begin_ns")] * scale[fields.index("begin_ns")] + offset[fields.index("begin_ns")]
        first = 0 if start_ns is None else int(np.searchsorted(begin, start_ns))
        last = last if end_ns is None else max(first, int(np.searchsorted(begin, end_ns)))
    out = np.zeros(last - first, BAR)
    values = dataset[:, first:last] * scale[:, None] + offset[:, None]
    for row, field in enumerate(fields):
        if field in (BAR.names or ()):
            out[field] = values[row]
    return out


def has_pyramid(file: Any) -> bool:
    """Whether an archive file that is open in h5py has a pyramid of bars of this version."""
    return GROUP in file and file[GROUP].attrs.get("version") in (FIRST, VERSION)


def seen_in(file: Any, window: Window, kernels: Any = None) -> BarPart:
    """Computes the bars of a window from the file's pyramid; ticks are read for the fractions of a second at its edges only."""
    group = file[GROUP]
    parts = []
    for level_s, start_ns, end_ns in cover(window, group.attrs.get("begin_ns"), group.attrs.get("end_ns")):
        if level_s:
            parts.append(read(group, level_s, start_ns, end_ns))
        else:
            parts.append(bars_of(stored(file, kernels), Window(window.every_ns, start_ns, end_ns)).bars)
    bars = coarsen(np.concatenate([none(), *parts]), window.every_ns)
    return BarPart(bars, _edges(group), int(group.attrs["timeless"]))


def _edges(group: Any) -> Edges:
    """As `write` was given them."""

    def rows(name: str, dtype: np.dtype) -> np.ndarray:
        out = np.zeros(len(group[name]) if name in group else 0, dtype)
        if name in group:
            old = group[name][:]
            for field in old.dtype.names:
                out[field] = old[field]
        return out

    waiting, opening, closing = rows("waiting", OPEN), rows("opening", CHANGE), rows("closing", CHANGE)
    if group.attrs["version"] == FIRST:
        waiting["at"] = ENDLESS
        return Edges(opening, closing, ENDLESS, ENDLESS, False, waiting)
    first, last = int(group.attrs["changes"]), int(group.attrs["last_changes"])
    return Edges(opening, closing, first, last, bool(group.attrs["broken"]), waiting)


def cover(window: Window, begin_ns: int | None, end_ns: int | None) -> Iterator[tuple[int, int, int]]:
    """Splits a window inside the pyramid's seconds into stretches of the coarsest levels: (level in seconds, start, end).

    Each stretch is of the coarsest level that fits between its edges and divides the window's bars; level 0 stands for ticks.
    """
    if begin_ns is None or end_ns is None:
        return
    start = int(begin_ns) if window.start_ns is None else max(int(begin_ns), window.start_ns)
    end = int(end_ns) if window.end_ns is None else min(int(end_ns), window.end_ns)
    top = window.every_ns // SECOND_NS
    whole = LEVELS_S[-1] * SECOND_NS  # where the pyramid itself ends there are no edges: any level holds all of it
    if start == begin_ns:
        start = start // whole * whole
    if end == end_ns:
        end = -(-end // whole) * whole
    yield from _cover(start, end, [level for level in reversed(LEVELS_S) if top % level == 0])


def _cover(start: int, end: int, levels: list[int]) -> Iterator[tuple[int, int, int]]:
    if start >= end:
        return
    if not levels:
        yield 0, start, end
        return
    step = levels[0] * SECOND_NS
    first, last = -(-start // step) * step, end // step * step
    if first >= last:
        yield from _cover(start, end, levels[1:])
        return
    yield from _cover(start, first, levels[1:])
    yield levels[0], first, last
    yield from _cover(last, end, levels[1:])
