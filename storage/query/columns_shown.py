"""Columns of rows as a person sees them (bus/fields.py): decimals as floats, times, words. Of frames; arrow.py has exports."""

from typing import Any

import numpy as np

from tickmesh.bus.fields import MANTISSAS, FieldLook, Form, row_looks
from tickmesh.bus.schema import Kind
from tickmesh.storage.query.scales import scaled

Exponents = tuple[int | np.ndarray, int | np.ndarray]
WITH_NOTIONAL = (Kind.trade, Kind.fill)
TABLED_ROWS = 1 << 12  # of a column of codes: from here on a table of 2^16 places costs less than sorting


def looks_of(kind: Kind, rows: np.ndarray) -> dict[str, FieldLook]:
    """How each column of `rows` (reader.arrays) looks, in its order; what was added to them (`stretch`) is a number."""
    known = row_looks(kind)
    return {name: known.get(name) or FieldLook(name, Form.number) for name in rows.dtype.names or ()}


def columns_shown(kind: Kind, rows: np.ndarray, exponents: Exponents) -> dict[str, np.ndarray]:
    """Builds the columns of `rows` under the names that a person sees, and of trades and fills `notional`, price × quantity.

    `exponents`: of price and quantity, one number or one a row; an instrument's definition is scaled by its own.
    Mantissas become float64, NaN where there is none; moments datetime64[ns] (UTC), NaT where not known; codes and texts
    objects of str or None; all else as it is stored.
    """
    if kind is Kind.instrument:
        exponents = rows["price_exponent"], rows["quantity_exponent"]
    columns: dict[str, np.ndarray] = {}
    for name, look in looks_of(kind, rows).items():
        scale = rows[look.scale].astype("i8") if look.scale in (rows.dtype.names or ()) else 0
        columns[look.name] = _shown(np.ascontiguousarray(rows[name]), look, exponents, scale)
        if look.name == "quantity" and kind in WITH_NOTIONAL:
            columns["notional"] = columns["price"] * columns["quantity"]
    return columns


def words_of(values: np.ndarray, look: FieldLook) -> tuple[np.ndarray, list[str | None]]:
    """Splits codes, or bits, into (place in the list (intp), the list of their words; None: there is none)."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 and len(values) >= TABLED_ROWS:
        codes, places = _by_table(values)
    else:
        codes, places = np.unique(values, return_inverse=True)
    return places, [look.word(code) for code in codes.tolist()]


def _by_table(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As np.unique with return_inverse, of integers of one or two bytes: by a table of all possible values, not by sorting."""
    unsigned = np.ascontiguousarray(values).view(f"<u{values.dtype.itemsize}")
    places = np.zeros(1 << 8 * values.dtype.itemsize, np.intp)
    places[unsigned] = 1
    codes = np.sort(np.flatnonzero(places).astype(unsigned.dtype).view(values.dtype))
    places[codes.view(unsigned.dtype)] = np.arange(len(codes))
    return codes, places[unsigned]


def _shown(values: np.ndarray, look: FieldLook, exponents: Exponents, scale: int | np.ndarray) -> np.ndarray:
    if look.form in MANTISSAS:
        exponent: Any = exponents[0] if look.form is Form.price else exponents[1]
        out = scaled(values, look.exponent(0, 0) + scale if look.form is Form.amount else exponent)
        return np.where(values == 0, np.nan, out) if look.zero_is_none else out
    if look.form is Form.moment:
        return np.where(values == 0, np.iinfo("i8").min, values).view("M8[ns]")
    if look.form in (Form.word, Form.words):
        places, words = words_of(values, look)
        return np.array(words, object)[places] if words else np.zeros(0, object)
    if look.form is Form.yes_no:
        return values.astype(bool)
    return np.char.decode(values, "utf-8", "replace").astype(object) if values.dtype.kind == "S" else values
