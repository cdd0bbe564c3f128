"""An event as a program reads it, of `tap --json` and of the gateway: plain values, with the names of docs/messages.md."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.fields import AMOUNT_EXPONENT, MANTISSAS, FieldLook, Form, decimal_text, header_looks, record_looks
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event


def as_dict(config: Config, event: Event) -> dict[str, Any]:
    """An event as `--json` prints it: header and records with the names of docs/messages.md, words and none as docs/fields.md.

    Of a price, quantity or amount both are there: the mantissa, which is exact as a number (`price_ticks`; `fee_mantissa` where
    it has no name of its own), and the decimal as a text (`price`, `fee`); the exponents stand in the event.
    `lag_ms`: from the frame's arrival here to its place in the log, null where no frame caused it. `age_ms`: since then.
    """
    kind = Kind(event.kind)
    header = header_looks()
    head = {
        name: header[name].shown(getattr(event, name))
        for name in header
        if name not in ("size", "flags", "producer", "subject")
    }
    head |= {"topic": event.topic, "producer": event.producer, "subject": event.subject}
    head |= {"flags": event.flags, "event_flags": header["flags"].word(event.flags)}
    head |= {"lag_ms": lag_ns(event) / 1e6 if event.recv_ns else None, "age_ms": (now_ns() - event.seq_ns) / 1e6}
    looks = record_looks(kind)
    if not looks:
        return {**head, "records": [event.map()]}
    exponents = exponents_of(config, event)
    for form, exponent in zip(MANTISSAS, (*exponents, AMOUNT_EXPONENT)):
        if any(look.form is form for look in looks.values()) and f"{form}_exponent" not in looks:
            head[f"{form}_exponent"] = exponent
    return {**head, "records": [_plain(looks, row, exponents) for row in event.records[list(looks)].tolist()]}


def _plain(looks: Mapping[str, FieldLook], row: tuple[Any, ...], exponents: tuple[int, int]) -> dict[str, Any]:
    """One record: field → value."""
    out: dict[str, Any] = {}
    scales = dict(zip(looks, row))
    for (name, look), value in zip(looks.items(), row):
        shown = look.shown(value, exponents, scales.get(look.scale, 0))
        if look.form in MANTISSAS:
            out[name if name != look.name else f"{name}_mantissa"] = value
            shown = None if shown is None else decimal_text(shown)
        out[look.name] = shown
    return out


def exponents_of(config: Config, event: Event) -> tuple[int, int]:
    """(price_exponent, quantity_exponent) of an event's records."""
    if event.kind == Kind.instrument:
        row = event.records[-1]
        return int(row["price_exponent"]), int(row["quantity_exponent"])
    if not any(look.form in (Form.price, Form.quantity) for look in record_looks(Kind(event.kind)).values()):
        return 0, 0
    market = _instruments(config).for_reading(event.subject)
    return _archived_exponents(config, event.subject) if market is None else (market.price_exponent, market.quantity_exponent)


@lru_cache
def _archived_exponents(config: Config, subject: str) -> tuple[int, int]:
    """Of an instrument that mesh.toml has no more; (0, 0), which leaves mantissas as they are, where nothing knows them."""
    from tickmesh.storage.query import reader  # takes longer to import than tap to show a line

    return reader.exponents(config, subject)


def lag_ns(event: Event) -> int:
    """How long the mesh took from the frame's arrival to the event's place in the log."""
    return event.seq_ns - event.recv_ns


@lru_cache(maxsize=1)
def _instruments(config: Config) -> DecidedInstruments:
    return DecidedInstruments(config)
