"""What a scope of limits is held against: positions, what is outstanding, and worth, by strategy and of the account. No I/O."""

from collections.abc import Iterable

from tickmesh.bus.schema import TimeInForce
from tickmesh.nodes.executor.drafts import Draft
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.positions import Position
from tickmesh.nodes.executor.profit import MONEY_EXPONENT, money_of
from tickmesh.nodes.executor.risk import Scope
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.executor.traders import Bounds


def outstanding(orders: Iterable[Order]) -> tuple[int, int, int]:
    """(lots that may still be bought, lots that may still be sold, how many of the orders are open)."""
    bought = sold = count = 0
    for order in orders:
        if order.side > 0:
            bought += order.outstanding_lots
        else:
            sold += order.outstanding_lots
        count += not order.final
    return bought, sold, count


class Exposures:
    """Counts what strategies and the account have and may get, from an executor's state. `known`: names of the strategies.

    What belongs to no strategy (orders placed by hand, or of a strategy that is no more) counts in each of them: nobody else
    would answer for it.
    """

    def __init__(self, state: ExecutorState, known: frozenset[str]):
        self._state = state
        self._known = known

    def own_orders(self, instrument: InstrumentState, strategy: str) -> list[Order]:
        """A strategy's orders on an instrument, and nobody's."""
        return [o for o in instrument.orders.values() if o.strategy == strategy or o.strategy not in self._known]

    def own_lots(self, instrument: InstrumentState, strategy: str) -> int:
        """A strategy's position on an instrument, and nobody's."""
        books = instrument.books.items()
        return sum(book.position.lots for name, book in books if name == strategy or name not in self._known)

    def marked(self, instrument: InstrumentState, strategy: str, draft: Draft) -> Draft:
        """The draft as one that only closes, where it does: as much is held against it, by the strategy and by the account.

        What two strategies hold against each other is no position at the venue: closing one side of it opens one there. What is
        under way on the same side comes first; but what rests is not before an order that takes.
        """
        of_account = _left_to_close(draft, instrument.position.lots, instrument.orders.values())
        closes = min(_of_strategy_to_close(draft, instrument, strategy), of_account) >= draft.quantity_lots
        return draft._replace(reduce_only=True) if closes else draft

    def parts(self, instrument: InstrumentState, strategy: str, draft: Draft, rules: InstrumentRules) -> tuple[Draft, ...]:
        """The draft; cut in two where it goes through zero: what closes the strategy's position, then what goes beyond.

        So what closes does not fail where the account has not enough for what opens. Where one of both is less than the venue
        takes it stays whole.
        """
        closes = rules.whole(_of_strategy_to_close(draft, instrument, strategy))
        beyond = draft.quantity_lots - closes
        if not (rules.takes(closes, draft.worst_ticks) and rules.takes(beyond, draft.worst_ticks)):
            return (draft,)
        return draft._replace(quantity_lots=closes), draft._replace(quantity_lots=beyond)

    def missed_by_others(self, instrument: InstrumentState, strategy: str, now_ns: int) -> int:
        """Lots, signed, by which the other strategies' targets are away from what they hold and have under way.

        Targets count as long as `Book.target_until_ns` says; of a strategy that may not trade that is 0. What is being
        cancelled, or reduced, is under way no more: whatever becomes of that, it is asked for again by what is held then. What
        is left of a parent that is worked is.
        """
        missed = 0
        for name, book in instrument.books.items():
            if name == strategy or now_ns >= book.target_until_ns:
                continue
            worked = book.worked()
            seq = worked.seq if worked is not None else -1
            comes = worked.side * worked.left_lots if worked is not None else 0
            for order in instrument.orders.values():
                if order.strategy == name and order.parent_seq != seq and not order.leaving(now_ns):
                    comes += order.side * order.staying_lots
            missed += book.target_lots - book.position.lots - comes
        return missed

    def of_strategy(
        self, subject: str, instrument: InstrumentState, strategy: str, bounds: Bounds, position_max_lots: int
    ) -> Scope:
        """The scope of a live strategy."""
        bought, sold, _ = outstanding(self.own_orders(instrument, strategy))
        lots = self.own_lots(instrument, strategy)
        return self._scope("", subject, instrument, bounds, (lots, bought, sold), position_max_lots, strategy)

    def of_shadow(self, instrument: InstrumentState, strategy: str, bounds: Bounds, position_max_lots: int) -> Scope:
        """The scope of a strategy that is tried: its simulated orders and fills alone."""
        bought, sold, count = outstanding(o for o in instrument.shadow_orders.values() if o.strategy == strategy)
        lots = instrument.book(strategy).shadow.lots
        return _build(("", lots, bought, sold, count, 0, position_max_lots), bounds)

    def of_account(self, subject: str, instrument: InstrumentState, bounds: Bounds, price_ticks: int) -> Scope:
        """The scope of everything."""
        bought, sold, _ = outstanding(instrument.orders.values())
        have = instrument.position.lots, bought, sold
        return self._scope("account_", subject, instrument, bounds, have, bounds.position_max_lots(price_ticks), None)

    def _scope(
        self, prefix: str, subject: str, instrument: InstrumentState, bounds: Bounds, have: tuple[int, int, int],
        position_max_lots: int | None, strategy: str | None,
    ) -> Scope:  # fmt: skip
        elsewhere = count = 0
        if bounds.notional_max is not None or bounds.open_orders_max:
            money, count = self._elsewhere(subject, strategy)
            rules = instrument.rules
            assert rules is not None, "risk is asked about defined instruments only"
            elsewhere = -(-money // 10 ** (rules.price_exponent + rules.quantity_exponent - MONEY_EXPONENT))
            mine = instrument.orders.values() if strategy is None else self.own_orders(instrument, strategy)
            count += sum(not order.final for order in mine)
        return _build((prefix, *have, count, elsewhere, position_max_lots), bounds)

    def _elsewhere(self, subject: str, strategy: str | None) -> tuple[int, int]:
        """(worth at most of all other instruments of a strategy, None: of the account, at 10^−36; open orders there)."""
        money = orders = 0
        for other, instrument in self._state.instruments.items():
            if other == subject or not instrument.involved or instrument.rules is None:
                continue
            if strategy is None:
                lots, mine = instrument.position.lots, list(instrument.orders.values())
            else:
                lots, mine = self.own_lots(instrument, strategy), self.own_orders(instrument, strategy)
            bought, sold, count = outstanding(mine)
            orders += count
            if most := max(lots + bought, sold - lots, 0):
                money += money_of(most * (instrument.mark() or _dearest(instrument)), instrument.rules)
        return money, orders

    def profit(self, strategy: str | None) -> int:
        """What a strategy, None: the account, has gained or lost by now, fees included, at 10^−36."""
        total = 0
        for instrument in self._state.instruments.values():
            if instrument.involved and instrument.rules is not None:
                book = instrument.books.get(strategy) if strategy is not None else None
                position = instrument.position if strategy is None else book.position if book is not None else None
                if position is not None and (position.fills or position.fundings):
                    total += money_of(_profit(position, instrument), instrument.rules)
        return total


def _dearest(instrument: InstrumentState) -> int:
    """What a lot of an instrument cost, or may cost by its open orders, at most: where no quote has come yet."""
    held = instrument.position, *(book.position for book in instrument.books.values())
    paid = (-(-abs(one.cost) // abs(one.lots)) for one in held if one.lots)
    return max((*paid, *(order.price_ticks for order in instrument.orders.values()), 0))


def _of_strategy_to_close(draft: Draft, instrument: InstrumentState, strategy: str) -> int:
    mine = [order for order in instrument.orders.values() if order.strategy == strategy]
    return _left_to_close(draft, instrument.book(strategy).position.lots, mine)


def _left_to_close(draft: Draft, lots: int, orders: Iterable[Order]) -> int:
    """How much of a position an order of the draft's side could close, after what is under way; below 0: it opens all."""
    rests = draft.time_in_force == TimeInForce.GTC and draft.price_ticks > 0
    before = sum(one.outstanding_lots for one in orders if one.side == draft.side and (rests or not one.resting))
    return -draft.side * lots - before


def _profit(position: Position, instrument: InstrumentState) -> int:
    mark = instrument.mark()
    return position.profit(mark) if mark else position.realised - position.fee_cost + position.funding


def _build(have: tuple[str, int, int, int, int, int, int | None], bounds: Bounds) -> Scope:
    return Scope(
        *have,
        bounds.notional_max,
        bounds.order_max_lots,
        bounds.order_max_notional,
        bounds.price_collar,
        bounds.open_orders_max,
    )
