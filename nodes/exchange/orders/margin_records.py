"""Orders, trades, positions, incomes and funding of a futures account: the records of its part of the state file.

Numbers are mantissas at 10^−8, times ms."""

import msgspec

from tickmesh.nodes.exchange.market.mark_price import MarkState
from tickmesh.nodes.exchange.market.matching import NEW

NOT_EXPIRED = 0
EXPIRED_SELF_TRADE = 1  # it gave way to an order of the same account
EXPIRED_IOC = 2
EXPIRED_REDUCE_ONLY = 4  # what was left of it would have opened a position
EXPIRED_MARKET = 9  # the book had no more


class MarginOrder(msgspec.Struct, omit_defaults=True):
    """One order of the futures account. `queued` orders the account's orders of one price: an amended one goes to the end.

    `expiry` is the venue's number for why it expired."""

    id: int
    client_id: str
    symbol: str
    side: int
    type: str
    time_in_force: str
    price: int
    quantity: int
    time: int
    queued: int
    reduce_only: bool = False
    status: str = NEW
    filled: int = 0
    filled_quote: int = 0
    update_time: int = 0
    expiry: int = NOT_EXPIRED
    amended: int = 0  # how often

    @property
    def remaining(self) -> int:
        """The quantity that is not filled."""
        return self.quantity - self.filled


class MarginTrade(msgspec.Struct):
    """One execution of one of the orders. `realised` is the profit of what it closed, before the fee."""

    symbol: str
    trade_id: int
    order_id: int
    side: int
    price: int
    quantity: int
    fee: int
    fee_asset: str
    realised: int
    time: int
    maker: bool


class MarginPosition(msgspec.Struct):
    """A position in one contract: `amount` is below zero when it is short, `cost` is what it was entered for, of the same sign.

    `realised` is all profit so far, before fees and funding."""

    amount: int = 0
    cost: int = 0
    realised: int = 0
    update_time: int = 0

    @property
    def entry_price(self) -> int:
        """The average price at which it was entered, rounded towards zero; 0 without a position."""
        return self.cost * 10**8 // self.amount if self.amount else 0


class Income(msgspec.Struct):
    """One change of a wallet. `kind`: COMMISSION, REALIZED_PNL or FUNDING_FEE; `id` rises by one."""

    id: int
    symbol: str
    kind: str
    amount: int
    asset: str
    time: int
    trade_id: int = 0  # 0: of no trade


class FundingPoint(msgspec.Struct):
    """One funding of a contract: the rate at 10^−8, and the mark price that it was taken at."""

    symbol: str
    rate: int
    mark: int
    time: int


class MarginLine(msgspec.Struct, omit_defaults=True):
    """What changed of a futures account in one commit. Later lines override earlier ones."""

    orders: list[MarginOrder] = []
    trades: list[MarginTrade] = []
    incomes: list[Income] = []
    fundings: list[FundingPoint] = []
    positions: dict[str, dict[int, MarginPosition]] = {}  # symbol → account → its position
    wallets: dict[str, dict[int, int]] = {}  # asset → account → its wallet
    deposited: dict[str, int] = {}
    leverages: dict[str, int] = {}
    marks: dict[str, MarkState] = {}
    next_order: int = 0
    next_income: int = 0
    queued: int = 0
    listen_key: str = ""
    listen_key_ends: int = 0
    listen_keys: int = 0  # made so far


class MarginPlaced(msgspec.Struct):
    """The result of a request to place an order: the order as it was accepted, and as it is now."""

    accepted: MarginOrder
    order: MarginOrder
