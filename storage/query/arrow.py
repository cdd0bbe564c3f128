"""Rows of the archive as Arrow tables: timestamps that are timestamps, mantissas with their exponents, or decimals.

Needs pyarrow (`pip install tickmesh[export]`).
"""

import hashlib
from typing import Literal

import numpy as np
import pyarrow as pa

from tickmesh.bus.fields import decimal_name
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.reader import row_dtype

Decimals = Literal["mantissa", "float", "exact"]
UTC_NS = pa.timestamp("ns", tz="UTC")
SPANS = ("horizon_ns", "lead_p50_ns", "lead_p99_ns", "lag_p50_ns", "lag_p99_ns")  # lengths of time; other `_ns` are moments
MANTISSA_DIGITS = 19  # of an i8


def is_moment(name: str) -> bool:
    """Whether a field of this name is a time."""
    return name.endswith("_ns") and name not in SPANS


def schema(
    kind: Kind, exponents: tuple[int, int], decimals: Decimals = "mantissa", metadata: dict[str, str] | None = None
) -> pa.Schema:
    """The Arrow schema of a kind's rows (`row_dtype(kind)`). `exponents`: of price and quantity, in the metadata as well."""
    return schema_of(row_dtype(kind), exponents, decimals, metadata)


def schema_of(
    dtype: np.dtype,
    exponents: tuple[int, int] = (0, 0),
    decimals: Decimals = "mantissa",
    metadata: dict[str, str] | None = None,
) -> pa.Schema:
    """The Arrow schema of any records. `exponents`: of price and quantity, in the fields' metadata as well."""
    fields = []
    for name in dtype.names or ():
        exponent = exponents[0] if name.endswith("_ticks") else exponents[1] if name.endswith("_lots") else None
        if exponent is None:
            fields.append(pa.field(name, _plain_type(name, dtype[name]), nullable=is_moment(name)))
        elif decimals == "mantissa":
            fields.append(pa.field(name, pa.int64(), nullable=False, metadata={"exponent": str(exponent)}))
        else:
            wide = pa.decimal128(MANTISSA_DIGITS, -exponent)
            fields.append(pa.field(decimal_name(name), pa.float64() if decimals == "float" else wide, nullable=False))
    return pa.schema(fields, metadata)


def _plain_type(name: str, dtype: np.dtype) -> pa.DataType:
    if is_moment(name):
        return UTC_NS
    if dtype.kind == "S":
        return pa.string()
    if dtype == np.dtype("<u8"):
        return pa.int64()  # seq and its like: what reads Parquet does not always know unsigned 64 bits
    return pa.from_numpy_dtype(dtype)


def table(rows: np.ndarray, schema: pa.Schema, exponents: tuple[int, int]) -> pa.Table:
    """Builds an Arrow table of `rows` (dtype `row_dtype(kind)`) under `schema(kind, …)`. A time of 0 is unknown: null."""
    columns = []
    for name, field in zip(rows.dtype.names or (), schema):
        values = np.ascontiguousarray(rows[name])
        exponent = exponents[0] if name.endswith("_ticks") else exponents[1]
        columns.append(_column(values, field.type, exponent))
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: np.ndarray, type: pa.DataType, exponent: int) -> pa.Array:
    if pa.types.is_timestamp(type):
        return pa.array(values.view("M8[ns]"), type=type, mask=values == 0)
    if pa.types.is_string(type):
        return pa.array([text.decode("utf-8", "replace") for text in values.tolist()], type)
    if pa.types.is_decimal(type):
        halves = np.empty((len(values), 2), "<i8")  # a two's complement of 128 bits, the low half first
        halves[:, 0], halves[:, 1] = values, values >> 63
        return pa.Array.from_buffers(type, len(values), [None, pa.py_buffer(halves)])
    if pa.types.is_float64(type) and values.dtype.kind != "f":
        return pa.array(values / 10.0**-exponent if exponent < 0 else values * 10.0**exponent)
    return pa.array(values.astype("i8") if values.dtype == np.dtype("<u8") else values, type)


class ContentSum:
    """Computes SHA-256 over the values of tables, column by column: the same however they are compressed."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()

    def add(self, part: pa.Table) -> None:
        """Adds the next rows; two sums compare only if their rows were cut alike."""
        self.rows += part.num_rows
        for column in part.columns:
            for chunk in column.chunks:
                self._digest.update(_bytes(chunk))

    def hexdigest(self) -> str:
        """The sum so far, as hex digits."""
        return self._digest.hexdigest()


def _bytes(array: pa.Array) -> bytes:
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64()).fill_null(0)
    if pa.types.is_string(array.type):
        return "".join(f"{len(text)} {text}" for text in array.to_pylist()).encode()
    if pa.types.is_decimal(array.type):
        words: bytes = array.buffers()[1].to_pybytes()
        return words[array.offset * 16 : (array.offset + len(array)) * 16]
    numbers: bytes = array.to_numpy(zero_copy_only=False).tobytes()
    return numbers
