"""From a signal to an order: what a strategy wants, what of it nets with another one's, and what risk lets pass. No I/O."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter

from tickmesh.bus.schema import Status
from tickmesh.bus.settings_trading import ACCOUNT, ExecutorSettings, RiskSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor import risk, shadow, styles
from tickmesh.nodes.executor.exposure import Exposures
from tickmesh.nodes.executor.intents import Answers, IntentPlace, build_cancel, build_intent, is_own_id
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.risk import Approved, MarketView, Refused, Scope
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.signals import RANGE
from tickmesh.nodes.executor.state import Book, Closing, ExecutorState, InstrumentState
from tickmesh.nodes.executor.styles import Draft, Quote
from tickmesh.nodes.executor.traders import MS, AccountLimits, Trader

CANCEL_AGAIN_MAX = 5  # the pause between two cancels of one order doubles so many times
CLOSE_AGAIN_NS = 1_000_000_000  # at least so long between two orders that close positions of one instrument
MARKS = 16  # how finely the age of a signal's cause is known: stale_ms ÷ 16


class Ordering:
    """Makes orders of signals, cancels them, and closes positions: into `state` and `answers`."""

    def __init__(
        self, settings: ExecutorSettings, limits: RiskSettings, state: ExecutorState, traders: dict[str, Trader],
        account: AccountLimits, answers: Answers,
    ):  # fmt: skip
        self._state = state
        self._answers = answers
        self._traders = traders
        self._account = account
        self.exposures = Exposures(state, frozenset(traders))
        self.ttl_ns = settings.order_ttl_ms * MS
        self.stale_ns = settings.stale_ms * MS
        self._intent_ttl_ns = settings.intent_ttl_ms * MS
        self._rate = risk.build_rate(state.bucket, settings.orders_per_s)
        self._rates = {
            name: (risk.build_rate(state.strategies[name].bucket, trader.orders_per_s),) if trader.orders_per_s else ()
            for name, trader in traders.items()
        }
        per_s = limits.messages_per_s
        self._messages = risk.build_rate(state.messages, per_s, "message_rate") if per_s else None

    # A signal

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
            if not trader.has_target:
                return
            value = 0.0
        book.signals += 1
        rules = instrument.rules
        if reason := self._unready(trader, instrument, event, live):
            book.count_refusal(reason)
        elif rules is not None and (draft := self._wish(trader, instrument, event, value, rules, live)) is not None:
            self._order(trader, instrument, event, draft, rules, live)

    def _unready(self, trader: Trader, instrument: InstrumentState, event: Event, live: bool) -> str:
        """Why no signal can be acted on now."""
        if instrument.rules is None or not self._state.log_id:
            return "not_ready"
        mark_seq, mark_ns = self._state.marks[0]
        if event.cause_seq < mark_seq and event.seq_ns - mark_ns >= self.stale_ns:
            return "stale_signal"
        if live and self._state.kill.on:
            return "kill_switch"
        if live and instrument.closing:
            return "closing"
        if live and not self._state.stopping.keys().isdisjoint((trader.name, ACCOUNT)):
            return "stopping"
        if live and any(not o.confirmed and o.strategy == trader.name for o in instrument.orders.values()):
            return "unconfirmed"  # one at a time is under way to the log
        return ""

    def _wish(
        self, trader: Trader, instrument: InstrumentState, event: Event, value: float, rules: InstrumentRules, live: bool
    ) -> Draft | None:
        """The order that the signal asks for; None for none: what it asks for is there, or under way, or nets."""
        quote, book = Quote(*instrument.quote), instrument.book(trader.name)
        sizes, _ = trader.sizes(event.subject, rules)
        # at the bid, the lower of both prices: what is worth enough there is worth enough wherever it is offered
        price = quote.bid_ticks
        side = 1 if value > 0 else -1
        if trader.has_target:
            orders = instrument.orders if live else instrument.shadow_orders
            mine = [order for order in orders.values() if order.strategy == trader.name]
            held = (book.position if live else book.shadow).lots + sum(o.side * o.outstanding_lots for o in mine)
            missing = sizes.target_lots(value, price) - held
            side, lots = 1 if missing > 0 else -1, rules.whole(abs(missing))
            if not rules.takes(lots, price):
                return None
        else:
            profit = self.exposures.profit(trader.name) if trader.limits.order_equity else 0
            lots = sizes.order_lots(price, profit)
        return styles.build_draft(trader.styles[book.turn % len(trader.styles)], side, quote, lots)

    def _net(self, trader: Trader, instrument: InstrumentState, draft: Draft, event: Event, market: MarketView) -> Draft | None:
        """What is left of an order when what other strategies have resting on the other side makes way; None for nothing."""
        side = draft.side
        opposite = [
            order for order in instrument.orders.values()
            if order.side == -side and order.resting and order.strategy in self._traders and order.strategy != trader.name
            and not order.cancels
        ]  # fmt: skip
        self.cancel_now(event.subject, opposite, event.seq_ns)
        netted = sum(order.outstanding_lots for order in opposite)
        lots = market.rules.whole(max(draft.quantity_lots - netted, 0)) if netted else draft.quantity_lots
        return draft._replace(quantity_lots=lots) if not netted or market.rules.takes(lots, market.quote.bid_ticks) else None

    def _order(
        self, trader: Trader, instrument: InstrumentState, event: Event, draft: Draft, rules: InstrumentRules, live: bool
    ) -> None:
        """Asks risk, and orders."""
        subject, book = event.subject, instrument.book(trader.name)
        quote = Quote(*instrument.quote)
        market = MarketView(quote, instrument.quote_ns, event.seq_ns, self.stale_ns, rules)
        sizes, bounds = trader.sizes(subject, rules)
        most = sizes.position_lots(quote.bid_ticks)
        if not live:
            scope = self.exposures.of_shadow(instrument, trader.name, bounds, most)
            mine = [order for order in instrument.shadow_orders.values() if order.strategy == trader.name]
            answer = risk.check(draft, market, (scope,), mine, trader.name, ())
        else:
            whole = self._account.bounds(subject, rules)
            scopes = (
                self.exposures.of_strategy(subject, instrument, trader.name, bounds, most),
                self.exposures.of_account(subject, instrument, whole, quote.bid_ticks),
            )
            answer = risk.check(draft, market, scopes, (), trader.name, ())  # before anything makes way for it
            if isinstance(answer, Approved):
                left = self._net(trader, instrument, draft, event, market)
                answer = self._check(left, market, scopes, instrument, trader.name) if left is not None else Refused("netted")
        if isinstance(answer, Refused):
            book.count_refusal(answer.reason)
            if answer.reason == "own_order" and live:
                self._make_way(instrument, draft.side, event)
            return
        book.turn += 1
        place = self._answers.place(event, subject, self._state.log_id, trader.name, self._expiry_ns(event))
        if live:
            self._send(instrument, answer, place, event, trader.ttl_ns)
        else:
            self._try(trader, instrument, answer, place, event)

    def _check(
        self, draft: Draft, market: MarketView, scopes: tuple[Scope, ...], instrument: InstrumentState, strategy: str
    ) -> Approved | Refused:
        rates = (self._rate, *self._rates[strategy], *((self._messages,) if self._messages is not None else ()))
        return risk.check(draft, market, scopes, instrument.orders.values(), strategy, rates)

    def _expiry_ns(self, signal: Event) -> int:
        """Until when an order on this signal may be sent: as long as what the signal is about is not older than stale_ms.

        The session compares it with the time at which it can act, so what is made up for after an absence is too late there.
        """
        marks = self._state.marks
        newest = max(bisect_right(marks, signal.cause_seq, key=itemgetter(0)) - 1, 0)
        return min(signal.seq_ns + self._intent_ttl_ns, marks[newest][1] + self.stale_ns)

    def _send(self, instrument: InstrumentState, approved: Approved, place: IntentPlace, event: Event, ttl_ns: int) -> None:
        self._publish(instrument, place.strategy, build_intent(approved, place))
        side, order_type, force, price_ticks, lots, _ = approved.draft
        order = Order(place.client_order_id, side, order_type, force, price_ticks, lots, event.seq_ns, place.cause_seq, place.k)
        order.cancel_ns, order.strategy = event.seq_ns + ttl_ns, place.strategy
        self._state.add_order(place.subject, order)

    def _try(self, trader: Trader, instrument: InstrumentState, approved: Approved, place: IntentPlace, event: Event) -> None:
        """Simulates an order."""
        order = shadow.shadow_order(approved, place, event.seq_ns, trader.ttl_ns)
        if price := shadow.fill_price(order, Quote(*instrument.quote)):
            shadow.fill_shadow(instrument, order, price, trader.fee_ppm)
            self._answers.add(shadow.build_shadow(order, place, Status.Filled, price))
            return
        self._answers.add(shadow.build_shadow(order, place, Status.New))
        instrument.shadow_orders[order.client_order_id] = order

    def follow_shadows(self, instrument: InstrumentState, event: Event) -> None:
        """A quote may fill simulated orders, and time ends them."""
        quote = Quote(*instrument.quote)
        over = max(len(instrument.shadow_orders) - shadow.RESTING_MAX, 0)
        for i, order in enumerate(tuple(instrument.shadow_orders.values())):
            trader = self._traders.get(order.strategy)
            ended = trader is None or order.cancel_ns <= event.seq_ns or i < over
            price = 0 if ended else shadow.fill_price(order, quote)
            if not (ended or price):
                continue
            place = self._answers.place(event, event.subject, self._state.log_id, order.strategy)
            if price and trader is not None:
                shadow.fill_shadow(instrument, order, price, trader.fee_ppm)
            else:
                del instrument.shadow_orders[order.client_order_id]
            status = Status.Filled if price else Status.Expired
            self._answers.add(shadow.build_shadow(order, place, status, price))

    # Cancelling and closing

    def _make_way(self, instrument: InstrumentState, side: int, event: Event) -> None:
        """The signal has turned: what rests on the other side is cancelled now, not when its time is over."""
        orders = (order for order in instrument.orders.values() if order.side == -side and order.resting and not order.cancels)
        self.cancel_now(event.subject, orders, event.seq_ns)

    def cancel_now(self, subject: str, orders: Iterable[Order], now_ns: int) -> None:
        """Brings the time at which orders are to be cancelled forward to now."""
        for order in orders:
            order.cancel_ns = now_ns
            self._state.schedule(subject, now_ns)

    def cancel_due(self, event: Event) -> None:
        """Orders beyond their time, in whatever state: a cancel makes the session find out. Again, ever more rarely."""
        state, now_ns = self._state, event.seq_ns
        for subject in state.take_due(now_ns):
            instrument = state.instruments[subject]
            for order in instrument.orders.values():
                if order.final:
                    continue
                if order.cancel_ns <= now_ns and not order.confirmed:
                    order.cancel_ns = now_ns + self.ttl_ns  # not in the log yet: nobody can have sent it
                elif order.cancel_ns <= now_ns and self.is_ours(order):
                    pause_ns = max(self.ttl_ns, self._intent_ttl_ns) << min(order.cancels, CANCEL_AGAIN_MAX)
                    order.cancels += 1
                    order.cancel_ns = now_ns + pause_ns
                    place = self._answers.place(event, subject, state.log_id, order.strategy)
                    self._publish(instrument, order.strategy, build_cancel(order, place))
                    if self._messages is not None:
                        self._messages.take(now_ns)
                    state.remember_cancel(place.client_order_id, order)
                    state.cancels += 1
                if order.cancel_ns > now_ns:
                    state.schedule(subject, order.cancel_ns)

    def is_ours(self, order: Order) -> bool:
        """Somebody's own orders on this account count in the exposure, but are theirs to cancel."""
        return bool(self._state.log_id) and is_own_id(order.client_order_id)

    def flatten(self, instrument: InstrumentState, event: Event, closing: Mapping[str, Closing] | None = None) -> list[str]:
        """Closes positions on an instrument with market orders, each once none of its strategy's orders is open there.

        `closing`: of these strategies, and it is written there why one is not closed yet; None: of all. Gives those that are
        closed, as far as the venue takes an order.
        """
        rules, subject = instrument.rules, event.subject
        if rules is None or not self._state.log_id or event.seq_ns < instrument.flatten_ns:
            return []
        quote, closed = Quote(*instrument.quote), []
        market = MarketView(quote, instrument.quote_ns, event.seq_ns, self.stale_ns, rules)
        ours = [order for order in instrument.orders.values() if self.is_ours(order)]
        for name in sorted(instrument.books if closing is None else closing):
            lots = closable(subject, instrument.book(name), rules)
            side, wanted = -1 if lots > 0 else 1, rules.whole(abs(lots))
            in_way = [o for o in ours if closing is None or o.strategy == name or (wanted and o.side != side and o.resting)]
            if in_way:
                self.cancel_now(subject, (o for o in in_way if o.resting and o.confirmed and not o.cancels), event.seq_ns)
                why = f"{len(in_way)} orders are open that would meet it"
            elif not wanted or (quote.tradable and not rules.takes(wanted, quote.bid_ticks)):
                closed.append(name)
                continue
            else:
                draft = styles.build_draft("market", side, quote, wanted)
                answer = risk.check(draft, market, (), instrument.orders.values(), name, ())
                why = self._close(instrument, answer, event, name)
            if closing is not None:
                closing[name].why = why
        return closed

    def _close(self, instrument: InstrumentState, answer: Approved | Refused, event: Event, name: str) -> str:
        """Sends an order that closes a position, if risk approves; gives what is waited for now."""
        if isinstance(answer, Refused):
            return f"an order to close it is refused: {answer.reason}"
        instrument.flatten_ns = event.seq_ns + min(self.ttl_ns, CLOSE_AGAIN_NS)
        place = self._answers.place(event, event.subject, self._state.log_id, name, event.seq_ns + self.stale_ns)
        self._send(instrument, answer, place, event, self.ttl_ns)
        return "an order that closes it is under way"

    def _publish(self, instrument: InstrumentState, strategy: str, intent: bytearray) -> None:
        self._answers.add(intent)
        self._state.intents += 1
        instrument.book(strategy).intents += 1


def closable(subject: str, book: Book, rules: InstrumentRules) -> int:
    """The position that can be closed, signed: what fees in the base currency have taken of it is not there."""
    symbol = subject.partition(".")[2]
    taken = sum(fee for asset, fee in book.position.fees.items() if symbol.startswith(asset))
    exponent = -8 - rules.quantity_exponent
    lots = taken * 10**exponent if exponent >= 0 else -(-taken // 10**-exponent)
    return max(book.position.lots - int(lots), 0) if book.position.lots > 0 else book.position.lots
