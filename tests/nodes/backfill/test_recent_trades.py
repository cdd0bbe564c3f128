"""A young gap of USD-M is repaired by the newest trades, at a fortieth of what the venue's history costs."""

import asyncio
import json
import time

import numpy as np

from tests.support.exchange_clients import configure, served
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import GAP, GapState, Kind, Reason
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.backfill.node import RECENT_NS, Backfill
from tickmesh.nodes.venues import binance_usdm
from tickmesh.nodes.venues.parsing.dialect import Request

SUBJECT = "binance_usdm.BTCUSDT"
SETTINGS = """
[[instruments]]
symbol = "BTCUSDT"
venue = "binance_usdm"
price_exponent = -8
quantity_exponent = -8
[exchange]
trades_per_s = 200
"""
TRADES, HISTORY = 5, 200  # weights of a page


def gap(first: int, last: int, after_ns: int):
    record = np.zeros(1, GAP)
    record[0] = (first, last, Kind.trade, GapState.open, Reason.skipped, 0, after_ns, after_ns, 0)
    return decode(bytes(encode(Kind.gap, SUBJECT, record, first_id=first, last_id=last)))


def repairing(tmp_path, monkeypatch, scene):
    """Runs a scene with a backfill beside the local exchange: `scene(repair, newest)`."""
    config = configure(tmp_path, SETTINGS)

    async def play():
        async with served(config):
            backfill = Backfill(Context(config, "backfill"))
            source = backfill.source("binance_usdm")
            printed: list[dict] = []
            while len(printed) < 60:
                base = await source.addresses.rest()
                printed = json.loads(await source.rest.get(base, "/fapi/v1/trades", {"symbol": "BTCUSDT", "limit": 60}))
                await asyncio.sleep(0.2)

            async def repair(first, last, after_ns):
                """Repairs a gap; gives the ids that came and the weight that each request cost."""
                backfill.plan.observe(gap(first, last, after_ns))
                weights, before = [], 0
                effort = next(one for (_, low), one in backfill.plan.efforts.items() if low == first)
                known = LogReader(config.outbox("backfill")).last
                while effort.first_missing() is not None and len(weights) < 3:
                    before = source.rest.used_weight
                    await backfill.repair(effort)
                    weights.append(source.rest.used_weight - before)
                events = [e for e in LogReader(config.outbox("backfill")).events(known) if e.kind == Kind.trade]
                return [i for e in events for i in range(e.first_id, e.last_id + 1)], weights

            try:
                await scene(repair, printed[-1]["id"])
            finally:
                await source.rest.close()
                await backfill.ctx.close()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_the_newest_trades_repair_a_young_gap(tmp_path, monkeypatch):
    async def scene(repair, newest):
        ids, weights = await repair(newest - 30, newest - 20, time.time_ns())
        assert ids == list(range(newest - 30, newest - 19)) and weights == [TRADES]
        ids, weights = await repair(newest - 10, newest - 10, time.time_ns() - 2 * RECENT_NS)
        assert ids == [newest - 10] and weights == [HISTORY], "an old gap is not looked for among the newest"

    repairing(tmp_path, monkeypatch, scene)


def test_what_the_newest_trades_do_not_reach_is_asked_of_the_history(tmp_path, monkeypatch):
    few = Request("/fapi/v1/trades", {"symbol": "BTCUSDT", "limit": 3}, TRADES)
    monkeypatch.setattr(binance_usdm, "recent_trades", lambda instrument: few)

    async def scene(repair, newest):
        ids, weights = await repair(newest - 30, newest - 20, time.time_ns())
        assert ids == list(range(newest - 30, newest - 19)) and weights == [TRADES, HISTORY], "and nothing is declared lost"

    repairing(tmp_path, monkeypatch, scene)


def test_newest_trades_that_are_refused_say_nothing_of_the_history(tmp_path, monkeypatch):
    """A proxy may serve one and not the other."""
    monkeypatch.setattr(binance_usdm, "recent_trades", lambda instrument: Request("/fapi/v1/nothing", {}, TRADES))

    async def scene(repair, newest):
        ids, weights = await repair(newest - 30, newest - 20, time.time_ns())
        assert ids == list(range(newest - 30, newest - 19)) and weights[-1] == HISTORY

    repairing(tmp_path, monkeypatch, scene)


def test_every_page_is_read_by_the_same_decoder():
    instrument = Instrument(symbol="BTCUSDT", venue="binance_usdm", price_exponent=-8, quantity_exponent=-8)
    request = binance_usdm.recent_trades(instrument)
    assert (request.path, request.weight, request.query) == ("/fapi/v1/trades", 5, {"symbol": "BTCUSDT", "limit": 1000})
