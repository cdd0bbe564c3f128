"""Rows of the archive as Arrow tables, as a person sees them (bus/fields.py): times, words, and mantissas or decimals.

Needs pyarrow (`pip install tickmesh[export]`).
"""

import hashlib
from decimal import Context, Decimal
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from tickmesh.bus.fields import MANTISSAS, FieldLook, Form, record_looks, row_looks
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.reader import row_dtype
from tickmesh.storage.query.columns_shown import WITH_NOTIONAL, words_of
from tickmesh.storage.query.scales import product, scaled

Decimals = Literal["mantissa", "float", "exact"]
MOMENT = pa.timestamp("ns")  # UTC; with a zone DuckDB 1.5 makes microseconds of it (docs/engines.md)
MANTISSA_DIGITS = 19  # of an i8
PRODUCT_DIGITS = 38  # of two
ADDED = ("venue", "instrument", "notional", "price_exponent", "quantity_exponent")  # to the columns of reader.arrays


class ExportColumns(NamedTuple):
    """The columns of a kind's rows in an exported file. `exponents`: of price and quantity."""

    kind: Kind
    subject: str
    exponents: tuple[int, int] = (0, 0)
    decimals: Decimals = "mantissa"

    @property
    def looks(self) -> dict[str, FieldLook]:
        """How each stored column looks, in order: of the ledger its record's fields, else those of reader.arrays."""
        if self.kind is Kind.coverage:
            return {name: look for name, look in record_looks(Kind.coverage).items() if name in (DTYPES[self.kind].names or ())}
        return {name: row_looks(self.kind)[name] for name in row_dtype(self.kind).names or ()}

    def schema(self, metadata: dict[str, str] | None = None) -> pa.Schema:
        """The Arrow schema; a mantissa's exponent is in its field's metadata as well."""
        dtype = DTYPES[self.kind] if self.kind is Kind.coverage else row_dtype(self.kind)
        fields = [pa.field("venue", pa.string(), nullable=False), pa.field("instrument", pa.string(), nullable=False)]
        for name, look in self.looks.items():
            fields.append(self._field(name, look, dtype[name]))
            if look.name == "quantity" and self.kind in WITH_NOTIONAL:
                wide = pa.decimal128(PRODUCT_DIGITS, -sum(self.exponents))
                fields.append(pa.field("notional", wide if self.decimals == "exact" else pa.float64(), nullable=False))
        if self._with_exponents():
            fields += [pa.field(f"{of}_exponent", pa.int8(), nullable=False) for of in ("price", "quantity")]
        return pa.schema(fields, metadata)

    def _with_exponents(self) -> bool:
        """Whether each row says what its mantissas are worth: files of several instruments are read as one."""
        scaled_by = {look.form for look in self.looks.values()} & {Form.price, Form.quantity}
        return self.decimals == "mantissa" and bool(scaled_by) and self.kind is not Kind.instrument

    def _field(self, name: str, look: FieldLook, dtype: np.dtype) -> pa.Field:
        if look.form in MANTISSAS:
            exponent = look.exponent(*self.exponents)
            if self.decimals == "mantissa":
                named = name if name.endswith(("_ticks", "_lots")) else f"{name}_mantissa"
                return pa.field(named, pa.int64(), nullable=False, metadata={"exponent": str(exponent)})
            wide = pa.decimal128(PRODUCT_DIGITS if look.scale else MANTISSA_DIGITS, -exponent)
            return pa.field(look.name, pa.float64() if self.decimals == "float" else wide, nullable=look.zero_is_none)
        if look.form is Form.moment:
            return pa.field(look.name, MOMENT, metadata={"zone": "UTC"})
        if look.form in (Form.word, Form.words, Form.text):
            return pa.field(look.name, pa.string(), nullable=look.zero_is_none)
        if look.form is Form.yes_no:
            return pa.field(look.name, pa.bool_(), nullable=False)
        known = pa.int64() if dtype == np.dtype("<u8") else pa.from_numpy_dtype(dtype)  # not all who read know unsigned 64 bits
        return pa.field(look.name, known, nullable=False)

    def table(self, rows: np.ndarray, schema: pa.Schema) -> pa.Table:
        """Builds the table of `rows` under `schema`, this one's. What is not known is null."""
        venue, _, instrument = self.subject.partition(".")
        columns = [_repeated(venue, len(rows)), _repeated(instrument, len(rows))]
        for name, look in self.looks.items():
            type = schema.field(len(columns)).type
            values, exponent = np.ascontiguousarray(rows[name]), look.exponent(*self.exponents)
            if look.scale and not pa.types.is_int64(type):
                columns.append(_scaled_amounts(values, rows[look.scale], type, exponent))
            else:
                columns.append(_column(values, look, type, exponent))
            if look.name == "quantity" and self.kind in WITH_NOTIONAL:
                columns.append(self._notional(rows, columns[-1], schema.field("notional").type))
        if self._with_exponents():
            columns += [pa.array(np.full(len(rows), exponent, "i1")) for exponent in self.exponents]
        return pa.Table.from_arrays(columns, schema=schema)

    def _notional(self, rows: np.ndarray, quantities: pa.Array, type: pa.DataType) -> pa.Array:
        """`quantities`: the column as it is shown."""
        if pa.types.is_decimal(type):
            return _decimals(product(rows["price_ticks"], rows["quantity_lots"]), type)
        floats = quantities.to_numpy() if pa.types.is_float64(quantities.type) and not quantities.null_count else None
        floats = scaled(rows["quantity_lots"], self.exponents[1]) if floats is None else floats
        return pa.array(scaled(rows["price_ticks"], self.exponents[0]) * floats)


def _repeated(text: str, count: int) -> pa.Array:
    """One text in every row, made of its bytes: 32 bits count those of an array."""
    data = text.encode()
    if count * len(data) >= 1 << 31:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, "i4")), pa.array([text])).cast(pa.string())
    offsets = np.arange(count + 1, dtype="<i4") * np.int32(len(data))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data * count))


def _column(values: np.ndarray, look: FieldLook, type: pa.DataType, exponent: int) -> pa.Array:
    none = values == 0 if look.zero_is_none else None
    none = none if none is not None and none.any() else None  # without a mask the values are not copied
    if look.form is Form.moment:
        return pa.array(values.view("M8[ns]"), type=type, mask=none)
    if look.form in (Form.word, Form.words):
        places, words = words_of(values, look)
        if len(words) == 1 and words[0] is not None:
            return _repeated(words[0], len(values))
        return pa.DictionaryArray.from_arrays(pa.array(places.astype("i4")), pa.array(words, pa.string())).cast(pa.string())
    if look.form is Form.text:
        return pa.array([text.decode("utf-8", "replace") for text in values.tolist()], type)
    if pa.types.is_decimal(type):
        halves = np.empty((len(values), 2), "<i8")  # a two's complement of 128 bits, the low half first
        halves[:, 0], halves[:, 1] = values, values >> 63
        return _decimals(halves, type, none)
    if pa.types.is_float64(type) and values.dtype.kind != "f":
        return pa.array(scaled(values, exponent), mask=none)
    if look.form is Form.yes_no:
        return pa.array(values.astype(bool))
    return pa.array(values.astype("i8") if values.dtype == np.dtype("<u8") else values, type)


def _scaled_amounts(values: np.ndarray, scales: np.ndarray, type: pa.DataType, exponent: int) -> pa.Array:
    """Amounts of which each row has a scale of its own, as float64 or, exactly, as decimals."""
    if pa.types.is_float64(type):
        return pa.array(scaled(values, exponent + scales.astype("i8")))
    exact = Context(prec=PRODUCT_DIGITS)
    return pa.array(
        [Decimal(value).scaleb(exponent + scale, exact) for value, scale in zip(values.tolist(), scales.tolist())], type
    )


def _decimals(halves: np.ndarray, type: pa.DataType, none: np.ndarray | None = None) -> pa.Array:
    valid = None if none is None else pa.py_buffer(np.packbits(~none, bitorder="little"))
    return pa.Array.from_buffers(type, len(halves), [valid, pa.py_buffer(np.ascontiguousarray(halves))])


class ContentSum:
    """Computes SHA-256 over the values of tables, column by column: the same however they are compressed."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()

    def add(self, part: pa.Table) -> None:
        """Adds the next rows; two sums compare only if their rows were cut alike."""
        self.rows += part.num_rows
        for column in part.columns:
            for piece in _bytes(pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)):
                self._digest.update(piece)

    def hexdigest(self) -> str:
        """The sum so far, as hex digits."""
        return self._digest.hexdigest()


def _bytes(array: pa.Array) -> list[bytes]:
    if pa.types.is_string(array.type):
        words = array.dictionary_encode()
        known = "".join(f"{len(text)} {text}" for text in words.dictionary.to_pylist()).encode()
        return [known, words.indices.fill_null(-1).to_numpy().tobytes()]
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64()).fill_null(0)
    if pa.types.is_decimal(array.type):
        array = array.fill_null(0) if array.null_count else array
        halves: bytes = array.buffers()[1].to_pybytes()
        return [halves[array.offset * 16 : (array.offset + len(array)) * 16]]
    return [array.to_numpy(zero_copy_only=False).tobytes()]
