"""What venues really sent: the scanner reads it, and makes the very bytes that the adapter makes of it."""

import json
import random

import pytest

from tests.support import captures
from tests.support.captures import needs
from tests.support.decoded_captures import ADAPTERS, instruments
from tests.support.places import DATA
from tests.support.scanner import BothWays
from tickmesh.bus.settings import Instrument

pytestmark = pytest.mark.data

STAMPED = [
    *(("binance", "BTCUSDT", DATA / f"hftbacktest/spot/btcusdt_{day}.gz") for day in ("20240808", "20240809")),
    ("binance_usdm", "BTCUSDT", captures.USDM_BTC),
    ("binance_usdm", "BTCUSDT", captures.USDM_BTC_2023),
    *(("binance", "NEXOUSDT", path) for path in sorted(DATA.glob("hftbt_playground/raw/spot/*.gz"))),
    *(("binance", "ETHUSDT", path) for path in sorted(DATA.glob("hard/*.gz"))),
]


def read_in_parts(both, frames):
    """How many frames the scanner recognised, of frames that came in reads of 1 to 60."""
    chance, start, recognised = random.Random(7), 0, 0
    while start < len(frames):
        many = chance.choice((1, 1, 2, 3, 10, 60))
        recognised += sum(both.read(frames[start : start + many])[1])
        start += many
    return recognised


@pytest.mark.parametrize("venue,symbol,path", STAMPED, ids=lambda value: getattr(value, "name", value))
def test_every_frame_of_a_capture_gives_the_same_bytes(venue, symbol, path):
    if not path.exists():
        pytest.skip(f"no {path.name} in {DATA} (TICKMESH_DATA)")
    frames = [message.frame for message in captures.stamped(path) if message.direction == "received"]
    recognised = read_in_parts(BothWays(venue, [Instrument(symbol, venue), Instrument("BNBUSDT", venue)]), frames)
    assert recognised > 0.8 * len(frames) or path.parent.name == "hard", (recognised, len(frames))


@needs(captures.SAMPLES)
@pytest.mark.parametrize("venue,least", [("OKX", 0.8), ("BINANCE", 0.9), ("BINANCE_FUTURES", 0.5)])
def test_samples_of_several_instruments_give_the_same_bytes(venue, least):
    frames = [message.frame for message in captures.sample(venue) if message.direction == "received"]
    both = BothWays(ADAPTERS[venue], instruments(venue))
    recognised = sum(both.read([frame])[1][0] for frame in frames)
    assert recognised >= least * len(frames), (recognised, len(frames))
    read_in_parts(both, frames)


@needs(captures.LASOTA)
@pytest.mark.parametrize("stream", ["difference_depth", "trade"])
def test_of_the_twins_both_give_the_same_bytes(stream):
    """Times in µs; in the negative one prices of 0 and −1, other symbols and broken ids."""
    for twin in ("positive", "negative"):
        frames = [message.frame for message in captures.lasota(stream, twin)]
        recognised = read_in_parts(BothWays("binance", [Instrument("TRXUSDT", "binance")]), frames)
        assert recognised > 0.5 * len(frames), (stream, twin, recognised, len(frames))


@needs(captures.RAW_MESSAGES)
@pytest.mark.parametrize("name,venue", [("binance", "binance"), ("binance_usdm", "binance"), ("okx", "okx")])
def test_single_messages_of_another_project_give_the_same_bytes(name, venue):
    frames = [row["raw"].encode() for row in captures.raw_messages(venue)]
    trees = [json.loads(frame) for frame in frames]
    symbols = {tree["arg"].get("instId") for tree in trees if "arg" in tree} if venue == "okx" else {"BTCUSDT", "ETHUSDT"}
    both = BothWays(name, [Instrument(symbol, name) for symbol in sorted(symbols - {None})])
    assert sum(both.read([frame])[1][0] for frame in frames) >= 1
