"""What the local venue remembers of our orders: the records of its state file. Numbers are mantissas at 10^−8, times ms."""

import msgspec

from tickmesh.nodes.exchange.market.matching import NEW
from tickmesh.nodes.exchange.orders.margin_records import MarginLine
from tickmesh.nodes.exchange.protocol import Level


class OwnOrder(msgspec.Struct, omit_defaults=True):
    """One of our orders. `locked` is the amount that it still holds of its asset."""

    id: int
    client_id: str
    symbol: str
    side: int
    type: str
    time_in_force: str
    price: int
    quantity: int
    time: int
    quote_quantity: int = 0  # what a MARKET order by quote quantity asked to spend
    status: str = NEW
    filled: int = 0
    filled_quote: int = 0
    locked: int = 0
    update_time: int = 0
    expiry: str = "NONE"
    strategy_id: int = 0
    strategy_type: int = 0


class OwnTrade(msgspec.Struct):
    """One execution of one of our orders."""

    symbol: str
    trade_id: int
    order_id: int
    side: int
    price: int
    quantity: int
    fee: int
    fee_asset: str
    time: int
    maker: bool


class StateLine(msgspec.Struct, omit_defaults=True):
    """One line of the state file, applied whole or not at all. Later lines override earlier ones."""

    orders: list[OwnOrder] = []
    trades: list[OwnTrade] = []
    balances: dict[str, dict[int, list[int]]] = {}
    deposited: dict[str, int] = {}
    next_order: int = 0
    executions: int = 0
    taken: dict[str, list[Level]] = {}  # what our orders have taken of a recorded book, by symbol
    reserved: dict[str, int] = {}  # update ids up to here may have been sent, by symbol
    era: int = 0  # how often all ids have begun anew
    started: int = 0  # starts of this exchange so far
    margin: MarginLine | None = None  # of the futures account


class Placed(msgspec.Struct):
    """The result of a request to place an order: the order, and the trades that it made at once."""

    order: OwnOrder
    trades: list[OwnTrade]
