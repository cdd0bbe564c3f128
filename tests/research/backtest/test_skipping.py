"""From wake-up to wake-up the executor says what it says when it is given every event."""

import numpy as np
import pytest
from msgspec.structs import replace

from tests.support.backtest_scene import DEFINITION, SUBJECTS, RandomMarket, RandomSignals, course, scene
from tests.support.stored import Market
from tickmesh.bus.schema import INSTRUMENT, Kind
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.exchange.market.fees import Fees
from tickmesh.nodes.exchange.market.latency import SampledLatency
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.storage.query.times import ReadError

BOUNDS = {"slippage_max_bp": 3.0, "patience_ms": 400, "lifetime_ms": 3000, "reprices_per_min": 60.0, "horizon_ms": 4000,
    "slices": 4, "participation": 0.3, "spread_max_bp": 0.5}  # fmt: skip
STRATEGIES = (
    StrategySettings(name="a", order_quantity="0.03", position_max="0.2",
        styles=("post_only", "patient", "sweep", "twap", "pov", "limit"), execution=ExecutionSettings(**BOUNDS)),
    StrategySettings(name="b", order_quantity="0.06", position_max="0.2", styles=("twap", "pov"),
        execution=ExecutionSettings(**BOUNDS | {"slice_style": "post_only", "improve_ticks": 1})),
    StrategySettings(name="c", target_quantity="0.08", styles=("post_only", "patient", "market"),
        execution=ExecutionSettings(**BOUNDS)),
    StrategySettings(name="d", state="shadow", styles=("patient", "twap", "limit"), order_quantity="0.04",
        execution=ExecutionSettings(**BOUNDS | {"slice_style": "sweep"})),
)  # fmt: skip
LATE = (  # data come 0 to 30 ms late
    replace(STRATEGIES[0], execution=ExecutionSettings(**BOUNDS | {"venue_lag_max_ms": 14.0})),
    replace(STRATEGIES[2], styles=("post_only", "patient")),
)  # fmt: skip
WITHOUT_VOLUME = (replace(STRATEGIES[0], styles=("post_only", "patient", "limit")), *STRATEGIES[2:])  # nobody asks for trades


@pytest.mark.parametrize(
    "seed, strategies, loss",
    [(1, STRATEGIES, "200"), (2, STRATEGIES, "200"), (3, WITHOUT_VOLUME, ""), (4, LATE, ""), (6, LATE, "")],
)
def test_skipping_from_wake_up_to_wake_up_says_the_same_as_every_event(tmp_path, seed, strategies, loss):
    config = scene(tmp_path, RandomMarket(seed, late=strategies is LATE).run(1000), strategies, {"daily_loss_max": loss})
    runs = []
    for every_event in (False, True):
        latency = SampledLatency([(0.0, 0.0), (3.0, 1.0), (40.0, 12.0), (200.0, 90.0)], seed)
        terms = VenueTerms("probability_power", fees=Fees(200, 500), latency=latency)
        share = 0.1 if strategies is LATE else 0.02
        runs.append(course(config, terms, RandomSignals(seed, SUBJECTS, share), every_event))
    skipped, stepped = runs
    assert [bytes(event.raw) for event in skipped.answers] == [bytes(event.raw) for event in stepped.answers]
    assert skipped.session.fills().tobytes() == stepped.session.fills().tobytes()
    assert skipped.session.orders().tobytes() == stepped.session.orders().tobytes()
    assert skipped.follower.step.state.marks == stepped.follower.step.state.marks
    assert skipped.follower.wakes < 0.8 * stepped.follower.wakes
    intents = sum(event.kind == Kind.intent for event in skipped.answers)
    fills = skipped.session.fills()
    if strategies is LATE:
        refused = skipped.follower.step.counters()["refused"]
        assert refused["venue_lag"] > 10, refused
    assert intents > 50 and fills["maker"].any() and not fills["maker"].all(), (intents, len(fills))


@pytest.mark.parametrize("loss, odd, share", [("", False, 0.006), ("", True, 0.0), ("0.5", True, 0.006)])
def test_a_quiet_strategy_is_woken_by_its_signals_alone_and_its_losses_are_watched_all_the_same(tmp_path, loss, odd, share):
    market = RandomMarket(5)
    raws = market.run(1000)
    if odd:  # what is held is valued by what was there before
        raws = market.lose_bids()
        market.run(1000)
        raws = market.lose_bids()
    config = scene(tmp_path, raws, STRATEGIES[2:3], {"daily_loss_max": loss})
    runs = [course(config, VenueTerms(), RandomSignals(9, SUBJECTS, share), every) for every in (False, True)]
    skipped, stepped = runs
    state, every = (one.follower.step.state for one in runs)
    assert [bytes(event.raw) for event in skipped.answers] == [bytes(event.raw) for event in stepped.answers]
    assert state.marks == every.marks and len(state.marks) > 5
    assert [one.mark_ticks for one in state.instruments.values()] == [one.mark_ticks for one in every.instruments.values()]
    if loss:
        assert skipped.follower.step.save() == stepped.follower.step.save()
        assert any(event.kind == Kind.command for event in skipped.answers)
    assert not share or len(skipped.session.fills()) and skipped.signals > 5
    assert skipped.follower.wakes < stepped.follower.wakes / (2 if loss or odd else 10)


@pytest.mark.parametrize("place, what", [(2, "tick size"), (3, "lot size")])
def test_an_instrument_whose_steps_nobody_knows_is_noted_and_refused_where_orders_are_priced_by_ticks(tmp_path, place, what):
    unknown = [0 if at == place else value for at, value in enumerate(DEFINITION)]
    raws = RandomMarket(1).run(20)
    later = Market(len(raws), Event(raws[-1]).seq_ns)
    raws.append(later.event(Kind.instrument, SUBJECTS[1], np.array([tuple(unknown)], INSTRUMENT)))
    raws.append(later.trade(subject=SUBJECTS[1]))
    config, improving = (scene(tmp_path, raws, STRATEGIES[at : at + 1]) for at in (0, 1))
    for start_ns in (0, later.seq_ns):  # it is defined on the way, or before
        with pytest.raises(ReadError, match=f"the {what} of binance.ETHUSDT is not known"):
            course(improving, VenueTerms(), RandomSignals(1, SUBJECTS), span_ns=(start_ns, 1 << 62))
        noted = course(config, VenueTerms(), RandomSignals(1, SUBJECTS), span_ns=(start_ns, 1 << 62)).unknown_steps
        assert noted == {"binance.ETHUSDT": what}
