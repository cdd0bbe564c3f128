"""What is remembered of a futures account, and what of it changed since it was last written. Pure."""

from typing import TypeVar

from tickmesh.nodes.exchange.market.mark_price import MarkState
from tickmesh.nodes.exchange.orders.accounts import FEES, OUTSIDE
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.orders.listen_key import ListenKey
from tickmesh.nodes.exchange.orders.margin_index import MarginOrders
from tickmesh.nodes.exchange.orders.margin_records import (
    FundingPoint,
    Income,
    MarginLine,
    MarginOrder,
    MarginTrade,
)
from tickmesh.nodes.exchange.orders.positions import MarginAccounts

TRADES_KEPT = 50_000
INCOMES_KEPT = 100_000
FUNDINGS_KEPT = 10_000  # of all contracts
_Row = TypeVar("_Row")


class MarginState:
    """Orders, trades, positions, wallets, incomes and fundings of the account; every change is told to it to be written."""

    def __init__(self, listen_key: ListenKey) -> None:
        self.listen_key = listen_key
        self.accounts = MarginAccounts()
        self.orders = MarginOrders()
        self.trades: list[MarginTrade] = []
        self.incomes: list[Income] = []
        self.fundings: list[FundingPoint] = []
        self.leverages: dict[str, int] = {}  # by symbol, where it was changed
        self.marks: dict[str, MarkState] = {}  # by symbol
        self.next_order = 1
        self.next_income = 1
        self.queued = 0  # places in queues that were given so far
        self._line = MarginLine()
        self._wallets: set[str] = set()
        self._positions: set[str] = set()

    # ---- what happened

    def file(self, order: MarginOrder) -> None:
        """Files an order under its present status."""
        self.orders.remember(order)
        self._line.orders.append(order)

    def note_trade(self, trade: MarginTrade) -> None:
        """Remembers a trade, and what it changed: the position, the wallet, the incomes."""
        _keep(self.trades, trade, TRADES_KEPT)
        self._line.trades.append(trade)
        self._positions.add(trade.symbol)
        self.note_wallet(trade.fee_asset)
        if trade.realised:
            self.note_income(trade.symbol, "REALIZED_PNL", trade.realised, trade.fee_asset, trade.time, trade.trade_id)
        if trade.fee:
            self.note_income(trade.symbol, "COMMISSION", -trade.fee, trade.fee_asset, trade.time, trade.trade_id)

    def note_wallet(self, asset: str) -> None:
        """Marks a wallet as changed."""
        self._wallets.add(asset)

    def note_income(self, symbol: str, kind: str, amount: int, asset: str, now_ms: int, trade_id: int = 0) -> None:
        """Remembers a change of the owner's wallet."""
        income = Income(self.next_income, symbol, kind, amount, asset, now_ms, trade_id)
        self.next_income += 1
        _keep(self.incomes, income, INCOMES_KEPT)
        self._line.incomes.append(income)

    def note_funding(self, point: FundingPoint) -> None:
        """Remembers a funding of a contract."""
        _keep(self.fundings, point, FUNDINGS_KEPT)
        self._line.fundings.append(point)

    def note_leverage(self, symbol: str) -> None:
        """Marks a leverage as changed."""
        self._line.leverages[symbol] = self.leverages[symbol]

    def note_mark(self, symbol: str, mark: MarkState) -> None:
        """Remembers where a mark price stands."""
        self.marks[symbol] = self._line.marks[symbol] = mark

    def deposit(self, asset: str, amount: int) -> None:
        """Gives the owner the wallet that it starts with; only once per asset."""
        if asset not in self.accounts.deposited:
            self.accounts.deposit(OWNER, asset, amount)
            self._line.deposited[asset] = amount
            self.note_wallet(asset)

    # ---- what is written

    def take_line(self) -> MarginLine | None:
        """Takes all changes since the last call as one line of the state file; None for none."""
        line, self._line = self._line, MarginLine()
        line.wallets = {asset: dict(self.accounts.wallets[asset]) for asset in sorted(self._wallets)}
        line.positions = {symbol: dict(self.accounts.positions[symbol]) for symbol in sorted(self._positions)}
        self._wallets.clear()
        self._positions.clear()
        changed, self.listen_key.changed = self.listen_key.changed, False
        if not (changed or line.orders or line.trades or line.wallets or line.fundings or line.leverages or line.marks):
            return None
        line.orders = list({order.id: order for order in line.orders}.values())
        return self._counted(line)

    def whole(self) -> MarginLine:
        """All of it as one line, with which a compacted state file begins."""
        positions = {
            symbol: held for symbol, held in self.accounts.positions.items() if any(one.update_time for one in held.values())
        }
        return self._counted(
            MarginLine(
                self.orders.all, self.trades, self.incomes, self.fundings, positions, self.accounts.wallets,
                self.accounts.deposited, self.leverages, self.marks,
            )
        )  # fmt: skip

    def apply_line(self, line: MarginLine) -> None:
        """Restores what one line of the state file holds."""
        for order in line.orders:
            self.orders.forget(order.id)
            self.orders.remember(order)
        self.trades.extend(line.trades)
        self.incomes.extend(line.incomes)
        self.fundings.extend(line.fundings)
        for symbol, positions in line.positions.items():
            self.accounts.positions[symbol] = dict(positions)
        for asset, wallets in line.wallets.items():
            self.accounts.wallets[asset] = {account: wallets.get(account, 0) for account in (OWNER, OUTSIDE, FEES)}
        self.accounts.deposited.update(line.deposited)
        self.leverages.update(line.leverages)
        self.marks.update(line.marks)
        self.next_order = max(self.next_order, line.next_order)
        self.next_income = max(self.next_income, line.next_income)
        self.queued = max(self.queued, line.queued)
        if line.listen_keys:
            key = self.listen_key
            key.key, key.ends_ms, key.made = line.listen_key, line.listen_key_ends, line.listen_keys

    def _counted(self, line: MarginLine) -> MarginLine:
        line.next_order, line.next_income, line.queued = self.next_order, self.next_income, self.queued
        key = self.listen_key
        line.listen_key, line.listen_key_ends, line.listen_keys = key.key, key.ends_ms, key.made
        return line


def _keep(rows: list[_Row], row: _Row, count: int) -> None:
    """Adds a row, and drops the oldest ones when there are twice as many as are kept."""
    rows.append(row)
    if len(rows) > 2 * count:
        del rows[:count]
