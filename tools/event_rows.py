"""Events as rows of columns, one a record, with the names that `tap --json` has: for choosing columns, filters and files."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from tickmesh.bus.config import Config
from tickmesh.bus.fields import MANTISSAS, FieldLook, Form, header_looks, record_looks
from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.query.event_dict import as_dict
from tickmesh.tools.terminal import UsageFailure

Row = dict[str, Any]
ColumnType = Literal["int", "float", "text", "time", "bool"]
OF_EVENT: dict[str, ColumnType] = {  # what an event has beside the fields of its header
    "topic": "text", "producer": "text", "subject": "text", "event_flags": "text", "lag_ms": "float", "age_ms": "float",
    "price_exponent": "int", "quantity_exponent": "int", "amount_exponent": "int",
}  # fmt: skip
FIRST = ("seq", "seq_ns", "topic")  # columns where nobody chooses any, before those of the records
FORMS: dict[Form, ColumnType] = {
    Form.price: "float", Form.quantity: "float", Form.amount: "float", Form.moment: "time", Form.span: "int", Form.word: "text",
    Form.words: "text", Form.text: "text", Form.yes_no: "bool",
}  # fmt: skip


def rows_of(config: Config, event: Event) -> Iterator[Row]:
    """Gives a row for each record of an event: what the event has, and the record; where both have a name, the record's."""
    head = as_dict(config, event)
    records = head.pop("records")
    return ({**head, **record} for record in records)


def columns_of(kinds: Sequence[Kind]) -> dict[str, ColumnType]:
    """Column → type of the rows of these kinds; of kinds whose records are maps only what every event has."""
    found = {name: _type(look, HEADER[name].kind) for name, look in header_looks().items() if name not in ("size", "flags")}
    found |= {"flags": "int", **OF_EVENT}
    for kind in kinds:
        for name, look in record_looks(kind).items():
            found[look.name] = _type(look, DTYPES[kind][name].kind)
            if look.form in MANTISSAS:
                found[name if name != look.name else f"{name}_mantissa"] = "int"
    return found


def has_maps(kinds: Sequence[Kind]) -> bool:
    """Whether one of these kinds has records whose fields are not known beforehand."""
    return any(not record_looks(kind) for kind in kinds)


def usual_columns(kinds: Sequence[Kind]) -> list[str]:
    """The columns of these kinds where nobody chooses any."""
    return list(dict.fromkeys([*FIRST, *(look.name for kind in kinds for look in record_looks(kind).values())]))


def chosen_columns(text: str, kinds: Sequence[Kind]) -> list[str]:
    """The columns that `--columns` names, by commas. Raises UsageFailure for one that these kinds do not have."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageFailure("--columns names none; they are given by commas, like seq,price,quantity")
    check_columns("--columns", names, kinds)
    return names


def check_columns(option: str, names: Sequence[str], kinds: Sequence[Kind]) -> None:
    """Raises UsageFailure for a column that none of these kinds has."""
    known = columns_of(kinds)
    unknown = next((name for name in names if name not in known), "")
    if unknown and not has_maps(kinds):
        near = get_close_matches(unknown, known, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UsageFailure(f"{option}: there is no column {unknown!r}{meant}; there are: {', '.join(known)}")


def _type(look: FieldLook, code: str) -> ColumnType:
    return FORMS.get(look.form) or ("float" if code == "f" else "int")
