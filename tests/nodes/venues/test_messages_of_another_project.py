"""Single messages that another project collected are read, or refused with a sentence."""

import json

import pytest

from tests.support import captures
from tests.support.captures import needs
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.table import adapter_of

pytestmark = pytest.mark.data


def raw(venue, channel, case=None):
    """Coinbase's have their channel as their case."""
    rows = captures.raw_messages(venue)
    return [row["raw"].encode() for row in rows if channel in (row["channel"], row["case"]) and case in (None, row["case"])]


@needs(captures.RAW_MESSAGES)
@pytest.mark.parametrize(
    "name,venue,symbol,channel,case,kind,count",
    [("binance", "binance", "BTCUSDT", "trade", "spot", Kind.trade, 1),
     ("binance", "binance", "BTCUSDT", "l2_event", "spot", Kind.depth, 1),
     ("binance_usdm", "binance", "BTCUSDT", "trade", "linear_swap", Kind.trade, 1),
     ("binance_usdm", "binance", "BTCUSDT", "l2_event", "linear_swap", Kind.depth, 1),
     ("binance_usdm", "binance", "ETHUSDT", "bbo", "linear_swap", Kind.quote, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "trade", None, Kind.trade, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "l2_orderbook_snapshot", None, Kind.depth, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "l2_orderbook_update", None, Kind.depth, 1),
     ("coinbase", "coinbase_pro", "BTC-USD", "ticker", None, Kind.quote, 1),
     ("kraken_v1", "kraken", "XBT/USD", "trade", "spot", Kind.trade, 1),
     ("kraken_v1", "kraken", "XBT/USD", "bbo", "spot", Kind.quote, 1),
     ("kraken_v1", "kraken", "XBT/USD", "ticker", "spot", Kind.quote, 1),
     ("kraken_v1", "kraken", "XBT/USD", "l2_event", "spot_update", Kind.depth, 2),
     ("okx", "okx", "BTC-USDT", "trade", "spot", Kind.trade, 1),
     ("okx", "okx", "BTC-USDT-SWAP", "trade", "linear_swap", Kind.trade, 1),
     ("okx", "okx", "BTC-USDT", "bbo", "spot", Kind.quote, 1),
     ("okx", "okx", "BTC-USDT", "ticker", "spot", Kind.quote, 1)],
)  # fmt: skip
def test_messages_of_another_project_are_read(name, venue, symbol, channel, case, kind, count):
    adapter = adapter_of(name)
    exponent = -5 if name == "kraken_v1" else -8
    routes = adapter.routes([Instrument(symbol=symbol, venue=name, price_exponent=exponent)])
    frames = raw(venue, channel, case)
    assert len(frames) >= count
    read = 0
    for frame in frames:
        try:
            events = adapter.decode(frame, 5, routes)
        except FrameError as error:
            assert "not subscribed" in str(error), error
            continue
        for event in events:
            assert event_of(event).kind == kind and event_of(event).recv_ns == 5
            read += 1
    assert read == count


@needs(captures.RAW_MESSAGES)
@pytest.mark.parametrize("name", ["binance", "binance_usdm", "coinbase", "kraken", "kraken_v1", "okx"])
def test_no_message_of_any_venue_raises_anything_but_a_refusal(name):
    adapter = adapter_of(name)
    routes = adapter.routes([Instrument(symbol=symbol, venue=name) for symbol in ("BTCUSDT", "BTC-USD", "XBT/USD", "BTC-USDT")])
    with open(captures.RAW_MESSAGES) as file:
        for line in file:
            try:
                adapter.decode(json.loads(line)["raw"].encode(), 5, routes)
            except FrameError as error:
                assert len(str(error)) > 10
