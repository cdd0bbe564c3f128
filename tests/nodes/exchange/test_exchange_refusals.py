"""What is not built is refused in the venue's words, and the small things are built: zones, windows, types, streams."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
import websockets

from tests.support.exchange_clients import WsApi, configure, limit, listening, served, venue
from tests.support.exchange_talk import FAST, ask, receive, run
from tests.support.replay_lines import FEW, write
from tickmesh.nodes.exchange.api.api import REST, USDM_REST
from tickmesh.nodes.exchange.market.candles import INTERVALS, candles, interval_bounds
from tickmesh.nodes.exchange.market.tape import Print, Tape
from tickmesh.nodes.exchange.market.tickers import MINI, window_start
from tickmesh.nodes.exchange.protocol import UNIT

UNREAD = "Not all sent parameters were read; read '{}' parameter(s) but was sent '{}'."
MARKET = ("depth", "trades", "historicalTrades", "aggTrades", "avgPrice", "referencePrice", "ticker", "ticker/24hr",
          "ticker/tradingDay", "ticker/price", "ticker/bookTicker")  # fmt: skip


def test_a_parameter_that_nobody_reads_is_refused_at_every_door(tmp_path):
    async def scene():
        async with venue(tmp_path) as (rest, ws, _):
            for path in MARKET:
                assert (await rest("GET", f"/api/v3/{path}", symbol="BTCUSDT"))[0] == 200, path
                status, error = await rest("GET", f"/api/v3/{path}", symbol="BTCUSDT", depth="5")
                assert (status, error) == (400, {"code": -1104, "msg": UNREAD.format(1, 2)}), path
            for path in ("ping", "time"):
                assert (await rest("GET", f"/api/v3/{path}", x="1"))[1] == {"code": -1104, "msg": UNREAD.format(0, 1)}
            for path, known in (("depth", {}), ("trades", {}), ("historicalTrades", {"fromId": 1}), ("aggTrades", {})):
                _, error = await rest("GET", f"/binance_usdm/fapi/v1/{path}", symbol="BTCUSDT", Limit=5, **known)
                assert error["code"] == -1104, path
            _, error = await rest("GET", "/api/v3/depth", symbl="BTCUSDT")
            assert error["code"] == -1102 and "'symbol'" in error["msg"], "what is missing comes first"

            terms = limit("BUY", "50000")
            _, error = await rest.order(**terms, newClientOrderID="mine")
            assert error == {"code": -1104, "msg": UNREAD.format(8, 9)}, "timestamp and signature are counted"
            wrong = {name: value for name, value in terms.items() if name != "timeInForce"}
            assert (await rest.order(**wrong, timeInforce="GTC"))[1]["code"] == -1104
            assert (await rest.order("GET", "/api/v3/openOrders"))[1] == [], "nothing has happened"
            for method, path, more in (
                ("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}),
                ("GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}),
                ("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"}), ("GET", "/api/v3/account", {}),
                ("POST", "/api/v3/order/test", terms), ("POST", "/api/v3/order/cancelReplace", {
                    **terms, "cancelReplaceMode": "ALLOW_FAILURE", "cancelOrderId": 1}),
            ):  # fmt: skip
                assert (await rest.order(method, path, **more, recvWindow=5000, created=1))[1]["code"] == -1104, path
            assert (await rest("GET", "/api/v3/depth", symbol="BTCUSDT", recvWindow=5000))[1]["code"] == -1104

            async with listening(ws + "/ws-api/v3") as socket:
                call = WsApi(socket)
                assert (await call("order.place", **terms, newClientOrderID="mine"))["error"]["code"] == -1104
                assert (await call("depth", sign_it=False, symbol="BTCUSDT", Limit=5))["error"]["code"] == -1104
                assert (await call("session.status", sign_it=False, why=1))["error"]["code"] == -1104
                assert (await call("userDataStream.subscribe.signature", listenKey="x"))["error"]["code"] == -1104
                made = await call("order.place", **terms, newClientOrderId="mine", recvWindow=5000, returnRateLimits=False)
                assert made["status"] == 200 and "rateLimits" not in made

    run(scene)


def test_every_operation_names_its_parameters():
    """Those with a symbol at least; a table's entry that is forgotten would refuse every request."""
    bare = {path for (_, path), operation in {**REST, **USDM_REST}.items() if not operation.takes.names}
    assert bare == {
        "/api/v3/ping", "/api/v3/time", "/api/v3/rateLimit/order", "/api/v3/openOrderList", "/fapi/v1/ping", "/fapi/v1/time",
        "/fapi/v1/exchangeInfo", "/fapi/v1/fundingInfo", "/fapi/v2/account", "/fapi/v3/account", "/fapi/v2/balance",
        "/fapi/v3/balance", "/fapi/v1/accountConfig", "/fapi/v1/multiAssetsMargin",
        "/fapi/v1/positionSide/dual", "/sapi/v1/account/apiRestrictions",
    }  # fmt: skip


def test_types_windows_zones_and_statuses_are_read_or_refused(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            async with listening(ws + "/ws/btcusdt@trade") as socket:
                await receive(socket)
            for path, name, value, code, words in (
                ("ticker/24hr", "type", "NOPE", -1139, "Invalid ticker type."),
                ("ticker", "type", "mini", -1139, "Invalid ticker type."),
                ("ticker", "windowSize", "61m", -1130, "Data sent for parameter 'windowSize' is not valid."),
                ("ticker", "windowSize", "8d", -1130, "Data sent for parameter 'windowSize' is not valid."),
                ("ticker/tradingDay", "timeZone", "15", -1130, "Data sent for parameter 'timeZone' is not valid."),
                ("klines?interval=1m&", "timeZone", "-12:01", -1130, "Data sent for parameter 'timeZone' is not valid."),
                ("klines?interval=1m&", "timeZone", "UTC", -1130, "Data sent for parameter 'timeZone' is not valid."),
                ("ticker/price", "symbolStatus", "OPEN", -1122, "Invalid symbolStatus."),
                ("depth", "symbolStatus", "HALT", -1220, "The symbol's status does not match the requested symbolStatus."),
            ):  # fmt: skip
                path, _, more = path.partition("?")
                status, error = await rest("GET", f"/api/v3/{path}", raw=f"{more}symbol=BTCUSDT&{name}={value}")
                assert (status, error) == (400, {"code": code, "msg": words}), (path, value)
            _, full = await rest("GET", "/api/v3/ticker/24hr", symbol="BTCUSDT")
            _, mini = await rest("GET", "/api/v3/ticker/24hr", raw='symbols=["BTCUSDT"]&type=MINI')
            assert tuple(mini[0]) == MINI and "prevClosePrice" in full and full["symbol"] == mini[0]["symbol"]
            _, window = await rest("GET", "/api/v3/ticker", symbol="BTCUSDT", windowSize="1h")
            assert window["openTime"] % 60_000 == 0 and 3_600_000 <= window["closeTime"] - window["openTime"] < 3_660_000
            _, day = await rest("GET", "/api/v3/ticker/tradingDay", symbol="BTCUSDT", timeZone="05:45")
            assert (day["openTime"] + (5 * 60 + 45) * 60_000) % 86_400_000 == 0 and day["closeTime"] - day[
                "openTime"
            ] == 86_399_999
            assert (await rest("GET", "/api/v3/ticker"))[1]["code"] == -1102
            assert (await rest("GET", "/api/v3/ticker/price", symbolStatus="HALT"))[1] == []
            _, info = await rest("GET", "/api/v3/exchangeInfo", showPermissionSets="false", symbolStatus="TRADING")
            assert info["symbols"] and "permissionSets" not in info["symbols"][0]
            assert (await rest("GET", "/api/v3/exchangeInfo", permissions="MARGIN"))[1]["symbols"] == []
            assert (await rest("GET", "/api/v3/exchangeInfo", permissions="SPOTT"))[1]["code"] == -1130
            assert (await rest("GET", "/api/v3/exchangeInfo", symbol="BTCUSDT", permissions="SPOT"))[1]["code"] == -1128
            _, rows = await rest("GET", "/api/v3/klines", symbol="BTCUSDT", interval="1d", timeZone="8", limit=1)
            assert (rows[0][0] + 8 * 3_600_000) % 86_400_000 == 0 and rows[0][6] - rows[0][0] == 86_399_999
            assert (await rest("GET", "/api/v3/referencePrice", symbol="BTCUSDT"))[1]["referencePrice"] is None

    run(scene)


@pytest.mark.parametrize("zone_min", [0, 480, -720, 840, 345, -210])
@pytest.mark.parametrize("interval", ["1h", "4h", "1d", "1w", "1M"])
def test_candles_of_a_zone_begin_by_its_clocks(zone_min, interval):
    """Against datetime: the local time at which a candle begins is a whole hour, day, Monday or first of the month."""
    zone = timezone(timedelta(minutes=zone_min))
    tape, t0 = Tape(), int(datetime(2024, 2, 27, 20, 7, tzinfo=UTC).timestamp() * 1000)
    for n in range(60):
        tape.append(Print(n + 1, 100 * UNIT, UNIT, t0 + n * 7_300_000, n % 2))
    rows = candles(tape, interval, t0, tape.prints[-1].time, 1000, zone_min * 60_000)
    assert sum(row.trades for row in rows) == 60
    for row, following in zip(rows, [*rows[1:], None]):
        local = datetime.fromtimestamp(row.start_ms / 1000, zone)
        assert (local.minute, local.second) == (0, 0)
        assert interval == "1h" or local.hour % 4 == 0
        assert interval not in ("1d", "1w", "1M") or local.hour == 0
        assert interval != "1w" or local.weekday() == 0
        assert interval != "1M" or local.day == 1
        assert following is None or following.start_ms == row.end_ms + 1
        assert interval_bounds(interval, row.end_ms, zone_min * 60_000) == (row.start_ms, row.end_ms)
    assert interval in INTERVALS


def test_a_window_begins_on_a_minute():
    assert window_start("1h", 7_259_999) == 3_600_000 and window_start("59m", 7_260_000) == 3_720_000
    assert window_start("2d", 200_000_000) == 27_180_000


def test_streams_of_zones_and_windows_are_sent_and_those_not_built_are_refused(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST + "[exchange.limits]\nmessages_per_s = 1000\n") as (_, ws, _):
            wanted = {"btcusdt@kline_1d@+08:00", "btcusdt@kline_1d", "btcusdt@ticker_1h", "btcusdt@referencePrice"}
            seen: dict[str, dict] = {}
            async with listening(f"{ws}/stream?streams={'/'.join(wanted)}") as socket:
                while seen.keys() != wanted:
                    frame = await receive(socket)
                    seen[frame["stream"]] = frame["data"]
            east, utc = (seen[f"btcusdt@kline_1d{zone}"]["k"] for zone in ("@+08:00", ""))
            assert (
                (east["t"] + 8 * 3_600_000) % 86_400_000 == 0 and utc["t"] % 86_400_000 == 0 and east["i"] == utc["i"] == "1d"
            )
            window = seen["btcusdt@ticker_1h"]
            assert window["e"] == "1hTicker" and window["O"] % 60_000 == 0 and window["n"] > 0
            assert seen["btcusdt@referencePrice"]["r"] is None

            async with listening(ws + "/ws/1") as socket:
                for name in ("btcusdt@blockTrade", "!ticker_1h@arr", "!ticker_4h@arr"):
                    answer = await ask(socket, {"method": "SUBSCRIBE", "params": ["btcusdt@avgPrice", name], "id": 3})
                    assert (answer["code"], answer["id"]) == (2, 3) and name in answer["msg"]
                assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == [], "nothing was subscribed"
                for name in ("btcusdt@kline_7m", "btcusdt@ticker_2h", "nope@blockTrades"):
                    answer = await ask(socket, {"method": "SUBSCRIBE", "params": [name], "id": 4})
                    assert answer == {"result": None, "id": 4}, "what the venue has not is acknowledged there too"
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(ws + "/ws/btcusdt@trade/btcusdt@blockTrade").__aenter__()
            assert refused.value.response.status_code == 400 and b"blockTrade" in refused.value.response.body
            async with listening(ws + "/binance_usdm/market/ws/1") as socket:
                for name in (
                    "!markPrice@arr@1s",
                    "btcusdt@kline_1m",
                    "!forceOrder@arr",
                    "btcusdt@depth5@100ms",
                    "btcusdt@depth",
                ):
                    answer = await ask(socket, {"method": "SUBSCRIBE", "params": [name], "id": 5})
                    assert answer["code"] == 2 and name in answer["msg"]

    run(scene)


def test_a_stream_that_a_capture_brings_is_served_whatever_its_name(tmp_path):
    block = {"stream": "btcusdt@blockTrade", "data": {"e": "blockTrade", "s": "BTCUSDT", "t": 1, "p": "1", "q": "1", "T": 1}}
    write(tmp_path / "few.gz", [*FEW, block])

    async def scene():
        config = configure(tmp_path, f'[exchange]\nreplay = ["{tmp_path / "few.gz"}"]\nspeed = 0\nlines = 1\n')
        async with served(config) as (_, ws, _), listening(ws + "/ws/btcusdt@blockTrade") as socket:
            assert json.loads(await socket.recv()) == block["data"]

    run(scene)
