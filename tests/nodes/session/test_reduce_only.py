"""Orders that only close a futures position, at the local exchange: none of them can open the other side."""

from tests.support.exchange_clients import signed
from tests.support.session_at_exchange import PATIENCE_S, at_exchange
from tests.support.waiting import until
from tickmesh.bus.schema import Kind, OrderType

MARKET = {"kind": OrderType.MARKET, "price_ticks": 0, "ttl_s": PATIENCE_S}
SELL = {**MARKET, "side": -1}
LOTS = 1_000_000  # 0.01 BTC


async def position(rest) -> int:
    """What the venue says the account holds, in lots."""
    url = f"/binance_usdm/fapi/v3/positionRisk?{signed()}"
    async with rest.session.get(rest.base + url, headers={"X-MBX-APIKEY": "local-key"}) as answer:
        return sum(round(float(row["positionAmt"]) * 1e8) for row in await answer.json())


async def by_hand(rest, side):
    """Somebody else trades on the account."""
    status, answer = await rest.order(
        "POST", "/binance_usdm/fapi/v1/order", symbol="BTCUSDT", side=side, type="MARKET", quantity="0.01"
    )
    assert status == 200, answer


def test_a_close_that_comes_too_late_opens_nothing_and_one_that_is_too_large_is_cut(tmp_path):
    async def play(mesh, rest):
        async def ends(cid, state, **more):
            mesh.order(cid, **more)
            await until(lambda: mesh.states(cid)[-1:] == [state], PATIENCE_S)
            return mesh.published(Kind.update, cid)[-1]

        await ends("open", "Filled", **MARKET)
        await by_hand(rest, "SELL")
        assert (await ends("gone", "Rejected", reduce_only=True, **SELL))["code"] == -2022
        await until(lambda: mesh.alerts("position_differs"), PATIENCE_S)  # it has looked, long before the next whole comparison
        assert mesh.ctx.ask_counters()["venue_positions"] == {"binance_usdm.BTCUSDT": 0}, "the executor is told"
        await by_hand(rest, "BUY")
        cut = await ends("too-much", "Expired", lots=3 * LOTS, reduce_only=True, **SELL)
        await until(lambda: sum(int(row["quantity_lots"]) for row in mesh.published(Kind.fill, "too-much")) == LOTS, PATIENCE_S)
        assert cut["filled_lots"] == LOTS and await position(rest) == 0
        for number in range(3):  # as of an executor that has not heard of those fills
            late = await ends(f"late-{number}", "Rejected", reduce_only=True, **SELL)
            assert (late["code"], late["reason"]) == (-2022, b"ReduceOnly Order is rejected.") and late["filled_lots"] == 0
        assert await position(rest) == 0
        await until(lambda: "venue_positions" not in mesh.ctx.ask_counters(), PATIENCE_S)  # both have none
        (told,) = mesh.alerts("nothing_to_close")
        assert told[1] == "binance_usdm.BTCUSDT sell", "it is not tried again and again"
        assert mesh.ctx.counters["unknowns"] == 0
        await ends("plain", "Filled", **{**MARKET, "side": 1})
        assert await position(rest) == LOTS

    at_exchange(tmp_path, play, account="binance_usdm")
