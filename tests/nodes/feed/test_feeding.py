"""What a feed is made of: overlaps, freshness, space, names of lines; and a reception with two connections, no socket."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.feed_frames import depth, trade
from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import DiskSettings, FeedSettings, Instrument
from tickmesh.bus.space import Free, Room, Space, judge
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.feed.freshness import Freshness
from tickmesh.nodes.feed.line_names import idle_because, line_of
from tickmesh.nodes.feed.overlap import HELD_MAX, Overlap
from tickmesh.nodes.feed.rebuilding import rebuild_line
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.streams import key_of
from tickmesh.nodes.venues import binance

BTC = Instrument(symbol="BTCUSDT")
TRADES = key_of(Kind.trade, BTC.subject)


def event(kind, first_id, last_id=None, flags=0):
    records = bytes({Kind.trade: 48, Kind.quote: 48, Kind.depth: 24}[kind])
    return encode(kind, BTC.subject, records, first_id=first_id, last_id=last_id or first_id, flags=flags)


def ids(events):
    return [decode(one).last_id for one in events]


def two_connections(data, rule):
    """Interleaves what two connections bring of one stream, each in order, the new one from somewhere on."""
    step = st.integers(1, 1 if rule == "contiguous" else 5)
    all_ids = []
    at = 100
    for _ in range(data.draw(st.integers(5, 40), "events")):
        at += data.draw(step)
        all_ids.append(at)
    begin = data.draw(st.integers(0, len(all_ids) - 1), "the new one begins with")
    return all_ids, begin


@given(st.data(), st.sampled_from(["contiguous", "rising"]))
def test_over_a_renewal_each_id_is_said_once_and_in_order(data, rule):
    kind = Kind.trade if rule == "contiguous" else Kind.quote
    all_ids, begin = two_connections(data, rule)
    overlap, said = Overlap(rule, kind), []
    old, new = 0, begin
    joined_at = None
    while old < len(all_ids) or new < len(all_ids):
        # What the new one has already seen had also been sent to the old one, which may still be behind.
        take_old = new == len(all_ids) or (old < len(all_ids) and data.draw(st.booleans()))
        if take_old:
            out = overlap.from_old(event(kind, all_ids[old]))
            old += 1
        else:
            out = overlap.from_new(event(kind, all_ids[new]))
            new += 1
        said += ids(out)
        if overlap.joined and joined_at is None:
            joined_at = len(said)
    said += ids(overlap.end())
    assert said == all_ids


@given(st.data(), st.sampled_from(["contiguous", "rising"]), st.booleans())
def test_after_they_joined_either_may_break_and_nothing_is_lost(data, rule, new_breaks):
    kind = Kind.trade if rule == "contiguous" else Kind.quote
    all_ids, begin = two_connections(data, rule)
    overlap, said = Overlap(rule, kind), []
    at = {"old": 0, "new": begin}
    while not overlap.joined and min(at.values()) < len(all_ids):
        name = data.draw(st.sampled_from([name for name in at if at[name] < len(all_ids)]))
        said += ids(getattr(overlap, f"from_{name}")(event(kind, all_ids[at[name]])))
        at[name] += 1
    if not overlap.joined:
        return
    for _ in range(data.draw(st.integers(0, 10))):
        name = data.draw(st.sampled_from(sorted(at)))
        if at[name] < len(all_ids):
            said += ids(getattr(overlap, f"from_{name}")(event(kind, all_ids[at[name]])))
            at[name] += 1
    survivor = "old" if new_breaks else "new"
    for one in all_ids[at[survivor] :]:
        said += ids(overlap.after_end(event(kind, one))[1])
    assert [one for k, one in enumerate(said) if one not in said[:k]] == all_ids


def test_a_book_without_ids_is_taken_over_where_it_is_whole():
    overlap = Overlap("exclusive", Kind.depth)
    assert overlap.from_old(event(Kind.depth, 5)) and overlap.from_new(event(Kind.depth, 1)) == []
    assert not overlap.joined
    assert overlap.from_new(event(Kind.depth, 2, flags=Flag.SNAPSHOT)) and overlap.joined
    assert overlap.from_old(event(Kind.depth, 6)) == [] and overlap.from_new(event(Kind.depth, 3))


def test_what_waits_is_bounded():
    overlap = Overlap("contiguous", Kind.trade)
    for number in range(HELD_MAX):
        assert not overlap.full
        overlap.from_new(event(Kind.trade, number + 1))
    assert overlap.full and len(overlap.end()) == HELD_MAX


# A reception with its two connections.


def reception(**more):
    return Reception("feed-1", binance, [BTC], FeedSettings(), **more)


def hear(one, source, *texts):
    return one.frames(source, 1, [text.encode() for text in texts]).events


def test_a_successor_speaks_only_from_where_it_overlaps_and_the_book_goes_on():
    one = reception()
    old, _ = one.open(1, 0)
    assert len(hear(one, old, trade(1), depth(11, 20))) == 2
    one.snapshot(BTC.subject, 1, b'{"lastUpdateId":20,"bids":[],"asks":[]}')
    new, _ = one.open(2, 0)
    assert hear(one, new, trade(3), depth(31, 40)) == [] and not one.joined
    assert ids(hear(one, old, trade(2), depth(21, 30))) == [2, 3, 30, 40]
    assert hear(one, old, trade(3), depth(31, 40)) == []
    assert ids(hear(one, new, trade(4), depth(41, 50))) == [4, 50]
    one.hand_over(0)
    assert hear(one, old, trade(5)) == [], "it was replaced"
    assert ids(hear(one, new, trade(5), depth(51, 60))) == [5, 60]
    assert one.resyncs == 0 and one.wanted_snapshots() == []


def test_a_successor_that_breaks_leaves_the_old_one_whole():
    one = reception()
    old, _ = one.open(1, 0)
    hear(one, old, trade(1))
    new, _ = one.open(2, 0)
    hear(one, old, trade(2))
    assert ids(hear(one, new, trade(2), trade(3), trade(4))) == [3, 4]
    one.close(new, 0)
    assert ids(hear(one, old, trade(3), trade(4), trade(5), trade(6))) == [5, 6]


def test_when_the_old_one_breaks_first_the_successor_goes_on_and_says_that_something_may_be_missing():
    one = reception()
    one.definitions.known[BTC.subject] = encode(Kind.instrument, BTC.subject, bytes(48))
    old, _ = one.open(1, 0)
    hear(one, old, trade(1))
    new, _ = one.open(2, 0)
    assert hear(one, new, trade(7)) == []
    mark, waited = one.close(old, 0)
    assert (decode(mark).kind, decode(mark).last_id) == (Kind.instrument, 1) and decode(waited).last_id == 7
    assert ids(hear(one, new, trade(8))) == [8]


def test_where_the_old_one_was_silent_the_successor_speaks_at_once():
    one = reception()
    old, _ = one.open(1, 0)
    hear(one, old, trade(1))
    new, _ = one.open(2, 0, [TRADES])
    assert ids(hear(one, new, trade(5), trade(6))) == [5, 6]
    assert ids(hear(one, old, trade(6), trade(7))) == [7], "it may come back"


def test_depth_is_left_out_and_comes_back_with_a_fresh_snapshot():
    one = reception()
    source, _ = one.open(1, 0)
    hear(one, source, depth(11, 20))
    assert ids(one.snapshot(BTC.subject, 1, b'{"lastUpdateId":20,"bids":[],"asks":[]}').events) == [20]
    assert one.leave_out_depth(True) == []
    assert ids(hear(one, source, depth(21, 30), trade(1))) == [1] and one.depth_left_out == 1
    assert one.wanted_snapshots() == []
    one.leave_out_depth(False)
    assert one.wanted_snapshots() == [BTC.subject] and ids(hear(one, source, depth(31, 40))) == [40]
    said = one.snapshot(BTC.subject, 1, b'{"lastUpdateId":40,"bids":[],"asks":[]}').events
    assert [bool(decode(event).flags & Flag.SNAPSHOT) for event in said] == [True]


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_any_history_of_connections_is_made_again_from_its_raw_frames(seed):
    """Random calls, also absurd ones: opens, breaks, handovers, garbage, snapshots, restarts."""
    rng = random.Random(seed)
    one = reception(raw=True)
    said, sources, number, at = [], [], 0, 0
    for _ in range(rng.randrange(5, 60)):
        deed = rng.random()
        if not sources or (deed < 0.06 and len(sources) < 2):
            number += 1
            source, out = one.open(number, number, [TRADES] if sources and rng.random() < 0.3 else ())
            sources.append(source)
        elif deed < 0.1:
            out = one.close(sources.pop(rng.randrange(len(sources))), 7)
        elif deed < 0.15 and len(sources) == 2:
            out = one.hand_over(8)
            sources.pop(0)
        elif deed < 0.25:
            out = one.snapshot(BTC.subject, 9, b'{"lastUpdateId":%d,"bids":[],"asks":[]}' % (at + rng.randrange(-5, 5))).events
        elif deed < 0.28:
            out = one.begin_books_anew(9)
        else:
            at += rng.randrange(1, 4)
            texts = [trade(at), depth(at - 1, at), "{garbage", depth(at, at).replace('"u"', '"v"')]
            out = hear(one, rng.choice(sources), *rng.sample(texts, rng.randrange(1, 4)))
        said += out
    raws = [decode(event) for event in said if decode(event).kind == Kind.raw]
    again = [bytes(event) for made in rebuild_line(raws, binance, [BTC], FeedSettings()) for event in made]
    assert again == [bytes(event) for event in said if decode(event).kind != Kind.raw]
    assert len(raws) > 3


# Freshness, space, names.


def test_a_stream_is_stale_by_its_own_rate():
    fresh = Freshness(least_s=2.0, times=10.0)
    counts = {"fast": 0, "slow": 0}
    stale_at = {}
    for tick in range(4000):
        now = tick * 0.1
        if tick < 2000:
            counts["fast"] += 1
            counts["slow"] += tick % 50 == 0
        for key in fresh.look(now, counts):
            if tick > 1950:
                stale_at.setdefault(key, now)
    assert stale_at["fast"] == pytest.approx(202.0, abs=0.3), "at the least"
    assert stale_at["slow"] == pytest.approx(195.0 + 50.0, abs=1.5), "ten times its usual five seconds"


def test_a_quiet_market_is_asked_ever_more_seldom_and_one_event_is_enough():
    fresh, found = Freshness(1.0, 10.0), []
    fresh.look(0.0, {"quiet": 0})
    fresh.look(0.05, {"quiet": 1})
    for tick in range(1, 700):
        found += [tick / 10 for _ in fresh.look(tick / 10, {"quiet": 1})]
    gaps = [round(after - one) for one, after in zip(found, found[1:], strict=False)]
    assert round(found[0]) == 1 and gaps[:4] == [2, 4, 8, 16]
    fresh.look(70.0, {"quiet": 2})
    assert fresh.pulses["quiet"].patience == 1


def test_a_stream_that_has_never_spoken_renews_nothing_and_is_told_once():
    fresh = Freshness(1.0, 10.0)
    for tick in range(100):
        assert fresh.look(tick * 0.1, {"never": 0, "heard": tick}) == {}
        assert fresh.newly_without_events(tick * 0.1) == (["never"] if tick == 11 else [])
    fresh.connection_began(50.0)
    assert fresh.look(60.0, {"never": 0, "heard": 0}) == {"heard": 10.0} and fresh.newly_without_events(60.0) == []
    assert fresh.without_events == ["never"]
    fresh.look(60.1, {"never": 1, "heard": 1})
    assert fresh.without_events == [] and fresh.look(5000.0, {"never": 1, "heard": 1})["never"] > 0, (
        "from now on its silence counts"
    )


def test_a_new_connection_and_a_held_socket_begin_every_silence_anew():
    fresh = Freshness(1.0, 10.0)
    fresh.look(0.0, {"a": 5})
    fresh.look(0.1, {"a": 6})
    fresh.connection_began(50.0)
    assert fresh.look(50.5, {"a": 0}) == {}
    fresh.count_silence_from(60.0)
    assert fresh.look(60.5, {"a": 0}) == {} and fresh.look(200.0, {"a": 0})


def test_space_goes_down_at_once_and_up_with_hysteresis():
    room, seen = Room(), []
    marks = DiskSettings(low_bytes=200, critical_bytes=100, low_inodes=200, critical_inodes=100)
    for free in (300, 199, 205, 209, 210, 99, 104, 105, 50, 500):
        of_bytes, of_inodes = judge(room, Free(free, 1000), marks), judge(room, Free(1000, free), marks)
        assert (of_bytes.inodes, of_inodes.bytes) == (Space.enough, Space.enough), "each is judged for itself"
        room = Room(of_bytes.bytes, of_inodes.inodes)
        assert room.bytes == room.inodes == room.worst
        seen.append(room.worst.name)
    assert seen == ["enough", "low", "low", "low", "enough", "critical", "critical", "low", "critical", "enough"]


def test_a_line_is_named_by_its_number_or_by_venue_and_number(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path)
    assert line_of(config, "2") == ("binance", 2) and line_of(config, "binance-1") == ("binance", 1)
    for wrong in ("", "0", "x", "-1", "nowhere-1", "binance-", "binance-x"):
        with pytest.raises(ConfigError, match="no line"):
            line_of(config, wrong)
    assert idle_because(config, "1") == "" and "feed.lines is 2" in idle_because(config, "3")
    other = load(tmp_path, {"instruments": [{"symbol": "XBT/USD", "venue": "kraken"}]})
    assert "no instrument of venue binance" in idle_because(other, "1")
