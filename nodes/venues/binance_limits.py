"""How many orders Binance allows an account, by what its answers state. "Rate limits" of the API pages. Sans I/O."""

from collections.abc import Iterable

import msgspec

TOO_MANY_ORDERS = -1015
INTERVAL_MS = {"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
ORDERS_WINDOW_MS = 10_000  # the shortest one of order counts
ASKED_MS = 1000  # where it asks to wait, and names neither a time nor its orders


class RateLimit(msgspec.Struct):
    """One row of `rateLimits` in an answer on the WS-API: `count` of `limit` in the present window are used."""

    rateLimitType: str = ""  # noqa: N815  (the venue's name)
    interval: str = ""
    intervalNum: int = 1  # noqa: N815
    limit: int = 0
    count: int = 0


def window_left_ms(length_ms: int, now_ms: int) -> int:
    """What is left of the present window: they are aligned to the venue's clock, days to UTC."""
    return length_ms - now_ms % length_ms


def orders_pause_ms(limits: Iterable[RateLimit], now_ms: int) -> int:
    """For how long the account may place no order, since a window's count is used up; 0: it may."""
    return max(
        (
            window_left_ms(INTERVAL_MS[one.interval] * max(one.intervalNum, 1), now_ms)
            for one in limits
            if one.rateLimitType == "ORDERS" and one.interval in INTERVAL_MS and one.count >= one.limit > 0
        ),
        default=0,
    )


def orders_left(limits: Iterable[RateLimit]) -> int:
    """How many orders the account may still place in the present windows; −1 where the answer does not say."""
    return min((max(one.limit - one.count, 0) for one in limits if one.rateLimitType == "ORDERS" and one.limit > 0), default=-1)


def asked_pause_ms(code: int, retry_ms: int, now_ms: int) -> int:
    """For how long a refusal (429, 418) asks to wait. `retry_ms`: the time that it names, by the venue's clock; 0: none."""
    if retry_ms:
        return retry_ms - now_ms
    return window_left_ms(ORDERS_WINDOW_MS, now_ms) if code == TOO_MANY_ORDERS else ASKED_MS
