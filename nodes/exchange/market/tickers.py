"""Statistics of a market over a day, a trading day or a rolling window, as answers of REST and as events of streams. Pure."""

import re

from tickmesh.nodes.exchange.market.candles import candle
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, decimal_text

MINUTE_MS, DAY_MS = 60_000, 86_400_000
UNITS_MS = {"m": MINUTE_MS, "h": 3_600_000, "d": DAY_MS}
WINDOW = re.compile(r"^([1-9]|[1-5][0-9])m$|^([1-9]|1[0-9]|2[0-3])h$|^[1-7]d$")  # 1m … 59m, 1h … 23h, 1d … 7d
WINDOW_STREAM = re.compile(r"^ticker_(1h|4h|1d)$")
MINI = (
    "symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume", "openTime", "closeTime", "firstId",
    "lastId", "count",
)  # fmt: skip


def window_start(window: str, now_ms: int) -> int:
    """Where a rolling window of WINDOW's form begins that ends now: on a minute, so it is up to 59,999 ms longer."""
    return (now_ms - int(window[:-1]) * UNITS_MS[window[-1]]) // MINUTE_MS * MINUTE_MS


def statistics(market: VenueMarket, start_ms: int, end_ms: int) -> JsonObject:
    """What was traded from `start_ms` to `end_ms` (inclusive), in the fields of `GET /api/v3/ticker`."""
    made = candle(market.tape, start_ms, end_ms)
    change = made.close - made.open
    return {
        "symbol": market.spec.symbol,
        "priceChange": decimal_text(change),
        "priceChangePercent": f"{100 * change / made.open if made.open else 0:.3f}",
        "weightedAvgPrice": decimal_text(made.quote * UNIT // made.quantity if made.quantity else made.close),
        "openPrice": decimal_text(made.open),
        "highPrice": decimal_text(made.high),
        "lowPrice": decimal_text(made.low),
        "lastPrice": decimal_text(made.close),
        "volume": decimal_text(made.quantity),
        "quoteVolume": decimal_text(made.quote),
        "openTime": made.start_ms,
        "closeTime": made.end_ms,
        "firstId": made.first,
        "lastId": made.last,
        "count": made.trades,
    }


def latest(market: VenueMarket, now_ms: int) -> int:
    """Now, or the newest trade's time where that is later: a replay's tape has times of its own."""
    return max(now_ms, market.tape.prints[-1].time) if market.tape.prints else now_ms


def day_statistics(market: VenueMarket, now_ms: int) -> JsonObject:
    """The last 24 hours, as far as the tape goes, in the fields of `GET /api/v3/ticker/24hr`."""
    now_ms, prints = latest(market, now_ms), market.tape.prints
    row = statistics(market, now_ms - DAY_MS, now_ms)
    (bid, bid_quantity), (ask, ask_quantity) = market.best(1), market.best(-1)
    more = {
        "prevClosePrice": row["openPrice"],
        "lastQty": decimal_text(prints[-1].quantity if prints else 0),
        "bidPrice": decimal_text(bid),
        "bidQty": decimal_text(bid_quantity),
        "askPrice": decimal_text(ask),
        "askQty": decimal_text(ask_quantity),
    }
    order = (
        "symbol priceChange priceChangePercent weightedAvgPrice prevClosePrice lastPrice lastQty bidPrice bidQty askPrice "
        "askQty openPrice highPrice lowPrice volume quoteVolume openTime closeTime firstId lastId count"
    )
    return {key: (row | more)[key] for key in order.split()}


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
    tape, now_ms = market.tape, latest(market, now_ms)
    rows = tape.prints[tape.index_from_time(now_ms - 300_000) :]
    worth, quantity = sum(p.price * p.quantity for p in rows), sum(p.quantity for p in rows)
    price = worth // quantity if quantity else tape.last_price
    return {"mins": 5, "price": decimal_text(price), "closeTime": tape.prints[-1].time if tape.prints else now_ms}


def window_event(market: VenueMarket, window: str, now_ms: int) -> JsonObject:
    """Builds an event of a rolling-window stream: `window` 1h, 4h or 1d."""
    now_ms = latest(market, now_ms)
    row = statistics(market, window_start(window, now_ms), now_ms)
    names = {
        "p": "priceChange", "P": "priceChangePercent", "o": "openPrice", "h": "highPrice", "l": "lowPrice", "c": "lastPrice",
        "w": "weightedAvgPrice", "v": "volume", "q": "quoteVolume", "O": "openTime", "C": "closeTime", "F": "firstId",
        "L": "lastId", "n": "count",
    }  # fmt: skip
    return {"e": f"{window}Ticker", "E": now_ms, "s": row["symbol"]} | {key: row[name] for key, name in names.items()}


def reference_event(market: VenueMarket, now_ms: int) -> JsonObject:
    """Builds an event of the referencePrice stream: no symbol here has a reference price, which the venue writes as null."""
    return {"e": "referencePrice", "s": market.spec.symbol, "r": None, "t": now_ms}
