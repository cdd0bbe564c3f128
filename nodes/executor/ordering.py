"""From a draft to an order: what of it nets with another strategy's, what risk lets pass, and when it is cancelled. No I/O."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

from tickmesh.bus.schema import Status
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor import risk, shadow
from tickmesh.nodes.executor.drafts import Draft, Quote, build_draft
from tickmesh.nodes.executor.exposure import Exposures
from tickmesh.nodes.executor.intents import Answers, IntentPlace, build_amend, build_cancel, build_intent, is_own_id
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.risk import Approved, MarketView, Refused, Scope
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.session_word import SessionWord
from tickmesh.nodes.executor.state import Book, Closing, ExecutorState, InstrumentState
from tickmesh.nodes.executor.traders import MS, AccountLimits, Trader
from tickmesh.nodes.orders.accounts import session_name

CANCEL_AGAIN_MAX = 5  # the pause between two cancels of one order doubles so many times
NOTHING_TO_CLOSE = "nothing_to_close"  # the venue has no such position: somebody else has closed it
CLOSE_AGAIN_NS = 1_000_000_000  # at least so long between two orders that close positions of one instrument
MARKS = 16  # how finely the age of a signal's cause is known: stale_ms ÷ 16


class ChildTerms(NamedTuple):
    """Instrument of an order that is to be made, until when it may be sent, and when it is cancelled."""

    subject: str
    expires_ns: int
    cancel_ns: int


class Ordering:
    """Makes orders of drafts, cancels them, and closes positions: into `state` and `answers`."""

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
        self._session_names: dict[str, str] = {}  # by instrument
        self._rate = risk.build_rate(state.bucket, settings.orders_per_s)
        self._rates = {
            name: (risk.build_rate(state.strategies[name].bucket, trader.orders_per_s),) if trader.orders_per_s else ()
            for name, trader in traders.items()
        }
        per_s = limits.messages_per_s
        self._pause_ns, self._skew_max_ms = int(limits.lost_pause_s * 1000) * MS, limits.clock_skew_max_ms
        self._messages = risk.build_rate(state.messages, per_s, "message_rate") if per_s else None

    def _opposite(self, trader: Trader, instrument: InstrumentState, draft: Draft, now_ns: int) -> list[Order]:
        """What other strategies have resting on the other side, the oldest first, but for what is being cancelled."""
        return [
            order for order in instrument.orders.values()
            if order.side == -draft.side and order.resting and order.strategy in self._traders and order.strategy != trader.name
            and not order.leaving(now_ns)
        ]  # fmt: skip

    def _net(
        self, opposite: list[Order], instrument: InstrumentState, draft: Draft, parent: Parent, subject: str, event: Event,
        market: MarketView,
    ) -> Draft | None:  # fmt: skip
        """What is left of an order when what other strategies have resting on the other side makes way; None for nothing.

        Of what rests so much makes way as is asked for, the oldest first. The last one is reduced in its place if its rest is
        worth an order, as soon as the venue is known to have it; else all of it is cancelled. Both parents wish so much less.
        """
        asked, netted = draft.quantity_lots, 0
        for order in opposite:
            if netted >= asked:
                break
            part, lots = min(order.unasked_lots, asked - netted), market.rules.whole(order.kept_lots - asked + netted)
            if market.rules.takes(lots - order.filled_lots, order.price_ticks):
                part, order.reduce_lots = order.kept_lots - lots, lots
                self.reduce_waiting(subject, instrument, order, event)
            else:
                self.cancel_now(subject, (order,), event.seq_ns)
            netted += part
            if (other := instrument.book(order.strategy).parents.get(order.parent_seq)) is not None:
                other.net(part)
        parent.net(netted)
        left = market.rules.whole(asked - netted)
        return draft._replace(quantity_lots=left) if market.rules.takes(left, market.quote.bid_ticks) else None

    def reduce_waiting(self, subject: str, instrument: InstrumentState, order: Order, event: Event) -> None:
        """Asks to reduce an order that waits for it, if it is known to stand at the venue and nothing else is asked of it."""
        if not (lots := order.reduce_lots) or not order.amendable or order.leaving(event.seq_ns):
            return
        order.reduce_lots = 0
        if lots >= order.quantity_lots:
            return  # somebody else has reduced it as far
        if instrument.rules is None or not instrument.rules.takes(lots - order.filled_lots, order.price_ticks):
            self.cancel_now(subject, (order,), event.seq_ns)  # it has been filled so far meanwhile
            return
        place = self._answers.place(event, subject, self._state.log_id, order.strategy, 0, order.parent_seq)
        self._ask(instrument, order, build_amend(order, lots, place), event.seq_ns)
        order.amend_lots = lots
        self._state.amends += 1

    def order(
        self, trader: Trader, instrument: InstrumentState, event: Event, draft: Draft, parent: Parent, terms: ChildTerms
    ) -> str:
        """Asks risk, and makes a child of a parent. Gives why it is not made; "" if it is."""
        subject, rules = terms.subject, instrument.rules
        assert rules is not None, "a parent is of a defined instrument"
        quote = Quote(*instrument.quote)
        market = MarketView(quote, instrument.quote_ns, event.seq_ns, self.stale_ns, rules)
        sizes, bounds = trader.sizes(subject, rules)
        most = sizes.position_lots(quote.bid_ticks)
        if not parent.shadow and (reason := self.session_refusal(subject, event.seq_ns)):
            instrument.book(trader.name).count_refusal(reason)
            return reason
        if parent.shadow:
            scope = self.exposures.of_shadow(instrument, trader.name, bounds, most)
            mine = [order for order in instrument.shadow_orders.values() if order.strategy == trader.name]
            answer = risk.check(draft, market, (scope,), mine, trader.name, ())
        else:
            if trader.has_target:  # what of a target only closes; any other size is a wish of its own, whatever is held
                draft = self.exposures.marked(instrument, trader.name, draft)
                if self._closes_nothing(subject, draft):
                    instrument.book(trader.name).count_refusal(NOTHING_TO_CLOSE)
                    return NOTHING_TO_CLOSE
            whole = self._account.bounds(subject, rules)
            scopes = (
                self.exposures.of_strategy(subject, instrument, trader.name, bounds, most),
                self.exposures.of_account(subject, instrument, whole, quote.bid_ticks),
            )
            if opposite := self._opposite(trader, instrument, draft, event.seq_ns):
                answer = risk.check(draft, market, scopes, (), trader.name, ())  # before anything makes way for it
                if isinstance(answer, Approved):
                    left = self._net(opposite, instrument, draft, parent, subject, event, market)
                    answer = (
                        self._check(left, market, scopes, instrument, trader.name) if left is not None else Refused("netted")
                    )
            else:
                answer = self._check(draft, market, scopes, instrument, trader.name)
        if isinstance(answer, Refused):
            instrument.book(trader.name).count_refusal(answer.reason)
            if answer.reason == "own_order" and not parent.shadow:
                self._make_way(subject, instrument, draft.side, event)
            return answer.reason
        place = self._answers.place(event, subject, self._state.log_id, trader.name, terms.expires_ns, parent.seq)
        parent.placed += 1
        if parent.shadow:
            self._try(trader, instrument, answer, place, event, parent, terms.cancel_ns)
        else:
            parent.children.append(self._send(instrument, answer, place, event, terms.cancel_ns).client_order_id)
        return ""

    def session_refusal(self, subject: str, now_ns: int) -> str:
        """Why by what is heard of the session of its account no order of an instrument may be made; "" where one may."""
        word = self._word(subject)
        return word.refusal(now_ns, self._pause_ns, self._skew_max_ms) if word is not None else ""

    def _word(self, subject: str) -> SessionWord | None:
        name = self._session_names.get(subject)
        if name is None:
            name = self._session_names[subject] = session_name(subject.partition(".")[0])
        return self._state.sessions.get(name)

    def _closes_nothing(self, subject: str, draft: Draft) -> bool:
        """Whether it only closes, and the venue has said that there is nothing to close: it would refuse it again."""
        word = self._word(subject)
        return draft.reduce_only and word is not None and word.has_none_to_close(subject, draft.side)

    def _check(
        self, draft: Draft, market: MarketView, scopes: tuple[Scope, ...], instrument: InstrumentState, strategy: str
    ) -> Approved | Refused:
        rates = (self._rate, *self._rates[strategy], *((self._messages,) if self._messages is not None else ()))
        return risk.check(draft, market, scopes, instrument.orders.values(), strategy, rates)

    def signal_expiry_ns(self, signal: Event) -> int:
        """Until when an order on this signal may be sent: as long as what the signal is about is not older than stale_ms.

        The session compares it with the time at which it can act, so what is made up for after an absence is too late there.
        """
        marks = self._state.marks
        newest = max(bisect_right(marks, signal.cause_seq, key=itemgetter(0)) - 1, 0)
        return min(signal.seq_ns + self._intent_ttl_ns, marks[newest][1] + self.stale_ns)

    def expiry_ns(self, cause: Event) -> int:
        """Until when an order may be sent that any other event has caused: what it is about is that event."""
        return cause.seq_ns + min(self._intent_ttl_ns, self.stale_ns)

    def _send(self, instrument: InstrumentState, approved: Approved, place: IntentPlace, event: Event, cancel_ns: int) -> Order:
        self._publish(instrument, place.strategy, build_intent(approved, place))
        side, order_type, force, price_ticks, lots, *_ = approved.draft
        order = Order(place.client_order_id, side, order_type, force, price_ticks, lots, event.seq_ns, place.cause_seq, place.k)
        order.cancel_ns, order.strategy, order.parent_seq = cancel_ns, place.strategy, place.parent_seq
        self._state.add_order(place.subject, order)
        return order

    def _try(
        self, trader: Trader, instrument: InstrumentState, approved: Approved, place: IntentPlace, event: Event,
        parent: Parent, cancel_ns: int,
    ) -> None:  # fmt: skip
        """Simulates an order."""
        order = shadow.shadow_order(approved, place, event.seq_ns, cancel_ns)
        if price := shadow.fill_price(order, Quote(*instrument.quote)):
            shadow.fill_shadow(instrument, order, price, trader.fee_ppm)
            self._answers.add(shadow.build_shadow(order, place, Status.Filled, price))
            return
        self._answers.add(shadow.build_shadow(order, place, Status.New))
        instrument.shadow_orders[order.client_order_id] = order
        parent.children.append(order.client_order_id)

    def expire_shadow(self, subject: str, instrument: InstrumentState, order: Order, event: Event) -> None:
        """Ends a simulated order."""
        del instrument.shadow_orders[order.client_order_id]
        place = self._answers.place(event, subject, self._state.log_id, order.strategy)
        self._answers.add(shadow.build_shadow(order, place, Status.Expired))

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
            if trader is None or not price:
                self.expire_shadow(event.subject, instrument, order, event)
                continue
            place = self._answers.place(event, event.subject, self._state.log_id, order.strategy)
            shadow.fill_shadow(instrument, order, price, trader.fee_ppm)
            self._answers.add(shadow.build_shadow(order, place, Status.Filled, price))

    # Cancelling and closing

    def _make_way(self, subject: str, instrument: InstrumentState, side: int, event: Event) -> None:
        """The signal has turned: what rests on the other side is cancelled now, not when its time is over."""
        orders = (order for order in instrument.orders.values() if order.side == -side and order.resting and not order.cancels)
        self.cancel_now(subject, orders, event.seq_ns)

    def cancel_now(self, subject: str, orders: Iterable[Order], now_ns: int) -> None:
        """Brings the time at which orders are to be cancelled forward to now, or to when their intent is read."""
        for order in orders:
            order.cancel_ns, order.recalled = now_ns, order.recalled or not order.confirmed
            self._state.schedule(subject, now_ns)

    def cancel_unamended(self, subject: str, order: Order, now_ns: int) -> None:
        """An amendment was refused, or not done: all of the order makes way instead of a part."""
        order.amend_lots = order.reduce_lots = 0
        if not order.final:
            self.cancel_now(subject, (order,), now_ns)

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
                    place = self._answers.place(event, subject, state.log_id, order.strategy, 0, order.parent_seq)
                    self._ask(instrument, order, build_cancel(order, place), now_ns)
                    state.cancels += 1
                if order.cancel_ns > now_ns:
                    state.schedule(subject, order.cancel_ns)

    def recall_parents(self, instrument: InstrumentState, strategy: str) -> None:
        """Ends what a strategy, "": any, is working on an instrument: a person had its orders cancelled."""
        for name, book in instrument.books.items():
            if strategy not in ("", name):
                continue
            book.target_until_ns = 0
            for parent in book.parents.values():
                if not parent.shadow:
                    parent.end("recalled")

    def recall_parent(self, instrument: InstrumentState, order: Order) -> None:
        """Ends the parent of an order, likewise: its style would order again."""
        book = instrument.book(order.strategy)
        book.target_until_ns = 0
        if (parent := book.parents.get(order.parent_seq)) is not None:
            parent.end("recalled")

    def is_ours(self, order: Order) -> bool:
        """Somebody's own orders on this account count in the exposure, but are theirs to cancel."""
        return bool(self._state.log_id) and is_own_id(order.client_order_id)

    def flatten(self, instrument: InstrumentState, event: Event, closing: Mapping[str, Closing] | None = None) -> list[str]:
        """Closes positions on an instrument with market orders, each once none of its strategy's orders is open there.

        `closing`: of these strategies, and it is written there why one is not closed yet; None: all that executors' orders have
        brought, as `closable_of_ours` says. Gives the strategies whose positions are closed, as far as the
        venue takes an order, or has anything to close.
        """
        rules, subject = instrument.rules, event.subject
        if rules is None or not self._state.log_id or event.seq_ns < instrument.flatten_ns:
            return []
        quote, closed = Quote(*instrument.quote), []
        market = MarketView(quote, instrument.quote_ns, event.seq_ns, self.stale_ns, rules)
        ours = [order for order in instrument.orders.values() if self.is_ours(order)]
        held = (
            closable_of_ours(subject, instrument, rules) if closing is None
            else {name: closable(subject, instrument.book(name), rules) for name in sorted(closing)}
        )  # fmt: skip
        for name, lots in held.items():
            side, wanted = -1 if lots > 0 else 1, rules.whole(abs(lots))
            in_way = [o for o in ours if closing is None or o.strategy == name or (wanted and o.side != side and o.resting)]
            if in_way:
                self.cancel_now(subject, (o for o in in_way if o.resting and o.confirmed and not o.cancels), event.seq_ns)
                why = f"{len(in_way)} orders are open that would meet it"
            elif not wanted or (quote.tradable and not rules.takes(wanted, quote.bid_ticks)):
                closed.append(name)
                continue
            else:
                draft = self.exposures.marked(instrument, name, build_draft("market", side, quote, wanted))
                if self._closes_nothing(subject, draft):
                    closed.append(name)
                    continue
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
        self._send(instrument, answer, place, event, event.seq_ns + self.ttl_ns)
        return "an order that closes it is under way"

    def _ask(self, instrument: InstrumentState, order: Order, intent: bytearray, now_ns: int) -> None:
        """Publishes a cancel or an amendment of an order. Whose it is is remembered when it is read in the log."""
        self._publish(instrument, order.strategy, intent)
        if self._messages is not None:
            self._messages.take(now_ns)

    def _publish(self, instrument: InstrumentState, strategy: str, intent: bytearray) -> None:
        self._answers.add(intent)
        self._state.intents += 1
        instrument.book(strategy).intents += 1


def closable(subject: str, book: Book, rules: InstrumentRules, but_for: int = 0) -> int:
    """The position that can be closed, signed: what fees in the base currency have taken of it is not there.

    `but_for`: lots of it that are to stay.
    """
    symbol, held = subject.partition(".")[2], book.position.lots - but_for
    taken = sum(fee for asset, fee in book.position.fees.items() if symbol.startswith(asset))
    exponent = -8 - rules.quantity_exponent
    lots = taken * 10**exponent if exponent >= 0 else -(-taken // 10**-exponent)
    return max(held - int(lots), 0) if held > 0 else held


def closable_of_ours(subject: str, instrument: InstrumentState, rules: InstrumentRules) -> dict[str, int]:
    """What can be closed of each strategy's position, and of nobody's, without what somebody else's orders have brought.

    That is theirs to close. Where it is on the other side it has closed as much of ours at the venue, which is left as it is:
    closing that again would open a position.
    """
    nobodys = instrument.books[""].position.lots if "" in instrument.books else 0
    by_executors = nobodys - instrument.others_lots
    others = nobodys - (min(by_executors, nobodys, key=abs) if by_executors * nobodys > 0 else 0)
    held = {
        name: closable(subject, book, rules, 0 if name else others) for name, book in sorted(instrument.books.items())
    }  # fmt: skip
    ours = sum(held.values())
    closed = -others if ours * others < 0 else 0
    for name, lots in held.items():
        if lots * closed > 0:
            part = min(lots, closed, key=abs)
            held[name], closed = lots - part, closed - part
    return held
