"""cryptofeed's decoders of Binance, as its feeds call them: a message's text in, its objects (and its book) out. No network."""

import asyncio
import contextlib
import re
from collections.abc import Callable

from tickmesh.bus.settings import Instrument

NAMES = {"binance": ("BINANCE", "Binance", "BTC-USDT"), "binance_usdm": ("BINANCE_FUTURES", "BinanceFutures", "BTC-USDT-PERP")}
TRADE = re.compile(rb'"t":([0-9]+)')


def version() -> str:
    """The version that is installed; "" for none."""
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("cryptofeed")
    return ""


def as_it_takes_it(frame: bytes) -> str:
    """A frame as text. Of trades it reads the stream @aggTrade alone: the same trade, as that stream would bring it."""
    if b'@trade"' in frame[:60]:
        frame = frame.replace(b'@trade"', b'@aggTrade"').replace(b'"e":"trade"', b'"e":"aggTrade"')
        frame = TRADE.sub(rb'"a":\1,"f":\1,"l":\1', frame)
    return frame.decode()


def decoder(instrument: Instrument, frames: list[bytes]) -> Callable[[], int]:
    """A function that has cryptofeed take all these frames, in their order, and gives their number. It has no callbacks.

    Its book is empty before the first change, and begins where that one says.
    """
    from cryptofeed import defines, exchanges
    from cryptofeed.symbols import Symbols
    from cryptofeed.types import OrderBook

    name, kind, pair = NAMES[instrument.venue]
    Symbols.set(name, {pair: instrument.symbol}, {"instrument_type": {pair: defines.SPOT}, "tick_size": {}})
    feed = getattr(exchanges, kind)(symbols=[pair], channels=[defines.TRADES, defines.TICKER, defines.L2_BOOK])
    texts = [as_it_takes_it(frame) for frame in frames]
    first = re.search(rb'"pu":([0-9]+)', frames[0]) or re.search(rb'"U":([0-9]+)', frames[0])

    async def take() -> int:
        feed._l2_book[pair] = OrderBook(feed.id, pair, bids={}, asks={})  # noqa: SLF001 - a snapshot would come by REST
        feed._l2_book[pair].delta = {}  # noqa: SLF001
        feed.last_update_id[pair] = int(first[1]) - (b'"pu"' not in frames[0]) if first else 0
        for text in texts:
            await feed.message_handler(text, None, 1.0)
        assert pair in feed._l2_book, "cryptofeed dropped its book: frames are missing"  # noqa: SLF001
        return len(texts)

    return lambda: asyncio.run(take())
