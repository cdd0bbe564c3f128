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


class RateWindow:
    """Counts by address or account, in windows of so many seconds."""

    def __init__(self, seconds: int, limit: int):
        self.seconds = seconds
        self.limit = limit
        self.counts: dict[object, tuple[int, int]] = {}

    def used(self, who: object, now_ms: int) -> int:
        window, count = self.counts.get(who, (0, 0))
        return count if window == now_ms // (self.seconds * 1000) else 0

    def add(self, who: object, amount: int, now_ms: int) -> int:
        """The count with this one; never below zero."""
        count = max(self.used(who, now_ms) + amount, 0)
        self.counts[who] = (now_ms // (self.seconds * 1000), count)
        if len(self.counts) > ADDRESSES_MAX:
            del self.counts[next(iter(self.counts))]
        return count

    def ends_ms(self, now_ms: int) -> int:
        return (now_ms // (self.seconds * 1000) + 1) * self.seconds * 1000


class VenueLimits:
    def __init__(self, settings: ExchangeLimits):
        self.settings = settings
        self.weight = RateWindow(MINUTE, settings.weight_per_minute)
        self.raw = RateWindow(FIVE_MINUTES, settings.raw_per_5_minutes)
        self.connections = RateWindow(FIVE_MINUTES, settings.connections_per_5_minutes)
        self.orders = (RateWindow(TEN_SECONDS, settings.orders_per_10_s), RateWindow(DAY, settings.orders_per_day))
        self.ignored = RateWindow(MINUTE, settings.ban_after)  # requests in spite of a 429
        self.banned: dict[object, int] = {}  # address → until, ms
        self.bans: dict[object, int] = {}
        self.refused = 0  # requests, orders and handshakes that were one too many

    def admit(self, address: str, weight: int, now_ms: int) -> None:
        """Counts one request. Raises VenueError 429 or 418."""
        self.refuse_banned(address, now_ms)
        if self.raw.add(address, 1, now_ms) > self.raw.limit:
            self._ignored(address, now_ms)
            raise VenueError(
                -1003, f"Too many requests; current limit is {self.raw.limit} requests per 5 MINUTE.", 429,
                self.raw.ends_ms(now_ms),
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
        until_ms = self.banned.get(address, 0)
        if now_ms < until_ms:
            self.refused += 1
            raise VenueError(
                -1003,
                f"Way too much request weight used; IP banned until {until_ms}. "
                "Please use WebSocket Streams for live updates to avoid bans.",
                418, until_ms,
            )  # fmt: skip

    def connect(self, address: str, now_ms: int) -> None:
        """Counts one websocket handshake."""
        self.refuse_banned(address, now_ms)
        if self.connections.add(address, 1, now_ms) > self.connections.limit:
            self._ignored(address, now_ms)
            raise VenueError(
                -1034, f"Too many connection attempts; current limit is {self.connections.limit} per 5 MINUTE.", 429,
                self.connections.ends_ms(now_ms),
            )  # fmt: skip

    def order(self, account: int, now_ms: int) -> None:
        """Counts one new order. Raises VenueError -1015; it is not counted then."""
        for window, words in zip(self.orders, ("10 SECOND", "1 DAY")):
            if window.used(account, now_ms) >= window.limit:
                self.refused += 1
                raise VenueError(
                    -1015, f"Too many new orders; current limit is {window.limit} orders per {words}.", 429,
                    window.ends_ms(now_ms),
                )  # fmt: skip
        for window in self.orders:
            window.add(account, 1, now_ms)

    def first_fill(self, account: int, maker: bool, now_ms: int) -> None:
        """ORDERS counts unfilled orders: the first fill of one gives some back."""
        for window in self.orders:
            window.add(account, -(MAKER_FILL_RETURNS if maker else 1), now_ms)

    def weight_headers(self, address: str, now_ms: int) -> dict[str, str]:
        used = str(self.weight.used(address, now_ms))
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    def order_headers(self, account: int, now_ms: int) -> dict[str, str]:
        return {
            f"X-MBX-ORDER-COUNT-{name}": str(window.used(account, now_ms)) for window, name in zip(self.orders, ("10S", "1D"))
        }

    def rows(self) -> list[JsonObject]:
        """`rateLimits` of exchangeInfo."""
        return [_row("REQUEST_WEIGHT", "MINUTE", 1, self.weight.limit), *self._order_rows(), self._raw_row()]

    def weight_row(self, address: str, now_ms: int) -> JsonObject:
        row = _row("REQUEST_WEIGHT", "MINUTE", 1, self.weight.limit)
        return {**row, "count": self.weight.used(address, now_ms)}

    def order_rows(self, account: int, now_ms: int) -> list[JsonObject]:
        """`rateLimit/order`: each with its count."""
        return [{**row, "count": w.used(account, now_ms)} for row, w in zip(self._order_rows(), self.orders)]

    def _order_rows(self) -> list[JsonObject]:
        ten_seconds, day = self.orders
        return [_row("ORDERS", "SECOND", 10, ten_seconds.limit), _row("ORDERS", "DAY", 1, day.limit)]

    def _raw_row(self) -> JsonObject:
        return _row("RAW_REQUESTS", "MINUTE", 5, self.raw.limit)

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
