"""A session against a scripted venue."""

import asyncio
import contextlib
import json
import shutil
import time
from urllib.parse import parse_qsl, unquote

import numpy as np
from aiohttp import web

from tests.support.places import KNOWN
from tests.support.said import Said
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import INTENT, Action, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.wire import encode
from tickmesh.nodes.exchange.server.tls import server_context
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.orders.accounts import session_name, session_of_venue
from tickmesh.nodes.sequencer import node as sequencer
from tickmesh.nodes.session import node as session
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues import binance_signing
from tickmesh.nodes.venues.parsing.decimals import mantissa
from tickmesh.nodes.venues.table import dialect_of

SUBJECT = "binance.BTCUSDT"
SPOT = dialect_of("binance")
LOCAL = Credentials("local-key", binance_signing.hmac_signer("local-secret"))  # of the local exchange's only account


def quantity(lots: int) -> str:
    """A quantity as the venue's text."""
    return f"{lots // 10**8}.{lots % 10**8:08d}"


def known_at(venue: str) -> str:
    """A mesh.toml with one instrument of a venue, whose exponents are known."""
    return KNOWN if venue == "binance" else f'{KNOWN}venue = "{venue}"\n'


def check_hmac(payload: str, signature: str) -> None:
    """Asserts that a payload is signed with the local exchange's secret."""
    assert signature == LOCAL.sign(payload)


class Venue:
    """A scripted venue: orders rest until the test fills them. `mood[client id]`: what becomes of the request of that id.

    lost: done, but not answered · swallowed: not done, not answered · timeout: done, answered with −1007 ·
    refused: −2010 (−2038) · cut: done, and the connection is cut. An amendment's is `mood["amend " + client id]`.
    """

    NAME, BASE, ORDERS = "binance", "", "/ws-api/v3"  # in mesh.toml; before all paths; of the order socket
    UNSIGNED: frozenset[str] = frozenset()  # methods of the order socket that take a key alone
    AMENDS = True  # in its place

    def __init__(self):
        self.orders = {}
        self.trades = []
        self.mood = {}
        self.received = []
        self.skew_ms = 0  # its clock is so far ahead
        self.sockets = []  # that get user events
        self.order_sockets = []
        self.muted = False  # the user stream says nothing
        self.reply_last = False  # the stream's events come before the answer
        self.down = False
        self.deaf, self.busy = False, 0  # cancels are neither done nor answered; so many of them are refused
        self.check = check_hmac  # of a payload and its signature
        self.balances = {"USDT": ("5.00000000", "0.00000000")}
        self.rights = {"enableWithdrawals": False, "enableSpotAndMarginTrading": True, "enableFutures": True}  # of the key

    def view(self, order):
        """An order as the venue answers it."""
        return {"symbol": "BTCUSDT", "orderId": order["id"], "clientOrderId": order["cid"], "status": order["status"],
                "side": order["side"], "executedQty": quantity(order["filled"]), "transactTime": 1_700_000_000_000,
                "fills": [], "price": "100.00000000",
                "origQty": quantity(order["lots"]), "type": "LIMIT", "timeInForce": "GTC"}  # fmt: skip

    async def emit(self, order, what, trade=None, c=None):
        """Sends a report of an order on the user streams."""
        if self.muted:
            return
        event = {"e": "executionReport", "E": 1_700_000_000_000, "s": "BTCUSDT", "c": c or order["cid"],
                 "C": order["cid"] if c else "", "S": order["side"], "x": what, "X": order["status"], "i": order["id"],
                 "l": "0", "L": "0", "z": quantity(order["filled"]), "T": 1_700_000_000_000, "t": -1, "r": "NONE",
                 "n": "0", "N": None, "m": False, "o": "LIMIT", "f": "GTC", "p": "100.00000000",
                 "q": quantity(order["lots"])}  # fmt: skip
        if trade:
            event |= {"l": trade["qty"], "L": trade["price"], "t": trade["id"], "n": trade["commission"], "N": "USDT",
                      "m": True}  # fmt: skip
        await self.send(event)

    async def send(self, event):
        """Sends an event on the user streams."""
        for ws in list(self.sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await ws.send_str(json.dumps({"subscriptionId": 0, "event": event}))

    async def emit_balances(self, *assets):
        """Sends what these assets are now on the user streams."""
        rows = [{"a": asset, "f": self.balances[asset][0], "l": self.balances[asset][1]} for asset in assets]
        event = {"e": "outboundAccountPosition", "E": 1_700_000_000_000, "u": 1_700_000_000_000, "B": rows}
        await self.send(event)

    def place(self, cid, lots=100_000_000):
        """An order that stands without this mesh's doing."""
        self.orders[cid] = {"cid": cid, "id": 500 + len(self.orders), "lots": lots, "filled": 0, "status": "NEW", "side": "BUY"}

    async def fill(self, cid, lots, quiet=False):
        """Fills an order in part or whole; `quiet`: without a report."""
        order = self.orders[cid]
        order["filled"] += lots
        order["status"] = "FILLED" if order["filled"] == order["lots"] else "PARTIALLY_FILLED"
        trade = {"id": 1000 + len(self.trades), "orderId": order["id"], "price": "100.00000000", "qty": quantity(lots),
                 "commission": "0.00100000", "commissionAsset": "USDT", "time": 1_700_000_000_000,
                 "isBuyer": order["side"] == "BUY", "isMaker": True,
                 "buyer": order["side"] == "BUY", "maker": True}  # fmt: skip
        self.trades.append(trade)
        if not quiet:
            await self.emit(order, "TRADE", trade)
        return trade

    async def socket(self, request):
        """Serves the WebSocket API."""
        if self.down:
            return web.Response(status=503)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.order_sockets.append(ws)
        async for message in ws:
            asked = json.loads(message.data)
            params = asked["params"]
            if asked["method"] not in self.UNSIGNED:
                self.check(binance_signing.ws_payload(params), params["signature"])
            await self.answer(ws, asked, params)
        self.order_sockets.remove(ws)
        if ws in self.sockets:
            self.sockets.remove(ws)
        return ws

    async def stream(self, request):
        """Serves a websocket of user events alone."""
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.sockets.append(ws)
        try:
            async for _ in ws:
                pass
        finally:  # also where who listened has gone
            self.sockets.remove(ws)
        return ws

    async def answer(self, ws, asked, params):
        """Answers one request of the WebSocket API."""

        async def reply(status, **content):
            with contextlib.suppress(ConnectionError):  # who asked is gone
                await ws.send_str(json.dumps({"id": asked["id"], "status": status, **content}))

        if asked["method"] == "userDataStream.subscribe.signature":
            self.sockets.append(ws)
            await reply(200, result={"subscriptionId": 0})
            return
        if asked["method"] == "order.cancel":
            cid = params["origClientOrderId"]
            self.received.append(("cancel", cid))
            if self.deaf:
                return
            if self.busy:
                self.busy -= 1
                await reply(503, error={"code": -1008, "msg": "Server is currently overloaded."})
                return
            order = self.orders.get(cid)
            if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
                await reply(400, error={"code": -2011, "msg": "Unknown order sent."})
                return
            order["status"] = "CANCELED"
            await self.emit(order, "CANCELED", c="the-cancel")
            await reply(200, result=self.view(order) | {"origClientOrderId": cid, "clientOrderId": "the-cancel"})
            return
        cid = params["newClientOrderId"]
        if asked["method"] == "order.amend.keepPriority":
            await self.amend(ws, params, reply)
            return
        self.received.append(("place", cid))
        mood = self.mood.get(cid, "")
        if mood == "swallowed":
            return
        if mood == "refused":
            await reply(400, error={"code": -2010, "msg": "Account has insufficient balance for requested action."})
            return
        lots = mantissa(params["quantity"], -8)
        order = {"cid": cid, "id": 500 + len(self.orders), "lots": lots, "filled": 0, "status": "NEW",
                 "side": params["side"]}  # fmt: skip
        self.orders[cid] = order
        placed = self.view(order)
        if self.reply_last:
            await self.emit(order, "NEW")
            await self.fill(cid, lots)
            await asyncio.sleep(0.05)
            placed["status"] = "NEW"  # an answer made before the fill, and late
            await reply(200, result=placed)
        elif mood == "timeout":
            await reply(503, error={"code": -1007, "msg": "Timeout waiting for response from backend server."})
        elif mood == "cut":
            await ws.close()
        elif mood != "lost":
            await reply(200, result=placed)
            await self.emit(order, "NEW")

    async def amend(self, ws, params, reply):
        """Reduces an order, unless there is no such reduction."""
        cid, lots = params["origClientOrderId"], mantissa(params["newQty"], -8)
        order, mood = self.orders.get(cid), self.mood.get(f"amend {cid}", "")
        self.received.append(("amend", cid))
        if mood == "swallowed":
            return
        stands = order is not None and order["status"] in ("NEW", "PARTIALLY_FILLED")
        if mood == "refused" or not stands or not order["filled"] < lots < order["lots"]:
            await reply(400, error={"code": -2038, "msg": "The requested action would change no state; rejecting."})
            return
        order["lots"] = lots
        if mood == "timeout":
            await reply(503, error={"code": -1007, "msg": "Timeout waiting for response from backend server."})
        elif mood == "cut":
            await ws.close()
        elif mood != "lost":
            await self.emit(order, "REPLACED", c=cid)
            named = {"clientOrderId": cid, "origClientOrderId": cid, "orderId": order["id"], "symbol": "BTCUSDT"}
            terms = {"price": "100.00000000", "qty": quantity(lots), "executedQty": quantity(order["filled"]),
                     "status": order["status"], "timeInForce": "GTC", "type": "LIMIT", "side": order["side"]}  # fmt: skip
            await reply(200, result={"transactTime": 1_700_000_000_000, "executionId": 7, "amendedOrder": named | terms})

    async def rest(self, request):
        """Answers a REST request."""
        path = request.path.removeprefix(self.BASE)
        if path.endswith("/time"):
            return web.json_response({"serverTime": time.time_ns() // 10**6 + self.skew_ms})
        query = dict(parse_qsl(request.query_string))
        unsigned, _, signature = request.query_string.rpartition("&signature=")
        self.check(unsigned, unquote(signature))
        if path == "/sapi/v1/account/apiRestrictions":
            return web.json_response(self.rights)
        if request.method != "GET":
            method = {"POST": "order.place", "DELETE": "order.cancel"}[request.method]
            said = Said()
            await self.answer(said, {"id": 0, "method": method}, query)
            return web.json_response(said.answer.get("result", said.answer.get("error")), status=said.answer["status"])
        return self.answer_question(path, query)

    def answer_question(self, path, query):
        """Answers a signed REST request."""
        if path == "/api/v3/openOrders":
            return web.json_response([self.view(o) for o in self.orders.values() if o["status"] in ("NEW", "PARTIALLY_FILLED")])
        if path == "/api/v3/allOrders":
            return web.json_response([self.view(o) for o in self.orders.values() if o["id"] >= int(query["orderId"])])
        if path == "/api/v3/order":
            order = self.orders.get(query["origClientOrderId"])
            if order is None:
                return web.json_response({"code": -2013, "msg": "Order does not exist."}, status=400)
            return web.json_response(self.view(order))
        if path == "/api/v3/myTrades":
            wanted = [
                t for t in self.trades
                if t["id"] >= int(query.get("fromId", 0)) and query.get("orderId", str(t["orderId"])) == str(t["orderId"])
            ]  # fmt: skip
            return web.json_response(wanted)
        rows = [{"asset": asset, "free": free, "locked": locked} for asset, (free, locked) in self.balances.items()]
        return web.json_response({"balances": rows})


class Mesh:
    """Runs a sequencer, a writer of intents, and a session that a test can kill and start."""

    def __init__(self, config, venue):
        self.config, self.venue = config, venue
        self.account = getattr(venue, "NAME", "binance")  # the venue of the session's account
        self.subject = f"{self.account}.BTCUSDT"
        self.executor = Context(config, "executor")
        self.ctx = None
        self.task = None

    def start(self, context=Context):
        """Starts the session."""
        self.ctx = context(self.config, session_name(self.account), session_of_venue(self.account))
        self.task = asyncio.create_task(session.run(self.ctx))

    async def kill(self):
        """Ends the session as SIGKILL would: nothing is published on the way out."""
        self.ctx.publish = lambda events: None
        self.ctx.stop.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.ctx.close()

    def publish_intent(
        self, cid, target="", lots=100_000_000, kind=OrderType.LIMIT, ttl_s=5.0, side=1, price_ticks=10_000_000_000,
        amend=False, reduce_only=False,
    ):  # fmt: skip
        """Publishes an intent: an order, or to cancel `target`, or to reduce it to `lots`."""
        record = np.zeros(1, INTENT)
        record["client_order_id"], record["target_id"] = cid.encode(), target.encode()
        record["action"] = Action.AMEND if amend else Action.CANCEL if target else Action.NEW
        record["side"], record["order_type"], record["time_in_force"] = side, kind, TimeInForce.GTC
        record["price_ticks"], record["quantity_lots"] = price_ticks, lots
        record["expires_ns"], record["reduce_only"] = time.time_ns() + int(ttl_s * 1e9), reduce_only
        self.executor.publish([encode(Kind.intent, self.subject, record)])

    def published(self, kind, cid=""):
        """Records of a kind in the log, about one client order id."""
        records = [
            record for event in LogReader(self.config.log_dir).events() if event.kind == kind for record in event.records
        ]  # fmt: skip
        return [record for record in records if record["client_order_id"].decode() == cid]

    def balances(self):
        """What the log has of each asset last: free, locked, scale."""
        out = {}
        for event in LogReader(self.config.log_dir).events():
            for record in event.records if event.kind == Kind.balance else ():
                out[record["asset"].decode()] = (int(record["free"]), int(record["locked"]), int(record["scale"]))
        return out

    def fundings(self):
        """The amounts of the fundings in the log."""
        events = LogReader(self.config.log_dir).events()
        return [int(record["amount"]) for event in events if event.kind == Kind.funding for record in event.records]

    def alerts(self, what):
        """The alerts of this name in the log, as (level, target, why)."""
        found = [event.map() for event in LogReader(self.config.log_dir).events() if event.kind == Kind.alert]
        return [(one["level"], one["target"], one["why"]) for one in found if one["what"] == what]

    def states(self, cid):
        """The states that an order has gone through."""
        return [Status(int(record["status"])).name for record in self.published(Kind.update, cid)]

    def quantities(self, cid):
        """The quantities in lots that an order's updates have stated, each once in a row."""
        stated = [int(record["quantity_lots"]) for record in self.published(Kind.update, cid)]
        return [lots for i, lots in enumerate(stated) if i == 0 or stated[i - 1] != lots]

    def fills(self, cid):
        """Trade ids of an order's fills."""
        return [int(record["trade_id"]) for record in self.published(Kind.fill, cid)]


def scenario(tmp_path, play, started=True, tls=False, make=Venue, **settings):
    """Plays `play(mesh, venue)` on a running mesh; `tls`: at a venue whose certificate only `ca` of [venues] trusts.

    `make`: the class of the scripted venue.
    """
    (tmp_path / "mesh.toml").write_text(known_at(make.NAME))
    quick = {"request_timeout_s": 0.4, "reconcile_s": 0.3, "recv_window_ms": 300, "absence_margin_s": 0.5,
             "backoff_s": [0.01, 0.05], **settings}  # fmt: skip
    venues = {make.NAME: {"ca": "run/exchange.crt"}} if tls else {}
    config = load(tmp_path, {"session": quick, "checkpoint_s": 0.1, "venues": venues})

    async def go():
        venue = make()
        app = web.Application()
        app.router.add_get(venue.BASE + venue.ORDERS, venue.socket)
        app.router.add_get(f"{venue.BASE}/private/ws", venue.stream)
        app.router.add_route("*", "/{tail:.*}", venue.rest)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        config.run_dir.mkdir(exist_ok=True)
        context = server_context(config.run_dir, "127.0.0.1") if tls else None
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port, s = runner.addresses[0][1], "s" if tls else ""
        exchange_address.write(config, f"http{s}://127.0.0.1:{port}", f"ws{s}://127.0.0.1:{port}", {venue.NAME: venue.BASE})
        log = sequencer.SequencerContext(config, "sequencer")
        sequencing = asyncio.create_task(sequencer.run(log))
        await asyncio.sleep(0.05)
        mesh = Mesh(config, venue)
        mesh.log = log
        if started:
            mesh.start()
        try:
            await play(mesh, venue)
        finally:
            if mesh.task is not None:
                mesh.ctx.stop.set()
                await asyncio.wait_for(asyncio.gather(mesh.task, return_exceptions=True), 5)
                await mesh.ctx.close()
            await mesh.executor.close()
            log.stop.set()
            await asyncio.wait_for(sequencing, 5)
            await log.close()
            await runner.cleanup()
            shutil.rmtree(config.outbox_dir, ignore_errors=True)
        if mesh.task is not None and not mesh.task.cancelled() and mesh.task.exception():
            raise mesh.task.exception()

    asyncio.run(go())
