"""The public frames of a market in the dialect of Binance spot: JSON texts of trades, quotes, changes and whole books. Pure.

Payloads: Binance spot, "WebSocket Streams". `usdm_frames.py` is the other dialect.
"""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple, Protocol

from tickmesh.nodes.exchange.market.tape import Aggregate, Print
from tickmesh.nodes.exchange.protocol import decimal_text

MARKET = "MARKET"  # a trade of the book
PriceLevels = Iterable[tuple[int, int]]  # (price, quantity), best first


class BookDelta(NamedTuple):
    """The levels that a depth frame brings: ids `first` to `last`, after a frame that ended with `previous`."""

    previous: int
    first: int
    last: int
    bids: PriceLevels
    asks: PriceLevels


class FrameWriter(Protocol):
    """Writes the frames of one market in its venue's dialect."""

    @property
    def depth_streams(self) -> tuple[tuple[str, int], ...]:
        """The depth streams: name after `symbol@`, and how many times 100 ms lie between two frames."""

    def trade(self, trade: Print, kind: str = MARKET) -> str:
        """Builds the JSON of a trade event. `kind`: MARKET, or why it is none of the book."""

    def aggregate(self, row: Aggregate) -> str:
        """Builds the JSON of an aggTrade event."""

    def quote(self, update_id: int, best: tuple[int, ...], now_ms: int) -> str:
        """Builds the JSON of a bookTicker event; `best`: bid, its quantity, ask, its quantity."""

    def depth(self, delta: BookDelta, now_ms: int) -> str:
        """Builds the JSON of a depthUpdate event."""

    def snapshot(self, update_id: int, bids: PriceLevels, asks: PriceLevels, limit: int, now_ms: int) -> str:
        """Builds the JSON of a REST depth answer."""


class SpotFrames:
    """Writes frames as Binance spot does: eight decimals everywhere, no time in quotes and snapshots."""

    depth_streams = (("depth@100ms", 1), ("depth", 10))

    def __init__(self, symbol: str):
        self.symbol = symbol

    def trade(self, trade: Print, kind: str = MARKET) -> str:
        """Builds the JSON of a trade event; spot has no other kind."""
        side = "true" if trade.buyer_is_maker else "false"
        return (
            f'{{"e":"trade","E":{trade.time},"s":"{self.symbol}","t":{trade.id},"p":"{decimal_text(trade.price)}",'
            f'"q":"{decimal_text(trade.quantity)}","T":{trade.time},"m":{side},"M":true}}'
        )

    def aggregate(self, row: Aggregate) -> str:
        """Builds the JSON of an aggTrade event."""
        side = "true" if row.buyer_is_maker else "false"
        return (
            f'{{"e":"aggTrade","E":{row.time},"s":"{self.symbol}","a":{row.id},"p":"{decimal_text(row.price)}",'
            f'"q":"{decimal_text(row.quantity)}","f":{row.first},"l":{row.last},"T":{row.time},"m":{side},"M":true}}'
        )

    def quote(self, update_id: int, best: tuple[int, ...], now_ms: int) -> str:
        """Builds the JSON of a bookTicker event, which has no time on spot."""
        bid, bid_quantity, ask, ask_quantity = best
        return (
            f'{{"u":{update_id},"s":"{self.symbol}","b":"{decimal_text(bid)}","B":"{decimal_text(bid_quantity)}",'
            f'"a":"{decimal_text(ask)}","A":"{decimal_text(ask_quantity)}"}}'
        )

    def depth(self, delta: BookDelta, now_ms: int) -> str:
        """Builds the JSON of a depthUpdate event, whose U follows the u before."""
        bids, asks = _levels(delta.bids), _levels(delta.asks)
        return (
            f'{{"e":"depthUpdate","E":{now_ms},"s":"{self.symbol}","U":{delta.previous + 1},"u":{delta.last},'
            f'"b":[{bids}],"a":[{asks}]}}'
        )

    def snapshot(self, update_id: int, bids: PriceLevels, asks: PriceLevels, limit: int, now_ms: int = 0) -> str:
        """Builds the JSON of a REST depth answer from (price, quantity) of each side, best first."""
        return f'{{"lastUpdateId":{update_id},"bids":[{_levels(bids, limit)}],"asks":[{_levels(asks, limit)}]}}'


def _levels(side: PriceLevels, limit: int | None = None) -> str:
    return ",".join([f'["{decimal_text(price)}","{decimal_text(quantity)}"]' for price, quantity in islice(side, limit)])
