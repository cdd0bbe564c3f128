"""What a fault is: its kinds, its fields, and a schedule of faults read from TOML or JSON. Pure."""

import re
from typing import Literal

import msgspec

Kind = Literal[
    "cut", "shutdown", "refuse", "stall", "drip",
    "skip", "duplicate", "reorder", "delay", "garbage", "truncate", "torn", "crossed", "stale",
    "clock", "answer", "timeout_before", "timeout_after", "restart", "outage", "forget",
    "jump", "anew", "halt", "unknown",
]  # fmt: skip
# What each does while it lasts, and which of the fields below it reads beside those that all have.
KINDS: dict[str, str] = {
    "cut": "each connection that is open at its start, or opens before its end, is cut without a word",
    "shutdown": "each connection that is open at its start is told `serverShutdown`, and closed at its end",
    "refuse": "websocket handshakes are answered with `status` (`message`, `html`, `retry_after_s`), or cut without an answer "
    "(0); REST too if `endpoint` says",
    "stall": "half open: what clients send is read and carried out, nothing is sent to them, not even pings",
    "drip": "bytes leave at `bytes_per_s`; whatever waits when it ends leaves at once",
    "skip": "frames are not sent: ids jump. On stream `user` that is a user stream which falls silent",
    "duplicate": "frames are sent twice",
    "reorder": "a frame is sent after the next one of its connection",
    "delay": "frames are sent `delay_ms` later, in their order",
    "garbage": "a frame's text is replaced by random characters",
    "truncate": "a frame's text ends in the middle",
    "torn": "half of a websocket frame's bytes are sent, then the connection is cut",
    "crossed": "bids and asks are exchanged: a quote, or a change of the book, whose bid is above its ask",
    "stale": "the first frame of each stream is sent again and again in place of the later ones",
    "clock": "the venue's clock is `offset_ms` off (a jump), and runs `skew_ppm` fast",
    "answer": "requests are not carried out but answered: `status`, `code`, `message`, `retry_after_s`; `html`: a proxy's page",
    "timeout_before": "orders are not carried out; after `delay_ms` the answer is `code` (−1007, −1006), or a cut (`silent`)",
    "timeout_after": "orders are carried out, but the answer is that of timeout_before: the lost acknowledgement",
    "restart": "all connections are cut, and everything is refused until its end; `lose_orders` forgets what stood in the book",
    "outage": "overload: makers are cut off, and only market orders get through",
    "forget": "trade histories over REST begin at `to_ms`; older ids are answered from there on, without a word",
    "jump": "a frame's id is `by` too high: `u` of a book's change or a quote, `t` of a trade; the true ids go on after it",
    "anew": "all connections are closed, everything is refused until its end; then every id begins again, far lower",
    "halt": "`symbol` is in BREAK: no trade, no change of its book, orders and cancels are refused",
    "unknown": "the venue does not know `symbol`: −1121, not in exchangeInfo; streams are acknowledged, and silent",
}  # fmt: skip
MOMENTARY = ("cut", "restart", "anew")  # have a meaning with length 0
DOWN = ("restart", "anew")  # while they last nobody gets in
FRAMES = ("skip", "duplicate", "reorder", "delay", "garbage", "truncate", "torn", "crossed", "stale", "jump")
REQUESTS = ("answer", "timeout_before", "timeout_after")
LISTS = tuple(f"{door}{kind}" for door in ("POST /api/v3/orderList/", "orderList.place.") for kind in ("oco", "oto", "otoco"))
FUTURES = ("POST /binance_usdm/fapi/v1/order", "binance_usdm.order.place")
ORDERS = ("POST /api/v3/order", "order.place", *LISTS, *FUTURES)  # what the timeouts act on unless `endpoint` says otherwise
LENGTH_S_MAX = 86_400.0


class FaultError(ValueError):
    """A fault that is impossible; its text is a sentence with the fault, what was seen, and what is allowed."""


class PlannedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One fault as it was asked for. Times in seconds after the exchange's start (schedule) or after now (endpoint)."""

    kind: Kind
    start_s: float = 0.0
    length_s: float = 0.0  # 0: until it is ended by hand; cut, restart and anew: one moment
    probability: float = 1.0  # of each chance: a frame, a request, a connection
    times: int = 0  # so many chances are taken at most; 0: no bound
    seed: int = 0
    connection: int = 0  # the n-th websocket since the exchange began; 0: any
    # Pattern, e.g. "btcusdt@trade", "binance_usdm.*", "*@depth*", "user"; default: market streams, all for stall and drip
    stream: str = ""
    # Pattern, e.g. "GET /api/v3/depth", "GET */depth", "/binance_usdm/*", "order.*"; default: whatever the kind is about
    endpoint: str = ""
    status: int = 0
    code: int = 0
    message: str = ""
    retry_after_s: int = 0
    html: bool = False
    silent: bool = False
    delay_ms: float = 100.0
    bytes_per_s: float = 200.0
    from_ms: float = 0.0  # frames of this stretch of market time only (of a replay: the capture's receive time); 0: no bound
    to_ms: float = 0.0
    offset_ms: float = 0.0
    skew_ppm: float = 0.0
    lose_orders: bool = False
    by: int = 10**12
    symbol: str = ""  # pattern, e.g. "BTCUSDT" (of spot), "binance_usdm.BTCUSDT"; default: every one

    def check(self) -> "PlannedFault":
        """Gives the fault back, or raises FaultError for a field with an impossible value."""
        for name, low, high in (
            ("start_s", 0, LENGTH_S_MAX), ("length_s", 0, LENGTH_S_MAX), ("probability", 0, 1), ("connection", 0, 1 << 31),
            ("retry_after_s", 0, 1 << 20), ("delay_ms", 0, 600_000), ("bytes_per_s", 1, 1e9), ("skew_ppm", -1e5, 1e5),
            ("offset_ms", -1e10, 1e10), ("from_ms", 0, 1e14), ("to_ms", 0, 1e14), ("times", 0, 1 << 31), ("by", 1, 1 << 62),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise FaultError(f"a fault's {name} = {value} is impossible; allowed: {low:g} to {high:g}")
        if self.status and not 400 <= self.status <= 599:
            raise FaultError(f"a fault's status = {self.status} is impossible; allowed: 400 to 599, or 0 for the kind's own")
        if self.to_ms and self.to_ms <= self.from_ms:
            raise FaultError(f"a fault from_ms = {self.from_ms:g} to_ms = {self.to_ms:g} has no length; to_ms must be later")
        if self.kind in (*DOWN, "halt", "unknown") and self.probability < 1:
            raise FaultError(f"{self.kind} has no probability: it happens once, when it starts")
        return self


class _Schedule(msgspec.Struct, forbid_unknown_fields=True):
    faults: list[PlannedFault]


def read_schedule(text: bytes, name: str) -> list[PlannedFault]:
    """Reads the faults of a file: `[[faults]]` tables in TOML, or JSON `{"faults": [{…}, …]}`. Raises FaultError."""
    decode = msgspec.json.decode if name.endswith(".json") else msgspec.toml.decode
    try:
        return [fault.check() for fault in decode(text, type=_Schedule).faults]
    except (msgspec.DecodeError, UnicodeDecodeError, FaultError) as error:
        raise FaultError(f"{name}: {_sentence(error)}") from None


def read_faults(body: bytes) -> list[PlannedFault]:
    """Reads the faults of a request's body: one object, or a list of them. Raises FaultError."""
    try:
        one = body.lstrip()[:1] == b"{"
        found = [msgspec.json.decode(body, type=PlannedFault)] if one else msgspec.json.decode(body, type=list[PlannedFault])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FaultError(_sentence(error)) from None
    return [fault.check() for fault in found]


def _sentence(error: Exception) -> str:
    text = str(error)
    if "Invalid enum value" in text:
        return f"{text}; kinds: {', '.join(KINDS)}"
    if re.search("unknown field", text):
        return f"{text}; fields: {', '.join(PlannedFault.__struct_fields__)}"
    return text
