"""Amendments through a session: sent once, done when the venue says so, found out by a question where the answer is lost."""

import asyncio

import pytest

from tests.support.session_scene import scenario
from tests.support.waiting import until
from tickmesh.bus.schema import Kind

WHOLE, LESS, PART = 100_000_000, 60_000_000, 30_000_000
PATIENCE_S = 30.0


async def opened(mesh, filled=0):
    """Has an order of WHOLE lots stand at the venue."""
    mesh.publish_intent("order")
    await until(lambda: mesh.states("order")[-1:] == ["New"], PATIENCE_S)
    if filled:
        await mesh.venue.fill("order", filled)
        await until(lambda: mesh.states("order")[-1] == "PartiallyFilled", PATIENCE_S)


def amendments(venue):
    return [cid for what, cid in venue.received if what == "amend"]


def test_an_order_becomes_smaller_keeps_its_name_and_is_filled_by_what_is_left(tmp_path):
    async def play(mesh, venue):
        await opened(mesh, filled=PART)
        mesh.publish_intent("less", target="order", lots=LESS, amend=True)
        await until(lambda: mesh.quantities("order") == [WHOLE, LESS], PATIENCE_S)
        assert mesh.states("order")[-2:] == ["PendingReplace", "PartiallyFilled"]
        await venue.fill("order", LESS - PART)
        await until(lambda: mesh.states("order")[-1] == "Filled", PATIENCE_S)
        assert len(mesh.fills("order")) == 2 and amendments(venue) == ["order"]
        assert mesh.states("less") == [], "it was sent: what became of it stands in the order's own updates"

    scenario(tmp_path, play)


@pytest.mark.parametrize("mood, came_to", [
    ("refused", WHOLE), ("swallowed", WHOLE), ("lost", LESS), ("timeout", LESS), ("cut", LESS),
])  # fmt: skip
def test_what_became_of_an_amendment_is_asked_for_and_never_sent_again(tmp_path, mood, came_to):
    async def play(mesh, venue):
        venue.mood["amend order"] = mood
        await opened(mesh, filled=PART)
        mesh.publish_intent("less", target="order", lots=LESS, amend=True)
        await until(lambda: "PendingReplace" in mesh.states("order")[:-1], PATIENCE_S)
        assert mesh.states("order")[-1] == "PartiallyFilled" and mesh.quantities("order")[-1] == came_to
        await mesh.kill()
        mesh.start()
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) > 1, PATIENCE_S)
        assert amendments(venue) == ["order"] and mesh.quantities("order")[-1] == came_to
        mesh.publish_intent("cancel", target="order")
        await until(lambda: mesh.states("order")[-1] == "Canceled", PATIENCE_S)

    scenario(tmp_path, play)


def test_an_amendment_that_means_nothing_is_refused_in_a_sentence_and_not_sent(tmp_path):
    async def play(mesh, venue):
        await opened(mesh, filled=PART)
        for name, target, lots in (("none", "nobody", LESS), ("more", "order", WHOLE), ("filled", "order", PART)):
            mesh.publish_intent(name, target=target, lots=lots, amend=True)
            await until(lambda name=name: mesh.states(name) == ["Rejected"], PATIENCE_S)
        said = {name: mesh.published(Kind.update, name)[0]["reason"].decode() for name in ("none", "more", "filled")}
        bounds = "it has to be above 30000000 (filled) and below 100000000"
        assert said == {
            "none": "no such order", "more": f"100000000 lots: {bounds}", "filled": f"30000000 lots: {bounds}",
        }  # fmt: skip
        venue.mood["amend order"] = "swallowed"
        mesh.publish_intent("first", target="order", lots=LESS, amend=True)
        mesh.publish_intent("second", target="order", lots=LESS - 1, amend=True)
        await until(lambda: mesh.states("second") == ["Rejected"], PATIENCE_S)
        assert b"PendingReplace" in mesh.published(Kind.update, "second")[0]["reason"]
        assert amendments(venue) == ["order"]

    scenario(tmp_path, play, request_timeout_s=30.0)


def test_a_cancel_overtakes_an_amendment_whose_answer_is_late(tmp_path):
    async def play(mesh, venue):
        venue.mood["amend order"] = "lost"
        await opened(mesh)
        mesh.publish_intent("less", target="order", lots=LESS, amend=True)
        mesh.publish_intent("cancel", target="order")
        await until(lambda: mesh.states("order")[-1] == "Canceled", PATIENCE_S)
        assert mesh.states("order")[-3:] == ["PendingReplace", "PendingCancel", "Canceled"]
        assert mesh.quantities("order") == [WHOLE, LESS], "as the venue has it"

    scenario(tmp_path, play, request_timeout_s=5.0)


def test_what_somebody_amends_by_hand_is_followed(tmp_path):
    async def play(mesh, venue):
        await opened(mesh)
        venue.orders["order"]["lots"] = LESS
        await venue.emit(venue.orders["order"], "REPLACED", c="by-hand")
        await until(lambda: mesh.quantities("order") == [WHOLE, LESS], PATIENCE_S)
        await venue.fill("order", LESS)
        await until(lambda: mesh.states("order")[-1] == "Filled", PATIENCE_S)
        await asyncio.sleep(0)
        assert mesh.ctx.counters["contradictions"] == 0

    scenario(tmp_path, play)
