"""Our own orders at the local venue: placing, cancelling, triggers, fills, balances.

Pure: takes requests and what markets report, changes orders and accounts, and collects user events (`events`) and state lines
(`take_line`). Whoever does the I/O writes the line before anything is sent.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from tickmesh.nodes.exchange.market.instruments import STOPS_MAX
from tickmesh.nodes.exchange.market.market import Execution, VenueMarket
from tickmesh.nodes.exchange.market.matching import (
    CANCELED,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    PARTIALLY_FILLED,
    REJECTED,
    ExchangeOrder,
    PreventedMatch,
)
from tickmesh.nodes.exchange.orders.orders import PENDING_NEW, STOPS, OwnOrder, OwnPrevented, OwnTrade, Placed
from tickmesh.nodes.exchange.orders.records import OWNER, OrderRecords
from tickmesh.nodes.exchange.orders.reports import Prevention, account_position, execution_report
from tickmesh.nodes.exchange.orders.terms import Terms, amount_to_lock, asset_to_lock, read_terms
from tickmesh.nodes.exchange.orders.triggers import Triggers, follow, reached
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

__all__ = ["CLOSED", "OVERLOADED", "OWNER", "Desk"]
CLOSED = "Market is closed."
OVERLOADED = VenueError(-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", 503)
UNFILLED = {"FOK": "UNFILLED_FOK_ORDER_EXPIRED", "IOC": "UNFILLED_IOC_QUANTITY_EXPIRED"}


class Desk(OrderRecords):
    """All orders and trades of the one account. `markets`: by symbol, synthetic or replayed ones."""

    def __init__(self, markets: Mapping[str, VenueMarket], maker_ppm: int, taker_ppm: int):
        super().__init__()
        self.markets = markets
        self.maker_ppm, self.taker_ppm = maker_ppm, taker_ppm
        self.triggers = Triggers()
        self.overloaded = False  # a fault: only market orders get through
        self.halted: set[str] = set()  # faults: symbols that are not traded
        self.without_book: set[str] = set()  # symbols of which no book is known: no new order, and those that rest stand
        self.unknown: set[str] = set()  # and those that the venue does not know
        self.on_first_fill: Callable[[bool, int], None] = lambda maker, now_ms: None
        self.before_work: Callable[[OwnOrder, int], None] = lambda order, now_ms: (
            None
        )  # its first fill as maker, or its trigger
        self.after_end: Callable[[OwnOrder, int], None] = lambda order, now_ms: None  # reported, in a final state
        self._due: deque[Callable[[], None]] = deque()  # what trades have set off, until the market stands still
        self._busy = False
        self._stopping: list[tuple[OwnPrevented, Prevention]] = []  # matches of the present taker that were prevented
        for market in markets.values():
            market.on_fill, market.on_prevented, market.on_trades = self.take_fill, self.take_prevented, self.take_trades

    # ---- requests

    def check(self, params: Params, beside: int = 0) -> Terms:
        """Checks parameters and filters of a new order, not the account's money. Raises VenueError; nothing has happened.

        `beside`: other orders that come with it."""
        terms = read_terms(self.market(params), params, OWNER)
        if terms.market.spec.symbol in self.halted | self.without_book:
            raise VenueError(-2010, CLOSED)
        if self.overloaded and terms.type != "MARKET":
            raise OVERLOADED
        spec = terms.market.spec
        if len(self.open) + beside >= min(spec.orders_max, STOPS_MAX):
            mine = [order for order in self.open.values() if order.symbol == spec.symbol]
            if len(mine) + beside >= spec.orders_max:
                raise VenueError(-1013, "Filter failure: MAX_NUM_ORDERS")
            if terms.type in STOPS and sum(order.type in STOPS for order in mine) >= STOPS_MAX:
                raise VenueError(-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
        if spec.position_max and terms.side > 0:
            bids = sum(o.quantity - o.filled for o in self.open.values() if o.symbol == spec.symbol and o.side > 0)
            if sum(self.accounts.balance_of(OWNER, spec.base)) + bids + terms.quantity > spec.position_max:
                raise VenueError(-1013, "Filter failure: MAX_POSITION")
        return terms

    def admit(self, terms: Terms) -> None:
        """Checks terms against the market and the open orders as they are now. Raises VenueError −2010."""
        market = terms.market
        if terms.client_id and (market.spec.symbol, terms.client_id) in self.open_by_client:
            raise VenueError(-2010, "Duplicate order sent.")
        if terms.type == "LIMIT_MAKER" and market.crosses(terms.side, terms.price):
            raise VenueError(-2010, "Order would immediately match and take.")
        last = market.last_price if terms.stop_price and not terms.trailing_delta else 0
        if last and reached(terms.build_order(0, 0, 0), last):
            raise VenueError(-2010, "Order would trigger immediately.")

    def check_funds(self, asset: str, amount: int) -> None:
        """Raises VenueError −2010 when the account has not so much of an asset free."""
        if self.accounts.balance_of(OWNER, asset)[0] < amount:
            raise VenueError(-2010, "Account has insufficient balance for requested action.")

    def enter(self, terms: Terms, now_ms: int, test: bool = False) -> Placed | None:
        """Sends checked terms to the market if the account can pay. Raises VenueError −2010; nothing has happened then."""
        self.admit(terms)
        amount = amount_to_lock(terms.market, terms, terms.quantity, OWNER)
        self.check_funds(asset_to_lock(terms.market.spec, terms.side), amount)
        if test:
            return None
        placed = self.start(self.add(terms, amount, now_ms), now_ms)
        self.settle()
        return placed

    def add(self, terms: Terms, amount: int, now_ms: int) -> OwnOrder:
        """Makes an order of terms, with an amount locked for it; it is not in the market yet."""
        own = terms.build_order(self.next_order, now_ms, amount)
        self.next_order += 1
        self.lock(asset_to_lock(terms.market.spec, terms.side), amount)
        return own

    def start(self, own: OwnOrder, now_ms: int) -> Placed:
        """Has an order wait for its price, or sends it to the market. Whoever calls it calls `settle` then."""
        if own.type not in STOPS:
            return self._match(self.markets[own.symbol], own, now_ms)
        own.waits, own.status = True, "NEW"
        if (last_price := self.markets[own.symbol].last_price) and own.trailing_delta:
            follow(own, last_price, now_ms)
        self.triggers.add(own)
        self.remember(own)
        self.report(own, "NEW", now_ms)
        self.report_position(now_ms)
        return Placed(own, [])

    def place(self, params: Params, now_ms: int, test: bool = False) -> Placed | None:
        """`POST /api/v3/order`: checks and enters a new order. Raises VenueError; nothing has happened then."""
        return self.enter(self.check(params), now_ms, test)

    def cancel(self, params: Params, now_ms: int) -> tuple[OwnOrder, str]:
        """`DELETE /api/v3/order`: gives the order that was cancelled, and the client id of the cancel itself."""
        if self.overloaded:
            raise OVERLOADED
        cancel_id = params.client_id("newClientOrderId")
        invalid = "Data sent for parameter 'cancelRestrictions' is not valid."
        only = params.choice("cancelRestrictions", ("ONLY_NEW", "ONLY_PARTIALLY_FILLED", "NONE"), -1145, invalid, "NONE")
        order = self.find(params)
        if order is None or not order.open:
            raise VenueError(-2011, "Unknown order sent.")
        if order.symbol in self.halted:
            raise VenueError(-2011, CLOSED)
        if only not in ("NONE", f"ONLY_{order.status}"):
            raise VenueError(-2011, "Order was not canceled due to cancel restrictions.")
        cancel_id = cancel_id or f"cancel{order.id}"
        self.cancel_order(order, now_ms, cancel_id)
        self.report_position(now_ms)
        return order, cancel_id

    def cancel_order(self, order: OwnOrder, now_ms: int, cancel_id: str) -> None:
        """Cancels an open order, and with it the other orders of its list."""
        self.markets[order.symbol].cancel(order.id, now_ms)
        self.finish(order, CANCELED, "CANCELED", now_ms, cancel_id)

    def find(self, params: Params) -> OwnOrder | None:
        """Finds an order of a symbol by its orderId or origClientOrderId; None for no such order."""
        symbol = self.market(params).spec.symbol
        client_id = params.text("origClientOrderId", "")
        if "orderId" in params:
            order = self.orders.get(params.integer("orderId"))
            if order is None or order.symbol != symbol:
                return None
            if client_id and order.client_id != client_id:
                raise VenueError(-2039, "Client order ID is not correct for this order ID.")
            return order
        if not client_id:
            raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        return self.open_by_client.get((symbol, client_id)) or self.by_client.get((symbol, client_id))

    def market(self, params: Params) -> VenueMarket:
        """The market of a request's `symbol`. VenueError −1121 for an unknown one."""
        symbol = params.text("symbol")
        market = self.markets.get(symbol)
        if market is None or symbol in self.unknown:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    # ---- what the market reports

    def take_fill(self, order_id: int, execution: Execution, now_ms: int) -> None:
        """Books a fill, whole or partial, of one of our resting orders."""
        order = self.open[order_id]
        if not order.filled:
            self.before_work(order, now_ms)
        self._execute(order, execution, now_ms)
        self.report_position(now_ms)

    def take_prevented(self, taker_id: int, match: PreventedMatch, now_ms: int) -> None:
        """Books what a resting order of ours loses by a match with our taker that was prevented; the taker's part follows."""
        maker, taker = self.open[match.maker.id], self.open[taker_id]
        prevented = OwnPrevented(
            maker.symbol, self.next_prevented, taker_id, maker.id, taker.prevention, match.price, match.maker_quantity,
            match.taker_quantity, now_ms,
        )  # fmt: skip
        self.add_prevented(prevented)
        if match.maker_quantity:
            self.before_work(maker, now_ms)
            self._lose(maker, prevented, Prevention(prevented.id, match.maker_quantity, taker_id, match), now_ms)
        if match.taker_quantity:
            self._stopping.append((prevented, Prevention(prevented.id, match.taker_quantity, maker.id, match)))

    def take_trades(self, symbol: str, prices: list[int], now_ms: int) -> None:
        """Takes the prices of trades, once the market stands still, and does what they set off."""
        if symbol in self.triggers.waiting:
            self._due.extend(partial(self._follow, symbol, price, now_ms) for price in prices)
        if self._due:
            self.settle()

    def after(self, act: Callable[[], None]) -> None:
        """Has something done as soon as the market stands still."""
        self._due.append(act)

    def settle(self) -> None:
        """Does what trades have set off, and what follows from that, until nothing is due; nothing inside a match."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._due:
                self._due.popleft()()
        finally:
            self._busy = False

    # ---- state

    def lose_orders(self, now_ms: int) -> None:
        """Expires all open orders without an event, as after a restart that forgot them."""
        for order in list(self.open.values()):
            self.markets[order.symbol].cancel(order.id, now_ms)
            order.expiry = "EXCHANGE_CANCELED"
            self._close(order, EXPIRED, now_ms)

    def restore(self, now_ms: int) -> None:
        """Puts the open orders back into the markets, in their old order of time; those that wait, wait again."""
        for own in sorted(self.open.values(), key=lambda o: (o.rank, o.id)):
            if own.symbol not in self.markets or own.status == PENDING_NEW:
                continue
            if own.waits:
                self.triggers.add(own)
            else:
                self.markets[own.symbol].rest(_book_order(own), now_ms)

    # ---- inside

    def _follow(self, symbol: str, price: int, now_ms: int) -> None:
        triggered, moved = self.triggers.follow(symbol, price, now_ms)
        self.write(*moved)
        for own in triggered:
            if own.waits and own.open:  # else another one of its list was first
                self._trigger(own, now_ms)

    def _trigger(self, own: OwnOrder, now_ms: int) -> None:
        """Sends a stop to the market, as the MARKET or LIMIT order that it is now."""
        self.triggers.remove(own)
        self.before_work(own, now_ms)
        market = self.markets[own.symbol]
        if own.book_type == "MARKET":
            more = amount_to_lock(market, own, own.remaining, OWNER, triggered=True) - own.locked
            asset = asset_to_lock(market.spec, own.side)
            if more > self.accounts.balance_of(OWNER, asset)[0]:
                own.expiry = "REJECTED"
                self.finish(own, EXPIRED, "EXPIRED", now_ms)
                self.report_position(now_ms)
                return
            self.lock(asset, more)
            own.locked += more
        own.waits, own.working_time = False, now_ms
        self._match(market, own, now_ms)

    def _match(self, market: VenueMarket, own: OwnOrder, now_ms: int) -> Placed:
        busy, self._busy = self._busy, True
        self.remember(own)
        self.report(own, "NEW", now_ms)
        own.rank = self.executions
        status, executions = market.submit(_book_order(own), own.book_type, own.time_in_force, now_ms)
        assert status != REJECTED, f"order {own.id}: refused by the book after its check"
        stopping, self._stopping = self._stopping, []
        last = stopping.pop() if status == EXPIRED_IN_MATCH else None
        for lost in stopping:
            self._lose(own, *lost, now_ms)
        trades = [self._execute(own, execution, now_ms) for execution in executions]
        if last is not None:
            self._lose(own, *last, now_ms)
        if status == EXPIRED:
            own.expiry = UNFILLED.get(own.time_in_force, "INSUFFICIENT_LIQUIDITY")
            self.finish(own, EXPIRED, "EXPIRED", now_ms)
        self.report_position(now_ms)
        self._busy = busy
        return Placed(own, trades)

    def _execute(self, order: OwnOrder, execution: Execution, now_ms: int) -> OwnTrade:
        spec = self.markets[order.symbol].spec
        amount = execution.price * execution.quantity // UNIT
        if not order.filled:
            self.on_first_fill(execution.maker, now_ms)
        order.filled += execution.quantity
        order.filled_quote += amount
        order.update_time = now_ms
        done = not order.remaining
        rate = self.maker_ppm if execution.maker else self.taker_ppm
        if order.side > 0:
            keep = 0 if done else self._still_locked(order, order.locked - amount)
            fee_asset = spec.base
            fee = self.accounts.settle_fill(
                OWNER, spec.quote, amount, order.locked - keep - amount, spec.base, execution.quantity, rate
            )
        else:
            keep = order.locked - execution.quantity
            fee_asset = spec.quote
            fee = self.accounts.settle_fill(OWNER, spec.base, execution.quantity, 0, spec.quote, amount, rate)
        order.locked = keep
        self._changed.update((spec.base, spec.quote))
        trade = OwnTrade(
            order.symbol, execution.trade_id, order.id, order.side, execution.price, execution.quantity, fee, fee_asset,
            now_ms, execution.maker, order.list_id,
        )  # fmt: skip
        self.add_trade(trade)
        if done:
            self.finish(order, FILLED, "TRADE", now_ms, trade=trade)
        else:
            order.status = PARTIALLY_FILLED
            self.write(order)
            self.report(order, "TRADE", now_ms, trade=trade)
        return trade

    def _lose(self, order: OwnOrder, prevented: OwnPrevented, prevention: Prevention, now_ms: int) -> None:
        """Books the quantity that an order loses by self-trade prevention: part of it, or the end of it."""
        order.prevented += prevention.quantity
        order.prevented_match, order.update_time = prevented.id, now_ms
        if not order.remaining:
            self.finish(order, EXPIRED_IN_MATCH, "TRADE_PREVENTION", now_ms, prevention=prevention)
            return
        self.release_surplus(order)
        self.report(order, "TRADE_PREVENTION", now_ms, prevention=prevention)

    def release_surplus(self, order: OwnOrder) -> None:
        """Frees what an order has locked beyond what it can still need."""
        surplus = order.locked - self._still_locked(order, order.locked)
        self.lock(asset_to_lock(self.markets[order.symbol].spec, order.side), -surplus)
        order.locked -= surplus
        self.write(order)

    def _still_locked(self, order: OwnOrder, at_market: int) -> int:
        """What an open order needs to have locked; `at_market`: where that depends on the book, this."""
        if order.side < 0:
            return order.remaining
        return at_market if order.book_type == "MARKET" else order.price * order.remaining // UNIT

    def finish(
        self, order: OwnOrder, status: str, what: str, now_ms: int, cancel_id: str = "", trade: OwnTrade | None = None,
        prevention: Prevention | None = None,
    ) -> None:  # fmt: skip
        """Puts an order into a final state and reports it; what it had locked is free again."""
        self._close(order, status, now_ms)
        self.report(order, what, now_ms, cancel_id, trade, prevention)
        self.after_end(order, now_ms)

    def _close(self, order: OwnOrder, status: str, now_ms: int) -> None:
        self.triggers.remove(order)
        self.lock(asset_to_lock(self.markets[order.symbol].spec, order.side), -order.locked)
        order.locked = 0
        order.status, order.update_time = status, now_ms
        self.remember(order)

    def report(
        self, order: OwnOrder, what: str, now_ms: int, client_id: str = "", trade: OwnTrade | None = None,
        prevention: Prevention | None = None,
    ) -> None:  # fmt: skip
        """Adds an `executionReport`; `client_id`: of the request that this is about, where it had one of its own."""
        self.executions += 1
        self.events.append(execution_report(order, what, now_ms, self.executions, trade, client_id, prevention))

    def report_position(self, now_ms: int) -> None:
        """Adds an `outboundAccountPosition` of the assets that have changed."""
        balances = {asset: self.accounts.balance_of(OWNER, asset) for asset in sorted(self._changed)}
        if balances:
            self.events.append(account_position(balances, now_ms))


def _book_order(own: OwnOrder) -> ExchangeOrder:
    return ExchangeOrder(own.id, OWNER, own.side, own.price, own.remaining, own.iceberg, own.prevention)
