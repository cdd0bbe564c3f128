"""The state behind all answers of the local venue, and who may ask. Pure."""

from collections.abc import Mapping

from tickmesh.bus.settings import ExchangeLimits
from tickmesh.nodes.exchange.api.limits import VenueLimits
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.protocol import Params, VenueError, check_signed


class Venue:
    """One account, one key."""

    def __init__(
        self,
        markets: Mapping[str, VenueMarket],
        desk: Desk,
        api_key: str,
        api_secret: str,
        limits: ExchangeLimits | None = None,
    ):
        self._markets = markets
        self.desk = desk
        self.api_key = api_key
        self.api_secret = api_secret
        self.limits = VenueLimits(limits or ExchangeLimits())
        desk.on_first_fill = lambda maker, now_ms: self.limits.first_fill(OWNER, maker, now_ms)

    @property
    def markets(self) -> Mapping[str, VenueMarket]:
        """Those that the venue admits to have."""
        unknown = self.desk.unknown
        return {symbol: m for symbol, m in self._markets.items() if symbol not in unknown} if unknown else self._markets

    def market(self, params: Params) -> VenueMarket:
        market = self.markets.get(params.text("symbol"))
        if market is None:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    def check_key(self, key: str) -> None:
        if not key:
            raise VenueError(-2014, "API-key format invalid.", 401)
        if key != self.api_key:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def check_signed(self, params: Params, key: str, payload: str, now_ms: int) -> None:
        self.check_key(key)
        check_signed(params, payload, self.api_secret, now_ms)
