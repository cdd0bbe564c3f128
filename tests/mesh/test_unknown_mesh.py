"""Instruments that are not heard, through real processes: who says it, and what it costs the others."""

import asyncio
import json
import time
import urllib.request
from collections import Counter

import pytest
from aiohttp import web

import tests.support.mesh_run as run
from tests.support.scripted import Processes, Scripted
from tickmesh.bus.schema import Kind

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

TWO = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "FOOUSDT"\n'
DENIED = '[feed]\nfresh_min_s = 5.0\nstanding_s = [0.2, 1.0]\n[exchange]\nfaults = "faults.toml"\n'


def alerts(events) -> Counter:
    return Counter((e.map()["what"], e.map()["target"]) for e in events if e.kind == Kind.alert)


def test_a_symbol_that_the_venue_does_not_know_is_named_everywhere_and_taken_up_when_it_is_listed(make_root):
    root = make_root(TWO + DENIED)
    (root / "faults.toml").write_text('[[faults]]\nkind = "unknown"\nsymbol = "FOOUSDT"\n')
    up = run.ok(root, "mesh", "up").stdout
    assert "binance.FOOUSDT: the venue does not know it" in up

    def status():
        return run.status(root)["instruments"]

    assert [(one["instrument"], one["standing"]) for one in status()] == [("binance.FOOUSDT", "unknown")]
    covered = run.ok_json(root, "mesh", "coverage")
    assert covered["unheard"] == ["binance.FOOUSDT"]
    said = run.command(root, "mesh", "coverage", "--missing").stdout
    assert "Never heard, and nothing is known of it: binance.FOOUSDT." in said and "Nothing is missing." not in said
    run.until(lambda: status()[0]["never_heard"] == ["depth", "quote", "trade"], "its streams are known never to have spoken")
    run.until(lambda: alerts(run.events(root))["unknown_instrument", "binance.FOOUSDT"] >= 2, "each line names it")
    events = run.events(root)
    named = alerts(events)
    assert not [what for what, target in named if what in ("stale_stream", "never_heard") and "FOO" in target]
    beats = [e.map() for e in events if e.kind == Kind.health and e.subject.startswith("feed-")]
    assert beats and all(beat["renewals"] == beat["reconnects"] == 0 for beat in beats), "nothing was renewed for it"

    exchange = json.loads((root / "run/exchange.json").read_text())["rest"]
    (fault,) = [f for f in json.loads(urllib.request.urlopen(f"{exchange}/tickmesh/v1/faults").read())["faults"]]
    ended = urllib.request.Request(f"{exchange}/tickmesh/v1/faults?id={fault['id']}", method="DELETE")
    assert urllib.request.urlopen(ended).status == 200
    heard = {"trade.binance.FOOUSDT", "quote.binance.FOOUSDT", "depth.binance.FOOUSDT"}
    run.until(lambda: heard <= {e.topic for e in run.events(root, Kind.trade, Kind.quote, Kind.depth)}, "it is taken up")
    run.until(lambda: alerts(run.events(root))["instrument_back", "binance.FOOUSDT"] == 2, "and that is said")
    run.until(lambda: status() == [], "nothing is named any more")
    assert alerts(run.events(root))["unknown_instrument", "binance.FOOUSDT"] == 2, "once a line"
    pids = {e.map()["pid"] for e in run.events(root, Kind.run) if e.subject.startswith("feed-")}
    assert len(pids) == 2, "without a restart"


# Coinbase: a subscription that names an unknown product is refused whole, and one who has none after 5 s is cut.

GOOD, BAD = "BTC-USD", "XRP-EUR"


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".500000Z"


async def coinbase(ws):
    subscribed, began, number = False, time.monotonic(), int(time.time() * 10)

    async def read():
        nonlocal subscribed
        async for message in ws:
            words = json.loads(message.data)
            if BAD in words.get("product_ids", ()):
                reason = f"{BAD} is not a valid product"
                await ws.send_json({"type": "error", "message": "Failed to subscribe", "reason": reason})
            elif words.get("type") == "subscribe":
                await ws.send_json({"type": "subscriptions", "channels": []})
                book = {"bids": [["100.00", "1.5"]], "asks": [["101.00", "2.5"]]}
                await ws.send_json({"type": "snapshot", "product_id": GOOD, **book})
                subscribed = True

    reading = asyncio.ensure_future(read())
    try:
        while not ws.closed and (subscribed or time.monotonic() - began < 5):
            await asyncio.sleep(0.05)
            if subscribed and int(time.time() * 10) > number:
                number += 1
                match = {"type": "match", "trade_id": number, "sequence": number, "time": now(), "product_id": GOOD}
                await ws.send_json({**match, "size": "0.1", "price": "100.5", "side": "buy"})
    finally:
        reading.cancel()


def coinbase_rest(request):
    if request.path == "/time":
        return {"iso": now(), "epoch": time.time()}
    if request.path in (f"/products/{GOOD}", "/products"):
        one = {"id": GOOD, "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"}
        return [one, {"id": "ODD-ONE", "quote_increment": None}] if request.path == "/products" else one
    return web.json_response({"message": "NotFound"}, status=404)


def test_a_product_that_coinbase_refuses_costs_the_others_nothing(tmp_path):
    settings = "[feed]\nstanding_s = [0.2, 1.0]\n"
    with Scripted(coinbase, coinbase_rest) as server:
        with Processes(tmp_path, "coinbase", server, [(BAD, -8, -8), (GOOD, -8, -8)], settings) as mesh:
            mesh.until(lambda: len(mesh.events(Kind.trade)) > 60, "trades of the other one")
            mesh.until(lambda: alerts(mesh.events(Kind.alert))["unknown_instrument", f"coinbase.{BAD}"] == 2, "it is named")
        ids = [e.last_id for e in mesh.events(Kind.trade)]
        assert ids == list(range(ids[0], ids[0] + len(ids))), "no hole: nobody was cut"
        assert not [e for e in mesh.events(Kind.health) if e.map().get("reconnects")]
        covered = json.loads(mesh.command("coverage", "--json").stdout)
        assert covered["ok"] and covered["unheard"] == [f"coinbase.{BAD}"]


# USD-M: one list has all symbols.


def test_forty_instruments_cost_one_list_a_line(tmp_path):
    names = [f"COIN{k}USDT" for k in range(40)]

    async def socket(ws):
        async for message in ws:
            await ws.send_json({"result": None, "id": json.loads(message.data).get("id")})

    def rest(request):
        if request.path.endswith("exchangeInfo"):
            odd = [{"symbol": "ODDUSDT", "filters": [{"filterType": "NEW_ONE", "notional": 5}]}]
            return {"symbols": odd + [{"symbol": s, "status": "TRADING", "filters": []} for s in names]}
        if request.path.endswith("time"):
            return {"serverTime": int(time.time() * 1000)}
        return {"lastUpdateId": 1, "bids": [], "asks": []}

    with Scripted(socket, rest) as server:
        with Processes(tmp_path, "binance_usdm", server, [(name, -8, -8) for name in names]) as mesh:

            def defined():
                return {(e.producer, e.subject) for e in mesh.events(Kind.instrument)}

            mesh.until(lambda: len(defined()) == 2 * 40, "all are defined, by each line")
            mesh.until(lambda: Counter(server.asked)["/fapi/v1/depth"] > 40, "and their books are asked for")
            assert Counter(server.asked)["/fapi/v1/exchangeInfo"] == 2, "one list a line"


# A book that is larger than a message may be.


def test_a_book_beyond_the_bound_is_given_up_by_name_and_costs_the_others_one_connection(tmp_path):
    """The one of 17 MiB is; the one of 9 MiB is none of them."""
    level = '["100.00000000","1.50000000"],'
    sizes = {"BTC-USD": 17 << 20, "ETH-USD": 9 << 20, "XRP-USD": 1000}
    books = {product: (level * (size // len(level)))[:-1] for product, size in sizes.items()}
    connections = []

    async def socket(ws):
        connections.append(ws)

        async def trades(product):
            while True:
                await asyncio.sleep(0.1)
                number = int(time.time() * 10)
                match = {"type": "match", "trade_id": number, "sequence": number, "time": now(), "product_id": product}
                await ws.send_json({**match, "size": "0.1", "price": "100.5", "side": "buy"})

        telling = []
        async for message in ws:
            words = json.loads(message.data)
            (product,) = words["product_ids"]
            await ws.send_json({"type": "subscriptions", "channels": []})
            if "matches" in words["channels"]:
                telling.append(asyncio.ensure_future(trades(product)))
            if "level2_batch" in words["channels"]:
                asks = '"asks":[["101.00000000","2.50000000"]]'
                await ws.send_str(f'{{"type":"snapshot","product_id":"{product}",{asks},"bids":[{books[product]}]}}')
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)

    def rest(request):
        if request.path == "/time":
            return {"iso": now(), "epoch": time.time()}
        return [{"id": p, "quote_increment": "0.01", "base_increment": "0.00000001"} for p in sizes]

    with Scripted(socket, rest) as server:
        with Processes(tmp_path, "coinbase", server, [(product, -8, -8) for product in sizes], lines=1) as mesh:
            mesh.until(lambda: alerts(mesh.events(Kind.alert))["oversize", "depth.coinbase.BTC-USD"], "it is named")
            mesh.until(
                lambda: {e.subject for e in mesh.events(Kind.depth)} == {"coinbase.ETH-USD", "coinbase.XRP-USD"}, "others"
            )
            asked = len([e for e in mesh.events(Kind.trade) if e.subject == "coinbase.BTC-USD"])
            mesh.until(
                lambda: len([e for e in mesh.events(Kind.trade) if e.subject == "coinbase.BTC-USD"]) > asked + 30, "its trades"
            )
        assert len(connections) == 2, "one that broke, and one without that book"
        (alert,) = [e.map() for e in mesh.events(Kind.alert) if e.map()["what"] == "oversize"]
        assert alert["level"] == "critical" and "16777216 are allowed" in alert["why"]
        beat = (
            mesh.events(Kind.health)[-1:] and [e.map() for e in mesh.events(Kind.health) if e.subject == "feed-coinbase-1"][-1]
        )
        assert beat["oversize"] == 1 and "its book is given up" in beat["given_up"]["coinbase.BTC-USD"]
        (whole,) = {e.count for e in mesh.events(Kind.depth) if e.subject == "coinbase.ETH-USD"}
        assert whole > 300_000


def test_a_venue_that_counts_by_the_second_is_asked_by_the_second(tmp_path):
    """Kraken: about one request a second; two lines of a venue share half of it, and ask the time four times at their start."""
    asked = []

    async def socket(ws):
        async for _ in ws:
            await ws.send_json({"method": "subscribe", "success": True})

    def rest(request):
        asked.append(time.monotonic())
        if request.path.endswith("Time"):
            return {"error": [], "result": {"unixtime": int(time.time())}}
        return {"error": [], "result": {"X": {"altname": "XBTUSD", "pair_decimals": 1, "lot_decimals": 8}}}

    with Scripted(socket, rest) as server:
        with Processes(tmp_path, "kraken", server, [("BTC/USD", -1, -8)], "[feed]\nweight_share = 1.0\n", lines=1) as mesh:
            mesh.until(lambda: len(asked) >= 4, "four requests")
    # In all, as this machine may be late to see one: a line that had the second to itself would ask three times in 3 s.
    assert asked[3] - asked[0] > 4.5, "half of the venue's second for each of two lines"
