"""Who trades a synthetic instrument: presets, and what mesh.toml sets instead."""

from collections.abc import Mapping
from typing import NamedTuple

from tickmesh.bus.settings import PopulationSettings
from tickmesh.nodes.exchange.market.instruments import SPOT, InstrumentSpec


class MarketShape(NamedTuple):
    """The parameters of one market. Rates per second; sizes in quote units; moves of the fair price in ppm."""

    trades_per_s: float
    quotes_per_s: float
    spread_ppm: float  # how far apart the makers want their best quotes to be; never less than a tick
    depth: float  # median value of a maker's order at the touch
    volatility: float  # standard deviation of the fair price over a second
    taker: float  # median value of a taker
    off_book: float = 0.0  # share of takers after which the venue closes a position off the book
    follows: str = ""
    correlation: float = 0.0


# A pair that trades all the time with a spread of a tick or two, and one where seconds pass between trades.
PRESETS = {
    "liquid": MarketShape(trades_per_s=20.0, quotes_per_s=60.0, spread_ppm=0.2, depth=4000.0, volatility=18.0, taker=150.0),
    "quiet": MarketShape(trades_per_s=0.5, quotes_per_s=4.0, spread_ppm=600.0, depth=800.0, volatility=25.0, taker=60.0),
}


def population_of(populations: Mapping[str, PopulationSettings], spec: InstrumentSpec) -> PopulationSettings:
    """The settings of an instrument's traders: those of its `venue.symbol`, else those of its symbol at any venue."""
    named = populations.get(f"{spec.venue}.{spec.symbol}")
    return named or populations.get(spec.symbol) or PopulationSettings()


def shape(population: PopulationSettings, trades_per_s: float, quotes_per_s: float, venue: str = SPOT) -> MarketShape:
    """A preset with what the settings give otherwise; rates are those of a liquid market unless the settings have their own."""
    preset = PRESETS[population.preset]
    if population.preset == "liquid":
        preset = preset._replace(trades_per_s=trades_per_s, quotes_per_s=quotes_per_s)
    given = {
        name: getattr(population, name)
        for name in ("trades_per_s", "quotes_per_s", "spread_ppm", "depth", "volatility")
        if getattr(population, name)
    }
    given["off_book"] = 0.0 if venue == SPOT else population.off_book  # nobody's position is closed there
    return preset._replace(**given, follows=population.follows, correlation=population.correlation)


def leaders_first(follows: dict[str, str]) -> list[str]:
    """Markets, each after the one that it follows; a circle is broken where it is met."""
    order: dict[str, None] = {}

    def put(symbol: str, on_the_way: tuple[str, ...]) -> None:
        leader = follows.get(symbol, "")
        if leader in follows and leader not in on_the_way:
            put(leader, (*on_the_way, symbol))
        order[symbol] = None

    for symbol in follows:
        put(symbol, (symbol,))
    return list(order)
