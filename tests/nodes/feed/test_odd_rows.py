"""One odd row among good ones: named in a sentence, and never the price of the others, of a whole frame or of a book."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.venues.parsing.dialect import FrameError, OddRows
from tickmesh.nodes.venues.table import adapter_of

SYMBOLS = {"binance": "BTCUSDT", "binance_usdm": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD", "kraken_v1": "XBT/USD",
           "okx": "BTC-USDT"}  # fmt: skip
EXPONENTS = {"kraken_v1": (-1, -8)}
HUGE = "9" * 25
YEARS = ("0001-01-01T00:00:00.000000Z", "2300-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "yesterday")


def instrument(name):
    price, quantity = EXPONENTS.get(name, (-8, -8))
    return Instrument(symbol=SYMBOLS[name], venue=name, price_exponent=price, quantity_exponent=quantity)


def compact(tree) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


# Frames of several trades: rows → frame, a good row of a number, and what may be odd about one.


def kraken_frame(rows):
    return compact({"channel": "trade", "type": "update", "data": rows})


def kraken_row(number):
    return {"symbol": "BTC/USD", "side": "buy", "price": 100.5, "qty": 0.1, "trade_id": number,
            "timestamp": "2026-01-01T00:00:00.5Z"}  # fmt: skip


def v1_frame(rows):
    return compact([1, rows, "trade", "XBT/USD"])


def v1_row(number):
    return ["100.5", f"0.{number:08}", "1700000000.5", "b", "l", ""]


def okx_frame(rows):
    return compact({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": rows})


def okx_row(number):
    return {"instId": "BTC-USDT", "tradeId": str(number), "px": "100.5", "sz": "0.1", "side": "buy", "ts": "1700000000000"}


TRADES = {
    "kraken": (kraken_frame, kraken_row, {
        "timestamp": YEARS, "price": (-1.5, 0, 1e30, None, "x"), "qty": (-1, 0, 1e30), "trade_id": (-1, 1 << 70, "7", None),
        "side": ("?", None), "symbol": ("NO/PAIR", "X" * 40, None),
    }),
    "okx": (okx_frame, okx_row, {
        "ts": (HUGE, "9" * 19, "-1", "x"), "px": ("-1.5", "0", HUGE, None, "x"), "sz": ("-1", "0", HUGE),
        "tradeId": ("-1", HUGE, 7), "side": ("?", None),
    }),
    "kraken_v1": (v1_frame, v1_row, {
        0: ("-1.5", "0", HUGE, None, "x"), 1: ("-1", "0", HUGE), 2: ("99999999999.5", "-1", "x"), 3: ("?", None),
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", TRADES)
@given(data=st.data())
def test_an_odd_trade_costs_no_other_of_its_message(name, data):
    frame, row, odds = TRADES[name]
    good = [row(number) for number in range(1, data.draw(st.integers(1, 5)) + 1)]
    odd = row(99)
    field = data.draw(st.sampled_from(sorted(odds)))
    odd[field] = data.draw(st.sampled_from(odds[field]))
    at = data.draw(st.integers(0, len(good)))
    adapter, one = adapter_of(name), instrument(name)
    whole = [event_of(event) for event in adapter.decode(frame(good), 10**18, adapter.routes([one]))]
    with pytest.raises(OddRows) as refusal:
        adapter.decode(frame(good[:at] + [odd] + good[at:]), 10**18, adapter.routes([one]))
    said = [event_of(event) for event in refusal.value.readable]
    flat = [record for event in said for record in event.records.tolist()]
    assert flat == [record for event in whole for record in event.records.tolist()]
    assert refusal.value.subject == "" and len(str(refusal.value)) > 10


# Books: (price, size) texts of bids → frame. The last two are REST's.


def binance_book(bids, stamp):
    data = {"e": "depthUpdate", "E": stamp, "s": "BTCUSDT", "U": 5, "u": 9, "b": bids, "a": [["200.0", "1.0"]]}
    return compact({"stream": "btcusdt@depth@100ms", "data": data})


def usdm_book(bids, stamp):
    data = {
        "e": "depthUpdate",
        "E": stamp,
        "T": stamp,
        "s": "BTCUSDT",
        "U": 5,
        "u": 9,
        "pu": 4,
        "b": bids,
        "a": [["200.0", "1.0"]],
    }
    return compact({"stream": "btcusdt@depth@100ms", "data": data})


def coinbase_book(bids, stamp):
    return compact({"type": "snapshot", "product_id": "BTC-USD", "asks": [["200.0", "1.0"]], "bids": bids, "time": stamp})


def coinbase_change(bids, stamp):
    changes = [["sell", "200.0", "1.0"], *(["buy", *level] for level in bids)]
    return compact({"type": "l2update", "product_id": "BTC-USD", "changes": changes, "time": stamp})


def kraken_book(bids, stamp):
    levels = ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in bids)
    return (
        f'{{"channel":"book","type":"update","data":[{{"symbol":"BTC/USD","bids":[{levels}],"asks":[{{"price":200.0,'
        f'"qty":1.0}}],"checksum":1,"timestamp":"{stamp}"}}]}}'
    ).encode()


def v1_book(bids, stamp):
    level = [[price, size, stamp] for price, size in bids]
    return compact([1, {"a": [["200.0", "1.00000000", "1700000000.5"]]}, {"b": level, "c": "1"}, "book-25", "XBT/USD"])


def okx_book(bids, stamp):
    data = {"asks": [["200.0", "1.0", "0", "1"]], "bids": [[*level, "0", "1"] for level in bids], "ts": stamp, "checksum": 0,
            "prevSeqId": 4, "seqId": 9}  # fmt: skip
    return compact({"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": "update", "data": [data]})


BOOKS = {
    "binance": (binance_book, 1_700_000_000_000, (10**30, -5)),
    "binance_usdm": (usdm_book, 1_700_000_000_000, (10**30, -5)),
    "coinbase": (coinbase_book, "2026-01-01T00:00:00Z", YEARS),
    "coinbase change": (coinbase_change, "2026-01-01T00:00:00Z", YEARS),
    "kraken": (kraken_book, "2026-01-01T00:00:00Z", YEARS),
    "kraken_v1": (v1_book, "1700000000.5", ("99999999999.5", "x")),
    "okx": (okx_book, "1700000000000", (HUGE, "9" * 19, "x")),
}
ODD_LEVELS = (("-100.0", "1.00000000"), ("0.0", "1.00000000"), (f"{HUGE}.0", "1.00000000"), ("99.0", "-1.00000000"),
              ("99.0", f"{HUGE}.00000000"))  # fmt: skip


@pytest.mark.parametrize("case", BOOKS)
@given(data=st.data())
def test_an_odd_level_or_time_costs_no_other_level_and_no_book(case, data):
    frame, stamp, odd_stamps = BOOKS[case]
    name = case.partition(" ")[0]
    adapter, one = adapter_of(name), instrument(name)
    good = [(f"{100 + number}.0", "1.00000000") for number in range(data.draw(st.integers(1, 30)))]
    odd, at = data.draw(st.sampled_from(ODD_LEVELS)), data.draw(st.integers(0, len(good)))
    (whole,) = map(event_of, adapter.decode(frame(good, stamp), 10**18, adapter.routes([one])))

    def refused(text):
        with pytest.raises(OddRows) as refusal:
            adapter.decode(text, 10**18, adapter.routes([one]))
        assert refusal.value.subject == ""
        (event,) = map(event_of, refusal.value.readable)
        return event

    event = refused(frame(good[:at] + [odd] + good[at:], stamp))
    removed = {99 * 10**-one.price_exponent} if odd[0] == "99.0" else set()  # what its size is, nobody knows
    levels = [record for record in event.records.tolist() if record[0] not in removed]
    assert levels == whole.records.tolist() and event.venue_ns == whole.venue_ns
    assert {r[1] for r in event.records.tolist() if r[0] in removed} <= {0}
    event = refused(frame(good, data.draw(st.sampled_from(odd_stamps))))
    assert event.records.tolist() == whole.records.tolist() and (event.first_id, event.last_id) == (
        whole.first_id,
        whole.last_id,
    )
    assert event.venue_ns == 0 or name == "kraken_v1", "a time of each level there"


def test_a_snapshot_by_rest_with_an_odd_level_is_a_book_all_the_same():
    bodies = {
        "binance": {"lastUpdateId": 9, "bids": [["1", "2"], ["-1", "2"]], "asks": [["3", "4"]]},
        "binance_usdm": {"lastUpdateId": 9, "E": 1, "bids": [["1", "2"], ["0", "2"]], "asks": [["3", "4"]]},
        "okx": {"code": "0", "data": [{"seqId": 9, "ts": "1", "bids": [["1", "2", "0", "1"], [HUGE, "2", "0", "1"]],
                                       "asks": [["3", "4", "0", "1"]]}]},
    }  # fmt: skip
    for name, body in bodies.items():
        adapter, one = adapter_of(name), instrument(name)
        with pytest.raises(OddRows) as refusal:
            adapter.decode_snapshot(compact(body), 1, one)
        (event,) = map(event_of, refusal.value.readable)
        assert event.flags & Flag.SNAPSHOT and event.last_id == 9
        assert [record[:3] for record in event.records.tolist()] == [(10**8, 2 * 10**8, 1), (3 * 10**8, 4 * 10**8, -1)]


def test_a_line_says_the_others_and_its_books_go_on():
    adapter, one = adapter_of("coinbase"), instrument("coinbase")
    reception = Reception("feed-1", adapter, [one], FeedSettings())
    source, _ = reception.open(1, 1)
    refused = []

    def heard(frame):
        outcome = reception.frames(source, 10**18, [frame])
        refused.extend(outcome.refused)
        return [event_of(event) for event in outcome.events]

    (book,) = heard(coinbase_book([["100.0", "1.0"], ["-1.0", "1.0"]], "0001-01-01T00:00:00Z"))
    assert book.count == 2 and book.flags & Flag.SNAPSHOT and len(refused) == 1
    match = {"type": "match", "trade_id": 5, "product_id": "BTC-USD", "size": "1", "price": "-1", "side": "buy",
             "time": "2026-01-01T00:00:00Z"}  # fmt: skip
    assert heard(compact(match)) == [] and "below 0" in refused[1][0]
    (change,) = heard(coinbase_change([["99.0", "1.0"], ["0", "1"]], "2026-01-01T00:00:00Z"))
    assert change.kind == Kind.depth and change.count == 2
    assert reception.resyncs == 0 and reception.wanted_resubscriptions(source) == []
    with pytest.raises(FrameError) as refusal:  # a number that cannot be read at all is another matter: the change is lost
        adapter.decode(coinbase_change([["9x.0", "1.0"]], ""), 1, adapter.routes([one]))
    assert refusal.value.subject == one.subject and not isinstance(refusal.value, OddRows)
