"""The overload: makers cut off, only market orders get through; the spread opens by far more than ten times, and closes."""

from statistics import mean, median

import pytest

from tickmesh.bus.settings import PopulationSettings
from tickmesh.nodes.exchange.market.flow import Flow
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import UpdateIds
from tickmesh.nodes.exchange.market.population import shape
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.tools.outage import outage

START = 1_700_000_000_000


def spreads(seed: int, preset: str = "liquid") -> tuple[list[int], list[int], list[int]]:
    """The spread every 100 ms: 20 s calm, 25 s of overload, 20 s after 5 s of settling."""
    market = Market(spec("BTCUSDT"), UpdateIds(), Tape())
    flow = Flow(market, shape(PopulationSettings(preset=preset), 20, 60), seed, START)
    seen: list[int] = []
    for step in range(1, 701):
        flow.cut_off = 200 < step <= 450
        makers = flow.next_id
        before = len(market.tape.prints)
        flow.run(START + step * 100)
        if flow.cut_off:
            assert makers - flow.next_id <= 3 + 3 * (len(market.tape.prints) - before), "every order is a taker's"
        bid, ask = market.best(1)[0], market.best(-1)[0]
        seen.append(ask - bid if bid and ask else 0)
    return seen[:200], seen[200:450], seen[500:]


@pytest.mark.parametrize("seed", range(5))
def test_the_spread_opens_by_more_than_ten_times_and_closes(seed):
    calm, blown, after = spreads(seed)
    assert max(blown) > 10 * mean(calm)
    assert max(blown) > 10 * mean(after) and median(after) <= 3 * median(calm)


def test_takers_get_through_all_the_time():
    market = Market(spec("BTCUSDT"), UpdateIds(), Tape())
    flow = Flow(market, shape(PopulationSettings(), 20, 60), 1, START)
    flow.run(START + 5_000)
    flow.cut_off = True
    for second in range(6, 26):
        before = len(market.tape.prints)
        flow.run(START + second * 1000)
        assert len(market.tape.prints) > before
    assert not market.book.orders or all(order.remaining > 0 for order in market.book.orders.values())


def test_the_command_leaves_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    result = outage(tmp_path / "outage.png", calm_s=4, length_s=10, after_s=7)
    assert result["ok"], result
    assert result["opened_times"] >= 10 and result["trades_in_outage"] > 20
    assert (tmp_path / "outage.png").read_bytes()[:4] == b"\x89PNG"
