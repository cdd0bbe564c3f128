"""The accounts at the simulated venues: why they refuse an order beside its form, and what its fills cost.

Spot balances (spot_account.py), margin of USD-M contracts (margin_account.py), and how many orders may be sent
(nodes/exchange/api/limits.py). Amounts are mantissas at 10^−8 of an asset, rounded down as the local exchange does.
"""

from typing import NamedTuple

from tickmesh.bus.schema import OrderType, TimeInForce
from tickmesh.nodes.exchange.api.limits import VenueLimits
from tickmesh.nodes.exchange.market.fees import PPM, fee_of
from tickmesh.nodes.exchange.market.instruments import USDM
from tickmesh.nodes.exchange.orders.margin import ASSUMED_PPM
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder
from tickmesh.nodes.exchange.protocol import VenueError
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.research.backtest.margin_account import MarginAccount
from tickmesh.research.backtest.spot_account import ALL, SpotAccount
from tickmesh.research.backtest.terms import UNIT_EXPONENT, VenueTerms, assets_of
from tickmesh.research.backtest.venue import ColumnVenue

INSUFFICIENT = "Account has insufficient balance for requested action."
OWNER = 1
RECEIVED = frozenset(("binance", "okx"))  # spot venues that take their fee of what is received; others of the quote currency
MS = 1_000_000


class NewOrder(NamedTuple):
    """An order that arrives: the numbers of bus/schema; price and lots are mantissas of its instrument."""

    number: int
    slot: int
    side: int
    order_type: int
    force: int
    price: int
    lots: int
    reduce_only: bool


class FillCost(NamedTuple):
    """A fee: a mantissa at 10^−8 of `asset`, and what that is `worth` in quote currency."""

    fee: int
    asset: str
    worth: float


class BacktestAccounts:
    """The account at each venue of `subjects`, which are known by their slot."""

    def __init__(self, terms: VenueTerms, subjects: tuple[str, ...], venue: ColumnVenue):
        self._terms, self._venue = terms, venue
        self._venues = [subject.partition(".")[0] for subject in subjects]
        self._assets = [assets_of(subject) for subject in subjects]
        self._rules: dict[int, InstrumentRules] = {}
        self._orders: dict[int, NewOrder] = {}  # open ones
        self._left: dict[int, int] = {}  # lots of them that are not filled
        self._limits = {name: VenueLimits(one) for name, one in terms.order_limits.items() if name in self._venues}
        self.spot: dict[str, SpotAccount] = {}
        self.margin: MarginAccount | None = None
        self._marks: dict[str, int] = {}
        for name in dict.fromkeys(self._venues):
            if name != USDM and terms.balances is not None:
                self.spot[name] = SpotAccount(terms.balances.get(name, {}))
        contracts = {str(slot): self._assets[slot][1] for slot, name in enumerate(self._venues) if name == USDM}
        if contracts:
            wallets = None if terms.balances is None else terms.balances.get(USDM, {})
            self.margin = MarginAccount(wallets, terms.leverage, contracts, self._mark)

    def define(self, slot: int, rules: InstrumentRules) -> None:
        """Takes what an instrument's mantissas are worth."""
        self._rules[slot] = rules

    # An order

    def admit(self, order: NewOrder, now_ns: int) -> str:
        """Takes a new order in, or gives why the venue refuses it."""
        if (limits := self._limits.get(self._venues[order.slot])) is not None:
            try:
                limits.admit_order(OWNER, now_ns // MS)
            except VenueError as error:
                return error.message
        reason = self._admit_margin(order) if self._margin_of(order.slot) else self._admit_spot(order)
        if not reason:
            self._orders[order.number], self._left[order.number] = order, order.lots
        return reason

    def reach(self, order: NewOrder) -> int:
        """The lots that the venue tries to fill: one that only reduces, and takes, ends where the position does."""
        margin = self._margin_of(order.slot)
        if margin is None or not order.reduce_only:
            return order.lots
        held = abs(margin.positions[str(order.slot)].amount)
        return min(order.lots, _scaled(held, UNIT_EXPONENT - self._rules[order.slot].quantity_exponent))

    def _admit_spot(self, order: NewOrder) -> str:
        account = self.spot.get(self._venues[order.slot])
        if account is None:
            return ""
        base, quote = self._assets[order.slot]
        asset, amount = (quote, self._cost(order, order.lots)) if order.side > 0 else (base, self._lots(order.slot, order.lots))
        return "" if account.lock(order.number, asset, amount) else INSUFFICIENT

    def _cost(self, order: NewOrder, lots: int) -> int:
        """What so many lots of an order to buy cost at most, with the fee where that is taken of the quote currency."""
        if order.order_type == OrderType.MARKET:
            levels = self._venue.reachable(order.slot, order.side, lots)
            worth = sum(self._worth(order.slot, price, got) for price, got in levels)
        else:
            worth = self._worth(order.slot, order.price, lots)
        in_quote = self._venues[order.slot] not in RECEIVED
        return worth + max(fee_of(worth, self._rate(order.slot, False)), 0) + 1 if in_quote else worth

    def _admit_margin(self, order: NewOrder) -> str:
        margin, slot = self._margin_of(order.slot), order.slot
        assert margin is not None
        force, market = TimeInForce(order.force).name, order.order_type == OrderType.MARKET
        own = MarginOrder(
            order.number, "", str(slot), order.side, "MARKET" if market else "LIMIT", force,
            0 if market else self._worth(slot, order.price, 1, of_one=True), self._lots(slot, order.lots), 0, order.number,
            order.reduce_only,
        )  # fmt: skip
        return margin.admit(own, own.price or self._assumed_price(order))

    def _assumed_price(self, order: NewOrder) -> int:
        """What a market order is taken to cost before it is matched: a little above the best ask; the bid or the mark price."""
        bid, ask = self._venue.touch(order.slot)
        mark = self._mark(str(order.slot))
        if order.side > 0:
            return (self._worth(order.slot, ask, 1, of_one=True) or mark) * (PPM + ASSUMED_PPM) // PPM
        return max(self._worth(order.slot, bid, 1, of_one=True), mark)

    def _mark(self, symbol: str) -> int:
        """The mid; where a side of the book is empty the last one."""
        bid, ask = self._venue.touch(int(symbol))
        if bid and ask:
            self._marks[symbol] = self._worth(int(symbol), bid + ask, 1, of_one=True) // 2
        return self._marks.get(symbol, 0)

    # Its course

    def fill(self, number: int, price: int, lots: int, maker: bool, now_ns: int) -> FillCost:
        """Books a fill; gives what it cost."""
        order = self._orders[number]
        slot, venue = order.slot, self._venues[order.slot]
        worth, quantity = self._worth(slot, price, lots), self._lots(slot, lots)
        if venue != USDM and (limits := self._limits.get(venue)) is not None and self._left[number] == order.lots:
            limits.give_back_orders(OWNER, maker, now_ns // MS)
        base, quote = self._assets[slot]
        rate = self._rate(slot, maker)
        of_base = order.side > 0 and venue in RECEIVED and venue != USDM
        fee = fee_of(quantity if of_base else worth, rate)
        self._left[number] -= lots
        if (margin := self._margin_of(slot)) is not None:
            margin.fill(number, self._worth(slot, price, 1, of_one=True), quantity, fee)
        elif (account := self.spot.get(venue)) is not None:
            self._settle(account, order, worth, quantity, fee, of_base)
        value = fee * 10.0**UNIT_EXPONENT * (price * 10.0 ** self._rules[slot].price_exponent if of_base else 1.0)
        return FillCost(fee, base if of_base else quote, value)

    def _settle(self, account: SpotAccount, order: NewOrder, worth: int, quantity: int, fee: int, of_base: bool) -> None:
        base, quote = self._assets[order.slot]
        left = self._left[order.number]
        if order.side < 0:
            account.settle(order.number, quantity, self._lots(order.slot, left), quote, worth - fee)
            return
        # what a market order will yet pay is not known: all that it locked for the worst stays, until it is over
        kept = 0 if not left else ALL if order.order_type == OrderType.MARKET else self._cost(order, left)
        account.settle(order.number, worth if of_base else worth + fee, kept, base, quantity - fee if of_base else quantity)

    def reduce(self, number: int, lots: int) -> None:
        """An order was reduced to so many lots, those included that are filled."""
        order = self._orders[number]
        self._left[number] -= order.lots - lots
        self._orders[number] = order = order._replace(lots=lots)
        if (margin := self._margin_of(order.slot)) is not None:
            margin.orders[number].quantity = self._lots(order.slot, lots)
        elif (account := self.spot.get(self._venues[order.slot])) is not None:
            left = self._left[number]
            account.keep(number, self._cost(order, left) if order.side > 0 else self._lots(order.slot, left))

    def end(self, number: int) -> None:
        """An order is over: what it has locked is free."""
        order = self._orders.pop(number, None)
        if order is None:
            return
        del self._left[number]
        if (margin := self._margin_of(order.slot)) is not None:
            margin.orders.pop(number, None)
        elif (account := self.spot.get(self._venues[order.slot])) is not None:
            account.keep(number, 0)

    def beyond(self, slot: int) -> list[int]:
        """Open orders of an instrument that only reduce, and for which what is held is too small now."""
        margin = self._margin_of(slot)
        return margin.beyond(str(slot)) if margin is not None else []

    # Units

    def _margin_of(self, slot: int) -> MarginAccount | None:
        return self.margin if self._venues[slot] == USDM else None

    def _rate(self, slot: int, maker: bool) -> int:
        fees = self._terms.usdm_fees if self._venues[slot] == USDM else self._terms.fees
        return fees.maker_ppm if maker else fees.taker_ppm

    def _worth(self, slot: int, price: int, lots: int, of_one: bool = False) -> int:
        """Price × quantity; `of_one`: of a whole unit of the base."""
        rules = self._rules[slot]
        exponent = rules.price_exponent - UNIT_EXPONENT + (0 if of_one else rules.quantity_exponent)
        return _scaled(price * lots, exponent)

    def _lots(self, slot: int, lots: int) -> int:
        return _scaled(lots, self._rules[slot].quantity_exponent - UNIT_EXPONENT)


def _scaled(mantissa: int, exponent: int) -> int:
    """mantissa × 10^exponent, rounded down."""
    return int(mantissa * 10**exponent) if exponent >= 0 else mantissa // 10**-exponent
