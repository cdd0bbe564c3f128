"""The real ccxt client against `python -m tickmesh.nodes exchange`: nothing of ours but the URL (venues.md §10.1)."""

import asyncio
import time
import urllib.request

import pytest

from tests.support import mesh_run
from tests.support.exchange_ccxt import SYMBOL, AsInProduction, ccxt, settings, start, stop


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    child, base = start(tmp_path_factory.mktemp("venue"))
    stranger = ccxt.binance(settings(base))  # before any test has traded, in whatever order and process they come
    first = stranger.fetch_balance()
    assert first["USDT"]["free"] == 10_000_000 and first["BTC"]["total"] == 100
    mesh_run.until(lambda: len(stranger.fetch_trades(SYMBOL, limit=5)) == 5, "the market trades")
    yield base
    stop(child)


def far_below(book: dict) -> float:
    return round(book["bids"][0][0] * 0.8, 2)


def test_the_sync_client_trades(url):
    venue = ccxt.binance(settings(url))
    markets = venue.load_markets()
    market = markets[SYMBOL]
    assert market["active"] and market["spot"] and market["precision"] == {
        "amount": 0.00001, "price": 0.01, "base": 1e-8, "quote": 1e-8,
    }, market["precision"]  # fmt: skip
    assert market["limits"]["cost"]["min"] == 5.0 and abs(venue.fetch_time() - time.time() * 1000) < 5000

    before, earlier = venue.fetch_balance(), {t["id"] for t in venue.fetch_my_trades(SYMBOL)}
    book = venue.fetch_order_book(SYMBOL, 20)
    assert len(book["bids"]) == 20 and book["bids"][0][0] < book["asks"][0][0]
    low = far_below(book)

    order = venue.create_order(SYMBOL, "limit", "buy", 0.01, low)
    assert order["status"] == "open" and order["filled"] == 0 and order["price"] == low
    assert venue.fetch_balance()["USDT"]["used"] == pytest.approx(low * 0.01)
    assert [o["id"] for o in venue.fetch_open_orders(SYMBOL)] == [order["id"]]
    seen = venue.fetch_order(order["id"], SYMBOL)
    assert seen["status"] == "open" and seen["clientOrderId"] == order["clientOrderId"] and seen["remaining"] == 0.01

    edited = venue.edit_order(order["id"], SYMBOL, "limit", "buy", 0.02, low - 10)
    assert edited["id"] != order["id"] and edited["amount"] == 0.02 and edited["price"] == low - 10
    assert venue.fetch_order(order["id"], SYMBOL)["status"] == "canceled"
    gone = venue.cancel_order(edited["id"], SYMBOL)
    assert gone["status"] == "canceled" and venue.fetch_open_orders(SYMBOL) == []

    bought = venue.create_order(SYMBOL, "market", "buy", 0.5)
    assert bought["status"] == "closed" and bought["filled"] == 0.5 and bought["trades"] and bought["average"] > 0
    assert bought["fees"] and bought["fees"][0]["currency"] == "BTC"
    priced = venue.create_order(SYMBOL, "market", "buy", 0.5, low)
    asked = float(priced["info"]["origQuoteOrderQty"])
    assert asked == pytest.approx(low * 0.5, abs=0.01), "ccxt's doing: with a price it is a quote quantity"
    assert priced["filled"] == pytest.approx(low * 0.5 / priced["average"], rel=1e-4)
    spent = venue.create_market_buy_order_with_cost(SYMBOL, 1000)
    assert spent["status"] == "closed" and 990 < spent["cost"] <= 1000
    passive = venue.create_order(SYMBOL, "limit", "buy", 0.01, low, {"postOnly": True})
    assert venue.fetch_order(passive["id"], SYMBOL)["status"] == "open"
    venue.cancel_order(passive["id"], SYMBOL)
    ioc = venue.create_order(SYMBOL, "limit", "buy", 0.01, low, {"timeInForce": "IOC"})
    fok = venue.create_order(SYMBOL, "limit", "buy", 0.01, low, {"timeInForce": "FOK"})
    assert [ioc["status"], fok["status"]] == ["expired", "expired"]
    high = round(venue.fetch_order_book(SYMBOL)["asks"][0][0] * 1.01, 2)
    taken = venue.create_order(SYMBOL, "limit", "buy", 0.01, high, {"timeInForce": "FOK"})
    assert taken["status"] == "closed" and taken["filled"] == 0.01

    for _ in range(3):
        venue.create_order(SYMBOL, "limit", "buy", 0.01, low)
    assert len(venue.cancel_all_orders(SYMBOL)) == 3
    closed = venue.fetch_closed_orders(SYMBOL)
    assert {bought["id"], spent["id"], taken["id"]} <= {o["id"] for o in closed}
    mine = [t for t in venue.fetch_my_trades(SYMBOL) if t["id"] not in earlier]
    assert {bought["id"], priced["id"], spent["id"], taken["id"]} == {t["order"] for t in mine}
    assert sum(t["amount"] for t in mine if t["order"] == bought["id"]) == pytest.approx(0.5)
    after = venue.fetch_balance()
    fees = sum(t["fee"]["cost"] for t in mine)
    amount, cost = sum(t["amount"] for t in mine), sum(t["cost"] for t in mine)
    assert after["BTC"]["total"] == pytest.approx(before["BTC"]["total"] + amount - fees, abs=1e-7)
    assert after["USDT"]["total"] == pytest.approx(before["USDT"]["total"] - cost, abs=1e-4)

    trades = venue.fetch_trades(SYMBOL, limit=5)
    assert len(trades) == 5 and trades == sorted(trades, key=lambda t: t["timestamp"])
    candles = venue.fetch_ohlcv(SYMBOL, "1m", limit=5)
    assert candles and all(low_ <= open_ <= high_ for _, open_, high_, low_, _, _ in candles)
    ticker = venue.fetch_ticker(SYMBOL)
    assert ticker["bid"] < ticker["ask"] and ticker["last"] > 0


def test_refusals_become_the_right_exceptions(url):
    venue = ccxt.binance(settings(url))
    venue.load_markets()
    book = venue.fetch_order_book(SYMBOL)
    low, high = far_below(book), round(book["asks"][0][0] * 1.01, 2)
    with pytest.raises(ccxt.InsufficientFunds):
        venue.create_order(SYMBOL, "limit", "sell", venue.fetch_balance()["BTC"]["free"] + 1, high)
    # ccxt's own map: −1013 with NOTIONAL is BadRequest, at the real venue too
    for kind, name, price, amount in (
        (ccxt.InvalidOrder, "PRICE_FILTER", 2_000_000, 0.01), (ccxt.InvalidOrder, "LOT_SIZE", low, 10_000),
        (ccxt.BadRequest, "NOTIONAL", low, 0.00001), (ccxt.InvalidOrder, "PERCENT_PRICE_BY_SIDE", round(low / 10, 2), 0.01),
    ):  # fmt: skip
        with pytest.raises(kind, match=f"Filter failure: {name}"):
            venue.create_order(SYMBOL, "limit", "buy", amount, price)
    with pytest.raises(ccxt.BadRequest, match="-1104"):
        venue.create_order(SYMBOL, "limit", "buy", 0.01, low, {"newClientOrderID": "misspelt"})
    order = venue.create_order(SYMBOL, "limit", "buy", 0.01, low, {"newClientOrderId": "twice"})
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        venue.create_order(SYMBOL, "limit", "buy", 0.01, low, {"newClientOrderId": "twice"})
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        venue.create_order(SYMBOL, "limit", "buy", 0.01, high, {"postOnly": True})
    venue.cancel_order(order["id"], SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        venue.cancel_order(order["id"], SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        venue.fetch_order("999999", SYMBOL)
    production = AsInProduction(settings(url))
    production.load_markets()
    for both, wanted in (("999999", low), (order["id"], low)):
        with pytest.raises(ccxt.BadResponse, match="-2022"):
            production.edit_order(both, SYMBOL, "limit", "buy", 0.01, wanted)
    order = venue.create_order(SYMBOL, "limit", "buy", 0.01, low)
    with pytest.raises(ccxt.BadResponse, match="-2021.*cancelResult.*SUCCESS.*FAILURE"):
        production.edit_order(order["id"], SYMBOL, "limit", "sell", 120, high)
    with pytest.raises(ccxt.BadSymbol):
        venue.public_get_depth({"symbol": "NOPE"})
    with pytest.raises(ccxt.AuthenticationError):
        ccxt.binance(settings(url, secret="wrong")).fetch_balance()
    with pytest.raises(ccxt.AuthenticationError):
        ccxt.binance(settings(url, apiKey="stranger")).fetch_balance()
    late = ccxt.binance(settings(url))
    late.options["timeDifference"] = 60_000  # its clock is a minute behind
    with pytest.raises(ccxt.InvalidNonce):
        late.fetch_balance()
    late.options["timeDifference"] = -60_000
    with pytest.raises(ccxt.InvalidNonce):
        late.fetch_balance()


def test_limits_are_ddos_protection_errors_for_ccxt(tmp_path):
    child, base = start(tmp_path, "[exchange.limits]\nweight_per_minute = 60\norders_per_10_s = 2\nban_after = 3\n")
    try:
        time.sleep(10.1 - time.time() % 10)  # a fresh window of ten seconds, and mostly of the minute
        venue = ccxt.binance(settings(base))
        venue.load_markets()
        low = far_below(venue.fetch_order_book(SYMBOL, 5))
        venue.create_order(SYMBOL, "limit", "buy", 0.01, low)
        venue.create_order(SYMBOL, "limit", "buy", 0.01, low)
        with pytest.raises(ccxt.DDoSProtection, match="-1015"):
            venue.create_order(SYMBOL, "limit", "buy", 0.01, low)
        with pytest.raises(ccxt.DDoSProtection, match="429.*-1003"):
            for _ in range(5):
                venue.fetch_balance()
        with pytest.raises(ccxt.DDoSProtection, match="418.*banned until"):
            for _ in range(5):
                try:
                    venue.fetch_balance()
                except ccxt.DDoSProtection as error:
                    if "418" in str(error):
                        raise
    finally:
        stop(child)


def test_the_async_client_trades(url):
    async def scene():
        venue = ccxt.async_support.binance(settings(url))
        try:
            await venue.load_markets()
            book, balance, trades = await asyncio.gather(
                venue.fetch_order_book(SYMBOL), venue.fetch_balance(), venue.fetch_trades(SYMBOL, limit=5)
            )
            assert book["bids"] and balance["USDT"]["free"] > 0 and len(trades) == 5
            low = far_below(book)
            orders = await asyncio.gather(*(venue.create_order(SYMBOL, "limit", "buy", 0.001, low - n) for n in range(10)))
            assert len({o["id"] for o in orders}) == 10
            assert {o["id"] for o in await venue.fetch_open_orders(SYMBOL)} == {o["id"] for o in orders}
            await asyncio.gather(*(venue.cancel_order(o["id"], SYMBOL) for o in orders))
            sold = await venue.create_order(SYMBOL, "market", "sell", 0.1)
            assert sold["status"] == "closed" and sold["filled"] == 0.1
            with pytest.raises(ccxt.OrderNotFound):
                await venue.cancel_order(orders[0]["id"], SYMBOL)
        finally:
            await venue.close()

    asyncio.run(scene())


def test_over_a_cut_the_pro_client_goes_on_with_a_hole(url):
    """Its row of docs/exchange.md: nothing says which trades are missing. It raises only where it was just being asked."""

    async def scene():
        venue = ccxt.pro.binance(settings(url))
        ids: list[int] = []

        async def watch(count: int) -> None:
            while len(ids) < count:
                try:
                    ids.extend(int(trade["id"]) for trade in await venue.watch_trades(SYMBOL))
                except ccxt.NetworkError:
                    await asyncio.sleep(0.5)

        try:
            await asyncio.wait_for(watch(20), 30)
            assert ids == list(range(ids[0], ids[-1] + 1)), "until then nothing is missing"
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/tickmesh/v1/faults", b'{"kind": "cut"}', headers)
            await asyncio.to_thread(urllib.request.urlopen, request)
            await asyncio.sleep(0.5)  # trades of this time are missed
            await asyncio.wait_for(watch(len(ids) + 40), 30)
            assert ids == sorted(set(ids)) and ids[-1] - ids[0] + 1 > len(ids)
        finally:
            await venue.close()

    asyncio.run(scene())


async def until(watch, found, timeout_s: float = 30.0):
    """Watches until something is found; it is returned."""
    async with asyncio.timeout(timeout_s):
        while True:
            seen = await watch()
            for one in seen if isinstance(seen, list) else [seen]:
                if found(one):
                    return one


def test_the_pro_client_watches_while_orders_fill(url):
    async def scene():
        venue = ccxt.pro.binance(settings(url))
        try:
            await venue.load_markets()
            trades = await venue.watch_trades(SYMBOL)
            assert trades[0]["symbol"] == SYMBOL
            book = await venue.watch_order_book(SYMBOL)
            for _ in range(10):
                book = await venue.watch_order_book(SYMBOL)
                assert book["bids"][0][0] < book["asks"][0][0]
            rest = await venue.fetch_order_book(SYMBOL, 5)
            assert abs(book["bids"][0][0] / rest["bids"][0][0] - 1) < 0.01

            orders = asyncio.create_task(until(lambda: venue.watch_orders(SYMBOL), lambda o: o["status"] == "closed"))
            balance = asyncio.create_task(until(venue.watch_balance, lambda b: b["BTC"]["total"] is not None))
            mine = asyncio.create_task(until(lambda: venue.watch_my_trades(SYMBOL), lambda t: t["side"] == "buy"))
            await asyncio.sleep(1)
            bought = await venue.create_order(SYMBOL, "market", "buy", 0.2)
            seen = await orders
            assert seen["id"] == bought["id"] and seen["filled"] == 0.2 and seen["clientOrderId"] == bought["clientOrderId"]
            assert (await balance)["BTC"]["total"] > 99
            assert (await mine)["order"] == bought["id"]
            public = await until(lambda: venue.watch_trades(SYMBOL), lambda t: t["id"] in {f["id"] for f in bought["trades"]})
            assert public["side"] == "buy"

            low = round(book["bids"][0][0] * 0.8, 2)
            resting = await venue.create_order_ws(SYMBOL, "limit", "buy", 0.01, low)
            assert resting["status"] == "open"
            canceled = asyncio.create_task(until(lambda: venue.watch_orders(SYMBOL), lambda o: o["status"] == "canceled"))
            await asyncio.sleep(0)
            edited = await venue.edit_order_ws(resting["id"], SYMBOL, "limit", "buy", 0.02, low)
            assert (await canceled)["id"] == resting["id"]
            assert [o["id"] for o in await venue.fetch_open_orders_ws(SYMBOL)] == [edited["id"]]
            await venue.cancel_order_ws(edited["id"], SYMBOL)
            with pytest.raises(ccxt.OrderNotFound):
                await venue.cancel_order_ws(edited["id"], SYMBOL)
            ohlcv = await venue.watch_ohlcv(SYMBOL, "1m")
            ticker = await venue.watch_ticker(SYMBOL)
            top = await venue.watch_bids_asks([SYMBOL])
            assert ohlcv and ticker["last"] > 0 and top[SYMBOL]["bid"] < top[SYMBOL]["ask"]
        finally:
            await venue.close()

    asyncio.run(scene())
