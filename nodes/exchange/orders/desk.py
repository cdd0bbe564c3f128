"""Our own orders at the local venue: placing, cancelling, fills, balances, and the state that survives a restart.

Pure: takes requests and executions, changes orders and accounts, and collects user events (`events`) and state lines
(`take_line`). Whoever does the I/O writes the line before anything is sent.
"""

from collections import deque
from collections.abc import Callable, Mapping

from tickmesh.nodes.exchange.market.market import Execution, VenueMarket
from tickmesh.nodes.exchange.market.matching import CANCELED, EXPIRED, FILLED, NEW, PARTIALLY_FILLED, REJECTED, ExchangeOrder
from tickmesh.nodes.exchange.orders.accounts import FEES, OUTSIDE, Accounts
from tickmesh.nodes.exchange.orders.orders import OwnOrder, OwnTrade, Placed, StateLine
from tickmesh.nodes.exchange.orders.reports import account_position, execution_report
from tickmesh.nodes.exchange.orders.terms import Terms, amount_to_lock, read_terms
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

OWNER = 1  # the one account of the local venue
OPEN = (NEW, PARTIALLY_FILLED)
CLOSED_KEPT = 20_000  # closed orders that can still be queried
TRADES_KEPT = 50_000
CLOSED = "Market is closed."
OVERLOADED = VenueError(-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", 503)


class Desk:
    """All orders and trades of the one account. `markets`: by symbol, synthetic or replayed ones."""

    def __init__(self, markets: Mapping[str, VenueMarket], maker_ppm: int, taker_ppm: int):
        self.markets = markets
        self.maker_ppm, self.taker_ppm = maker_ppm, taker_ppm
        self.accounts = Accounts()
        self.orders: dict[int, OwnOrder] = {}  # by id, closed ones too
        self.open: dict[int, OwnOrder] = {}  # by id
        self.open_by_client: dict[tuple[str, str], OwnOrder] = {}  # (symbol, client id) → open order
        self.by_client: dict[tuple[str, str], OwnOrder] = {}  # (symbol, client id) → newest order, open or closed
        self.closed: deque[OwnOrder] = deque()
        self.trades: list[OwnTrade] = []
        self.events: list[str] = []  # user events that are not sent yet
        self.next_order = 1
        self.executions = 0  # execution reports so far
        self.overloaded = False  # a fault: only market orders get through
        self.halted: set[str] = set()  # faults: symbols that are not traded
        self.unknown: set[str] = set()  # and those that the venue does not know
        self.on_first_fill: Callable[[bool, int], None] = lambda maker, now_ms: None
        self._line = StateLine()
        self._changed: set[str] = set()
        for market in markets.values():
            market.on_fill, market.on_expire = self.take_fill, self.take_expiry

    # ---- requests

    def check(self, params: Params) -> Terms:
        """Checks parameters and filters of a new order, not the account's money. Raises VenueError; nothing has happened."""
        terms = read_terms(self._market(params), params, OWNER)
        if terms.market.spec.symbol in self.halted:
            raise VenueError(-2010, CLOSED)
        if self.overloaded and terms.type != "MARKET":
            raise OVERLOADED
        spec = terms.market.spec
        mine = [o for o in self.open.values() if o.symbol == spec.symbol] if len(self.open) >= spec.orders_max else []
        if len(mine) >= spec.orders_max:
            raise VenueError(-1013, "Filter failure: MAX_NUM_ORDERS")
        if spec.position_max and terms.side > 0:
            bids = sum(o.quantity - o.filled for o in self.open.values() if o.symbol == spec.symbol and o.side > 0)
            if sum(self.accounts.balance_of(OWNER, spec.base)) + bids + terms.quantity > spec.position_max:
                raise VenueError(-1013, "Filter failure: MAX_POSITION")
        return terms

    def enter(self, terms: Terms, now_ms: int, test: bool = False) -> Placed | None:
        """Sends checked terms to the market if the account can pay. Raises VenueError −2010; nothing has happened then."""
        market = terms.market
        symbol = market.spec.symbol
        if terms.client_id and (symbol, terms.client_id) in self.open_by_client:
            raise VenueError(-2010, "Duplicate order sent.")
        if terms.type == "LIMIT_MAKER" and market.crosses(terms.side, terms.price):
            raise VenueError(-2010, "Order would immediately match and take.")
        asset, lock = amount_to_lock(market, terms.side, terms.type, terms.price, terms.quantity, OWNER)
        if self.accounts.balance_of(OWNER, asset)[0] < lock:
            raise VenueError(-2010, "Account has insufficient balance for requested action.")
        if test:
            return None
        own = OwnOrder(
            self.next_order, terms.client_id or f"local{self.next_order}", symbol, terms.side, terms.type,
            terms.time_in_force, terms.price, terms.quantity, now_ms, terms.spend, locked=lock, update_time=now_ms,
            strategy_id=terms.strategy_id, strategy_type=terms.strategy_type,
        )  # fmt: skip
        self.next_order += 1
        self.accounts.lock(OWNER, asset, lock)
        self._changed.add(asset)
        return self._match(market, own, now_ms)

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
        if order is None or order.status not in OPEN:
            raise VenueError(-2011, "Unknown order sent.")
        if order.symbol in self.halted:
            raise VenueError(-2011, CLOSED)
        if only not in ("NONE", f"ONLY_{order.status}"):
            raise VenueError(-2011, "Order was not canceled due to cancel restrictions.")
        cancel_id = cancel_id or f"cancel{order.id}"
        self.markets[order.symbol].cancel(order.id, now_ms)
        self._close(order, CANCELED, now_ms)
        self._report(order, "CANCELED", now_ms, client_id=cancel_id)
        self._position(now_ms)
        return order, cancel_id

    def find(self, params: Params) -> OwnOrder | None:
        """Finds an order of a symbol by its orderId or origClientOrderId; None for no such order."""
        symbol = self._market(params).spec.symbol
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

    # ---- what the market reports

    def take_fill(self, order_id: int, execution: Execution, now_ms: int) -> None:
        """Books a fill, whole or partial, of one of our resting orders."""
        order = self.open[order_id]
        self._execute(order, execution, now_ms)
        self._position(now_ms)

    def take_expiry(self, order_id: int, now_ms: int) -> None:
        """Closes a resting order that self-trade prevention took out of the book."""
        order = self.open[order_id]
        self._close(order, "EXPIRED_IN_MATCH", now_ms)
        self._report(order, "TRADE_PREVENTION", now_ms)

    # ---- state

    def take_line(self) -> StateLine | None:
        """Takes all changes since the last call as one line of the state file; None for none."""
        line, self._line = self._line, StateLine()
        for asset in sorted(self._changed):
            line.balances[asset] = {a: list(self.accounts.balance_of(a, asset)) for a in (OWNER, OUTSIDE, FEES)}
        self._changed.clear()
        if not (line.orders or line.trades or line.balances):
            return None
        line.orders = list({id(o): o for o in line.orders}.values())
        line.next_order, line.executions = self.next_order, self.executions
        return line

    def whole_state(self) -> StateLine:
        """The desk's whole state as one line, with which a compacted state file begins."""
        orders = [*self.closed, *self.open.values()]
        balances = {
            asset: {a: list(self.accounts.balance_of(a, asset)) for a in (OWNER, OUTSIDE, FEES)}
            for asset in self.accounts.deposited
        }
        return StateLine(orders, self.trades, balances, self.accounts.deposited, self.next_order, self.executions)

    def apply_line(self, line: StateLine) -> None:
        """Restores the orders, trades and balances that one line of the state file holds."""
        for order in line.orders:
            self._forget(order.id)
            self._remember(order)
        self.trades.extend(line.trades)
        for asset, accounts in line.balances.items():
            for account, balance in accounts.items():
                self.accounts.balance_of(account, asset)[:] = balance
        self.accounts.deposited.update(line.deposited)
        self.next_order = max(self.next_order, line.next_order)
        self.executions = max(self.executions, line.executions)

    def deposit(self, asset: str, amount: int) -> None:
        """Gives the account the balance that it starts with; only once per asset."""
        if asset not in self.accounts.deposited:
            self.accounts.deposit(OWNER, asset, amount)
            self._changed.add(asset)
            self._line.deposited[asset] = amount

    def lose_orders(self, now_ms: int) -> None:
        """Expires all open orders without an event, as after a restart that forgot them."""
        for order in list(self.open.values()):
            self.markets[order.symbol].cancel(order.id, now_ms)
            order.expiry = "EXCHANGE_CANCELED"
            self._close(order, EXPIRED, now_ms)

    def restore(self, now_ms: int) -> None:
        """Puts the open orders back into the markets, in their old order of time."""
        for own in sorted(self.open.values(), key=lambda o: o.id):
            order = ExchangeOrder(own.id, OWNER, own.side, own.price, own.quantity - own.filled)
            if own.symbol in self.markets:
                self.markets[own.symbol].rest(order, now_ms)

    # ---- inside

    def _market(self, params: Params) -> VenueMarket:
        symbol = params.text("symbol")
        market = self.markets.get(symbol)
        if market is None or symbol in self.unknown:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    def _match(self, market: VenueMarket, own: OwnOrder, now_ms: int) -> Placed:
        self._remember(own)
        self._report(own, "NEW", now_ms)
        before = len(self.trades)
        order = ExchangeOrder(own.id, OWNER, own.side, own.price, own.quantity)
        status, executions = market.submit(order, own.type, own.time_in_force, now_ms)
        assert status != REJECTED, f"order {own.id}: refused by the book after its check"
        for execution in executions:
            self._execute(own, execution, now_ms)
        if status == EXPIRED:
            own.expiry = {"FOK": "UNFILLED_FOK_ORDER_EXPIRED", "IOC": "UNFILLED_IOC_QUANTITY_EXPIRED"}.get(
                own.time_in_force, "INSUFFICIENT_LIQUIDITY"
            )
            self._close(own, EXPIRED, now_ms)
            self._report(own, "EXPIRED", now_ms)
        self._position(now_ms)
        return Placed(own, self.trades[before:])

    def _execute(self, order: OwnOrder, execution: Execution, now_ms: int) -> None:
        spec = self.markets[order.symbol].spec
        amount = execution.price * execution.quantity // UNIT
        if not order.filled:
            self.on_first_fill(execution.maker, now_ms)
        order.filled += execution.quantity
        order.filled_quote += amount
        order.update_time = now_ms
        done = order.filled == order.quantity
        rate = self.maker_ppm if execution.maker else self.taker_ppm
        if order.side > 0:
            keep = 0 if done else order.price * (order.quantity - order.filled) // UNIT
            if order.type == "MARKET":
                keep = 0 if done else order.locked - amount
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
            now_ms, execution.maker,
        )  # fmt: skip
        self.trades.append(trade)
        if len(self.trades) > 2 * TRADES_KEPT:
            del self.trades[:TRADES_KEPT]
        self._line.trades.append(trade)
        if done:
            self._close(order, FILLED, now_ms)
        else:
            order.status = PARTIALLY_FILLED
            self._line.orders.append(order)
        self._report(order, "TRADE", now_ms, trade)

    def _close(self, order: OwnOrder, status: str, now_ms: int) -> None:
        """Puts an order into a final state; what it had locked is free again."""
        spec = self.markets[order.symbol].spec
        asset = spec.quote if order.side > 0 else spec.base
        if order.locked:
            self.accounts.unlock(OWNER, asset, order.locked)
            self._changed.add(asset)
        order.locked = 0
        order.status, order.update_time = status, now_ms
        self._remember(order)

    def _remember(self, order: OwnOrder) -> None:
        key = (order.symbol, order.client_id)
        self.orders[order.id] = order
        self.by_client[key] = order
        if order.status in OPEN:
            self.open[order.id] = order
            self.open_by_client[key] = order
        else:
            self.open.pop(order.id, None)
            if self.open_by_client.get(key) is order:
                del self.open_by_client[key]
            self.closed.append(order)
            while len(self.closed) > CLOSED_KEPT:
                self._forget(self.closed.popleft().id)
        self._line.orders.append(order)

    def _forget(self, order_id: int) -> None:
        order = self.orders.pop(order_id, None)
        if order is None:
            return
        key = (order.symbol, order.client_id)
        self.open.pop(order_id, None)
        for index in (self.open_by_client, self.by_client):
            if index.get(key) is order:
                del index[key]

    def _report(self, order: OwnOrder, what: str, now_ms: int, trade: OwnTrade | None = None, client_id: str = "") -> None:
        self.executions += 1
        self.events.append(execution_report(order, what, now_ms, self.executions, trade, client_id))

    def _position(self, now_ms: int) -> None:
        balances = {asset: self.accounts.balance_of(OWNER, asset) for asset in sorted(self._changed)}
        if balances:
            self.events.append(account_position(balances, now_ms))
