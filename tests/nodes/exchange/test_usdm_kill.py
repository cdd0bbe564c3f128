"""A futures account over kills of the exchange: what was answered stands, to the last digit, and ids go on."""

import asyncio
import itertools
import json
import random
import signal
from decimal import Decimal

import aiohttp

from tests.support.exchange_books import Process
from tests.support.exchange_clients import Rest, configure, listening
from tests.support.faults_scene import rows
from tests.support.usdm_talk import BASE, TOML, Futures, events_until, limit, market

KILLS = 3


async def ours(futures: Futures) -> dict:
    """All that the account says of itself and that no market moves."""
    balances = await futures.right("GET", "/v3/balance")
    positions = await futures.right("GET", "/v2/positionRisk")
    return {
        "wallets": {row["asset"]: row["balance"] for row in balances},
        "positions": {r["symbol"]: (r["positionAmt"], r["entryPrice"], r["leverage"]) for r in positions},
        "trades": await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT", limit=1000),
        "orders": await futures.right("GET", "/v1/allOrders", symbol="BTCUSDT", limit=1000),
        "incomes": await futures.right("GET", "/v1/income", limit=1000),
    }


async def trade(futures: Futures, number: int) -> dict:
    """Fills, an order that rests, one that is amended, one that is cancelled; gives what the account is then."""
    await futures.right("POST", "/v1/leverage", symbol="BTCUSDT", leverage=30 + number)
    for side in ("BUY", "SELL", "BUY"):
        await futures.order(**market(side, "0.011"))
    await futures.order(**limit("BUY", "58000", newClientOrderId=f"rests-{number}"))
    await futures.order(**limit("BUY", "58001", newClientOrderId=f"amended-{number}"))
    await futures.order("PUT", side="BUY", price="58000", quantity="0.02", origClientOrderId=f"amended-{number}")
    await futures.order(**limit("BUY", "58002", newClientOrderId=f"gone-{number}"))
    await futures.order("DELETE", origClientOrderId=f"gone-{number}")
    return await ours(futures)


def test_orders_positions_wallets_and_the_listen_key_survive_kills(tmp_path):
    configure(tmp_path, TOML)
    keys, before, fundings = set(), {}, []

    async def scene(process: Process, number: int) -> None:
        nonlocal before
        where = process.where
        async with aiohttp.ClientSession() as session:
            rest = Rest(where["rest"], session)
            futures = Futures(rest)
            if before:
                assert await ours(futures) == before, f"after kill {number}"
            _, index = await rest("GET", f"{BASE}/fapi/v1/premiumIndex", key="", symbol="BTCUSDT")
            fundings.append(index["nextFundingTime"])
            key = (await futures.listen_key())["listenKey"]
            keys.add(key)
            async with listening(f"{where['ws']}{BASE}/private/ws?listenKey={key}") as socket:
                before = await trade(futures, number)
                events = await events_until(
                    socket,
                    lambda e: e["e"] == "ORDER_TRADE_UPDATE" and (e["o"]["c"], e["o"]["x"]) == (f"gone-{number}", "CANCELED"),
                )
            assert sum(e["e"] == "ACCOUNT_CONFIG_UPDATE" for e in events) == 1
            await asyncio.to_thread(process.end, signal.SIGKILL)

    for number in range(KILLS):
        asyncio.run(asyncio.wait_for(scene(Process(tmp_path), number), 90))
    assert len(keys) == 1, "the key is the account's, not the process's"
    assert len(set(fundings)) == 1 or fundings == sorted(fundings)
    ids = [row["orderId"] for row in before["orders"]]
    assert ids == list(range(1, 6 * KILLS + 1))
    trades = [row["id"] for row in before["trades"]]
    assert trades == sorted(set(trades)) and [row["tranId"] for row in before["incomes"]] == list(
        range(1, len(before["incomes"]) + 1)
    )
    told = [row[3:] for row in rows(tmp_path, "position") if row[3] == "binance_usdm.BTCUSDT"]
    assert [row[1] for row in told] == [1_100_000 * number for number in range(KILLS)], "every start says what it begins with"


def fills_of(folder) -> list[int]:
    """The trade ids of BTCUSDT in the ledger's events; those that a kill left unsent are void by the start after it."""
    told: list[int] = []
    for row in rows(folder, "event", "start"):
        if row[1] == "start":
            told = [ident for ident in told if row[3] != "binance_usdm.BTCUSDT" or ident <= row[5]]
        elif (order := json.loads(row[3]).get("o", {})).get("x") == "TRADE":
            told.append(order["t"])
    return told


async def fire(futures: Futures, name: str, answered: dict[str, dict]) -> None:
    """Sends orders one after the other until the exchange is gone; keeps every answer."""
    rand = random.Random(name)
    for number in itertools.count():
        client_id = f"{name}-{number}"
        side, price = rand.choice((("BUY", "59990"), ("SELL", "60010")))
        terms = market(side, "0.005") if number % 3 else limit(side, price, "0.005")
        try:
            status, answer = await futures.order(newClientOrderId=client_id, **terms)
        except (aiohttp.ClientError, ConnectionError):
            return
        if status == 200:
            answered[client_id] = answer


def test_a_kill_under_load_loses_nothing_that_was_answered_and_doubles_nothing(tmp_path):
    configure(tmp_path, TOML + "[exchange.usdm_limits]\norders_per_10_s = 100000\norders_per_minute = 100000\n")
    answered: dict[str, dict] = {}

    async def scene(process: Process, kill: int) -> None:
        async with aiohttp.ClientSession() as session:
            futures = Futures(Rest(process.where["rest"], session))
            for client_id, answer in answered.items():
                known = (await futures.order("GET", origClientOrderId=client_id))[1]
                assert known["orderId"] == answer["orderId"] and Decimal(known["cumQuote"]) >= Decimal(answer["cumQuote"]), (
                    known,
                    answer,
                )
            wallet = Decimal((await futures.right("GET", "/v3/balance"))[0]["balance"])
            incomes = await futures.right("GET", "/v1/income", limit=1000)
            assert wallet == 100_000 + sum(Decimal(row["income"]) for row in incomes)
            trades = await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT", limit=1000)
            held = sum(Decimal(row["qty"]) * (1 if row["buyer"] else -1) for row in trades)
            assert Decimal((await futures.right("GET", "/v2/positionRisk", symbol="BTCUSDT"))[0]["positionAmt"]) == held
            told = fills_of(tmp_path)
            assert {row["id"] for row in trades} <= set(told) and len(told) == len(set(told)), "each fill is in the ledger once"
            tasks = [asyncio.create_task(fire(futures, f"k{kill}-{n}", answered)) for n in range(3)]
            seen = len(answered)
            async with asyncio.timeout(30):
                while len(answered) < seen + 25:
                    await asyncio.sleep(0.005)
            process.end(signal.SIGKILL)
            await asyncio.wait_for(asyncio.gather(*tasks), 20)

    for kill in range(KILLS):
        asyncio.run(asyncio.wait_for(scene(Process(tmp_path), kill), 90))
    assert len(answered) >= 25 * KILLS
