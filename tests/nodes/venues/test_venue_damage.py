"""A damaged, cut or foreign frame is refused with a sentence, and never says a number that is not in it."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.venue_samples import NAMES, SAMPLES, decode_frame, instrument
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.table import adapter_of


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_damaged_frame_is_refused_or_says_what_it_says(name, data):
    """Never another exception, and never a number that is not in the frame."""
    adapter = adapter_of(name)
    frame = data.draw(st.sampled_from(SAMPLES[name]))
    start, end = sorted((data.draw(st.integers(0, len(frame))), data.draw(st.integers(0, len(frame)))))
    noise = data.draw(st.binary(max_size=12) | st.text('0123456789.-e"[]{},:', max_size=6).map(str.encode))
    damaged = frame[:start] + noise + frame[data.draw(st.sampled_from([start, end])) :]
    routes = adapter.routes([instrument(name)])
    try:
        events = adapter.decode(damaged, 9, routes)
    except FrameError as error:
        assert len(str(error)) > 10
        return
    # Text that nobody reads may be no UTF-8.
    tree = json.loads(damaged.decode("utf-8", "replace"), parse_float=str, parse_int=str) if damaged != b"pong" else {}
    numbers = {Decimal(text) for text in texts_of(tree) if is_number(text)} | {Decimal(0)}
    for event in map(event_of, events):
        one = instrument(name)
        for field, exponent in (("price_ticks", one.price_exponent), ("quantity_lots", -8), ("bid_ticks", one.price_exponent),
                                ("ask_ticks", one.price_exponent), ("bid_lots", -8), ("ask_lots", -8)):  # fmt: skip
            if field in (event.records.dtype.names or ()):
                for value in event.records[field].tolist():
                    assert Decimal(value).scaleb(exponent) in numbers, (field, value)


def texts_of(tree):
    if isinstance(tree, dict):
        for value in tree.values():
            yield from texts_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from texts_of(value)
    elif isinstance(tree, str):
        yield tree


def is_number(text):
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused(name):
    adapter = adapter_of(name)
    for frame in SAMPLES[name]:
        for end in range(len(frame)):
            with pytest.raises(FrameError):
                adapter.decode(frame[:end], 9, adapter.routes([instrument(name)]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frame", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"0", b"", b'{"type":"match"}'])
def test_nonsense_is_refused_or_nothing(name, frame):
    adapter = adapter_of(name)
    try:
        assert adapter.decode(frame, 9, adapter.routes([instrument(name)])) == []
    except FrameError as error:
        assert len(str(error)) > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_change_of_a_book_names_the_book_and_a_refused_trade_none(name):
    adapter, depth = adapter_of(name), 0
    for frame in SAMPLES[name]:
        (kind,) = {event.kind for event in decode_frame(name, frame)}
        times = [frame.find(word) for word in (b'"time"', b'"timestamp"') if word in frame and kind == Kind.depth]
        digits = max(place for place in range(min(times, default=len(frame))) if frame[place : place + 1].isdigit())
        broken = frame[:digits] + b"x" + frame[digits:] if name != "kraken_v1" else frame.replace(b"0.0", b"0.x")
        broken = broken.replace(b'"as":[]', b'"as":[1]')
        with pytest.raises(FrameError) as refusal:
            adapter.decode(broken, 9, adapter.routes([instrument(name)]))
        assert refusal.value.subject == (instrument(name).subject if kind == Kind.depth else ""), frame
        depth += kind == Kind.depth
    assert depth


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_subscribed_is_refused(name):
    adapter = adapter_of(name)
    routes = adapter.routes([Instrument(symbol="OTHER", venue=name)])
    for frame in SAMPLES[name]:
        with pytest.raises(FrameError, match="not subscribed"):
            adapter.decode(frame, 9, routes)
