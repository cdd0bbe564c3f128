"""An event as a person reads it on a line, and as `--json` prints it."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.schema import DTYPES, Action, Flag, Kind, OrderType, Status
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import Event

SECOND = 1_000_000_000
MANTISSAS = Instrument(symbol="", price_exponent=0, quantity_exponent=0)  # of an instrument that mesh.toml has no more
LEVELS_SHOWN = 3
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


def as_dict(event: Event) -> dict[str, Any]:
    """An event as `--json` prints it: header and records with the names of docs/messages.md. Integers are exact.

    `lag_ms`: from the frame's arrival here to its place in the log, null where no frame caused it. `age_ms`: since then.
    """
    head = {name: getattr(event, name) for name in Event.__slots__ if name not in ("raw", "_records", "reserved", "size")}
    head |= {"topic": event.topic, "kind": Kind(event.kind).name}
    head |= {"lag_ms": lag_ns(event) / 1e6 if event.recv_ns else None, "age_ms": (now_ns() - event.seq_ns) / 1e6}
    if DTYPES[Kind(event.kind)].names is None:
        return {**head, "records": [event.map()]}
    names = [name for name in event.records.dtype.names or () if not name.startswith("reserved")]
    rows = event.records[names].tolist()
    return {**head, "records": [{n: _plain(v) for n, v in zip(names, row)} for row in rows]}


def lag_ns(event: Event) -> int:
    """How long the mesh took from the frame's arrival to the event's place in the log."""
    return event.seq_ns - event.recv_ns


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


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
        time_text(event.seq_ns, local), f"{event.seq:>9}", f"{event.topic:<26}", content_of(config, event),
        f"{lag}age {age_text(now_ns() - event.seq_ns)}",
    )  # fmt: skip


def decimal_text(mantissa: int, exponent: int) -> str:
    """Formats mantissa × 10^exponent as an exact decimal without trailing zeros."""
    text = f"{Decimal(int(mantissa)).scaleb(exponent):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=1)
def _instruments(config: Config) -> DecidedInstruments:
    return DecidedInstruments(config)


def content_of(config: Config, event: Event) -> str:
    """Formats the content of an event in a few words."""
    kind = Kind(event.kind)
    if kind is Kind.alert:
        fields = {**dict.fromkeys(("level", "target", "what", "why", "action"), "?"), **event.map()}
        return "{level}: {target}: {what}: {why}; {action}".format(**fields)
    if DTYPES[kind].names is None:
        return " ".join(f"{name}={value}" for name, value in event.map().items())
    row = event.records[0]
    market = _instruments(config).for_reading(event.subject) or MANTISSAS

    def price(mantissa: int) -> str:
        return decimal_text(mantissa, market.price_exponent)

    def quantity(mantissa: int) -> str:
        return decimal_text(mantissa, market.quantity_exponent)

    if kind is Kind.trade:
        return f"{_side(row)} {quantity(row['quantity_lots'])} @ {price(row['price_ticks'])}  id {row['trade_id']}"
    if kind is Kind.quote:
        bid = f"{quantity(row['bid_lots'])} @ {price(row['bid_ticks'])}"
        return f"{bid} | {quantity(row['ask_lots'])} @ {price(row['ask_ticks'])}  id {row['update_id']}"
    if kind is Kind.depth:
        what = "snapshot" if event.flags & Flag.SNAPSHOT else "change"
        levels = ", ".join(
            f"{'bid' if r['side'] > 0 else 'ask'} {price(r['price_ticks'])}: {quantity(r['quantity_lots'])}"
            for r in event.records[:LEVELS_SHOWN]
            if r["side"]
        )
        more = f" … {event.count} levels" if event.count > LEVELS_SHOWN else ""
        return f"{what} {event.first_id}–{event.last_id}  {levels}{more}"
    if kind is Kind.signal:
        return f"{_plain(row['model'])} {row['value']:+.4f}  fair {row['price']:.8g}  cause {event.cause_seq}"
    if kind is Kind.intent:
        if row["action"] != Action.NEW:
            return f"cancel {_plain(row['target_id'])}  {_plain(row['client_order_id'])}"
        where = "at market" if row["order_type"] == OrderType.MARKET else f"@ {price(row['price_ticks'])}"
        return f"{_side(row)} {quantity(row['quantity_lots'])} {where}  {_plain(row['client_order_id'])}"
    if kind is Kind.update:
        done = f"{quantity(row['filled_lots'])} of {quantity(row['quantity_lots'])}"
        return f"{Status(row['status']).name} {done}  {_plain(row['client_order_id'])} {_plain(row['reason'])}"
    if kind is Kind.fill:
        order = f"{_side(row)} {quantity(row['quantity_lots'])} @ {price(row['price_ticks'])}"
        return f"{order}  trade {row['trade_id']}  {_plain(row['client_order_id'])}"
    named = (n for n in row.dtype.names if not n.startswith("reserved"))
    return " ".join(f"{name}={_plain(row[name].item())}" for name in named)


def _side(row: Any) -> str:
    return "buy" if row["side"] > 0 else "sell"
