"""Works parent orders: asks their styles what to do next, makes and cancels their children, and publishes what became of them.

A style is asked when something has happened that it may depend on; whoever is asked too often says the same again. No I/O.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tickmesh.bus.schema import Kind, OrderType, ParentState, TimeInForce
from tickmesh.bus.settings_trading import ACCOUNT
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.executor.drafts import Draft, Quote
from tickmesh.nodes.executor.guards import KEEPING, REASONS, closed, closed_by
from tickmesh.nodes.executor.intents import Answers
from tickmesh.nodes.executor.ordering import ChildTerms, Ordering
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.parents import Parent, parent_record
from tickmesh.nodes.executor.state import Book, ExecutorState, InstrumentState
from tickmesh.nodes.executor.styles.interface import Advice, Trigger, View
from tickmesh.nodes.executor.styles.resting import take_reprice
from tickmesh.nodes.executor.styles.table import ONCE, SCHEDULES, lifetime_ns, work_of
from tickmesh.nodes.executor.traders import MS, Trader
from tickmesh.nodes.orders.states import REJECTED

if TYPE_CHECKING:
    from tickmesh.nodes.executor.triggers import Watch

NOTHING = Trigger()
REFUSED_MAX = 5  # orders in a row that nobody took: then the parent ends
AGAIN_NS = 200 * MS  # before the next order after one that nobody took, or an IOC; twice as long after each that got nothing
EMPTY_MAX = 5  # so often it doubles for an IOC: a book that shows what nobody gets is asked for it every 6.4 s
HOLDING = frozenset((*REASONS, "stopping")) - KEEPING  # while one of them is so nothing is asked
NETTED = "netted"  # of what was asked for nothing is left: another strategy wished the opposite
PASSING = frozenset((NETTED, "own_order", "rate", "message_rate"))  # what is refused for these stays a wish
RISK_AGAIN_NS = 1000 * MS  # before an order is tried again that risk refused


class Working:
    """The parent orders of an executor's state.

    `subjects`: the instruments that have any; `pending`: those of which something has happened that no trigger tells; `waits`:
    what the others wait for; `is_new_list`: whether styles are asked at an event of the present list for the first time;
    `news`: parents that have begun or ended with the present event. The step reads and sets these at every event, so they are
    plain attributes.
    """

    def __init__(
        self, state: ExecutorState, traders: dict[str, Trader], ordering: Ordering, answers: Answers, reads: Iterable[int]
    ):
        self._state = state
        self._traders = traders
        self._ordering = ordering
        self._answers = answers
        self.news: list[tuple[str, str, Parent, ParentState]] = []
        self.is_new_list = True
        self.subjects = {
            subject for subject, one in state.instruments.items() if any(book.parents for book in one.books.values())
        }
        self.pending = set(self.subjects)
        self.waits: dict[str, Trigger] = {}
        self._watch: Watch | None = None
        if any(style not in ONCE for trader in traders.values() for style in trader.styles):
            from tickmesh.nodes.executor import triggers  # compiled; styles of one order wait for nothing

            self._watch = triggers.Watch(state, reads)

    # When styles are asked

    def notice(self, subject: str) -> None:
        """Something has happened to an instrument, "": to any of them, that is neither a quote nor a trade."""
        if not subject:
            self.pending |= self.subjects
        elif subject in self.subjects:
            self.pending.add(subject)

    def woken(self, events: list[Event], index: int) -> Iterable[str]:
        """The instruments whose styles have to be asked at this event of the list. To be asked for in order."""
        fired: Iterable[str] = ()
        if self._watch is not None:
            if self.is_new_list:
                self._watch.begin_list(events)
                self.is_new_list = False
            fired = self._watch.fired(index)
        if not self.pending:
            return fired
        pending, self.pending = self.pending, set()
        return pending.union(fired)

    # A new parent

    def begin(self, trader: Trader, instrument: InstrumentState, event: Event, side: int, lots: int, shadow: bool) -> None:
        """Begins a parent of a strategy with its first order, unless a guard or risk has a reason against it."""
        book, quote, now_ns = instrument.book(trader.name), Quote(*instrument.quote), event.seq_ns
        style = trader.styles[book.turn % len(trader.styles)]
        stale_ns = self._ordering.stale_ns
        if reason := closed_by(trader.execution, instrument.market, quote, instrument.quote_ns, now_ns, stale_ns):
            book.count_refusal(reason)
            book.target_until_ns = 0
            return
        deadline_ns = now_ns + lifetime_ns(style, trader.execution, trader.ttl_ns)
        parent = Parent(
            event.seq, style, side, lots, lots, now_ns, quote.bid_ticks, quote.ask_ticks, now_ns, deadline_ns, shadow
        )
        parent.traded_lots = instrument.market.traded_lots
        book.parents[parent.seq] = parent
        view = self._view(trader, instrument, (), now_ns)
        decision = self._decide(parent, view)
        draft = decision.place
        if draft is not None:
            terms = ChildTerms(event.subject, self._ordering.signal_expiry_ns(event), deadline_ns)
            first, *beyond = self._parts(trader, instrument, draft, parent)
            parent.paused = self._ordering.order(trader, instrument, event, first, parent, terms)
            if parent.paused and not (parent.paused == NETTED and parent.working and _takes(instrument, parent)):
                self.pending.add(event.subject)  # a parent of another strategy may have been netted
                del book.parents[parent.seq]
                if parent.paused not in PASSING:
                    book.target_until_ns = 0
                return
            if style in ONCE:
                for part in beyond if not parent.paused else ():
                    self._ordering.order(trader, instrument, event, part, parent, terms)
                parent.end("unfilled")  # but for what its order still brings
        elif not view.quote.tradable or not view.rules.takes(view.rules.whole(lots), quote.bid_ticks):
            del book.parents[parent.seq]
            book.count_refusal("quote" if not view.quote.tradable else "quantity")
            book.target_until_ns = 0
            return
        book.turn += 1
        self.subjects.add(event.subject)
        self.pending.add(event.subject)
        self.news.append((event.subject, trader.name, parent, ParentState.begun))

    # What there is

    def work(self, subjects: Iterable[str], event: Event) -> None:
        """Asks the styles of all parents on these instruments, by name of instrument, then of strategy."""
        for subject in sorted(subjects):
            instrument = self._state.instruments[subject]
            wait = NOTHING
            for name in sorted(instrument.books):
                for parent in tuple(instrument.books[name].parents.values()):
                    if not _only_waits(instrument, parent):
                        wait = wait.either(self._work(subject, instrument, self._traders[name], parent, event))
            if wait != NOTHING:
                self.waits[subject] = wait
            else:
                self.waits.pop(subject, None)
            if not any(book.parents for book in instrument.books.values()):
                self.subjects.discard(subject)
        if self._watch is not None:
            self._watch.arm(self.waits)

    def publish_news(self, event: Event) -> None:
        """Publishes the records of the parents that have begun or ended with this event."""
        for subject, strategy, parent, state in self.news:
            quote = Quote(*self._state.instruments[subject].quote)
            place = self._answers.place(event, subject, self._state.log_id, strategy)
            record = parent_record(strategy, parent, state, quote)
            self._answers.add(encode(Kind.parent, subject, record, k=place.k, cause_seq=place.cause_seq))
        self.news.clear()

    def _work(self, subject: str, instrument: InstrumentState, trader: Trader, parent: Parent, event: Event) -> Trigger:
        now_ns = event.seq_ns
        children = self._children(instrument, parent, now_ns)
        if parent.refused and not parent.shadow:  # a wish that the venue does not take holds up nobody else's
            instrument.book(trader.name).target_until_ns = 0
        self._end_if_over(instrument, trader.name, parent, children, now_ns)
        if not parent.working:
            return self._wind_up(subject, instrument, trader.name, parent, children, event)
        end = Trigger(time_ns=parent.deadline_ns)
        if any(not order.confirmed and order.strategy == trader.name for order in instrument.orders.values()):
            return end  # one at a time is under way to the log
        book, quote = instrument.book(trader.name), Quote(*instrument.quote)
        reason, guard = closed(trader.execution, instrument.market, quote, instrument.quote_ns, now_ns, self._ordering.stale_ns)
        wait = guard.either(end)
        stopping = self._state.stopping
        if not parent.shadow and (trader.name in stopping or ACCOUNT in stopping):
            reason = "stopping"
        if reason in HOLDING:
            self._pause(book, parent, reason)
            self._cancel(subject, instrument, children, event)
            return wait
        if parent.paused in HOLDING:
            parent.paused = ""
        if now_ns < parent.retry_ns:
            return wait.no_later(parent.retry_ns)
        view = self._view(trader, instrument, children, now_ns)
        decision = self._decide(parent, view)
        if reason and (decision.place is not None or decision.then):
            self._pause(book, parent, reason)
            return wait.either(decision.wait)
        wait = wait.either(decision.wait)
        if decision.cancel:
            if decision.then == "reprice":
                take_reprice(parent, view)
                parent.repricing = True
            self._cancel(subject, instrument, decision.cancel, event)
            return self._work(subject, instrument, trader, parent, event)  # of its other orders nothing has been said
        if decision.place is not None:
            terms = ChildTerms(subject, self._ordering.expiry_ns(event), parent.deadline_ns)
            first, *_ = self._parts(trader, instrument, decision.place, parent)  # what is beyond it is missing when asked again
            parent.paused = self._ordering.order(trader, instrument, event, first, parent, terms)
            self.pending.add(subject)  # a parent of another strategy may have been netted
            if parent.paused:
                parent.retry_ns = now_ns + RISK_AGAIN_NS
                return wait.no_later(parent.retry_ns)
            parent.reprices += parent.repricing and decision.place.order_type == OrderType.LIMIT_MAKER
            parent.repricing = False
            if parent.shadow:
                return self._work(subject, instrument, trader, parent, event)
        return wait

    def _parts(self, trader: Trader, instrument: InstrumentState, draft: Draft, parent: Parent) -> tuple[Draft, ...]:
        """What of a draft is to be ordered, one after the other. A wish that is no target is one, whatever is held."""
        if parent.shadow or not trader.has_target:
            return (draft,)
        assert instrument.rules is not None, "a parent is of a defined instrument"
        return self._ordering.exposures.parts(instrument, trader.name, draft, instrument.rules)

    def _decide(self, parent: Parent, view: View) -> Advice:
        """What the style says of what is due by now."""
        due, wait = parent.wanted_lots, NOTHING
        if (schedule := SCHEDULES.get(parent.style)) is not None:
            due, wait = schedule(parent, view)
            if due != parent.due_lots:
                parent.due_ns = view.now_ns
        parent.due_lots = due
        said = work_of(parent.style, view.settings)(parent, view)
        return said if wait is NOTHING else said._replace(wait=said.wait.either(wait))

    def _end_if_over(
        self, instrument: InstrumentState, strategy: str, parent: Parent, children: tuple[Order, ...], now_ns: int
    ) -> None:
        """Ends a parent of which nothing more is to be ordered."""
        status = self._state.strategies[strategy]
        if parent.filled_lots >= parent.wanted_lots:
            parent.end("filled")
        elif status.state != ("shadow" if parent.shadow else "live") or (self._state.kill.on and not parent.shadow):
            parent.end("stopped")
        elif instrument.closing and not parent.shadow:
            parent.end("closing")
        elif parent.refused >= REFUSED_MAX:
            parent.end("rejected")
        elif now_ns >= parent.deadline_ns:
            parent.end("deadline")
        elif not children and parent.placed and not _takes(instrument, parent):
            parent.end("remainder")

    def _wind_up(
        self, subject: str, instrument: InstrumentState, strategy: str, parent: Parent, children: tuple[Order, ...],
        event: Event,
    ) -> Trigger:  # fmt: skip
        """Cancels what an ended parent has resting; when nothing of it can come any more it is over."""
        if parent.style not in ONCE:  # those have their own time
            self._cancel(subject, instrument, children, event)
        orders = instrument.shadow_orders if parent.shadow else instrument.orders
        if any(order.client_order_id in orders for order in children):
            return Trigger()
        if parent.filled_lots >= parent.wanted_lots and parent.why != "netted":
            parent.why = "filled"
        del instrument.book(strategy).parents[parent.seq]
        self.news.append((subject, strategy, parent, ParentState.ended))
        return Trigger()

    def _children(self, instrument: InstrumentState, parent: Parent, now_ns: int) -> tuple[Order, ...]:
        """Its orders that may still change what is filled; of those that have come to their end it takes notice."""
        children = []
        for name in parent.children:
            order = instrument.shadow_orders.get(name) if parent.shadow else self._state.find_order(instrument, name)
            if order is None:
                continue
            if not order.final or order.outstanding_lots:
                children.append(order)
            elif order.filled_lots:
                parent.refused = parent.empty = 0
            if order.final and not order.outstanding_lots and not order.cancels:
                self._note_end(parent, order, now_ns)
        parent.children = [order.client_order_id for order in children]
        return tuple(children)

    def _note_end(self, parent: Parent, order: Order, now_ns: int) -> None:
        takes_at_once = order.time_in_force == TimeInForce.IOC and order.status != REJECTED
        if not order.filled_lots and not takes_at_once:
            parent.retry_ns = now_ns + (AGAIN_NS << parent.refused)
            parent.refused += 1
        elif order.filled_lots < order.quantity_lots:
            parent.retry_ns = now_ns + (AGAIN_NS << min(parent.empty, EMPTY_MAX))
            parent.empty += not order.filled_lots

    def _cancel(self, subject: str, instrument: InstrumentState, orders: Iterable[Order], event: Event) -> None:
        """Cancels what rests, once; an order that the log does not have yet is cancelled when it has it."""
        for order in orders:
            if order.client_order_id in instrument.shadow_orders:
                self._ordering.expire_shadow(subject, instrument, order, event)
            elif order.resting and order.confirmed and not order.cancels and order.cancel_ns > event.seq_ns:
                self._ordering.cancel_now(subject, (order,), event.seq_ns)

    def _pause(self, book: Book, parent: Parent, reason: str) -> None:
        if parent.paused != reason:
            parent.paused = reason
            book.count_refusal(reason)

    def _view(self, trader: Trader, instrument: InstrumentState, children: tuple[Order, ...], now_ns: int) -> View:
        assert instrument.rules is not None, "a parent is of a defined instrument"
        quote = Quote(*instrument.quote)
        return View(quote, now_ns, instrument.rules, trader.execution, children, instrument.market.traded_lots)


def _only_waits(instrument: InstrumentState, parent: Parent) -> bool:
    """Whether a parent of one order is over but for what that still brings: whoever asks about it hears nothing new."""
    if parent.working or parent.shadow or parent.style not in ONCE or not parent.children:
        return False
    return instrument.orders.keys() >= set(parent.children)


def _takes(instrument: InstrumentState, parent: Parent) -> bool:
    """Whether what is left of a parent is as much as the venue takes."""
    rules = instrument.rules
    return rules is not None and rules.takes(rules.whole(parent.left_lots), parent.bid_ticks)
