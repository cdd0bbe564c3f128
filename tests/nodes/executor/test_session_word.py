"""No order without the session's heartbeat, nor while its clock and the venue's differ too much; cancels go on."""

import pytest

from tests.support.executor_tape import Tape, make
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings
from tickmesh.bus.wire import encode

TRIED = StrategySettings(name="tried", state="shadow", styles=("limit",))
LIVE = StrategySettings(name="real", styles=("limit",), order_ttl_ms=4000)


def ready(**limits):
    step = make(strategies=(LIVE, TRIED), limits=limits, instruments=("binance.*",), stale_ms=60_000)
    return step, Tape().opened(step)


def beat(step, tape, producer="session", **said):
    step.step([tape.log(encode(Kind.health, producer, {"pid": 1, **said}), producer)])


def order(step, tape):
    """What a strong signal causes: actions of intents."""
    event = tape.signal(1.0)
    return [int(r["action"]) for r in tape.answer(step, event) if "action" in (r.dtype.names or ())]


def refused(step, name="real"):
    return step.counters()["strategies"][name]["refused"]


def test_a_session_that_is_not_heard_of_pauses_orders_until_it_beats_again():
    step, tape = ready(lost_pause_s=5.0)
    beat(step, tape)
    step.step([tape.clock(5000)])
    assert order(step, tape) == [Action.NEW], "in time"
    step.step([tape.clock(1)])
    assert order(step, tape) == [] and refused(step) == {"paused": 1}
    assert refused(step, "tried") == {}, "what is only tried goes on"
    beat(step, tape, producer="feed-1")
    assert order(step, tape) == [] and refused(step) == {"paused": 2}
    beat(step, tape)
    step.step([tape.clock(1)])
    assert order(step, tape) == [Action.NEW]


def test_a_style_that_works_orders_nothing_while_paused():
    timed = ExecutionSettings(horizon_ms=60_000, slices=2, slice_style="market")
    step = make(strategies=(StrategySettings(name="real", styles=("twap",), execution=timed),), stale_ms=60_000)
    tape = Tape().opened(step)
    beat(step, tape)
    (first,) = tape.answer(step, tape.signal(1.0))
    done = first["client_order_id"], int(first["quantity_lots"])
    tape.answer(step, tape.fill(done[0], 1, done[1]), tape.update(done[0], Status.Filled, done[1], lots=done[1]))
    assert tape.answer(step, tape.clock(31_000), tape.quote(), tape.clock(2000), tape.quote()) == []
    assert refused(step) == {"paused": 2}, "asked again a second later"
    beat(step, tape)
    (second,) = tape.answer(step, tape.clock(1000))
    assert second["action"] == Action.NEW and second["expires_ns"] == tape.now_ns + 5_000_000_000, "intent_ttl_ms"


def test_an_order_beyond_its_time_is_cancelled_while_paused():
    step, tape = ready()
    beat(step, tape)
    assert order(step, tape) == [Action.NEW]
    assert [int(r["action"]) for r in tape.answer(step, tape.clock(8000))] == [Action.CANCEL]


@pytest.mark.parametrize("skew_ms, limit, orders", [
    (1000.0, 1000.0, True), (1000.1, 1000.0, False), (-1000.1, 1000.0, False), (9e9, 0.0, True),
    (float("nan"), 1000.0, False),
])  # fmt: skip
def test_a_clock_that_differs_too_much_from_the_venues_refuses_orders(skew_ms, limit, orders):
    step, tape = ready(clock_skew_max_ms=limit)
    beat(step, tape, clock_skew_ms=skew_ms)
    assert bool(order(step, tape)) is orders and refused(step) == ({} if orders else {"clock_skew": 1})
    beat(step, tape, clock_skew_ms=0.0)
    assert order(step, tape) == [Action.NEW]


@pytest.mark.parametrize("wall_skew_ms, orders", [(0.0, True), (999.0, True), (-1001.0, False), (3_600_000.0, False)])
def test_a_mesh_whose_time_is_ahead_for_days_trades_as_soon_as_the_machine_s_clock_is_right(wall_skew_ms, orders):
    step, tape = ready()
    beat(step, tape, clock_skew_ms=-3_600_000.0, wall_skew_ms=wall_skew_ms)
    assert bool(order(step, tape)) is orders and refused(step) == ({} if orders else {"clock_skew": 1})


def test_what_the_session_said_is_in_a_checkpoint():
    step, tape = ready()
    beat(step, tape, clock_skew_ms=5000.0)
    fresh = make(strategies=(LIVE, TRIED), instruments=("binance.*",), stale_ms=60_000)
    fresh.load(step.save())
    assert order(fresh, tape) == [] and refused(fresh) == {"clock_skew": 1}


def test_a_session_that_was_never_there_pauses_nothing():
    step, tape = ready()
    step.step([tape.clock(50_000)])
    step.step([tape.quote()])
    assert order(step, tape) == [Action.NEW]
