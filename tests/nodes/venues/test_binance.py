"""Every frame of Binance says what a naive parser reads in it, and the book of its changes is that of its best prices."""

import gzip
import json
from decimal import Decimal

import pytest

from tests.support.captures import SPOT_BTC, needs
from tests.support.places import DATA
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.books.booksync import BookSync

NEXO_23 = DATA / "hftbt_playground/raw/spot/nexousdt_20240723.dat.gz"
BTC = Instrument(symbol="BTCUSDT")
ROUTES = binance.routes([BTC])


def lines(path):
    with gzip.open(path) as file:
        for line in file:
            yield line.rstrip(b"\n").split(b" ", 1)[1]


def naive(frame, recv_ns, symbol):
    """What a frame says, by json and Decimal: (kind, first_id, last_id, venue_ns, records)."""

    def number(text):
        value = Decimal(text).scaleb(8)
        assert value == int(value)
        return int(value)

    tree = json.loads(frame)
    data = tree["data"]
    assert data["s"] == symbol
    match tree["stream"].partition("@")[2]:
        case "trade":
            record = (data["t"], number(data["p"]), number(data["q"]), data["T"] * 10**6, data["E"] * 10**6,
                      -1 if data["m"] else 1, b"")  # fmt: skip
            return Kind.trade, data["t"], data["t"], data["E"] * 10**6, [record]
        case "bookTicker":
            record = (data["u"], number(data["b"]), number(data["B"]), number(data["a"]), number(data["A"]), 0)
            return Kind.quote, data["u"], data["u"], 0, [record]
        case "depth@100ms":
            levels = [(number(p), number(q), side, b"") for rows, side in ((data["b"], 1), (data["a"], -1)) for p, q in rows]
            return Kind.depth, data["U"], data["u"], data["E"] * 10**6, levels or [(0, 0, 0, b"")]
    raise AssertionError(tree["stream"])


@needs(SPOT_BTC, NEXO_23)
@pytest.mark.data
@pytest.mark.parametrize("path,symbol", [(SPOT_BTC, "BTCUSDT"), (NEXO_23, "NEXOUSDT")])
def test_every_frame_of_a_capture_says_what_a_naive_parser_reads(path, symbol):
    routes = binance.routes([Instrument(symbol=symbol)])
    seen = 0
    for frame in lines(path):
        if b"lastUpdateId" in frame[:16]:
            continue
        (said,) = binance.decode(frame, 7, routes)
        event = event_of(said)
        assert (event.kind, event.first_id, event.last_id, event.venue_ns, event.records.tolist()) == naive(frame, 7, symbol)
        assert (event.recv_ns, event.subject, event.flags) == (7, f"binance.{symbol}", 0)
        seen += 1
    assert seen == {"BTCUSDT": 41_248, "NEXOUSDT": 1_803}[symbol]


TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":5,"p":"61837.63000000",'
    b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":7,"u":9,'
    b'"b":[["1.00000000","2.00000000"]],"a":[]}}'
)
QUOTE = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.54698000"}}'
)


def test_milliseconds_and_microseconds_are_told_apart():
    micro = TRADE.replace(b"1723161255343", b"1723161255343123").replace(b"1723161255342", b"1723161255342123")
    (a,), (b,) = binance.decode(TRADE, 0, ROUTES), binance.decode(micro, 0, ROUTES)
    assert event_of(a).records["venue_ns"][0] == 1723161255342 * 10**6
    assert event_of(b).records["venue_ns"][0] == 1723161255342123 * 10**3


def test_spacing_and_order_of_keys_do_not_matter():
    tree = json.loads(DEPTH)
    for other in (json.dumps(tree), json.dumps({"data": tree["data"], "stream": tree["stream"]})):
        assert binance.decode(other.encode(), 3, ROUTES) == binance.decode(DEPTH, 3, ROUTES)


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"{", b"garbage", b"[]", b"1", b'{"stream":"btcusdt@trade"}', b'{"stream":"btcusdt@trade","data":{}}', b"\xff\xfe",
        b'{"stream":"ethusdt@trade","data":{}}', b"{}", TRADE[:-1], TRADE + b"x",
        TRADE.replace(b'"BTCUSDT"', b'"ETHUSDT"'), TRADE.replace(b'"61837.63000000"', b"61837.63"),
        TRADE.replace(b"61837.63000000", b"-61837.63000000"), TRADE.replace(b"61837.63000000", b"0.00000000"),
        TRADE.replace(b"0.02000000", b"0.020000001"), TRADE.replace(b'"t":5', b'"t":"5"'),
        TRADE.replace(b'"t":5', b'"t":99999999999999999999'), TRADE.replace(b'"m":true', b'"m":null'),
        DEPTH.replace(b'"U":7', b'"U":10'), DEPTH.replace(b'"2.00000000"', b'"x"'),
        DEPTH.replace(b'"1.00000000"', b'"0.00000000"'),
        DEPTH.replace(b'["1.00000000","2.00000000"]', b'["1.00000000"]'),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_a_sentence_not_an_event(frame):
    with pytest.raises(binance.FrameError) as error:
        binance.decode(frame, 0, ROUTES)
    assert len(str(error.value)) > 10


def test_control_messages_give_no_event():
    for frame in (
        b'{"result":null,"id":1}',
        b'{"code":2,"msg":"Invalid request"}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
        b'{"e":"serverShutdown","E":1}',
    ):
        assert binance.decode(frame, 0, ROUTES) == []
    assert binance.control(b'{"result":null,"id":1}').acknowledged
    assert not binance.control(b'{"code":2,"msg":"Invalid request","id":1}').acknowledged
    assert binance.control(b'{"e":"serverShutdown","E":1}').shutdown


def test_an_empty_change_is_one_record_without_a_side():
    (said,) = binance.decode(DEPTH.replace(b'["1.00000000","2.00000000"]', b""), 0, ROUTES)
    assert event_of(said).records.tolist() == [(0, 0, 0, b"")]


def apply(book, record):
    side = book[int(record["side"])]
    if record["quantity_lots"]:
        side[int(record["price_ticks"])] = int(record["quantity_lots"])
    else:
        side.pop(int(record["price_ticks"]), None)


@needs(SPOT_BTC)
@pytest.mark.data
def test_the_book_equals_best_bid_and_ask_at_every_equal_update_id():
    arbiter, sync, book, last_id, ticker, equal, compared = Arbiter(1), BookSync(), None, 0, {}, 0, 0
    frames = list(lines(SPOT_BTC))
    for frame in frames:
        if frame.startswith(b'{"stream":"btcusdt@bookTicker"'):
            event = event_of(binance.decode(frame, 0, ROUTES)[0])
            ticker[event.last_id] = event.records[0]
    for frame in frames:
        if b"lastUpdateId" in frame[:16]:
            last_update_id, snapshot = binance.decode_snapshot(frame, 0, BTC)
            said = sync.snapshot(snapshot, last_update_id)[1]
        elif b"@depth" in frame[:40]:
            (raw,) = binance.decode(frame, 0, ROUTES)
            event = event_of(raw)
            said = sync.change(raw, event.first_id, event.last_id)
        else:
            continue
        logged = [one for raw in said for one in arbiter.offer(Kind.depth, BTC.subject, "feed-1", 0, raw, 0)]
        for raw in logged:
            event = event_of(raw)
            if event.flags & Flag.SNAPSHOT:
                book, last_id = {1: {}, -1: {}}, event.last_id
            elif book is None or event.last_id <= last_id:
                continue
            else:
                assert event.first_id <= last_id + 1
                last_id = event.last_id
            for record in event.records:
                apply(book, record)
            if (best := ticker.get(event.last_id)) is not None and not event.flags & Flag.SNAPSHOT:
                compared += 1
                bid, ask = max(book[1]), min(book[-1])
                equal += (bid, book[1][bid], ask, book[-1][ask]) == (
                    best["bid_ticks"], best["bid_lots"], best["ask_ticks"], best["ask_lots"],
                )  # fmt: skip
    assert (equal, compared, sync.resyncs) == (564, 564, 0)


def test_exchange_info_becomes_the_definition():
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "stepSize": "0.00001000"},
        {"filterType": "MIN_NOTIONAL", "minNotional": "5.00000000"},
        {"filterType": "ONE_OF_TOMORROW", "limit": 3},
    ]
    body = json.dumps({"symbols": [{"symbol": "BTCUSDT", "filters": filters}]}).encode()
    event = event_of(binance.decode_definition(body, 1, BTC))
    assert event.records.tolist() == [(-8, -8, 1_000_000, 1_000, 1_000, 500_000_000, 0)]
    with pytest.raises(binance.FrameError, match="no symbol"):
        binance.decode_definition(b'{"symbols":[]}', 1, BTC)


def test_the_packed_records_have_the_schema_s_layout():
    (said,) = binance.decode(TRADE, 0, ROUTES)
    record = event_of(said).records[0]
    assert record.tolist() == (5, 6183763000000, 2_000_000, 1723161255342 * 10**6, 1723161255343 * 10**6, -1, b"")
    (said,) = binance.decode(QUOTE, 0, ROUTES)
    assert event_of(said).records[0].tolist() == (50093239212, 6183763000000, 378826000, 6183764000000, 154698000, 0)
