"""A scripted venue of USD-M futures: as that of spot in tests/support/session_scene.py, in the other dialect."""

import contextlib
import json
import time

from aiohttp import web

from tests.support.session_scene import Venue, quantity

KEY = "a-listen-key"


class FuturesVenue(Venue):
    """Its wallet is USDT's; `incomes` are fundings, `by_hand` lots that somebody else holds, `hedge` the position mode,
    `multi_assets` the assets mode."""

    NAME, BASE, ORDERS = "binance_usdm", "/binance_usdm", "/ws-fapi/v1"
    UNSIGNED = frozenset(("userDataStream.start", "userDataStream.ping"))
    AMENDS = False

    def __init__(self):
        super().__init__()
        self.incomes = []
        self.by_hand = 0
        self.hedge = False
        self.multi_assets = False
        self.may_trade = True
        self.kept = 0  # how often the listenKey was prolonged
        self.streams_at = []  # paths by which user events were asked for

    async def stream(self, request):
        """Serves a websocket of user events alone."""
        self.streams_at.append(request.path)
        return await super().stream(request)

    async def rest(self, request):
        """Answers a REST request; serves user events at another address than orders, too, as the venue does."""
        at_streams = request.path == f"{self.BASE}/streams/private/ws"
        return await (self.stream(request) if at_streams else super().rest(request))

    def position(self):
        """What the account holds, in lots."""
        sides = {order["id"]: 1 if order["side"] == "BUY" else -1 for order in self.orders.values()}
        return self.by_hand + sum(sides[order["id"]] * order["filled"] for order in self.orders.values())

    async def send(self, event):
        """Sends an event of spot in the words of futures."""
        if event["e"] == "executionReport":
            order = event | {"c": event["C"] or event["c"], "C": ""}
            event = {"e": "ORDER_TRADE_UPDATE", "E": event["E"], "T": event["T"], "o": order}
        elif event["e"] == "outboundAccountPosition":
            rows = [{"a": row["a"], "wb": row["f"], "cw": row["f"]} for row in event["B"]]
            event = {"e": "ACCOUNT_UPDATE", "E": event["E"], "T": event["E"], "a": {"m": "ORDER", "B": rows, "P": []}}
        for ws in list(self.sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await ws.send_str(json.dumps(event))

    async def fund(self, amount, quiet=False):
        """Settles a funding; `quiet`: without an event."""
        number, now_ms = len(self.incomes) + 1, time.time_ns() // 10**6
        row = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": amount, "asset": "USDT"}
        self.incomes.append(row | {"time": now_ms, "tranId": number})
        if not quiet:
            changed = {"m": "FUNDING_FEE", "B": [{"a": "USDT", "wb": "5.0"}]}
            await self.send({"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": changed})

    async def answer(self, ws, asked, params):
        """Answers one request of the WebSocket API."""
        if asked["method"] in self.UNSIGNED:
            assert params == {"apiKey": "local-key"}
            self.kept += asked["method"] == "userDataStream.ping"
            await ws.send_str(json.dumps({"id": asked["id"], "status": 200, "result": {"listenKey": KEY}}))
            return
        await super().answer(ws, asked, params)

    def answer_question(self, path, query):
        """Answers a signed REST request."""
        name = path.rpartition("/")[2]
        if name == "accountConfig":
            modes = {"dualSidePosition": self.hedge, "multiAssetsMargin": self.multi_assets}
            return web.json_response({"canTrade": self.may_trade, "canWithdraw": True, **modes})
        if name == "balance":
            return web.json_response([{"asset": asset, "balance": free} for asset, (free, _) in self.balances.items()])
        if name == "positionRisk":
            lots = self.position()
            text = f"-{quantity(-lots)}" if lots < 0 else quantity(lots)
            return web.json_response([{"symbol": "BTCUSDT", "positionAmt": text}] if lots else [])
        if name == "income":
            since_ms, page, limit = int(query["startTime"]), int(query["page"]), int(query["limit"])
            rows = [row for row in self.incomes if row["time"] >= since_ms]
            return web.json_response(rows[(page - 1) * limit : page * limit])
        spot = {"userTrades": "myTrades"}.get(name, name)
        return super().answer_question(f"/api/v3/{spot}", query)
