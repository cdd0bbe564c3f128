"""Candles of a tape, for `klines` and the kline streams. Pure: computed from the trades that are kept when someone asks.

An interval without trades has a candle too, at the close before it, as the venue has; the first one begins where the kept
trades do.
"""

from datetime import UTC, datetime

from tickmesh.nodes.exchange.market.tape import Candle, Print, Tape
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, VenueError, decimal_text

INTERVALS = {
    "1s": 1000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000,
    "2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000, "1d": 86_400_000,
    "3d": 259_200_000, "1w": 604_800_000, "1M": 0,
}  # fmt: skip
MINUTE_MS = 60_000
MINUTES_KEPT = 1500  # a day, and some
FEW_TRADES = 2000  # so many are simply added up
WEEK_OFFSET_MS = 4 * 86_400_000  # 1970-01-01 was a Thursday; weeks begin on Mondays


def check_interval(name: str) -> str:
    """Checks that the venue has candles of an interval, and gives its name back. VenueError −1120 if it has none."""
    if name not in INTERVALS:
        raise VenueError(-1120, "Invalid interval.")
    return name


def interval_bounds(interval: str, at_ms: int, zone_ms: int = 0) -> tuple[int, int]:
    """First and last ms (UTC) of the interval that holds `at_ms`, where clocks are `zone_ms` ahead of UTC."""
    if zone_ms:
        begin, end = interval_bounds(interval, at_ms + zone_ms)
        return begin - zone_ms, end - zone_ms
    length = INTERVALS[interval]
    if interval == "1M":
        day = datetime.fromtimestamp(at_ms / 1000, UTC)
        first = datetime(day.year, day.month, 1, tzinfo=UTC)
        following = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp() * 1000), int(following.timestamp() * 1000) - 1
    offset = WEEK_OFFSET_MS if interval == "1w" else 0
    start = (at_ms - offset) // length * length + offset
    return start, start + length - 1


def candle(tape: Tape, start_ms: int, end_ms: int) -> Candle:
    """The candle of the trades from `start_ms` to `end_ms` (inclusive). Whole minutes of the past are computed only once."""
    first, last = tape.index_from_time(start_ms), tape.index_from_time(end_ms + 1)
    before = tape.prints[first - 1].price if first else tape.last_price if not tape.prints else tape.prints[0].price
    if last - first <= FEW_TRADES:
        return _of_trades(tape.prints[first:last], start_ms, end_ms, before)
    parts = []
    at = start_ms
    while at <= end_ms and (nearest := tape.index_from_time(at)) < last:
        at = max(at, tape.prints[nearest].time)
        minute = at // MINUTE_MS * MINUTE_MS
        end = min(minute + MINUTE_MS - 1, end_ms)
        whole = at == tape.prints[nearest].time or at == minute
        if whole and minute >= start_ms and end == minute + MINUTE_MS - 1:
            parts.append(_minute(tape, minute))
        else:
            rows = tape.prints[tape.index_from_time(at) : tape.index_from_time(end + 1)]
            parts.append(_of_trades(rows, at, end, before))
        at = end + 1
    return Candle(
        start_ms, end_ms, parts[0].open, max(p.high for p in parts), min(p.low for p in parts), parts[-1].close,
        sum(p.quantity for p in parts), sum(p.quote for p in parts), sum(p.trades for p in parts),
        sum(p.taker_quantity for p in parts), sum(p.taker_quote for p in parts), parts[0].first, parts[-1].last,
    )  # fmt: skip


def _minute(tape: Tape, start_ms: int) -> Candle:
    """The candle of a minute that has trades; remembered once a later trade has closed it."""
    known = tape.minutes.get(start_ms)
    if known is not None:
        return known
    end = start_ms + MINUTE_MS - 1
    made = _of_trades(tape.prints[tape.index_from_time(start_ms) : tape.index_from_time(end + 1)], start_ms, end, 0)
    if tape.prints[-1].time > end:
        tape.minutes[start_ms] = made
        if len(tape.minutes) > MINUTES_KEPT:
            del tape.minutes[next(iter(tape.minutes))]
    return made


def _of_trades(rows: list[Print], start_ms: int, end_ms: int, close_before: int) -> Candle:
    if not rows:
        return Candle(start_ms, end_ms, *(close_before,) * 4, 0, 0, 0, 0, 0, -1, -1)
    prices = [p.price for p in rows]
    bought = [p for p in rows if not p.buyer_is_maker]
    return Candle(
        start_ms, end_ms, prices[0], max(prices), min(prices), prices[-1],
        sum(p.quantity for p in rows), sum(p.price * p.quantity // UNIT for p in rows), len(rows),
        sum(p.quantity for p in bought), sum(p.price * p.quantity // UNIT for p in bought), rows[0].id, rows[-1].id,
    )  # fmt: skip


def candles(tape: Tape, interval: str, start_ms: int | None, end_ms: int, limit: int, zone_ms: int = 0) -> list[Candle]:
    """At most `limit` candles from `start_ms` on, or the latest up to `end_ms`, oldest first; times are UTC, `zone_ms` shifts
    where candles begin."""
    if not tape.prints:
        return []
    oldest = tape.prints[tape.floor].time
    if start_ms is None:
        length = INTERVALS[interval] or 28 * 86_400_000
        start_ms = end_ms - (limit - 1) * length if interval != "1M" else oldest
    begin = interval_bounds(interval, max(start_ms, oldest), zone_ms)[0]
    rows: list[Candle] = []
    while begin <= end_ms and len(rows) < limit:
        begin, end = interval_bounds(interval, begin, zone_ms)
        rows.append(candle(tape, begin, end))
        begin = end + 1
    return rows


def kline_row(c: Candle) -> list[int | str]:
    """A candle as a row of `GET /api/v3/klines`."""
    return [
        c.start_ms, decimal_text(c.open), decimal_text(c.high), decimal_text(c.low), decimal_text(c.close),
        decimal_text(c.quantity), c.end_ms, decimal_text(c.quote), c.trades, decimal_text(c.taker_quantity),
        decimal_text(c.taker_quote), "0",
    ]  # fmt: skip


def kline_event(c: Candle, symbol: str, interval: str, closed: bool, now_ms: int) -> JsonObject:
    """A candle as an event of a kline stream."""
    return {
        "e": "kline", "E": now_ms, "s": symbol,
        "k": {
            "t": c.start_ms, "T": c.end_ms, "s": symbol, "i": interval, "f": c.first, "L": c.last, "o": decimal_text(c.open),
            "c": decimal_text(c.close), "h": decimal_text(c.high), "l": decimal_text(c.low), "v": decimal_text(c.quantity),
            "n": c.trades, "x": closed, "q": decimal_text(c.quote), "V": decimal_text(c.taker_quantity),
            "Q": decimal_text(c.taker_quote), "B": "0",
        },
    }  # fmt: skip
