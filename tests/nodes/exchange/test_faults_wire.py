"""Faults on the wire: what a client sees while one lasts, that it ends when told, and that the ledger says what was done."""

import asyncio
import contextlib
import json
import time
from collections import deque

import pytest
import websockets

from tests.support.exchange_clients import listening
from tests.support.faults_scene import TRADES, command_fault, end_fault, frames, gone, ids, read_until, rows, scene
from tests.support.waiting import until


def test_skipped_frames_are_a_jump_of_ids_that_the_ledger_explains(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as one, listening(ws + TRADES) as two:
            await ids(one, 1)
            number = await command_fault(rest, kind="skip", connection=1, stream="btcusdt@trade", probability=0.5, seed=3)
            received = await ids(one, 60)
            await end_fault(rest, number)
            after = await ids(one, 40)
            full = await ids(two, 150)
        assert full == list(range(full[0], full[0] + 150)), "the other line has every trade"
        dropped = [json.loads(row[7])["t"] for row in rows(tmp_path, "frame") if row[6] == "dropped"]
        missing = sorted(set(range(received[0], after[-1] + 1)) - set(received) - set(after))
        assert missing and set(missing) <= set(dropped)
        assert after[-30:] == list(range(after[-30], after[-30] + 30)), "it ends when told"
        assert {row[4] for row in rows(tmp_path, "frame")} == {1}

    scene(body, tmp_path)


LIVES = ["opened", "subscribed", "cut", "closed", "opened", "subscribed", "closed"]  # of two connections, in the ledger


def test_cut_refuse_and_the_way_back(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            await command_fault(rest, kind="cut")
            assert await gone(socket)
        number = await command_fault(rest, kind="refuse", status=503)
        with pytest.raises(websockets.InvalidStatus, match="503"):
            await websockets.connect(ws + TRADES)
        assert (await rest("GET", "/api/v3/time"))[0] == 200, "REST is another door"
        await end_fault(rest, number)
        number = await command_fault(rest, kind="refuse")
        with pytest.raises((websockets.InvalidMessage, ConnectionError, EOFError)):
            await websockets.connect(ws + TRADES)
        await end_fault(rest, number)
        async with listening(ws + TRADES) as socket:
            await ids(socket, 3)
        await until(lambda: [row[4] for row in rows(tmp_path, "client")] == LIVES)
        assert [row[7] for row in rows(tmp_path, "request")] == ["refused", "refused"]

    scene(body, tmp_path)


def test_a_shutdown_is_announced_and_then_done_to_whoever_was_there(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as old:
            await ids(old, 1)
            began = time.monotonic()
            await command_fault(rest, kind="shutdown", length_s=1.5)
            async with listening(ws + TRADES) as new:
                told = {}
                while told.get("e") != "serverShutdown":
                    told = json.loads(await asyncio.wait_for(old.recv(), 5))
                assert await gone(old) and time.monotonic() - began >= 1.4
                assert (old.close_code, old.close_reason) == (1001, "going away")
                await ids(new, 20)  # who came after the notice is not concerned

    scene(body, tmp_path)


def test_a_stalled_connection_stays_open_and_is_sent_nothing(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES, ping_interval=None) as socket:
            before = (await ids(socket, 5))[-1]
            number = await command_fault(rest, kind="stall", connection=1)
            with contextlib.suppress(TimeoutError):
                while True:  # what was sent before it began
                    before = json.loads(await asyncio.wait_for(socket.recv(), 0.4))["t"]
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.4)
            await end_fault(rest, number)
            after = (await ids(socket, 1))[0]
        assert after > before + 20
        dropped = [json.loads(row[7]) for row in rows(tmp_path, "frame")]
        assert {row["t"] for row in dropped if "t" in row} >= set(range(before + 1, after))
        assert any(row.get("id") == 1 for row in dropped), "the reply was withheld too"

    scene(body, tmp_path)


def test_a_dripping_connection_gets_its_bytes_slowly_and_the_rest_at_the_end(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES, ping_interval=None) as socket:
            await ids(socket, 5)
            number = await command_fault(rest, kind="drip", bytes_per_s=400)
            began = time.monotonic()
            last = 0
            while time.monotonic() - began < 1.0:
                last = (await ids(socket, 1))[0]
            count = len([r for r in rows(tmp_path, "frame") if r[6] == "late"])
            assert count > 50, "many are due, a few arrive"
            await end_fault(rest, number)
            rest_of_it = await ids(socket, count)
            assert rest_of_it == list(range(last + 1, last + 1 + count)), "nothing is lost or out of order"

    scene(body, tmp_path)


def test_duplicate_reorder_and_delay(tmp_path):
    def whole(found: deque) -> bool:
        return [trade["t"] for trade in found] == list(range(found[0]["t"], found[0]["t"] + len(found)))

    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            number = await command_fault(rest, kind="duplicate")
            await read_until(socket, 2, lambda found: found[0]["t"] == found[1]["t"])
            await end_fault(rest, number)
            await read_until(socket, 40, whole)
            number = await command_fault(rest, kind="reorder")
            await read_until(socket, 2, lambda found: found[0]["t"] > found[1]["t"])
            await end_fault(rest, number)
            await read_until(socket, 40, whole)
            number = await command_fault(rest, kind="delay", delay_ms=700)
            await read_until(socket, 1, lambda found: time.time() * 1000 - found[0]["T"] > 650)
            await end_fault(rest, number)
            after = await ids(socket, 200)
            assert after == sorted(set(after)) and len(after) == 200
        assert {row[6] for row in rows(tmp_path, "frame")} == {"repeated", "late"}

    scene(body, tmp_path)


@pytest.mark.parametrize("kind", ["garbage", "truncate"])
def test_frames_that_cannot_be_read(tmp_path, kind):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            await ids(socket, 2)
            number = await command_fault(rest, kind=kind, probability=0.5)

            async def readable() -> bool:
                with contextlib.suppress(ValueError):
                    await frames(socket, 1)
                    return True
                return False

            for _ in range(5000):  # how many were on their way before it began is the machine's load
                if not await readable():
                    break
            good = [await readable() for _ in range(80)]
            assert 10 < sum(good) < 70
            await end_fault(rest, number)
            while True:
                with contextlib.suppress(ValueError, KeyError):
                    await ids(socket, 20)
                    break
        assert {row[6] for row in rows(tmp_path, "frame")} == {"altered"}
        assert all("t" in json.loads(row[7]) for row in rows(tmp_path, "frame"))

    scene(body, tmp_path)


def test_a_torn_frame_ends_the_connection(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            await ids(socket, 1)
            await command_fault(rest, kind="torn", length_s=0.3)
            assert await gone(socket)
        await asyncio.sleep(0.4)
        async with listening(ws + TRADES) as socket:
            await ids(socket, 5)

    scene(body, tmp_path)


def test_crossed_and_stale_quotes(tmp_path):
    def crossed(quote: dict) -> bool:
        return float(quote["b"]) >= float(quote["a"])

    async def body(rest, ws, ctx):
        async with listening(ws + "/ws/btcusdt@bookTicker") as socket:
            await frames(socket, 5)
            number = await command_fault(rest, kind="crossed")
            await read_until(socket, 1, lambda found: float(found[0]["b"]) > float(found[0]["a"]))
            await end_fault(rest, number)
            await frames(socket, 60)
            number = await command_fault(rest, kind="stale")
            await read_until(socket, 30, lambda found: len({q["u"] for q in found}) == 1)
            await end_fault(rest, number)
            await read_until(socket, 50, lambda found: len({q["u"] for q in found}) == 50 and not any(map(crossed, found)))
        true = {json.loads(row[7])["u"]: json.loads(row[7]) for row in rows(tmp_path, "frame")}
        assert all(float(q["b"]) < float(q["a"]) for q in true.values()), "the ledger has the frame that was due"

    scene(body, tmp_path)


def test_frames_of_a_stretch_of_market_time_only(tmp_path):
    async def body(rest, ws, ctx):
        async with listening(ws + TRADES) as socket:
            first = json.loads(await socket.recv())
            low, high = first["T"] + 500, first["T"] + 1000
            await command_fault(rest, kind="skip", from_ms=low, to_ms=high)
            seen = []
            while not seen or seen[-1]["E"] < high + 500:
                seen.append(json.loads(await asyncio.wait_for(socket.recv(), 10)))
        # The frame leaves a moment after its stamp.
        assert not [row for row in seen if low + 50 <= row["E"] < high - 50]
        assert [row for row in seen if row["E"] < low] and seen[-1]["t"] - seen[0]["t"] + 1 > len(seen)

    scene(body, tmp_path)
