"""The account at one venue of USD-M contracts: wallets, positions, margin, and orders that only reduce. As the local exchange
has it (nodes/exchange/orders/margin.py, reduce_only.py): cross margin, one position a contract. Amounts are mantissas at 10^−8.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import copy

from tickmesh.nodes.exchange.orders import margin
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder, MarginPosition
from tickmesh.nodes.exchange.orders.positions import apply_fill
from tickmesh.nodes.exchange.orders.reduce_only import beyond_position, check_reduce_only
from tickmesh.nodes.exchange.protocol import VenueError

LEVERAGE = "Exceeded the maximum allowable position at current leverage."
INSUFFICIENT = "Margin is insufficient."


class MarginAccount:
    """What is held of contracts, and what is open. `assets`: the asset of each contract; `mark_of`: its mark price.

    `wallets` None: no order is refused for want of margin; one that may only reduce still opens nothing."""

    def __init__(
        self, wallets: Mapping[str, int] | None, leverage: int, assets: Mapping[str, str], mark_of: Callable[[str], int]
    ):
        self._is_checked = wallets is not None
        self.wallets, self.positions = dict(wallets or {}), {symbol: MarginPosition() for symbol in assets}
        self.orders: dict[int, MarginOrder] = {}  # open ones, by number
        self._leverage, self._assets, self._mark_of = leverage, assets, mark_of

    def admit(self, order: MarginOrder, price: int) -> str:
        """Takes an order in, or gives why the venue refuses it. `price`: what it costs at most, of a market order too."""
        others = list(self._open(order.symbol))
        if order.reduce_only:
            try:
                check_reduce_only(order, self.positions[order.symbol].amount, others)
            except VenueError as error:
                return error.message
        elif self._is_checked and (reason := self._lacks_margin(order, price, others)):
            return reason
        self.orders[order.id] = order
        return ""

    def _lacks_margin(self, order: MarginOrder, price: int, others: list[MarginOrder]) -> str:
        symbol, mark, trial = order.symbol, self._mark_of(order.symbol), copy(order)
        trial.price = price
        after = margin.margin_use(self.positions[symbol], [*others, trial], mark, self._leverage)
        more = after.initial_margin - self._use(symbol).initial_margin
        if more <= 0:
            return ""
        worst = max(abs(after.notional + after.bid_notional), abs(after.notional - after.ask_notional))
        if worst > margin.notional_max(self._leverage):
            return LEVERAGE
        loss = margin.opening_loss(order.side, price, order.remaining, mark)
        return INSUFFICIENT if more + loss > self.available(self._assets[symbol]) else ""

    def available(self, asset: str) -> int:
        """What new positions and orders may take of an asset: wallet and open profit, less what is taken already."""
        uses = [self._use(symbol) for symbol, own in self._assets.items() if own == asset]
        return self.wallets.get(asset, 0) + sum(use.unrealised - use.initial_margin for use in uses)

    def _use(self, symbol: str) -> margin.MarginUse:
        return margin.margin_use(self.positions[symbol], self._open(symbol), self._mark_of(symbol), self._leverage)

    def _open(self, symbol: str) -> Iterable[MarginOrder]:
        return (order for order in self.orders.values() if order.symbol == symbol)

    def fill(self, order: int, price: int, quantity: int, fee: int) -> None:
        """Books a fill of an open order: its position, and what it realised less the fee."""
        own = self.orders[order]
        own.filled += quantity
        asset = self._assets[own.symbol]
        realised = apply_fill(self.positions[own.symbol], own.side, price, quantity, 0)
        self.wallets[asset] = self.wallets.get(asset, 0) + realised - fee

    def beyond(self, symbol: str) -> list[int]:
        """The open orders that only reduce and for which the position is too small now: the venue expires them."""
        return [one.id for one in beyond_position(self.positions[symbol].amount, list(self._open(symbol)))]
