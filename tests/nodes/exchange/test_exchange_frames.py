"""Every market stream has the venue's paths, control messages, keys and units, and they agree with one another."""

import json

from tests.support.exchange_clients import listening, venue
from tests.support.exchange_talk import FAST, ask, collect, receive, run
from tests.support.replay_lines import SNAPSHOT, ticker, trade, write


def test_frames_are_raw_or_wrapped_as_the_path_of_the_market_stream_asks(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (_, ws, _):
            for path, wrapped in (
                ("/ws/btcusdt@trade", False), ("/ws/btcusdt@trade/btcusdt@bookTicker", False),
                ("/stream?streams=btcusdt@trade/btcusdt@bookTicker", True),
            ):  # fmt: skip
                async with listening(ws + path) as socket:
                    frame = await receive(socket)
                    assert ("stream" in frame) == wrapped, path
            for path, wrapped in (("/ws", False), ("/ws/3", False), ("/stream", True), ("/stream/ws/3", True)):
                async with listening(ws + path) as socket:
                    await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":7}')
                    assert await receive(socket) == {"result": None, "id": 7}, "acknowledged before data"
                    frame = await receive(socket)
                    assert ("stream" in frame) == wrapped, path

    run(scene)


def test_control_messages_and_their_errors(tmp_path):
    toml = FAST + "[exchange.limits]\nmessages_per_s = 1000\n"

    async def scene():
        async with venue(tmp_path, toml) as (_, ws, _):
            async with listening(ws + "/ws/1") as socket:
                for ident in (1, "abc", None, 2**62):
                    answer = await ask(socket, {"method": "SUBSCRIBE", "params": ["nope@nothing"], "id": ident})
                    assert answer == {"result": None, "id": ident}, "an unknown stream is accepted, and silent"
                assert (await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == ["nope@nothing"]
                assert (await ask(socket, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}))["result"] is False
                assert (await ask(socket, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 3}))["result"] is None
                await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":4}')
                while "stream" not in (frame := await receive(socket)):
                    assert frame == {"result": None, "id": 4}
                await ask(socket, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 5})
                for message, code in (
                    ("nonsense", 3), ("{}", 2), ("[1]", 2), ('{"method":1}', 2), ('{"method":"DANCE","id":1}', 2),
                    ('{"method":"SUBSCRIBE","id":1}', 1), ('{"method":"SUBSCRIBE","params":[],"id":1}', 1),
                    ('{"method":"SUBSCRIBE","params":[1],"id":1}', 1),
                    ('{"method":"SUBSCRIBE","params":"a","id":1}', 1),
                    ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2),
                    ('{"method":"SUBSCRIBE","params":["a"],"id":true}', 2),
                    ('{"method":"SET_PROPERTY","params":["speed",1],"id":1}', 0),
                    ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
                    (json.dumps({"method": "SUBSCRIBE", "params": ["a"], "id": "x" * 37}), 2),
                ):  # fmt: skip
                    answer = await ask(socket, message)
                    assert answer["code"] == code and answer["msg"], (message, answer)
                listed = await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 9})
                assert listed == {"result": ["nope@nothing"], "id": 9}, "it is still open, without what was unsubscribed"

    run(scene)


KLINE = "t T s i f L o c h l v n x q V Q B"
KEYS = {
    "trade": "e E s t p q T m M",
    "aggTrade": "e E s a p q f l T m M",
    "bookTicker": "u s b B a A",
    "depth@100ms": "e E s U u b a",
    "depth": "e E s U u b a",
    "depth5@100ms": "lastUpdateId bids asks",
    "depth20": "lastUpdateId bids asks",
    "kline_1m": "e E s k",
    "kline_1s": "e E s k",
    "miniTicker": "e E s c o h l v q",
    "ticker": "e E s p P w x c Q b B a A o h l v q O C F L n",
    "avgPrice": "e E s i w T",
}


def test_every_stream_has_the_venues_keys_and_they_agree_with_one_another(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            names = {f"btcusdt@{name}" for name in KEYS}
            async with listening(ws + "/stream?streams=" + "/".join(sorted(names))) as socket:
                await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="3")
                frames = await collect(socket, names)
                for name, keys in KEYS.items():
                    for frame in frames[f"btcusdt@{name}"]:
                        assert list(frame) == keys.split(), name
                k = frames["btcusdt@kline_1m"][-1]["k"]
                assert list(k) == KLINE.split() and k["T"] - k["t"] == 59_999
                tops = {f["u"]: f for f in frames["btcusdt@bookTicker"]}
                equal = 0
                for partial in frames["btcusdt@depth5@100ms"]:
                    assert len(partial["bids"]) == len(partial["asks"]) == 5
                    if top := tops.get(partial["lastUpdateId"]):
                        equal += 1
                        assert partial["bids"][0] == [top["b"], top["B"]] and partial["asks"][0] == [top["a"], top["A"]]
                assert equal > 0
            # every trade is in exactly one aggregate, and nothing else is
            trades = {t["t"]: t for t in frames["btcusdt@trade"]}
            largest = max(trades)
            spans = [a for a in frames["btcusdt@aggTrade"] if a["l"] <= largest and a["f"] in trades]
            assert [a["a"] for a in spans] == list(range(spans[0]["a"], spans[0]["a"] + len(spans)))
            assert any(a["l"] > a["f"] for a in spans), "a market order of 3 BTC meets several makers at one price"
            for a in spans:
                part = [trades[t] for t in range(a["f"], a["l"] + 1)]
                assert {(t["p"], t["m"], t["T"]) for t in part} == {(a["p"], a["m"], a["T"])}
                assert sum(round(float(t["q"]) * 1e8) for t in part) == round(float(a["q"]) * 1e8)
            _, rows = await rest("GET", "/api/v3/aggTrades", symbol="BTCUSDT", fromId=spans[0]["a"], limit=len(spans))
            assert [(r["a"], r["p"], r["q"], r["f"], r["l"], r["T"], r["m"]) for r in rows] == [
                tuple(a[x] for x in "apqflTm") for a in spans
            ]

    run(scene)


def test_a_kline_is_closed_once_and_equals_its_trades(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            async with listening(ws + "/stream?streams=btcusdt@kline_1s") as socket:
                closed = []
                while len(closed) < 2:
                    k = (await receive(socket))["data"]["k"]
                    closed += [k] if k["x"] else []
            for k in closed:
                _, rows = await rest("GET", "/api/v3/klines", symbol="BTCUSDT", interval="1s", startTime=k["t"], limit=1)
                assert rows == [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"], k["V"], k["Q"], "0"]]
                if k["n"]:
                    _, trades = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=k["f"], limit=k["n"])
                    assert trades[-1]["id"] == k["L"] and trades[0]["price"] == k["o"] and trades[-1]["price"] == k["c"]
                    assert all(k["t"] <= t["time"] <= k["T"] for t in trades)
            assert closed[1]["t"] == closed[0]["t"] + 1000
            status, error = await rest("GET", "/api/v3/klines", symbol="BTCUSDT", interval="7m")
            assert (status, error["code"]) == (400, -1120)

    run(scene)


def test_microseconds_on_request(tmp_path):
    async def scene():
        async with venue(tmp_path, FAST) as (rest, ws, _):
            url = ws + "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@kline_1s&timeUnit=MICROSECOND"
            async with listening(url) as socket:
                frames = await collect(socket, {"btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@kline_1s"})
                trade = frames["btcusdt@trade"][0]
                for stamp in (
                    trade["E"],
                    trade["T"],
                    frames["btcusdt@depth@100ms"][0]["E"],
                    frames["btcusdt@kline_1s"][0]["k"]["t"],
                ):
                    assert len(str(stamp)) == 16
                assert len(str(trade["t"])) < 13
            headers = {"X-MBX-TIME-UNIT": "MICROSECOND"}
            for path in ("time", "trades?symbol=BTCUSDT", "aggTrades?symbol=BTCUSDT", "klines?symbol=BTCUSDT&interval=1m"):
                async with rest.session.get(f"{rest.base}/api/v3/{path}", headers=headers) as answer:
                    body = await answer.json()
                    row = body[-1] if isinstance(body, list) else body
                    for stamp in (
                        (row[0], row[6]) if isinstance(row, list) else [row.get("serverTime", row.get("time", row.get("T")))]
                    ):
                        assert len(str(stamp)) == 16, (path, row)
            async with rest.session.get(f"{rest.base}/api/v3/time", headers={"X-MBX-TIME-UNIT": "hours"}) as answer:
                assert (await answer.json())["code"] == -1194
            async with listening(ws + "/ws-api/v3?timeUnit=microsecond") as socket:
                answer = await ask(socket, {"id": 1, "method": "time"})
                assert len(str(answer["result"]["serverTime"])) == 16

    run(scene)


def test_a_replay_has_the_streams_that_follow_from_it(tmp_path):
    messages = [SNAPSHOT] + [m for n in range(1, 400) for m in (ticker(10 + n, 100, 1, 101, 1), trade(n, 101, 0.5, False))]
    write(tmp_path / "some.gz", messages, gap_ns=2 * 10**6)
    names = {f"btcusdt@{name}" for name in ("trade", "aggTrade", "depth5@100ms", "kline_1m")}

    async def scene():
        settings = '[exchange]\nreplay = ["some.gz"]\nspeed = 1.0\nlines = 1\n'
        async with venue(tmp_path, settings) as (rest, ws, _):
            async with listening(ws + "/stream?streams=" + "/".join(sorted(names))) as socket:
                await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5)
                frames = await collect(socket, names)
                assert frames["btcusdt@aggTrade"][0]["f"] == frames["btcusdt@trade"][0]["t"] == 1
                assert frames["btcusdt@depth5@100ms"][0]["bids"][0] == ["100.00000000", "1.00000000"]

    run(scene)


def test_mini_tickers_of_all_symbols_come_once_a_second_with_those_that_were_traded(tmp_path):
    two = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\n'
    quiet = "[exchange.population.ETHUSDT]\ntrades_per_s = 0.5\n"

    async def scene():
        async with venue(tmp_path, two + FAST + quiet) as (_, ws, _):
            async with listening(ws + "/stream?streams=!miniTicker@arr/btcusdt@miniTicker/ethusdt@trade") as socket:
                frames, own = [], []
                while len(frames) < 4 or not any(row["s"] == "ETHUSDT" for frame in frames for row in frame):
                    message = await receive(socket)
                    if message["stream"] == "!miniTicker@arr":
                        frames.append(message["data"])
                    elif message["stream"] == "btcusdt@miniTicker":
                        own.append(message["data"])
            times = [frame[0]["E"] for frame in frames]
            assert all(900 <= b - a < 3000 for a, b in zip(times, times[1:])), times
            assert set(frames[0][0]) == set(own[0]) and all(row["e"] == "24hrMiniTicker" for frame in frames for row in frame)
            eth = [row for frame in frames for row in frame if row["s"] == "ETHUSDT"]
            volumes = [row["v"] for row in eth]
            assert len(set(volumes)) == len(volumes), "a symbol without a new trade is left out"

    run(scene)
