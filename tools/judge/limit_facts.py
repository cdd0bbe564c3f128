"""What a log says of limits: which a person tightened, the prices that an order was held against, when what was known."""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from tickmesh.tools.judge.in_force import Limit, SettingsInForce
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.trading import FINAL, NEW, OrderKey, map_of

MARKET = 2  # order type of an intent
REJECTED = 7  # status of an update


FIELDS = {"position_max": "position", "position_notional": "worth", "notional_max": "worth_in_all"}


class Made(NamedTuple):
    """An intent to send an order. `worst`: the price that it is held against; `free`: no limit is, for it closes a position."""

    seq: int
    cause_seq: int
    strategy: str
    worst: int
    free: bool


class LimitFacts:
    """Takes from a log's events what its limits were held against. `settings`: takes them as well, and has the limits."""

    def __init__(self, settings: SettingsInForce) -> None:
        self.settings = settings
        self.made: dict[OrderKey, Made] = {}
        self.known_seq: dict[OrderKey, int] = {}  # of orders without an intent: when the log knew them
        self.fill_seq: dict[tuple[str, str, int], int] = {}  # and the trade id: when a fill was known
        self.denied: set[OrderKey] = set()  # the log has them as rejected
        self._changes: list[tuple[int, str, str, str]] = []  # seq, scope, limit, value
        self._seqs: dict[str, array[int]] = defaultdict(lambda: array("q"))  # of the quotes of each instrument …
        self._bids: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._asks: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._ended: set[OrderKey] = set()

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Takes events, and passes them on."""
        for event in events:
            self.settings.take(event)
            if event.kind == "quote":
                _, bid, bid_lots, ask, ask_lots, *_ = event.records[-1]
                whole = 0 < bid < ask and bid_lots > 0 and ask_lots > 0
                self._seqs[event.subject].append(event.seq)
                self._bids[event.subject].append(bid if whole else -1)
                self._asks[event.subject].append(ask if whole else -1)
            elif event.kind == "intent":
                self._intent(event)
            elif event.kind == "update":
                self._update(event)
            elif event.kind == "fill":
                for record in event.records:
                    self.fill_seq[event.subject, record[0].decode(), record[4]] = event.seq
            elif event.kind == "command":
                self._command(event.seq, map_of(event.records))
            yield event

    def _command(self, seq: int, content: Mapping[str, Any]) -> None:
        """Notes a limit that was set; what is no amount changed nothing."""
        if content.get("command") != "limit":
            return
        scope, limit, value = (str(content.get(name, "")) for name in ("scope", "limit", "value"))
        with suppress(InvalidOperation):
            if not value or Decimal(value) > 0:
                self._changes.append((seq, scope, limit, value))

    def _intent(self, event: Event) -> None:
        for record in event.records:
            name, _, action, side, order_type, _, price = record[:7]
            if action != NEW:
                continue
            strategy = record[9].decode() if len(record) > 9 else ""  # older files have neither it nor parents
            if order_type == MARKET:
                bid, ask = self.prices(event.subject, event.cause_seq)
                price = ask if side > 0 else bid
            closes = len(record) > 10 and not record[10]
            self.made[event.subject, name.decode()] = Made(event.seq, event.cause_seq, strategy, price, closes)

    def _update(self, event: Event) -> None:
        for name, _, status, _, _, _, _, _, quantity, *_ in event.records:
            key = event.subject, name.decode()
            if not quantity:
                continue  # the refusal of a cancel
            self.known_seq.setdefault(key, event.seq)
            if status in FINAL and key not in self._ended:
                self._ended.add(key)
                if status == REJECTED:
                    self.denied.add(key)

    def prices(self, subject: str, seq: int) -> tuple[int, int]:
        """(bid, ask) of the newest quote up to this seq; (0, 0) before the first, −1 where a side was empty or they crossed."""
        place = bisect_right(self._seqs[subject], seq) - 1
        return (self._bids[subject][place], self._asks[subject][place]) if place >= 0 else (0, 0)

    def in_force(self, scope: str, made: Made) -> Limit | None:
        """The limits of a scope for this order; None: the log does not tell them.

        Of each the tighter of what its executor's settings said and of what was commanded last before its cause.
        """
        limits = self.settings.at(made.seq).limits
        if limits is None:
            return None
        values = {limit: value for at, of, limit, value in self._changes if of == scope and at <= made.cause_seq}
        return self.tightened(limits.get(scope, Limit()), values)

    @staticmethod
    def tightened(stated: Limit, values: Mapping[str, str]) -> Limit:
        """The limits with the tighter of both values of each; '' as value: as stated."""
        changes: dict[str, Decimal] = {}
        for name, value in values.items():
            field = FIELDS.get(name)
            if field and value:
                present = getattr(stated, field)
                changes[field] = Decimal(value) if present is None else min(present, Decimal(value))
        most = stated.open_orders
        if orders := int(Decimal(values.get("open_orders_max") or 0)):
            most = min(most, orders) if most else orders
        return stated._replace(**changes, open_orders=most)
