"""Joins that cannot look ahead: what had been heard before a row, by `seq`, the total order of everything in a mesh.

Times are no order: a batch may share one, a venue's run ahead of ours or behind, and a changed one is believed. So rows are
joined by `seq`, and times are only compared with it: where the two orders contradict each other, the join is refused.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from tickmesh.research.libraries import library
from tickmesh.storage.query.times import ReadError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

Frame = TypeVar("Frame", "pandas.DataFrame", "polars.DataFrame", "pa.Table")
NONE = -1  # place of the row before the first
INSTRUMENT = ("venue", "instrument")


class LookAheadError(ReadError):
    """A row has, or would be given, what was not known yet when it was heard: a sentence with the first such row."""


class Tabular(Protocol):
    """What can be read as one Arrow table with a column `seq`: a selection of `db.trades(…)`."""

    @property
    def topics(self) -> list[str]:
        """Its topics, `kind.subject`."""

    def to_arrow(self) -> "pa.Table":
        """Reads everything."""


class JoinedRows:
    """`left.join_asof(right)`: nothing is read until a form is asked for; both sides are held then."""

    def __init__(self, left: Tabular, right: Tabular, columns: Sequence[str], prefix: str, across: bool):
        if not hasattr(right, "to_arrow") or not hasattr(right, "topics"):
            raise ReadError(
                f"{type(right).__name__} is no selection; a right side is one like db.quotes(…), and frames are joined by "
                "tickmesh.asof"
            )
        self._left, self._right, self._columns, self._across = left, right, columns, across
        self._prefix = prefix or f"{right.topics[0].partition('.')[0] if right.topics else 'right'}_"

    def __repr__(self) -> str:
        return (
            f"{', '.join(self._left.topics)}, each row with the last of {', '.join(self._right.topics)} before it by seq\n"
            "nothing is read yet: .to_pandas(), .to_polars(), .to_arrow()"
        )

    def to_arrow(self) -> "pa.Table":
        """Reads and joins, as one Arrow table. Raises LookAheadError, ReadError as `asof` does."""
        return asof(self._left.to_arrow(), self._right.to_arrow(), self._columns, self._prefix, self._across)

    def to_pandas(self) -> "pandas.DataFrame":
        """As `to_arrow`, as a pandas frame."""
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> "polars.DataFrame":
        """As `to_arrow`, as a polars frame."""
        frame: polars.DataFrame = library("polars", "a polars frame").from_arrow(self.to_arrow())
        return frame


def asof(left: Frame, right: Frame, columns: Sequence[str] = (), prefix: str = "right_", across: bool = False) -> Frame:
    """Gives each row of `left` the last row of `right` that was heard before it: that of the highest `seq` below its own.

    Both are frames of pandas, polars or Arrow with a column `seq`, as `db.trades(…)` and an export have; `left` keeps its
    order. `columns`: of `right`, else all; they come behind those of `left`, with `prefix` before their names, and null where
    nothing was heard yet. `prefix`seq is always there, for `check_no_lookahead`. Rows are joined within their instrument where
    both sides have `venue` and `instrument`, or, with `across`, whatever it is.

    Raises ReadError for a column that is not there, for sides without a common instrument, and where `right` has several rows
    of one seq (levels of a book: take one row of each first); LookAheadError where the times contradict the order of `seq`.

    `tm.asof(trades, quotes, ["bid_price", "ask_price"], "quote_")`
    """
    one, other = _table(left), _table(right)
    for side, table in (("left", one), ("right", other)):
        _require(table, ["seq"], side)
    asked: list[str] = list(columns) or [name for name in other.column_names if across or name not in INSTRUMENT]
    _require(other, asked, "right")
    place = _places(one, other, across)
    wanted = ["seq", *(name for name in asked if name != "seq")]
    pa = library("pyarrow", "joining")
    taken = other.select(wanted).take(pa.array(place, mask=place == NONE))
    for name in wanted:
        if f"{prefix}{name}" in one.column_names:
            raise ReadError(f"left has a column {prefix}{name} already; give another prefix")
        one = one.append_column(f"{prefix}{name}", taken.column(name))
    out: Frame = _as(one, left)
    return out


def check_no_lookahead(frame: Frame, seq: str = "seq") -> Frame:
    """Gives the frame back if no row of it holds what came after it; else raises LookAheadError with the first that does.

    Looked at is every column whose name ends with `seq`, beside `seq` itself: what it names has to be an event before the
    row's own, whichever way the frame was joined. `tm.check_no_lookahead(joined)`

    Raises ReadError where there is no such column: then nothing can be said.
    """
    table = _table(frame)
    _require(table, [seq], "the frame")
    others = [name for name in table.column_names if name.endswith("seq") and name != seq]
    if not others:
        raise ReadError(
            f"the frame has no column ending with seq beside {seq}: keep the seq of what was joined, as tm.asof does"
        )
    own = _numbers(table, seq)
    for name in others:
        column = table.column(name)
        known = ~np.asarray(column.is_null())
        named = _numbers(table, name)
        wrong = known & (named >= own)
        wrong &= named == named  # not NaN, which is pandas' null
        if wrong.any():
            row = int(np.argmax(wrong))
            raise LookAheadError(
                f"{int(wrong.sum())} of {len(own)} rows look ahead: row {row} was heard as seq {int(own[row])}, and has {name} "
                f"{int(named[row])}, which came later; join by seq (tm.asof), not by a time"
            )
    return frame


def _places(left: "pa.Table", right: "pa.Table", across: bool) -> np.ndarray:
    """For each left row the place of its right row, or NONE."""
    own, heard = _numbers(left, "seq"), _numbers(right, "seq")
    groups = _groups(left, right, across)
    place = np.full(len(own), NONE, "i8")
    for mine, theirs in groups:
        order = theirs[np.argsort(heard[theirs], kind="stable")]
        seqs = heard[order]
        if len(seqs) > 1 and (again := np.flatnonzero(seqs[1:] == seqs[:-1])).size:
            raise ReadError(
                f"right has several rows of seq {int(seqs[again[0]])}, as the levels of a book are; take one row of each before"
            )
        index = np.searchsorted(seqs, own[mine], side="left")
        _check_times(left, right, mine, order, index)
        found = index > 0
        place[mine[found]] = order[index[found] - 1]
    return place


def _groups(left: "pa.Table", right: "pa.Table", across: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows of left, rows of right) of each instrument that left has."""
    sides = [all(name in table.column_names for name in INSTRUMENT) for table in (left, right)]
    if across or not all(sides):
        return [(np.arange(len(left)), np.arange(len(right)))]
    mine, theirs = _rows_of_subjects(left), _rows_of_subjects(right)
    common = [name for name in mine if name in theirs]
    if not common and mine and theirs:
        raise ReadError(
            f"left is of {', '.join(mine)}, right of {', '.join(theirs)}: no row can be joined; "
            "across=True joins whatever the instrument"
        )
    return [(mine[name], theirs[name]) for name in common]


def _rows_of_subjects(table: "pa.Table") -> dict[str, np.ndarray]:
    """`venue.instrument` → its rows."""
    pa, compute = library("pyarrow", "joining"), library("pyarrow.compute", "joining")
    parts = [table.column(name).cast(pa.string()) for name in INSTRUMENT]
    names = compute.binary_join_element_wise(*parts, ".").combine_chunks().dictionary_encode()
    codes = np.asarray(names.indices)
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(names.dictionary.to_pylist())}


def _check_times(left: "pa.Table", right: "pa.Table", mine: np.ndarray, order: np.ndarray, index: np.ndarray) -> None:
    """`seq_ns` never falls as `seq` rises: where it does, a time was changed, and with it what a join by time would give."""
    if "seq_ns" not in left.column_names or "seq_ns" not in right.column_names or not len(order):
        return
    own, heard = _numbers(left, "seq_ns")[mine], _numbers(right, "seq_ns")[order]
    seqs = _numbers(left, "seq")[mine], _numbers(right, "seq")[order]
    in_order = np.argsort(seqs[0], kind="stable")
    for side, numbers, times in (("left", seqs[0][in_order], own[in_order]), ("right", seqs[1], heard)):
        if (back := np.flatnonzero(times[1:] < times[:-1])).size:
            raise _contradiction(f"{side}'s seq {int(numbers[back[0] + 1])}", "after", f"seq {int(numbers[back[0]])}")
    before, after = np.clip(index - 1, 0, None), np.clip(index, None, len(order) - 1)
    late = (index > 0) & (heard[before] > own)
    early = (index < len(order)) & (heard[after] < own) & (seqs[1][after] != seqs[0])
    for wrong, which, word in ((late, before, "before"), (early, after, "after")):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise _contradiction(f"right's seq {int(seqs[1][which[row]])}", word, f"left's seq {int(seqs[0][row])}")


def _contradiction(one: str, word: str, other: str) -> LookAheadError:
    return LookAheadError(
        f"the times contradict the order: {one} comes {word} {other}, and its seq_ns does not; one of them was changed, read "
        "them again as they are stored"
    )


def _numbers(table: "pa.Table", name: str) -> np.ndarray:
    """A column as int64; floats (pandas' way of having nulls) stay floats, nulls are 0 or NaN."""
    pa = library("pyarrow", "joining")
    column = table.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns")).cast(pa.int64())
    elif not pa.types.is_floating(column.type):
        column = column.cast(pa.int64()).fill_null(0)
    return np.asarray(column.to_numpy())


def _require(table: "pa.Table", names: Sequence[str], side: str) -> None:
    for name in names:
        if name not in table.column_names:
            raise ReadError(f"{side} has no column {name!r}; it has {', '.join(table.column_names)}")


def _table(frame: Any) -> "pa.Table":
    """A frame of any library as an Arrow table."""
    pa = library("pyarrow", "joining")
    if isinstance(frame, pa.Table):
        return frame
    if hasattr(frame, "to_arrow"):
        return frame.to_arrow()
    if hasattr(frame, "iloc"):
        return pa.Table.from_pandas(frame, preserve_index=False)
    raise ReadError(
        f"{type(frame).__name__} is no frame of pandas, polars or Arrow; a selection has .join_asof, or .to_pandas()"
    )


def _as(table: Any, like: Any) -> Any:
    """The table in the form of a frame; a pandas frame keeps its index."""
    if hasattr(like, "iloc"):
        frame = table.to_pandas()
        frame.index = like.index
        return frame
    if hasattr(like, "lazy"):
        return library("polars", "a polars frame").from_arrow(table)
    return table
