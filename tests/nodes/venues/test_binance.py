"""The Binance adapter: exact numbers, every frame of the captures against a naive parse, books, signing, errors."""

import gzip
import json
import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.places import DATA
from tickmesh.bus.schema import DTYPES, INTENT, Action, Flag, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.bus.wire import encode
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.venues import binance, binance_orders
from tickmesh.nodes.venues.books.booksync import HELD_NS, RECV_NS_AT, Answer, BookSync
from tickmesh.nodes.venues.parsing import decimals
from tickmesh.nodes.venues.private import read_private

BTC_08 = DATA / "hftbacktest/spot/btcusdt_20240808.gz"
BTC_09 = DATA / "hftbacktest/spot/btcusdt_20240809.gz"
NEXO_23 = DATA / "hftbt_playground/raw/spot/nexousdt_20240723.dat.gz"
NEXO_24 = DATA / "hftbt_playground/raw/spot/nexousdt_20240724.dat.gz"
VECTORS = DATA / "vectors/signing_and_checksum_vectors.json"
BTC = Instrument(symbol="BTCUSDT")
ROUTES = binance.routes([BTC])
MAX = (1 << 63) - 1


def needs(*paths):
    missing = [path.name for path in paths if not path.is_file()]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} in {DATA} (TICKMESH_DATA)")


def lines(path):
    with gzip.open(path) as file:
        for line in file:
            yield line.rstrip(b"\n").split(b" ", 1)[1]


# Decimals


@given(st.integers(0, MAX), st.integers(-18, 0))
def test_text_and_back_is_the_same_mantissa(value, exponent):
    shown = decimals.text(value, exponent)
    assert decimals.mantissa(shown, exponent) == value
    assert Decimal(shown) == Decimal(value).scaleb(exponent)


@given(st.decimals(0, 10**8, places=8), st.integers(-10, -8))
def test_the_venue_s_fixed_form_is_read_exactly(value, exponent):
    assert decimals.mantissa(f"{value:.8f}", exponent) == int(value.scaleb(-exponent))


@given(st.text(st.sampled_from("0123456789.-+_ eE٣x"), max_size=24), st.integers(-10, 0))
def test_any_text_is_read_as_decimal_reads_it_or_refused(text, exponent):
    try:
        value = decimals.mantissa(text, exponent)
    except decimals.DecimalError:
        return
    assert Decimal(text).scaleb(-exponent) == value
    assert set(text) <= set("0123456789.")


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1.00000000", "+1", "1_0.00000000", " 1", "1e5", "NaN", "1.000000001", "٣.00000000",
             "92233720368.54775808", "1" * 200],
)  # fmt: skip
def test_what_is_no_number_or_does_not_fit_is_refused(text):
    with pytest.raises(decimals.DecimalError):
        decimals.mantissa(text, -8)


def test_the_largest_number_that_the_venue_shows_fits():
    assert decimals.mantissa("92233720368.54775807", -8) == MAX


@given(st.lists(st.tuples(st.integers(1, 10**18 - 1), st.integers(0, 10**18 - 1)), min_size=1, max_size=40))
def test_many_levels_at_once_are_the_same_as_one_by_one(levels):
    pairs = [(f"{p // 10**8}.{p % 10**8:08d}", f"{q // 10**8}.{q % 10**8:08d}") for p, q in levels]
    at_once = decimals.level_words_at_once(json.dumps(pairs, separators=(",", ":")).encode(), -8, -8, -1)
    assert at_once.ravel().tolist() == decimals.level_words(pairs, -8, -8, -1, [])


@given(st.data())
def test_many_levels_of_fewer_decimals_are_the_same_too(data):
    """USD-M sends two decimals of a price and three of a quantity, or none."""
    p, q = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 8))
    levels = data.draw(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=30))
    pairs = [(decimals_text(price, p), decimals_text(quantity, q)) for price, quantity in levels]
    at_once = decimals.level_words_at_once(json.dumps(pairs, separators=(",", ":")).encode(), -8, -8, 1)
    if at_once is not None:
        assert at_once.ravel().tolist() == decimals.level_words(pairs, -8, -8, 1, [])
    else:
        assert max(max(level) for level in levels) * 10 ** (8 - min(p, q)) >= 10**17, "only what might not fit"


def decimals_text(value, places):
    """`value` × 10^−places with all its places."""
    return f"{value // 10**places}.{value % 10**places:0{places}d}" if places else str(value)


def test_many_levels_in_another_form_are_left_to_the_careful_reader():
    for text in (
        b'[["1.5","2.00000000"],["1.25","2.00000000"]]', b'[["1.00000000","-2.00000000"]]', b"[[1,2]]",
        b'[["1.00000000","2.00000000"],]', b'[["1.000000000","2.00000000"]]', b"[]", b'[["1","2"],["3","4.5"]]',
        b'[["99999999999.0","1.0"]]',
    ):  # fmt: skip
        assert decimals.level_words_at_once(text, -8, -8, 1) is None


# Frames


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


@needs(BTC_08, NEXO_23)
@pytest.mark.data
@pytest.mark.parametrize("path,symbol", [(BTC_08, "BTCUSDT"), (NEXO_23, "NEXOUSDT")])
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


@given(st.binary(max_size=60), st.integers(0, 170), st.integers(0, 170), st.sampled_from([TRADE, DEPTH, QUOTE]))
def test_damaged_frames_never_raise_anything_else(noise, start, end, frame):
    damaged = frame[:start] + noise + frame[end:]
    try:
        events = binance.decode(damaged, 0, ROUTES)
    except binance.FrameError:
        return
    assert events == [] or len(events) == 1


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


# Books


def change(first, last):
    return encode(Kind.depth, "binance.BTCUSDT", np.zeros(1, DTYPES[Kind.depth]), first_id=first, last_id=last), first, last


def image(last):
    return encode(Kind.depth, "binance.BTCUSDT", np.zeros(1, DTYPES[Kind.depth]), last_id=last, flags=Flag.SNAPSHOT), last


def names(said):
    """`11-20` for a change, `S20` for a snapshot."""
    decoded = [event_of(event) for event in said]
    return [f"S{e.last_id}" if e.flags & Flag.SNAPSHOT else f"{e.first_id}-{e.last_id}" for e in decoded]


def test_a_change_that_ended_exactly_at_the_snapshot_is_enough():
    book = BookSync()
    assert names(book.change(*change(11, 20))) == ["11-20"]
    answer, said = book.snapshot(*image(20))
    assert answer is Answer.USED and names(said) == ["S20"]
    assert event_of(said[-1]).first_id == 21
    assert names(book.change(*change(21, 25))) == ["21-25"]
    assert book.resyncs == 0


def test_a_snapshot_ahead_is_held_and_one_behind_is_asked_for_again():
    book = BookSync()
    book.change(*change(11, 20))
    assert book.snapshot(*image(9)) == (Answer.TOO_OLD, [])
    assert book.wants_snapshot
    assert book.snapshot(*image(30)) == (Answer.HELD, [])
    assert not book.wants_snapshot
    assert names(book.change(*change(21, 29))) == ["21-29"]
    assert names(book.change(*change(30, 33))) == ["30-33", "S30"], "older than the change that straddles it"
    book = BookSync()
    book.change(*change(11, 20))
    assert book.snapshot(*image(10))[0] is Answer.USED  # U = L + 1 is contiguous


@pytest.mark.parametrize("absurd", [False, True])
def test_two_lower_changes_that_go_on_begin_a_book_anew(absurd):
    book = BookSync()
    book.change(*change(501, 510))
    book.snapshot(*image(510))
    assert book.synced
    if absurd:  # one id out of all proportion: the true ones after it are lower, too
        book.change(*change(10**12, 10**12 + 5))
    book.change(*change(499, 500))
    assert book.synced is not absurd, "one late copy says nothing"
    book.change(*change(11, 20))
    book.change(*change(21, 25))
    assert book.wants_snapshot
    assert book.snapshot(*image(22))[0] is Answer.USED


def test_a_snapshot_that_the_stream_does_not_reach_is_given_up():
    book = BookSync()
    book.change(*change(11, 20))
    assert book.snapshot(*image(10**12)) == (Answer.HELD, [])
    late, first, last = change(21, 30)
    struct.pack_into("<q", late, RECV_NS_AT, HELD_NS + 1)
    assert names(book.change(late, first, last)) == ["21-30"] and book.wants_snapshot


@given(st.data())
def test_every_change_comes_out_at_once_and_a_snapshot_only_within_a_whole_chain(data):
    """Whatever is skipped, repeated, snapshotted or cut: from a snapshot's id on no hole is in what was said before it."""
    book, said, at, chain = BookSync(), [], 0, []
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["next", "next", "next", "skip", "repeat", "snapshot", "disconnect"]))
        if action in ("next", "skip") or (action == "repeat" and chain):
            first = at + 1 + (data.draw(st.integers(1, 3)) if action == "skip" else 0)
            ids = chain[-1] if action == "repeat" else (first, first + data.draw(st.integers(0, 3)))
            chain = [ids] if action == "skip" or not chain else [*chain, ids]
            at = ids[1]
            out = names(book.change(*change(*ids)))
            assert out[0] == f"{ids[0]}-{ids[1]}"
            said = out[1:]
        elif action == "snapshot" and book.wants_snapshot:
            said = names(book.snapshot(*image(max(0, at + data.draw(st.integers(-6, 6)))))[1])
        elif action == "disconnect":
            said, chain = book.disconnected(), []
        for text in said:
            assert chain[0][0] <= int(text[1:]) + 1 <= at + 1
        said = []


def apply(book, record):
    side = book[int(record["side"])]
    if record["quantity_lots"]:
        side[int(record["price_ticks"])] = int(record["quantity_lots"])
    else:
        side.pop(int(record["price_ticks"]), None)


@needs(BTC_08)
@pytest.mark.data
def test_the_book_equals_best_bid_and_ask_at_every_equal_update_id():
    arbiter, sync, book, last_id, ticker, equal, compared = Arbiter(1), BookSync(), None, 0, {}, 0, 0
    frames = list(lines(BTC_08))
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


# The private side


@needs(VECTORS)
@pytest.mark.data
def test_signatures_are_those_of_the_venue_s_documentation():
    for vector in json.loads(VECTORS.read_text()):
        if vector["name"].startswith("binance"):
            assert binance_orders.sign(vector["secret"], vector["payload"]) == vector["expected"], vector["name"]


def test_websocket_payloads_are_sorted_and_booleans_lower_case():
    params = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00",
    }  # fmt: skip
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    signed = binance_orders.signed_params(params, key, secret, 1645423376532, 100)
    assert signed["signature"] == "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    other = {"apiKey": "key", "orderId": 28, "recvWindow": 10000, "returnRateLimits": False, "symbol": "BTCUSDT",
             "timestamp": 1795328476012}  # fmt: skip
    assert binance_orders.sign("secret", binance_orders.ws_payload(other)).startswith("477e830413c441a0e45b")


def test_a_rest_query_is_encoded_before_it_is_signed():
    query = binance_orders.signed_query({"symbol": "１２３"}, "secret", 1, 5000)
    payload, _, signature = query.rpartition("&signature=")
    assert payload == "symbol=%EF%BC%91%EF%BC%92%EF%BC%93&recvWindow=5000&timestamp=1"
    assert signature == binance_orders.sign("secret", payload)


def intent(**values):
    record = np.zeros(1, INTENT)
    defaults = {"client_order_id": b"id-1", "action": Action.NEW, "side": 1, "order_type": OrderType.LIMIT,
                "time_in_force": TimeInForce.IOC, "price_ticks": 6183763000000, "quantity_lots": 100000}  # fmt: skip
    for name, value in {**defaults, **values}.items():
        record[name] = value
    return record[0]


def test_intents_become_requests_with_exact_numbers():
    method, params = binance_orders.order_request(intent(), BTC)
    assert method == "order.place"
    assert params == {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.001", "price": "61837.63",
                      "timeInForce": "IOC", "newClientOrderId": "id-1", "newOrderRespType": "FULL"}  # fmt: skip
    _, params = binance_orders.order_request(intent(order_type=OrderType.MARKET, side=-1, price_ticks=0), BTC)
    assert params["side"] == "SELL" and "price" not in params and "timeInForce" not in params
    _, params = binance_orders.order_request(intent(order_type=OrderType.LIMIT_MAKER), BTC)
    assert "timeInForce" not in params and params["price"] == "61837.63"
    method, params = binance_orders.order_request(intent(action=Action.CANCEL, target_id=b"id-0"), BTC)
    assert (method, params) == ("order.cancel", {"symbol": "BTCUSDT", "origClientOrderId": "id-0"})
    for name in ("side", "action", "order_type", "quantity_lots", "price_ticks", "time_in_force"):
        senseless = {name: 0}
        with pytest.raises(binance_orders.IntentError):
            binance_orders.order_request(intent(**senseless), BTC)


@pytest.mark.parametrize(
    "status,code,message,proves",
    [(400, -2010, "Account has insufficient balance for requested action.", True), (400, -1013, "Filter failure", True),
     (429, -1015, "Too many new orders", True), (400, -1021, "outside of the recvWindow", True),
     (400, -2010, "Duplicate order sent.", False), (503, -1007, "Timeout", False), (400, -1006, "", False),
     (500, 0, "<html>", False), (503, -1008, "overloaded", False), (400, -1001, "Internal error", False)],
)  # fmt: skip
def test_only_errors_that_prove_it_reject_an_order(status, code, message, proves):
    assert binance_orders.definite(status, code, message) is proves


REPORT = {"e": "executionReport", "E": 1, "s": "BTCUSDT", "c": "mine", "S": "SELL", "x": "TRADE", "X": "PARTIALLY_FILLED",
          "i": 9, "l": "0.50000000", "L": "100.00000000", "z": "0.75000000", "T": 1700000000000, "t": 77, "C": "", "r": "NONE",
          "n": "0.00010000", "N": "BNB", "m": True}  # fmt: skip


def private(**values):
    return read_private(json.dumps(REPORT | values).encode(), {"BTCUSDT": BTC}, 5)


def test_an_execution_report_is_a_state_and_a_fill():
    report, balances, ended = private()
    assert (report.client_order_id, report.status, report.filled_lots) == ("mine", Status.PartiallyFilled, 75_000_000)
    (fill,) = report.fills
    assert (fill.trade_id, fill.side, fill.price_ticks, fill.quantity_lots) == (77, -1, 10**10, 5 * 10**7)
    assert (fill.fee, fill.fee_asset, fill.maker) == (10_000, "BNB", True)
    assert not balances and not ended


def test_a_cancel_s_report_is_about_the_order_not_about_the_cancel():
    report, _, _ = private(x="CANCELED", X="CANCELED", c="the-cancel", C="mine", t=-1, N=None, n="0")
    assert (report.client_order_id, report.status, report.fills) == ("mine", Status.Canceled, [])
    assert private(X="EXPIRED_IN_MATCH", x="EXPIRED", t=-1)[0].status == Status.Expired


def test_balances_and_the_end_of_the_stream():
    position = {"e": "outboundAccountPosition", "E": 1700000000000, "u": 1, "B": [{"a": "BTC", "f": "1.5", "l": "0.00000001"}]}
    _, (event,), _ = read_private(json.dumps(position).encode(), {}, 5)
    assert event_of(event).records.tolist() == [(b"BTC", 150_000_000, 1, 1700000000000 * 10**6, 0)]
    assert read_private(b'{"e":"eventStreamTerminated","E":1}', {}, 5) == (None, [], True)
    assert read_private(b'{"e":"balanceUpdate","E":1}', {}, 5) == (None, [], False)
    with pytest.raises(decimals.DecimalError, match="unknown"):
        private(X="SOMETHING_NEW")


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
