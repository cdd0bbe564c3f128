"""Where a venue's servers are, and which of them a line uses now."""

import contextlib
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.settings import LOCAL_VENUES
from tickmesh.bus.settings import VenueSettings as Addresses
from tickmesh.nodes.net.exchange_address import ForeignExchange, read, wait
from tickmesh.nodes.net.waits import Wait, Waits
from tickmesh.nodes.venues.adapter import Adapter


def ca_of(config: Config, venue: str) -> Path | None:
    """The file of certificates to trust at a venue beside the system's (`[venues.<name>] ca`); None where there is none."""
    named = config.venues.get(venue, Addresses()).ca
    return config.root / named if named else None


class VenueAddresses:
    """The addresses of a venue, in turn: line n begins with the n-th, and goes to the next after each failure.

    From `[venues.<name>]` of mesh.toml, else the local exchange's in mode sim (LOCAL_VENUES), else the adapter's. REST
    and websocket hop on their own: either may fail alone. `name`: the process, for its operator, as `wait` has it.
    `orders`: those of the order side, `ws_api` and `rest_api`; without them the local exchange's.
    """

    def __init__(self, config: Config, adapter: Adapter, line: int, name: str = "", orders: bool = False):
        self._config = config
        self._name = name
        named = config.venues.get(adapter.VENUE, Addresses())
        self._local = config.mode == "sim" and adapter.VENUE in LOCAL_VENUES
        self._venue = adapter.VENUE
        if orders:
            self._ws, self._rest = named.ws_api, named.rest_api
        else:
            self._ws = named.ws or (() if self._local else tuple(adapter.WS))
            self._rest = named.rest or (() if self._local else tuple(adapter.REST))
        self.ca = ca_of(config, adapter.VENUE)
        self.waits = Waits(config, venue=adapter.VENUE)  # which of them are to be left alone
        self._ws_at = self._rest_at = line - 1
        self.hops = 0

    async def ws(self, local_addr: str = "") -> str:
        """The base address for the next connection from `local_addr`. Waits for the local exchange to state it.

        One that asks to be left alone is left out, as long as another one does not.
        """
        for _ in self._ws:
            if not self.waits.left_s(self._ws[self._ws_at % len(self._ws)], local_addr):
                break
            self.hop_ws()
        if self._ws:
            return self._ws[self._ws_at % len(self._ws)].rstrip("/")
        return (await wait(self._config, self._venue, self._name)).ws

    def ws_wait(self, local_addr: str = "") -> Wait | None:
        """The first wish to end of those that keep this process from every websocket address; None where one may be tried."""
        urls = self._ws
        if not urls:
            with contextlib.suppress(ForeignExchange):
                local = read(self._config, self._venue)
                urls = (local.ws,) if local is not None else ()
        wishes = [self.waits.current(url.rstrip("/"), local_addr) for url in urls]
        found = [wish for wish in wishes if wish is not None]
        return min(found, key=lambda wish: wish.left_s) if found and len(found) == len(wishes) else None

    async def rest(self) -> str:
        """The base address for the next request. Waits for the local exchange to state it."""
        if self._rest:
            return self._rest[self._rest_at % len(self._rest)].rstrip("/")
        return (await wait(self._config, self._venue, self._name)).rest

    def hop_ws(self) -> None:
        """Goes on to the next websocket address, if there is another: the connection failed or broke."""
        self._ws_at += 1
        self.hops += len(self._ws) > 1

    def hop_rest(self) -> None:
        """Goes on to the next REST address, if there is another: the request failed."""
        self._rest_at += 1
        self.hops += len(self._rest) > 1
