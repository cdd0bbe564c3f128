"""Trades and best prices in the venue's own spelling are read the quick way, with the result of the careful one."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.support.venue_samples import SAMPLES, instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.table import adapter_of

DIGITS = st.decimals(0, 10**7, places=4).map(lambda value: f"{value:.4f}")
IDS = st.integers(1, 10**13)
TIMES = st.integers(1, 9 * 10**12) | st.integers(1_500_000_000_000_000, 1_900_000_000_000_000)


def spelled_otherwise(frame):
    """The same JSON with other spacing: it does not match the usual form."""
    return json.dumps(json.loads(frame)).encode()


def same_both_ways(name, frame):
    adapter = adapter_of(name)
    results = []
    for text in (frame, spelled_otherwise(frame)):
        try:
            results.append(adapter.decode(text, 9, adapter.routes([instrument(name)])))
        except FrameError:
            results.append("refused")
    assert results[0] == results[1]
    return results[0]


@given(IDS, DIGITS, DIGITS, TIMES, TIMES, st.booleans())
def test_a_trade_is_read_the_same_quickly_and_carefully(trade_id, price, quantity, time, event_time, sold):
    flag = b"true" if sold else b"false"
    head = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,'
    spot = head + b'"s":"BTCUSDT","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}}'
    usdm = head + b'"T":%d,"s":"BTCUSDT","t":%d,"p":"%s","q":"%s","X":"MARKET","m":%s}}'
    p, q = price.encode(), quantity.encode()
    one = same_both_ways("binance", spot % (event_time, trade_id, p, q, time, flag))
    two = same_both_ways("binance_usdm", usdm % (event_time, time, trade_id, p, q, flag))
    assert usual("binance", spot % (event_time, trade_id, p, q, time, flag)), "the quick way was gone"
    if not Decimal(price) or not Decimal(quantity):
        assert one == two == "refused"
        return
    for events in (one, two):
        (record,) = event_of(events[0]).records
        assert record["price_ticks"] == Decimal(price).scaleb(8) and record["quantity_lots"] == Decimal(quantity).scaleb(8)
        assert (record["trade_id"], record["side"]) == (trade_id, -1 if sold else 1)
        assert record["venue_ns"] == time * (10**6 if time < 10**14 else 10**3)


@given(IDS, st.tuples(DIGITS, DIGITS, DIGITS, DIGITS), TIMES, TIMES)
def test_a_best_price_is_read_the_same_quickly_and_carefully(number, texts, time, event_time):
    b, bs, a, as_ = (text.encode() for text in texts)
    spot = b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%s","B":"%s","a":"%s","A":"%s"}}'
    usdm = (
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"%s","B":"%s","a":"%s","A":"%s",'
        b'"T":%d,"E":%d}}'
    )
    one = same_both_ways("binance", spot % (number, b, bs, a, as_))
    two = same_both_ways("binance_usdm", usdm % (number, b, bs, a, as_, time, event_time))
    want = [number, *(int(Decimal(text).scaleb(8)) for text in texts)]
    assert [list(event_of(events[0]).records[0].tolist())[:5] for events in (one, two)] == [want, want]


def usual(name, frame):
    stream = frame[11 : frame.find(b'"', 11)].decode()
    return adapter_of(name).routes([instrument(name)])[stream][1].usual(frame)


def test_the_captured_spellings_go_the_quick_way():
    for name in ("binance", "binance_usdm"):
        for frame in SAMPLES[name][:2]:
            assert usual(name, frame)
