"""A session of several instruments: whose report and fill is whose, what a question costs, what mesh.toml has dropped."""

import asyncio

import msgspec
import numpy as np

from tests.support.exchange_clients import limit, venue
from tests.support.session_scene import LOCAL, SPOT, SUBJECT, scenario
from tests.support.waiting import until
from tickmesh.bus.schema import INSTRUMENT, INTENT, Action, Kind, Status
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.reconciliation import Reconciler
from tickmesh.nodes.venues.binance_questions import PAGE
from tickmesh.nodes.venues.order_venue import Fill, Report

BTC, ETH = "binance.BTCUSDT", "binance.ETHUSDT"
TWO = "".join(f'[[instruments]]\nsymbol = "{symbol}"\n' for symbol in ("BTCUSDT", "ETHUSDT")) + "[exchange]\nlines = 0\n"
SYMBOLS = [f"A{number}USDT" for number in range(14)]


def placed(account: Account, subject: str, cid: str, lots: int = 100) -> None:
    """An order that was sent: its intent and its PendingNew are read."""
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"] = cid.encode(), Action.NEW, 1
    record["quantity_lots"] = lots
    intent = decode(encode(Kind.intent, subject, record))
    account.read(intent)
    account.read(decode(account.build_pending_new(intent, 7)))


def definition(subject: str, price_exponent: int, quantity_exponent: int):
    return decode(encode(Kind.instrument, subject, np.array([(price_exponent, quantity_exponent, 1, 1, 0, 0, 0)], INSTRUMENT)))


def test_an_order_id_is_one_of_its_symbol_s():
    """The venue counts each symbol's orders by themselves: the same number on two of them is two orders."""
    account = Account()
    for subject, cid in ((BTC, "a"), (ETH, "b")):
        placed(account, subject, cid)
        account.apply_report(Report(subject, cid, 9, Status.New, 0, 0), "reply", 7)
    account.apply_report(Report(BTC, "", 9, Status.PartiallyFilled, 40, 0), "stream", 7)
    account.apply_report(Report(ETH, "", 9, Status.PartiallyFilled, 30, 0), "stream", 7)
    assert [account.order(cid).filled_lots for cid in "ab"] == [40, 30]
    assert account.apply_report(Report(ETH, "a", 77, Status.Filled, 100, 0), "stream", 7) == [] and account.foreign == 1, (
        "somebody's own order of the same name"
    )
    fill = Fill(5, 1, 10, 40, 0, "USDT", False, 0, 9)
    assert account.moved == {BTC, ETH}

    class Trades:
        """The venue's own trades of one symbol."""

        async def trades_from(self, instrument, from_id):
            return [fill] if instrument.symbol == "BTCUSDT" else []

    published = []
    account.state.fills[BTC] = {"old/1": 1}
    account.state.exponents[BTC] = account.state.exponents[ETH] = (-8, -8)
    reconciler = Reconciler(account, Trades(), published.extend, lambda order: False, 0, lambda order: 0, {})
    asyncio.run(reconciler.compare_trades(BTC, account.instrument(BTC)))
    assert [decode(event).subject for event in published] == [BTC] and account.order("a").fill_lots == 40
    assert account.order("b").fill_lots == 0 and account.moved == {ETH}
    again = Account()
    again.load(account.pack())
    assert set(again.by_order_id) == {(BTC, 9), (ETH, 9)} and again.moved == {BTC}, "who begins anew compares again"


def test_exponents_are_those_of_the_log_s_definition_and_outlive_mesh_toml():
    account = Account({f"binance.{symbol}": Instrument(symbol) for symbol in ("BTCUSDT", "ETHUSDT")})
    account.read(definition(ETH, -2, -4))
    placed(account, ETH, "a")
    after = Account({"binance.BTCUSDT": Instrument("BTCUSDT")})
    after.load(account.pack())
    assert after.instrument_of("ETHUSDT") == Instrument("ETHUSDT", "binance", -2, -4) and ETH not in after.configured
    assert [one.symbol for one in after.instruments_with_orders()] == ["BTCUSDT", "ETHUSDT"], "it has an order there"
    after.apply_report(Report(ETH, "a", 5, Status.Canceled, 0, 0), "reconcile", 7)
    assert [one.symbol for one in after.instruments_with_orders()] == ["BTCUSDT"]
    assert after.instrument_of("XRPUSDT") is None


def test_open_orders_of_many_instruments_are_one_question_and_our_count_is_the_venue_s(tmp_path):
    toml = "".join(f'[[instruments]]\nsymbol = "{symbol}"\n' for symbol in SYMBOLS) + "[exchange]\nlines = 0\n"
    instruments = {symbol: Instrument(symbol) for symbol in SYMBOLS}

    async def scene():
        async with venue(tmp_path, toml) as (rest, ws, _):
            for symbol in SYMBOLS[:2] + SYMBOLS[-1:]:
                status, _ = await rest.order(**limit("BUY", "90", "1") | {"symbol": symbol})
                assert status == 200
            account = VenueAccount(SPOT, LOCAL, 5000, 5.0, VenueTime(), RequestBudget(6000, 1.0))
            account.endpoints = Endpoints(rest.base, ws)
            try:
                few, unread = await account.open_orders(list(instruments.values())[:13], instruments.get)
                used = account.budget.used_weight
                assert [one.subject for one in few] == ["binance.A0USDT", "binance.A1USDT"] and unread == 0
                every, _ = await account.open_orders(list(instruments.values()), instruments.get)
                assert account.budget.used_weight - used == 80 and len(every) == 3, "cheaper than 14 × 6"
                _, unread = await account.open_orders(list(instruments.values()), {"A0USDT": instruments["A0USDT"]}.get)
                assert unread == 2, "of symbols that nobody has defined"
                await account.trades_of(instruments["A0USDT"], 1)
                await account.trades_from(instruments["A0USDT"], 1)
                await account.balances()
                spent = sum(weight for _, weight in account.budget._spent)
                assert spent == account.budget.used_weight == 13 * 6 + 2 * 80 + 5 + 20 + 20
            finally:
                await account.rest.close()

    asyncio.run(scene())


def test_an_order_s_fills_are_asked_for_to_the_last_page(monkeypatch):
    async def page(self, request):
        asked = request.query
        assert (asked["symbol"], asked["orderId"], request.weight) == ("BTCUSDT", 5, 5)
        rows = [
            {"id": i, "orderId": 5, "price": "1", "qty": "1", "commission": "0", "commissionAsset": "BTC", "time": 1,
             "isBuyer": True, "isMaker": True}
            for i in range(1, 2 * PAGE + 8) if i >= asked["fromId"]
        ]  # fmt: skip
        return msgspec.json.encode(rows[: asked["limit"]])

    monkeypatch.setattr(VenueAccount, "_get", page)

    async def ask():
        return await VenueAccount(SPOT, LOCAL, 1, 1.0, VenueTime(), RequestBudget(1, 1.0)).trades_of(Instrument("BTCUSDT"), 5)

    assert {fill.trade_id for fill in asyncio.run(ask())} == set(range(1, 2 * PAGE + 8))


def test_a_cancel_is_sent_however_late_and_an_order_is_not(tmp_path):
    async def play(mesh, venue):
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        await mesh.kill()
        mesh.publish_intent("late", ttl_s=-60)
        mesh.publish_intent("c", target="a", ttl_s=-60)
        mesh.start()
        await until(lambda: mesh.states("a")[-1:] == ["Canceled"] and mesh.states("late")[-1:] == ["Expired"])
        assert venue.received == [("place", "a"), ("cancel", "a")]
        assert mesh.published(Kind.update, "c") == [], "it was not refused"

    scenario(tmp_path, play)
    assert SUBJECT == BTC


def test_an_order_that_is_over_for_the_log_and_alive_at_the_venue_is_cancelled_there(tmp_path):
    """It reached the venue after all that the venue promises: nobody would ever end it."""

    async def play(mesh, venue):
        venue.mood["a"] = "swallowed"
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        venue.place("a")
        await venue.emit(venue.orders["a"], "NEW")
        await venue.fill("a", 30_000_000)
        await until(lambda: venue.orders["a"]["status"] == "CANCELED" and mesh.alerts("impossible_transition"))
        assert venue.received == [("place", "a"), ("cancel", "a")]
        assert mesh.fills("a") == [1000], "the fill is in the position"
        level, _, why = mesh.alerts("impossible_transition")[0]
        assert level == "critical" and "the order a of binance.BTCUSDT ended Rejected, and is reported New" in why
        assert mesh.states("a")[-1] == "Rejected"

    scenario(tmp_path, play)


def test_many_resting_orders_are_looked_after_in_few_questions(tmp_path):
    """Five orders of two symbols: their open orders cost 12, a question for each of the five 20. Who is gone is asked for."""

    async def scene():
        async with venue(tmp_path, TWO) as (rest, ws, _):
            account = Account({f"binance.{symbol}": Instrument(symbol) for symbol in ("BTCUSDT", "ETHUSDT")})
            for cid, subject in (("a", BTC), ("b", BTC), ("c", ETH), ("d", ETH), ("e", ETH)):
                symbol = subject.partition(".")[2]
                price = "50000" if subject == BTC else "2000"
                _, order = await rest.order(**limit("BUY", price) | {"symbol": symbol, "newClientOrderId": cid})
                placed(account, subject, cid, 1_000_000)
                account.apply_report(Report(subject, cid, order["orderId"], Status.New, 0, 0), "reply", 7)
            await rest.order("DELETE", symbol="ETHUSDT", origClientOrderId="d")
            asked = VenueAccount(SPOT, LOCAL, 5000, 5.0, VenueTime(), RequestBudget(6000, 1.0))
            asked.endpoints = Endpoints(rest.base, ws)
            published = []
            counted = {"resolved": 0, "rejects": 0, "reconciles": 0}
            reconciler = Reconciler(account, asked, published.extend, lambda order: False, 0, lambda order: 0, counted)
            try:
                await reconciler.reconcile_unsettled()
                assert [weight for _, weight in asked.budget._spent] == [6, 6, 4, 20], (
                    "balances too, and for the one that is open no more"
                )
                assert [account.order(cid).status for cid in "abcde"] == [Status.New] * 3 + [Status.Canceled, Status.New]
                await rest.order("DELETE", symbol="ETHUSDT", origClientOrderId="e")
                asked.budget._spent.clear()
                await reconciler.reconcile_unsettled()
                assert [weight for _, weight in asked.budget._spent] == [6, 6, 4, 20] and account.order("e").final
                asked.budget._spent.clear()
                await reconciler.reconcile_unsettled()
                assert [weight for _, weight in asked.budget._spent] == [4, 4, 4, 20], "of three that is not worth it"
            finally:
                await asked.rest.close()

    asyncio.run(scene())
