"""The order session against a scripted venue on loopback, with a real sequencer, a real log and real outboxes."""

import asyncio
import contextlib
import json
import shutil
import time
from urllib.parse import parse_qsl

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bus.config import load
from bus.log import LogReader
from bus.process import Context
from bus.schema import INTENT, Action, Kind, OrderType, Status, TimeInForce
from bus.segments import release
from bus.wire import decode, encode
from nodes.sequencer import node as sequencer
from nodes.session import node as session
from nodes.session.account import Account
from nodes.venues import binance_orders

SUBJECT = "binance.BTCUSDT"


def quantity(lots: int) -> str:
    return f"{lots // 10**8}.{lots % 10**8:08d}"


class Venue:
    """Orders rest until the test fills them. `mood[client id]`: what becomes of the request of that id.

    lost: done, but not answered · swallowed: not done, not answered · timeout: done, answered with −1007 ·
    refused: −2010 · cut: done, and the connection is cut.
    """

    def __init__(self):
        self.orders = {}
        self.trades = []
        self.mood = {}
        self.received = []
        self.sockets = []
        self.muted = False  # the user stream says nothing
        self.reply_last = False  # the stream's events come before the answer
        self.down = False

    def view(self, order):
        return {"symbol": "BTCUSDT", "orderId": order["id"], "clientOrderId": order["cid"], "status": order["status"],
                "side": order["side"], "executedQty": quantity(order["filled"]), "transactTime": 1_700_000_000_000,
                "fills": []}  # fmt: skip

    async def emit(self, order, what, trade=None, c=None):
        if self.muted:
            return
        event = {"e": "executionReport", "E": 1_700_000_000_000, "s": "BTCUSDT", "c": c or order["cid"],
                 "C": order["cid"] if c else "", "S": order["side"], "x": what, "X": order["status"], "i": order["id"],
                 "l": "0", "L": "0", "z": quantity(order["filled"]), "T": 1_700_000_000_000, "t": -1, "r": "NONE",
                 "n": "0", "N": None, "m": False}  # fmt: skip
        if trade:
            event |= {"l": trade["qty"], "L": trade["price"], "t": trade["id"], "n": trade["commission"], "N": "USDT",
                      "m": True}  # fmt: skip
        for ws in list(self.sockets):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await ws.send_str(json.dumps({"subscriptionId": 0, "event": event}))

    async def fill(self, cid, lots, quiet=False):
        order = self.orders[cid]
        order["filled"] += lots
        order["status"] = "FILLED" if order["filled"] == order["lots"] else "PARTIALLY_FILLED"
        trade = {"id": 1000 + len(self.trades), "orderId": order["id"], "price": "100.00000000", "qty": quantity(lots),
                 "commission": "0.00100000", "commissionAsset": "USDT", "time": 1_700_000_000_000,
                 "isBuyer": order["side"] == "BUY", "isMaker": True}  # fmt: skip
        self.trades.append(trade)
        if not quiet:
            await self.emit(order, "TRADE", trade)
        return trade

    async def socket(self, request):
        if self.down:
            return web.Response(status=503)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            asked = json.loads(message.data)
            params = asked["params"]
            expected = binance_orders.sign("local-secret", binance_orders.ws_payload(params))
            assert params["signature"] == expected
            await self.answer(ws, asked, params)
        if ws in self.sockets:
            self.sockets.remove(ws)
        return ws

    async def answer(self, ws, asked, params):
        async def reply(status, **content):
            await ws.send_str(json.dumps({"id": asked["id"], "status": status, **content}))

        if asked["method"] == "userDataStream.subscribe.signature":
            self.sockets.append(ws)
            await reply(200, result={"subscriptionId": 0})
            return
        if asked["method"] == "order.cancel":
            cid = params["origClientOrderId"]
            self.received.append(("cancel", cid))
            order = self.orders.get(cid)
            if order is None or order["status"] not in ("NEW", "PARTIALLY_FILLED"):
                await reply(400, error={"code": -2011, "msg": "Unknown order sent."})
                return
            order["status"] = "CANCELED"
            await self.emit(order, "CANCELED", c="the-cancel")
            await reply(200, result=self.view(order) | {"origClientOrderId": cid, "clientOrderId": "the-cancel"})
            return
        cid = params["newClientOrderId"]
        self.received.append(("place", cid))
        mood = self.mood.get(cid, "")
        if mood == "swallowed":
            return
        if mood == "refused":
            await reply(400, error={"code": -2010, "msg": "Account has insufficient balance for requested action."})
            return
        lots = binance_orders.mantissa(params["quantity"], -8)
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

    async def rest(self, request):
        if request.path == "/api/v3/time":
            return web.json_response({"serverTime": time.time_ns() // 10**6})
        query = dict(parse_qsl(request.query_string))
        unsigned, _, signature = request.query_string.rpartition("&signature=")
        assert signature == binance_orders.sign("local-secret", unsigned)
        if request.path == "/api/v3/openOrders":
            return web.json_response([self.view(o) for o in self.orders.values() if o["status"] in ("NEW", "PARTIALLY_FILLED")])
        if request.path == "/api/v3/order":
            order = self.orders.get(query["origClientOrderId"])
            if order is None:
                return web.json_response({"code": -2013, "msg": "Order does not exist."}, status=400)
            return web.json_response(self.view(order))
        if request.path == "/api/v3/myTrades":
            wanted = [
                t for t in self.trades
                if t["id"] >= int(query.get("fromId", 0)) and query.get("orderId", str(t["orderId"])) == str(t["orderId"])
            ]  # fmt: skip
            return web.json_response(wanted)
        return web.json_response({"balances": [{"asset": "USDT", "free": "5.00000000", "locked": "0.00000000"}]})


class Mesh:
    """Sequencer, an intent writer, and a session that can be killed and started."""

    def __init__(self, config, venue):
        self.config, self.venue = config, venue
        self.executor = Context(config, "executor")
        self.ctx = None
        self.task = None

    def start(self, context=Context):
        self.ctx = context(self.config, "session")
        self.task = asyncio.create_task(session.run(self.ctx))

    async def kill(self):
        """As SIGKILL would: nothing is said on the way out."""
        self.ctx.say = lambda events: None
        self.ctx.stop.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.ctx.close()

    def intend(self, cid, target="", lots=100_000_000, kind=OrderType.LIMIT, ttl_s=5.0, side=1):
        record = np.zeros(1, INTENT)
        record["client_order_id"], record["target_id"] = cid.encode(), target.encode()
        record["action"] = Action.CANCEL if target else Action.NEW
        record["side"], record["order_type"], record["time_in_force"] = side, kind, TimeInForce.GTC
        record["price_ticks"], record["quantity_lots"] = 10_000_000_000, lots
        record["expires_ns"] = time.time_ns() + int(ttl_s * 1e9)
        self.executor.say([encode(Kind.intent, SUBJECT, record)])

    def said(self, kind, cid=""):
        records = [
            record for event in LogReader(self.config.log_dir).events() if event.kind == kind for record in event.records
        ]  # fmt: skip
        return [record for record in records if record["client_order_id"].decode() == cid]

    def states(self, cid):
        return [Status(int(record["status"])).name for record in self.said(Kind.update, cid)]

    def fills(self, cid):
        return [int(record["trade_id"]) for record in self.said(Kind.fill, cid)]


async def until(condition, timeout_s=6.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def scenario(tmp_path, play, started=True, **settings):
    """Plays `play(mesh, venue)` on a running mesh."""
    (tmp_path / "mesh.toml").write_text("")
    quick = {"request_timeout_s": 0.4, "reconcile_s": 0.3, "recv_window_ms": 300, "absence_margin_s": 0.5,
             "backoff_s": [0.01, 0.05], **settings}  # fmt: skip
    config = load(tmp_path, {"session": quick, "checkpoint_s": 0.1})

    async def go():
        venue = Venue()
        app = web.Application()
        app.router.add_get("/ws-api/v3", venue.socket)
        app.router.add_get("/{tail:.*}", venue.rest)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        config.run_dir.mkdir(exist_ok=True)
        (config.run_dir / "exchange.json").write_text(
            json.dumps({"rest": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{port}", "pid": 1})
        )
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


def test_an_order_is_on_file_before_it_is_sent_then_new_filled_once_and_final(tmp_path):
    async def play(mesh, venue):
        mesh.intend("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        await venue.fill("a", 40_000_000)
        trade = await venue.fill("a", 60_000_000)
        await venue.emit(venue.orders["a"], "TRADE", trade)  # the stream repeats itself
        await until(lambda: mesh.states("a")[-1:] == ["Filled"])
        await asyncio.sleep(0.1)
        assert mesh.states("a") == ["PendingNew", "New", "PartiallyFilled", "Filled"]
        assert mesh.fills("a") == [1000, 1001]
        fill = mesh.said(Kind.fill, "a")[0]
        assert (fill["price_ticks"], fill["quantity_lots"], fill["fee"], fill["maker"]) == (
            10_000_000_000, 40_000_000, 100_000, 1,
        )  # fmt: skip
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play)


def test_events_that_overtake_the_answer_do_not_move_the_order_back(tmp_path):
    async def play(mesh, venue):
        venue.reply_last = True
        mesh.intend("a")
        await until(lambda: "Filled" in mesh.states("a"))
        await asyncio.sleep(0.2)
        assert mesh.states("a") == ["PendingNew", "New", "Filled"]
        assert mesh.fills("a") == [1000]

    scenario(tmp_path, play)


def test_a_refused_and_an_expired_and_a_senseless_intent_end_as_rejected(tmp_path):
    async def play(mesh, venue):
        venue.mood["poor"] = "refused"
        mesh.intend("poor")
        mesh.intend("late", ttl_s=-1)
        mesh.intend("zero", lots=0)
        await until(lambda: mesh.states("poor")[-1:] == ["Rejected"] and mesh.states("zero") == ["Rejected"])
        assert mesh.said(Kind.update, "poor")[-1]["code"] == -2010
        assert mesh.states("late") == ["Rejected"]
        assert venue.received == [("place", "poor")]

    scenario(tmp_path, play)


@pytest.mark.parametrize("mood", ["lost", "timeout", "cut"])
def test_an_order_without_an_answer_is_unknown_then_found_and_never_sent_again(tmp_path, mood):
    async def play(mesh, venue):
        venue.mood["a"] = mood
        venue.muted = True
        mesh.intend("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        assert mesh.states("a") == ["PendingNew", "Unknown", "New"]
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play)


def test_an_order_that_never_arrived_is_rejected_only_after_the_window(tmp_path):
    async def play(mesh, venue):
        venue.mood["a"] = "swallowed"
        began = time.monotonic()
        mesh.intend("a")
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        assert time.monotonic() - began >= 0.8  # recv_window + margin
        assert mesh.states("a") == ["PendingNew", "Unknown", "Rejected"]
        assert mesh.said(Kind.update, "a")[-1]["reason"] == b"never reached the venue"
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play)


def test_a_step_of_the_time_makes_no_order_older(tmp_path):
    """An hour forward while an order may still be on its way: that the venue does not know it proves nothing yet."""

    async def play(mesh, venue):
        venue.mood["a"] = "swallowed"
        began = time.monotonic()
        mesh.intend("a")
        await until(lambda: mesh.states("a"))
        clock = mesh.log.sequencer.clock.clock
        clock.segment = clock.segment._replace(time_ns=clock.segment.time_ns + 3600 * 10**9)
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        assert time.monotonic() - began >= 0.8  # recv_window + margin
        corrected = [e.records["correction_ns"][0] for e in LogReader(mesh.config.log_dir).events() if e.kind == Kind.clock]
        assert max(corrected) == pytest.approx(3600 * 10**9, abs=10**7)

    scenario(tmp_path, play)


def test_a_cancel_is_pending_then_canceled_and_one_that_lost_the_race_ends_filled(tmp_path):
    async def play(mesh, venue):
        mesh.intend("a")
        mesh.intend("b")
        await until(lambda: mesh.states("a")[-1:] == mesh.states("b")[-1:] == ["New"])
        mesh.intend("ca", target="a")
        await until(lambda: mesh.states("a")[-1:] == ["Canceled"])
        assert mesh.states("a") == ["PendingNew", "New", "PendingCancel", "Canceled"]
        await venue.fill("b", 100_000_000, quiet=True)
        mesh.intend("cb", target="b")
        await until(lambda: mesh.states("b")[-1:] == ["Filled"] and mesh.fills("b") == [1000])
        assert mesh.states("b") == ["PendingNew", "New", "PendingCancel", "Filled"]

    scenario(tmp_path, play)


def test_a_crash_between_pending_new_and_sending_ends_without_an_order_and_without_resending(tmp_path):
    class Dies(Context):
        def say(self, events):
            super().say(events)
            if any(event[8] == Kind.update for event in events):
                raise KeyboardInterrupt  # nothing after the append happens

    async def play(mesh, venue):
        ctx = Dies(mesh.config, "session")
        doomed = session.Session(ctx)
        following = asyncio.create_task(await doomed.rebuild())
        connecting = asyncio.create_task(doomed.keep_connected())
        await until(lambda: doomed.trading)
        died = asyncio.Event()
        place = doomed.place

        def dying(intent, cid):
            try:
                place(intent, cid)
            except KeyboardInterrupt:
                ctx.say = lambda events: None
                died.set()

        doomed.place = dying
        mesh.intend("a")
        await asyncio.wait_for(died.wait(), 5)
        ctx.stop.set()
        for task in (following, connecting):
            task.cancel()
        await asyncio.gather(following, connecting, return_exceptions=True)
        await doomed.venue.rest.close()
        await ctx.close()
        assert venue.received == []
        mesh.start()
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        assert mesh.states("a") == ["PendingNew", "Unknown", "Rejected"]
        assert venue.received == []

    scenario(tmp_path, play, started=False)


def test_what_happened_while_it_was_dead_is_found_at_the_next_start(tmp_path):
    async def play(mesh, venue):
        for cid in "abc":
            mesh.intend(cid)
        await until(lambda: all(mesh.states(cid)[-1:] == ["New"] for cid in "abc"))
        await asyncio.sleep(0.3)  # a checkpoint
        await mesh.kill()
        await venue.fill("a", 100_000_000)
        await venue.fill("b", 30_000_000)
        venue.orders["c"]["status"] = "CANCELED"
        mesh.intend("d")
        mesh.intend("e", ttl_s=0.01)
        await asyncio.sleep(0.1)
        mesh.start()
        await until(lambda: mesh.states("d")[-1:] == ["New"])
        assert mesh.states("a") == ["PendingNew", "New", "Filled"]
        assert mesh.states("b") == ["PendingNew", "New", "PartiallyFilled"]
        assert mesh.states("c") == ["PendingNew", "New", "Canceled"]
        assert mesh.states("e") == ["Rejected"]
        assert mesh.fills("a") == [1000] and mesh.fills("b") == [1001]
        assert venue.received == [("place", "a"), ("place", "b"), ("place", "c"), ("place", "d")]
        await mesh.kill()
        mesh.start()
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) >= 1)
        await asyncio.sleep(0.2)
        assert len(venue.received) == 4 and mesh.fills("a") == [1000]

    scenario(tmp_path, play)


def test_intents_wait_for_a_venue_that_is_away_but_not_longer_than_they_may(tmp_path):
    async def play(mesh, venue):
        venue.down = True
        mesh.start()
        mesh.intend("short", ttl_s=0.2)
        mesh.intend("long", ttl_s=5)
        mesh.intend("gone", ttl_s=5)
        mesh.intend("cancel-gone", target="gone")
        await until(lambda: mesh.states("short") == ["Rejected"])
        venue.down = False
        await until(lambda: mesh.states("long")[-1:] == ["New"])
        assert mesh.states("gone") == ["Rejected"]
        assert venue.received == [("place", "long")]

    scenario(tmp_path, play, started=False)


def test_a_second_session_on_the_same_account_cannot_start(tmp_path):
    async def play(mesh, venue):
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) >= 1)
        with pytest.raises(session.SessionLocked, match="another session"):
            await session.run(Context(mesh.config, "session-2"))

    scenario(tmp_path, play)


def report_of(step):
    status, filled, fills = {
        "new": (Status.New, 0, ()),
        "part": (Status.PartiallyFilled, 40, (1,)),
        "full": (Status.Filled, 100, (2,)),
        "query": (Status.PartiallyFilled, 40, ()),
        "late": (Status.New, 0, ()),
    }[step]
    lots = {1: 40, 2: 60}
    return binance_orders.Report(
        "a", 9, status, filled, 0,
        fills=[binance_orders.Fill(t, 1, 5, lots[t], 0, "BTC", False, 0, 9) for t in fills],
    )  # fmt: skip


@given(st.lists(st.sampled_from(["new", "part", "full", "query", "late"]), max_size=12))
def test_in_any_order_and_number_reports_never_move_an_order_back(steps):
    account = Account()
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"], record["quantity_lots"] = b"a", Action.NEW, 1, 100
    intent = decode(encode(Kind.intent, SUBJECT, record))
    account.read(intent)
    said = [account.begin(intent, 7)]
    account.read(decode(said[0]))
    for step in steps:
        said += account.report(report_of(step), "stream", 7)
    events = [decode(event) for event in said]
    updates = [event.records[0] for event in events if event.kind == Kind.update]
    filled = [int(update["filled_lots"]) for update in updates]
    assert filled == sorted(filled)
    trades = [int(event.records[0]["trade_id"]) for event in events if event.kind == Kind.fill]
    assert sorted(trades) == sorted(({1} if "part" in steps else set()) | ({2} if "full" in steps else set()))
    states = [int(update["status"]) for update in updates]
    assert len(set(states)) == len(states)  # each state at most once
    if "full" in steps:
        assert states[-1] == Status.Filled
        assert account.order("a").fills_missing == ("part" not in steps)
    again = Account(account.pack())
    for event in events:
        again.read(event)  # the log read again changes nothing
    assert again.pack() == account.pack()


def test_what_it_said_and_the_log_does_not_have_yet_is_read_from_its_outbox(tmp_path):
    """Also when the outbox has released its older part."""
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path, {"log": {"outbox_segment_bytes": 1 << 16}})

    async def go():
        ctx = Context(config, "session")
        first = session.Session(ctx)
        intents = []
        for i in range(400):
            record = np.zeros(1, INTENT)
            record["client_order_id"], record["action"], record["side"] = f"id-{i}".encode(), Action.NEW, 1
            record["quantity_lots"] = 1
            intents.append(decode(encode(Kind.intent, SUBJECT, record)))
            ctx.say([first.account.begin(intents[-1], time.time_ns())])
        await ctx.close()
        assert release(config.outbox_dir / "session", 250) > 0
        ctx = Context(config, "session")
        again = session.Session(ctx)
        (await again.rebuild()).close()
        known = [i for i in range(400) if again.account.order(f"id-{i}") is not None]
        assert known == list(range(known[0], 400)) and 0 < known[0] <= 250
        again.account.read(intents[399])
        assert not again.account.waiting()  # its PendingNew is known: it will not be sent
        await ctx.close()

    try:
        asyncio.run(go())
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
