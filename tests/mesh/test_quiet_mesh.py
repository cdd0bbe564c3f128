"""What is no fault, through the real processes: a pair that nobody trades, and a venue that is busy for a while."""

import asyncio
import json
import time

import pytest

from tests.support.scripted import Processes, Scripted
from tickmesh.bus.schema import Kind, Reason

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(120)]

# What the snapshot has as well: a connection that is made beside it has missed nothing, whichever of them is heard first.
CHANGE = {"type": "l2update", "product_id": "BTC-USD", "changes": [["sell", "101.00", "2.5"]]}
RENEWALS = 6  # connections of two lines: each was renewed twice for its silence


@pytest.mark.parametrize("moved", [False, True])
def test_a_quiet_book_is_no_loss_and_one_that_moved_meanwhile_is(tmp_path, moved):
    """A book without ids: whether anything was missed while it was silent, the next connection's snapshot shows."""
    connections = []
    stirred = asyncio.Event()

    def stamp():
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".500000Z"

    async def socket(ws):
        connections.append(ws)
        size = f"{len(connections)}" if moved else "1.5"

        async def answer():
            async for message in ws:
                if json.loads(message.data).get("type") == "subscribe":
                    await ws.send_json({"type": "subscriptions", "channels": []})
                    book = {"bids": [["100.00", size]], "asks": [["101.00", "2.5"]]}
                    await ws.send_json({"type": "snapshot", "product_id": "BTC-USD", **book})

        async def beat():
            while True:
                await ws.send_json({"type": "heartbeat", "product_id": "BTC-USD", "sequence": 1, "time": stamp()})
                await asyncio.sleep(0.2)

        async def stir():
            await stirred.wait()
            await ws.send_json({**CHANGE, "time": stamp()})

        speaking = [asyncio.ensure_future(beat()), asyncio.ensure_future(stir())]
        try:
            await answer()
        finally:
            for task in speaking:
                task.cancel()

    def rest(request):
        if request.path == "/time":
            return {"iso": stamp(), "epoch": time.time()}
        return {"id": "BTC-USD", "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"}

    settings = "[feed]\nfresh_min_s = 1.0\nfresh_times = 1.0\noverlap_s = 1.0\nbackoff_s = [0.05, 0.2]\n"
    with Scripted(socket, rest) as server:
        with Processes(tmp_path, "coinbase", server, [("BTC-USD", -8, -8)], settings) as mesh:
            mesh.until(lambda: len(connections) >= RENEWALS, "renewals")

            def resyncs():
                records = [record for e in mesh.events(Kind.gap) for record in e.records]
                return [record for record in records if record["reason"] == Reason.resync]

            if moved:
                mesh.until(resyncs, "a gap")
            server._loop.call_soon_threadsafe(stirred.set)
            mesh.until(lambda: [e for e in mesh.events(Kind.depth) if e.venue_ns and not e.flags], "a change after the silence")
            missing = mesh.command("coverage", "--missing", "--kind", "depth")
        assert bool(resyncs()) == moved and missing.returncode == moved, missing.stdout


def test_a_busy_venue_is_not_one_that_does_not_know_an_instrument(tmp_path):
    """OKX says 50011, too many requests, inside an answer 200."""
    asked = []

    async def socket(ws):
        async for message in ws:
            words = message.data
            await ws.send_str("pong" if words == "ping" else json.dumps({"event": "subscribe", "arg": {}}))

    def rest(request):
        if request.path.endswith("/time"):
            return {"code": "0", "data": [{"ts": str(time.time_ns() // 10**6)}]}
        asked.append(request.path)
        if len(asked) <= 4:
            return {"code": "50011", "msg": "Too Many Requests", "data": []}
        one = {"instId": "BTC-USDT", "instType": "SPOT", "tickSz": "0.1", "lotSz": "0.00000001", "minSz": "0.00001"}
        return {"code": "0", "data": [{**one, "state": "live"}]}

    with Scripted(socket, rest) as server:
        settings = "[feed]\nbackoff_s = [0.05, 0.2]\nstanding_s = [0.2, 1.0]\n"
        with Processes(tmp_path, "okx", server, [("BTC-USDT", -1, -8)], settings) as mesh:
            mesh.until(lambda: len(mesh.events(Kind.instrument)) >= 2, "each line has the definition")
        assert len(asked) >= 6
        assert not [e.map() for e in mesh.events(Kind.alert) if "instrument" in e.map()["what"]]
