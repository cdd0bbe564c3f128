"""Binance spot's symbols: as people write them, and all that there are. Sans I/O. "Market data endpoints" of the API pages."""

import msgspec

from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, FrameError, Request
from tickmesh.nodes.venues.parsing.names import squeezed


class _Priced(msgspec.Struct):
    """A row of `GET /api/v3/ticker/price`."""

    symbol: str


_priced = msgspec.json.Decoder(list[_Priced]).decode


def spell(name: str) -> str:
    """The name in capitals and without a separator: BTCUSDT of btc/usdt."""
    return squeezed(name)


def listings() -> tuple[Request, ...]:
    """The request for the price of all symbols: its answer is a hundredth of exchangeInfo's."""
    return (Request("/api/v3/ticker/price", weight=4),)


def decode_listing(body: bytes) -> list[str]:
    """The symbols in the answer to `listings`. Raises FrameError."""
    try:
        return [row.symbol for row in _priced(body)]
    except UNREADABLE as error:
        raise FrameError(f"not an answer of /api/v3/ticker/price: {error}") from None
