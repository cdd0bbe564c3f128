"""Faults plugged into a running exchange: the schedule file, the endpoint that adds and ends them, and what they do to the
venue as a whole (cut, shutdown, restart, anew, outage, halt, unknown). The decisions are in nodes/exchange/faults/faults.py."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import msgspec
from aiohttp import web

from tickmesh.bus.addresses import is_loopback
from tickmesh.bus.clock import machine_elapsed_ns
from tickmesh.bus.config import ConfigError
from tickmesh.nodes.exchange.faults.fault_plan import DOWN, KINDS, MOMENTARY, FaultError, read_faults, read_schedule
from tickmesh.nodes.exchange.faults.faults import FaultChange, Faults
from tickmesh.nodes.exchange.market import latency
from tickmesh.nodes.exchange.protocol import JsonObject
from tickmesh.nodes.exchange.server.running import RunningExchange
from tickmesh.nodes.exchange.server.sockets import announce_shutdown, close

PATH = "/tickmesh/v1/faults"
JSON = "application/json"
BUSY_S, IDLE_S = 0.002, 0.02  # between two looks: while a fault lasts, while one is planned


def install_faults(running: RunningExchange) -> None:
    """Gives the exchange its faults, and those of its schedule. ConfigError for a schedule that cannot be read."""
    assert running.ledger is not None
    faults = Faults(time.monotonic, running.ledger.record, running.cut)
    faults.connection_bytes_max = running.settings.client_bytes_max
    faults.market_ms = lambda: running.replay.recv_ns / 1e6 if running.capture else running.now_ms()
    running.faults = faults
    if running.market != "synthetic":
        faults.impossible["anew"] = "a recorded market has ids of its own"
    _latency(running, faults)
    if not running.settings.faults:
        return
    path = running.config.root / running.settings.faults
    try:
        text = path.read_bytes()
        since_s = _since_s(running.config.exchange_dir / "faults.json", text)
        for fault in read_schedule(text, path.name):
            momentary = fault.kind in MOMENTARY or fault.length_s
            if not momentary or fault.start_s + fault.length_s >= since_s:  # else it was over before this process
                faults.add(fault, since_s)
        for change in faults.tick():  # what is due from the start on holds before anybody can ask
            _act(running, faults, change)
    except OSError as error:
        raise ConfigError(f"exchange.faults: {path} cannot be read: {error.strerror}") from None
    except FaultError as error:
        raise ConfigError(f"exchange.faults: {error}") from None


def _latency(running: RunningExchange, faults: Faults) -> None:
    """Sets the time that orders and their answers take in a recorded market, or on paper, as the settings have it."""
    exchange = running.settings
    if running.market == "synthetic" or not (exchange.latencies or exchange.entry_ms or exchange.response_ms):
        return
    model: latency.LatencyModel = latency.ConstantLatency(exchange.entry_ms, exchange.response_ms)
    if exchange.latencies:
        path = running.config.root / exchange.latencies
        try:
            model = latency.read_latencies(path.read_text(), exchange.seed)
        except (OSError, ValueError) as error:
            raise ConfigError(f"exchange.latencies: {path} cannot be read: {error}") from None
    faults.latency = lambda: model.at(running.replay.recv_ns if running.capture else int(running.true_ms() * 1e6))


def _since_s(where: Path, text: bytes) -> float:
    """Seconds since this schedule began: a process that is killed meanwhile does not begin it anew."""
    identity = hashlib.sha256(text).hexdigest()
    try:
        known = json.loads(where.read_text())
        since_s: float = machine_elapsed_ns() / 1e9 - known["began_elapsed_s"]
        if known["schedule"] == identity and since_s >= 0:  # else it is of before a reboot
            return since_s
    except (OSError, ValueError, KeyError, TypeError):
        pass
    where.write_text(json.dumps({"schedule": identity, "began_elapsed_s": machine_elapsed_ns() / 1e9}))
    return 0.0


async def run_faults(running: RunningExchange) -> None:
    """Starts and ends faults when they are due, until the node is stopped."""
    faults = running.faults
    assert isinstance(faults, Faults)
    while not running.ctx.stop.is_set():
        for change in faults.tick():
            _act(running, faults, change)
        running.ctx.counters.update(faults=len(faults.active))
        await asyncio.sleep(BUSY_S if faults.active or faults.busy else IDLE_S)


def _act(running: RunningExchange, faults: Faults, change: FaultChange) -> None:
    fault = change.planned.fault
    if fault.kind in ("cut", *DOWN) and change.began:
        faults.cut_all(change.planned, running.hub.clients)
    if fault.kind == "shutdown":
        _shut_down(running, faults, change)
    if fault.kind in DOWN and change.began:
        running.down = True
    elif fault.kind in DOWN:
        running.begin_anew() if fault.kind == "anew" else running.restart(fault.lose_orders)
        running.down = faults.down()
    if not change.began or fault.kind not in DOWN:
        _stand(running, faults)


def _stand(running: RunningExchange, faults: Faults) -> None:
    """Applies the faults that last and are about the market itself, also to one that has just begun again."""
    core = running.core
    if core.desk.overloaded != faults.outage():
        core.overload(faults.outage())
    core.halt(faults.markets_of("halt", core.markets), faults.markets_of("unknown", core.markets))
    for market in core.markets.values():
        market.tape.forgotten_ms = faults.forgotten_ms


def _shut_down(running: RunningExchange, faults: Faults, change: FaultChange) -> None:
    """Announces to connections that they will end, then ends them; one that opens in between is left alone."""
    planned = change.planned
    if change.began:
        planned.clients = faults.concerned(planned, running.hub.clients)
        for client in planned.clients:
            announce_shutdown(running, client)
    else:
        for client in planned.clients:
            close(client, 1001, "going away")


class FaultsHandler:
    """The endpoint for faults: `GET` lists, `POST` adds (one object or a list), `DELETE ?id=n` ends one, `DELETE` all.

    From this machine only, and what changes something as JSON: no page can send that to another site without asking first."""

    def __init__(self, running: RunningExchange):
        self.running = running

    async def answer(self, request: web.Request) -> web.Response:
        """Answers one request to the endpoint for faults."""
        faults = self.running.faults
        assert isinstance(faults, Faults)
        if not is_loopback(request.remote or ""):
            return _reply(403, {"error": f"{PATH} answers this machine only, not {request.remote}"})
        if (request.method == "POST" or request.can_read_body) and request.content_type != JSON:
            return _reply(415, {"error": f"Content-Type is {request.content_type!r}; {PATH} takes {JSON}"})
        try:
            if request.method == "POST":
                planned = read_faults(await request.read())
                added = [faults.add(fault) for fault in planned]
                return _reply(200, {"added": added, "faults": faults.view()})
            if request.method == "DELETE":
                return self._end(faults, request.query.get("id", ""))
            if request.method == "GET":
                clients = [
                    {"connection": c.number, "streams": list(c.streams.values())[:20], "user": c.has_user_stream}
                    for c in self.running.hub.clients
                ]
                return _reply(200, {"faults": faults.view(), "connections": clients, "kinds": KINDS})
        except FaultError as error:
            return _reply(400, {"error": str(error)})
        return _reply(405, {"error": f"{request.method} is not for {PATH}; there are GET, POST and DELETE"})

    def _end(self, faults: Faults, ident: str) -> web.Response:
        numbers = [int(ident)] if ident.isdigit() else [] if ident else list(faults.planned)
        ended = [number for number in numbers if faults.end(number)]
        if ident and not ended:
            return _reply(404, {"error": f"there is no fault {ident[:20]!r} that is planned or lasts"})
        for change in faults.tick():
            _act(self.running, faults, change)
        return _reply(200, {"ended": ended, "faults": faults.view()})


def _reply(status: int, body: JsonObject) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=JSON)
