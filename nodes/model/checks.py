"""What a kernel gave, checked: which of it is no signal, and what it must not do. Sentences for whoever wrote it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.interface import SIGNALS_PER_ROW, Records


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


def outputs_per_row(parameters: Records) -> int:
    """How many outputs a kernel may have for one row: signals, or values of its FEATURES, which are `wanted` by number."""
    wanted = parameters["wanted"] if "wanted" in (parameters.dtype.names or ()) else None
    return SIGNALS_PER_ROW if wanted is None else wanted.shape[1]


def broken_rule(out: np.ndarray, count: int, rows: int, per_row: int) -> tuple[int, str]:
    """(row, sentence) of the first rule that a kernel's `count` outputs for so many rows break; row −1: unknown which.

    `per_row`: as outputs_per_row gives it."""
    features = "feature" in (out.dtype.names or ())
    one, many = ("a value", "values") if features else ("a signal", "signals")
    if not 0 <= count <= len(out):
        return -1, f"it gave back {count} as the number of its {many}; allowed: 0 to {per_row} for each row"
    before, k = -1, 0
    numbers = out["feature"][:count].tolist() if features else [0] * count
    for row, feature in zip(out["row"][:count].tolist(), numbers):
        if not 0 <= row < rows:
            return -1, f"{one} names row {row}, and the kernel was given rows 0 to {rows - 1}"
        if row < before:
            return row, f"{one} names row {row} after one of row {before}; they have to be in order"
        k = k + 1 if row == before else 0
        if k >= per_row:
            return row, f"it says more than {per_row} {many} for one row"
        if features and not 0 <= feature < per_row:
            return row, f"a value is of feature {feature}; there are 0 to {per_row - 1}, by their places in FEATURES"
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
            what = broken_rule(out, machine(*one), 1, outputs_per_row(parameters))[1]
        except Exception as error:  # noqa: BLE001 - a person's kernel may raise anything: it is the fault that is looked for
            cause, what = error, f"{type(error).__name__}: {error}"
        if what:
            line = interpreted.line_of(kernel, (start, *one[1:]), cause)[0] if cause is not None else ""
            return ModelFault(what, place_of(line, where, loading.short), seqs[i], event_words(rows[i], subject))
    broken = broken_rule(out, count, count, outputs_per_row(parameters))[1]
    what = f"{type(cause).__name__}: {cause}" if cause is not None else broken
    return ModelFault(what or "it broke a rule that its rows, one by one, do not break", where, seqs[0], f"{subject} and after")


def place_of(line: str, where: str, short: Callable[[str], str]) -> str:
    """`file:line` for a person: the line that was found, else where the kernel begins."""
    file, _, number = line.rpartition(":")
    return f"{short(file)}:{number}" if file else where


def event_words(row: Any, subject: str) -> str:
    """An event in words, `quote of binance.BTCUSDT`."""
    return f"{Kind(int(row['kind'])).name} of {subject}"
