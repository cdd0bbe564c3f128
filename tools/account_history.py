"""Orders, fills and positions from archive and log, with the executor's own functions, whether the mesh runs or not."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.layout import record_reader, record_struct
from tickmesh.bus.schema import Action, Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.state import ExecutorState
from tickmesh.nodes.orders.fills import is_known_fill
from tickmesh.nodes.orders.states import FINAL

KINDS = (Kind.instrument, Kind.intent, Kind.update, Kind.fill)

_read_rules = record_reader(Kind.instrument, *InstrumentRules.__struct_fields__)
TERMS = ("side", "order_type", "time_in_force", "price_ticks", "quantity_lots")
INTENT = record_struct(Kind.intent, "client_order_id", "target_id", "action", *TERMS, "strategy", "parent_seq")
UPDATE = record_struct(
    Kind.update, "client_order_id", "order_id", "status", *TERMS, "filled_lots", "reason",
)  # fmt: skip
FILL = record_struct(
    Kind.fill, "client_order_id", "side", "maker", "order_id", "trade_id", "price_ticks", "quantity_lots", "fee", "fee_asset",
)  # fmt: skip


@dataclass
class OrderRow:
    """One order as the log has it. Times are seq_ns; `cost`: price_ticks × lots of its fills, `fees` by asset at 10^−8."""

    subject: str
    order: Order
    seq: int  # of its intent; of an order that was placed elsewhere of the first update
    updated_seq: int
    updated_ns: int
    reason: str = ""  # of the venue or of the session, with the newest update that has one
    cost: int = 0
    fees: dict[str, int] = field(default_factory=dict)


class FillRow(NamedTuple):
    """One fill. Mantissas are those of the instrument, `fee` is at 10^−8 of its asset."""

    seq: int
    seq_ns: int
    subject: str
    strategy: str
    client_order_id: str
    order_id: int
    trade_id: int
    side: int
    price_ticks: int
    lots: int
    fee: int
    fee_asset: str
    maker: bool


class Filter(NamedTuple):
    """What is wanted: an instrument and a strategy ("": any), from a place of the log on, the newest `last` of it."""

    instrument: str = ""
    strategy: str | None = None
    since_seq: int = 0
    since_ns: int = 0
    last: int = 20

    def has(self, subject: str, strategy: str) -> bool:
        """Whether it is of the wanted instrument (`BTCUSDT` or `binance.BTCUSDT`) and strategy."""
        named = self.instrument in ("", subject, subject.partition(".")[2])
        return named and (self.strategy is None or self.strategy == strategy)

    def is_since(self, seq: int, seq_ns: int) -> bool:
        """Whether a place of the log is not before the wanted part."""
        return seq >= self.since_seq and seq_ns >= self.since_ns


class AccountHistory:
    """Follows orders, fills and positions through events of KINDS, in order. Of what is over it keeps what `wanted` asks for.

    `before_fill`: called with (event, subject, asset of the fee) before a fill is counted, so that a fee in a third asset has a
    price in the state.
    """

    def __init__(self, wanted: Filter, before_fill: Callable[[Event, str, str], None] | None = None):
        self.state = ExecutorState()
        self.rows: dict[str, OrderRow] = {}  # open ones, and those that are over and wanted
        self.strategies: set[str] = set()  # those that have ordered
        self.fills: deque[FillRow] = deque(maxlen=wanted.last)
        self.orders_over = self.fills_seen = 0  # that are wanted, with those that are too many to be kept
        self.last_seq = self.last_ns = 0
        self._over: deque[str] = deque()
        self._wanted = wanted
        self._before_fill = before_fill

    def take(self, event: Event) -> None:
        """Takes in an event of the log."""
        self.last_seq, self.last_ns = event.seq, event.seq_ns
        if event.kind == Kind.instrument:
            self.state.instrument(event.subject).rules = InstrumentRules(*_read_rules(event.raw))
        elif event.kind == Kind.intent:
            self._on_intent(event)
        elif event.kind == Kind.update:
            self._on_update(event)
        elif event.kind == Kind.fill:
            self._on_fill(event)

    def _on_intent(self, event: Event) -> None:
        instrument = self.state.instrument(event.subject)
        for raw_id, target, action, side, order_type, force, price, lots, strategy, parent in INTENT.iter_unpack(event.body):
            name = _text(raw_id)
            if action == Action.NEW:
                if self.state.find_order(instrument, name) is None:
                    self._add(event, _order(event, name, (side, order_type, force, price, lots), _text(strategy), parent))
            elif (order := self.state.find_order(instrument, _text(target))) is not None:
                self.state.remember_request(name, order)

    def _add(self, event: Event, order: Order) -> OrderRow:
        self.state.add_order(event.subject, order)
        self.strategies.add(order.strategy)
        self.state.due.clear()  # nothing is cancelled here
        row = self.rows[order.client_order_id] = OrderRow(event.subject, order, event.seq, event.seq, event.seq_ns)
        return row

    def _on_update(self, event: Event) -> None:
        instrument = self.state.instrument(event.subject)
        for raw_id, order_id, status, side, order_type, force, price, lots, filled, reason in UPDATE.iter_unpack(event.body):
            name = _text(raw_id)
            if name in self.state.request_ids:
                continue
            order = self.state.find_order(instrument, name)
            if order is None:
                if status in FINAL or lots <= 0:
                    continue
                order = _order(event, name, (side, order_type, force, price, lots), "")
                self._add(event, order)
            was_final = order.final
            self.state.apply_update(instrument, order, status, filled, order_id, lots)
            self._moved(event, order, was_final, _text(reason))

    def _on_fill(self, event: Event) -> None:
        for raw_id, side, maker, order_id, trade_id, price, lots, fee, asset in FILL.iter_unpack(event.body):
            name, fee_asset = _text(raw_id), _text(asset)
            if is_known_fill(self.state.fill_ids, name, trade_id):
                continue
            if self._before_fill is not None:
                self._before_fill(event, event.subject, fee_asset)
            order = self.state.find_order(self.state.instrument(event.subject), name)
            strategy, was_final = ("", True) if order is None else (order.strategy, order.final)
            self.state.apply_fill(event.subject, name, trade_id, side, price, lots, fee, fee_asset)
            if self._wanted.has(event.subject, strategy) and self._wanted.is_since(event.seq, event.seq_ns):
                self.fills_seen += 1
                self.fills.append(
                    FillRow(event.seq, event.seq_ns, event.subject, strategy, name, order_id, trade_id, side, price, lots,
                            fee, fee_asset, bool(maker))
                )  # fmt: skip
            if (row := self.rows.get(name)) is not None:
                row.cost += price * lots
                row.fees[fee_asset] = row.fees.get(fee_asset, 0) + fee
            if order is not None:
                self._moved(event, order, was_final, "")

    def _moved(self, event: Event, order: Order, was_final: bool, reason: str) -> None:
        row = self.rows.get(order.client_order_id)
        if row is None:
            return
        row.updated_seq, row.updated_ns, row.reason = event.seq, event.seq_ns, reason or row.reason
        if was_final or not order.final:
            return
        if not (self._wanted.has(row.subject, order.strategy) and self._wanted.is_since(event.seq, event.seq_ns)):
            del self.rows[order.client_order_id]
            return
        self.orders_over += 1
        self._over.append(order.client_order_id)
        if len(self._over) > self._wanted.last:
            del self.rows[self._over.popleft()]

    def open_rows(self, wanted: Filter | None = None) -> list[OrderRow]:
        """Orders that are not final, of what is wanted, oldest first."""
        chosen = wanted or self._wanted
        return [row for row in self.rows.values() if not row.order.final and chosen.has(row.subject, row.order.strategy)]


def account_events(config: Config, until: int | None = None) -> Iterator[Event]:
    """Reads all events of KINDS, from archive, then log, to this moment. Raises ReadError, ArchiveError, LogError."""
    from tickmesh.storage.columns import reading  # with numba, 70 MB

    for span in reading.spans(config, (), KINDS, until=until):
        yield from span.events


def _order(event: Event, name: str, terms: tuple[int, int, int, int, int], strategy: str, parent: int = 0) -> Order:
    return Order(name, *terms, event.seq_ns, event.cause_seq, confirmed=True, strategy=strategy, parent_seq=parent)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
