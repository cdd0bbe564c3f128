"""How each field looks to a person: one table, used by `tap`, frames, exports, and docs/fields.md.

A field is stored as a number that is quick to compute with: a mantissa, a code, nanoseconds where 0 is "not known". Here stands
what a person is shown for it: its name, its form, its words, and which value means that there is none.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import IntEnum, IntFlag, StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.schema import (
    DTYPES,
    HEADER,
    Action,
    Coverage,
    Evidence,
    Flag,
    GapState,
    Kind,
    OrderType,
    ParentState,
    Reason,
    Status,
    TimeInForce,
)

AMOUNT_EXPONENT = -8  # of fees and balances, whatever the instrument's exponents are


class Form(StrEnum):
    """The form in which a field is shown."""

    price = "price"  # mantissa at the instrument's price exponent → decimal, quote currency
    quantity = "quantity"  # mantissa at the instrument's quantity exponent → decimal, base currency
    amount = "amount"  # mantissa at 10^-8 → decimal, of the asset named beside it; coarser by `scale` where there is one
    moment = "moment"  # ns since 1970 → time, UTC
    span = "span"  # a length of time, ns
    word = "word"  # a code → its word
    words = "words"  # bits → their words, joined by |
    yes_no = "yes or no"
    text = "text"
    number = "number"  # as it is


MANTISSAS = (Form.price, Form.quantity, Form.amount)


class FieldLook(NamedTuple):
    """How a field looks to a person. `name`: what it is called then. `words`: code → word. `zero_is_none`: 0 means none.

    `scale`: the field of the same record by whose powers of ten its mantissa is coarser than its form says; "": by none.
    """

    name: str
    form: Form
    words: Mapping[int, str] = {}
    zero_is_none: bool = False
    scale: str = ""

    def exponent(self, price: int, quantity: int) -> int:
        """The power of ten of its mantissas, by the instrument's exponents; 0 for what is no mantissa."""
        return {Form.price: price, Form.quantity: quantity, Form.amount: AMOUNT_EXPONENT}.get(self.form, 0)

    def word(self, code: int) -> str | None:
        """The word of a code, or the words of bits joined by | ("" for no bit); what is unknown is shown as its number.

        None for a code of 0 that means there is none.
        """
        code = int(code)
        if self.form is Form.words:
            known = [word for bit, word in self.words.items() if code & bit]
            rest = code & ~sum(self.words)
            return "|".join([*known, *([str(rest)] if rest else [])])
        return None if self.zero_is_none and not code else self.words.get(code, str(code))

    def shown(self, value: Any, exponents: tuple[int, int] = (0, 0), scale: int = 0) -> Any:
        """A stored value as a person's: Decimal of a mantissa, str of a code, bits or text, bool, ns, or the number.

        `exponents`: of price and quantity; `scale`: what the record has in the field `self.scale`. None where there is none. A
        float that is no number (NaN) is none.
        """
        if self.form is Form.text:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if self.form in (Form.word, Form.words):
            return self.word(value)
        if self.form is Form.yes_no:
            return bool(value)
        value = value.item() if isinstance(value, np.generic) else value
        if value != value or (self.zero_is_none and value == 0):
            return None
        return Decimal(value).scaleb(self.exponent(*exponents) + scale) if self.form in MANTISSAS else value


def decimal_text(value: Decimal) -> str:
    """An exact decimal as text: no exponent, no trailing zeros after the point."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _enum(members: type[IntEnum] | type[IntFlag]) -> dict[int, str]:
    return {int(one): one.name or "" for one in members}


_KINDS = _enum(Kind)
_BOUGHT = {1: "buy", -1: "sell"}
_FORM_BY_END = {"_ticks": Form.price, "_lots": Form.quantity}


def _word(name: str, words: Mapping[int, str], zero_is_none: bool = True) -> FieldLook:
    return FieldLook(name, Form.word, words, zero_is_none)


def _number(name: str) -> FieldLook:
    """A number of which 0 means that it is not known."""
    return FieldLook(name, Form.number, zero_is_none=True)


# What cannot be derived from a field's name and type. `flags` would hide behind pandas' own attribute of a frame.
_HEADER = {
    "kind": _word("kind", _KINDS),
    "flags": FieldLook("event_flags", Form.words, _enum(Flag)),
    "link": _number("link"),
    "cause_seq": _number("cause_seq"),
}
_ORDER = {
    "side": _word("side", _BOUGHT),
    "order_type": _word("order_type", _enum(OrderType)),
    "time_in_force": _word("time_in_force", _enum(TimeInForce)),
    "price_ticks": FieldLook("price", Form.price, zero_is_none=True),  # of a market order, and of a cancel
    "order_id": _number("order_id"),
}
_STREAM = {
    "stream": _word("stream", _KINDS),
    "state": _word("state", _enum(Coverage)),
    "evidence": _word("evidence", _enum(Evidence), zero_is_none=False),
    "reason": _word("reason", _enum(Reason)),
}
_STATED: dict[Kind, dict[str, FieldLook]] = {
    Kind.instrument: {
        "tick_size": FieldLook("tick_size", Form.price),
        "lot_size": FieldLook("lot_size", Form.quantity),
        "min_quantity": FieldLook("min_quantity", Form.quantity),
        "min_notional": FieldLook("min_notional", Form.price),
    },
    Kind.trade: {"side": _word("side", _BOUGHT)},
    # Price and quantity are 0 where a side of the book is empty.
    Kind.quote: {f"{side}_ticks": FieldLook(f"{side}_price", Form.price, zero_is_none=True) for side in ("bid", "ask")},
    Kind.depth: {"side": _word("side", {1: "bid", -1: "ask"})},  # 0: the change was empty
    Kind.gap: {**_STREAM, "state": _word("state", _enum(GapState))},
    Kind.signal: {
        "horizon_ns": FieldLook("horizon_ns", Form.span, zero_is_none=True),
        "reference_ticks": FieldLook("reference_price", Form.price, zero_is_none=True),
    },
    Kind.shadow: {
        **_ORDER,
        "status": _word("status", _enum(Status)),
        "fill_ticks": FieldLook("fill_price", Form.price, zero_is_none=True),
    },
    Kind.parent: {
        "style": FieldLook("execution_style", Form.text),
        "side": _word("side", _BOUGHT),
        "state": _word("state", _enum(ParentState)),
        "shadow": FieldLook("shadow", Form.yes_no),
    },
    Kind.intent: {
        **_ORDER,
        "action": _word("action", _enum(Action)),
        "reduce_only": FieldLook("reduce_only", Form.yes_no),
    },
    Kind.update: {**_ORDER, "status": _word("status", _enum(Status)), "code": _number("code")},
    Kind.fill: {
        "side": _word("side", _BOUGHT),
        "maker": FieldLook("maker", Form.yes_no),
        "fee": FieldLook("fee", Form.amount),
        "order_id": _number("order_id"),
    },
    Kind.balance: {name: FieldLook(name, Form.amount, scale="scale") for name in ("free", "locked")},
    Kind.funding: {"amount": FieldLook("amount", Form.amount, scale="scale")},
    Kind.clock: {"correction_ns": FieldLook("correction_ns", Form.span)},
    Kind.coverage: {**_STREAM, "era": _number("era")},
    Kind.line: {
        **{
            f"{what}_{part}_ns": FieldLook(f"{what}_{part}_ns", Form.span)
            for what in ("lead", "lag")
            for part in ("p50", "p99")
        },
        "stream": _word("stream", _KINDS),
        "joined": FieldLook("joined", Form.yes_no),
    },
}


def decimal_name(name: str) -> str:
    """The name of a field once scaled: `price_ticks` → `price`, `bid_ticks` → `bid_price`, `bid_lots` → `bid_quantity`."""
    for end, form in _FORM_BY_END.items():
        if name.endswith(end):
            stem = name.removesuffix(end)
            return form.value if stem == form.value else f"{stem}_{form.value}"
    return name


def _derived(name: str, dtype: np.dtype) -> FieldLook:
    if dtype.kind == "S":
        return FieldLook(name, Form.text)
    if name.endswith("_ns"):
        return FieldLook(name, Form.moment, zero_is_none=True)
    form = next((form for end, form in _FORM_BY_END.items() if name.endswith(end)), Form.number)
    return FieldLook(decimal_name(name), form)


@lru_cache
def header_looks() -> Mapping[str, FieldLook]:
    """How the fields of an event's header look, by field."""
    return {name: _HEADER.get(name) or _derived(name, HEADER[name]) for name in HEADER.names or () if name != "reserved"}


@lru_cache
def record_looks(kind: Kind) -> Mapping[str, FieldLook]:
    """How the fields of a kind's records look, by field; none for a kind whose records are a msgpack map."""
    dtype, stated = DTYPES[kind], _STATED.get(kind, {})
    return {
        name: stated.get(name) or _derived(name, dtype[name]) for name in dtype.names or () if not name.startswith("reserved")
    }


@lru_cache
def row_looks(kind: Kind) -> Mapping[str, FieldLook]:
    """How the columns of `tickmesh.storage.query.reader.arrays` look, by column: the record's field wins over the header's."""
    return {**header_looks(), **record_looks(kind)}
