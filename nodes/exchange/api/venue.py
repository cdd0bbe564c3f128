"""The state behind all answers of the local venues, and who may ask. Pure."""

from collections.abc import Mapping
from typing import Protocol

from tickmesh.bus.settings import ExchangeLimits
from tickmesh.nodes.exchange.api.keys import ApiKey, HmacKey
from tickmesh.nodes.exchange.api.limits import VenueLimits
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM
from tickmesh.nodes.exchange.market.mark_price import MarkPrice
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.orders.lists import OrderLists
from tickmesh.nodes.exchange.orders.margin_desk import MarginDesk
from tickmesh.nodes.exchange.protocol import Params, VenueError, check_receive_window


class VenueFaults(Protocol):
    """What faults, and a market that is not known, do to the symbols of a venue and to its orders: a desk has it."""

    halted: set[str]
    unknown: set[str]
    without_book: set[str]
    overloaded: bool


class VenueDoor:
    """What every venue has for its answers: the markets, the account's key, and the limits. `desk`: takes its orders."""

    name = ""
    desk: VenueFaults

    def __init__(self, markets: Mapping[str, VenueMarket], api_key: str, api_secret: str, limits: ExchangeLimits | None = None):
        self._markets = markets
        self.keys: dict[str, ApiKey] = {api_key: HmacKey(api_secret)}
        self.limits = VenueLimits(limits or ExchangeLimits())
        self.key_withdraws = False  # what it says of the key

    @property
    def markets(self) -> Mapping[str, VenueMarket]:
        """The markets by symbol, without those that a fault makes unknown."""
        unknown = self.desk.unknown
        return {symbol: m for symbol, m in self._markets.items() if symbol not in unknown} if unknown else self._markets

    def market(self, params: Params) -> VenueMarket:
        """The market of a request's `symbol`. VenueError −1121 for an unknown one."""
        market = self.markets.get(params.text("symbol"))
        if market is None:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    def check_key(self, name: str) -> ApiKey:
        """The API key of this name. VenueError −2014 when there is none, −2015 for an unknown one."""
        if not name:
            raise VenueError(-2014, "API-key format invalid.", 401)
        key = self.keys.get(name)
        if key is None:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return key

    def check_signed(self, params: Params, name: str, payload: str, now_ms: int) -> None:
        """Checks a request's key, its time, then its signature over `payload`. Raises VenueError."""
        key = self.check_key(name)
        stamp, given = params.integer("timestamp"), params.text("signature")
        check_receive_window(params, stamp, now_ms)
        if not key.verifies(payload, given):
            raise VenueError(-1022, "Signature for this request is not valid.")


class Venue(VenueDoor):
    """Spot: its markets and our orders there."""

    name = SPOT

    def __init__(
        self,
        markets: Mapping[str, VenueMarket],
        desk: Desk,
        api_key: str,
        api_secret: str,
        limits: ExchangeLimits | None = None,
    ):
        super().__init__(markets, api_key, api_secret, limits)
        self.desk: Desk = desk
        self.lists = OrderLists(desk)
        desk.on_first_fill = lambda maker, now_ms: self.limits.give_back_orders(OWNER, maker, now_ms)


class UsdmVenue(VenueDoor):
    """USD-M futures: contracts, our positions in them, and their mark prices by symbol."""

    name = USDM

    def __init__(
        self,
        markets: Mapping[str, VenueMarket],
        desk: MarginDesk,
        marks: Mapping[str, MarkPrice],
        api_key: str,
        api_secret: str,
        limits: ExchangeLimits | None = None,
    ):
        super().__init__(markets, api_key, api_secret, limits)
        self.desk: MarginDesk = desk
        self.marks = marks
