"""Queue position, order latency and fees of a recorded market."""

import asyncio
import time

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.exchange_clients import Rest, configure, limit, served
from tests.support.replay_lines import depth, line, market_of, snapshot, trade
from tickmesh.nodes.exchange.market import latency
from tickmesh.nodes.exchange.market.fees import SCHEDULES, Fees
from tickmesh.nodes.exchange.market.matching import ExchangeOrder
from tickmesh.nodes.exchange.market.queue import MODELS, QueuePlace, logarithm, power, risk_averse
from tickmesh.nodes.exchange.protocol import UNIT


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
def test_a_place_never_goes_back_and_never_beyond_the_level(name, data):
    changed = MODELS[name]()
    level = data.draw(st.integers(0, 100)) * UNIT
    place = QueuePlace(level)
    for _ in range(20):
        before = place.ahead
        if data.draw(st.booleans()):
            reaches = place.take(data.draw(st.integers(1, 50)) * UNIT)
            assert reaches >= 0 and (place.ahead == 0 or not reaches)
        else:
            now = data.draw(st.integers(0, 100)) * UNIT
            changed(place, level, now)
            assert place.ahead <= now
            level = now
        assert 0 <= place.ahead <= before


def test_risk_averse_moves_only_with_trades_until_no_one_is_behind():
    place = QueuePlace(10.0)
    risk_averse(place, 30, 20)
    assert place.ahead == 10
    assert place.take(4) == 0 and place.ahead == 6
    risk_averse(place, 20, 5)
    assert place.ahead == 5
    assert place.take(8) == 3


@pytest.mark.parametrize("model", [power(1), power(3), logarithm()])
def test_probability_models_share_cancels_between_those_before_and_behind(model):
    first, middle, last = QueuePlace(0.0), QueuePlace(50.0 * UNIT), QueuePlace(100.0 * UNIT)
    for place in (first, middle, last):
        model(place, 100 * UNIT, 80 * UNIT)
    assert first.ahead == 0, "at the front, all cancels are behind"
    assert middle.ahead == pytest.approx(40 * UNIT), "in the middle, half of them"
    assert last.ahead == pytest.approx(80 * UNIT), "at the end, all are before"


def test_trades_are_not_counted_twice_as_cancels():
    place = QueuePlace(50.0 * UNIT)
    place.take(20 * UNIT)
    assert place.ahead == 30 * UNIT
    power(1)(place, 100 * UNIT, 80 * UNIT)
    assert place.ahead == 30 * UNIT, "the level fell by what was traded: nobody cancelled"


def test_the_greater_the_power_the_surer_the_larger_part_cancels():
    near = {n: QueuePlace(20.0 * UNIT) for n in (1, 2, 4)}
    for n, place in near.items():
        power(n)(place, 100 * UNIT, 90 * UNIT)
    assert near[1].ahead < near[2].ahead < near[4].ahead < 20 * UNIT


def test_a_probability_model_fills_earlier_than_the_risk_averse_one():
    def filled(name: str) -> int:
        market, replay, fills = market_of(snapshot(7, [(99, 50)], [(101, 50)]))
        market.queue = MODELS[name]()
        market.submit(ExchangeOrder(1, 1, 1, 99 * UNIT, 10 * UNIT), "LIMIT", "GTC", 0)
        for n, quantity in enumerate((80, 40, 70)):
            replay.pass_line(line(depth(8 + n, 8 + n, [(99, quantity)])), 0)
        replay.pass_line(line(trade(1, 99, 40, buyer_is_maker=True)), 0)
        return sum(execution.quantity for _, execution in fills)

    assert filled("risk_averse") < filled("probability_power")


def test_latency_is_constant_sampled_or_interpolated_as_the_file_asks():
    constant = latency.ConstantLatency(3, 5)
    assert constant.at(0) == (0.003, 0.005)
    between = latency.InterpolatedLatency([(100, 1.0, 2.0), (200, 3.0, 6.0)])
    assert between.at(0) == (0.001, 0.002) and between.at(150) == (0.002, 0.004) and between.at(500) == (0.003, 0.006)
    one, two = latency.read_latencies("# measured\n1,2\n3,4\n", seed=1), latency.read_latencies("1 2\n3 4\n", seed=1)
    drawn = [one.at(0) for _ in range(50)]
    assert drawn == [two.at(0) for _ in range(50)] and set(drawn) == {(0.001, 0.002), (0.003, 0.004)}
    assert isinstance(latency.read_latencies("100,1,2\n200,3,4\n", 1), latency.InterpolatedLatency)
    for text in ("", "1\n", "1,2\n1,2,3\n"):
        with pytest.raises(ValueError, match="numbers"):
            latency.read_latencies(text, 1)


def test_a_fee_is_the_schedules_share_of_what_is_received():
    assert Fees(100, 1000).fee(10**8, maker=True) == 10_000
    assert Fees(100, 1000).fee(10**8 - 1, maker=False) == 99_999, "rounded down"
    assert SCHEDULES["free"].fee(10**18, maker=False) == 0


def test_orders_in_a_recorded_market_take_their_time(tmp_path):
    capture = tmp_path / "capture"
    messages = [snapshot(7, [(99, 50)], [(101, 50)]), *(depth(8 + n, 8 + n, [(98, 1)]) for n in range(3))]
    capture.write_text("".join(line(message, n) + "\n" for n, message in enumerate(messages)))

    async def scene(name: str, toml: str) -> float:
        config = configure(tmp_path, f'source = "{name}"\n[exchange]\nreplay = ["capture"]\nlines = 1\n{toml}')
        async with served(config) as (base, ws, _), aiohttp.ClientSession() as session:
            async with session.ws_connect(ws + "/stream?streams=btcusdt@depth@100ms") as socket:
                rest = Rest(base, session)
                await rest("GET", "/api/v3/depth", symbol="BTCUSDT")
                await socket.receive(timeout=10)
                began = time.monotonic()
                status, order = await rest.order(**limit("BUY", "90.00", quantity="1"))
                took = time.monotonic() - began
                assert status == 200 and order["status"] == "NEW"
                return took

    assert asyncio.run(scene("late", "entry_ms = 200\nresponse_ms = 150\n")) > 0.35
    assert asyncio.run(scene("at-once", "")) < 0.3
