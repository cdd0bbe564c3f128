#!/usr/bin/env bash
# ccxt 4.5.90: of a self-trade, in which both orders are one's own, one of the two fills is lost, and not the same one everywhere.
#
# A venue gives a trade one id, so both fills of a self-trade have it (Binance spot with selfTradePreventionMode NONE; two strategies on
# one account are enough). ccxt knows own trades by symbol and id. Followed by watch_my_trades, the second fill replaces the first in the
# cache: a position summed up from it is 1 where it is 0. Asked for page by page, fetch_my_trades(params={"paginate": True}) keeps the first
# and drops the second; without paginate it has both. What names a fill is order and trade id together.
#
# Needs the package index only: the venue's answers are those of its documentation, served on loopback. Fails when ccxt does otherwise.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90 2>"$folder/pip.log" ||
    { cat "$folder/pip.log" >&2; exit 2; }

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import asyncio
import contextlib
import json

import ccxt.pro
from aiohttp import web

NOW_MS = 1_750_000_000_000
MARKET = {
    "id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT", "type": "spot", "spot": True,
    "margin": False, "swap": False, "future": False, "option": False, "contract": False, "active": True, "linear": None, "inverse": None,
    "precision": {"amount": 1e-5, "price": 0.01}, "limits": {}, "info": {},
}


def report(order, side, maker):
    """What the user stream says of a fill."""
    return {
        "e": "executionReport", "E": NOW_MS, "s": "BTCUSDT", "c": f"c{order}", "S": side, "o": "LIMIT", "f": "GTC", "q": "1.00000000",
        "p": "100.00000000", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": "TRADE", "X": "FILLED", "r": "NONE", "i": order,
        "l": "1.00000000", "z": "1.00000000", "L": "100.00000000", "n": "0.10000000", "N": "USDT", "T": NOW_MS, "t": 77, "I": 2 * order,
        "w": False, "m": maker, "M": False, "O": NOW_MS, "Z": "100.00000000", "Y": "100.00000000", "Q": "0.00000000", "W": NOW_MS,
        "V": "NONE",
    }


def row(order, bought, maker):
    """What myTrades says of a fill."""
    return {
        "symbol": "BTCUSDT", "id": 77, "orderId": order, "orderListId": -1, "price": "100.00000000", "qty": "1.00000000",
        "quoteQty": "100.00000000", "commission": "0.10000000", "commissionAsset": "USDT", "time": NOW_MS, "isBuyer": bought,
        "isMaker": maker, "isBestMatch": True,
    }


async def user_stream(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_json({"id": json.loads(message.data)["id"], "status": 200, "result": {"subscriptionId": 0}})
        for event in (report(1, "SELL", True), report(2, "BUY", False)):
            await socket.send_json({"subscriptionId": 0, "event": event})
    return socket


async def my_trades(request):
    return web.json_response([row(1, False, True), row(2, True, False)])


def shown(fills):
    return ", ".join(sorted(f"order {fill['order']} {fill['side']} {fill['amount']:g}" for fill in fills))


async def main():
    app = web.Application()
    app.router.add_get("/ws", user_stream)
    app.router.add_get("/myTrades", my_trades)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    venue = ccxt.pro.binance({"apiKey": "key", "secret": "secret", "enableRateLimit": False})
    venue.set_markets([MARKET])
    venue.urls["api"]["ws"]["ws-api"]["spot"] = f"ws://127.0.0.1:{port}/ws"
    venue.urls["api"]["private"] = f"http://127.0.0.1:{port}"
    print("ccxt", ccxt.__version__)
    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
        while True:  # until nothing comes any more
            await asyncio.wait_for(venue.watch_my_trades("BTC/USDT"), 2)
    print("  watched:", shown(venue.myTrades))
    print("  fetched:", shown(await venue.fetch_my_trades("BTC/USDT")))
    print("  fetched by pages:", shown(await venue.fetch_my_trades("BTC/USDT", params={"paginate": True})))
    await venue.close()
    await runner.cleanup()


asyncio.run(main())
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: of the two fills of one trade, watching keeps the second, pages keep the first"
ccxt 4.5.90
  watched: order 2 buy 1
  fetched: order 1 sell 1, order 2 buy 1
  fetched by pages: order 1 sell 1
SEEN
