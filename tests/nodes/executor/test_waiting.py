"""What an executor says that it waits for: never less than what would wake it."""

from tests.support.executor_tape import LOG_ID, SUBJECT
from tests.support.parent_scene import Scene
from tickmesh.bus.schema import Status
from tickmesh.nodes.executor.styles.interface import NEVER_NS, any_quote
from tickmesh.nodes.orders.commands import Flatten

TTL_NS = 2_000_000_000


def test_with_nothing_to_do_it_waits_for_the_next_mark_alone():
    scene = Scene("post_only")
    wait = scene.step.waiting()
    assert (wait.time_ns, dict(wait.triggers)) == (
        NEVER_NS,
        {},
    ) and scene.tape.now_ns < wait.mark_ns < scene.tape.now_ns + TTL_NS


def test_marks_come_to_something_while_a_loss_limit_holds_and_something_is_held_or_closed():
    free, limited, closing = Scene("market"), Scene("market", limits={"daily_loss_max": "50"}), Scene("market")
    for scene in (free, limited, closing):
        assert scene.step.waiting().marks_only
        (intent,) = scene.signal()
        scene.fill(intent)
    closing.see(closing.tape.command(Flatten("operator", SUBJECT)))
    assert [scene.step.waiting().marks_only for scene in (free, limited, closing)] == [True, False, False]


def test_an_order_of_no_parent_is_cancelled_in_time():
    scene = Scene("post_only")
    scene.see(scene.tape.update(f"t{LOG_ID}-1-0".encode(), Status.New))
    wait = scene.step.waiting()
    assert (wait.time_ns, dict(wait.triggers)) == (scene.tape.now_ns + TTL_NS, {})


def test_whose_order_rests_waits_for_a_better_price_than_its_own():
    scene = Scene("post_only")
    (intent,) = scene.signal()
    scene.accept(intent)
    scene.see(scene.tape.quote())
    wait = scene.step.waiting()
    assert wait.time_ns > scene.tape.now_ns and wait.triggers[SUBJECT].bid_high == int(intent["price_ticks"]) + 1


def test_simulated_orders_and_positions_that_are_being_closed_look_at_each_quote():
    shadow = Scene("limit", state="shadow")
    shadow.signal()
    closing = Scene("market")
    (intent,) = closing.signal()
    closing.fill(intent)
    closing.see(closing.tape.command(Flatten("operator", SUBJECT)))
    for scene in (shadow, closing):
        assert scene.step.waiting().triggers[SUBJECT].bid_high == any_quote().bid_high
