"""What one fill is: of a self-trade both sides count, each once, whoever tells it, however often, and after any restart."""

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.session_scene import LOCAL, SPOT, SUBJECT, scenario
from tests.support.waiting import until
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.settings import Instrument, Mesh
from tickmesh.bus.settings_trading import ExecutorSettings
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.venues.binance_questions import PAGE
from tickmesh.nodes.venues.order_venue import Fill, Report
from tickmesh.nodes.venues.private import asset_name

LOTS = 100_000_000
ORIGINS = ("reply", "stream", "reconcile")
SIDES = {"a": 1, "b": -1}


def step() -> executor.Step:
    return executor.Step(Config(Mesh(executor=ExecutorSettings()), Path("/nonexistent")), "")


def both(venue, trade_id: int, lots: int) -> dict:
    """The venue trades our `a` with our `b`: one trade id, an own trade of each order."""
    sides = {}
    for cid in SIDES:
        order = venue.orders[cid]
        order["filled"] += lots
        order["status"] = "FILLED" if order["filled"] == order["lots"] else "PARTIALLY_FILLED"
        sides[cid] = {
            "id": trade_id, "orderId": order["id"], "price": "100.00000000", "qty": f"0.{lots:08d}", "commission": "0.00100000",
            "commissionAsset": "USDT", "time": 1_700_000_000_000, "isBuyer": cid == "a", "isMaker": cid == "a",
        }  # fmt: skip
        venue.trades.append(sides[cid])
    return sides


@pytest.mark.parametrize("streamed", ["", "a", "b", "ab"], ids=["neither", "one side", "the other", "both"])
def test_both_sides_of_a_self_trade_are_in_the_log_and_in_the_position_once(tmp_path, streamed):
    """The stream brings none, one or both sides before the session is killed; its next life asks the venue."""

    async def play(mesh, venue):
        for cid, side in SIDES.items():
            mesh.publish_intent(cid, side=side)
        await until(lambda: all(mesh.states(cid)[-1:] == ["New"] for cid in SIDES))
        for cid, trade in both(venue, 7001, 40_000_000).items():
            if cid in streamed:
                await venue.emit(venue.orders[cid], "TRADE", trade)
        await until(lambda: all(mesh.fills(cid) == [7001] for cid in streamed))
        await mesh.kill()
        mesh.start()
        await until(lambda: all(mesh.fills(cid) == [7001] for cid in SIDES))
        for cid, trade in both(venue, 7002, 20_000_000).items():  # later ones are brought by whoever comes first
            await venue.emit(venue.orders[cid], "TRADE", trade)
            await venue.emit(venue.orders[cid], "TRADE", trade)
        await until(lambda: all(mesh.fills(cid) == [7001, 7002] for cid in SIDES))
        await mesh.kill()
        mesh.start()
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) > 1)
        assert all(mesh.fills(cid) == [7001, 7002] for cid in SIDES)
        judged = step()
        for event in LogReader(mesh.config.log_dir).events():
            judged.step([event])
            again = step()
            again.load(judged.save())  # a restart after every event
            judged = again
        position = judged.state.instruments[SUBJECT].position
        assert (position.fills, position.bought_lots, position.sold_lots) == (4, 60_000_000, 60_000_000)

    scenario(tmp_path, play)


def opened() -> tuple[Account, list[bytearray]]:
    """An account with both orders at the venue."""
    account, published = Account(), []
    for number, (cid, side) in enumerate(SIDES.items(), 1):
        record = np.zeros(1, INTENT)
        record["client_order_id"], record["action"], record["side"], record["quantity_lots"] = (
            cid.encode(),
            Action.NEW,
            side,
            LOTS,
        )
        intent = encode(Kind.intent, SUBJECT, record)
        account.read(decode(intent))
        pending = account.build_pending_new(decode(intent), 7)
        account.read(decode(pending))
        published += [intent, pending, *account.apply_report(Report(SUBJECT, cid, number, Status.New, 0, 0), "reply", 7)]
    return account, published


side_reports = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.sampled_from(ORIGINS), st.booleans()), max_size=30
)  # whose side of which trade is reported, by whom, and whether the session begins anew before


@given(side_reports)
def test_session_and_executor_agree_with_a_set_of_sides(reported):
    account, published = opened()
    sides = set()
    for cid, trade_id, origin, restart in reported:
        if restart:
            state, account = account.pack(), Account()
            account.load(state)
        order = account.order(cid)
        fill = Fill(trade_id, SIDES[cid], 5, 10, 0, "USDT", False, 0, order.order_id)
        published += account.apply_fills(order, [fill], origin, 7)
        sides.add((cid, trade_id))
    judged = step()
    for seq, event in enumerate(published, 1):
        stamp_sent(event, producer_bytes("session"), 1, seq, seq)
        stamp_sequenced(event, seq, 0, seq)
        judged.step([Event(event), Event(event)])  # and copies of it change nothing
    fills = [Event(event) for event in published if event[8] == Kind.fill]
    assert sorted((f.records[0]["client_order_id"].decode(), f.last_id) for f in fills) == sorted(sides)
    position = judged.state.instruments[SUBJECT].position
    assert (position.bought_lots, position.sold_lots) == tuple(10 * sum(cid == one for cid, _ in sides) for one in "ab")
    assert all(account.order(cid).fill_lots == 10 * sum(cid == one for one, _ in sides) for cid in SIDES)


def test_a_state_with_intents_of_another_schema_is_not_gone_on_from():
    """They wait in it as events: those of version 1 are not what they are today."""
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"] = b"c", Action.NEW
    account, _ = opened()
    older = msgspec.structs.replace(account.state, schema="")
    account.load(msgspec.msgpack.encode(older))
    assert account.order("a") is not None, "nothing waits: it means today what it meant then"
    account.read(decode(encode(Kind.intent, SUBJECT, record)))
    state = account.pack()
    account.load(state)
    assert [decode(raw).kind for raw in account.state.waiting.values()] == [Kind.intent]
    older = msgspec.structs.replace(account.state, schema="")
    with pytest.raises(msgspec.DecodeError, match="1 intents wait in it as events of another schema"):
        account.load(msgspec.msgpack.encode(older))


@pytest.mark.parametrize(
    ("asset", "kept"),
    [("1000000MOG", "1000000MOG"), ("币安人生", "币安人生"), ("币安人生币安人生", asset_name("币安人生币安人生").decode())],
)
def test_the_asset_of_a_fee_is_whole_or_marked_as_cut(asset, kept):
    account, published = opened()
    published += account.apply_fills(account.order("a"), [Fill(1, SIDES["a"], 5, 10, 3, asset, False, 0, 1)], "reply", 7)
    judged = step()
    for seq, event in enumerate(published, 1):
        stamp_sent(event, producer_bytes("session"), 1, seq, seq)
        stamp_sequenced(event, seq, 0, seq)
        judged.step([Event(event)])
    assert judged.state.instruments[SUBJECT].position.fees == {kept: 3}


def test_a_page_that_ends_between_the_sides_of_a_self_trade_loses_neither(monkeypatch):
    trades = [(i, 1) for i in range(1, PAGE)] + [(PAGE, 1), (PAGE, 2), (PAGE + 1, 1)]

    async def page(self, request):
        first, limit = request.query["fromId"], request.query["limit"]
        rows = [
            {"id": i, "orderId": order, "price": "1", "qty": "1", "commission": "0", "commissionAsset": "BTC", "time": 1,
             "isBuyer": True, "isMaker": True}
            for i, order in trades if i >= first
        ]  # fmt: skip
        return msgspec.json.encode(rows[:limit])

    monkeypatch.setattr(VenueAccount, "_get", page)
    instrument = Instrument("BTCUSDT")

    async def ask():
        account = VenueAccount(SPOT, LOCAL, 1000, 1.0, VenueTime(), RequestBudget(6000, 1.0))
        try:
            return await account.trades_from(instrument, 1)
        finally:
            await account.rest.close()

    got = [(fill.trade_id, fill.order_id) for fill in asyncio.run(ask())]
    assert sorted(set(got)) == sorted(trades) and len(got) <= len(trades) + 2
