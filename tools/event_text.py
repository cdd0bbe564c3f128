"""An event as a person reads it on a line; as a program reads it: storage/query/event_dict.py."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.fields import FieldLook, Form, decimal_text, header_looks, record_looks
from tickmesh.bus.schema import Action, Flag, Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.query.event_dict import exponents_of, lag_ns

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
