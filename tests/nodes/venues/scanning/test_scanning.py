"""The scanner and the adapter give the same bytes, whatever a frame looks like: usual, spelled otherwise, damaged, absurd."""

import json
import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scanner import RECV_NS, BothWays, scanner_address
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.venues.scanning import scanner
from tickmesh.nodes.venues.table import adapter_of

VENUES = ("binance", "binance_usdm", "okx")
SYMBOLS = {"binance": "BTCUSDT", "binance_usdm": "BTCUSDT", "okx": "BTC-USDT"}
IDS = st.integers(1, 10**13) | st.integers(0, 10**20)
TIMES = st.integers(1, 9 * 10**12) | st.integers(1_500_000_000_000_000, 1_900_000_000_000_000) | st.integers(0, 10**20)
PLAIN = st.decimals(0, 10**7, places=4).map(lambda value: f"{value:.4f}")
DECIMALS = PLAIN | PLAIN | PLAIN | st.sampled_from(
    ["0", "1", "01.5", "1.", ".5", "", "-1.5", "1e5", "1.000000000", "1.0000000001", "98765432101.12345678", "1" * 40, "٣"]
)  # fmt: skip
LEVELS = st.lists(st.tuples(DECIMALS, DECIMALS), max_size=4)
PLAIN_LEVELS = st.lists(st.tuples(PLAIN, PLAIN), max_size=9)
VALUES = {
    "id": IDS, "first": IDS, "previous": IDS, "count": st.integers(0, 5) | IDS, "number": IDS, "event": TIMES, "at": TIMES,
    "event_ms": TIMES, "at_ms": TIMES, "sold": st.booleans(), "truth": st.booleans(), "side": st.sampled_from(["buy", "sell"]),
    "digits": st.sampled_from(["0", "7", "", "x"]), "checksum": st.integers(-(2**31), 2**31), "bids": LEVELS | PLAIN_LEVELS,
    "asks": LEVELS | PLAIN_LEVELS, "bids4": LEVELS | PLAIN_LEVELS, "asks4": LEVELS | PLAIN_LEVELS,
}  # fmt: skip


def instrument(venue):
    return Instrument(SYMBOLS[venue], venue)


def forms_of(venue):
    adapter = adapter_of(venue)
    forms = adapter.forms(adapter.routes([instrument(venue)]))
    return [(form.head, text) for form in forms.streams for text in form.texts]


def as_text(name, value):
    if isinstance(value, bool):
        return json.dumps(value)
    if name.startswith(("bids", "asks")):
        more = ["0", "12"] if name.endswith("4") else []
        return json.dumps([[*level, *more] for level in value], separators=(",", ":"))
    return str(value)


@st.composite
def usual(draw, venue):
    """A frame in one of the venue's forms, of values that may be absurd."""
    head, text = draw(st.sampled_from(forms_of(venue)))
    text = text.replace(b"<symbol>", SYMBOLS[venue].encode())
    names = [name.decode() for name in re.findall(rb"<(\w+)>", text)]
    for name in names:
        value = draw(VALUES.get(name, DECIMALS))
        text = text.replace(b"<%s>" % name.encode(), as_text(name, value).encode(), 1)
    return head + text


def otherwise(draw, frame):
    """The same JSON in another order, with spaces, with escapes or with more keys; or a damaged frame."""
    how = draw(
        st.sampled_from(["as it is", "as it is", "as it is", "order", "spaces", "escapes", "keys", "cut", "byte", "insert"])
    )
    if how in ("order", "spaces", "escapes", "keys"):
        try:
            tree = json.loads(frame)
        except ValueError:
            return frame
        if how == "order":
            tree = dict(reversed(tree.items()))
        if how == "keys":
            tree["more"] = [1, {"stream": "btcusdt@trade"}]
        text = json.dumps(tree, separators=(", ", ": ") if how == "spaces" else (",", ":")).encode()
        return text.replace(b"BTC", b"\\u0042TC") if how == "escapes" else text
    place = draw(st.integers(0, len(frame) - 1))
    if how == "cut":
        return frame[:place]
    if how == "byte":
        return frame[:place] + bytes([draw(st.sampled_from(b'0123456789.,:"[]{}-eE \x00\xff'))]) + frame[place + 1 :]
    if how == "insert":
        return frame[:place] + draw(st.binary(min_size=1, max_size=3)) + frame[place:]
    return frame


@st.composite
def reads(draw, venue):
    """Some reads of a socket, of some frames each."""
    frames = draw(st.lists(usual(venue), min_size=1, max_size=8))
    frames = [otherwise(draw, frame) for frame in frames]
    cut = draw(st.integers(0, len(frames)))
    return [part for part in (frames[:cut], frames[cut:]) if part]


@pytest.mark.parametrize("venue", VENUES)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_frames_give_the_same_bytes(venue, data):
    both = BothWays(venue, [instrument(venue)])
    for frames in data.draw(reads(venue)):
        both.read(frames)


def plain_frame(venue, head, text):
    """A frame in this form, of ordinary values."""
    values = {"count": "1", "side": "sell", "sold": "true", "truth": "true", "digits": "3", "checksum": "-914047754",
              "id": "5000", "first": "4001", "previous": "4000", "number": "77", "symbol": SYMBOLS[venue]}  # fmt: skip
    levels = {"bids": '[["10.5","2"],["10.4","0.00"]]', "bids4": '[["10.5","2","0","3"],["10.4","0.00","0","0"]]',
              "asks": '[["10.6","1.25"]]', "asks4": '[["10.6","1.25","0","12"],["10.7","3","0","1"]]'}  # fmt: skip
    times = dict.fromkeys(("event", "at", "event_ms", "at_ms"), "1723161255343")

    def value(match):
        name = match[1].decode()
        return (values | levels | times).get(name, "61837.63").encode()

    return head + re.sub(rb"<(\w+)>", value, text)


@pytest.mark.parametrize("venue", VENUES)
def test_every_form_is_recognised_and_other_spellings_of_it_are_read_all_the_same(venue):
    kinds = set()
    for head, text in forms_of(venue):
        frame = plain_frame(venue, head, text)
        both = BothWays(venue, [instrument(venue)])
        ((event,),), (recognised,) = both.read([frame])
        assert recognised, frame
        kinds.add(event_of(event).kind)
        tree = json.loads(frame)
        spellings = [json.dumps(tree).encode(), json.dumps(dict(reversed(tree.items()))).encode(), b" " + frame, frame + b" ",
                     json.dumps({**tree, "more": 1}, separators=(",", ":")).encode()]  # fmt: skip
        for other in spellings:
            ((same,),), (recognised,) = both.read([other])
            assert not recognised and same == event, other
    assert kinds == {Kind.trade, Kind.quote, Kind.depth}


def test_an_id_that_stands_for_no_trade_counts_for_the_trades_behind_it():
    """Its frame goes the exact way, and what comes after it in the same read or the next one knows of it."""
    both = BothWays("binance_usdm", [instrument("binance_usdm")])
    frame = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":%d,'
        b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
    )
    void = (frame % 8).replace(b'"0.006","X":"MARKET"', b'"0","X":"NA"')
    events, recognised = both.read([frame % 7, void, frame % 9, frame % 10])
    assert recognised == [True, False, False, False]
    assert [[(event_of(one).first_id, event_of(one).last_id) for one in event] for event in events] == [
        [(7, 7)],
        [],
        [(8, 9)],
        [(10, 10)],
    ]
    void = void.replace(b'"t":8', b'"t":11')
    assert both.read([void])[1] == [False]
    events, recognised = both.read([frame % 12, frame % 13])
    assert recognised == [False, False] and event_of(events[0][0]).first_id == 11
    assert both.read([frame % 14, frame % 12])[1] == [True, False]
    events, recognised = both.read([frame % 15])
    assert recognised == [True] and event_of(events[0][0]).first_id == 15


def test_what_has_no_room_goes_the_exact_way(monkeypatch):
    monkeypatch.setattr(scanner, "OUT_BYTES", 4000)
    both = BothWays("binance", [instrument("binance")])
    levels = ",".join(f'["{price}.5","1.0"]' for price in range(100, 200))
    deep = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":7,"u":9,"b":[%s],"a":[]}}'
    deep %= levels.encode()
    best = b'{"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"1.5","B":"3","a":"1.6","A":"1"}}'
    events, recognised = both.read([deep, deep, best])
    assert recognised == [True, False, True] and event_of(events[1][0]).count == 100
    monkeypatch.setattr(scanner, "FRAMES_MAX", 2)
    assert BothWays("binance", [instrument("binance")]).read([best] * 3)[1] == [False] * 3


def test_an_instrument_that_is_taken_up_later_is_scanned_and_the_switch_changes_no_byte():
    """A whole line, through its books, with a scanner and without: what it publishes is the same."""
    venue = "binance"
    lines = [Reception("feed-1", adapter_of(venue), [instrument(venue)], FeedSettings(), raw=True) for _ in range(2)]
    lines[0].scan_with(scanner_address())
    decoded = []
    decode = lines[0].adapter.decode
    lines[0].adapter = SimpleNamespace(
        **vars(lines[0].adapter) | {"decode": lambda *call: decoded.append(call[0]) or decode(*call)}
    )
    sources = [line.open(1, RECV_NS)[0] for line in lines]
    for line in lines:
        line.take_up(Instrument("ETHUSDT", venue, -2, -4))
    frames = [plain_frame(venue, head, text) for head, text in forms_of(venue)]
    frames += [frame.replace(b"btcusdt", b"ethusdt").replace(b"BTCUSDT", b"ETHUSDT") for frame in frames]
    frames += [b'{"result":null,"id":1}', b"nonsense", *frames]
    arrived = [line.frames(source, RECV_NS, frames) for line, source in zip(lines, sources)]
    assert arrived[0].events == arrived[1].events and len(arrived[0].events) == 13
    assert list(arrived[0].refused) == list(arrived[1].refused) and arrived[0].attention
    assert decoded == frames[6:], "what the scanner recognised was decoded as well, or it was not asked"
