"""What a backtest assumes of the venue and of the way to it."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.settings import ExchangeLimits, ExchangeSettings
from tickmesh.nodes.exchange.market.fees import PPM, SCHEDULES, Fees
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM, spec, starting_amounts
from tickmesh.nodes.exchange.market.latency import ConstantLatency, LatencyModel, read_latencies
from tickmesh.nodes.exchange.orders.margin import LEVERAGE_DEFAULT, LEVERAGE_MAX
from tickmesh.nodes.exchange.protocol import mantissa
from tickmesh.storage.query.times import ReadError

QUEUES = ("risk_averse", "probability_power", "probability_log")
THROUGH = ("shown", "whole")
RECORDED = "recorded"
UNCHECKED = "unchecked"
UNIT_EXPONENT = -8  # of amounts of an asset

Amounts = Mapping[str, Mapping[str, int]]  # by venue, then asset: mantissas at 10^UNIT_EXPONENT


class VenueTerms(NamedTuple):
    """Assumptions, each of which changes the fills.

    queue    how an order's place in its level is guessed (nodes/exchange/market/queue.py)
    through  what an order gets that the other side reaches, or beyond which something trades: what was shown or traded there,
             or all of it ("whole")
    impact   what our orders took of a level is gone until the level's quantity changes
    quotes   an order's place in the best level follows the quotes too, not the books' changes alone (docs/compare.md)
    fees     parts per million of what a fill is worth; `usdm_fees`: of USD-M contracts
    latency  how long orders take to the venue, and its answers back
    balances what the account at each venue begins with; None: no order is refused for want of it
    leverage of USD-M contracts
    order_limits  by venue: how many orders it takes; none for a venue that is not named
    """

    queue: str = "risk_averse"
    through: str = "shown"
    impact: bool = True
    fees: Fees = SCHEDULES["spot"]
    latency: LatencyModel = ConstantLatency(0.0, 0.0)
    usdm_fees: Fees = Fees(200, 500)
    balances: Amounts | None = None
    leverage: int = LEVERAGE_DEFAULT
    order_limits: Mapping[str, ExchangeLimits] = {}
    quotes: bool = False

    def checked(self) -> "VenueTerms":
        """Gives itself. Raises ReadError for a word that there is not, and for an impossible fee."""
        for name, seen, allowed in (("queue", self.queue, QUEUES), ("through", self.through, THROUGH)):
            if seen not in allowed:
                raise ReadError(f"{name} = {seen!r} is unknown; there are {', '.join(allowed)}")
        for rate in (*self.fees, *self.usdm_fees):
            if not -PPM < rate < PPM:
                raise ReadError(f"a fee of {rate} parts per million is impossible; allowed is less than the whole, {PPM}")
        if not 1 <= self.leverage <= LEVERAGE_MAX:
            raise ReadError(f"leverage {self.leverage} is none; allowed are 1 to {LEVERAGE_MAX}")
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


def usdm_fees_of(text: str, exchange: ExchangeSettings) -> Fees:
    """`fees_of` for USD-M contracts, which have fees of their own in [exchange]. Raises ReadError."""
    return fees_of(text, exchange) if text else Fees(exchange.usdm_maker_fee_ppm, exchange.usdm_taker_fee_ppm)


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


def balances_of(text: str, exchange: ExchangeSettings, subjects: Iterable[str]) -> Amounts | None:
    """Reads what the accounts begin with: "" as the local exchange's ([exchange]), "unchecked" for None, or amounts.

    Amounts are like `USDT=1000,BTC=0.5`, of every venue, or `binance.USDT=1000` of one; what is not named is not there.
    Raises ReadError for what is none of these.
    """
    if text == UNCHECKED:
        return None
    out: dict[str, dict[str, int]] = {}
    for subject in subjects:
        venue, _, symbol = subject.partition(".")
        base, quote = assets_of(subject)
        own = out.setdefault(venue, {})
        if text:
            continue
        if venue == USDM:
            own[quote] = mantissa(exchange.usdm_wallet)
        else:
            own |= starting_amounts(spec(symbol, SPOT)._replace(base=base, quote=quote), exchange.balances)
    for part in text.split(",") if text else ():
        name, _, amount = part.strip().partition("=")
        venue, dot, asset = name.rpartition(".")
        try:
            value = mantissa(amount)
        except ValueError:
            value = -1
        if value < 0 or not asset or (dot and venue not in out):
            raise ReadError(
                f"balance {part.strip()!r} is none; allowed are amounts of at most 8 decimals like USDT=1000,BTC=0.5, those of "
                f"one venue like {next(iter(out), SPOT)}.USDT=1000, or {UNCHECKED}"
            )
        for own in (out[venue],) if dot else out.values():
            own[asset] = value
    return out


def order_limits_of(text: str, exchange: ExchangeSettings) -> Mapping[str, ExchangeLimits]:
    """Reads how many orders the venues take: "" as the local exchange does ([exchange]), "unchecked": any. Raises ReadError."""
    if text not in ("", UNCHECKED):
        raise ReadError(
            f"order limits {text!r} are none; allowed are {UNCHECKED}, or nothing: those of [exchange] in mesh.toml"
        )
    return {} if text else {SPOT: exchange.limits, USDM: exchange.usdm_limits}


def assets_of(subject: str) -> tuple[str, str]:
    """The base and the quote asset of an instrument, by its symbol: `binance.BTCUSDT`, `kraken.BTC/USD`, `okx.BTC-USDT`."""
    symbol = subject.partition(".")[2].partition("_")[0]  # of a dated future, whose delivery date follows
    for mark in ("/", "-"):
        if mark in symbol:
            base, quote = symbol.split(mark)[:2]
            return base, quote
    known = spec(symbol)
    return known.base, known.quote


def _numbers(text: str) -> list[float]:
    """The numbers of a text with commas; none where something else is in it, or no end."""
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        return []
    return found if all(math.isfinite(one) for one in found) else []
