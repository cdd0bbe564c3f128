"""The venues that there are: the adapter of each, by the name that it has in mesh.toml. A new venue is named here."""

from collections.abc import Mapping

from tickmesh.nodes.venues import (
    binance,
    binance_orders,
    binance_questions,
    binance_usdm,
    coinbase,
    kraken,
    kraken_v1,
    okx,
    usdm_orders,
    usdm_questions,
)
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.order_venue import AccountQuestions, OrderDialect, OrderVenue

# Each on a line of its own: so mypy names the member that a module lacks or has of another type.
_BINANCE: Adapter = binance
_BINANCE_USDM: Adapter = binance_usdm
_COINBASE: Adapter = coinbase
_KRAKEN: Adapter = kraken
_KRAKEN_V1: Adapter = kraken_v1
_OKX: Adapter = okx

ADAPTERS: Mapping[str, Adapter] = {
    adapter.VENUE: adapter for adapter in (_BINANCE, _BINANCE_USDM, _COINBASE, _KRAKEN, _KRAKEN_V1, _OKX)
}


def adapter_of(venue: str) -> Adapter:
    """The adapter of the venue of this name. Raises KeyError with the venues there are."""
    if venue not in ADAPTERS:
        raise KeyError(f"no adapter for venue {venue!r}; there are {', '.join(sorted(ADAPTERS))} (docs/new-venue.md)")
    return ADAPTERS[venue]


_BINANCE_ORDERS: OrderVenue = binance_orders
_BINANCE_QUESTIONS: AccountQuestions = binance_questions
_USDM_ORDERS: OrderVenue = usdm_orders
_USDM_QUESTIONS: AccountQuestions = usdm_questions

DIALECTS: Mapping[str, OrderDialect] = {
    dialect.venue: dialect
    for dialect in (
        OrderDialect(binance.VENUE, _BINANCE_ORDERS, _BINANCE_QUESTIONS),
        OrderDialect(binance_usdm.VENUE, _USDM_ORDERS, _USDM_QUESTIONS),
    )
}


def dialect_of(venue: str) -> OrderDialect:
    """The order side of the venue of this name. Raises KeyError with the venues that have one."""
    if venue not in DIALECTS:
        raise KeyError(f"no orders can be sent to venue {venue!r}; they can to {', '.join(sorted(DIALECTS))}")
    return DIALECTS[venue]
