"""What the local venue remembers of the account: orders, trades, balances, and the lines of the state file that hold them.

Pure: whoever does the I/O writes `take_line` before anything is sent, and gives the lines back to `apply_line` at a start.
"""

from collections import deque

from tickmesh.nodes.exchange.orders.accounts import FEES, OUTSIDE, Accounts
from tickmesh.nodes.exchange.orders.orders import OwnAmendment, OwnList, OwnOrder, OwnPrevented, OwnTrade, StateLine

OWNER = 1  # the one account of the local venue
CLOSED_KEPT = 20_000  # closed orders that can still be queried
TRADES_KEPT = 50_000  # also of prevented matches and amendments


class OrderRecords:
    """All orders and trades of the one account, by their ids, with what has changed since the last line."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.orders: dict[int, OwnOrder] = {}  # by id, closed ones too
        self.open: dict[int, OwnOrder] = {}  # by id
        self.open_by_client: dict[tuple[str, str], OwnOrder] = {}  # (symbol, client id) → open order
        self.by_client: dict[tuple[str, str], OwnOrder] = {}  # (symbol, client id) → newest order, open or closed
        self.closed: deque[OwnOrder] = deque()
        self.trades: list[OwnTrade] = []
        self.prevented: list[OwnPrevented] = []
        self.amendments: list[OwnAmendment] = []
        self.lists: dict[int, OwnList] = {}  # by id
        self.events: list[str] = []  # user events that are not sent yet
        self.next_order = 1
        self.executions = 0  # execution reports so far
        self.next_prevented = 0
        self.next_list = 0
        self._line = StateLine()
        self._changed: set[str] = set()

    def take_line(self) -> StateLine | None:
        """Takes all changes since the last call as one line of the state file; None for none."""
        line, self._line = self._line, StateLine()
        for asset in sorted(self._changed):
            line.balances[asset] = {a: list(self.accounts.balance_of(a, asset)) for a in (OWNER, OUTSIDE, FEES)}
        self._changed.clear()
        if not (line.orders or line.trades or line.balances or line.lists):
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
        return StateLine(
            orders, self.trades, balances, self.accounts.deposited, self.next_order, self.executions,
            prevented=self.prevented, amendments=self.amendments, lists=list(self.lists.values()),
        )  # fmt: skip

    def apply_line(self, line: StateLine) -> None:
        """Restores the orders, trades and balances that one line of the state file holds."""
        for order in line.orders:
            self._forget(order.id)
            self.remember(order)
        self.trades.extend(line.trades)
        self.prevented.extend(line.prevented)
        self.amendments.extend(line.amendments)
        for known in line.lists:
            self.write_list(known)
        for asset, accounts in line.balances.items():
            for account, balance in accounts.items():
                self.accounts.balance_of(account, asset)[:] = balance
        self.accounts.deposited.update(line.deposited)
        self.next_order = max(self.next_order, line.next_order)
        self.executions = max(self.executions, line.executions)
        self.next_prevented = max((p.id + 1 for p in line.prevented), default=self.next_prevented)

    def deposit(self, asset: str, amount: int) -> None:
        """Gives the account the balance that it starts with; only once per asset."""
        if asset not in self.accounts.deposited:
            self.accounts.deposit(OWNER, asset, amount)
            self._changed.add(asset)
            self._line.deposited[asset] = amount

    def remember(self, order: OwnOrder) -> None:
        """Files an order under its ids, open or closed, and has it written."""
        key = (order.symbol, order.client_id)
        self.orders[order.id] = order
        self.by_client[key] = order
        if order.open:
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

    def rename(self, order: OwnOrder, client_id: str) -> None:
        """Gives an order another client id, under which alone it is found from now on."""
        self._forget(order.id)
        order.client_id = client_id
        self.remember(order)

    def write(self, *orders: OwnOrder) -> None:
        """Has orders written that have changed."""
        self._line.orders.extend(orders)

    def add_trade(self, trade: OwnTrade) -> None:
        """Adds a trade, and has it written."""
        self.trades.append(trade)
        self._line.trades.append(trade)
        _bound(self.trades)

    def add_prevented(self, prevented: OwnPrevented) -> None:
        """Adds a prevented match, and has it written."""
        self.prevented.append(prevented)
        self._line.prevented.append(prevented)
        self.next_prevented = prevented.id + 1
        _bound(self.prevented)

    def add_amendment(self, amendment: OwnAmendment) -> None:
        """Adds an amendment of an order, and has it written."""
        self.amendments.append(amendment)
        self._line.amendments.append(amendment)
        _bound(self.amendments)

    def write_list(self, made: OwnList) -> None:
        """Files an order list, and has it written."""
        self.lists[made.id] = made
        self._line.lists.append(made)
        self.next_list = max(self.next_list, made.id + 1)
        if len(self.lists) > CLOSED_KEPT:
            self.lists.pop(next((ident for ident, known in self.lists.items() if known.done), made.id))

    def lock(self, asset: str, amount: int) -> None:
        """Moves so much of the account's balance from free to locked, a negative amount back."""
        if amount > 0:
            self.accounts.lock(OWNER, asset, amount)
        elif amount < 0:
            self.accounts.unlock(OWNER, asset, -amount)
        if amount:
            self._changed.add(asset)

    def _forget(self, order_id: int) -> None:
        order = self.orders.pop(order_id, None)
        if order is None:
            return
        key = (order.symbol, order.client_id)
        self.open.pop(order_id, None)
        for index in (self.open_by_client, self.by_client):
            if index.get(key) is order:
                del index[key]


def _bound(rows: list[OwnTrade] | list[OwnPrevented] | list[OwnAmendment]) -> None:
    if len(rows) > 2 * TRADES_KEPT:
        del rows[:TRADES_KEPT]
