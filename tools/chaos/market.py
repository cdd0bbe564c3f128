"""The instruments of a sweep: how many, at which venue, which of them is halted, and which the venue does not know."""

from collections.abc import Sequence
from typing import NamedTuple

TRADED, HALTED, UNKNOWN = "BTCUSDT", "ETHUSDT", "FOOUSDT"  # of venue binance, in every sweep
VENUES = ("binance", "binance_usdm")
TRADES_PER_S, QUOTES_PER_S = 40.0, 60.0  # of all traded ones together …
LEAST_TRADES_PER_S, LEAST_QUOTES_PER_S = 2.0, 4.0  # … and of each


class SweepInstrument(NamedTuple):
    """An instrument of a sweep. `silent`: halted, or unknown to its venue: nothing is heard of it."""

    venue: str
    symbol: str
    silent: bool = False

    @property
    def subject(self) -> str:
        """The instrument's `venue.symbol`."""
        return f"{self.venue}.{self.symbol}"


def instruments_of(count: int) -> list[SweepInstrument]:
    """The instruments of a sweep of `count`, one of them halted, and one that is unknown; from three on at both venues."""
    out = [
        SweepInstrument(VENUES[0], TRADED),
        SweepInstrument(VENUES[0], HALTED, True),
        SweepInstrument(VENUES[0], UNKNOWN, True),
    ]
    for number in range(count - 2):
        symbol = TRADED if not number else f"C{number // 2:02d}USDT"
        out.append(SweepInstrument(VENUES[(number + 1) % 2], symbol))
    return out


def rates_of(instruments: Sequence[SweepInstrument]) -> tuple[float, float]:
    """(trades, quotes) per second of each instrument: of few as many as of one busy one, of many what a machine can judge."""
    traded = sum(not one.silent for one in instruments)
    return max(TRADES_PER_S / traded, LEAST_TRADES_PER_S), max(QUOTES_PER_S / traded, LEAST_QUOTES_PER_S)


def toml_of(instruments: Sequence[SweepInstrument]) -> str:
    """The instruments as mesh.toml has them."""
    return "\n".join(f'[[instruments]]\nvenue = "{one.venue}"\nsymbol = "{one.symbol}"' for one in instruments)
