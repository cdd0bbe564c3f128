"""Gaps repaired from histories of scripted venues, through the real processes."""

import asyncio
import json
import time

import pytest
from aiohttp import web

from tests.support.scripted import Processes, Scripted
from tickmesh.bus.schema import Kind

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(200)]

PAGE = 200  # as the venue's thousand, to be quick
FILLS = 600
SHARED = 45  # fills of one instant


def test_fills_of_one_instant_at_a_page_s_edge_are_not_lost(tmp_path):
    """Kraken knows its past by time: pages end among fills of one instant, which it compares finer than it prints."""
    begin_ns = time.time_ns() - 60 * 10**9

    def ns(number):
        return begin_ns + number // SHARED * 7_654_321

    def printed(number):
        return f"{ns(number) // 10**9}.{-(-ns(number) % 10**9 // 10**5) % 10**4:04}"

    def stamp(number):
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns(number) // 10**9))
        return f"{whole}.{ns(number) % 10**9 // 1000:06}Z"

    def trade(number):
        return {"symbol": "BTC/USD", "side": "buy", "price": 100.5, "qty": 0.1, "ord_type": "limit", "trade_id": number,
                "timestamp": stamp(number)}  # fmt: skip

    async def socket(ws):
        async for message in ws:
            words = json.loads(message.data)
            if words.get("method") != "subscribe":
                continue
            await ws.send_json({"method": "subscribe", "success": True, "result": {"channel": words["params"]["channel"]}})
            if words["params"]["channel"] == "trade":
                await ws.send_json({"channel": "trade", "type": "update", "data": [trade(10)]})
                await ws.send_json({"channel": "trade", "type": "update", "data": [trade(FILLS)]})

    def rest(request):
        if request.path.endswith("Time"):
            return {"error": [], "result": {"unixtime": int(time.time())}}
        if request.path.endswith("AssetPairs"):
            pair = {"altname": "XBTUSD", "pair_decimals": 1, "lot_decimals": 8}
            return {"error": [], "result": {"XXBTZUSD": pair}}
        since = int(request.query["since"])
        found = [number for number in range(1, FILLS + 1) if ns(number) > since][:PAGE]
        rows = ", ".join(f'["100.5", "0.1", {printed(number)}, "b", "l", "", {number}]' for number in found)
        body = f'{{"error": [], "result": {{"XXBTZUSD": [{rows}], "last": "{ns(found[-1]) if found else since}"}}}}'
        return web.Response(text=body, content_type="application/json")

    async def beating(ws):
        task = asyncio.ensure_future(socket(ws))
        while not ws.closed and not task.done():
            await ws.send_json({"channel": "heartbeat"})
            await asyncio.sleep(1)

    settings = "[log]\nhold_ms = 100\n[backfill]\nweight_share = 1.0\n"
    with Scripted(beating, rest) as server:
        with Processes(tmp_path, "kraken", server, [("BTC/USD", -1, -8)], settings) as mesh:

            def ids():
                return sorted({int(one) for e in mesh.events(Kind.trade) for one in e.records["trade_id"]})

            mesh.until(lambda: len(ids()) == FILLS - 9, "all are fetched", 90)
            covered = json.loads(mesh.command("coverage", "--json", "--kind", "trade").stdout)
        (trades,) = covered["streams"]
        assert ids() == list(range(10, FILLS + 1)) and covered["ok"]
        assert trades["ids"] == {"complete": 2, "repaired": FILLS - 11, "missing": 0, "unproven": 0}
        assert not [record for e in mesh.events(Kind.gap) for record in e.records if record["state"] == 3]
