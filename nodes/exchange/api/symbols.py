"""Which symbols a request is about: `symbol`, `symbols`, or all, and of them those with a status. Pure."""

import msgspec

from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.protocol import Params, VenueError

STATUSES = ("TRADING", "HALT", "BREAK")


def chosen(venue: Venue, params: Params) -> tuple[list[VenueMarket], bool]:
    """The markets that a request is about, and whether the answer is one object."""
    one = "symbol" in params
    if one and "symbols" in params:
        raise VenueError(-1128, "Combination of optional parameters invalid.")
    found = [venue.market(params).spec.symbol] if one else names(venue, params)
    return [venue.markets[name] for name in with_status(venue, params, found)], one


def names(venue: Venue, params: Params) -> list[str]:
    """The symbols of a request's `symbols`; all without it. VenueError for an unknown symbol, or one that is named twice."""
    if "symbols" not in params:
        return list(venue.markets)
    found = listed(params, "symbols")
    if not all(name in venue.markets for name in found):
        raise VenueError(-1121, "Invalid symbol.")
    if len(set(found)) < len(found):
        raise VenueError(-1151, "Symbol is present multiple times in the list.")
    return found


def listed(params: Params, name: str) -> list[str]:
    """A parameter that is one word, or a JSON list of words. VenueError −1100 for anything else."""
    given = params.values[name]
    if isinstance(given, str) and given.startswith("["):
        try:
            given = msgspec.json.decode(given)
        except msgspec.DecodeError:
            given = None
    words = given if isinstance(given, list) else [given]
    if not words or not all(isinstance(word, str) for word in words):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is a JSON list of words.")
    return [str(word) for word in words]


def with_status(venue: Venue, params: Params, found: list[str]) -> list[str]:
    """Leaves out symbols without the request's `symbolStatus`. VenueError −1220 when the only one that is asked for has not."""
    if "symbolStatus" not in params:
        return found
    status = params.choice("symbolStatus", STATUSES, -1122, "Invalid symbolStatus.")
    fitting = [name for name in found if ("BREAK" if name in venue.desk.halted else "TRADING") == status]
    if "symbol" in params and not fitting:
        raise VenueError(-1220, "The symbol's status does not match the requested symbolStatus.")
    return fitting
