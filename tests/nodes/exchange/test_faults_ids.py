"""Faults of ids and symbols on the wire: absurd ids, ids that begin anew, symbols that are halted or that nobody knows, and a
REST that is dead while the streams live. Each is in the ledger, and ends when told."""

import asyncio
import json
import time

import aiohttp
import pytest

from tests.support.exchange_clients import limit, listening, venue
from tests.support.faults_scene import BUSY, FAULTS, command_fault, end_fault, gone, ids, is_there, rows, scene
from tests.support.session_scene import LOCAL, SPOT
from tests.support.waiting import until
from tickmesh.bus.config import ConfigError
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.nodes.net.rest import RestError
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.asking import VenueAccount

TWO = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\n' + BUSY
FIELDS = {"trade": "t", "bookTicker": "u", "depth@100ms": "u"}


async def receive(socket, count: int) -> list[dict]:
    return [json.loads(await asyncio.wait_for(socket.recv(), 10)) for _ in range(count)]


async def quiet(socket, seconds: float) -> bool:
    """Whether nothing is said any more, once what was under way has arrived."""
    deadline = time.monotonic() + 5 * seconds
    while time.monotonic() < deadline:
        try:
            await asyncio.wait_for(socket.recv(), seconds)
        except TimeoutError:
            return True
    return False


async def status_of(rest, symbol: str) -> str:
    _, answer = await rest("GET", "/api/v3/exchangeInfo", symbol=symbol)
    return answer["symbols"][0]["status"] if "symbols" in answer else str(answer["code"])


@pytest.mark.parametrize("stream", FIELDS)
def test_one_absurd_id_and_then_the_true_ones_again(tmp_path, stream):
    """`times` = the number of connections: the venue itself sent it, so every line gets the same."""
    field = FIELDS[stream]

    async def past_absurd(socket) -> list[dict]:
        """Frames up to some after the absurd one: under load many of before the fault are still on their way."""
        got = await receive(socket, 1)
        while got[-1][field] <= by:
            got += await receive(socket, 1)
        return got + await receive(socket, 5)

    by = 10**9 if stream == "trade" else 10**12

    async def body(rest, ws, ctx):
        path = f"/ws/btcusdt@{stream}"
        async with listening(ws + path) as one, listening(ws + path) as two:
            await receive(one, 2)
            await command_fault(
                rest, kind="jump", stream=f"btcusdt@{stream}", times=2, **({"by": 10**9} if stream == "trade" else {})
            )
            said, copy = await past_absurd(one), await past_absurd(two)
        absurd = [row for row in said if row[field] > by]
        assert len(absurd) == 1 and absurd[0] in copy
        true_ids = [row[field] - (by if row in absurd else 0) for row in said]
        assert true_ids == sorted(true_ids) and max(true_ids) < by
        if stream == "depth@100ms":
            assert absurd[0]["U"] < by, "where it begins is said rightly"
            assert all(after["U"] == before + 1 for before, after in zip(true_ids, said[1:]))
        altered = [json.loads(row[7]) for row in rows(tmp_path, "frame")]
        assert [row[field] + by for row in altered] == [absurd[0][field]] * 2, "the ledger has the frame that was due"

    scene(body, tmp_path)


def test_a_jump_touches_only_frames_with_an_id_that_follows(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + "/ws/btcusdt@aggTrade/btcusdt@depth5@100ms/btcusdt@trade") as socket:
            await command_fault(rest, kind="jump", probability=0.5)
            said = await receive(socket, 60)
        assert {row["e"] for row in said if row.get("t", 0) > 10**12} == {"trade"}
        assert all(row.get("a", 0) < 10**12 for row in said if row.get("e") == "aggTrade")
        assert all(row["lastUpdateId"] < 10**12 for row in said if "lastUpdateId" in row)

    scene(body, tmp_path)


def test_all_ids_begin_anew_and_the_account_stays(tmp_path):
    async def body(rest, ws, ctx):
        path = ws + "/stream?streams=btcusdt@trade/ethusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
        _, order = await rest.order(**limit("BUY", "50000", newClientOrderId="mine"))
        await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
        async with listening(path) as socket:
            before = [row["data"] for row in await receive(socket, 300)]
            _, book_before = await rest("GET", "/api/v3/depth", symbol="BTCUSDT")
            await command_fault(rest, kind="anew", length_s=0.4)
            assert await gone(socket)
        with pytest.raises(aiohttp.ClientError):
            await rest("GET", "/api/v3/time")
        await until(lambda: is_there(rest), what="its way back")
        async with listening(path) as socket:
            after = [row["data"] for row in await receive(socket, 60)]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            old, new = ([row["t"] for row in some if row["s"] == symbol and "t" in row] for some in (before, after))
            assert old and new == list(range(new[0], new[0] + len(new)))  # the beginning is in the history, below
        _, history = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=1)
        assert [row["id"] for row in history] == list(range(1, len(history) + 1)), "nothing of the old trades is left"
        assert history[0]["time"] >= max(row["T"] for row in before if "t" in row)
        _, book = await rest("GET", "/api/v3/depth", symbol="BTCUSDT")
        assert book["lastUpdateId"] < book_before["lastUpdateId"]
        _, seen = await rest.order("GET", symbol="BTCUSDT", origClientOrderId="mine")
        assert (seen["orderId"], seen["status"]) == (order["orderId"], "NEW")
        _, whole = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5000)
        assert any(float(price) == 50000 for price, _ in whole["bids"])
        starts = [row[3:] for row in rows(tmp_path, "start")]
        assert [(row[0], row[3]) for row in starts] == [("BTCUSDT", 0), ("ETHUSDT", 0), ("BTCUSDT", 1), ("ETHUSDT", 1)]
        assert all(row[1] == row[2] == 0 for row in starts if row[3] == 1)
        await command_fault(rest, kind="anew")  # one moment
        assert [row[6] for row in rows(tmp_path, "start")][-2:] == [2, 2]

    scene(body, tmp_path, TWO)


def test_ids_begin_high_where_settings_say_so_and_each_era_far_below_the_one_before(tmp_path):
    async def body(rest, ws, ctx):
        begun = []
        for _ in range(3):
            async with listening(ws + "/stream?streams=btcusdt@trade/btcusdt@bookTicker") as socket:
                rows = [row["data"] for row in await receive(socket, 30)]
            _, history = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=1)
            begun.append((history[0]["id"], min(row["u"] for row in rows if "u" in row) // 1_000_000))
            await command_fault(rest, kind="anew")
        assert begun == [(15_000_000, 15), (5_000_000, 5), (1, 0)]

    scene(body, tmp_path, TWO + "first_id = 15000000\n")


def test_an_era_outlives_the_process_and_old_tapes_go(tmp_path):
    async def one(rest, ws, ctx):
        await command_fault(rest, kind="anew")
        async with listening(ws + "/ws/btcusdt@trade") as socket:
            last.extend(await ids(socket, 30))

    async def two(rest, ws, ctx):
        async with listening(ws + "/ws/btcusdt@trade") as socket:
            assert (await ids(socket, 1))[0] > last[-1]
        _, history = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=1)
        assert [row["id"] for row in history[:30]] == list(range(1, 31))

    last: list[int] = []
    scene(one, tmp_path)
    scene(two, tmp_path)
    assert {row[6] for row in rows(tmp_path, "start")} == {0, 1}
    assert [path.name for path in (tmp_path / "data/sim/exchange").glob("trades-*")] == ["trades-BTCUSDT.1.bin"]


def test_a_halted_symbol_is_not_traded_and_the_other_is(tmp_path):
    async def body(rest, ws, ctx):
        _, order = await rest.order(**limit("BUY", "50000"))
        async with (
            listening(ws + "/ws/btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms") as halted,
            listening(ws + "/ws/ethusdt@trade") as other,
        ):
            await ids(other, 1)
            number = await command_fault(rest, kind="halt", symbol="BTC*")
            assert await status_of(rest, "BTCUSDT") == "BREAK" and await status_of(rest, "ETHUSDT") == "TRADING"
            assert await quiet(halted, 0.5)
            _, book = await rest("GET", "/api/v3/depth", symbol="BTCUSDT")
            for answer in (
                await rest.order(**limit("BUY", "50000")),
                await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"),
            ):
                assert answer == (400, {"code": -2010, "msg": "Market is closed."})
            answer = await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"])
            assert answer == (400, {"code": -2011, "msg": "Market is closed."})
            await ids(other, 20)
            assert (await rest("GET", "/api/v3/depth", symbol="BTCUSDT"))[1] == book, "the book is known, and stands still"
            await end_fault(rest, number)
            assert await status_of(rest, "BTCUSDT") == "TRADING"
            await receive(halted, 20)
        assert (await rest.order("DELETE", symbol="BTCUSDT", orderId=order["orderId"]))[1]["status"] == "CANCELED"
        assert [row[3:] for row in rows(tmp_path, "status")] == [["BTCUSDT", "BREAK"], ["BTCUSDT", "TRADING"]]

    scene(body, tmp_path, TWO)


def test_a_symbol_that_the_venue_does_not_know(tmp_path):
    """From the start on by schedule; later it is listed. Subscriptions are acknowledged, and silent: nobody is told."""
    (tmp_path / "faults.toml").write_text('[[faults]]\nkind = "unknown"\nsymbol = "ETHUSDT"\n')

    async def body(rest, ws, ctx):
        assert await status_of(rest, "ETHUSDT") == "-1121"
        _, info = await rest("GET", "/api/v3/exchangeInfo")
        assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT"]
        for path in ("depth", "trades", "historicalTrades", "klines", "ticker/bookTicker"):
            more = {"interval": "1m"} if path == "klines" else {}
            answer = await rest("GET", f"/api/v3/{path}", symbol="ETHUSDT", **more)
            assert answer == (400, {"code": -1121, "msg": "Invalid symbol."}), path
        assert (await rest.order(**{**limit("BUY", "2000"), "symbol": "ETHUSDT"}))[1]["code"] == -1121
        async with listening(ws + "/ws/btcusdt@trade") as known, listening(ws + "/ws") as socket:
            names = ["ethusdt@trade", "ethusdt@bookTicker", "ethusdt@depth@100ms", "ethusdt@kline_1m", "ethusdt@ticker"]
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
            assert json.loads(await socket.recv()) == {"result": None, "id": 1}
            await ids(known, 100)
            assert await quiet(socket, 0.5)
            _, view = await rest("GET", FAULTS)
            await end_fault(rest, view["faults"][0]["id"])
            assert await status_of(rest, "ETHUSDT") == "TRADING"
            assert {row["s"] for row in await receive(socket, 20) if "s" in row} == {"ETHUSDT"}
        assert [row[3:] for row in rows(tmp_path, "status")] == [["ETHUSDT", "UNKNOWN"], ["ETHUSDT", "TRADING"]]

    scene(body, tmp_path, TWO + 'faults = "faults.toml"\n')


def test_a_session_has_nothing_of_a_symbol_that_the_venue_does_not_know(tmp_path):
    """It is asked for all instruments before the first order; one that is misspelt must not keep it from the others."""

    async def body(rest, ws, ctx):
        _, order = await rest.order(**limit("BUY", "50000"))
        account = VenueAccount(SPOT, LOCAL, 5000, 5.0, VenueTime(), RequestBudget(6000, 1.0))
        account.endpoints = Endpoints(rest.base, ws)
        known, other = Instrument(symbol="BTCUSDT"), Instrument(symbol="ETHUSDT")
        instrument_of = {one.symbol: one for one in (known, other)}.get
        try:
            number = await command_fault(rest, kind="unknown", symbol="ETHUSDT")
            assert len((await account.open_orders([known], instrument_of))[0]) == 1
            assert (
                (await account.open_orders([other], instrument_of))[0]
                == await account.trades_of(other, 1)
                == await account.trades_from(other, 1)
                == []
            )
            with pytest.raises(RestError, match="-1121"):  # that is no proof that an order of it is gone
                await account.order(other, "mine")
            await end_fault(rest, number)
            await command_fault(rest, kind="answer", status=503, endpoint="GET *")
            with pytest.raises(RestError):  # that is no word on orders
                await account.open_orders([other], instrument_of)
        finally:
            await account.rest.close()

    scene(body, tmp_path, TWO)


@pytest.mark.parametrize("fault", [{"kind": "refuse"}, {"kind": "refuse", "status": 503}, {"kind": "answer", "status": 503}])
def test_faults_of_rest_leave_the_streams_alone(tmp_path, fault):
    async def body(rest, ws, ctx):
        async with listening(ws + "/ws/btcusdt@depth@100ms/btcusdt@trade") as socket:
            number = await command_fault(rest, endpoint="GET /api/v3/*", **fault)
            for path in ("/api/v3/depth", "/api/v3/historicalTrades", "/api/v3/exchangeInfo", "/api/v3/time"):
                try:
                    answer = await rest("GET", path, symbol="BTCUSDT")
                except (aiohttp.ClientError, aiohttp.ContentTypeError, json.JSONDecodeError):
                    continue
                assert answer[0] == 503, path
            assert len(await receive(socket, 100)) == 100
            async with listening(ws + "/ws/btcusdt@trade") as late:
                await ids(late, 5)  # a new connection too
            await end_fault(rest, number)
            assert (await rest("GET", "/api/v3/depth", symbol="BTCUSDT"))[0] == 200
        said = [row[6:8] for row in rows(tmp_path, "request")]
        assert ["GET /api/v3/depth", "answered" if fault["kind"] == "answer" else "refused"] in said

    scene(body, tmp_path)


def test_impossible_faults_are_refused_with_a_sentence(tmp_path):
    async def refused(rest, **fault) -> str:
        async with rest.session.post(rest.base + FAULTS, json=fault) as answer:
            assert answer.status == 400
            return (await answer.json())["error"]

    async def body(rest, ws, ctx):
        assert "by = 0 is impossible" in await refused(rest, kind="jump", by=0)
        assert "times = -1" in await refused(rest, kind="skip", times=-1)
        for kind in ("anew", "halt", "unknown"):
            assert f"{kind} has no probability" in await refused(rest, kind=kind, probability=0.5)

    scene(body, tmp_path)
    trade = '{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1.0","q":"1.0","T":1,"m":true}'
    (tmp_path / "capture").write_text(f'1700000000000000000 {{"stream":"btcusdt@trade","data":{trade}}}\n')
    (tmp_path / "faults.toml").write_text('[[faults]]\nkind = "anew"\nstart_s = 5\n')

    async def start():
        async with venue(tmp_path, '[exchange]\nreplay = ["capture"]\nfaults = "faults.toml"\n'):
            pass

    with pytest.raises(ConfigError, match="a recorded market has ids of its own"):
        asyncio.run(start())
