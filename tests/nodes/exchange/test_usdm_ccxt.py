"""The real ccxt client as a trader of USD-M futures against the local exchange: nothing of ours but its addresses."""

import asyncio
import importlib

import pytest

from tests.support.exchange_clients import configure, served
from tests.support.exchange_talk import run
from tests.support.usdm_talk import BASE, TOML

ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed; the dev extra has it")
importlib.import_module("ccxt.async_support")
importlib.import_module("ccxt.pro")

SYMBOL = "BTC/USDT:USDT"


def settings(rest: str, ws: str) -> dict:
    """What a stranger writes: docs/exchange.md."""
    fapi, stream = f"{rest}{BASE}/fapi", f"{ws}{BASE}/ws"
    api = {
        f"fapi{kind}{version}": f"{fapi}/{version.lower() or 'v1'}"
        for kind in ("Public", "Private")
        for version in ("", "V2", "V3")
    }
    return {
        "apiKey": "local-key", "secret": "local-secret", "enableRateLimit": False,
        "options": {"fetchCurrencies": False, "fetchMargins": False, "fetchMarkets": {"types": ["linear"]}},
        "urls": {"api": {**api, "ws": {"linear": stream, "ws-api": {"linear": f"{ws}{BASE}/ws-fapi/v1"}}}},
    }  # fmt: skip


def test_ccxt_trades_futures_and_hears_of_it(tmp_path):
    async def scene():
        async with served(configure(tmp_path, TOML)) as (rest, ws, _):
            client = ccxt.pro.binanceusdm(settings(rest, ws))
            try:
                await client.load_markets()
                assert SYMBOL in client.markets and client.markets[SYMBOL]["swap"]
                watched = asyncio.create_task(client.watch_orders(SYMBOL))
                await asyncio.sleep(0.5)
                made = await client.create_order(SYMBOL, "limit", "buy", 0.01, 58_000, {"postOnly": True})
                assert (made["status"], made["timeInForce"], made["postOnly"]) == ("open", "PO", True)
                (heard,) = await asyncio.wait_for(watched, 20)
                assert (heard["id"], heard["status"], heard["price"]) == (made["id"], "open", 58_000)
                edited = await client.edit_order(made["id"], SYMBOL, "limit", "buy", 0.02, 58_001)
                assert (edited["id"], edited["price"], edited["amount"]) == (made["id"], 58_001, 0.02)
                assert [order["id"] for order in await client.fetch_open_orders(SYMBOL)] == [made["id"]]
                assert (await client.cancel_order(made["id"], SYMBOL))["status"] == "canceled"
                await client.create_order(SYMBOL, "market", "buy", 0.05)
                trades = await client.fetch_my_trades(SYMBOL)
                assert sum(trade["amount"] for trade in trades) == pytest.approx(0.05)
                (position,) = await client.fetch_positions([SYMBOL])
                assert (position["side"], position["contracts"], position["marginMode"]) == ("long", 0.05, "cross")
                assert position["entryPrice"] == pytest.approx(trades[0]["price"], rel=1e-3)
                balance = await client.fetch_balance()
                assert balance["USDT"]["total"] == pytest.approx(100_000 - sum(trade["fee"]["cost"] for trade in trades), abs=5)
                await client.create_order(SYMBOL, "market", "sell", 0.05, params={"reduceOnly": True})
                assert not [p for p in await client.fetch_positions([SYMBOL]) if p["contracts"]]
                assert (await client.set_leverage(10, SYMBOL))["leverage"] == 10
                funding = await client.fetch_funding_rate(SYMBOL)
                assert funding["fundingTimestamp"] > funding["timestamp"] and funding["markPrice"] > 0
                assert (await client.fetch_trading_fee(SYMBOL))["taker"] == 0.0005
                rows = await client.fetch_ledger("USDT")
                assert {row["info"]["incomeType"] for row in rows} <= {"COMMISSION", "REALIZED_PNL"}
                # it tells the errors of futures from those of spot by the venue's own host names
                with pytest.raises(ccxt.ExchangeError, match="-2019"):
                    await client.create_order(SYMBOL, "limit", "buy", 100, 58_000)
                with pytest.raises(ccxt.OrderNotFound):
                    await client.cancel_order("999", SYMBOL)
                assert (await client.watch_mark_price(SYMBOL))["markPrice"] > 0
            finally:
                await client.close()

    run(scene)


def test_ccxt_sends_orders_over_the_ws_api(tmp_path):
    async def scene():
        async with served(configure(tmp_path, TOML)) as (rest, ws, _):
            client = ccxt.pro.binanceusdm(settings(rest, ws))
            try:
                await client.load_markets()
                made = await client.create_order_ws(SYMBOL, "limit", "sell", 0.01, 62_000)
                assert made["status"] == "open"
                assert (await client.cancel_order_ws(made["id"], SYMBOL))["status"] == "canceled"
                await client.create_order_ws(SYMBOL, "market", "sell", 0.02)
                (position,) = await client.fetch_positions_ws([SYMBOL])
                assert (position["side"], position["contracts"]) == ("short", 0.02)
            finally:
                await client.close()

    run(scene)
