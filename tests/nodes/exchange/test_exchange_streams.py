"""The local venue's market streams: one chain of update ids, one book, whoever listens, whatever dies."""

import asyncio
import json
import signal
import socket as sockets
import time

import aiohttp
import pytest

from tests.support.exchange_books import ALL, Process, RebuiltBook, compare, connect_unread
from tests.support.exchange_clients import Rest, configure, limit, listening, served, venue
from tickmesh.bus.config import ConfigError
from tickmesh.nodes.exchange import node as exchange
from tickmesh.nodes.exchange.market.tape import RETAINED, Print


def test_a_book_rebuilt_from_rest_and_diffs_is_the_book_tickers_at_every_equal_id(tmp_path):
    async def scene():
        toml = "[exchange]\ntrades_per_s = 200\nquotes_per_s = 600\n"
        async with venue(tmp_path, toml) as (rest, ws, _):
            async with listening(ws + ALL) as socket:
                frames = [json.loads(await socket.recv()) for _ in range(5)]
                _, snapshot = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5000)
                for _ in range(3):
                    await rest.order(**limit("BUY", "59000"), recvWindow=60000)
                    await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.3")
                diffs = 0
                while diffs < 25:
                    frames.append(json.loads(await socket.recv()))
                    diffs += "@depth" in frames[-1]["stream"]
                assert compare(RebuiltBook(snapshot), frames) >= 5
                ids = [f["data"]["t"] for f in frames if f["stream"].endswith("@trade")]
                assert ids == list(range(ids[0], ids[0] + len(ids))) and len(ids) > 20
                _, rows = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=ids[0], limit=5)
                assert [r["id"] for r in rows] == ids[:5]

    asyncio.run(scene())


def test_every_client_gets_the_same_frames(tmp_path):
    async def scene():
        async with venue(tmp_path) as (_, ws, _):
            async with listening(ws + ALL) as one, listening(ws + ALL) as two:
                start = await two.recv()
                received = await one.recv()
                while received != start:
                    received = await one.recv()
                for _ in range(100):
                    assert await one.recv() == await two.recv()

    asyncio.run(scene())


def test_a_client_that_does_not_read_is_cut_off_and_the_others_notice_nothing(tmp_path):
    async def scene():
        toml = "[exchange]\ntrades_per_s = 500\nquotes_per_s = 3000\nclient_bytes_max = 65536\n"
        async with venue(tmp_path, toml) as (_, ws, ctx):
            slow = connect_unread(ws + ALL)
            ids = []
            async with listening(ws + ALL) as good:
                end = time.monotonic() + 60
                while not ctx.counters.get("cut_off") and time.monotonic() < end:
                    frame = json.loads(await good.recv())
                    if frame["stream"].endswith("@trade"):
                        ids.append(frame["data"]["t"])
            assert ctx.counters["cut_off"] == 1
            assert ids == list(range(ids[0], ids[0] + len(ids)))
            slow.close()

    asyncio.run(scene())


def test_the_server_pings_and_cuts_off_whoever_never_answers(tmp_path):
    async def scene():
        async with venue(tmp_path, "[exchange]\nping_s = 0.2\npong_s = 1.0\n") as (rest, ws, ctx):
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(ws + "/ws", autoping=False) as socket:
                    message = await socket.receive(timeout=5)
                    assert message.type is aiohttp.WSMsgType.PING and message.data.isdigit()
                    while message.type is aiohttp.WSMsgType.PING:
                        message = await socket.receive(timeout=10)
                    assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    asyncio.run(scene())


# ---- restarts


def test_ids_orders_and_balances_go_on_after_the_exchange_was_killed_and_then_stopped(tmp_path):
    configure(tmp_path, "[exchange]\ntrades_per_s = 100\nquotes_per_s = 300\n")

    async def before(where: dict) -> dict:
        async with aiohttp.ClientSession() as session, listening(where["ws"] + ALL) as socket:
            rest = Rest(where["rest"], session)
            _, standing = await rest.order(**limit("BUY", "50000", newClientOrderId="stands"))
            _, bought = await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
            _, account = await rest.order("GET", "/api/v3/account")
            frames = []
            while sum(f["stream"].endswith("@trade") for f in frames) < 60:
                frames.append(json.loads(await socket.recv()))
            return {"standing": standing, "bought": bought, "balances": account["balances"], "frames": frames}

    async def after(where: dict, was: dict) -> None:
        async with aiohttp.ClientSession() as session, listening(where["ws"] + ALL) as socket:
            rest = Rest(where["rest"], session)
            _, rows = await rest.order("GET", "/api/v3/openOrders", symbol="BTCUSDT")
            assert [r["orderId"] for r in rows] == [was["standing"]["orderId"]]
            _, account = await rest.order("GET", "/api/v3/account")
            assert account["balances"] == was["balances"]
            _, mine = await rest.order("GET", "/api/v3/myTrades", symbol="BTCUSDT")
            assert [t["id"] for t in mine] == [f["tradeId"] for f in was["bought"]["fills"]]
            _, refused = await rest.order(**limit("BUY", "50000", newClientOrderId="stands"))
            assert refused["code"] == -2010
            _, later = await rest.order(**limit("BUY", "50001"))
            assert later["orderId"] > was["bought"]["orderId"]
            received = [f["data"] for f in was["frames"] if f["stream"].endswith("@trade")]
            _, kept = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=received[0]["t"], limit=1000)
            ids = [t["id"] for t in kept]
            assert ids == list(range(ids[0], ids[0] + len(ids))) and ids[0] == received[0]["t"]
            for row, frame in zip(kept, received):
                assert (row["id"], row["price"], row["qty"], row["time"]) == tuple(frame[k] for k in "tpqT")
            assert kept[len(received) - 1]["id"] == received[-1]["t"]
            frames = [json.loads(await socket.recv()) for _ in range(200)]
            largest = max(f["data"]["u"] for f in was["frames"] if "u" in f["data"])
            assert min(f["data"]["u"] for f in frames if "u" in f["data"]) > largest  # of depth see test_ids_go_on.py
            assert min(f["data"]["t"] for f in frames if f["stream"].endswith("@trade")) > received[-1]["t"]

    process = Process(tmp_path)
    was = asyncio.run(before(process.where))
    for number in (signal.SIGKILL, signal.SIGTERM):
        process.end(number)
        again = Process(tmp_path)
        assert again.where["rest"] == process.where["rest"], "a restart is found where it was"
        process = again
    asyncio.run(after(again.where, was))
    again.end(signal.SIGTERM)
    assert again.child.returncode == 0


def test_a_second_exchange_on_the_same_state_is_refused(tmp_path):
    async def scene():
        config = configure(tmp_path)
        async with served(config):
            with pytest.raises(ConfigError, match="another exchange"):
                async with served(config):
                    pass

    asyncio.run(scene())


def test_the_last_hundred_thousand_trades_are_still_there_after_a_restart(tmp_path):
    rows = 2 * RETAINED + 1000
    state = exchange.ExchangeFiles(tmp_path)
    tape = state.open_tape("BTCUSDT")
    for first in range(1, rows, 1000):
        trades = [Print(n, n, 1, n, n % 2) for n in range(first, first + 1000)]
        state.append_trades("BTCUSDT", trades)
        for trade in trades:
            tape.append(trade)
    state.close()
    (file := tmp_path / "trades-BTCUSDT.bin").write_bytes(file.read_bytes() + b"torn")
    again = exchange.ExchangeFiles(tmp_path)
    kept = again.open_tape("BTCUSDT")
    assert kept.last_id == rows and len(kept.since(rows - 99_999, 200_000)) == 100_000
    assert kept.since(rows - 99_999, 1) == tape.since(rows - 99_999, 1) == [Print(301_001, 301_001, 1, 301_001, 1)]
    again.append_trades("BTCUSDT", [Print(rows + 1, 5, 5, 5, 0)])
    again.close()
    assert exchange.ExchangeFiles(tmp_path).open_tape("BTCUSDT").latest(2) == [kept.prints[-1], Print(rows + 1, 5, 5, 5, 0)]


def test_trades_of_a_market_are_kept_in_one_file_whatever_it_is_called(tmp_path):
    for market in ("BTC/USDT", "../BTC"):
        state = exchange.ExchangeFiles(tmp_path / "venue")
        state.open_tape(market)
        state.append_trades(market, [Print(1, 2, 3, 4, 0)])
        state.close()
        again = exchange.ExchangeFiles(tmp_path / "venue")
        assert again.open_tape(market).last_id == 1
        again.era = 1  # ids begin anew: the earlier file goes
        assert again.open_tape(market).last_id == 0
        again.close()
    assert [path.name for path in tmp_path.iterdir()] == ["venue"]
    assert len(list((tmp_path / "venue").glob("trades-*"))) == 2


def test_a_torn_end_of_the_state_is_cut_and_damage_further_up_is_refused(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            _, one = await rest.order(**limit("BUY", "50000"))
            _, two = await rest.order(**limit("BUY", "50001"))
        state = tmp_path / "data" / "sim" / "exchange" / "state.jsonl"
        lines = state.read_bytes()
        state.write_bytes(lines + b'{"orders":[{"id"')
        async with venue(tmp_path) as (rest, _, _):
            _, rows = await rest.order("GET", "/api/v3/openOrders")
            assert [r["orderId"] for r in rows] == [one["orderId"], two["orderId"]]
        state.write_bytes(b"\0\0\n" + lines)
        with pytest.raises(ConfigError, match="line 1 is damaged"):
            async with venue(tmp_path):
                pass

    asyncio.run(scene())


def test_what_cannot_be_written_is_not_sent_and_stops_the_exchange_with_a_sentence(tmp_path, monkeypatch):
    def full(self, line):
        raise OSError(28, "No space left on device")

    async def scene():
        with pytest.raises(ConfigError, match="No space left on device"):
            async with venue(tmp_path) as (rest, _, _):
                monkeypatch.setattr(exchange.ExchangeFiles, "append", full)
                status, error = await rest.order(**limit("BUY", "50000"))
                assert (status, error["code"]) == (503, -1016)

    asyncio.run(scene())
    monkeypatch.undo()

    async def again():
        async with venue(tmp_path) as (rest, _, _):
            _, rows = await rest.order("GET", "/api/v3/openOrders")
            assert rows == []

    asyncio.run(again())


def test_a_port_in_use_is_a_sentence(tmp_path):
    async def scene():
        with sockets.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(ConfigError, match="cannot be listened on"):
                async with served(configure(tmp_path, f"[exchange]\nport = {taken.getsockname()[1]}\n")):
                    pass

    asyncio.run(scene())


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "HEAD"])
def test_bad_requests_get_the_venues_codes(tmp_path, method):
    paths = [
        "/", "/api/v3/depth", "/api/v3/depth?symbol=%FF%00", "/api/v3/depth?symbol=BTCUSDT&limit=x", "/ws-api/v3", "/ws",
        "/api/v3/depth?symbol=BTCUSDT&limit=0", "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=99999999999999999999",
        "/api/v3/exchangeInfo?symbols=[1", "/api/v3/order?symbol=BTCUSDT", "/api/v3/account?timestamp=1&signature=%00",
        "/api/v3/depth?symbol=BTCUSDT&symbol=BTCUSDT", "/api/v3/aggTrades?symbol=BTCUSDT&startTime=-1",
    ]  # fmt: skip

    async def scene():
        async with venue(tmp_path) as (rest, _, _):
            for path in paths:
                body = b"\xff\xfe" if method == "POST" else None
                async with rest.session.request(
                    method, rest.base + path, headers={"X-MBX-APIKEY": "local-key"}, data=body
                ) as answer:
                    assert 400 <= answer.status < 500, (path, answer.status, await answer.text())
            assert (await rest("GET", "/api/v3/ping")) == (200, {})

    asyncio.run(scene())
