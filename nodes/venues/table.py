"""The venues that there are: the adapter of each, by the name that it has in mesh.toml. A new venue is a line here."""

from collections.abc import Mapping

from tickmesh.nodes.venues import binance, binance_usdm, coinbase, kraken, kraken_v1, okx
from tickmesh.nodes.venues.adapter import Adapter

ADAPTERS: Mapping[str, Adapter] = {
    "binance": binance,
    "binance_usdm": binance_usdm,
    "coinbase": coinbase,
    "kraken": kraken,
    "kraken_v1": kraken_v1,
    "okx": okx,
}


def adapter_of(venue: str) -> Adapter:
    """The adapter of the venue of this name. Raises KeyError with the venues there are."""
    if venue not in ADAPTERS:
        raise KeyError(f"no adapter for venue {venue!r}; there are {', '.join(sorted(ADAPTERS))} (docs/new-venue.md)")
    return ADAPTERS[venue]
