"""Runs of a chunk: where the buckets begin, and what each run's prices and quantities come to.

Edges are searched in the packed times rather than every time divided; extremes and sums are taken of the packed integers: they
commute with value = stored × scale + offset. Sums are exact.
"""

import threading
from typing import Any, NamedTuple

import numpy as np

from tickmesh.storage.bars.bar import I8, floor
from tickmesh.storage.hdf5.chunks import Packed
from tickmesh.storage.hdf5.packing import CHUNK_ROWS, U8

LOW_HALF = U8.type(0xFFFFFFFF)
_thread = threading.local()


class Window(NamedTuple):
    """A request for bars of `every_ns`, of everything that happened at start_ns ≤ venue time < end_ns."""

    every_ns: int
    start_ns: int | None = None
    end_ns: int | None = None

    def within(self, begin_ns: int, end_ns: int) -> "Window":
        """The part of the window that lies in begin_ns ≤ time < end_ns."""
        start = begin_ns if self.start_ns is None else max(begin_ns, self.start_ns)
        return Window(self.every_ns, start, end_ns if self.end_ns is None else min(end_ns, self.end_ns))


class Runs(NamedTuple):
    """The runs of a chunk: `rows` sorts it by bucket and id; run i begins at starts[i], in the bucket begin_ns[i]."""

    rows: slice | np.ndarray
    starts: np.ndarray
    begin_ns: np.ndarray
    timeless: int


def runs_of(times: Packed, ids: Packed, window: Window, kernels: Any = None) -> Runs | None:
    """Finds where the buckets of a chunk begin; None where nothing of it is in the window.

    `kernels`: tickmesh.storage.bars.kernels, or None for numpy alone.
    """
    at = times.stored
    if not len(at):
        return None
    in_order = kernels.never_falls if kernels else _never_falls
    if not (in_order(at) and in_order(ids.stored)) or times.at(np.array([0]))[0] <= 0:
        return sorted_runs(times.values(), ids.values(), window)
    first, last = _place(times, window.start_ns, 0), _place(times, window.end_ns, len(at))
    if first >= last:
        return None
    at, every = at[first:last], window.every_ns
    bounds = times.at(np.array([first, last - 1])) // every
    buckets = int(bounds[1] - bounds[0])
    if buckets * 4 < len(at):
        edges = (bounds[0] + 1 + np.arange(buckets)) * every - times.offset
        edges = (-(-edges // times.scale)).astype(at.dtype)  # of the bucket's stored times, the least possible
        starts = np.unique(np.concatenate([np.zeros(1, "i8"), np.searchsorted(at, edges)]))
    else:
        bucket = times.take(slice(first, last)).values() // every
        starts = np.concatenate([np.zeros(1, "i8"), np.flatnonzero(bucket[1:] != bucket[:-1]) + 1])
    return Runs(slice(first, last), starts, floor(times.at(starts + first), every), 0)


def _never_falls(values: np.ndarray) -> bool:
    return not (values[1:] < values[:-1]).any()


def _place(times: Packed, bound_ns: int | None, otherwise: int) -> int:
    """How many of the sorted times are before the bound."""
    if bound_ns is None:
        return otherwise
    least = -((times.offset - bound_ns) // times.scale)
    if least <= int(times.stored[0]):
        return 0
    return (
        len(times.stored)
        if least > int(times.stored[-1])
        else int(np.searchsorted(times.stored, times.stored.dtype.type(least)))
    )


def sorted_runs(times: np.ndarray, ids: np.ndarray, window: Window) -> Runs:
    """Finds the runs of a chunk whose times or ids do not only grow, or that has rows without a time."""
    rows = np.flatnonzero(inside(times, window) & (times != 0))
    begin = floor(times[rows], window.every_ns)
    order = np.lexsort((ids[rows], begin))
    begin = begin[order]
    starts = np.flatnonzero(np.concatenate([[True], begin[1:] != begin[:-1]])) if len(begin) else np.zeros(0, "i8")
    return Runs(rows[order], starts, begin[starts], int((times == 0).sum()))


def inside(times: np.ndarray, window: Window) -> np.ndarray:
    """Which times are in the window, a bool for each."""
    chosen = np.ones(len(times), bool)
    if window.start_ns is not None:
        chosen &= times >= window.start_ns
    if window.end_ns is not None:
        chosen &= times < window.end_ns
    return chosen


class Part(NamedTuple):
    """One part of a column, whose values are the sum of its parts << shift. `values`: uint64, below 2^bits."""

    shift: int
    bits: int
    values: np.ndarray


def _scratch(name: str, rows: int) -> np.ndarray:
    """Memory of this thread for a chunk's intermediate values: new pages cost more than the arithmetic that fills them."""
    buffers = _thread.__dict__
    if name not in buffers:
        buffers[name] = np.empty(CHUNK_ROWS, U8)
    whole: np.ndarray = buffers[name]
    return whole[:rows]


def parts_of(stored: np.ndarray, name: str) -> list[Part]:
    """Splits a column into parts of at most 32 bits, valid until this thread splits the next one. `stored`: unsigned."""
    width = 8 * stored.dtype.itemsize
    if width > 32:
        return [Part(0, 32, stored & LOW_HALF), Part(32, 32, stored >> U8.type(32))]
    wide = _scratch(name, len(stored))
    np.copyto(wide, stored)
    return [Part(0, width, wide)]


def _sums(parts: list[Part], starts: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Exact sums of the runs of a chunk, as Python integers; only of rows `where` it is true."""
    total = np.zeros(len(starts), object)
    for part in parts:
        values = part.values
        if where is not None:
            values = np.multiply(values, where, out=_scratch("chosen", len(where)))
        total += np.add.reduceat(values, starts).astype(object) << part.shift
    return total


def _products(a: list[Part], b: list[Part], starts: np.ndarray) -> np.ndarray:
    """Exact sums of a × b, as Python integers: 32 bits by 16 leave room for the 2^16 rows of a chunk in 64."""
    total = np.zeros(len(starts), object)
    for x in a:
        for y in b:
            halves = [(0, y.values)]
            if min(x.bits, y.bits) > 16:
                halves = [(0, y.values & U8.type(0xFFFF)), (16, y.values >> U8.type(16))]
            for shift, half in halves:
                product = np.multiply(x.values, half, out=_scratch("product", len(half)))
                total += np.add.reduceat(product, starts).astype(object) << (x.shift + y.shift + shift)
    return total


class Reduced(NamedTuple):
    """The result for each run, of stored values: extremes of prices; sums, and the quantity bought, as Python integers."""

    low: np.ndarray
    high: np.ndarray
    price: np.ndarray
    quantity: np.ndarray
    bought: np.ndarray
    buys: np.ndarray
    product: np.ndarray


def reduce(prices: Packed, quantities: Packed, sides: np.ndarray, starts: np.ndarray, kernels: Any = None) -> Reduced:
    """Reduces a chunk's `narrowed` columns by run. `sides`: int8. `kernels`: tickmesh.storage.bars.kernels, or None for numpy
    alone.
    """
    if kernels and prices.stored.dtype.itemsize <= 4 and quantities.stored.dtype.itemsize <= 4:
        return _by_kernel(prices.stored, quantities.stored, sides, starts, kernels)
    p, q, bought = parts_of(prices.stored, "price"), parts_of(quantities.stored, "quantity"), sides > 0
    return Reduced(
        np.minimum.reduceat(prices.stored, starts), np.maximum.reduceat(prices.stored, starts),
        _sums(p, starts), _sums(q, starts), _sums(q, starts, bought),
        np.add.reduceat(bought, starts, dtype=I8).astype(object), _products(p, q, starts),
    )  # fmt: skip


def _by_kernel(prices: np.ndarray, quantities: np.ndarray, sides: np.ndarray, starts: np.ndarray, kernels: Any) -> Reduced:
    out = np.empty((8, len(starts)), U8)
    kernels.reduce_trades(prices, quantities, sides, np.append(starts, len(sides)), out)
    low, high = out[:2].astype(prices.dtype)
    price, quantity, bought, buys, lower, upper = (row.astype(object) for row in out[2:])
    return Reduced(low, high, price, quantity, bought, buys, lower + (upper << 16))
