"""Where orders go in the modes with real orders, and in mode testnet its market data too, where mesh.toml says nothing else.

Sources, with dates: docs/venues.md, "Where orders go".
"""

import msgspec

from tickmesh.bus.settings import REAL_ORDERS, Mesh, VenueSettings

_LIVE = {
    "binance": VenueSettings(
        ws_api=("wss://ws-api.binance.com:443", "wss://ws-api.binance.com:9443"),
        rest_api=("https://api.binance.com", "https://api1.binance.com", "https://api2.binance.com"),
    ),
    "binance_usdm": VenueSettings(ws_api=("wss://ws-fapi.binance.com",), rest_api=("https://fapi.binance.com",)),
}
# The market of a testnet is its own: orders have to meet the book that is recorded.
_TESTNET = {
    "binance": VenueSettings(
        ws=("wss://stream.testnet.binance.vision",),
        rest=("https://testnet.binance.vision",),
        ws_api=("wss://ws-api.testnet.binance.vision",),
        rest_api=("https://testnet.binance.vision",),
    ),
    "binance_usdm": VenueSettings(
        ws=("wss://demo-fstream.binance.com",),
        rest=("https://demo-fapi.binance.com",),
        ws_api=("wss://testnet.binancefuture.com",),
        rest_api=("https://demo-fapi.binance.com", "https://testnet.binancefuture.com"),
    ),
}


def venues_of(mesh: Mesh) -> dict[str, VenueSettings]:
    """[venues] with the addresses of the mode in place of those that are not stated."""
    if mesh.mode not in REAL_ORDERS:
        return mesh.venues
    out = dict(mesh.venues)
    for venue, usual in (_LIVE if mesh.mode == "live" else _TESTNET).items():
        stated = mesh.venues.get(venue, VenueSettings())
        names = [name for name in ("ws", "rest", "ws_api", "rest_api") if not getattr(stated, name)]
        out[venue] = msgspec.structs.replace(stated, **{name: getattr(usual, name) for name in names})
    return out
