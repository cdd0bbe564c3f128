"""An event as a person reads it on a line, and as `--json` prints it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.fields import AMOUNT_EXPONENT, MANTISSAS, FieldLook, Form, decimal_text, header_looks, record_looks
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.schema import Action, Flag, Kind
from tickmesh.bus.wire import Event

SECOND = 1_000_000_000
LEVELS_SHOWN = 3
ASSETS_SHOWN = 6
FEATURES_SHOWN = 6
Texts = dict[str, str]  # of a record: what a field is called → how it looks, "" where there is none
AGES = ((86_400 * SECOND, "d", 3600 * SECOND, "h"), (3600 * SECOND, "h", 60 * SECOND, "min"), (60 * SECOND, "min", SECOND, "s"))


class EventLine(NamedTuple):
    """The parts of an event's line: when, its seq and topic, its content, and how late and old it is."""

    when: str
    seq: str
    topic: str
    content: str
    delays: str

    def __str__(self) -> str:
        return f"{self.when}  {self.seq}  {self.topic} {self.content}  {self.delays}"


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


def time_text(ns: int, local: bool = False) -> str:
    """A time as HH:MM:SS.nnnnnnnnn of UTC or of this machine's zone; the date stands before it unless that is today."""
    seconds, rest = divmod(ns, SECOND)
    moment, today = (datetime.fromtimestamp(one, UTC) for one in (seconds, now_ns() // SECOND))
    if local:
        moment, today = moment.astimezone(), today.astimezone()
    day = "" if moment.date() == today.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M:%S}.{rest:09d}"


def age_text(ns: int) -> str:
    """How long ago, in two units at most: `0.31 ms`, `12.3 s`, `18 min 23 s`, `2 d 3 h`."""
    for least, unit, small, small_unit in AGES:
        if ns >= least:
            return f"{ns // least} {unit} {ns % least // small} {small_unit}"
    return f"{ns / SECOND:.1f} s" if ns >= SECOND else f"{ns / 1e6:.2f} ms"


def event_line(config: Config, event: Event, local: bool = False) -> EventLine:
    """Formats an event for a person."""
    lag = f"lag {lag_ns(event) / 1e6:.2f} ms  " if event.recv_ns else ""
    return EventLine(
        time_text(event.seq_ns, local), f"{event.seq:>9}", f"{event.topic:<26}", content_of(config, event, local),
        f"{lag}age {age_text(now_ns() - event.seq_ns)}",
    )  # fmt: skip


@lru_cache(maxsize=1)
def _instruments(config: Config) -> DecidedInstruments:
    return DecidedInstruments(config)


def content_of(config: Config, event: Event, local: bool = False) -> str:
    """Formats the content of an event in a few words."""
    kind = Kind(event.kind)
    if kind is Kind.alert:
        fields = {**dict.fromkeys(("level", "target", "what", "why", "action"), "?"), **event.map()}
        return "{level}: {target}: {what}: {why}; {action}".format(**fields)
    looks = record_looks(kind)
    if not looks:
        return " ".join(f"{name}={value}" for name, value in event.map().items())
    exponents = exponents_of(config, event)
    shown = [
        _texts(looks, row, exponents, local) for row in event.records[: max(LEVELS_SHOWN, ASSETS_SHOWN)][list(looks)].tolist()
    ]
    return WORDS.get(kind, _named)(event, shown)


def _texts(looks: Mapping[str, FieldLook], row: tuple[Any, ...], exponents: tuple[int, int], local: bool) -> Texts:
    scales = dict(zip(looks, row))
    return {
        look.name.removesuffix("_ns"): _text(look, look.shown(value, exponents, scales.get(look.scale, 0)), local)
        for look, value in zip(looks.values(), row)
    }


def _text(look: FieldLook, value: Any, local: bool) -> str:
    if value is None:
        return ""
    if look.form is Form.moment:
        return time_text(value, local)
    if look.form is Form.span:
        return f"{value / 1e6:g} ms"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


def _order(one: Texts) -> str:
    return f"{one['side']} {one['quantity']} " + (f"@ {one['price']}" if one["price"] else "at market")


def _trade(event: Event, rows: list[Texts]) -> str:
    marks = header_looks()["flags"].word(event.flags) or ""  # what is special about it: repaired, …
    return f"{_order(rows[0])}  id {rows[0]['trade_id']}  {marks.lower().replace('_', ' ')}".rstrip()


def _quote(_event: Event, rows: list[Texts]) -> str:
    one = rows[0]
    bid, ask = (
        f"{one[f'{side}_quantity']} @ {one[f'{side}_price']}" if one[f"{side}_price"] else "none" for side in ("bid", "ask")
    )
    return f"{bid} | {ask}  id {one['update_id']}"


def _depth(event: Event, rows: list[Texts]) -> str:
    what = "snapshot" if event.flags & Flag.SNAPSHOT else "change"
    levels = ", ".join(f"{one['side']} {one['price']}: {one['quantity']}" for one in rows[:LEVELS_SHOWN] if one["side"])
    more = f" … {event.count} levels" if event.count > LEVELS_SHOWN else ""
    return f"{what} {event.first_id}–{event.last_id}  {levels}{more}"


def _signal(event: Event, rows: list[Texts]) -> str:
    value, price = (float(event.records[0][name]) for name in ("value", "price"))
    fair = "" if price != price else f"  fair {price:.8g}"
    return f"{rows[0]['model']} {value:+.4f}{fair}  cause {event.cause_seq}"


def _feature(event: Event, rows: list[Texts]) -> str:
    shown = event.records[["feature", "value"]][:FEATURES_SHOWN].tolist()
    values = ", ".join(f"{name.decode()} {value:.6g}" for name, value in shown)
    more = f" … {event.count} features" if event.count > FEATURES_SHOWN else ""
    return f"{values}{more}  at {rows[0]['at']}"


def _intent(_event: Event, rows: list[Texts]) -> str:
    one = rows[0]
    if one["action"] == Action.CANCEL.name:
        return f"cancel {one['target_id']}  {one['client_order_id']}"
    only = " reduce-only" if one["reduce_only"] == "yes" else ""
    return f"{_order(one)}  {one['order_type']} {one['time_in_force']}".rstrip() + f"{only}  {one['client_order_id']}"


def _update(_event: Event, rows: list[Texts]) -> str:
    one = rows[0]
    where = f" @ {one['price']}" if one["price"] else ""
    done = f"{one['status']} {one['filled_quantity']} of {one['quantity']}{where}"
    return f"{done}  {one['client_order_id']} {one['reason']}".rstrip()


def _fill(_event: Event, rows: list[Texts]) -> str:
    one = rows[0]
    return (
        f"{_order(one)}  {'maker' if one['maker'] == 'yes' else 'taker'}, fee {one['fee']} {one['fee_asset']}  "
        f"trade {one['trade_id']}  {one['client_order_id']}"
    )


def _balance(event: Event, rows: list[Texts]) -> str:
    assets = [f"{one['asset']} {one['free']} free, {one['locked']} locked" for one in rows[:ASSETS_SHOWN]]
    return "; ".join(assets) + (f" … {event.count} assets" if event.count > ASSETS_SHOWN else "")


def _funding(event: Event, rows: list[Texts]) -> str:
    one = rows[0]
    moved = "paid" if one["amount"].startswith("-") else "received"
    return f"{one['amount'].removeprefix('-')} {one['asset']} {moved}, transaction {one['transaction_id']}"


def _named(event: Event, rows: list[Texts]) -> str:
    words = " ".join(f"{name}={text}" for name, text in rows[0].items() if text)
    return words + (f" … {event.count} records" if event.count > 1 else "")


WORDS: dict[Kind, Callable[[Event, list[Texts]], str]] = {
    Kind.trade: _trade, Kind.quote: _quote, Kind.depth: _depth, Kind.signal: _signal, Kind.feature: _feature,
    Kind.intent: _intent,
    Kind.update: _update, Kind.fill: _fill, Kind.balance: _balance, Kind.funding: _funding,
}  # fmt: skip
