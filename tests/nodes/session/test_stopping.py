"""The orderly end of a session: what works is cancelled or kept, as configured, and nothing new is placed."""

import asyncio
import time

from tests.support.session_scene import LOCAL, scenario
from tests.support.waiting import until
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.nodes.session import node as session
from tickmesh.nodes.session import stopping

OURS, OTHER, WAITS, LATE = (f"t00c0ffee00c0ffee-{number}-0" for number in (1, 2, 3, 4))


async def stop(mesh) -> float:
    """Asks the session to stop, and waits until it has; gives the seconds that took."""
    begun = time.monotonic()
    mesh.ctx.stop.set()
    await asyncio.wait_for(asyncio.shield(mesh.task), 10)
    return time.monotonic() - begun


async def two_working(mesh, venue) -> None:
    for cid in (OURS, OTHER):
        mesh.publish_intent(cid)
    await until(lambda: all(mesh.states(cid)[-1:] == ["New"] for cid in (OURS, OTHER)))


def test_working_orders_are_cancelled_and_their_ends_are_in_the_log(tmp_path):
    async def play(mesh, venue):
        await two_working(mesh, venue)
        assert await stop(mesh) < 3, "it does not wait for its patience where the venue answers"
        assert venue.received[2:] == [("cancel", OURS), ("cancel", OTHER)]
        await until(lambda: all(mesh.states(cid)[-1:] == ["Canceled"] for cid in (OURS, OTHER)))
        assert not mesh.alerts("orders_left")

    scenario(tmp_path, play)


def test_a_cancel_that_a_busy_venue_refused_is_sent_again(tmp_path):
    async def play(mesh, venue):
        await two_working(mesh, venue)
        venue.busy = 3
        assert await stop(mesh) < 5
        assert all(venue.orders[cid]["status"] == "CANCELED" for cid in (OURS, OTHER)) and len(venue.received) == 2 + 5
        assert not mesh.alerts("orders_left")

    scenario(tmp_path, play)


def test_with_keep_they_stand(tmp_path):
    async def play(mesh, venue):
        await two_working(mesh, venue)
        await stop(mesh)
        assert [order["status"] for order in venue.orders.values()] == ["NEW", "NEW"]
        assert all(what == "place" for what, _ in venue.received)

    scenario(tmp_path, play, on_stop="keep")


def test_somebody_s_own_order_stands(tmp_path):
    async def play(mesh, venue):
        venue.place("by-hand")
        mesh.start()
        mesh.publish_intent(OURS)
        await until(lambda: mesh.states(OURS)[-1:] == ["New"] and mesh.states("by-hand"))
        await stop(mesh)
        assert venue.orders["by-hand"]["status"] == "NEW" and venue.orders[OURS]["status"] == "CANCELED"

    scenario(tmp_path, play, started=False, foreign="adopt")


def test_an_intent_that_comes_while_the_cancels_are_answered_is_never_sent(tmp_path, monkeypatch):
    """A hosted session may be given the rest of a backlog after it was asked to stop."""
    monkeypatch.setattr(stopping, "CANCEL_S", 60.0)

    async def play(mesh, venue):
        mesh.ctx = Context(mesh.config, "session")
        one = session.Session(mesh.ctx, LOCAL)
        tasks = [asyncio.create_task(await one.rebuild()), asyncio.create_task(one.connection.keep_connected())]
        try:
            await two_working(mesh, venue)
            venue.deaf = True
            ending = asyncio.create_task(stopping.end_orders(mesh.ctx, one.account, one.requests, one.sender))
            await until(lambda: ("cancel", OURS) in venue.received)
            mesh.publish_intent(LATE, ttl_s=60)
            await until(lambda: mesh.states(LATE)[-1:] == ["Expired"])
            venue.deaf = False
            one.requests.give_up_all()  # the cancels that were not answered
            await asyncio.wait_for(ending, 20)
            assert mesh.states(LATE) == ["Expired"] and ("place", LATE) not in venue.received
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await one.venue.rest.close()
            await mesh.ctx.close()

    scenario(tmp_path, play, started=False)


def test_an_intent_that_the_venue_keeps_waiting_ends_expired(tmp_path):
    async def play(mesh, venue):
        await two_working(mesh, venue)
        venue.down = True
        for ws in venue.sockets:
            await ws.close()
        await until(lambda: mesh.ctx.counters["reconnects"] > 0)
        mesh.publish_intent(WAITS, ttl_s=60)
        await until(lambda: mesh.published(Kind.intent, WAITS) and mesh.ctx.health()["lag"] == 0)  # it has read it
        assert not mesh.states(WAITS), "it waits for the connection"
        assert await stop(mesh) < 5
        await until(lambda: mesh.states(WAITS) == ["Expired"])
        assert [cid for what, cid in venue.received if what == "place"] == [OURS, OTHER]

    scenario(tmp_path, play, rest_fallback=False)


def test_a_venue_that_does_not_answer_holds_it_up_less_than_5_s_and_an_alert_says_so(tmp_path):
    async def play(mesh, venue):
        await two_working(mesh, venue)
        venue.deaf = True
        assert await stop(mesh) < 5
        await until(lambda: mesh.alerts("orders_left"))
        level, _, why = mesh.alerts("orders_left")[0]
        assert level == "critical" and OURS in why and "2 orders may still work" in why

    scenario(tmp_path, play)
