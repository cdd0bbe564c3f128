"""Every fault of the local exchange's order side, while a session trades there: the expected end state of its orders."""

import aiohttp
import pytest

from tests.support.faults_scene import FAULTS, command_fault
from tests.support.session_at_exchange import BID, PATIENCE_S, at_exchange
from tests.support.waiting import until
from tickmesh.bus.schema import Kind
from tickmesh.nodes.exchange.faults.fault_plan import KINDS

NO_ORDERS = {"skip", "crossed", "stale", "forget", "jump"}  # of these only `skip` has a case below: on the user stream
TAKING = 90_000 * 10**8  # ticks: above every ask
LENGTH_S = 1.5
WORDS = {"NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled", "CANCELED": "Canceled", "EXPIRED": "Expired"}
TAKEN, REFUSED, GONE = ("Canceled", "Filled"), ("Rejected", "Expired"), ("Rejected", "Expired", "Canceled", "Filled")

# Name → (fault, how orders end that are meant to rest and to take while it lasts; by default as if there were none)
CASES = {
    "cut": ({"kind": "cut"}, TAKEN),
    "torn": ({"kind": "torn", "stream": "user", "times": 2}, TAKEN),
    "shutdown": ({"kind": "shutdown"}, TAKEN),
    "refuse": ({"kind": "refuse", "status": 503}, TAKEN),
    "refuse without a word": ({"kind": "refuse"}, TAKEN),
    "stall": ({"kind": "stall"}, TAKEN),
    "drip": ({"kind": "drip", "bytes_per_s": 300}, TAKEN),
    "skip": ({"kind": "skip", "stream": "user"}, TAKEN),
    "duplicate": ({"kind": "duplicate", "stream": "user"}, TAKEN),
    "reorder": ({"kind": "reorder", "stream": "user"}, TAKEN),
    "delay": ({"kind": "delay", "stream": "user", "delay_ms": 700}, TAKEN),
    "garbage": ({"kind": "garbage", "stream": "user"}, TAKEN),
    "truncate": ({"kind": "truncate", "stream": "user"}, TAKEN),
    "clock": ({"kind": "clock", "offset_ms": 5000}, GONE),
    "too many": ({"kind": "answer", "status": 429, "retry_after_s": 1, "endpoint": "order.place"}, GONE),
    "not known": ({"kind": "answer", "status": 503, "code": -1001, "endpoint": "order.place"}, GONE),
    "timeout_before": ({"kind": "timeout_before"}, REFUSED),
    "timeout_after": ({"kind": "timeout_after"}, TAKEN),
    "timeout_after, silent": ({"kind": "timeout_after", "silent": True}, TAKEN),
    "restart": ({"kind": "restart"}, GONE),
    "restart that forgets": ({"kind": "restart", "lose_orders": True}, GONE),
    "outage": ({"kind": "outage"}, GONE),
    "halt": ({"kind": "halt", "symbol": "BTCUSDT"}, REFUSED),
    "unknown": ({"kind": "unknown", "symbol": "BTCUSDT"}, REFUSED),
    "anew": ({"kind": "anew"}, GONE),
}
# Those that meet another code at a venue of futures: answers without fills, events on a websocket of their own, a position.
FUTURES = (
    "cut", "skip", "duplicate", "reorder", "too many", "timeout_before", "timeout_after, silent", "restart that forgets",
    "outage", "halt", "unknown", "anew",
)  # fmt: skip
STANDS = {"restart that forgets": ("Expired", "Canceled"), "outage": ("Canceled", "Expired"), "anew": ("Expired", "Canceled")}


def test_every_kind_that_can_meet_an_order_has_a_case():
    assert {fault["kind"] for fault, _ in CASES.values()} == set(KINDS) - NO_ORDERS | {"skip"}


async def is_over(rest):
    """Whether the exchange answers, and no fault is in force."""
    try:
        async with rest.session.get(rest.base + FAULTS) as answer:
            return answer.status == 200 and all(one["state"] == "ended" for one in (await answer.json())["faults"])
    except (OSError, aiohttp.ClientError):
        return False


async def is_traded(mesh):
    """Has an order stand again, as soon as the session can: one that was refused or too late is followed by another."""
    cid = mesh.order(ttl_s=5.0)

    def look():
        nonlocal cid
        state = mesh.states(cid)[-1:]
        if state and state[0] in ("Rejected", "Expired"):
            cid = mesh.order(ttl_s=5.0)
        return state == ["New"]

    await until(look, 2 * PATIENCE_S)
    return cid


async def prices(mesh, rest):
    """Ticks of an order that rests and of one that takes; of futures within the venue's 5 % of the mark price."""
    if mesh.account == "binance":
        return BID, TAKING
    async with rest.session.get(f"{rest.base}/binance_usdm/fapi/v1/premiumIndex?symbol=BTCUSDT") as answer:
        mark = float((await answer.json())["markPrice"])
    return round(mark * 0.97) * 10**8, round(mark * 1.03) * 10**8


def at_venue(fault, account):
    """A fault as it is asked for at a venue: its streams, its symbols and its requests have its name in front."""
    if account == "binance":
        return fault
    moved = {"endpoint": f"{account}.{fault.get('endpoint')}", "symbol": f"{account}.{fault.get('symbol')}"}
    return {field: moved.get(field, value) for field, value in fault.items()}


@pytest.mark.parametrize(
    ("name", "account"), [*((name, "binance") for name in CASES), *((name, "binance_usdm") for name in FUTURES)]
)
def test_orders_end_as_the_venue_has_them(tmp_path, name, account):
    fault, ends = CASES[name]

    async def play(mesh, rest):
        mesh.rests_ticks, taking = await prices(mesh, rest)
        stands = mesh.order("stands", ttl_s=30.0)
        await until(lambda: mesh.states(stands)[-1:] == ["New"], PATIENCE_S)
        await command_fault(rest, length_s=0.0 if fault["kind"] == "cut" else LENGTH_S, **at_venue(fault, account))
        mesh.order("rests", ttl_s=1.0)
        mesh.order("takes", ttl_s=1.0, price_ticks=taking)
        await until(lambda: is_over(rest), PATIENCE_S)
        after = await is_traded(mesh)
        ours = [stands, "rests", "takes", after]
        for number in range(40):  # as an executor does: until they are over
            alive = [cid for cid in ours if mesh.last_states().get(cid) not in (*TAKEN, *REFUSED)]
            if not alive:
                break
            for cid in alive:
                mesh.publish_intent(f"cancel-{number}-{cid}", target=cid)
            seen = mesh.ctx.counters["reconciles"]
            await until(lambda seen=seen: mesh.ctx.counters["reconciles"] > seen + 1, PATIENCE_S)
        states = mesh.last_states()
        assert states[stands] in STANDS.get(name, ("Canceled",)) and states[after] == "Canceled"
        assert states["rests"] in ends and states["takes"] in ends, states
        await agrees(mesh, rest, ours, forgotten=fault["kind"] in ("anew", "restart"))

    at_exchange(tmp_path, play, account=account, refused_pause_s=(0.5, 2.0), reconcile_all_s=1.0)


async def agrees(mesh, rest, ours, forgotten):
    """State, quantity and fills of each order are the venue's, no order was placed twice, and nothing stands."""
    base = "/api/v3" if mesh.account == "binance" else "/binance_usdm/fapi/v1"
    _, orders = await rest.order("GET", f"{base}/allOrders", symbol="BTCUSDT", orderId=0)
    theirs = [one for one in orders if one["clientOrderId"] in ours or one.get("origClientOrderId") in ours]
    names = [one["clientOrderId"] for one in theirs]
    assert len(set(names)) == len(names), "sent once"
    for cid in ours:
        _, one = await rest.order("GET", f"{base}/order", symbol="BTCUSDT", origClientOrderId=cid)
        last = mesh.published(Kind.update, cid)[-1]
        if "status" not in one:
            assert forgotten or mesh.states(cid)[-1] in REFUSED, f"{cid} is nowhere, and {mesh.states(cid)}"
            continue
        filled = round(float(one["executedQty"]) * 1e8)
        assert (mesh.states(cid)[-1], int(last["filled_lots"])) == (WORDS[one["status"]], filled)
        assert sum(int(row["quantity_lots"]) for row in mesh.published(Kind.fill, cid)) == filled
    _, open_ones = await rest.order("GET", f"{base}/openOrders", symbol="BTCUSDT")
    assert open_ones == []
    if mesh.account != "binance":
        _, rows = await rest.order("GET", "/binance_usdm/fapi/v3/positionRisk", symbol="BTCUSDT")
        held = sum(int(row["side"]) * int(row["quantity_lots"]) for cid in ours for row in mesh.published(Kind.fill, cid))
        assert sum(round(float(row["positionAmt"]) * 1e8) for row in rows) == held and not mesh.alerts("position_differs")
