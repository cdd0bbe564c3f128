"""A replayed capture: the recorded frames as they were, the book at the replay position, our orders against both."""

import asyncio
import contextlib
import gzip
import json
import signal
from pathlib import Path

import aiohttp
import pytest
import websockets

from tests.support.exchange_books import Process, RebuiltBook, compare, connect_unread
from tests.support.exchange_clients import Rest, configure, limit, served
from tests.support.places import DATA
from tests.support.replay_lines import FEW, SNAPSHOT, depth, line, market_of, snapshot, ticker, trade, write
from tickmesh.bus.config import ConfigError
from tickmesh.nodes.exchange.market.captures import read_line
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.matching import ExchangeOrder
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.replay import Replay
from tickmesh.nodes.exchange.protocol import NotKnownYet, VenueError, mantissa

SPOT = DATA / "hftbacktest" / "spot" / "btcusdt_20240808.gz"
NEXO = [DATA / "hftbt_playground" / "raw" / "spot" / f"nexousdt_202407{day}.dat.gz" for day in (23, 24)]
needs_data = [pytest.mark.data, pytest.mark.skipif(not SPOT.exists(), reason="TICKMESH_DATA: no captures here")]
ALL = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"


# ---- a capture of our own


def order(ident: int, side: int, price: float, quantity: float) -> ExchangeOrder:
    return ExchangeOrder(ident, 1, side, mantissa(f"{price:.8f}"), mantissa(f"{quantity:.8f}"))


def units(number: float) -> int:
    return mantissa(f"{number:.8f}")


def test_changes_older_than_the_snapshot_are_left_out_and_later_ones_kept_although_they_came_before():
    market, _, _ = market_of(
        depth(8, 9, bids=[(100, 9)]), depth(10, 12, bids=[(99, 7)]), SNAPSHOT, depth(13, 13, asks=[(101, 0)])
    )  # fmt: skip
    answer = json.loads(market.snapshot(2))
    assert answer["lastUpdateId"] == 13
    assert answer["bids"] == [["100.00000000", "1.00000000"], ["99.00000000", "7.00000000"]]
    assert answer["asks"][0] == ["102.00000000", "2.00000000"]


def test_the_book_is_not_known_before_its_snapshot_and_never_without_one():
    market, _, _ = market_of(depth(8, 9), snapshot_ahead=True)
    with pytest.raises(NotKnownYet):
        market.snapshot(5)
    market, _, _ = market_of(depth(8, 9))
    with pytest.raises(VenueError, match="holds no depth snapshot") as refusal:
        market.snapshot(5)
    assert refusal.value.status == 503


@pytest.mark.parametrize("absurd", [(1, 2), (50_000_000_001, 10**15)])
def test_a_first_change_with_an_absurd_id_costs_no_snapshot(absurd):
    at = 50_000_000_000
    chain = [depth(at + 3 * n + 1, at + 3 * n + 3, bids=[(100, 1 + n)]) for n in range(6)]
    market, replay, _ = market_of(depth(*absurd), *chain[:3], snapshot(at + 3, [(99, 1)], [(101, 1)]), *chain[3:])
    assert market.book_id == at + 18 and not replay.refused


def test_a_hole_in_the_recorded_changes_ends_the_book():
    market, _, _ = market_of(SNAPSHOT, depth(11, 11), depth(13, 13))
    with pytest.raises(VenueError):
        market.snapshot(5)


def test_a_taker_fills_level_by_level_and_leaves_the_recorded_book_alone():
    market, _, _ = market_of(SNAPSHOT)
    status, fills = market.submit(order(1, 1, 0, 2.5), "MARKET", "GTC", 0)
    assert status == "FILLED" and [(f.price, f.quantity) for f in fills] == [
        (units(101), units(1)),
        (units(102), units(1.5)),
    ]
    assert market.best(-1) == (units(101), units(1))
    status, fills = market.submit(order(2, 1, 102, 3), "LIMIT", "IOC", 0)
    assert status == "EXPIRED" and sum(f.quantity for f in fills) == units(0.5), "what the first order left"
    assert market.submit(order(3, 1, 103, 5.1), "LIMIT", "FOK", 0) == ("EXPIRED", [])
    assert market.submit(order(4, 1, 103, 1), "LIMIT_MAKER", "GTC", 0) == ("REJECTED", [])
    assert len({f.trade_id for f in fills}) == len(fills)


def test_a_book_ticker_ahead_of_the_depth_stream_decides_where_the_book_begins():
    market, _, _ = market_of(SNAPSHOT, ticker(12, 100, 3, 102, 1.5))
    assert market.best(-1) == (units(102), units(1.5)) and market.best(1) == (units(100), units(3))


def test_a_resting_order_waits_for_the_queue_that_stood_ahead():
    market, replay, fills = market_of(SNAPSHOT)
    market.submit(order(1, 1, 100, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(trade(1, 100, 0.6, True)), 0)
    assert fills == []
    replay.pass_line(line(trade(2, 100, 5, False)), 0)
    assert fills == [], "a buyer's trade takes nothing from the bids"
    replay.pass_line(line(trade(3, 100, 0.8, True)), 0)
    assert [(i, e.quantity, e.price, e.maker) for i, e in fills] == [(1, units(0.4), units(100), True)]
    replay.pass_line(line(trade(4, 99, 0.1, True)), 0)
    assert fills[-1][1].quantity == units(0.1), "a trade beyond the price would have met the order first, with all that it has"
    replay.pass_line(line(trade(5, 99, 7, True)), 0)
    assert fills[-1][1].quantity == units(0.5) and market.own_orders == {}


def test_a_queue_that_leaves_lets_us_forward():
    market, replay, fills = market_of(SNAPSHOT)
    market.submit(order(1, -1, 101, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(depth(11, 11, asks=[(101, 0.2)])), 0)
    replay.pass_line(line(trade(1, 101, 0.5, False)), 0)
    assert [e.quantity for _, e in fills] == [units(0.3)]


def test_a_resting_order_is_filled_when_the_opposite_quote_reaches_it():
    market, replay, fills = market_of(SNAPSHOT)
    market.submit(order(1, 1, 100.5, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(ticker(11, 100, 1, 100.6, 1)), 0)
    assert fills == []
    replay.pass_line(line(ticker(12, 99, 1, 100.5, 1)), 0)
    assert [(e.price, e.quantity) for _, e in fills] == [(units(100.5), units(1))]
    assert not market.cancel(1, 0)


@pytest.mark.parametrize(
    "bad", ["", "x {}", "12 {}", "1700000000000000000 []", "1700000000000000000 {", "1700000000000000000 {}"]
)
def test_a_line_that_is_no_frame_is_refused_with_a_sentence(bad):
    with pytest.raises(ValueError):
        read_line(bad)
    replay = Replay({})
    assert replay.pass_line(bad, 0) is None
    assert replay.refused == 1 and replay.position == 1 and "line 1" in replay.error


# ---- served


def toml(*files: Path, speed: float = 0, lines: int = 1) -> str:
    names = ", ".join(f'"{file}"' for file in files)
    return f"[exchange]\nreplay = [{names}]\nspeed = {speed}\nlines = {lines}\n"


@contextlib.asynccontextmanager
async def replayed(folder: Path, text: str):
    async with served(configure(folder, text)) as (rest, ws, ctx):
        async with aiohttp.ClientSession() as session:
            yield Rest(rest, session), ws, ctx


async def ended(rest: Rest) -> dict:
    while True:
        _, progress = await rest("GET", "/tickmesh/v1/replay")
        if progress["ended"]:
            return progress
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["few.gz", "few.dat"])
def test_clients_get_the_recorded_text_and_the_exchange_stays_up_after_the_end(tmp_path, name):
    recorded = write(tmp_path / name, FEW)

    async def scene():
        async with replayed(tmp_path, toml(tmp_path / name)) as (rest, ws, _):
            async with websockets.connect(ws + ALL) as socket:
                assert [await socket.recv() for _ in recorded] == recorded
                progress = await ended(rest)
            assert (progress["position"], progress["frames"], progress["error"]) == (len(FEW), len(recorded), "")
            _, book = await rest("GET", "/api/v3/depth", symbol="BTCUSDT")
            assert book["lastUpdateId"] == 13 and book["bids"][0] == ["100.50000000", "0.75000000"]
            _, rows = await rest("GET", "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=1)
            assert [(r["id"], r["price"], r["isBuyerMaker"]) for r in rows] == [
                (1, "101.00000000", False),
                (2, "100.50000000", True),
            ]
            _, made = await rest.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.1")
            assert made["status"] == "FILLED" and made["fills"][0]["price"] == "100.50000000"

    asyncio.run(scene())


def test_the_replay_starts_when_all_lines_have_subscribed_and_a_depth_request_waits_for_the_snapshot(tmp_path):
    write(tmp_path / "few.gz", FEW)

    async def scene():
        async with replayed(tmp_path, toml(tmp_path / "few.gz", lines=2)) as (rest, ws, _):
            held = asyncio.create_task(rest("GET", "/api/v3/depth", symbol="BTCUSDT"))
            async with websockets.connect(ws + "/ws/btcusdt@trade") as one:
                await asyncio.sleep(0.1)
                _, progress = await rest("GET", "/tickmesh/v1/replay")
                assert progress["position"] == 0 and progress["clients"] == 1 and not held.done()
                async with websockets.connect(ws + ALL):
                    first = json.loads(await one.recv())
                    assert first["t"] == 1, "the raw form of the recorded trade"
                    status, book = await asyncio.wait_for(held, 10)
                    assert status == 200 and book["lastUpdateId"] >= 10

    asyncio.run(scene())


def test_a_depth_request_to_a_capture_without_a_snapshot_is_answered_with_a_sentence(tmp_path):
    write(tmp_path / "few.gz", [m for m in FEW if "stream" in m])

    async def scene():
        async with replayed(tmp_path, toml(tmp_path / "few.gz")) as (rest, ws, _):
            status, error = await rest("GET", "/api/v3/depth", symbol="BTCUSDT")
            assert status == 503 and "holds no depth snapshot" in error["msg"]

    asyncio.run(scene())


@pytest.mark.parametrize("case", ["missing", "folder", "text", "empty", "not gzip"])
def test_what_is_not_a_capture_is_refused_with_a_sentence_before_anything_is_served(tmp_path, case):
    path = tmp_path / "capture"
    if case == "folder":
        path.mkdir()
    elif case == "text":
        path.write_text("hello\nworld\n")
    elif case == "empty":
        path.write_text("")
    elif case == "not gzip":
        path.write_bytes(b"\x1f\x8bnonsense")

    async def scene():
        with pytest.raises(ConfigError, match="capture"):
            async with replayed(tmp_path, toml(path)):
                pass

    asyncio.run(scene())
    assert not (tmp_path / "run" / "exchange.json").exists()


def test_a_truncated_capture_serves_what_can_be_read_and_reports_its_end(tmp_path):
    path = tmp_path / "cut.gz"
    recorded = write(path, FEW + [ticker(100 + n, 100 + n % 7, n / 8, 200, 1) for n in range(3000)])
    path.write_bytes(path.read_bytes()[:-2000])

    async def scene():
        async with replayed(tmp_path, toml(path)) as (rest, ws, ctx):
            async with websockets.connect(ws + ALL) as socket:
                progress = await ended(rest)
                assert "ends early" in progress["error"]
                received = [await socket.recv() for _ in range(progress["frames"])]
                assert received == recorded[: len(received)] and len(received) > 100

    asyncio.run(scene())


def test_a_client_that_vanishes_does_not_stop_the_others(tmp_path):
    messages = FEW + [ticker(100 + n, 100, 1 + n, 200, 1) for n in range(8000)]
    for message in messages[len(FEW) :]:
        message["data"]["ignored"] = "x" * 1000  # more in all than the kernel would buffer
    recorded = write(tmp_path / "long.gz", messages)

    async def scene():
        async with replayed(tmp_path, toml(tmp_path / "long.gz", lines=2)) as (rest, ws, _):
            goes = connect_unread(ws + ALL)
            async with websockets.connect(ws + ALL) as stays:
                received = []
                with contextlib.suppress(TimeoutError):
                    while True:
                        received.append(await asyncio.wait_for(stays.recv(), 1))
                assert 0 < len(received) < len(recorded), "the replay waits for the one that does not read"
                goes.close()
                while len(received) < len(recorded):
                    received.append(await asyncio.wait_for(stays.recv(), 20))
                assert received == recorded
                assert (await ended(rest))["clients"] == 1

    asyncio.run(scene())


def test_a_killed_replay_goes_on_where_it_was_and_loses_nothing(tmp_path):
    messages = FEW + [ticker(100 + n, 100, 1 + n, 200, 1) for n in range(5000)]
    recorded = write(tmp_path / "long.gz", messages, gap_ns=10**6)
    configure(tmp_path, toml(tmp_path / "long.gz", speed=2))

    async def receive_and_kill(process: Process, frames: int) -> list[str]:
        async with websockets.connect(process.where["ws"] + ALL) as socket:
            received = [await socket.recv() for _ in range(frames)]
            process.end(signal.SIGKILL)  # at once: the replay goes on by itself
            return received

    async def receive(where: dict) -> list[str]:
        async with aiohttp.ClientSession() as session, websockets.connect(where["ws"] + ALL) as socket:
            received = []
            while not received or received[-1] != recorded[-1]:
                received.append(await socket.recv())
            rest = Rest(where["rest"], session)
            progress = await ended(rest)
            assert progress["position"] == len(messages)
            return received

    before = asyncio.run(receive_and_kill(Process(tmp_path), 1500))
    again = Process(tmp_path)
    after = asyncio.run(receive(again.where))
    again.end(signal.SIGTERM)
    assert before == recorded[: len(before)]
    start = recorded.index(after[0])
    assert start > 1000, "it goes on, it does not begin anew"
    assert after == recorded[start:]


def test_our_resting_order_is_filled_by_the_replayed_market(tmp_path):
    messages = FEW + [trade(3, 99.5, 1, True), ticker(14, 99, 1, 101, 1)]
    write(tmp_path / "few.gz", messages, gap_ns=50_000_000)

    async def scene():
        async with replayed(tmp_path, toml(tmp_path / "few.gz", speed=1)) as (rest, ws, _):
            _, made = await rest.order(**limit("BUY", "100", "0.5"))
            assert made["status"] == "NEW"
            async with websockets.connect(ws + ALL):
                await ended(rest)
            _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=made["orderId"])
            assert seen["status"] == "FILLED"
            _, mine = await rest.order("GET", "/api/v3/myTrades", symbol="BTCUSDT")
            assert [(t["price"], t["qty"], t["isMaker"]) for t in mine] == [("100.00000000", "0.50000000", True)]

    asyncio.run(scene())


# ---- real captures


def recorded_in(paths: list[Path]) -> list[str]:
    out = []
    for path in paths:
        with gzip.open(path, "rt") as file:
            out += [text.rstrip("\n") for _, _, text in (one.partition(" ") for one in file)]
    return [text for text in out if text.startswith('{"stream"')]


class TestRealCaptures:
    pytestmark = needs_data

    def test_two_clients_get_exactly_the_recorded_frames_and_the_book_in_the_middle_is_right(self, tmp_path):
        recorded = recorded_in([SPOT])

        async def receive(ws: str, rest: Rest) -> tuple[list[str], dict]:
            async with websockets.connect(ws + ALL, max_queue=None) as socket:
                received = [await socket.recv() for _ in range(9000)]
                _, book = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5000)
                while len(received) < len(recorded):
                    received.append(await asyncio.wait_for(socket.recv(), 20))
                return received, book

        async def scene():
            async with replayed(tmp_path, toml(SPOT, speed=0, lines=2)) as (rest, ws, _):
                both = await asyncio.gather(receive(ws, rest), receive(ws, rest))
                progress = await ended(rest)
                assert progress["frames"] == len(recorded) and progress["error"] == ""
                for received, book in both:
                    assert received == recorded
                    assert len(book["bids"]) > 900
                    frames = [json.loads(text) for text in received]
                    assert compare(RebuiltBook(book), frames) > 50

        asyncio.run(scene())

    def test_the_whole_book_equals_the_venues_best_at_every_equal_id(self, tmp_path):
        market = RecordedMarket(spec("BTCUSDT"))
        replay = Replay({"BTCUSDT": market})
        states: dict[int, tuple] = {}
        tickers: dict[int, tuple] = {}
        with gzip.open(SPOT, "rt") as file:
            for text in file:
                frame = replay.pass_line(text, 0)
                assert frame is not None
                if frame.stream.endswith("@bookTicker"):
                    tickers[market.book.ticker[0]] = (market.book.ticker[1][1], market.book.ticker[1][-1])
                elif market.book_id >= 0 and market.book_id not in states:
                    bid, ask = market.book.sides[1].peekitem(0), market.book.sides[-1].peekitem(0)
                    states[market.book_id] = ((-bid[0], bid[1]), (ask[0], ask[1]))
        equal = states.keys() & tickers.keys()
        assert len(equal) == 564 and all(states[u] == tickers[u] for u in equal)

    def test_chained_files_are_one_capture(self, tmp_path):
        """Over the first one's end and well into the second one; all of them: tests/mesh/test_mesh_capture.py."""
        recorded = recorded_in(NEXO)
        assert len(recorded) == 1803 + 112_274

        async def scene():
            async with replayed(tmp_path, toml(*NEXO)) as (rest, ws, _):
                url = ws + ALL.replace("btcusdt", "nexousdt")
                async with websockets.connect(url, max_queue=None) as socket:
                    for n, text in enumerate(recorded[:9000]):
                        assert await socket.recv() == text, n
                _, info = await rest("GET", "/api/v3/exchangeInfo", symbol="NEXOUSDT")
                assert info["symbols"][0]["baseAsset"] == "NEXO"

        asyncio.run(scene())
