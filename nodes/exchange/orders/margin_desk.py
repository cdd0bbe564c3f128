"""The futures account at the local venue: orders, fills, positions, wallets, funding, and the state that survives a restart.

Pure, as desk.py, which is spot's: takes requests and executions, and collects user events (`events`), rows of the exchange
ledger (`ledger_rows`) and state lines (`take_line`). Whoever does the I/O writes the line before anything is sent.
"""

import copy
from collections.abc import Callable, Mapping

from tickmesh.nodes.exchange.ledger import LedgerRow
from tickmesh.nodes.exchange.market.fees import PPM, Fees
from tickmesh.nodes.exchange.market.market import Execution, VenueMarket
from tickmesh.nodes.exchange.market.matching import (
    CANCELED,
    EXPIRED,
    FILLED,
    PARTIALLY_FILLED,
    ExchangeOrder,
    PreventedMatch,
)
from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames
from tickmesh.nodes.exchange.orders import margin, margin_records, margin_reports
from tickmesh.nodes.exchange.orders.desk import OVERLOADED, OWNER
from tickmesh.nodes.exchange.orders.listen_key import ListenKey
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder, MarginPlaced, MarginTrade
from tickmesh.nodes.exchange.orders.margin_state import MarginState
from tickmesh.nodes.exchange.orders.margin_terms import (
    MarginTerms,
    check_notional,
    read_margin_terms,
    read_price,
    read_quantity,
)
from tickmesh.nodes.exchange.orders.reduce_only import beyond_position, check_reduce_only
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

NOT_FILLABLE = VenueError(
    -5021,
    "Due to the order could not be filled immediately, the FOK order has been rejected. The order will not be recorded in "
    "the order history",
)
NOT_MAKER = VenueError(
    -5022,
    "Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not be recorded "
    "in the order history",
)
CLOSED = VenueError(-4141, "Symbol is closed.")
UNKNOWN_ORDER = "Unknown order sent."
AMENDS_MAX = 10_000
BOOK_TYPES = {"GTX": "LIMIT_MAKER"}  # by time in force; others are what they are


class MarginDesk:
    """All orders, trades and positions of the one futures account. `markets`: by symbol. `mark_of`: a symbol's mark price."""

    def __init__(self, markets: Mapping[str, VenueMarket], fees: Fees, mark_of: Callable[[str], int], listen_key: ListenKey):
        self.markets, self.fees, self.mark_of = markets, fees, mark_of
        self.state = MarginState(listen_key)
        self.accounts, self.orders = self.state.accounts, self.state.orders
        self.events: list[str] = []  # user events that are not sent yet
        self.ledger_rows: list[LedgerRow] = []
        self.overloaded = False  # a fault: only market and reduce-only orders get through
        self.halted: set[str] = set()  # faults: symbols that are not traded
        self.unknown: set[str] = set()  # and those that the venue does not know
        self.without_book: set[str] = set()  # symbols of which no book is known: no new order, and those that rest stand
        self._write = {symbol: UsdmFrames(market.spec) for symbol, market in markets.items()}
        for market in markets.values():
            market.on_fill, market.on_prevented = self.take_fill, self.take_prevented

    # ---- requests

    def check(self, params: Params) -> MarginTerms:
        """Checks parameters and filters of a new order, not the account's money. Raises VenueError; nothing has happened."""
        market = self.market(params)
        symbol = market.spec.symbol
        terms = read_margin_terms(market, params, self.mark_of(symbol))
        if symbol in self.halted | self.without_book:
            raise CLOSED
        if self.overloaded and terms.type != "MARKET" and not terms.reduce_only:
            raise OVERLOADED
        return terms

    def enter(self, terms: MarginTerms, now_ms: int) -> MarginPlaced:
        """Sends checked terms to the market if the account can hold them. Raises VenueError; nothing has happened then."""
        market, symbol = terms.market, terms.market.spec.symbol
        others = self.orders.open_of(symbol)
        if terms.client_id and self.orders.is_open(symbol, terms.client_id):
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if len(others) >= market.spec.orders_max:
            raise VenueError(-2025, "Reach max open order limit.")
        own = MarginOrder(
            self.state.next_order, terms.client_id or f"local{self.state.next_order}", symbol, terms.side, terms.type,
            terms.time_in_force, terms.price, terms.quantity, now_ms, self.state.queued + 1, terms.reduce_only,
            update_time=now_ms,
        )  # fmt: skip
        if own.reduce_only:
            check_reduce_only(own, self.accounts.position(OWNER, symbol).amount, others)
        else:
            self._check_margin(own, others)
        if own.time_in_force == "GTX" and market.crosses(own.side, own.price):
            raise NOT_MAKER
        if own.time_in_force == "FOK" and not _fillable(market, own):
            raise NOT_FILLABLE
        self.state.next_order += 1
        self.state.queued += 1
        self.state.file(own)
        self._report(own, "NEW", now_ms)
        accepted = copy.copy(own)
        self._match(own, now_ms)
        return MarginPlaced(accepted, own)

    def amend(self, params: Params, now_ms: int) -> MarginOrder:
        """`PUT /fapi/v1/order`: changes price and quantity of an open limit order, which loses its place in the queue.

        Raises VenueError; nothing has happened then. A new quantity that is filled already, and a price at which a
        post-only order would take, cancel it, as the venue has it."""
        market = self.market(params)
        spec, symbol = market.spec, market.spec.symbol
        if self.overloaded:
            raise OVERLOADED
        if symbol in self.halted | self.without_book:
            raise VenueError(-5024, "Symbol is not in trading status. Order amendment is not permitted.")
        order = self.orders.find_open(symbol, params, -2013, "Order does not exist.")
        params.choice("side", ("BUY",) if order.side > 0 else ("SELL",), -1117, "Invalid side.")
        params.choice("priceMatch", ("NONE",), -5037, "Invalid price match", "NONE")
        price, quantity = read_price(spec, params, order.side, self.mark_of(symbol)), read_quantity(spec, params)
        if (price, quantity) == (order.price, order.quantity):
            raise VenueError(-5027, "No need to modify the order.")
        if order.amended >= AMENDS_MAX:
            raise VenueError(-5026, "Exceed maximum modify order limit.")
        if quantity <= order.filled or order.time_in_force == "GTX" and market.crosses(order.side, price):
            return self._cancel(order, now_ms)
        changed = copy.copy(order)
        changed.price, changed.quantity, changed.queued = price, quantity, self.state.queued + 1
        others = [other for other in self.orders.open_of(symbol) if other is not order]
        if order.reduce_only:
            check_reduce_only(changed, self.accounts.position(OWNER, symbol).amount, others)
        else:
            check_notional(spec, price, quantity, -5029)
            self._check_margin(changed, others)
        market.cancel(order.id, now_ms)
        self.state.queued += 1
        order.price, order.quantity, order.queued = price, quantity, changed.queued
        order.amended, order.update_time = order.amended + 1, now_ms
        self.state.file(order)
        self._report(order, "AMENDMENT", now_ms)
        self._match(order, now_ms)
        return order

    def cancel(self, params: Params, now_ms: int) -> MarginOrder:
        """`DELETE /fapi/v1/order`: cancels one order and gives it. Raises VenueError −2011 when it is not open."""
        symbol = self.market(params).spec.symbol
        if self.overloaded:
            raise OVERLOADED
        if symbol in self.halted:
            raise CLOSED
        return self._cancel(self.orders.find_open(symbol, params, -2011, UNKNOWN_ORDER), now_ms)

    def cancel_all(self, symbol: str, now_ms: int) -> None:
        """Cancels all open orders of a symbol, if there are any."""
        if self.overloaded:
            raise OVERLOADED
        if symbol in self.halted:
            raise CLOSED
        for order in self.orders.open_of(symbol):
            self._cancel(order, now_ms)

    def set_leverage(self, symbol: str, leverage: int, now_ms: int) -> None:
        """Changes the leverage of a contract. VenueError when position and orders could not be held with it."""
        use, before = self.use_of(symbol), self.leverage_of(symbol)
        if max(abs(use.notional + use.bid_notional), abs(use.notional - use.ask_notional)) > margin.notional_max(leverage):
            raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
        self.state.leverages[symbol] = leverage
        if leverage < before and self.available(self.markets[symbol].spec.quote) < 0:
            self.state.leverages[symbol] = before
            raise VenueError(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
        if leverage != before:
            self.state.note_leverage(symbol)
            self.events.append(margin_reports.leverage_update(symbol, leverage, now_ms))

    def market(self, params: Params) -> VenueMarket:
        """The market of a request's `symbol`. VenueError −1121 for an unknown one."""
        symbol = params.text("symbol")
        market = self.markets.get(symbol)
        if market is None or symbol in self.unknown:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    # ---- money

    def leverage_of(self, symbol: str) -> int:
        """The leverage of a contract."""
        return self.state.leverages.get(symbol, margin.LEVERAGE_DEFAULT)

    def use_of(self, symbol: str) -> margin.MarginUse:
        """What the position and the open orders of a contract take of the account."""
        position = self.accounts.position(OWNER, symbol)
        return margin.margin_use(position, self.orders.open_of(symbol), self.mark_of(symbol), self.leverage_of(symbol))

    def available(self, asset: str) -> int:
        """What new positions and orders may take of an asset: wallet and open profit, less what is taken already."""
        uses = [self.use_of(symbol) for symbol, market in self.markets.items() if market.spec.quote == asset]
        return self.accounts.wallet(OWNER, asset) + sum(use.unrealised - use.initial_margin for use in uses)

    def settle_funding(self, symbol: str, mark: int, rate: int, now_ms: int) -> None:
        """Applies one funding of a contract to the position in it; without one it is only remembered."""
        spec = self.markets[symbol].spec
        self.state.note_funding(margin_records.FundingPoint(symbol, rate, mark, now_ms))
        received = self.accounts.book_funding(OWNER, symbol, spec.quote, mark, rate)
        self.ledger_rows.append(("funding", spec.name, rate, mark, received))
        if not self.accounts.position(OWNER, symbol).amount:
            return
        self.state.note_wallet(spec.quote)
        self.state.note_income(symbol, "FUNDING_FEE", received, spec.quote, now_ms)
        wallet = self.accounts.wallet(OWNER, spec.quote)
        self.events.append(margin_reports.account_update("FUNDING_FEE", spec.quote, wallet, received, [], now_ms))

    # ---- what the market reports

    def take_fill(self, order_id: int, execution: Execution, now_ms: int) -> None:
        """Books a fill, whole or partial, of one of our resting orders."""
        self._execute(self.orders.open[order_id], execution, now_ms)

    def take_prevented(self, taker_id: int, prevented: PreventedMatch, now_ms: int) -> None:
        """Closes a resting order that self-trade prevention took out: of futures it is always the maker that goes."""
        order = self.orders.open[prevented.maker.id]
        order.expiry = margin_records.EXPIRED_SELF_TRADE
        self._close(order, "EXPIRED_IN_MATCH", "EXPIRED", now_ms)

    # ---- state

    def lose_orders(self, now_ms: int) -> None:
        """Expires all open orders without an event, as after a restart that forgot them."""
        for order in list(self.orders.open.values()):
            if order.symbol in self.markets:
                self.markets[order.symbol].cancel(order.id, now_ms)
            order.status, order.update_time = EXPIRED, now_ms
            self.state.file(order)

    def restore(self, now_ms: int) -> None:
        """Puts the open orders back into the markets, in their old order of time, and says what the account has."""
        for own in sorted(self.orders.open.values(), key=lambda order: order.queued):
            if own.symbol in self.markets:
                self.markets[own.symbol].rest(ExchangeOrder(own.id, OWNER, own.side, own.price, own.remaining), now_ms)
        for symbol, market in self.markets.items():
            position = self.accounts.position(OWNER, symbol)
            self.ledger_rows.append(("position", market.spec.name, position.amount, position.cost, position.realised))
        for asset in self.accounts.deposited:
            self.ledger_rows.append(("wallet", asset, self.accounts.wallet(OWNER, asset)))

    # ---- inside

    def _check_margin(self, order: MarginOrder, others: list[MarginOrder]) -> None:
        """Refuses an order for which the account has no margin. `others`: the open orders beside it."""
        symbol, market = order.symbol, self.markets[order.symbol]
        mark, leverage = self.mark_of(symbol), self.leverage_of(symbol)
        trial = copy.copy(order)
        trial.price = order.price or _assumed_price(market, order.side, mark)
        before = self.use_of(symbol)
        after = margin.margin_use(self.accounts.position(OWNER, symbol), [*others, trial], mark, leverage)
        more = after.initial_margin - before.initial_margin
        if more <= 0:
            return
        worst = max(abs(after.notional + after.bid_notional), abs(after.notional - after.ask_notional))
        if worst > margin.notional_max(leverage):
            raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
        if more + margin.opening_loss(order.side, trial.price, order.remaining, mark) > self.available(market.spec.quote):
            raise VenueError(-2019, "Margin is insufficient.")

    def _match(self, own: MarginOrder, now_ms: int) -> None:
        """Sends what is not filled of an order to its market, and closes it unless it rests."""
        market, position = self.markets[own.symbol], self.accounts.position(OWNER, own.symbol)
        quantity = min(own.remaining, abs(position.amount)) if own.reduce_only else own.remaining
        order = ExchangeOrder(own.id, OWNER, own.side, own.price, quantity)
        kind = BOOK_TYPES.get(own.time_in_force, own.type)
        status, executions = market.submit(order, kind, own.time_in_force, now_ms)
        for execution in executions:
            self._execute(own, execution, now_ms)
        if status == EXPIRED or own.remaining and status == FILLED:
            cut = own.remaining and status == FILLED
            ioc = margin_records.EXPIRED_IOC if own.type == "LIMIT" else margin_records.EXPIRED_MARKET
            own.expiry = margin_records.EXPIRED_REDUCE_ONLY if cut else ioc
            self._close(own, EXPIRED, "EXPIRED", now_ms)
        for beyond in beyond_position(position.amount, self.orders.open_of(own.symbol)):
            market.cancel(beyond.id, now_ms)
            beyond.expiry = margin_records.EXPIRED_REDUCE_ONLY
            self._close(beyond, EXPIRED, "EXPIRED", now_ms)

    def _cancel(self, order: MarginOrder, now_ms: int) -> MarginOrder:
        self.markets[order.symbol].cancel(order.id, now_ms)
        self._close(order, CANCELED, "CANCELED", now_ms)
        return order

    def _execute(self, order: MarginOrder, execution: Execution, now_ms: int) -> None:
        symbol, asset = order.symbol, self.markets[order.symbol].spec.quote
        amount = execution.price * execution.quantity // UNIT
        fee = self.fees.fee(amount, execution.maker)
        booked = self.accounts.book_fill(OWNER, symbol, asset, order.side, execution.price, execution.quantity, fee, now_ms)
        order.filled += execution.quantity
        order.filled_quote += amount
        order.update_time = now_ms
        order.status = PARTIALLY_FILLED if order.remaining else FILLED
        trade = MarginTrade(
            symbol, execution.trade_id, order.id, order.side, execution.price, execution.quantity, fee, asset,
            booked.realised, now_ms, execution.maker,
        )  # fmt: skip
        self.state.file(order)
        self.state.note_trade(trade)
        use, position = self.use_of(symbol), self.accounts.position(OWNER, symbol)
        row = margin_reports.position_row(symbol, position, use.unrealised, asset, self._write[symbol])
        wallet = self.accounts.wallet(OWNER, asset)
        self.events.append(margin_reports.account_update("ORDER", asset, wallet, 0, [row], now_ms))
        self._report(order, "TRADE", now_ms, trade)

    def _close(self, order: MarginOrder, status: str, what: str, now_ms: int) -> None:
        order.status, order.update_time = status, now_ms
        self.state.file(order)
        self._report(order, what, now_ms)

    def _report(self, order: MarginOrder, what: str, now_ms: int, trade: MarginTrade | None = None) -> None:
        use, asset = self.use_of(order.symbol), self.markets[order.symbol].spec.quote
        notionals = use.bid_notional, use.ask_notional
        self.events.append(margin_reports.order_update(order, what, self._write[order.symbol], notionals, asset, now_ms, trade))


def _assumed_price(market: VenueMarket, side: int, mark: int) -> int:
    """What a MARKET order is taken to cost before it is matched: a little above the best ask; the bid or the mark price."""
    if side > 0:
        return (market.best(-1)[0] or mark) * (PPM + margin.ASSUMED_PPM) // PPM
    return max(market.best(1)[0], mark)


def _fillable(market: VenueMarket, order: MarginOrder) -> bool:
    """Whether the whole of an order could be filled at once."""
    wanted = order.quantity
    for price, quantity in market.levels(-order.side, OWNER):
        if (price - order.price) * order.side > 0:
            break
        wanted -= quantity
    return wanted <= 0
