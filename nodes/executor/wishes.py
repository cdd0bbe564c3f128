"""What a strategy wishes on a signal: nothing, more or less of what is being done, or a parent order of its own. No I/O."""

from tickmesh.bus.settings_trading import ACCOUNT
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.ordering import Ordering
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.signals import RANGE
from tickmesh.nodes.executor.state import Book, ExecutorState, InstrumentState
from tickmesh.nodes.executor.styles.table import lifetime_ns
from tickmesh.nodes.executor.traders import Trader
from tickmesh.nodes.executor.working import NETTED, Working


class Wishes:
    """Takes signals, and begins, changes or ends parent orders."""

    def __init__(self, state: ExecutorState, ordering: Ordering, working: Working):
        self._state = state
        self._ordering = ordering
        self._exposures = ordering.exposures
        self._working = working
        self._stale_ns = ordering.stale_ns  # how old what a signal is about may be

    def on_signal(self, trader: Trader, instrument: InstrumentState, event: Event, value: float) -> None:
        """What a strategy does about a signal of an instrument that it trades."""
        status = self._state.strategies[trader.name]
        if status.state == "off":
            return
        book, live = instrument.book(trader.name), status.state == "live"
        least, most = self._state.ranges.get(event.producer, RANGE)
        if not least <= value <= most:  # nor a NaN
            book.count_refusal("range")
            return
        if abs(value) < trader.threshold:
            value = 0.0
        if not value and not trader.has_target:
            return
        book.signals += 1
        rules = instrument.rules
        worked = book.worked()
        reason = self._unready(trader, instrument, event, live)
        turned = worked is not None and not trader.has_target and (value > 0) != (worked.side > 0)
        if worked is not None and turned and reason in ("", "unconfirmed"):
            worked.end("reversed")
        if reason or rules is None:
            book.count_refusal(reason)
        elif worked is not None and worked.working and not trader.has_target:
            book.count_refusal("working")
        elif (wish := self._wish(trader, instrument, event, value, rules, live, worked)) is not None:
            self._working.begin(trader, instrument, event, *wish, not live)

    def _unready(self, trader: Trader, instrument: InstrumentState, event: Event, live: bool) -> str:
        """Why no signal can be acted on now."""
        if instrument.rules is None or not self._state.log_id:
            return "not_ready"
        mark_seq, mark_ns = self._state.marks[0]
        if event.cause_seq < mark_seq and event.seq_ns - mark_ns >= self._stale_ns:
            return "stale_signal"
        if live and self._state.kill.on:
            return "kill_switch"
        if live and instrument.closing:
            return "closing"
        if live and not self._state.stopping.keys().isdisjoint((trader.name, ACCOUNT)):
            return "stopping"
        if live and (reason := self._ordering.session_refusal(event.subject, event.seq_ns)):
            return reason
        if live and any(not o.confirmed and o.strategy == trader.name for o in instrument.orders.values()):
            return "unconfirmed"  # one at a time is under way to the log
        return ""

    def _wish(
        self, trader: Trader, instrument: InstrumentState, event: Event, value: float, rules: InstrumentRules, live: bool,
        worked: Parent | None,
    ) -> tuple[int, int] | None:  # fmt: skip
        """(side, lots) of the parent that the signal asks for; None for none: what it asks for is there, or under way."""
        quote, book = Quote(*instrument.quote), instrument.book(trader.name)
        sizes, _ = trader.sizes(event.subject, rules)
        # at the bid, the lower of both prices: what is worth enough there is worth enough wherever it is offered
        price = quote.bid_ticks
        if not trader.has_target:
            profit = self._exposures.profit(trader.name) if trader.limits.order_equity else 0
            return 1 if value > 0 else -1, sizes.order_lots(price, profit)
        if (target := sizes.target_lots(value, price)) is None:
            book.count_refusal("quote")
            return None
        missing = target - _held(trader.name, instrument, book, live, worked)
        side, lots = 1 if missing > 0 else -1, rules.whole(abs(missing))
        if live:
            style = trader.styles[book.turn % len(trader.styles)]
            book.target_lots = target
            book.target_until_ns = event.seq_ns + lifetime_ns(style, trader.execution, trader.ttl_ns)
            together = missing + self._exposures.missed_by_others(instrument, trader.name, event.seq_ns)
            if lots and side * together < lots:  # others wish the opposite: what all miss together is ordered, by who misses it
                lots = rules.whole(max(side * together, 0))
                if not lots:
                    book.count_refusal(NETTED)
                    if worked is not None and side == worked.side:
                        worked.net(worked.left_lots)
        if worked is not None and worked.working:
            if missing * worked.side > 0:
                worked.wanted_lots = worked.filled_lots + lots
                return None
            worked.end("target")
        if not rules.takes(lots, price):
            return None
        turned = [o for o in instrument.orders.values() if o.strategy == trader.name and o.side == -side and o.resting]
        if live and turned:  # of what the signal asked for before, before any limit counts both
            now_ns = event.seq_ns
            self._ordering.cancel_now(event.subject, (o for o in turned if not o.leaving(now_ns)), now_ns)
            book.count_refusal("own_order")
            return None
        return side, lots


def _held(strategy: str, instrument: InstrumentState, book: Book, live: bool, worked: Parent | None) -> int:
    """A strategy's position, and what is under way to it but for the orders of the parent that is worked."""
    orders = instrument.orders if live else instrument.shadow_orders
    seq = worked.seq if worked is not None else -1
    under_way = sum(o.side * o.outstanding_lots for o in orders.values() if o.strategy == strategy and o.parent_seq != seq)
    return (book.position if live else book.shadow).lots + under_way
