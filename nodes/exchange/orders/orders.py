"""What the local venue remembers of our orders: the records of its state file. Numbers are mantissas at 10^−8, times ms."""

import msgspec

from tickmesh.nodes.exchange.market.matching import EXPIRE_MAKER, NEW, PARTIALLY_FILLED
from tickmesh.nodes.exchange.orders.margin_records import MarginLine
from tickmesh.nodes.exchange.protocol import Level

PENDING_NEW = "PENDING_NEW"  # it waits for another order of its list
OPEN = (NEW, PARTIALLY_FILLED, PENDING_NEW)
STOPS = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")  # they wait for a price, then are as below
BOOK_TYPES = {"STOP_LOSS": "MARKET", "STOP_LOSS_LIMIT": "LIMIT", "TAKE_PROFIT": "MARKET", "TAKE_PROFIT_LIMIT": "LIMIT"}


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
    stop_price: int = 0
    trailing_delta: int = 0  # in basis points; 0: it does not trail
    trailing_time: int = 0  # since when it follows the price; 0: not yet
    extreme: int = 0  # the best price since then
    waits: bool = False  # it is not in the market yet: for a price, or for another order of its list
    working_time: int = 0  # since when it is in the market, where that was not at once
    rank: int = 0  # in the order of which the market got what rests in it
    iceberg: int = 0  # what of it is shown; 0: all
    prevention: str = EXPIRE_MAKER
    prevented: int = 0  # quantity that self-trade prevention took
    prevented_match: int = -1  # the last such match
    list_id: int = -1
    amended: int = 0  # how often

    @property
    def remaining(self) -> int:
        """The quantity that is left."""
        return self.quantity - self.filled - self.prevented

    @property
    def open(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in OPEN

    @property
    def book_type(self) -> str:
        """As what the market takes it: LIMIT, LIMIT_MAKER or MARKET."""
        return BOOK_TYPES.get(self.type, self.type)


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
    list_id: int = -1


class OwnPrevented(msgspec.Struct):
    """A match of our orders with one another that did not happen, and what each would have lost of its quantity."""

    symbol: str
    id: int
    taker_order: int
    maker_order: int
    mode: str
    price: int
    maker_quantity: int
    taker_quantity: int
    time: int


class OwnAmendment(msgspec.Struct):
    """One reduction of one of our orders that kept its place."""

    symbol: str
    order_id: int
    execution: int
    client_id_before: str
    client_id: str
    quantity_before: int
    quantity: int
    time: int


class OwnList(msgspec.Struct):
    """An order list of ours: OCO (two orders, of which one ends the other), or OTO (one, whose fill brings one or such two)."""

    id: int
    client_id: str
    symbol: str
    kind: str  # OCO or OTO
    orders: list[int]  # of an OTO, the working order first
    time: int
    done: bool = False  # its end has been reported

    @property
    def working(self) -> int:
        """The id of an OTO's working order; 0 for an OCO."""
        return self.orders[0] if self.kind == "OTO" else 0

    @property
    def pair(self) -> list[int]:
        """The ids of the orders of which one ends the other; empty where there are none."""
        rest = self.orders[1:] if self.kind == "OTO" else self.orders
        return rest if len(rest) == 2 else []


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
    prevented: list[OwnPrevented] = []
    amendments: list[OwnAmendment] = []
    lists: list[OwnList] = []


class Placed(msgspec.Struct):
    """The result of a request to place an order: the order, and the trades that it made at once."""

    order: OwnOrder
    trades: list[OwnTrade]
