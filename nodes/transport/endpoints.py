"""Where a venue's servers are now."""

import asyncio
from dataclasses import dataclass

import msgspec

from bus.config import Config

LOOK_S = 0.05  # between two looks for a file that is not there yet


@dataclass(frozen=True)
class Endpoints:
    """Base addresses: `rest` before /api/v3/…, `ws` before /stream and /ws-api/v3."""

    rest: str
    ws: str


class _Running(msgspec.Struct):
    rest: str
    ws: str


def read(config: Config) -> Endpoints | None:
    """The local exchange's addresses, which it writes when it accepts connections; None while there are none.

    It may have died since and come back elsewhere: ask again before every connection.
    """
    try:
        running = msgspec.json.decode((config.run_dir / "exchange.json").read_bytes(), type=_Running)
    except (OSError, msgspec.DecodeError):
        return None
    return Endpoints(running.rest.rstrip("/"), running.ws.rstrip("/"))


async def wait(config: Config) -> Endpoints:
    """As `read`, for as long as it takes."""
    while (found := read(config)) is None:
        await asyncio.sleep(LOOK_S)
    return found
