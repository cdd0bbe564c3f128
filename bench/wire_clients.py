"""Programs that do what the mesh does, without it: quote in, imbalance, order out, in one process. Run by tick_to_order.py.

    python -m bench.wire_clients bare|ccxt WS_ADDRESS REST_ADDRESS KEY SECRET

`bare`: websockets for the quotes, aiohttp for the orders, on uvloop; no log, no risk, no look at an answer: the floor.
`ccxt`: ccxt.pro as its users write it. Both order by the venue's WS-API, the fastest way that it has, without waiting for the
answer to the order before, and at most every 5 ms, as the mesh's settings have it. A client order id ends with the update id of
its quote.
"""

import asyncio
import hashlib
import hmac
import sys
import time

THRESHOLD = 0.1
PAUSE_S = 0.005


async def bare(ws: str, rest: str, key: str, secret: str) -> None:
    """The floor: nothing but the work itself."""
    import aiohttp
    import msgspec
    import websockets

    class Data(msgspec.Struct):
        u: int
        B: str
        A: str

    decode, encode = msgspec.json.Decoder(Data).decode, msgspec.json.Encoder().encode
    last = 0.0
    async with (
        websockets.connect(f"{ws}/ws/btcusdt@bookTicker", compression=None) as quotes,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{ws}/ws-api/v3") as orders,
    ):
        reader = asyncio.create_task(_read_away(orders))
        async for frame in quotes:
            try:
                data = decode(frame)
            except msgspec.ValidationError:
                break  # it says goodbye
            bid, ask = float(data.B), float(data.A)
            imbalance = (bid - ask) / (bid + ask)
            if abs(imbalance) > THRESHOLD and time.monotonic() - last > PAUSE_S:
                last = time.monotonic()
                parameters = {
                    "apiKey": key, "newClientOrderId": f"bare-{data.u}", "quantity": "0.001", "recvWindow": 2000,
                    "side": "BUY" if imbalance > 0 else "SELL", "symbol": "BTCUSDT",
                    "timestamp": int(time.time() * 1000), "type": "MARKET",
                }  # fmt: skip
                payload = "&".join(f"{k}={v}" for k, v in parameters.items())
                parameters["signature"] = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
                await orders.send_str(encode({"id": data.u, "method": "order.place", "params": parameters}).decode())
        reader.cancel()


async def _read_away(orders) -> None:
    async for _ in orders:
        pass


async def ccxt_pro(ws: str, rest: str, key: str, secret: str) -> None:
    """ccxt.pro, configured as docs/exchange.md has it for the local exchange."""
    import ccxt.pro

    api = {"public": rest + "/api/v3", "private": rest + "/api/v3", "v1": rest + "/api/v1", "sapi": rest + "/sapi/v1"}
    sockets = {"spot": ws + "/ws", "margin": ws + "/ws", "ws-api": {"spot": ws + "/ws-api/v3"}}
    exchange = ccxt.pro.binance({
        "apiKey": key, "secret": secret, "enableRateLimit": False,
        "options": {
            "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False,
        },
        "urls": {"api": {**api, "ws": sockets}},
    })  # fmt: skip
    under_way: set[asyncio.Task] = set()
    last = 0.0
    try:
        await exchange.load_markets()
        while True:
            quote = (await exchange.watch_bids_asks(["BTC/USDT"]))["BTC/USDT"]
            bid, ask = quote["bidVolume"], quote["askVolume"]
            imbalance = (bid - ask) / (bid + ask)
            if abs(imbalance) > THRESHOLD and time.monotonic() - last > PAUSE_S:
                last = time.monotonic()
                name = {"newClientOrderId": f"ccxt-{quote['info']['u']}"}
                side = "buy" if imbalance > 0 else "sell"
                order = exchange.create_order_ws("BTC/USDT", "market", side, 0.001, None, name)
                under_way.add(asyncio.create_task(order))
                for done in [task for task in under_way if task.done()]:
                    under_way.discard(done)
                    done.result()  # an order that is refused is a mistake of ours here, and no figure
    finally:
        await exchange.close()


CLIENTS = {"bare": bare, "ccxt": ccxt_pro}

if __name__ == "__main__":
    import uvloop

    uvloop.run(CLIENTS[sys.argv[1]](*sys.argv[2:]))
