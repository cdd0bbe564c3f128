"""What `mesh up` concludes of real venues from their events: recorded, quiet, refused, not reached."""

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.settings import InstrumentSettings, Mesh
from tickmesh.bus.wire import Event, encode
from tickmesh.tools.recording import QUIET_S, UNREACHED_S, Recording

A, B, C = "binance.AUSDT", "binance.BUSDT", "kraken.C/USD"
LINES = ("feed-x-1", "feed-x-2")


def recording(tmp_path, *subjects: str) -> Recording:
    instruments = tuple(InstrumentSettings(subject.partition(".")[2], subject.partition(".")[0]) for subject in subjects)
    return Recording(Config(Mesh(mode="capture", source="x", models=(), instruments=instruments), tmp_path))


def market(subject: str, *kinds: Kind) -> list[Event]:
    """An event of each of these kinds, with one record."""
    out = []
    for kind in kinds:
        record = np.zeros(1, DTYPES[kind])
        if kind == Kind.instrument:
            record["price_exponent"], record["quantity_exponent"], record["tick_size"], record["lot_size"] = -2, -3, 1, 5
        if kind == Kind.quote:
            record["bid_ticks"], record["ask_ticks"] = 10_001, 10_003
        out.append(Event(encode(kind, subject, record)))
    return out


def alert(line: str, what: str, target: str, why: str = "because") -> Event:
    return Event(encode(Kind.alert, line, {"level": "warning", "what": what, "target": target, "why": why, "action": ""}))


ALL = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth)


def test_an_instrument_is_there_when_everything_has_come_and_its_sizes_are_decimals(tmp_path):
    seen = recording(tmp_path, A, B)
    assert seen.missing(0.0) == ["binance"]
    seen.take(market(A, *ALL), 1.0)
    assert seen.missing(1.0) == [B]
    seen.take(market(B, Kind.instrument, Kind.trade, Kind.depth), 2.0)
    assert seen.missing(2.0) == [B], "its quote is missing"
    before = seen.counts()
    seen.take(market(B, Kind.quote) + market(A, Kind.trade, Kind.trade), 3.0)
    assert seen.missing(3.0) == [] and seen.why_not(3.0) == {}
    row = seen.rows(2.0, before)[0]
    assert row == {
        "instrument": A, "first_s": {"trade": 1.0, "quote": 1.0, "depth": 1.0},
        "per_s": {"trade": 1.0, "quote": 0.0, "depth": 0.0}, "quiet": [],
        "bid": "100.01", "ask": "100.03", "spread": "0.02", "tick_size": "0.01", "lot_size": "0.005",
    }  # fmt: skip


def test_a_quiet_instrument_is_named_and_is_no_failure_when_the_venue_trades_it(tmp_path):
    seen = recording(tmp_path, A, B)
    seen.take(market(A, *ALL) + market(B, Kind.instrument), 1.0)
    assert seen.missing(QUIET_S) == [B] and seen.missing(1.0 + QUIET_S) == []
    assert seen.why_not(1.0 + QUIET_S) == {}
    assert [row["quiet"] for row in seen.rows(1.0, seen.counts())] == [[], ["trade", "quote", "depth"]]
    unanswered = recording(tmp_path, A, B)
    unanswered.take(market(A, *ALL), 1.0)
    assert list(unanswered.why_not(1.0 + QUIET_S)) == [B], "the venue has not said that it trades it"


def test_what_a_venue_does_not_know_or_trade_is_waited_for_no_longer(tmp_path):
    seen = recording(tmp_path, A, B)
    seen.take([*market(A, *ALL), alert(LINES[0], "halted_instrument", B, "the venue says HALT")], 1.0)
    assert seen.missing(1.0) == [] and seen.why_not(1.0) == {B: "the venue says HALT"}
    seen.take([alert(LINES[0], "instrument_back", B), *market(B, *ALL)], 2.0)
    assert seen.why_not(2.0) == {}
    only = recording(tmp_path, A)
    only.take([alert(LINES[0], "unknown_instrument", A, "no such name")], 1.0)
    assert only.missing(1.0) == [] and only.why_not(1.0)[A] == "no such name"


def test_lines_that_die_again_and_again_are_named(tmp_path):
    seen = recording(tmp_path, A)
    seen.take([alert("sentinel-1", "crash loop", f"feed-binance-{line}", "died 5 times") for line in (1, 2)], 1.0)
    assert seen.missing(1.0) == [] and seen.why_not(1.0) == {"binance": "feed-binance-1: died 5 times"}


def test_a_venue_that_no_line_reaches_is_named_beside_one_that_is_recorded(tmp_path):
    seen = recording(tmp_path, A, C)
    seen.take([*market(A, *ALL), alert(LINES[0], "unreachable", "kraken", "no market data: refused")], 1.0)
    assert seen.missing(1.0) == ["kraken"], "the other line may reach it"
    assert seen.missing(1.0 + UNREACHED_S) == []
    assert seen.why_not(1.0 + UNREACHED_S) == {"kraken": "no market data: refused"}
    seen.take([alert(LINES[1], "unreachable", "kraken")], 1.5)
    assert seen.missing(1.5) == [], "both have said so"
    seen.take([alert(line, "reachable", "kraken") for line in LINES], 2.0)
    assert seen.missing(2.0) == ["kraken"]
    seen.take(market(C, *ALL), 3.0)
    assert seen.missing(3.0) == [] and seen.why_not(3.0) == {}
