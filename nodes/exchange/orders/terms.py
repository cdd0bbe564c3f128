"""What a new order asks for, checked as far as that goes without an account: parameters, types, filters (venues.md §3.1
and §3.6). Pure."""

from typing import NamedTuple

from tickmesh.nodes.exchange.market.instruments import check_filters
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

TYPES = ("LIMIT", "MARKET", "LIMIT_MAKER")
ELSEWHERE = {  # types that the real venue has and this one does not
    "STOP_LOSS": "Stop loss orders are not supported for this symbol.",
    "STOP_LOSS_LIMIT": "Stop loss limit orders are not supported for this symbol.",
    "TAKE_PROFIT": "Take profit orders are not supported for this symbol.",
    "TAKE_PROFIT_LIMIT": "Take profit limit orders are not supported for this symbol.",
}
TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
PREVENTIONS = ("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
ALLOWED_PREVENTIONS = ("EXPIRE_MAKER",)
STRATEGY_TYPE_MIN = 1_000_000


class Terms(NamedTuple):
    """What a new order asks for, parsed and checked. Numbers are mantissas at 10^−8.

    `spend` is a MARKET order's quote quantity, from which `quantity` follows."""

    market: VenueMarket
    side: int
    type: str
    time_in_force: str
    price: int
    quantity: int
    spend: int
    client_id: str
    strategy_id: int
    strategy_type: int


def read_terms(market: VenueMarket, params: Params, owner: int) -> Terms:
    """Reads and checks the terms of a new order. Raises VenueError; precision is judged before the filters are."""
    side = 1 if params.choice("side", ("BUY", "SELL"), -1117, "Invalid side.") == "BUY" else -1
    kind = params.choice("type", (*TYPES, *ELSEWHERE), -1116, "Invalid orderType.")
    if kind in ELSEWHERE:
        raise VenueError(-2010, ELSEWHERE[kind])
    _refuse_unsupported(params)
    tif, price, quantity, spend = _numbers(params, kind)
    client_id = params.client_id("newClientOrderId")
    strategy_id = params.integer("strategyId", 0)
    strategy_type = params.integer("strategyType", 0)
    if "strategyType" in params and strategy_type < STRATEGY_TYPE_MIN:
        raise VenueError(-1134, f"strategyType was less than {STRATEGY_TYPE_MIN}.")
    if spend:
        quantity = quantity_for(market, side, spend, owner)
    check_filters(market.spec, kind, side, price, quantity, _reference(market))
    return Terms(market, side, kind, tif, price, quantity, spend, client_id, strategy_id, strategy_type)


def _reference(market: VenueMarket) -> int:
    """The price that filters measure by: the last one, or the middle of the book before any trade; 0 if there is neither."""
    bid, ask = market.best(1)[0], market.best(-1)[0]
    return market.last_price or ((bid + ask) // 2 if bid and ask else 0)


def _refuse_unsupported(params: Params) -> None:
    if "icebergQty" in params:
        raise VenueError(-2010, "Iceberg orders are not supported for this symbol.")
    for name in ("stopPrice", "trailingDelta"):
        if name in params:
            raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    for name in ("pegPriceType", "pegOffsetType", "pegOffsetValue"):
        if name in params:
            raise VenueError(-1014, "Unsupported order combination.")
    wrong = "Data sent for parameter 'selfTradePreventionMode' is not valid."
    if params.choice("selfTradePreventionMode", PREVENTIONS, -1130, wrong, ALLOWED_PREVENTIONS[0]) not in ALLOWED_PREVENTIONS:
        raise VenueError(-2010, "This symbol does not permit the requested self-trade prevention mode.")


def _numbers(params: Params, kind: str) -> tuple[str, int, int, int]:
    """Reads time in force, price, quantity and quote quantity, as the type demands them."""
    if kind == "MARKET":
        for name in ("price", "timeInForce"):
            if name in params:
                raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
        if "quoteOrderQty" in params:
            if "quantity" in params:
                raise VenueError(-1128, "Combination of optional parameters invalid: 'quantity' and 'quoteOrderQty'.")
            return "GTC", 0, 0, params.positive("quoteOrderQty")
        return "GTC", 0, params.positive("quantity"), 0
    if "quoteOrderQty" in params:
        raise VenueError(-1106, "Parameter 'quoteOrderQty' sent when not required.")
    if kind == "LIMIT_MAKER":
        if "timeInForce" in params:
            raise VenueError(-1106, "Parameter 'timeInForce' sent when not required.")
        return "GTC", params.positive("price"), params.positive("quantity"), 0
    tif = params.choice("timeInForce", TIMES_IN_FORCE, -1115, "Invalid timeInForce.")
    quantity = params.positive("quantity")
    return tif, params.positive("price"), quantity, 0


def quantity_for(market: VenueMarket, side: int, spend: int, owner: int) -> int:
    """The quantity that `spend` of the quote asset buys (or that selling for it takes) now, in whole lots."""
    quantity, left = 0, spend
    for price, there in market.levels(-side, owner):
        take = min(there, left * UNIT // price)
        quantity += take
        left -= price * take // UNIT
        if take < there:
            break
    return quantity // market.spec.lot * market.spec.lot


def amount_to_lock(market: VenueMarket, side: int, kind: str, price: int, quantity: int, owner: int) -> tuple[str, int]:
    """The asset that an order locks, and how much of it."""
    spec = market.spec
    if side < 0:
        return spec.base, quantity
    if kind != "MARKET":
        return spec.quote, price * quantity // UNIT
    amount, left = 0, quantity
    for at, there in market.levels(-side, owner):
        take = min(there, left)
        # rounded up per level: several makers of one level are paid one by one, each rounded down
        amount += -(-at * take // UNIT)
        left -= take
        if not left:
            break
    return spec.quote, amount
