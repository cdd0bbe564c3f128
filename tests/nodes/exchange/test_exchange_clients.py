"""Ten clients at once, one of them slow: he is cut off, the others have everything, and all of it agrees."""

import asyncio
import json
import os
import re
import socket as sockets
import time

import aiohttp
import psutil
import pytest
import websockets

from tests.support.exchange_books import ALL, RebuiltBook, compare, connect_unread
from tests.support.exchange_clients import Rest, configure, limit, served, venue
from tests.support.replay_lines import SNAPSHOT, depth, ticker, trade, write

SECONDS = float(os.environ.get("TICKMESH_CLIENT_SECONDS", "4"))


class Mark:
    """The update id up to which everyone is to listen, once it is known."""

    update_id = 1 << 62


UPDATE = re.compile(r'"u":(\d+)')


async def receive(url: str, mark: Mark, received: list) -> None:
    """Every frame, up to the first one at or beyond the mark."""
    async with websockets.connect(url, max_queue=None) as socket:
        async for text in socket:
            received.append(text)
            found = UPDATE.search(text)
            if found and int(found[1]) >= mark.update_id:
                return


def check_agreement(snapshot: dict, raw: list[str]) -> int:
    """Ids of trades without a hole, the book equal to the bookTicker at every update id that both have: how many."""
    frames = [json.loads(text) for text in raw]
    ids = [f["data"]["t"] for f in frames if f["stream"].endswith("@trade")]
    assert ids == list(range(ids[0], ids[0] + len(ids))) and ids
    return compare(RebuiltBook(snapshot), frames)


def test_nine_of_ten_clients_have_everything_and_the_slow_one_is_cut_off(tmp_path):
    async def scene():
        toml = "[exchange]\ntrades_per_s = 300\nquotes_per_s = 1500\nclient_bytes_max = 100000\n"
        async with venue(tmp_path, toml) as (rest, ws, ctx):
            mark, received = Mark(), [[] for _ in range(9)]
            slow = connect_unread(ws + ALL)
            tasks = [asyncio.create_task(receive(ws + ALL, mark, mine)) for mine in received]
            await asyncio.sleep(1)
            _, snapshot = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5000)
            memory = psutil.Process().memory_info().rss
            end = time.monotonic() + 60
            began = time.monotonic()
            while time.monotonic() - began < SECONDS or not ctx.counters.get("cut_off"):
                assert time.monotonic() < end, "the slow client was never cut off"
                await rest.order(**limit("BUY", "59900"), recvWindow=60000)
                await asyncio.sleep(0.1)
            _, now = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5)
            mark.update_id = now["lastUpdateId"] + 1
            await asyncio.gather(*tasks)
            slow.close()
            assert ctx.counters["cut_off"] == 1
            assert psutil.Process().memory_info().rss - memory < 300 << 20
            for mine in received:
                assert check_agreement(snapshot, mine) > 5

    asyncio.run(scene())


def test_every_client_gets_the_same_bytes_in_the_same_order(tmp_path):
    async def scene():
        async with venue(tmp_path, "[exchange]\ntrades_per_s = 300\nquotes_per_s = 1000\n") as (rest, ws, _):
            mark, received = Mark(), [[] for _ in range(10)]
            tasks = [asyncio.create_task(receive(ws + ALL, mark, mine)) for mine in received]
            await asyncio.sleep(SECONDS)
            _, now = await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5)
            mark.update_id = now["lastUpdateId"]
            await asyncio.gather(*tasks)
            start = max((mine[0] for mine in received), key=lambda f: sum(m.index(f) == 0 for m in received if f in m))
            begun = [mine[mine.index(start) :] for mine in received if start in mine]
            length = min(len(mine) for mine in begun)
            assert length > 500 and len(begun) >= 9
            assert all(mine[:length] == begun[0][:length] for mine in begun)

    asyncio.run(scene())


def capture(folder, count: int) -> None:
    """A recorded market: a bookTicker for every change, and trades. Its frames are large, for buffers to fill."""
    deep = [(99 - n / 100, 5) for n in range(60)]
    messages = [SNAPSHOT]
    for n in range(1, count):
        quantity = 1 + n % 50
        messages.append(ticker(10 + n, 100, quantity, 101, 1))
        messages.append(depth(10 + n, 10 + n, bids=[(100, quantity), *deep]))
        messages.append(trade(n, 101, 0.001, False))
    write(folder / "busy.gz", messages, gap_ns=600_000)


@pytest.mark.parametrize("slow_one", [True, False])
def test_a_replay_at_its_own_pace_is_as_strict_and_as_consistent(tmp_path, slow_one):
    capture(tmp_path, 3000)
    toml = '[exchange]\nreplay = ["busy.gz"]\nspeed = 1.0\nlines = 9\nclient_bytes_max = 100000\n'

    async def scene():
        async with served(configure(tmp_path, toml)) as (base, ws, ctx):
            mark, received = Mark(), [[] for _ in range(9)]
            mark.update_id = 10 + 2999
            slow: list[sockets.socket] = [connect_unread(ws + ALL)] if slow_one else []
            tasks = [asyncio.create_task(receive(ws + ALL, mark, mine)) for mine in received]
            async with aiohttp.ClientSession() as session:
                _, snapshot = await Rest(base, session)("GET", "/api/v3/depth", symbol="BTCUSDT", limit=100)
                end = time.monotonic() + 60
                while time.monotonic() < end:
                    _, state = await Rest(base, session)("GET", "/tickmesh/v1/replay")
                    if state["ended"]:
                        break
                    await asyncio.sleep(0.2)
                assert state["ended"] and state["error"] == ""
            await asyncio.gather(*tasks)
            for client in slow:
                client.close()
            assert ctx.counters["cut_off"] == len(slow)
            assert all(mine == received[0] for mine in received)
            assert check_agreement(snapshot, received[0]) > 2500

    asyncio.run(scene())
