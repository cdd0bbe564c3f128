"""What the adapters make of the real captures."""

from functools import cache

from tests.support import captures
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.table import adapter_of

SYMBOLS = {
    "COINBASE": [
        "SKL-USD",
        "SKL-BTC",
        "BAND-GBP",
        "NMR-EUR",
        "BAND-BTC",
        "YFI-BTC",
        "DASH-BTC",
        "NU-GBP",
        "CRV-EUR",
        "SKL-GBP",
    ],
    "OKX": ["BTC-USD-220527", "UNI-USD-SWAP", "BTC-USDT"],
    "KRAKEN": ["WAVES/EUR", "XMR/USD", "KSM/XBT", "GRT/ETH", "SC/EUR", "ETH/CHF", "OCEAN/XBT", "OMG/USD", "XBT/CHF", "ADA/XBT"],
    "BINANCE": ["NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"],
    "BINANCE_FUTURES": ["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"],
}


ADAPTERS = {
    "COINBASE": "coinbase",
    "OKX": "okx",
    "KRAKEN": "kraken_v1",
    "BINANCE": "binance",
    "BINANCE_FUTURES": "binance_usdm",
}


KRAKEN_DECIMALS = {"WAVES/EUR": 6, "XMR/USD": 8, "KSM/XBT": 8, "GRT/ETH": 9, "SC/EUR": 6, "ETH/CHF": 5, "OCEAN/XBT": 9,
                   "OMG/USD": 6, "XBT/CHF": 5, "ADA/XBT": 9}  # fmt: skip


def instruments(venue):
    """The instruments of a venue's sample."""
    return [
        Instrument(symbol=symbol, venue=ADAPTERS[venue], price_exponent=-KRAKEN_DECIMALS.get(symbol, 8))
        for symbol in SYMBOLS[venue]
    ]  # fmt: skip


@cache
def decode_sample(venue):
    """Decodes a venue's sample: (events with their message, refusals with their sentence, control messages)."""
    adapter = adapter_of(ADAPTERS[venue])
    routes, events, refused, controls = adapter.routes(instruments(venue)), [], [], []
    for message in captures.sample(venue):
        if message.direction != "received":
            continue
        try:
            said = adapter.decode(message.frame, message.recv_ns, routes)
        except FrameError as error:
            refused.append((str(error), message.frame))
            continue
        events += [(bytes(event), message) for event in said]
        if not said:
            controls.append(adapter.control(message.frame))
    return events, refused, controls
