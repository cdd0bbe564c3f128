"""The public frames of a market in the dialect of Binance USD-M futures. Pure.

Payloads: USD-M futures, "Websocket Market Streams". Unlike spot: decimals as fine as the instrument's steps, times in quotes
and snapshots, and a depth change that names the one before it (`pu`), since ids are counted over all symbols of the venue.
"""

from itertools import islice

from tickmesh.nodes.exchange.market.frames import MARKET, BookDelta, PriceLevels
from tickmesh.nodes.exchange.market.instruments import InstrumentSpec
from tickmesh.nodes.exchange.market.tape import Aggregate, Print
from tickmesh.nodes.exchange.protocol import decimal_text

DECIMALS = 8  # of `decimal_text`


class UsdmFrames:
    """Writes the frames of one market as Binance USD-M does."""

    depth_streams = (("depth@100ms", 1), ("depth@500ms", 5))

    def __init__(self, spec: InstrumentSpec):
        self.symbol = spec.symbol
        self._price_cut = _cut(spec.price_decimals)
        self._quantity_cut = _cut(spec.quantity_decimals)

    def price(self, mantissa: int) -> str:
        """A price as the venue writes it: with the decimals of the instrument's tick size."""
        return decimal_text(mantissa)[: self._price_cut]

    def quantity(self, mantissa: int) -> str:
        """A quantity as the venue writes it: with the decimals of the instrument's lot size."""
        return decimal_text(mantissa)[: self._quantity_cut]

    def trade(self, trade: Print, kind: str = MARKET) -> str:
        """Builds the JSON of a trade event; `X` is its kind."""
        side = "true" if trade.buyer_is_maker else "false"
        return (
            f'{{"e":"trade","E":{trade.time},"T":{trade.time},"s":"{self.symbol}","t":{trade.id},"p":"{self.price(trade.price)}",'
            f'"q":"{self.quantity(trade.quantity)}","X":"{kind}","m":{side}}}'
        )

    def aggregate(self, row: Aggregate) -> str:
        """Builds the JSON of an aggTrade event."""
        side = "true" if row.buyer_is_maker else "false"
        return (
            f'{{"e":"aggTrade","E":{row.time},"a":{row.id},"s":"{self.symbol}","p":"{self.price(row.price)}",'
            f'"q":"{self.quantity(row.quantity)}","f":{row.first},"l":{row.last},"T":{row.time},"m":{side}}}'
        )

    def quote(self, update_id: int, best: tuple[int, ...], now_ms: int) -> str:
        """Builds the JSON of a bookTicker event."""
        bid, bid_quantity, ask, ask_quantity = best
        return (
            f'{{"e":"bookTicker","u":{update_id},"s":"{self.symbol}","b":"{self.price(bid)}","B":"{self.quantity(bid_quantity)}",'
            f'"a":"{self.price(ask)}","A":"{self.quantity(ask_quantity)}","T":{now_ms},"E":{now_ms}}}'
        )

    def depth(self, delta: BookDelta, now_ms: int) -> str:
        """Builds the JSON of a depthUpdate event: U and u are of this symbol's own changes, `pu` is the u before."""
        bids, asks = self._levels(delta.bids), self._levels(delta.asks)
        return (
            f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{self.symbol}","U":{delta.first},"u":{delta.last},'
            f'"pu":{delta.previous},"b":[{bids}],"a":[{asks}]}}'
        )

    def snapshot(self, update_id: int, bids: PriceLevels, asks: PriceLevels, limit: int, now_ms: int) -> str:
        """Builds the JSON of a REST depth answer from (price, quantity) of each side, best first."""
        return (
            f'{{"lastUpdateId":{update_id},"E":{now_ms},"T":{now_ms},"bids":[{self._levels(bids, limit)}],'
            f'"asks":[{self._levels(asks, limit)}]}}'
        )

    def _levels(self, side: PriceLevels, limit: int | None = None) -> str:
        price, quantity = self.price, self.quantity
        return ",".join([f'["{price(p)}","{quantity(q)}"]' for p, q in islice(side, limit)])


def _cut(decimals: int) -> int | None:
    """Where the text of a mantissa ends that has so many decimals, counted from its end; None: it is whole."""
    return None if decimals >= DECIMALS else decimals - DECIMALS - (decimals == 0)
