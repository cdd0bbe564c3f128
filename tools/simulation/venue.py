"""The order side of the local exchange in simulated time: intents in, what became of the orders out. Spot, or USD-M."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from tickmesh.bus.schema import Action, OrderType, Status, TimeInForce
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.orders.margin_desk import MarginDesk
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder, MarginTrade
from tickmesh.nodes.exchange.orders.orders import OwnOrder, OwnTrade
from tickmesh.nodes.exchange.protocol import Params, VenueError, decimal_text

STATUSES = {
    "NEW": Status.New, "PARTIALLY_FILLED": Status.PartiallyFilled, "FILLED": Status.Filled, "CANCELED": Status.Canceled,
    "EXPIRED": Status.Expired, "EXPIRED_IN_MATCH": Status.Expired,
}  # fmt: skip


class OrderSeen(NamedTuple):
    """An order as the venue has it."""

    client_order_id: str
    order_id: int
    status: Status
    filled: int


class TradeSeen(NamedTuple):
    """An execution of an order of ours. All numbers are mantissas at 10^−8; the fee is in `fee_asset`."""

    client_order_id: str
    order_id: int
    trade_id: int
    side: int
    price: int
    quantity: int
    fee: int
    fee_asset: str
    maker: bool


class OrderDesk(Protocol):
    """What both desks of the local exchange do for an order, each in its own dialect."""

    def place(self, params: Mapping[str, object], now_ms: int) -> OwnOrder | MarginOrder:
        """Places an order. Raises VenueError; nothing has happened then."""

    def cancel(self, params: Mapping[str, object], now_ms: int) -> None:
        """Cancels an order. Raises VenueError when it is not open."""

    def take_trades(self) -> list[OwnTrade] | list[MarginTrade]:
        """The executions since the last call."""


class SpotDesk:
    """Orders at the exchange's spot venue."""

    def __init__(self, desk: Desk):
        self._desk = desk

    def place(self, params: Mapping[str, object], now_ms: int) -> OwnOrder:
        """Places an order. Raises VenueError; nothing has happened then."""
        placed = self._desk.place(Params(params), now_ms)
        assert placed is not None
        return placed.order

    def cancel(self, params: Mapping[str, object], now_ms: int) -> None:
        """Cancels an order. Raises VenueError when it is not open."""
        self._desk.cancel(Params(params), now_ms)

    def take_trades(self) -> list[OwnTrade]:
        """The executions since the last call."""
        taken = self._desk.trades[:]
        self._desk.trades.clear()
        return taken


class UsdmDesk:
    """Orders at the exchange's USD-M venue."""

    def __init__(self, desk: MarginDesk):
        self._desk = desk

    def place(self, params: Mapping[str, object], now_ms: int) -> MarginOrder:
        """Places an order; a post-only one is GTX there. Raises VenueError; nothing has happened then."""
        if params["type"] == "LIMIT_MAKER":
            params = {**params, "type": "LIMIT", "timeInForce": "GTX"}
        return self._desk.enter(self._desk.check(Params(params)), now_ms).order

    def cancel(self, params: Mapping[str, object], now_ms: int) -> None:
        """Cancels an order. Raises VenueError when it is not open."""
        self._desk.cancel(Params(params), now_ms)

    def take_trades(self) -> list[MarginTrade]:
        """The executions since the last call."""
        taken = self._desk.state.trades[:]
        self._desk.state.trades.clear()
        return taken


class SimulatedVenue:
    """One account at one market. Intents are carried out at the moment at which they are given to it."""

    def __init__(self, instrument: Instrument, market: VenueMarket, desk: OrderDesk):
        self.instrument = instrument
        self.market = market
        self._desk = desk
        self._open: dict[str, OwnOrder | MarginOrder] = {}  # by client order id
        self._seen: dict[str, tuple[str, int]] = {}  # of open ones: status and filled quantity as they were given last
        self._names: dict[int, str] = {}  # the venue's id → client order id

    def carry_out(self, intent: np.void, now_ms: int) -> VenueError | None:
        """Sends what an intent asks for to the market; gives the venue's refusal, if it refused."""
        try:
            if intent["action"] == Action.CANCEL:
                target = intent["target_id"].decode()
                self._desk.cancel({"symbol": self.instrument.symbol, "origClientOrderId": target}, now_ms)
                return None
            assert intent["action"] == Action.NEW, "one strategy alone nets with nobody, so nothing is amended"
            order = self._desk.place(order_params(intent, self.instrument.symbol), now_ms)
        except VenueError as error:
            return error
        self._open[order.client_id] = order
        self._names[order.id] = order.client_id
        return None

    def news(self) -> tuple[list[OrderSeen], list[TradeSeen]]:
        """Orders that have changed, and executions, since the last call."""
        return list(self._changed()) if self._open else [], self._trades() if self._names else []

    def _changed(self) -> Iterator[OrderSeen]:
        for name, order in list(self._open.items()):
            now = order.status, order.filled
            if self._seen.get(name) != now:
                self._seen[name] = now
                status = STATUSES[order.status]
                if status not in (Status.New, Status.PartiallyFilled):
                    del self._open[name], self._seen[name]
                yield OrderSeen(name, order.id, status, order.filled)

    def _trades(self) -> list[TradeSeen]:
        return [
            TradeSeen(
                self._names[one.order_id], one.order_id, one.trade_id, one.side, one.price, one.quantity, one.fee,
                one.fee_asset, one.maker,
            )
            for one in self._desk.take_trades()
        ]  # fmt: skip


def order_params(intent: np.void, symbol: str) -> dict[str, object]:
    """A new order as the exchange's desks read it. Prices and quantities of the intent are at 10^−8, as the exchange's own."""
    kind = OrderType(intent["order_type"])
    params: dict[str, object] = {
        "symbol": symbol, "side": "BUY" if intent["side"] > 0 else "SELL", "type": kind.name,
        "quantity": decimal_text(int(intent["quantity_lots"])), "newClientOrderId": intent["client_order_id"].decode(),
    }  # fmt: skip
    if kind != OrderType.MARKET:
        params["price"] = decimal_text(int(intent["price_ticks"]))
    if kind == OrderType.LIMIT:
        params["timeInForce"] = TimeInForce(intent["time_in_force"]).name
    return params


def lost(error: VenueError) -> bool:
    """Whether a refusal leaves open what became of the order: it is asked for then."""
    return error.status >= 500
