"""What the local venue knows of its instruments: assets, steps, and where a synthetic market starts."""

from collections.abc import Mapping
from typing import NamedTuple

from tickmesh.bus.settings import LOCAL_VENUES
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, VenueError, decimal_text, mantissa

SPOT, USDM = LOCAL_VENUES
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
# likewise of USD-M futures, with the decimals in which that venue writes prices and quantities
KNOWN_USDM = {
    "BTCUSDT": ("0.10", "0.001", "60000"),
    "ETHUSDT": ("0.01", "0.001", "2500"),
    "BNBUSDT": ("0.010", "0.01", "550"),
    "SOLUSDT": ("0.0100", "0.01", "150"),
    "XRPUSDT": ("0.0001", "0.1", "0.6"),
}
UNKNOWN = ("0.01", "0.001", "100")
ORDERS_MAX = 200  # open orders per symbol and account, as the venue's MAX_NUM_ORDERS
STOPS_MAX = 5  # of them stops: MAX_NUM_ALGO_ORDERS
LISTS_MAX = 20  # order lists: MAX_NUM_ORDER_LISTS
AMENDS_MAX = 10  # of one order: MAX_NUM_ORDER_AMENDS
ICEBERG_PARTS = 100
TRAILING_ABOVE, TRAILING_BELOW = (10, 2000), (10, 2000)  # basis points, the venue's


class InstrumentSpec(NamedTuple):
    """Assets, steps, bounds and filters of one instrument. All numbers are mantissas at 10^−8."""

    symbol: str
    base: str
    quote: str
    tick: int
    lot: int
    start: int
    quantity_max: int = 9000 * UNIT
    price_max: int = 1_000_000 * UNIT
    notional_min: int = 5 * UNIT
    notional_max: int = 9_000_000 * UNIT
    notional_filter: str = "NOTIONAL"  # or MIN_NOTIONAL, which older instruments of the venue have
    market_quantity_min: int = 0
    market_quantity_max: int = 9_000_000 * UNIT
    bid_up: int = 5 * UNIT  # PERCENT_PRICE_BY_SIDE: multiples of the last price
    bid_down: int = UNIT // 5
    ask_up: int = 5 * UNIT
    ask_down: int = UNIT // 5
    orders_max: int = ORDERS_MAX
    position_max: int = 0  # 0: no such filter
    venue: str = SPOT
    price_decimals: int = 8  # in the venue's own texts
    quantity_decimals: int = 8

    @property
    def name(self) -> str:
        """The market's name in the exchange: a spot symbol as it is, of another venue `venue.symbol`."""
        return market_name(self.venue, self.symbol)


def market_name(venue: str, symbol: str) -> str:
    """The name of a market in ledger, files and faults: a spot symbol as it is, of another venue `venue.symbol`."""
    return symbol if venue == SPOT else f"{venue}.{symbol}"


def venue_and_symbol(name: str) -> tuple[str, str]:
    """The venue and the symbol of a market's name, as `market_name` makes it."""
    venue, _, symbol = name.rpartition(".")
    return venue or SPOT, symbol


def spec(symbol: str, venue: str = SPOT) -> InstrumentSpec:
    """The InstrumentSpec of a symbol; one whose steps are not known gets default ones."""
    quote = next((q for q in QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
    base = symbol[: len(symbol) - len(quote)] or symbol
    tick, lot, start = (KNOWN if venue == SPOT else KNOWN_USDM).get(symbol, UNKNOWN)
    made = InstrumentSpec(
        symbol, base, quote, mantissa(tick), mantissa(lot), mantissa(start), quantity_max=quantity_max(mantissa(start))
    )
    if venue == SPOT:
        return made
    return made._replace(
        venue=venue, notional_filter="MIN_NOTIONAL", price_decimals=_decimals(tick), quantity_decimals=_decimals(lot)
    )


def recorded_spec(symbol: str, venue: str, tick: int, lot: int, price: int) -> InstrumentSpec:
    """The InstrumentSpec of a recorded symbol. `tick`, `lot`: common divisors of prices and quantities; `price`: one of them.

    0: nothing of it is recorded. Steps that are known stay what they are; on USD-M, which writes numbers as fine as its steps,
    they are as fine as what was recorded."""
    known = spec(symbol, venue)
    if not price:
        return known
    tick, lot = decimal_step(tick, known.tick), decimal_step(lot, known.lot)
    if symbol in (KNOWN if venue == SPOT else KNOWN_USDM):
        if venue == SPOT:
            return known
        tick, lot = min(tick, known.tick), min(lot, known.lot)
    known = known._replace(tick=tick, lot=lot, start=price, quantity_max=quantity_max(price))
    if venue == SPOT:
        return known
    return known._replace(
        price_decimals=max(known.price_decimals, _decimals_of(tick)),
        quantity_decimals=max(known.quantity_decimals, _decimals_of(lot)),
    )


def decimal_step(common: int, otherwise: int) -> int:
    """The largest power of ten that divides `common`, the common divisor of prices or quantities; `otherwise` if that is 0."""
    if not common:
        return otherwise
    power = 1
    while power < 10**18 and common % (power * 10) == 0:
        power *= 10
    return power


def starting_amounts(known: InstrumentSpec, stated: Mapping[str, str]) -> dict[str, int]:
    """What an account begins with for one instrument, by asset: a useful amount of both, and what is `stated`. Mantissas."""
    base = "100" if known.start >= 100 * UNIT else "1000000"
    amounts = {known.base: base, known.quote: "10000000", **stated}
    return {asset: mantissa(amount) for asset, amount in amounts.items()}


def _decimals(step: str) -> int:
    return len(step.partition(".")[2])


def _decimals_of(step: int) -> int:
    """The decimals of a mantissa that is a power of ten."""
    return max(8 - (len(str(step)) - 1), 0)


def quantity_max(price: int) -> int:
    """The largest quantity of one order at a price: cheap instruments trade in millions."""
    return (9000 if price >= 100 * UNIT else 9_000_000) * UNIT


def check_filters(spec: InstrumentSpec, order_type: str, side: int, price: int, quantity: int, reference: int) -> None:
    """Checks an order against the filters of exchangeInfo, in their order (venues.md §3.6). Raises VenueError −1013.

    `reference` 0: no price is known, and the filters that need one are off."""
    market = order_type == "MARKET"
    if not market:
        if not spec.tick <= price <= spec.price_max or price % spec.tick:
            raise VenueError(-1013, "Filter failure: PRICE_FILTER")
        up, down = (spec.bid_up, spec.bid_down) if side > 0 else (spec.ask_up, spec.ask_down)
        if reference and not reference * down <= price * UNIT <= reference * up:
            raise VenueError(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
    if not spec.lot <= quantity <= spec.quantity_max or quantity % spec.lot:
        raise VenueError(-1013, "Filter failure: LOT_SIZE")
    if market and not spec.market_quantity_min <= quantity <= spec.market_quantity_max:
        raise VenueError(-1013, "Filter failure: MARKET_LOT_SIZE")
    if market and not reference:
        return
    worth = (reference if market else price) * quantity // UNIT
    if worth < spec.notional_min:
        raise VenueError(-1013, f"Filter failure: {spec.notional_filter}")
    if not market and spec.notional_filter == "NOTIONAL" and worth > spec.notional_max:
        raise VenueError(-1013, "Filter failure: NOTIONAL")


def check_trigger_filters(spec: InstrumentSpec, above: bool, stop_price: int, trailing_delta: int) -> None:
    """Checks what a stop waits for, `above` or below the market; 0: it was not given. Raises VenueError −1013."""
    if stop_price and (not spec.tick <= stop_price <= spec.price_max or stop_price % spec.tick):
        raise VenueError(-1013, "Filter failure: PRICE_FILTER")
    low, high = TRAILING_ABOVE if above else TRAILING_BELOW
    if trailing_delta and not low <= trailing_delta <= high:
        raise VenueError(-1013, "Filter failure: TRAILING_DELTA")


def check_iceberg_filters(spec: InstrumentSpec, quantity: int, iceberg: int) -> None:
    """Checks the shown part of an iceberg order. Raises VenueError −1013."""
    if not spec.lot <= iceberg <= spec.quantity_max or iceberg % spec.lot:
        raise VenueError(-1013, "Filter failure: LOT_SIZE")
    if -(-quantity // iceberg) > ICEBERG_PARTS:
        raise VenueError(-1013, "Filter failure: ICEBERG_PARTS")


def filters(spec: InstrumentSpec) -> list[JsonObject]:
    """The `filters` of exchangeInfo; PRICE_FILTER comes first because old clients read `filters[0]`."""
    notional: JsonObject = {
        "filterType": "NOTIONAL", "minNotional": decimal_text(spec.notional_min), "applyMinToMarket": True,
        "maxNotional": decimal_text(spec.notional_max), "applyMaxToMarket": False, "avgPriceMins": 0,
    }  # fmt: skip
    if spec.notional_filter == "MIN_NOTIONAL":
        notional = {
            "filterType": "MIN_NOTIONAL", "minNotional": decimal_text(spec.notional_min), "applyToMarket": True,
            "avgPriceMins": 0,
        }  # fmt: skip
    rows: list[JsonObject] = [
        {
            "filterType": "PRICE_FILTER", "minPrice": decimal_text(spec.tick), "maxPrice": decimal_text(spec.price_max),
            "tickSize": decimal_text(spec.tick),
        },
        {
            "filterType": "LOT_SIZE", "minQty": decimal_text(spec.lot), "maxQty": decimal_text(spec.quantity_max),
            "stepSize": decimal_text(spec.lot),
        },
        {"filterType": "ICEBERG_PARTS", "limit": ICEBERG_PARTS},
        {
            "filterType": "MARKET_LOT_SIZE", "minQty": decimal_text(spec.market_quantity_min),
            "maxQty": decimal_text(spec.market_quantity_max), "stepSize": decimal_text(0),
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": _short(spec.bid_up),
            "bidMultiplierDown": _short(spec.bid_down), "askMultiplierUp": _short(spec.ask_up),
            "askMultiplierDown": _short(spec.ask_down), "avgPriceMins": 0,
        },
        notional,
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": spec.orders_max},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": LISTS_MAX},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": STOPS_MAX},
        {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": AMENDS_MAX},
        {
            "filterType": "TRAILING_DELTA", "minTrailingAboveDelta": TRAILING_ABOVE[0],
            "maxTrailingAboveDelta": TRAILING_ABOVE[1], "minTrailingBelowDelta": TRAILING_BELOW[0],
            "maxTrailingBelowDelta": TRAILING_BELOW[1],
        },
    ]  # fmt: skip
    if spec.position_max:
        rows.append({"filterType": "MAX_POSITION", "maxPosition": decimal_text(spec.position_max)})
    return rows


def _short(multiplier: int) -> str:
    return decimal_text(multiplier).rstrip("0").rstrip(".")
