"""What the log does not know is found at the venue: our own by its id, what is others' as configured."""

import asyncio

import pytest

from tests.support.exchange_clients import limit
from tests.support.exchange_clients import venue as served_venue
from tests.support.session_scene import LOCAL, SPOT, SUBJECT, scenario
from tests.support.waiting import until
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.reconciliation import Reconciler

LOST = "00c0ffee00c0ffee"  # the id of a log that is no more
OPEN, DONE, HANDS = f"t{LOST}-a-0", f"t{LOST}-b-0", "by-hand"


async def before(venue) -> None:
    """The venue as a mesh left it whose log is lost: an order that works, partly filled; one that is done; one by hand."""
    for cid in (OPEN, DONE, HANDS):
        venue.place(cid)
    await venue.fill(OPEN, 40_000_000)
    await venue.fill(HANDS, 10_000_000)
    await venue.fill(DONE, 100_000_000)


def everything(mesh) -> list[tuple[str, str, int]]:
    """(client order id, kind, status or trade id) of all updates and fills in the log."""
    out = []
    for event in LogReader(mesh.config.log_dir).events():
        for record in event.records if event.kind in (Kind.update, Kind.fill) else ():
            number = record["status"] if event.kind == Kind.update else record["trade_id"]
            out.append((record["client_order_id"].decode(), Kind(event.kind).name, int(number)))
    return out


def test_with_an_empty_log_own_orders_and_positions_come_back_and_others_are_left_alone(tmp_path):
    async def play(mesh, venue):
        await before(venue)
        mesh.start()
        await until(lambda: mesh.fills(DONE))
        mesh.publish_intent("new")
        await until(lambda: mesh.states("new")[-1:] == ["New"])
        assert (mesh.states(OPEN), mesh.fills(OPEN)) == (["PartiallyFilled"], [1000])
        assert (mesh.states(DONE), mesh.fills(DONE)) == (["Filled"], [1002])
        update = mesh.published(Kind.update, OPEN)[0]
        assert (update["quantity_lots"], update["price_ticks"], update["side"], update["order_type"]) == (10**8, 10**10, 1, 1)
        assert (update["origin"], update["order_id"], update["time_in_force"]) == (b"reconcile", 500, 1)
        assert mesh.states(HANDS) == mesh.fills(HANDS) == []
        counted = mesh.ctx.ask_counters()
        assert (counted["adopted"], counted["foreign"]) == (2, 2), "by hand: an open order, and one with a fill"
        assert venue.received == [("place", "new")]
        mesh.publish_intent("cancel", target=OPEN)
        await until(lambda: mesh.states(OPEN)[-1:] == ["Canceled"])
        found = everything(mesh)
        await mesh.kill()
        mesh.start()
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) >= 1)
        assert everything(mesh) == found, "what came back once is known"

    scenario(tmp_path, play, started=False)


def test_what_is_placed_by_hand_is_followed_where_that_is_configured(tmp_path):
    async def play(mesh, venue):
        await before(venue)
        mesh.start()
        await until(lambda: mesh.fills(HANDS) == [1001])
        assert mesh.states(HANDS) == ["PartiallyFilled"]
        venue.place("later")
        await until(lambda: mesh.states("later") == ["New"])
        await venue.fill("later", 100_000_000)
        await until(lambda: mesh.states("later")[-1:] == ["Filled"] and mesh.fills("later") == [1003])

    scenario(tmp_path, play, started=False, foreign="adopt", reconcile_all_s=0.5)


def test_own_trades_are_walked_at_a_real_exchange_and_their_orders_found(tmp_path):
    """The local exchange's own allOrders and myTrades; an order's trades are more than one page of questions about others."""

    async def scene():
        async with served_venue(tmp_path) as (rest, ws, _):
            mine = f"t{LOST}-7-0"
            for number in range(5):
                await rest.order(
                    symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01", newClientOrderId=f"hand-{number}"
                )
            status, answer = await rest.order(
                symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.02", newClientOrderId=mine
            )
            assert status == 200 and answer["status"] == "FILLED"
            await rest.order(**limit("BUY", "30000"), newClientOrderId=f"t{LOST}-8-0")
            account = Account({SUBJECT: Instrument("BTCUSDT")})
            asked = VenueAccount(SPOT, LOCAL, 5000, 5.0, VenueTime(), RequestBudget(6000, 1.0))
            asked.endpoints = Endpoints(rest.base, ws)
            count = {"resolved": 0, "rejects": 0, "reconciles": 0}
            reconciler = Reconciler(account, asked, lambda events: None, lambda order: False, 0, lambda order: 0, count)
            try:
                await reconciler.reconcile_all()
                assert set(account.state.orders) == {mine, f"t{LOST}-8-0"} and account.adopted == 2
                order = account.order(mine)
                assert order.final and order.fills_complete and order.fill_lots == 2_000_000
                assert len(account.foreign_orders) == 5
                spent = len(asked.budget._spent)
                await reconciler.reconcile_all()
                assert len(asked.budget._spent) == spent + 2, "open orders and balances: no trade has come"
            finally:
                await asked.rest.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("name", "ours"),
    [(OPEN, True), ("t00c0ffee-1-0", False), ("x" + OPEN, False), ("web_1", False), ("tG0c0ffee00c0ffee-1-0", False)],
)
def test_ours_is_what_an_executor_names_so(name, ours):
    assert Account().claims(name) == ours and Account(adopts_all=True).claims(name)
