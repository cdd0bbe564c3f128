"""Between executor and venue: intents on their way there, reports on their way back, each after its latency, in order.

A connection keeps the order of what is sent over it: whatever is sent later arrives no earlier.
"""

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import DTYPES, Action, Kind, OrderType, Status
from tickmesh.bus.schema import FILL as FILL_EVENT
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.exchange.market.fees import PPM
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.research.backtest import venue_kernel
from tickmesh.research.backtest.follower import SEQ_BITS
from tickmesh.research.backtest.result import FILL, ORDER
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, VenueReport

FEE_UNIT = 10**8
SECOND_NS = 1_000_000_000
PRODUCER = "session"


@dataclass(slots=True)
class BacktestOrder:
    """An order from its intent on. Prices and quantities are mantissas; times ns of the log."""

    number: int
    slot: int
    strategy: str
    intent: np.void
    sent_ns: int
    parent_seq: int
    cause_seq: int
    arrived_ns: int = 0
    ended_ns: int = 0
    status: int = int(Status.PendingNew)
    lots: int = 0
    filled: int = 0


class Message(NamedTuple):
    """What is under way: an intent to the venue, or an event of the session to the log."""

    at_ns: int
    number: int  # of messages, so that one order holds among those of one time
    intent: np.void | None
    slot: int
    event: bytearray | None
    order: int = -1


class _ParentSeen(NamedTuple):
    number: int
    mid: float  # in ticks, when it began
    wanted: int


NO_PARENT = _ParentSeen(-1, math.nan, 0)


@dataclass(slots=True)
class _Collected:
    fills: list[tuple[object, ...]] = field(default_factory=list)
    parents: dict[tuple[str, str, int], "_ParentSeen"] = field(default_factory=dict)  # by subject, strategy, parent_seq


class BacktestSession:
    """Carries intents to the venue and its answers back. `subjects`: by slot, `venue.symbol`."""

    def __init__(self, venue: ColumnVenue, terms: VenueTerms, subjects: tuple[str, ...], strategies: tuple[str, ...]):
        self._venue, self._terms, self._subjects, self._strategies = venue, terms, subjects, strategies
        self._rules: dict[int, InstrumentRules] = {}
        self._orders: list[BacktestOrder] = []
        self._by_id: dict[bytes, BacktestOrder] = {}
        self._under_way: list[Message] = []
        self._count = self._trades = 0
        self._last_ns = [0, 0]  # when the newest message arrives: at the venue, at the log
        self._collected = _Collected()
        quotes = [subject.partition(".")[2] for subject in subjects]
        self._fee_assets = [(one.rpartition("/")[2] if "/" in one else spec(one).quote).encode()[:16] for one in quotes]

    def define(self, slot: int, record: np.void) -> None:
        """Takes a definition of an instrument: an INSTRUMENT record."""
        names = InstrumentRules.__struct_fields__
        self._rules[slot] = InstrumentRules(*(int(record[name]) for name in names))
        self._venue.define(slot, int(record["lot_size"]), int(record["quantity_exponent"]))

    @property
    def next_ns(self) -> int | None:
        """When the next message arrives, None where none is under way."""
        return self._under_way[0].at_ns if self._under_way else None

    # To the venue

    def take_answers(self, answers: list[Event]) -> None:
        """Takes what the executor says: intents leave at once."""
        for event in answers:
            if event.kind == Kind.intent:
                for intent in event.records:
                    self._send(intent, self._subjects.index(event.subject), event.seq_ns, event.cause_seq)
            elif event.kind == Kind.parent:
                for one in event.records:
                    key = event.subject, _text(one["strategy"]), int(one["parent_seq"])
                    mid = (int(one["bid_ticks"]) + int(one["ask_ticks"])) / 2
                    seen = self._collected.parents.get(key) or _ParentSeen(len(self._collected.parents), mid, 0)
                    self._collected.parents[key] = seen._replace(wanted=int(one["wanted_lots"]))

    def _send(self, intent: np.void, slot: int, now_ns: int, cause_seq: int) -> None:
        number = -1
        if intent["action"] == Action.NEW:
            number = len(self._orders)
            strategy, parent = _text(intent["strategy"]), int(intent["parent_seq"])
            order = BacktestOrder(number, slot, strategy, intent, now_ns, parent, cause_seq, lots=int(intent["quantity_lots"]))
            self._orders.append(order)
            self._by_id[bytes(intent["client_order_id"])] = order
        at_ns = self._arrival(0, now_ns, self._terms.latency.at(now_ns).entry_s)
        self._push(Message(at_ns, self._count, intent, slot, None, number))

    def _arrival(self, way: int, now_ns: int, seconds: float) -> int:
        self._last_ns[way] = max(self._last_ns[way], now_ns + round(seconds * SECOND_NS))
        return self._last_ns[way]

    def _push(self, message: Message) -> None:
        heappush(self._under_way, message)
        self._count += 1

    def arrive(self) -> tuple[int, bytearray | None]:
        """The next message arrives: gives when, and the event, if it is one for the log."""
        message = heappop(self._under_way)
        if message.intent is None:
            return message.at_ns, message.event
        if message.order >= 0:
            self._enter(self._orders[message.order], message.at_ns)
        else:
            self._change(message.intent, message.at_ns)
        return message.at_ns, None

    def _enter(self, order: BacktestOrder, now_ns: int) -> None:
        order.arrived_ns = now_ns
        intent, rules = order.intent, self._rules.get(order.slot)
        kind, price = int(intent["order_type"]), int(intent["price_ticks"])
        if reason := _refusal(rules, kind, price, order.lots):
            self._end(order, Status.Rejected, now_ns)
            self._report(order, now_ns, self._answer_ns(now_ns), reason)
            return
        terms = int(intent["side"]), kind, int(intent["time_in_force"]), price, order.lots
        self.take_reports(self._venue.enter(order.number, order.slot, *terms), now_ns)

    def _change(self, intent: np.void, now_ns: int) -> None:
        """A cancel, or an amendment; where there is nothing to change only a refused amendment is worth a word."""
        order = self._by_id.get(bytes(intent["target_id"]))
        amends = intent["action"] == Action.AMEND
        done = False
        if order is not None and not order.ended_ns:
            lots = int(intent["quantity_lots"])
            taken = order.lots - (max(lots, order.filled) if amends else order.filled)
            if not amends:
                done = self._venue.cut(order.number, taken) == 0
            elif order.filled < lots < order.lots:
                done = self._venue.cut(order.number, taken) > 0
            if done and amends:
                order.lots = lots
            elif done:
                self._end(order, Status.Canceled, now_ns)
        if order is not None and done:
            self._report(order, now_ns, self._answer_ns(now_ns))
        elif order is not None and amends:
            why, name = "the order cannot be reduced so", bytes(intent["client_order_id"])
            self._report(order, now_ns, self._answer_ns(now_ns), why, name, Status.Rejected)

    # From the venue

    def take_reports(self, reports: list[VenueReport], now_ns: int) -> None:
        """Takes what the venue says at a time; it is on its way to the log from then on."""
        at_ns = self._answer_ns(now_ns) if reports else 0
        for one in reports:
            order = self._orders[one.order]
            if one.what == venue_kernel.ACCEPTED:
                order.status = int(Status.New)
            elif one.what == venue_kernel.FILLED:
                self._fill(order, one, now_ns, at_ns)
            else:
                rejected = one.what == venue_kernel.REJECTED
                self._end(order, Status.Rejected if rejected else Status.Expired, now_ns)
            self._report(order, now_ns, at_ns)

    def _answer_ns(self, now_ns: int) -> int:
        """When the log has what the venue says now."""
        return self._arrival(1, now_ns, self._terms.latency.at(now_ns).response_s)

    def _end(self, order: BacktestOrder, status: Status, now_ns: int) -> None:
        order.status, order.ended_ns = int(status), now_ns

    def _fill(self, order: BacktestOrder, one: VenueReport, now_ns: int, at_ns: int) -> None:
        order.filled += one.lots
        order.status = int(Status.PartiallyFilled)
        if order.filled >= order.lots:
            self._end(order, Status.Filled, now_ns)
        rules = self._rules[order.slot]
        price, quantity = one.price * 10.0**rules.price_exponent, one.lots * 10.0**rules.quantity_exponent
        rate = self._terms.fees.maker_ppm if one.maker else self._terms.fees.taker_ppm
        fee = price * quantity * rate / PPM
        side = int(order.intent["side"])
        strategy = self._strategies.index(order.strategy) if order.strategy in self._strategies else -1
        self._collected.fills.append((now_ns, order.number, order.slot, strategy, side, one.maker, price, quantity, fee))
        self._trades += 1
        row = np.zeros(1, FILL_EVENT)
        row["client_order_id"], row["side"], row["maker"] = order.intent["client_order_id"], side, one.maker
        row["order_id"], row["trade_id"], row["venue_ns"] = order.number + 1, self._trades, now_ns
        row["price_ticks"], row["quantity_lots"] = one.price, one.lots
        row["fee"], row["fee_asset"] = round(fee * FEE_UNIT), self._fee_assets[order.slot]
        self._back(Kind.fill, order, row, now_ns, at_ns)

    def _report(
        self, order: BacktestOrder, now_ns: int, at_ns: int, reason: str = "", request: bytes = b"",
        status: Status | None = None,
    ) -> None:  # fmt: skip
        """Reports an order's state, or what became of a request about it."""
        intent, row = order.intent, np.zeros(1, DTYPES[Kind.update])
        for name in ("side", "order_type", "time_in_force", "price_ticks"):
            row[name] = intent[name]
        row["client_order_id"], row["order_id"] = request or intent["client_order_id"], order.number + 1
        row["status"], row["quantity_lots"], row["filled_lots"] = status or order.status, order.lots, order.filled
        row["venue_ns"], row["reason"] = now_ns, reason.encode()[:80]
        self._back(Kind.update, order, row, now_ns, at_ns)

    def _back(self, kind: Kind, order: BacktestOrder, row: np.ndarray, now_ns: int, at_ns: int) -> None:
        event = encode(kind, self._subjects[order.slot], row, venue_ns=now_ns)
        self._push(Message(at_ns, self._count, None, order.slot, event))

    # What there was

    def fills(self) -> np.ndarray:
        """The fills, (n,) result.FILL in order of time."""
        return np.array(self._collected.fills, FILL)

    def orders(self) -> np.ndarray:
        """The orders, (n,) result.ORDER in order of sending."""
        out = np.zeros(len(self._orders), ORDER)
        for row, order in zip(out, self._orders):
            rules, intent = self._rules.get(order.slot), order.intent
            price, lots = (10.0**rules.price_exponent, 10.0**rules.quantity_exponent) if rules else (np.nan, np.nan)
            parent = self._collected.parents.get((self._subjects[order.slot], order.strategy, order.parent_seq), NO_PARENT)
            strategy = self._strategies.index(order.strategy) if order.strategy in self._strategies else -1
            row["order"], row["instrument"], row["strategy"], row["side"] = order.number, order.slot, strategy, intent["side"]
            row["type"], row["status"] = intent["order_type"], order.status
            row["sent_ns"], row["arrived_ns"], row["ended_ns"] = order.sent_ns, order.arrived_ns, order.ended_ns
            row["price"], row["quantity"] = int(intent["price_ticks"]) * price, order.lots * lots
            row["filled"], row["arrival_mid"] = order.filled * lots, parent.mid * price
            row["parent"], row["parent_wanted"] = parent.number, parent.wanted * lots
            row["cause_seq"], row["parent_seq"] = order.cause_seq >> SEQ_BITS, order.parent_seq >> SEQ_BITS
        return out


def _refusal(rules: InstrumentRules | None, order_type: int, price: int, lots: int) -> str:
    """Why a venue's filters refuse an order; "" where they do not."""
    if rules is None:
        return "the instrument is not defined"
    if lots % max(rules.lot_size, 1):
        return "LOT_SIZE"
    if order_type != OrderType.MARKET and (price <= 0 or price % max(rules.tick_size, 1)):
        return "PRICE_FILTER"
    if lots < max(rules.min_quantity, 1) or (order_type != OrderType.MARKET and not rules.takes(lots, price)):
        return "MIN_NOTIONAL"
    return ""


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
