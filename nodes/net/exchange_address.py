"""Where this mesh's local exchange is: the one place that writes and reads run/exchange.json."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.files import process_start
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import NodeFault
from tickmesh.bus.settings import LOCAL_VENUES

FILE = "exchange.json"  # in the run folder
LOOK_S = 0.05  # between two looks for a file that is not there yet


class ForeignExchange(NodeFault):
    """Raised for a file of addresses that another mesh's exchange has written: whoever used it would act on that mesh."""


@dataclass(frozen=True)
class Endpoints:
    """The base addresses of one venue: `rest` before /api/v3/… or /fapi/v1/…, `ws` before /stream, /ws-api/v3 or /public/…"""

    rest: str
    ws: str


class _Addresses(msgspec.Struct):
    rest: str
    ws: str


class _Running(_Addresses):
    pid: int = 0  # of the exchange
    started: str = ""  # when that process began: a later one of the same pid is another
    mesh: str = ""  # the run folder that the file was written into
    venues: dict[str, _Addresses] = {}  # of others than the first of LOCAL_VENUES


def write(config: Config, rest: str, ws: str, bases: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes this mesh's run/exchange.json: this process is its exchange, at these addresses. Readable by its owner only.

    `bases`: what comes behind the addresses of a venue, by venue; the first of LOCAL_VENUES has nothing there.
    """
    venues = {venue: _Addresses(f"{rest}{base}", f"{ws}{base}") for venue, base in bases.items() if base}
    mine = _Running(rest, ws, os.getpid(), process_start(os.getpid()), _identity(config), venues)
    where = config.run_dir / FILE
    where.parent.mkdir(parents=True, exist_ok=True)
    fresh = where.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(mine))
    fresh.replace(where)


def read(config: Config, venue: str = LOCAL_VENUES[0]) -> Endpoints | None:
    """A venue's addresses at this mesh's local exchange; None while there are none: it has not begun, or has died.

    It may come back elsewhere: ask again before every connection. Raises ForeignExchange where the file is another mesh's.
    """
    running = _running(config)
    if running is None or process_start(running.pid) != running.started:
        return None
    found: _Addresses | None = running if venue == LOCAL_VENUES[0] else running.venues.get(venue)
    return None if found is None else Endpoints(found.rest.rstrip("/"), found.ws.rstrip("/"))


def exchange_pid(config: Config) -> int:
    """The process of this mesh's local exchange, as it wrote it; 0: nothing is written. Raises ForeignExchange as `read`."""
    running = _running(config)
    return running.pid if running else 0


def port_before(config: Config) -> int:
    """The port of this mesh's last exchange, so that the next one is found where it was; 0: there was none."""
    try:
        running = _running(config)
    except ForeignExchange:
        return 0
    port = running.rest.rpartition(":")[2] if running else ""
    return int(port) if port.isdigit() and int(port) < 65536 else 0


def _running(config: Config) -> _Running | None:
    where = config.run_dir / FILE
    try:
        running = msgspec.json.decode(where.read_bytes(), type=_Running)
    except (OSError, msgspec.DecodeError):
        return None
    if running.mesh != _identity(config):
        whose = f"belongs to the mesh of {running.mesh}" if running.mesh else "does not say which mesh it belongs to"
        raise ForeignExchange(
            f"{where} {whose}, this one is {_identity(config)}: nothing is asked or ordered there. "
            "A copied or restored folder has such a file; this mesh's own exchange writes its own file when it begins (mesh up)"
        )
    return running


def _identity(config: Config) -> str:
    return str(config.run_dir.resolve())


async def wait(config: Config, venue: str = LOCAL_VENUES[0], name: str = "") -> Endpoints:
    """A venue's addresses at the local exchange, as `read` gives them; waits until there are some.

    Of another mesh's file the process `name` tells the operator, and waits for this mesh's own; without a name that is raised.
    """
    logged = False
    while True:
        try:
            if (found := read(config, venue)) is not None:
                return found
        except ForeignExchange as error:
            if not name:
                raise
            if not logged:
                log_line(name, "error", f"waits for this mesh's exchange: {error}")
            logged = True
        await asyncio.sleep(LOOK_S)
