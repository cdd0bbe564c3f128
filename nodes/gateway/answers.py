"""What answers look like, for the OpenAPI description: JSON schemas of events, from the tables of fields, and of all else."""

from functools import cache
from typing import Any

from tickmesh.bus.fields import MANTISSAS, FieldLook, Form, header_looks, record_looks
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.table_names import TABLES

JsonObject = dict[str, Any]
INTEGER, NUMBER, TEXT, BOOLEAN = {"type": "integer"}, {"type": "number"}, {"type": "string"}, {"type": "boolean"}
DECIMAL = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "description": "an exact decimal"}
ANY_OBJECT: JsonObject = {"type": "object"}
NOT_IN_HEAD = ("size", "flags", "producer", "subject")  # of a header: they are given otherwise, or not at all
EXPONENTS = tuple(f"{form}_exponent" for form in MANTISSAS)
LEVEL = ("price", "quantity", "price_ticks", "quantity_lots")


def or_null(schema: JsonObject) -> JsonObject:
    """The schema of a value that may be null."""
    return {**schema, "type": [schema["type"], "null"]}


def whole(properties: JsonObject, optional: JsonObject | None = None) -> JsonObject:
    """The schema of an object with exactly these properties, and some of the `optional` ones."""
    return {
        "type": "object", "properties": {**properties, **(optional or {})}, "required": list(properties),
        "additionalProperties": False,
    }  # fmt: skip


def list_of(schema: JsonObject) -> JsonObject:
    """The schema of a list."""
    return {"type": "array", "items": schema}


def map_of(schema: JsonObject) -> JsonObject:
    """The schema of an object with any names and such values."""
    return {"type": "object", "additionalProperties": schema}


def reference(name: str) -> JsonObject:
    """A reference to one of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def event_name(kind: Kind) -> str:
    """What the schema of a kind's events is called."""
    return f"{kind.name}_event"


def page_name(kind: Kind) -> str:
    """What the schema of a page of a kind's events is called."""
    return f"{kind.name}_page"


@cache
def schemas() -> dict[str, JsonObject]:
    """Every schema by its name."""
    kinds = [kind for kind in Kind if kind is not Kind.raw]
    found = {event_name(kind): _event(kind) for kind in kinds}
    found |= {page_name(kind): _page(reference(event_name(kind)), kind) for kind in TABLES.values() if kind is not Kind.raw}
    found["page"] = _page({"anyOf": [reference(event_name(kind)) for kind in kinds]})
    return found | ANSWERS


def _field(look: FieldLook, code: str) -> JsonObject:
    """The schema of what a field is shown as. `code`: of its dtype."""
    if look.form in MANTISSAS:
        schema = DECIMAL
    elif look.form in (Form.word, Form.words):
        words = ", ".join(look.words.values())
        schema = {**TEXT, "description": f"{'of these, joined by |' if look.form is Form.words else 'one of'}: {words}"}
        return or_null(schema) if look.zero_is_none else schema
    elif look.form is Form.text:
        return TEXT
    elif look.form is Form.yes_no:
        return BOOLEAN
    else:
        schema = NUMBER if code == "f" else INTEGER
        if look.form is Form.moment:
            schema = {**schema, "description": "nanoseconds since 1970"}
    return or_null(schema) if look.zero_is_none or code == "f" else schema


def _record(kind: Kind) -> JsonObject:
    looks, dtype = record_looks(kind), DTYPES[kind]
    if not looks:
        return ANY_OBJECT
    properties: JsonObject = {}
    for name, look in looks.items():
        if look.form in MANTISSAS:
            properties[name if name != look.name else f"{name}_mantissa"] = {**INTEGER, "description": "its mantissa"}
        properties[look.name] = _field(look, dtype[name].kind)
    return whole(properties)


def _event(kind: Kind) -> JsonObject:
    head = {name: _field(look, "i") for name, look in header_looks().items() if name not in NOT_IN_HEAD}
    head |= {
        "topic": {**TEXT, "examples": [f"{kind.name}.binance.BTCUSDT"]}, "producer": TEXT, "subject": TEXT, "flags": INTEGER,
        "event_flags": or_null(TEXT), "lag_ms": or_null(NUMBER), "age_ms": NUMBER,
    }  # fmt: skip
    return whole({**head, "records": list_of(_record(kind))}, dict.fromkeys(EXPONENTS, INTEGER))


def _page(event: JsonObject, kind: Kind | None = None) -> JsonObject:
    own = {"kind": {**TEXT, "const": kind.name}} if kind is not None else {}
    following = or_null(
        {**TEXT, "description": "the address of what follows; null where the end that was asked for is reached"}
    )
    return whole({
        "events": list_of(event), **own, "seq": {**INTEGER, "description": "up to here you have everything"},
        "more": {**BOOLEAN, "description": "whether there is more now"}, "next": following,
    })  # fmt: skip


_MONEY = {name: NUMBER for name in ("realised", "unrealised", "fee_cost", "funding")}
_HELD: JsonObject = {"type": "object", "properties": {"position": NUMBER, "average_price": NUMBER, **_MONEY, "fills": INTEGER}}
_BEAT = {"seq": {**INTEGER, "description": "of the executor's heartbeat that says so"}, "seq_ns": INTEGER}
_SIDE = list_of(whole(dict(zip(LEVEL, (DECIMAL, DECIMAL, INTEGER, INTEGER)))))
_BAR = {
    "begin_ns": INTEGER, **dict.fromkeys(("open", "high", "low", "close"), or_null(DECIMAL)),
    **dict.fromkeys(("volume", "buy_volume", "notional"), DECIMAL), "vwap": or_null(NUMBER),
    **dict.fromkeys(("count", "first_id", "last_id", "quotes", "changes"), INTEGER),
    **{f"{side}_{what}": or_null(DECIMAL) for side in ("bid", "ask") for what in ("price", "quantity")},
}  # fmt: skip
_INTERVAL = {
    **dict.fromkeys(("instrument", "kind", "state", "evidence", "reason"), TEXT), "first_id": INTEGER, "last_id": INTEGER,
    "begin": or_null(TEXT), "end": or_null(TEXT), "era": INTEGER,
}  # fmt: skip
_PROCESS = {
    "name": TEXT, "pid": or_null(INTEGER), "ready_ns": or_null(INTEGER), "heartbeat_age_s": NUMBER, "stale": BOOLEAN,
    "lag": or_null(INTEGER), "health": {**ANY_OBJECT, "description": "what the heartbeat has (docs/messages.md)"},
}  # fmt: skip
_TOPIC = {"topic": TEXT, "last_seq": INTEGER, "age_s": NUMBER, "stale": BOOLEAN}
_HOP = {
    "hop": TEXT, "count": INTEGER, **dict.fromkeys(("p50_ns", "p99_ns", "max_ns"), or_null(INTEGER)),
    "buckets": {**list_of(list_of(INTEGER)), "description": "[upper_ns, how many took less], ascending"},
}  # fmt: skip
ANSWERS: dict[str, JsonObject] = {  # the last part of a path → its answer; "v1": of the list of paths
    "v1": whole({"name": TEXT, "version": TEXT, "openapi": TEXT, "paths": list_of(TEXT)}),
    "instruments": whole({"instruments": list_of({**TEXT, "examples": ["binance.BTCUSDT"]})}),
    "books": whole({
        "instrument": TEXT, "valid": BOOLEAN, **dict.fromkeys(("seq", "seq_ns", "venue_ns", "last_update_id"), INTEGER),
        "price_exponent": INTEGER, "quantity_exponent": INTEGER, "bids": _SIDE, "asks": _SIDE,
    }),
    "bars": whole({
        "instrument": TEXT, "every_s": INTEGER, "price_exponent": INTEGER, "quantity_exponent": INTEGER,
        "bars": list_of(whole(_BAR)),
    }),
    "coverage": whole({"intervals": list_of(whole(_INTERVAL))}),
    "status": {
        "type": "object", "required": ["mode", "source", "log", "topics", "gateway"],
        "properties": {
            "mode": TEXT, "source": TEXT, "log": whole({"log_id": TEXT, "last_seq": INTEGER, "durable_seq": INTEGER}),
            "topics": list_of(whole(_TOPIC)), "gateway": {**ANY_OBJECT, "description": "what the gateway counts of itself"},
        },
    },
    "processes": whole({"processes": list_of(whole(_PROCESS))}),
    "latency": whole({"window_s": NUMBER, "hops": list_of(whole(_HOP))}),
    "positions": whole({**_BEAT, "positions": map_of(_HELD), "strategies": map_of(map_of(_HELD))}),
    "pnl": whole({
        **_BEAT, "currency": TEXT, "profit": or_null(NUMBER),
        "instruments": map_of({"type": "object", "properties": {**_MONEY, "fills": INTEGER}}),
        "strategies": map_of(or_null(NUMBER)), "fees": map_of(NUMBER), "fundings": map_of(NUMBER),
        "kill_switch": or_null(ANY_OBJECT),
    }),
    "problem": {
        "type": "object", "required": ["type", "title", "status", "detail"],
        "properties": {"type": TEXT, "title": TEXT, "status": INTEGER, "detail": TEXT, "instance": TEXT},
    },
}  # fmt: skip
