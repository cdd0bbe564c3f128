"""Streams that follow from the book and the tape: partial depth, klines and tickers. Built only for those who subscribed.

Works on a synthetic and on a replayed market alike. Pure; whoever has the clock calls `frames` every 100 ms.
"""

import re
from collections.abc import Iterable

import msgspec

from tickmesh.nodes.exchange.market.candles import INTERVALS, candle, interval_bounds, kline_event
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.market.tickers import WINDOW_STREAM, reference_event, ticker_event, window_event
from tickmesh.nodes.exchange.protocol import NotKnownYet, VenueError

PARTIAL = re.compile(r"^depth(5|10|20)(@100ms)?$")
KLINE = re.compile(r"^kline_(\w+?)(@\+08:00)?$")
SLOW_EVERY = 10  # of the 100 ms: what is sent once a second
EIGHT_HOURS_MS = 8 * 3_600_000
MINI_TICKERS = "!miniTicker@arr"
_encode = msgspec.json.Encoder().encode


class DerivedStreams:
    """Builds the partial depth, klines and tickers of one market."""

    def __init__(self, market: VenueMarket):
        self.market = market
        self.lower = market.spec.symbol.lower()
        self.flushes = 0
        self._depth: dict[str, int] = {}  # stream → update id sent last
        self._candles: dict[str, int] = {}  # stream → start of the candle sent last

    def frames(self, now_ms: int, wanted: Iterable[str]) -> list[tuple[str, str]]:
        """Frames that are due, as (stream, data); called every 100 ms. `wanted`: parts of stream names after `symbol@`."""
        self.flushes += 1
        slow = self.flushes % SLOW_EVERY == 0
        out = []
        for name in wanted:
            if match := PARTIAL.match(name):
                data = self._partial(name, int(match[1])) if match[2] or slow else None
            elif match := KLINE.match(name):
                zone_ms = EIGHT_HOURS_MS if match[2] else 0
                out += [(f"{self.lower}@{name}", data) for data in self._kline(name, match[1], zone_ms, now_ms, slow)]
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

    def _kline(self, name: str, interval: str, zone_ms: int, now_ms: int, slow: bool) -> list[str]:
        tape = self.market.tape
        if interval not in INTERVALS or not tape.prints:
            return []
        now_ms = max(now_ms, tape.prints[-1].time)  # a replay's tape has times of its own
        sent_ms = self._candles.get(name)
        start, end = interval_bounds(interval, now_ms, zone_ms)
        out = []
        if sent_ms is not None and sent_ms < start:
            out.append(self._candle(*interval_bounds(interval, sent_ms, zone_ms), interval, True, now_ms))
        if slow or sent_ms is None or sent_ms < start:
            out.append(self._candle(start, end, interval, False, now_ms))
        self._candles[name] = start
        return out

    def _candle(self, start_ms: int, end_ms: int, interval: str, closed: bool, now_ms: int) -> str:
        made = candle(self.market.tape, start_ms, end_ms)
        return _encode(kline_event(made, self.market.spec.symbol, interval, closed, now_ms)).decode()

    def _ticker(self, name: str, now_ms: int) -> str | None:
        if name == "referencePrice":
            return _encode(reference_event(self.market, now_ms)).decode()
        if not self.market.tape.prints:
            return None
        if window := WINDOW_STREAM.match(name):
            return _encode(window_event(self.market, window[1], now_ms)).decode()
        if name not in ("ticker", "miniTicker", "avgPrice"):
            return None
        return _encode(ticker_event(self.market, name, now_ms)).decode()


class MiniTickers:
    """Builds the stream of all symbols' mini tickers: once a second, those of the symbols that were traded since."""

    def __init__(self, markets: Iterable[VenueMarket]):
        self.markets = list(markets)
        self.flushes = 0
        self._sent: dict[str, int] = {}  # symbol → id of its newest trade then

    def frame(self, now_ms: int, unknown: set[str]) -> str | None:
        """The frame that is due, if one is; called every 100 ms while somebody hears it. `unknown`: symbols left out."""
        self.flushes += 1
        if self.flushes % SLOW_EVERY:
            return None
        rows = []
        for market in self.markets:
            symbol, newest = market.spec.symbol, market.tape.last_id
            if market.tape.prints and self._sent.get(symbol) != newest and symbol not in unknown:
                self._sent[symbol] = newest
                rows.append(ticker_event(market, "miniTicker", now_ms))
        return _encode(rows).decode() if rows else None
