"""Streams that follow from the book and the tape: partial depth, klines and tickers. Built only for those who subscribed.

Works on a synthetic and on a replayed market alike. Pure; whoever has the clock calls `frames` every 100 ms.
"""

import re
from collections.abc import Iterable

import msgspec

from tickmesh.nodes.exchange.market.candles import INTERVALS, candle, interval_bounds, kline_event
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, NotKnownYet, VenueError, decimal_text

PARTIAL = re.compile(r"^depth(5|10|20)(@100ms)?$")
SLOW_EVERY = 10  # of the 100 ms: what is sent once a second
DAY_MS = 86_400_000
_encode = msgspec.json.Encoder().encode


class DerivedStreams:
    """Builds the partial depth, klines and tickers of one market."""

    def __init__(self, market: VenueMarket):
        self.market = market
        self.lower = market.spec.symbol.lower()
        self.flushes = 0
        self._depth: dict[str, int] = {}  # stream → update id sent last
        self._candles: dict[str, int] = {}  # interval → start of the candle sent last

    def frames(self, now_ms: int, wanted: Iterable[str]) -> list[tuple[str, str]]:
        """Frames that are due, as (stream, data); called every 100 ms. `wanted`: parts of stream names after `symbol@`."""
        self.flushes += 1
        slow = self.flushes % SLOW_EVERY == 0
        out = []
        for name in wanted:
            if match := PARTIAL.match(name):
                data = self._partial(name, int(match[1])) if match[2] or slow else None
            elif name.startswith("kline_"):
                out += [(f"{self.lower}@{name}", data) for data in self._kline(name.removeprefix("kline_"), now_ms, slow)]
                continue
            else:
                data = self._ticker(name, now_ms) if slow else None
            if data is not None:
                out.append((f"{self.lower}@{name}", data))
        return out

    def _partial(self, name: str, levels: int) -> str | None:
        """A partial depth frame; None when the book has not changed, or is not known (a replay before its snapshot)."""
        update_id = self.market.book_id
        if self._depth.get(name) == update_id:
            return None
        try:
            data = self.market.snapshot(levels)
        except (NotKnownYet, VenueError):
            return None
        self._depth[name] = update_id
        return data

    def _kline(self, interval: str, now_ms: int, slow: bool) -> list[str]:
        tape, symbol = self.market.tape, self.market.spec.symbol
        if interval not in INTERVALS or not tape.prints:
            return []
        now_ms = max(now_ms, tape.prints[-1].time)  # a replay's tape has times of its own
        sent_ms = self._candles.get(interval)
        start, _ = interval_bounds(interval, now_ms)
        out = []
        if sent_ms is not None and sent_ms < start:
            out.append(self._candle(sent_ms, interval, True, now_ms, symbol))
        if slow or sent_ms is None or sent_ms < start:
            out.append(self._candle(start, interval, False, now_ms, symbol))
        self._candles[interval] = start
        return out

    def _candle(self, at_ms: int, interval: str, closed: bool, now_ms: int, symbol: str) -> str:
        made = candle(self.market.tape, *interval_bounds(interval, at_ms))
        return _encode(kline_event(made, symbol, interval, closed, now_ms)).decode()

    def _ticker(self, name: str, now_ms: int) -> str | None:
        if name not in ("ticker", "miniTicker", "avgPrice") or not self.market.tape.prints:
            return None
        return _encode(ticker_event(self.market, name, now_ms)).decode()


def day_statistics(market: VenueMarket, now_ms: int) -> JsonObject:
    """The last 24 hours, as far as the tape goes, in the fields of `GET /api/v3/ticker/24hr`."""
    tape = market.tape
    now_ms = max(now_ms, tape.prints[-1].time) if tape.prints else now_ms
    made = candle(tape, now_ms - DAY_MS, now_ms)
    (bid, bid_quantity), (ask, ask_quantity) = market.best(1), market.best(-1)
    change = made.close - made.open
    return {
        "symbol": market.spec.symbol,
        "priceChange": decimal_text(change),
        "priceChangePercent": f"{100 * change / made.open if made.open else 0:.3f}",
        "weightedAvgPrice": decimal_text(made.quote * UNIT // made.quantity if made.quantity else made.close),
        "prevClosePrice": decimal_text(made.open),
        "lastPrice": decimal_text(made.close),
        "lastQty": decimal_text(tape.prints[-1].quantity if tape.prints else 0),
        "bidPrice": decimal_text(bid),
        "bidQty": decimal_text(bid_quantity),
        "askPrice": decimal_text(ask),
        "askQty": decimal_text(ask_quantity),
        "openPrice": decimal_text(made.open),
        "highPrice": decimal_text(made.high),
        "lowPrice": decimal_text(made.low),
        "volume": decimal_text(made.quantity),
        "quoteVolume": decimal_text(made.quote),
        "openTime": made.start_ms,
        "closeTime": made.end_ms,
        "firstId": made.first,
        "lastId": made.last,
        "count": made.trades,
    }


def ticker_event(market: VenueMarket, name: str, now_ms: int) -> JsonObject:
    """Builds an event of a ticker, miniTicker or avgPrice stream."""
    row = day_statistics(market, now_ms)
    symbol = row["symbol"]
    if name == "avgPrice":
        return {"e": "avgPrice", "E": now_ms, "s": symbol, "i": "5m", "w": average_price(market, now_ms)["price"],
                "T": market.tape.prints[-1].time}  # fmt: skip
    mini = {
        "e": "24hrMiniTicker", "E": now_ms, "s": symbol, "c": row["lastPrice"], "o": row["openPrice"],
        "h": row["highPrice"], "l": row["lowPrice"], "v": row["volume"], "q": row["quoteVolume"],
    }  # fmt: skip
    if name == "miniTicker":
        return mini
    more = {
        "p": row["priceChange"], "P": row["priceChangePercent"], "w": row["weightedAvgPrice"],
        "x": row["prevClosePrice"], "Q": row["lastQty"], "b": row["bidPrice"], "B": row["bidQty"], "a": row["askPrice"],
        "A": row["askQty"], "O": row["openTime"], "C": row["closeTime"], "F": row["firstId"], "L": row["lastId"],
        "n": row["count"],
    }  # fmt: skip
    order = "p P w x c Q b B a A o h l v q O C F L n"
    return {"e": "24hrTicker", "E": now_ms, "s": symbol} | {key: (mini | more)[key] for key in order.split()}


def average_price(market: VenueMarket, now_ms: int) -> JsonObject:
    """`GET /api/v3/avgPrice`: the average price of five minutes, weighted by quantity."""
    tape = market.tape
    now_ms = max(now_ms, tape.prints[-1].time) if tape.prints else now_ms
    rows = tape.prints[tape.index_from_time(now_ms - 300_000) :]
    worth, quantity = sum(p.price * p.quantity for p in rows), sum(p.quantity for p in rows)
    price = worth // quantity if quantity else tape.last_price
    return {"mins": 5, "price": decimal_text(price), "closeTime": tape.prints[-1].time if tape.prints else now_ms}
