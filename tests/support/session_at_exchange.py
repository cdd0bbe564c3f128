"""A session, with a sequencer and a writer of intents, at the local exchange, which commits faults on command."""

import asyncio
import contextlib
import shutil

import aiohttp

from tests.support.exchange_clients import Rest, served
from tests.support.faults_scene import rows
from tests.support.session_scene import Mesh, known_at
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind, Status
from tickmesh.nodes.sequencer import node as sequencer

QUIET = "[exchange]\ntrades_per_s = 20\nquotes_per_s = 20\nlines = 0\n"
QUICK = {
    "request_timeout_s": 1.0,
    "reconcile_s": 0.3,
    "recv_window_ms": 1000,
    "absence_margin_s": 1.0,
    "backoff_s": (0.01, 0.05),
}
PATIENCE_S = 40.0
# Ticks: far below the market, and within its price filter (USD-M's is narrow)
BID, BID_USDM = 50_000 * 10**8, 58_000 * 10**8
LOTS = 1_000_000  # 0.01 BTC


class AtExchange(Mesh):
    """`rest`: asks the exchange as another client of the account. Orders rest at `rests_ticks` unless told otherwise."""

    def __init__(self, config, rest, ws, account="binance"):
        super().__init__(config, rest)
        self.account, self.subject = account, f"{account}.BTCUSDT"
        self.rests_ticks = BID if account == "binance" else BID_USDM
        self.rest, self.ws = rest, ws
        self.numbers = iter(range(10**6))

    def order(self, cid="", **more):
        """Publishes an intent of an order; gives its client id."""
        cid = cid or f"order-{next(self.numbers)}"
        self.publish_intent(cid, **{"lots": LOTS, "price_ticks": self.rests_ticks, "ttl_s": 2.0, **more})
        return cid

    async def works(self):
        """Waits until the session sends orders."""
        await until(lambda: self.ctx is not None and self.ctx.counters.get("reconciles", 0) > 0, PATIENCE_S)

    async def insist(self, for_s, pause_s=0.1, **more):
        """Publishes an order every `pause_s` seconds for so long, as a strategy does; gives their client ids."""
        made, end = [], asyncio.get_running_loop().time() + for_s
        while asyncio.get_running_loop().time() < end:
            made.append(self.order(**more))
            await asyncio.sleep(pause_s)
        return made

    def asked(self, pattern):
        """How many requests whose operation has this in it were met by a fault."""
        return sum(pattern in row[6] for row in rows(self.config.root, "request"))

    async def recovers(self, what):
        """Publishes orders, two a second, until an alert says that this trouble is over."""
        for _ in range(int(2 * PATIENCE_S)):
            if self.alerts(what)[-1][0] == "info":
                return
            self.order()
            await asyncio.sleep(0.5)
        raise AssertionError(f"{what} is not over")

    def last_states(self):
        """The last state of each order, by client id."""
        updates = (event.records[-1] for event in LogReader(self.config.log_dir).events() if event.kind == Kind.update)
        return {row["client_order_id"].decode(): Status(int(row["status"])).name for row in updates}


def at_exchange(tmp_path, play, started=True, account="binance", **settings):
    """Plays `play(mesh, rest)` beside a running exchange, sequencer and the session of this venue's account."""
    (tmp_path / "mesh.toml").write_text(known_at(account) + QUIET)
    venues = settings.pop("venues", None)  # of the addresses of REST and websocket: what [venues] is for the session
    changed = {"session": {**QUICK, **settings}, "checkpoint_s": 0.1}
    config = load(tmp_path, changed)

    async def go():
        async with served(config) as (rest, ws, _), aiohttp.ClientSession() as client:
            log = sequencer.SequencerContext(config, "sequencer")
            sequencing = asyncio.create_task(sequencer.run(log))
            await asyncio.sleep(0.05)
            theirs = config if venues is None else load(tmp_path, {**changed, "venues": venues(rest, ws)})
            mesh = AtExchange(theirs, Rest(rest, client), ws, account)
            if started:
                mesh.start()
                await mesh.works()
            try:
                await play(mesh, mesh.rest)
            finally:
                if mesh.task is not None:
                    mesh.ctx.stop.set()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(asyncio.gather(mesh.task, return_exceptions=True), 10)
                    await mesh.ctx.close()
                await mesh.executor.close()
                log.stop.set()
                await asyncio.wait_for(sequencing, 5)
                await log.close()
                shutil.rmtree(config.outbox_dir, ignore_errors=True)
            if mesh.task is not None and not mesh.task.cancelled() and mesh.task.exception():
                raise mesh.task.exception()

    asyncio.run(go())
