"""A backtest's result as one file: numpy's .npz, which holds its arrays, and as text what else it says."""

import os
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tickmesh.bus.schema import Status
from tickmesh.research.backtest.result import FILL, ORDER, QUOTE_MARK, BacktestResult
from tickmesh.storage.query.times import ReadError

SCHEMA_VERSION = 2
SINCE = {"parent": -1, "parent_wanted": 0.0, "cause_seq": 0, "parent_seq": 0}  # what orders of schema 1 lack, and have here
FORMAT = "tickmesh backtest"


class ResultError(ReadError):
    """A result of a backtest that cannot be read, or contradicts itself: what was seen, and what to do."""


class _Description(msgspec.Struct):
    """What stands beside the arrays."""

    format: str
    schema: int
    instruments: tuple[str, ...]
    strategies: tuple[str, ...]
    start_ns: int
    end_ns: int
    initial: dict[str, float]
    settings: dict[str, Any]
    coverage: tuple[str, ...]
    marked: tuple[str, ...]  # subjects of marks_0, marks_1 …


class _Header(msgspec.Struct):
    """What every version of the description has."""

    format: str = ""
    schema: int = 0


def save(result: BacktestResult, path: Path | str) -> None:
    """Writes a result into a file; one that is there is replaced when the new one is whole.

    Raises ResultError where the result contradicts itself, or its settings have what JSON has not.
    """
    check(result)
    target = Path(path)
    description = _Description(
        FORMAT, SCHEMA_VERSION, result.instruments, result.strategies, result.start_ns, result.end_ns, dict(result.initial),
        dict(result.settings), result.coverage, tuple(result.marks),
    )  # fmt: skip
    try:
        text = msgspec.json.encode(description)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise ResultError(
            f"the settings of this backtest cannot be stored: {error}; they may have text, numbers, lists and maps"
        ) from None
    arrays: dict[str, Any] = {f"marks_{place}": marks for place, marks in enumerate(result.marks.values())}
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file, description=np.frombuffer(text, np.uint8), fills=result.fills, orders=result.orders, **arrays
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path | str) -> BacktestResult:
    """Reads a file that `save` wrote, in this schema or an older one. Raises ResultError with a sentence for anything else."""
    source = Path(path)
    try:
        with source.open("rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise ResultError(_no_result(source))
        with np.load(source, allow_pickle=False) as file:
            if "description" not in file:
                raise ResultError(_no_result(source))
            description = _described(source, file["description"].tobytes())
            marks = {name: file[f"marks_{place}"] for place, name in enumerate(description.marked)}
            fills, orders = file["fills"], file["orders"]
            orders = _of_today(orders) if description.schema < SCHEMA_VERSION else orders
    except OSError as error:
        raise ResultError(f"{source} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        if isinstance(error, ResultError):
            raise
        raise ResultError(f"{_no_result(source)} ({error})") from None
    except KeyError as error:
        raise ResultError(f"{source} has no {error.args[0]}: it is not whole; run the backtest again") from None
    result = BacktestResult(
        description.instruments, description.strategies, description.start_ns, description.end_ns, fills, orders, marks,
        description.initial, description.settings, description.coverage,
    )  # fmt: skip
    try:
        check(result)
    except ResultError as error:
        raise ResultError(f"{source}: {error}") from None
    return result


def _described(source: Path, text: bytes) -> _Description:
    try:
        header = msgspec.json.decode(text, type=_Header)
        if header.format != FORMAT:
            raise ResultError(_no_result(source))
        if not 1 <= header.schema <= SCHEMA_VERSION:
            newer = header.schema > SCHEMA_VERSION
            raise ResultError(
                f"{source} has schema {header.schema} of results; this version of tickmesh reads 1 to {SCHEMA_VERSION}: "
                f"{'use the version that wrote it, or a newer one' if newer else 'run the backtest again'}"
            )
        return msgspec.json.decode(text, type=_Description)
    except msgspec.DecodeError as error:
        raise ResultError(f"{_no_result(source)} ({error})") from None


def _of_today(orders: np.ndarray) -> np.ndarray:
    """Orders of schema 1 with the fields that they lack; what is none of them stays, for `check` to name."""
    if orders.dtype != np.dtype([(name, ORDER[name].str) for name in ORDER.names or () if name not in SINCE]):
        return orders
    found = np.zeros(orders.shape, ORDER)
    for name in ORDER.names or ():
        found[name] = SINCE[name] if name in SINCE else orders[name]
    return found


def _no_result(source: Path) -> str:
    return f"{source} is no result of a backtest; research.backtest.stored.save writes one"


def check(result: BacktestResult) -> None:
    """Raises ResultError where a result contradicts itself: dtypes, order of time, numbers that name nothing, prices."""
    if result.end_ns < result.start_ns:
        raise ResultError(f"the backtest ends at {result.end_ns}, before its start {result.start_ns} (ns)")
    for name, rows, dtype in (("fills", result.fills, FILL), ("orders", result.orders, ORDER)):
        _check_rows(name, rows, dtype)
        for column, of, least in (("instrument", result.instruments, 0), ("strategy", result.strategies, -1)):
            known = (rows[column] >= least) & (rows[column] < len(of))
            _demand(name, rows, known, f"its {column} is one of {least} … {len(of) - 1}")
        _demand(name, rows, np.abs(rows["side"]) == 1, "side is +1 or −1")
        whole = (rows["quantity"] > 0.0) & np.isfinite(rows["quantity"])
        if name == "orders":  # one of an instrument that is not defined has no quantity, and is rejected
            whole |= rows["status"] == Status.Rejected
        _demand(name, rows, whole, "quantity is above 0")
    for subject, marks in result.marks.items():
        if subject not in result.instruments:
            raise ResultError(
                f"there are quotes of {subject}, which is not among the instruments {', '.join(result.instruments)}"
            )
        _check_rows(f"marks of {subject}", marks, QUOTE_MARK)
        _demand(f"marks of {subject}", marks, _rising(marks["time_ns"]), "they are in order of time_ns")
    fills, orders = result.fills, result.orders
    _demand("fills", fills, (fills["price"] > 0.0) & np.isfinite(fills["price"]), "price is above 0")
    _demand("fills", fills, np.isfinite(fills["fee"]), "fee is a number")
    _demand("fills", fills, _rising(fills["time_ns"]), "they are in order of time_ns")
    within = (fills["time_ns"] >= result.start_ns) & (fills["time_ns"] <= result.end_ns)
    _demand("fills", fills, within, f"time_ns is from {result.start_ns} to {result.end_ns}, the backtest's")
    _demand("orders", orders, _rising(orders["sent_ns"]), "they are in order of sent_ns")
    ids, first = np.unique(orders["order"], return_index=True)
    once = np.zeros(len(orders), bool)
    once[first] = True
    _demand("orders", orders, once, "order is a number of its own")
    _demand("fills", fills, np.isin(fills["order"], ids), "order is one of the orders")
    for name, quantity in result.initial.items():
        if name not in result.instruments or not np.isfinite(quantity):
            raise ResultError(
                f"{quantity} of {name} at the start: a number, of one of {', '.join(result.instruments)}, is allowed"
            )


def _rising(times: np.ndarray) -> np.ndarray:
    return np.append(True, times[1:] >= times[:-1])[: len(times)]


def _check_rows(name: str, rows: np.ndarray, dtype: np.dtype[Any]) -> None:
    if rows.dtype != dtype or rows.ndim != 1:
        raise ResultError(f"{name} have dtype {rows.dtype} and shape {rows.shape}; dtype {dtype}, one row each, is needed")


def _demand(name: str, rows: np.ndarray, good: np.ndarray, rule: str) -> None:
    """Raises ResultError with the first row that is not `good` (bool, one a row)."""
    if not good.all():
        place = int(np.argmin(good))
        raise ResultError(f"{name}, row {place}: {rows[place]}; {rule}")
