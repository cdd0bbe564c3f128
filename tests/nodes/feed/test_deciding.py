"""Exponents are decided from the venue's definitions before anything is subscribed, once for a source."""

import asyncio
import json

from aiohttp import web

from tests.support.feed_frames import trade
from tests.support.feed_run import assert_rebuilt_equal, published
from tests.support.told_venue import alerts, beside
from tests.support.waiting import until
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.schema import Kind

BTC, FINE, ABSURD = "BTCUSDT", "FINEUSDT", "ABSURDUSDT"


def symbol(name, tick, lot):
    rules = [{"filterType": "PRICE_FILTER", "tickSize": tick}, {"filterType": "LOT_SIZE", "stepSize": lot}]
    return {"symbol": name, "filters": rules}


def test_the_first_start_of_a_source_waits_for_the_definitions_and_later_ones_do_not(tmp_path):
    """What no exponent can hold is named and costs no other; a tick that becomes finer than what was decided is, too."""
    ticks = {BTC: "0.01000000", FINE: "0.0000000001", ABSURD: "0.0000000000000000001"}
    well, subscribed, flows = False, [], []

    async def flow(ws, name):
        price = {"btcusdt@trade": "61837.63", "fineusdt@trade": "0.0000012345"}[name]
        for number in range(1, 2000):
            words = trade(number).replace("btcusdt@trade", name).replace(BTC, name.partition("@")[0].upper())
            await ws.send_str(words.replace("61837.63", price))
            await asyncio.sleep(0.02)

    async def socket(ws, words):
        subscribed.append(words["params"])
        await ws.send_json({"result": None, "id": words["id"]})
        flows.extend(asyncio.create_task(flow(ws, name)) for name in words["params"] if name.endswith("@trade"))

    def rest(request):
        if not well:
            return web.Response(status=503)
        if request.path.endswith("exchangeInfo"):
            asked = json.loads(request.query.get("symbols", "[]")) or [request.query["symbol"]]
            return {"symbols": [symbol(name, ticks[name], "0.001") for name in asked]}
        return {"lastUpdateId": 1, "bids": [], "asks": [], "serverTime": 1_700_000_000_000}

    def lines(**settings):
        return beside(tmp_path, "binance", list(ticks), socket, rest, exponent=None, raw=True, **settings)

    def prices(ctx):
        return {event.subject: event.records["price_ticks"][0] for event in published(ctx, Kind.trade)}

    async def go():
        nonlocal well
        async with lines() as ctx:
            await until(lambda: ctx.counters["rest_failures"] > 3)
            await until(lambda: ctx.counters["undecided"] == [f"binance.{name}" for name in ticks])
            assert not ctx.sockets, "nothing can be read yet"
            well = True
            await until(lambda: len(prices(ctx)) == 2 and sum(map(len, subscribed)) == 2 * 3)
            assert prices(ctx) == {"binance.BTCUSDT": 6183763000000, "binance.FINEUSDT": 12345}
            names = sorted(name for message in subscribed for name in message)
            assert len(names) == len(set(names)) == 2 * 3 and not any("absurd" in name for name in names)
            await until(lambda: alerts(ctx, "exponents") == [("exponents", "binance.ABSURDUSDT")])
            (said,) = (event.map() for event in published(ctx, Kind.alert) if event.map()["what"] == "exponents")
            assert "19 decimals; 18 can be held" in said["why"] and "price_exponent" in said["action"]
            await until(lambda: ctx.counters["undecided"] == ["binance.ABSURDUSDT"])
            await until(lambda: {event.subject for event in published(ctx, Kind.instrument)} == set(prices(ctx)))
            assert_rebuilt_equal(ctx)
            assert [one.price_exponent for one in DecidedInstruments(ctx.config).values()] == [-8, -10]
        well, before = False, len(subscribed)
        async with lines() as ctx:
            await until(lambda: len(subscribed) > before and ctx.counters["rest_failures"] > 3)
            assert set(prices(ctx)) == {"binance.BTCUSDT", "binance.FINEUSDT"}, "as decided yesterday"
            ticks[BTC], well = "0.000000001", True
            await until(lambda: ("exponents", "binance.BTCUSDT") in alerts(ctx))
            said = [event.map()["why"] for event in published(ctx, Kind.alert) if event.map()["target"] == "binance.BTCUSDT"]
            assert len(said) == 1 and said[0].startswith("the venue's tick size is 0.000000001 and its lot size 0.001;")
            assert said[0].endswith("price_exponent -8 and quantity_exponent -8 cannot hold them: -9 and -8 can")

        for task in flows:
            task.cancel()

    asyncio.run(go())
