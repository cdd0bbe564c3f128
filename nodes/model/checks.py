"""What a kernel gave, checked: which of it is no signal, and what it must not do. Sentences for whoever wrote it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.interface import SIGNALS_PER_ROW


@dataclass
class RefusedSignals:
    """Signals that were no signals: how many, and the first of them that has not been complained of."""

    count: int = 0
    first: str = ""  # of those since the last complaint
    complained: int = 0  # count at the last complaint

    def add(self, count: int, what: str) -> None:
        self.count += count
        self.first = self.first or what

    def complaint(self) -> str:
        """What there is to complain of, a sentence; "" for nothing: at the first one, and when there are ten times as many."""
        if not self.count or self.count < 10 * self.complained:
            return ""
        new, self.complained = self.count - self.complained, self.count
        first, self.first = self.first, ""
        return first if new == 1 else f"{first}; and {new - 1} more like it"


def refusal(value: float, price: float, limits: tuple[float, float], where: str, seq: int, on: str) -> str:
    """Why a value or price is no signal, with the kernel's file and the event."""
    if math.isnan(value) or not limits[0] <= value <= limits[1]:
        allowed = f"{limits[0]:g} to {limits[1]:g}, finite (RANGE in its file says which)"
        return f"{where}: value {value:g} at event {seq} ({on}) is no signal; allowed: {allowed}"
    return f"{where}: price {price:g} at event {seq} ({on}) is no signal; allowed: a finite price, or NaN for none"


def broken_rule(out: np.ndarray, count: int, rows: int) -> tuple[int, str]:
    """(row, sentence) of the first rule that a kernel's `count` outputs for so many rows break; row −1: unknown which."""
    if not 0 <= count <= len(out):
        return -1, f"it gave back {count} as the number of its signals; allowed: 0 to {SIGNALS_PER_ROW} for each row"
    before, k = -1, 0
    for row in out["row"][:count].tolist():
        if not 0 <= row < rows:
            return -1, f"a signal names row {row}, and the kernel was given rows 0 to {rows - 1}"
        if row < before:
            return row, f"a signal names row {row} after one of row {before}; they have to be in order"
        k = k + 1 if row == before else 0
        if k >= SIGNALS_PER_ROW:
            return row, f"it says more than {SIGNALS_PER_ROW} signals for one row"
        before = row
    return -1, ""


def diagnosed(
    kernel: Callable[..., Any],
    machine: Callable[..., int],
    arguments: tuple[Any, ...],
    before: np.ndarray,
    seqs: list[int],
    subject: str,
    where: str,
    cause: BaseException | None,
) -> ModelFault:
    """Finds the row and the line of a fault, from the state that the kernel had before the call.

    The rows are given to `machine` one by one, as the order of events allows; the one that fails goes to Python for its line.
    """
    from tickmesh.nodes.models import interpreted, loading

    state, parameters, units, rows, count, *records, out = arguments
    state[:] = before
    for i in range(count):
        start = state.copy()
        one = (state, parameters, units, rows[i : i + 1], 1, *records, out)
        what = ""
        try:
            what = broken_rule(out, machine(*one), 1)[1]
        except Exception as error:  # noqa: BLE001 - a person's kernel may raise anything: it is the fault that is looked for
            cause, what = error, f"{type(error).__name__}: {error}"
        if what:
            line = interpreted.line_of(kernel, (start, *one[1:]), cause)[0] if cause is not None else ""
            return ModelFault(what, place_of(line, where, loading.short), seqs[i], event_words(rows[i], subject))
    what = f"{type(cause).__name__}: {cause}" if cause is not None else broken_rule(out, count, count)[1]
    return ModelFault(what or "it broke a rule that its rows, one by one, do not break", where, seqs[0], f"{subject} and after")


def place_of(line: str, where: str, short: Callable[[str], str]) -> str:
    """`file:line` for a person: the line that was found, else where the kernel begins."""
    file, _, number = line.rpartition(":")
    return f"{short(file)}:{number}" if file else where


def event_words(row: Any, subject: str) -> str:
    """An event in words, `quote of binance.BTCUSDT`."""
    return f"{Kind(int(row['kind'])).name} of {subject}"
