"""What a backtest assumes of the venue and of the way to it."""

from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.settings import ExchangeSettings
from tickmesh.nodes.exchange.market.fees import SCHEDULES, Fees
from tickmesh.nodes.exchange.market.latency import ConstantLatency, LatencyModel, read_latencies
from tickmesh.storage.query.times import ReadError

QUEUES = ("risk_averse", "probability_power", "probability_log")
THROUGH = ("shown", "whole")
RECORDED = "recorded"


class VenueTerms(NamedTuple):
    """Assumptions, each of which changes the fills.

    queue    how an order's place in its level is guessed (nodes/exchange/market/queue.py)
    through  what an order gets that the other side reaches, or beyond which something trades: what was shown or traded there,
             or all of it ("whole")
    impact   what our orders took of a level is gone until the level's quantity changes
    quotes   an order's place in the best level follows the quotes too, not the books' changes alone (docs/compare.md)
    fees     parts per million of what a fill is worth
    latency  how long orders take to the venue, and its answers back
    """

    queue: str = "risk_averse"
    through: str = "shown"
    impact: bool = True
    fees: Fees = SCHEDULES["spot"]
    latency: LatencyModel = ConstantLatency(0.0, 0.0)
    quotes: bool = False

    def checked(self) -> "VenueTerms":
        """Gives itself. Raises ReadError for a word that there is not, and for an impossible fee."""
        for name, seen, allowed in (("queue", self.queue, QUEUES), ("through", self.through, THROUGH)):
            if seen not in allowed:
                raise ReadError(f"{name} = {seen!r} is unknown; there are {', '.join(allowed)}")
        for rate in self.fees:
            if not -1_000_000 < rate < 1_000_000:
                raise ReadError(f"a fee of {rate} parts per million is impossible; allowed is less than the whole, 1000000")
        return self


def fees_of(text: str, exchange: ExchangeSettings) -> Fees:
    """Reads fees: a schedule's name, `maker,taker` in basis points, or "" for those of [exchange]. Raises ReadError."""
    if not text:
        return SCHEDULES[exchange.fees] if exchange.fees else Fees(exchange.maker_fee_ppm, exchange.taker_fee_ppm)
    if text in SCHEDULES:
        return SCHEDULES[text]
    numbers = _numbers(text)
    if len(numbers) != 2:
        known = ", ".join(SCHEDULES)
        raise ReadError(f"fees {text!r} are none; allowed: {known}, or maker and taker in basis points like 2,5")
    return Fees(round(numbers[0] * 100), round(numbers[1] * 100))


def latency_of(text: str, exchange: ExchangeSettings, seed: int) -> LatencyModel:
    """Reads a latency: ms one way, `entry,response` in ms, a file of measured ones, or "" for that of [exchange].

    Raises ReadError for what is none of these. `seed`: for drawing from measured ones.
    """
    if not text and not exchange.latencies:
        return ConstantLatency(exchange.entry_ms, exchange.response_ms)
    numbers = _numbers(text)
    if len(numbers) in (1, 2) and min(numbers) >= 0:
        return ConstantLatency(numbers[0], numbers[-1])
    path = Path(text or exchange.latencies)
    try:
        return read_latencies(path.read_text(), seed)
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(
            f"latency {text!r} is none: allowed are ms like 5, entry and response like 5,3, {RECORDED}, or a file of measured "
            f"ones ({path}: {getattr(error, 'strerror', None) or error})"
        ) from None
    except ValueError as error:
        raise ReadError(f"{path}: {error}") from None


def _numbers(text: str) -> list[float]:
    """The numbers of a text with commas; none where something else is in it."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        return []
