"""What the local venue knows of its instruments: assets, steps, and where a synthetic market starts."""

from typing import NamedTuple

from nodes.simulation.protocol import UNIT, VenueError, mantissa

QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD", "EUR", "BTC", "ETH", "BNB")
# symbol: tick, lot, price a synthetic market starts at
KNOWN = {
    "BTCUSDT": ("0.01", "0.00001", "60000"),
    "ETHUSDT": ("0.01", "0.0001", "2500"),
    "BNBUSDT": ("0.01", "0.001", "550"),
    "SOLUSDT": ("0.01", "0.001", "150"),
    "XRPUSDT": ("0.0001", "0.1", "0.6"),
    "NEXOUSDT": ("0.001", "0.01", "1.2"),
}
UNKNOWN = ("0.01", "0.001", "100")
ORDERS_MAX = 200  # open orders per symbol and account, as the venue's MAX_NUM_ORDERS


class Spec(NamedTuple):
    """All numbers are mantissas at 10^−8."""

    symbol: str
    base: str
    quote: str
    tick: int
    lot: int
    start: int
    quantity_max: int = 9000 * UNIT
    price_max: int = 1_000_000 * UNIT
    notional_min: int = 5 * UNIT


def spec(symbol: str) -> Spec:
    quote = next((q for q in QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
    base = symbol[: len(symbol) - len(quote)] or symbol
    tick, lot, start = KNOWN.get(symbol, UNKNOWN)
    # a step of a whole lot at one tick of a cheap instrument must still be worth something: cheap ones trade in millions
    most = 9000 * UNIT if mantissa(start) >= 100 * UNIT else 9_000_000 * UNIT
    return Spec(symbol, base, quote, mantissa(tick), mantissa(lot), mantissa(start), quantity_max=most)


def step(mantissas: list[int], otherwise: int) -> int:
    """The largest power of ten that divides all of them: the step that recorded prices or quantities show."""
    power = 1
    values = [m for m in mantissas if m]
    if not values:
        return otherwise
    while power < 10**18 and all(m % (power * 10) == 0 for m in values):
        power *= 10
    return power


def check_filters(spec: Spec, order_type: str, price: int, quantity: int, last_price: int) -> None:
    """venues.md §3.6. `last_price` 0 = nothing traded yet: the percent filter is off."""
    if order_type != "MARKET":
        if not spec.tick <= price <= spec.price_max or price % spec.tick:
            raise VenueError(-1013, "Filter failure: PRICE_FILTER")
        if last_price and not last_price // 5 <= price <= last_price * 5:
            raise VenueError(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
    if not spec.lot <= quantity <= spec.quantity_max or quantity % spec.lot:
        raise VenueError(-1013, "Filter failure: LOT_SIZE")
    worth = (price if order_type != "MARKET" else last_price) * quantity // UNIT
    if worth < spec.notional_min and (order_type != "MARKET" or last_price):
        raise VenueError(-1013, "Filter failure: NOTIONAL")
