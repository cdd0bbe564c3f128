"""Rows in order of time, packed: every row in blocks, and above them levels of ever fewer groups with their extremes.

A view of any part of it needs few numbers: the rows themselves where they are few, else the groups of the level that has as
many as a screen can show. No extreme is lost: a group has the lowest, the highest and the last value of each column.

A block is zlib of the columns one after the other: differences of 64-bit integers, zigzag (2d, or −2d − 1 below 0), as byte
planes, the lowest first, as many as the largest of them needs. rows.js reads the same.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

BLOCK_ROWS = 1 << 15
GROUP = 64  # rows of a group, and groups of a group of the next level
LEVEL_MIN = 4096  # groups: a level with fewer has none above it
FAST = 1  # of zlib: what makes it small are the differences


class PackedBlock(NamedTuple):
    """Some rows. `firsts`: of each column. `decimals`: each column's integers are to be divided by 10 to that power.

    `planes`: bytes that each column's differences have. The first column is the time, ns.
    """

    rows: int
    firsts: tuple[int, ...]
    decimals: tuple[int, ...]
    planes: tuple[int, ...]
    packed: bytes


def pack(columns: Sequence[np.ndarray], decimals: Sequence[int]) -> PackedBlock:
    """Packs columns of int64, each (rows,) with rows ≥ 1, the time first; `decimals`: of each one."""
    parts, planes = [], []
    for column in columns:
        steps = np.diff(column.astype("<i8"), prepend=column[:1])
        zigzag = ((steps << 1) ^ (steps >> 63)).view("<u8")
        used = (int(zigzag.max()).bit_length() + 7) // 8
        parts.append(zigzag.view("u1").reshape(-1, 8).T[:used].tobytes())
        planes.append(used)
    packed = zlib.compress(b"".join(parts), FAST)
    firsts = tuple(int(column[0]) for column in columns)
    return PackedBlock(len(columns[0]), firsts, tuple(decimals), tuple(planes), packed)


def unpack(block: PackedBlock) -> list[np.ndarray]:
    """Gives back the int64 columns of a block."""
    stored = np.frombuffer(zlib.decompress(block.packed), "u1").reshape(-1, block.rows)
    out, at = [], 0
    for used, first in zip(block.planes, block.firsts):
        zigzag = np.zeros((block.rows, 8), "u1")
        zigzag[:, :used] = stored[at : at + used].T
        whole = zigzag.view("<u8").ravel()
        out.append(first + np.cumsum((whole >> np.uint64(1)).view("<i8") ^ -(whole & np.uint64(1)).view("<i8")))
        at += used
    return out


class Groups(NamedTuple):
    """One level: `time_ns` of each group's first row; `low`, `high`, `last`: (columns, groups), NaN where no row has a value.

    `total`: (added columns, groups), sums.
    """

    time_ns: np.ndarray
    low: np.ndarray
    high: np.ndarray
    last: np.ndarray
    total: np.ndarray


class TimeSeries:
    """Packs rows as they are added; what it holds are the packed rows, and a group's numbers for every 64 of them.

    `names`: the columns beside the time. A mantissa of 0 in one of `optional` is no value. `added`: columns to be summed up.
    """

    def __init__(self, names: Sequence[str], optional: Sequence[str] = (), added: Sequence[str] = ()):
        self.names, self.optional, self.added = tuple(names), tuple(optional), tuple(added)
        self.blocks: list[PackedBlock] = []
        self.rows = 0
        self.last_ns = 0  # of the last row
        self._waiting: list[tuple[np.ndarray, ...]] = []
        self._decimals: tuple[int, ...] = ()
        self._groups: list[Groups] = []

    def add(self, time_ns: np.ndarray, columns: Mapping[str, np.ndarray], decimals: Mapping[str, int]) -> None:
        """Adds rows in order of time, with the mantissas of each column, and how many decimals those have."""
        wanted = (0, *(decimals[name] for name in self.names))
        if self._decimals != wanted:
            self.finish()
            self._decimals = wanted
        if not len(time_ns):
            return
        self._waiting.append((time_ns.astype("i8"), *(columns[name].astype("i8") for name in self.names)))
        self.rows += len(time_ns)
        self.last_ns = int(time_ns[-1])
        if sum(len(part[0]) for part in self._waiting) >= BLOCK_ROWS:
            whole = [np.concatenate(parts) for parts in zip(*self._waiting)]
            full = len(whole[0]) // BLOCK_ROWS * BLOCK_ROWS
            for begin in range(0, full, BLOCK_ROWS):
                self._block([column[begin : begin + BLOCK_ROWS] for column in whole])
            self._waiting = [tuple(column[full:] for column in whole)]

    def finish(self) -> None:
        """Packs what waits for a whole block."""
        if sum(len(part[0]) for part in self._waiting):
            self._block([np.concatenate(parts) for parts in zip(*self._waiting)])
        self._waiting = []

    def _block(self, columns: list[np.ndarray]) -> None:
        self.blocks.append(pack(columns, self._decimals))
        values = self._values(columns, self._decimals)
        starts = np.arange(0, len(columns[0]), GROUP)
        self._groups.append(_grouped(columns[0], values, values, values, self._to_add(values), starts))

    def _values(self, columns: Sequence[np.ndarray], decimals: Sequence[int]) -> np.ndarray:
        out = np.array([column / 10.0**places for column, places in zip(columns[1:], decimals[1:])])
        for number, name in enumerate(self.names):
            if name in self.optional:
                out[number][columns[number + 1] == 0] = np.nan
        return out

    def _to_add(self, values: np.ndarray) -> np.ndarray:
        return values[[self.names.index(name) for name in self.added]]

    def levels(self) -> list[Groups]:
        """The levels, finest first: groups of 64 rows, of 64 such groups, until they are few. None without rows."""
        self.finish()
        if not self._groups:
            return []
        out = [Groups(*(np.concatenate(parts, axis=-1) for parts in zip(*self._groups)))]
        while len((below := out[-1]).time_ns) > LEVEL_MIN:
            out.append(_grouped(*below, np.arange(0, len(below.time_ns), GROUP)))
        return out

    def every_row(self) -> tuple[np.ndarray, np.ndarray]:
        """Unpacks all rows: times in ns (rows,), and values (columns, rows), NaN where there is none."""
        self.finish()
        times, values = [np.zeros(0, "i8")], [np.zeros((len(self.names), 0))]
        for block in self.blocks:
            columns = unpack(block)
            times.append(columns[0])
            values.append(self._values(columns, block.decimals))
        return np.concatenate(times), np.concatenate(values, axis=1)

    def envelope(self, most: int) -> Groups:
        """All rows, as groups of one where there are at most `most`; else the finest level with no more groups than that."""
        if self.rows <= most:
            times, values = self.every_row()
            return Groups(times, values, values, values, self._to_add(values))
        levels = self.levels()
        return next((level for level in levels if len(level.time_ns) <= most), levels[-1])


def _grouped(
    time_ns: np.ndarray, low: np.ndarray, high: np.ndarray, last: np.ndarray, total: np.ndarray, starts: np.ndarray
) -> Groups:
    """The groups that begin at `starts`."""
    ends = np.append(starts[1:], len(time_ns)) - 1
    lowest, highest = np.fmin.reduceat(low, starts, axis=1), np.fmax.reduceat(high, starts, axis=1)
    return Groups(time_ns[starts], lowest, highest, last[:, ends], np.add.reduceat(total, starts, axis=1))
