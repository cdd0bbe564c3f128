"""Which venue of the local exchange a path is of, and which of its streams a connection there gets. Pure.

Spot's paths are the venue's own. Those of USD-M, which has hosts of its own in the world, follow `/binance_usdm`: under it
`/public/…` brings trades, best prices and depth, `/market/…` the rest, `/private/…` the account's events by its listenKey,
and an unrouted path what `/public` brings; a stream under the wrong path is acknowledged, and silent (USD-M futures,
"Important WebSocket Change Notice", 2026-04-23).
"""

from typing import NamedTuple

from tickmesh.nodes.exchange.market.instruments import SPOT, USDM

BASES = {SPOT: "", USDM: f"/{USDM}"}  # before a venue's paths, in REST too
PUBLIC, MARKET, PRIVATE = "public", "market", "private"
# The beginnings of what follows `symbol@` in the names of USD-M streams that are public
PUBLIC_STREAMS = ("trade", "bookTicker", "depth", "rpiDepth")


class Route(NamedTuple):
    """A venue and, of USD-M, the part of its streams that a connection gets."""

    venue: str = SPOT
    part: str = ""

    def name_of(self, stream: str) -> str:
        """The name of a stream in the whole exchange: `venue.` stands before it, but for spot's."""
        return stream if self.venue == SPOT else f"{self.venue}.{stream}"

    def serves(self, stream: str) -> bool:
        """Whether a stream's frames come over this path."""
        if self.venue == SPOT:
            return True
        if self.part == PRIVATE:
            return False  # its one stream is no market's
        public = stream.partition("@")[2].startswith(PUBLIC_STREAMS)
        return public is (self.part == PUBLIC)


ALL_OF_SPOT = Route()


def venue_of(path: str) -> tuple[str, str]:
    """The venue that a path is of, and the path as that venue knows it."""
    base = BASES[USDM]
    return (USDM, path.removeprefix(base)) if path.startswith(f"{base}/") else (SPOT, path)


def route_of(path: str) -> tuple[Route, str]:
    """The route of a websocket's path, and the path without it (`/stream`, `/ws/…`)."""
    venue, path = venue_of(path)
    if venue == SPOT:
        return ALL_OF_SPOT, path
    for part in (PUBLIC, MARKET, PRIVATE):
        if path.startswith(f"/{part}/"):
            return Route(venue, part), path.removeprefix(f"/{part}")
    return Route(venue, PUBLIC), path


def wire_name(name: str) -> str:
    """The name of a stream as its venue knows it, from its name in the whole exchange."""
    return name.rpartition(".")[2]
