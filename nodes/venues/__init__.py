"""Venue adapters, one module each, without I/O. How to add one: docs/new-venue.md."""

import importlib
from types import ModuleType

MODULES = {
    "binance": "binance",
    "binance_usdm": "binance_usdm",
    "coinbase": "coinbase",
    "kraken": "kraken",
    "kraken_v1": "kraken_v1",
    "okx": "okx",
}


def module(venue: str) -> ModuleType:
    """The adapter of a venue. Raises KeyError with the venues there are."""
    if venue not in MODULES:
        raise KeyError(f"no adapter for venue {venue!r}; there are {', '.join(sorted(MODULES))} (docs/new-venue.md)")
    return importlib.import_module(f"tickmesh.nodes.venues.{MODULES[venue]}")
