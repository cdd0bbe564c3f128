"""What a client may ask of the venue, and how often (venues.md §2.1): request weight, raw requests, new orders and
connection attempts, in fixed windows aligned to the clock. Pure; `now_ms` is given.

Over a limit: 429 until the window ends. Who goes on regardless is banned: 418, for `ban_s`, twice as long every time.
Bounded: so many addresses are known at once, the longest unseen ones are forgotten.
"""

from tickmesh.bus.settings import ExchangeLimits
from tickmesh.nodes.exchange.protocol import JsonObject, VenueError

ADDRESSES_MAX = 10_000
BAN_S_MAX = 3 * 86400.0
MAKER_FILL_RETURNS = 5  # orders given back by an order's first fill as maker; one as taker (the venue's FAQ)
MINUTE, FIVE_MINUTES, TEN_SECONDS, DAY = 60, 300, 10, 86400
ORDER_WINDOWS = {  # seconds of a window of new orders: the venue's words for it, interval and intervalNum, and its header's end
    TEN_SECONDS: ("10 SECOND", "SECOND", 10, "10S"),
    MINUTE: ("1 MINUTE", "MINUTE", 1, "1M"),
    DAY: ("1 DAY", "DAY", 1, "1D"),
}


class RateWindow:
    """Counts by address or account in fixed windows of `seconds`, beside the limit of such a window."""

    def __init__(self, seconds: int, limit: int):
        self.seconds = seconds
        self.limit = limit
        self.counts: dict[object, tuple[int, int]] = {}

    def used(self, key: object, now_ms: int) -> int:
        """The count of an address or account in the window of `now_ms`."""
        window, count = self.counts.get(key, (0, 0))
        return count if window == now_ms // (self.seconds * 1000) else 0

    def add(self, key: object, amount: int, now_ms: int) -> int:
        """Adds to the count of an address or account, never below zero; gives its new count in the window of `now_ms`."""
        count = max(self.used(key, now_ms) + amount, 0)
        self.counts[key] = (now_ms // (self.seconds * 1000), count)
        if len(self.counts) > ADDRESSES_MAX:
            del self.counts[next(iter(self.counts))]
        return count

    def ends_ms(self, now_ms: int) -> int:
        """When the window of `now_ms` ends."""
        return (now_ms // (self.seconds * 1000) + 1) * self.seconds * 1000


class VenueLimits:
    """All limits of the venue, and the addresses that are banned because they ignored them."""

    def __init__(self, settings: ExchangeLimits):
        self.settings = settings
        self.weight = RateWindow(MINUTE, settings.weight_per_minute)
        self.raw_requests = RateWindow(FIVE_MINUTES, settings.raw_per_5_minutes)
        self.connections = RateWindow(FIVE_MINUTES, settings.connections_per_5_minutes)
        orders = ((TEN_SECONDS, settings.orders_per_10_s), (MINUTE, settings.orders_per_minute), (DAY, settings.orders_per_day))
        self.orders = [RateWindow(seconds, limit) for seconds, limit in orders if limit]
        self.ignored = RateWindow(MINUTE, settings.ban_after)  # requests in spite of a 429
        self.banned: dict[object, int] = {}  # address → until, ms
        self.bans: dict[object, int] = {}  # address → how often it was banned
        self.refused = 0  # requests, orders and handshakes that were one too many

    def admit(self, address: str, weight: int, now_ms: int) -> None:
        """Counts one request and its weight. Raises VenueError 429 over a limit, 418 while its address is banned."""
        self.refuse_banned(address, now_ms)
        if self.raw_requests.add(address, 1, now_ms) > self.raw_requests.limit:
            self._ignored(address, now_ms)
            raise VenueError(
                -1003, f"Too many requests; current limit is {self.raw_requests.limit} requests per 5 MINUTE.", 429,
                self.raw_requests.ends_ms(now_ms),
            )  # fmt: skip
        if self.weight.add(address, weight, now_ms) > self.weight.limit:
            self._ignored(address, now_ms)
            raise VenueError(
                -1003,
                f"Too much request weight used; current limit is {self.weight.limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
                429, self.weight.ends_ms(now_ms),
            )  # fmt: skip

    def refuse_banned(self, address: str, now_ms: int) -> None:
        """Raises VenueError 418 while an address is banned."""
        until_ms = self.banned.get(address, 0)
        if now_ms < until_ms:
            self.refused += 1
            raise VenueError(
                -1003,
                f"Way too much request weight used; IP banned until {until_ms}. "
                "Please use WebSocket Streams for live updates to avoid bans.",
                418, until_ms,
            )  # fmt: skip

    def admit_connection(self, address: str, now_ms: int) -> None:
        """Counts one websocket handshake. Raises VenueError 429 over the limit, 418 while its address is banned."""
        self.refuse_banned(address, now_ms)
        if self.connections.add(address, 1, now_ms) > self.connections.limit:
            self._ignored(address, now_ms)
            raise VenueError(
                -1034, f"Too many connection attempts; current limit is {self.connections.limit} per 5 MINUTE.", 429,
                self.connections.ends_ms(now_ms),
            )  # fmt: skip

    def admit_order(self, account: int, now_ms: int, orders: int = 1) -> None:
        """Counts new orders, one or those of a list. Raises VenueError −1015 over a limit; none is counted then."""
        for window in self.orders:
            if window.used(account, now_ms) + orders > window.limit:
                self.refused += 1
                interval = ORDER_WINDOWS[window.seconds][0]
                raise VenueError(
                    -1015, f"Too many new orders; current limit is {window.limit} orders per {interval}.", 429,
                    window.ends_ms(now_ms),
                )  # fmt: skip
        for window in self.orders:
            window.add(account, orders, now_ms)

    def give_back_orders(self, account: int, maker: bool, now_ms: int) -> None:
        """Lowers the count of new orders at an order's first fill: by 5 for a maker, 1 for a taker, as the venue does."""
        for window in self.orders:
            window.add(account, -(MAKER_FILL_RETURNS if maker else 1), now_ms)

    def weight_headers(self, address: str, now_ms: int) -> dict[str, str]:
        """The headers with the request weight that an address has used."""
        used = str(self.weight.used(address, now_ms))
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    def order_headers(self, account: int, now_ms: int) -> dict[str, str]:
        """The headers with the number of new orders of an account."""
        return {
            f"X-MBX-ORDER-COUNT-{ORDER_WINDOWS[window.seconds][3]}": str(window.used(account, now_ms)) for window in self.orders
        }

    def exchange_info_rows(self) -> list[JsonObject]:
        """The `rateLimits` of exchangeInfo."""
        return [_row("REQUEST_WEIGHT", "MINUTE", 1, self.weight.limit), *self._order_rows(), self._raw_row()]

    def weight_row(self, address: str, now_ms: int) -> JsonObject:
        """The limit on request weight with the count of an address, for the replies of the WS-API."""
        row = _row("REQUEST_WEIGHT", "MINUTE", 1, self.weight.limit)
        return {**row, "count": self.weight.used(address, now_ms)}

    def order_rows(self, account: int, now_ms: int) -> list[JsonObject]:
        """The limits on new orders, each with the count of an account."""
        return [{**row, "count": w.used(account, now_ms)} for row, w in zip(self._order_rows(), self.orders)]

    def _order_rows(self) -> list[JsonObject]:
        return [_row("ORDERS", *ORDER_WINDOWS[window.seconds][1:3], window.limit) for window in self.orders]

    def _raw_row(self) -> JsonObject:
        return _row("RAW_REQUESTS", "MINUTE", 5, self.raw_requests.limit)

    def _ignored(self, address: str, now_ms: int) -> None:
        self.refused += 1
        if self.ignored.add(address, 1, now_ms) <= self.ignored.limit:
            return
        bans = self.bans[address] = self.bans.get(address, 0) + 1
        until_ms = now_ms + int(min(self.settings.ban_s * 2 ** min(bans - 1, 20), BAN_S_MAX) * 1000)
        self.banned[address] = until_ms
        for known in (self.banned, self.bans):
            if len(known) > ADDRESSES_MAX:
                del known[next(iter(known))]
        self.refuse_banned(address, now_ms)


def _row(kind: str, interval: str, number: int, limit: int) -> JsonObject:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
