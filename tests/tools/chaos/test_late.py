"""Why a next event was late: the venue's own silences by its ledger, deaths by the sweep, connections by the ledger again."""

import json

from tickmesh.tools.chaos.late import (
    ASLEEP,
    LINES_DEAD,
    LINES_START,
    SEQUENCER_DEAD,
    SEQUENCER_STARTS,
    UNCONNECTED,
    UNSEEN,
    UNSUBSCRIBED,
    explained,
    table,
)
from tickmesh.tools.chaos.stretches import length, within, without
from tickmesh.tools.chaos.sweep_mesh import Kill
from tickmesh.tools.chaos.venue_record import VenueRecord

BTC, C00 = "binance.BTCUSDT", "binance_usdm.C00USDT"
LINES = ("feed-binance-1", "feed-binance-2")
S = 10**9  # a second in ns; rows are in ms, kills in ns


def rows(*of: tuple) -> list[list]:
    """Rows of a ledger: (seconds, kind, values …)."""
    return [[number, kind, int(at_s * 1000), *values] for number, (at_s, kind, *values) in enumerate(of, 1)]


def fault(number: int, begin_s: float, end_s: float, **of) -> list[tuple]:
    return [
        (begin_s, "fault", number, "added", json.dumps(of)),
        (begin_s, "fault", number, "started", ""),
        (end_s, "fault", number, "ended", ""),
    ]


def connected(number: int, begin_s: float, end_s: float, after_s: float = 0.0, path: str = "/stream") -> list[tuple]:
    return [
        (begin_s, "client", number, "opened", path),
        (begin_s + after_s, "client", number, "subscribed", "btcusdt@trade"),
        (end_s, "client", number, "closed", ""),
    ]


def killed(name: str, at_s: float, born_s: float = 0.1, ready_s: float = 1.0) -> Kill:
    return Kill(name, int(at_s * S), ready_s, int(at_s * S), born_s)


def parts(kills: list[Kill], next_s: float, *of: tuple, subjects=(BTC,), asleep=()) -> dict[str, float]:
    """The parts of the first kill's wait, in a venue of these rows."""
    venue = VenueRecord(subjects).read(rows(*sorted(of, key=lambda row: row[0])))
    return explained(kills, [next_s], venue, [(int(a * S), int(b * S)) for a, b in asleep], LINES)[0].parts


def test_each_moment_has_one_cause_and_they_add_up():
    kills = [killed(LINES[0], 10), killed(LINES[1], 10, 0.3, 2.0), killed("sequencer", 10, 0.05, 0.2)]
    said = parts(kills, 4.0, *connected(1, 0, 10), *connected(2, 13, 20, 0.5), asleep=[(12.5, 12.75)])
    assert said == {
        SEQUENCER_DEAD: 0.05,
        SEQUENCER_STARTS: 0.15,
        LINES_START: 0.8,  # from 10.2 on, until one of them was ready
        UNCONNECTED: 1.75,
        ASLEEP: 0.25,
        UNSUBSCRIBED: 0.5,
        UNSEEN: 0.5,
    }
    assert round(sum(said.values()), 6) == 4.0
    both = [killed(LINES[0], 10, 0.4), killed(LINES[1], 10, 0.3)]
    assert parts(both, 0.5, *connected(1, 0, 10)) == {LINES_DEAD: 0.3, LINES_START: 0.2}


def test_what_the_venue_does_comes_first_and_is_not_ours():
    stalled = [*connected(1, 0, 30), *fault(1, 10, 14, kind="stall", length_s=4.0)]
    venue = VenueRecord([BTC]).read(rows(*sorted(stalled, key=lambda row: row[0])))
    (late,) = explained([killed(LINES[0], 11)], [3.2], venue, [], LINES)
    assert late.parts == {"the venue sends nothing (stall)": 3.0, UNSEEN: 0.2}
    assert round(late.ours_s, 6) == 0.2 and late.cause.startswith("the venue ")
    (row, other) = table([late])
    assert (row["kills"], row["seconds"], row["longest_s"], other["kills"]) == (1, 3.0, 3.0, 0)


def test_what_leaves_something_to_be_heard_is_no_silence():
    heard = connected(1, 0, 30)
    for of in (
        {"kind": "skip", "stream": "*@trade"},
        {"kind": "stall", "connection": 1},
        {"kind": "stall", "stream": "*@trade"},
        {"kind": "cut", "probability": 0.5},
        {"kind": "shutdown"},
        {"kind": "refuse", "endpoint": "GET *"},
        {"kind": "halt", "symbol": "ETHUSDT"},
    ):
        assert parts([killed(LINES[0], 11)], 2.0, *heard, *fault(1, 10, 14, **of)) == {UNSEEN: 2.0}, of
    halt = fault(1, 10, 14, kind="halt", symbol="BTCUSDT")
    assert parts([killed(LINES[0], 11)], 2.0, *heard, *halt) == {"the venue trades nothing (halt)": 2.0}
    assert parts([killed(LINES[0], 11)], 2.0, *heard, *halt, subjects=(BTC, C00)) == {UNSEEN: 2.0}, "another one is traded"
    other = fault(2, 12, 20, kind="halt", symbol="binance_usdm.C00USDT")
    both = parts([killed(LINES[0], 11)], 2.0, *heard, *halt, *other, subjects=(BTC, C00))
    assert both == {"the venue trades nothing (halt)": 1.0, UNSEEN: 1.0}


def test_an_order_connection_is_not_one_that_hears_the_market():
    orders = connected(1, 0, 30, path="/ws-api/v3")
    assert parts([killed("backfill", 10)], 1.0, *orders) == {UNCONNECTED: 1.0}
    began = [*connected(1, 0, 30), (10.5, "start", "BTCUSDT", 1, 1, 0)]
    assert parts([killed("backfill", 10)], 1.0, *began) == {UNSEEN: 0.5, UNCONNECTED: 0.5}, "it began anew: nobody is connected"


def test_connections_are_counted_by_venue_and_refused_ones_too():
    refused = [(61.0 + place, "request", 1, 0, "ws", "/stream", "refused", 0) for place in range(3)]
    many = [one for number in range(10) for one in connected(number, number * 5, 200)]
    usdm = connected(99, 3, 200, path="/binance_usdm/stream")
    venue = VenueRecord([BTC, C00]).read(rows(*sorted([*many, *refused, *usdm], key=lambda row: row[0])))
    assert venue.most_tried("binance", 60_000) == 12, "from 5 s on, with the three that were refused"
    assert venue.most_tried("binance", 300_000) == 13 and venue.most_tried("binance_usdm", 60_000) == 1


def test_stretches_are_cut_and_joined():
    assert within([(0, 10), (5, 20)], [(8, 12), (19, 30)]) == [(8, 12), (19, 20)]
    assert without([(0, 10), (5, 20)], [(8, 12), (19, 30)]) == [(0, 8), (12, 19)]
    assert length(without([(0, 10)], [])) == 10 and without([(0, 10)], [(0, 10)]) == []
