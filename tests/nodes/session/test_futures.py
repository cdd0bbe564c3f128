"""What a session does at a venue of futures beside orders: fundings, positions, position mode, the user stream's key."""

import asyncio

import pytest

from tests.support.scripted_futures import KEY, FuturesVenue
from tests.support.session_scene import scenario
from tests.support.waiting import until
from tickmesh.nodes.session import venue_connection
from tickmesh.nodes.venues import usdm_orders

PATIENCE_S = 30.0


def play_at_futures(tmp_path, play, **settings):
    scenario(tmp_path, play, make=FuturesVenue, **{"reconcile_all_s": 0.5, **settings})


async def hold(mesh, venue, lots=30_000_000):
    """Has an order of a whole filled in part."""
    mesh.publish_intent("a")
    await until(lambda: mesh.states("a")[-1:] == ["New"], PATIENCE_S)
    await venue.fill("a", lots)
    await until(lambda: len(mesh.fills("a")) == 1, PATIENCE_S)


def test_each_funding_is_in_the_log_once_told_by_the_stream_or_not_and_after_an_absence(tmp_path):
    async def play(mesh, venue):
        await venue.fund("9.00000000", quiet=True)  # before anything was ours
        await asyncio.sleep(0.01)
        venue.incomes[0]["time"] = 1_600_000_000_000
        await hold(mesh, venue)
        await venue.fund("-0.12345678")
        await until(lambda: mesh.fundings() == [-12_345_678], PATIENCE_S)
        await venue.fund("0.00000001", quiet=True)
        await until(lambda: mesh.fundings() == [-12_345_678, 1], PATIENCE_S)
        await mesh.kill()
        await venue.fund("-2.00000000", quiet=True)
        mesh.start()
        await until(lambda: mesh.fundings() == [-12_345_678, 1, -200_000_000], PATIENCE_S)
        again = mesh.ctx.counters["reconciles"] + 2
        await until(lambda: mesh.ctx.counters["reconciles"] > again, PATIENCE_S)
        assert len(mesh.fundings()) == 3

    play_at_futures(tmp_path, play)


def test_a_position_that_fills_do_not_explain_is_an_alert_once_and_so_is_its_end(tmp_path):
    async def play(mesh, venue):
        await hold(mesh, venue)
        venue.by_hand = -50_000_000
        await until(lambda: mesh.alerts("position_differs"), PATIENCE_S)
        again = mesh.ctx.counters["reconciles"] + 3
        await until(lambda: mesh.ctx.counters["reconciles"] > again, PATIENCE_S)
        ((level, target, why),) = mesh.alerts("position_differs")
        assert (level, target) == (
            "critical",
            mesh.subject,
        ) and "is -20000000 lots, that of the fills in the log 30000000" in why
        venue.by_hand = 0
        await until(lambda: mesh.alerts("position_differs")[-1][0] == "info", PATIENCE_S)
        assert mesh.states("a")[-1] == "PartiallyFilled", "orders go on"

    play_at_futures(tmp_path, play)


def test_a_fill_that_nobody_told_of_is_found_and_is_no_difference(tmp_path):
    async def play(mesh, venue):
        await hold(mesh, venue)
        await venue.fill("a", 20_000_000, quiet=True)
        await until(lambda: len(mesh.fills("a")) == 2, PATIENCE_S)
        assert not mesh.alerts("position_differs")

    play_at_futures(tmp_path, play, reconcile_s=300.0)  # all is compared far more often


@pytest.mark.parametrize("setting, wrong, right, words", [
    ("hedge", True, False, ("hedge mode", "switch the position mode")),
    ("multi_assets", True, False, ("multi-assets mode", "switch the assets mode")),
    ("may_trade", False, True, ("may not trade (canTrade)", "open it there")),
])  # fmt: skip
def test_an_account_in_another_mode_gets_no_order_and_a_sentence_until_it_is_switched(tmp_path, setting, wrong, right, words):
    async def play(mesh, venue):
        setattr(venue, setting, wrong)
        mesh.start()
        mesh.publish_intent("a", ttl_s=PATIENCE_S)
        await until(lambda: mesh.alerts("account_unfit"), PATIENCE_S)
        tried = mesh.ctx.counters["reconnects"] + 3
        await until(lambda: mesh.ctx.counters["reconnects"] > tried, PATIENCE_S)
        ((level, _, why),) = mesh.alerts("account_unfit")
        assert level == "critical" and all(word in why for word in words)
        assert venue.received == []
        setattr(venue, setting, right)
        await until(lambda: mesh.states("a")[-1:] == ["New"], PATIENCE_S)
        assert mesh.alerts("account_unfit")[-1][0] == "info"

    play_at_futures(tmp_path, play, started=False)


def test_the_key_of_the_user_stream_is_kept_alive_and_a_new_one_is_asked_for_when_it_has_expired(tmp_path, monkeypatch):
    monkeypatch.setattr(usdm_orders, "KEEP_STREAM_S", 0.2)
    monkeypatch.setattr(venue_connection, "PING_S", 0.1)

    async def play(mesh, venue):
        await hold(mesh, venue)
        await until(lambda: venue.kept >= 3, PATIENCE_S)
        assert mesh.ctx.counters["reconnects"] == 0
        await venue.send({"e": "listenKeyExpired", "E": 1, "listenKey": KEY})
        await until(lambda: mesh.ctx.counters["reconnects"] == 1 and venue.sockets, PATIENCE_S)
        await until(lambda: mesh.ctx.counters["reconciles"] >= 2, PATIENCE_S)
        await venue.fill("a", 70_000_000)
        await until(lambda: mesh.states("a")[-1] == "Filled", PATIENCE_S)

    play_at_futures(tmp_path, play)


@pytest.mark.parametrize("cut", ["orders", "events"])
def test_both_sockets_begin_and_end_together(tmp_path, cut):
    async def play(mesh, venue):
        await hold(mesh, venue)
        assert (mesh.ctx.counters["connections"], mesh.ctx.counters["reconnected"]) == (1, 0)
        sockets = mesh.venue.order_sockets if cut == "orders" else venue.sockets
        await sockets[0].close()
        await until(lambda: mesh.ctx.counters["reconnects"] >= 1, PATIENCE_S)
        await venue.fill("a", 70_000_000, quiet=True)
        await until(lambda: mesh.states("a")[-1] == "Filled", PATIENCE_S)
        await until(lambda: len(venue.sockets) == 1, PATIENCE_S, "the old one has gone, too")
        await until(lambda: mesh.ctx.counters["reconnected"] >= 1, PATIENCE_S, "orders can be sent again")

    play_at_futures(tmp_path, play)
