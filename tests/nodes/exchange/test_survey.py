"""A capture read whole before it is served: every line is served or counted with its reason, whatever it holds."""

import json

import pytest

from tests.support.odd_lines import ODD, SECOND
from tests.support.replay_lines import FEW, SNAPSHOT, T0, depth, line, market_of, ticker, trade
from tickmesh.nodes.exchange.market.captures import Unserved, read_line
from tickmesh.nodes.exchange.market.pace import SILENCE_NS_MAX, ReceivePace
from tickmesh.nodes.exchange.market.recorded_book import JUMP_IDS
from tickmesh.nodes.exchange.market.replay import Replay
from tickmesh.nodes.exchange.market.survey import Survey, Surveyor


def surveyed(*lines: str, name: str = "one") -> Survey:
    surveyor = Surveyor()
    surveyor.read_file(name, lines)
    return surveyor.finish()


@pytest.mark.parametrize("name", ODD)
def test_an_odd_line_is_one_line_that_is_counted_and_the_rest_is_served(name):
    lines = [line(m) for m in FEW]
    lines.insert(3, ODD[name])
    survey = surveyed(*lines)
    assert (survey.lines, survey.unserved, sum(survey.streams.values())) == (len(FEW) + 1, 1, len(FEW) - 1)
    assert "line 4" in next(iter(survey.first.values())) and survey.refusal() == ""
    market, replay, _ = market_of()
    for one in lines:
        replay.pass_line(one, 0)
    assert dict(replay.not_served) == survey.not_served, "the survey counts what the replay does"
    assert market.book_id == 13 and market.tape.last_id == 2
    with pytest.raises(Unserved):
        read_line(ODD[name])


def test_symbols_are_found_wherever_they_begin_and_steps_are_of_the_whole():
    late = {"stream": "nexousdt@trade", "data": {**trade(1, 1.25, 3, True)["data"], "s": "NEXOUSDT"}}
    survey = surveyed(*[line(m) for m in FEW], *[line(ticker(100 + n, 100, 1, 101, 1)) for n in range(3000)], line(late))
    assert sorted(survey.symbols) == ["BTCUSDT", "NEXOUSDT"] and survey.kinds() == {"trade", "quote", "depth"}
    assert survey.snapshots == {"binance": [4]} and survey.dialect == "Binance spot" and survey.units == {"ns": len(FEW) + 3001}
    assert survey.symbols["BTCUSDT"].lot == 25_000_000, "0.25"


def test_of_several_depth_streams_the_finest_is_served_and_the_others_are_counted():
    coarse = {**depth(11, 30), "stream": "btcusdt@depth"}
    lines = [line(SNAPSHOT), line(coarse), line(depth(11, 12)), line(depth(13, 30))]
    survey = surveyed(*lines)
    assert survey.streams == {"btcusdt@depth@100ms": 2} and survey.unserved == 1
    market, _, _ = market_of()
    replay = Replay({"BTCUSDT": market}, survey.depths)
    assert [replay.pass_line(one, 0) is not None for one in lines] == [True, False, True, True]
    assert market.book_id == 30 and dict(replay.not_served) == survey.not_served
    assert surveyed(line(coarse)).streams == {"btcusdt@depth": 1}, "alone it is the depth"


@pytest.mark.parametrize("unit", [10**6, 1000, 1])
def test_receive_times_are_ms_us_or_ns(unit):
    assert read_line(f"{T0 // unit} {json.dumps(FEW[1])}").recv_ns == T0


def futures(message: dict, symbol: str, **more) -> str:
    stream = f"{symbol.lower()}@{message['stream'].partition('@')[2]}"
    return line({"stream": stream, "data": {**message["data"], "s": symbol, **more}})


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([line(SNAPSHOT), futures(depth(1, 2), "BTCUSD_PERP", pu=1, ps="BTCUSD")], "COIN-M futures"),
        ([line({**trade(1, 1, 1, True), "stream": "btcusdt@aggTrade"}), line(FEW[1])], "@aggTrade only"),
        ([line(SNAPSHOT)], "no frame of a stream"),
        (["hello", "world"], "`<receive time> <json>`"),
        ([], "is empty"),
    ],
)
def test_a_capture_that_cannot_be_replayed_is_refused_with_what_can_be(lines, sentence):
    why = surveyed(*lines).refusal()
    assert sentence in why and "spot" in why, why


def test_a_file_that_is_unfit_is_named_beside_one_that_is_fit():
    surveyor = Surveyor()
    surveyor.read_file("one", [line(m) for m in FEW])
    surveyor.read_file("two", [futures(depth(1, 2), "BTCUSD_PERP", pu=1)])
    assert surveyor.finish().refusal().startswith("two is no capture")


# ---- the replayed book and one absurd id


def test_a_change_whose_last_id_is_absurd_ends_where_the_next_change_begins():
    market, _, _ = market_of(
        SNAPSHOT, depth(11, 12 + 10**12, bids=[(100.5, 1)]), depth(13, 14, bids=[(100.7, 2)]), depth(15, 15)
    )
    assert market.book_id == 15
    assert market.best(1)[0] == 10_070_000_000 and len(market.book.sides[1]) == 5, "the odd change's levels are in the book too"


def test_ids_out_of_proportion_of_which_nothing_follows_change_nothing():
    market, _, _ = market_of(SNAPSHOT, depth(11 + 10**12, 12 + 10**12, bids=[(100.5, 1)]), depth(11, 14, bids=[(100.7, 2)]))
    assert market.book_id == 14 and len(market.book.sides[1]) == 4


def test_an_absurd_snapshot_is_left_out_or_given_up_and_the_next_one_is_taken():
    market, replay, _ = market_of(depth(8, 9))
    assert replay.pass_line(line({**SNAPSHOT, "lastUpdateId": 10 + 10**12}), 0) is None and "proportion" in replay.error
    for message in (SNAPSHOT, depth(10, 12)):
        replay.pass_line(line(message), 0)
    assert market.book_id == 12
    first, _, _ = market_of({**SNAPSHOT, "lastUpdateId": 10 + 10**12}, depth(8, 9), depth(10, 11), SNAPSHOT, depth(12, 12))
    assert first.book_id == 12


def test_a_pending_change_long_before_the_snapshot_does_not_end_it():
    market, _, _ = market_of(depth(8, 9), {**SNAPSHOT, "lastUpdateId": 9 + JUMP_IDS}, depth(10 + JUMP_IDS, 11 + JUMP_IDS))
    assert market.book_id == 11 + JUMP_IDS


def test_an_absurd_trade_id_or_time_leaves_the_tape_in_order():
    messages = [trade(1, 100, 1, True), trade(2 + 10**12, 100, 1, True), trade(3, 100, 1, True), trade(4, 100, 1, True)]
    messages[3]["data"]["T"] = 2**62
    market, _, _ = market_of(*messages)
    assert [(p.id, p.time) for p in market.tape.prints] == [(1, 1), (3, 1), (4, 1)]
    market, _, _ = market_of(trade(1, 1, 1, True), trade(2 + 10**12, 1, 1, True), trade(3 + 10**12, 1, 1, True))
    assert market.tape.last_id in (2 + 10**12, 3 + 10**12), "ids that go on from there were right"


# ---- pace


def paced(*seconds: float) -> list[float]:
    times = [int((1000 + s) * SECOND) for s in seconds]
    pace = ReceivePace()
    return [pace.elapsed(at, after) / SECOND for at, after in zip(times, [*times[1:], 0])]


def test_receive_times_that_jump_neither_stall_nor_hurry_a_replay():
    assert paced(0, 1, 2) == [0, 1, 2]
    assert paced(0, 1, 250, 2, 3) == [0, 1, 2, 2, 3], "one ahead waits no longer than the line after it"
    assert paced(0, 1, -900, 2, 3) == [0, 0, 0, 2, 3], "one behind changes nothing"
    assert paced(0, 1, -900, -899, -898) == [0, 0, 0, 1, 2], "another file begins"
    assert paced(0, 1, 10**6, 10**6 + 1) == [0, 1, 1, 2]
    assert paced(0, 10**9)[-1] <= SILENCE_NS_MAX / SECOND


def test_what_a_capture_lacks_is_known_by_topic():
    survey = surveyed(*[line(one) for one in FEW if "depth" not in one.get("stream", "depth")])
    assert survey.kinds() == {"trade", "quote"}
    other = [f"{kind}.binance.ETHUSDT" for kind in ("depth", "quote", "trade")]
    assert survey.lacking(["binance.BTCUSDT", "binance.ETHUSDT"]) == ["depth.binance.BTCUSDT", *other]
    assert surveyed(*[line(one) for one in FEW]).lacking(["binance.BTCUSDT"]) == []
    assert Survey(streams={"binance_usdm.BTCUSDT@trade": 1}).lacking(["binance_usdm.BTCUSDT", "binance.BTCUSDT"]) == [
        "depth.binance.BTCUSDT", "depth.binance_usdm.BTCUSDT", "quote.binance.BTCUSDT", "quote.binance_usdm.BTCUSDT",
        "trade.binance.BTCUSDT",
    ]  # fmt: skip
