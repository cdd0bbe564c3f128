"""What a new order asks for, checked as far as that goes without an account: parameters, types, filters (venues.md §3.1
and §3.6). Pure."""

from typing import NamedTuple

from tickmesh.nodes.exchange.market.instruments import (
    InstrumentSpec,
    check_filters,
    check_iceberg_filters,
    check_trigger_filters,
)
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.market.matching import ANYONE, DECREMENT, EXPIRE_BOTH, EXPIRE_MAKER, EXPIRE_TAKER, NONE
from tickmesh.nodes.exchange.orders.orders import BOOK_TYPES, STOPS, OwnOrder
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", *STOPS)
TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
PREVENTIONS = (NONE, EXPIRE_MAKER, EXPIRE_TAKER, EXPIRE_BOTH, DECREMENT, "TRANSFER")
STRATEGY_TYPE_MIN = 1_000_000


class Terms(NamedTuple):
    """What a new order asks for, parsed and checked. Numbers are mantissas at 10^−8, `trailing_delta` basis points.

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
    stop_price: int
    trailing_delta: int
    iceberg: int
    prevention: str

    def build_order(self, ident: int, now_ms: int, locked: int) -> OwnOrder:
        """Builds the order, with an id and a client id of ours where none was given."""
        return OwnOrder(
            ident, self.client_id or f"local{ident}", self.market.spec.symbol, self.side, self.type, self.time_in_force,
            self.price, self.quantity, now_ms, self.spend, locked=locked, update_time=now_ms, strategy_id=self.strategy_id,
            strategy_type=self.strategy_type, stop_price=self.stop_price, trailing_delta=self.trailing_delta,
            iceberg=self.iceberg, prevention=self.prevention,
        )  # fmt: skip


def allowed_preventions(market: VenueMarket) -> tuple[str, ...]:
    """The modes of self-trade prevention that an order of a market may choose."""
    return PREVENTIONS[:5] if market.hides else (EXPIRE_MAKER,)


def read_terms(market: VenueMarket, params: Params, owner: int) -> Terms:
    """Reads and checks the terms of a new order. Raises VenueError; precision is judged before the filters are."""
    side = 1 if params.choice("side", ("BUY", "SELL"), -1117, "Invalid side.") == "BUY" else -1
    kind = params.choice("type", TYPES, -1116, "Invalid orderType.")
    for name in ("pegPriceType", "pegOffsetType", "pegOffsetValue"):
        if name in params:
            raise VenueError(-1014, "Unsupported order combination.")
    prevention = _prevention(market, params)
    tif, price, quantity, spend = _numbers(params, kind)
    stop_price, trailing_delta = _trigger(params, kind)
    iceberg = _iceberg(market, params, kind, tif, quantity)
    client_id = params.client_id("newClientOrderId")
    strategy_id = params.integer("strategyId", 0)
    strategy_type = params.integer("strategyType", 0)
    if "strategyType" in params and strategy_type < STRATEGY_TYPE_MIN:
        raise VenueError(-1134, f"strategyType was less than {STRATEGY_TYPE_MIN}.")
    if spend:
        quantity = quantity_for(market, side, spend, owner)
    book_type = BOOK_TYPES.get(kind, kind)
    reference = stop_price if stop_price and book_type == "MARKET" else reference_price(market)
    check_filters(market.spec, book_type, side, price, quantity, reference)
    if kind in STOPS:
        above = (side > 0) == kind.startswith("STOP_LOSS")
        check_trigger_filters(market.spec, above, stop_price, trailing_delta)
    if iceberg:
        check_iceberg_filters(market.spec, quantity, iceberg)
    return Terms(
        market, side, kind, tif, price, quantity, spend, client_id, strategy_id, strategy_type, stop_price, trailing_delta,
        iceberg, prevention,
    )  # fmt: skip


def _prevention(market: VenueMarket, params: Params) -> str:
    wrong = "Data sent for parameter 'selfTradePreventionMode' is not valid."
    mode = params.choice("selfTradePreventionMode", PREVENTIONS, -1130, wrong, EXPIRE_MAKER)
    if mode not in allowed_preventions(market):
        raise VenueError(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    return mode


def _trigger(params: Params, kind: str) -> tuple[int, int]:
    """Reads stop price and trailing delta, of which a stop needs one."""
    given = [name for name in ("stopPrice", "trailingDelta") if name in params]
    if kind not in STOPS and given:
        raise VenueError(-1106, f"Parameter '{given[0]}' sent when not required.")
    if kind in STOPS and not given:
        raise VenueError(-1102, "Param 'stopPrice' or 'trailingDelta' must be sent, but both were empty/null!")
    stop_price = params.positive("stopPrice") if "stopPrice" in params else 0
    return stop_price, params.integer("trailingDelta", 0, low=1) if "trailingDelta" in params else 0


def _iceberg(market: VenueMarket, params: Params, kind: str, tif: str, quantity: int) -> int:
    if "icebergQty" not in params:
        return 0
    if BOOK_TYPES.get(kind, kind) == "MARKET":
        raise VenueError(-1106, "Parameter 'icebergQty' sent when not required.")
    if tif != "GTC":
        raise VenueError(-2010, "Unsupported order combination")
    iceberg = params.decimal("icebergQty")
    if iceberg and not market.hides:
        raise VenueError(-2010, "Iceberg orders are not supported for this symbol.")
    if iceberg > quantity:
        raise VenueError(-2010, "IcebergQty exceeds QTY.")
    return iceberg


def reference_price(market: VenueMarket) -> int:
    """The price that filters measure by: the last one, or the middle of the book before any trade; 0 if there is neither."""
    bid, ask = market.best(1)[0], market.best(-1)[0]
    return market.last_price or ((bid + ask) // 2 if bid and ask else 0)


def _numbers(params: Params, kind: str) -> tuple[str, int, int, int]:
    """Reads time in force, price, quantity and quote quantity, as the type demands them."""
    if BOOK_TYPES.get(kind, kind) == "MARKET":
        for name in ("price", "timeInForce"):
            if name in params:
                raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
        if "quoteOrderQty" in params and kind == "MARKET":
            if "quantity" in params:
                raise VenueError(-1128, "Combination of optional parameters invalid: 'quantity' and 'quoteOrderQty'.")
            return "GTC", 0, 0, params.positive("quoteOrderQty")
        if "quoteOrderQty" in params:
            raise VenueError(-1106, "Parameter 'quoteOrderQty' sent when not required.")
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


def asset_to_lock(spec: InstrumentSpec, side: int) -> str:
    """The asset that an order of a side pays with, and locks."""
    return spec.quote if side > 0 else spec.base


def amount_to_lock(market: VenueMarket, order: Terms | OwnOrder, quantity: int, owner: int, triggered: bool = False) -> int:
    """How much of its asset an order locks for `quantity`. `triggered`: a stop that takes now what stands in the book."""
    if order.side < 0:
        return quantity
    if BOOK_TYPES.get(order.type, order.type) != "MARKET":
        return order.price * quantity // UNIT
    if order.type in STOPS and not triggered:
        return (order.stop_price or reference_price(market)) * quantity // UNIT
    amount, left = 0, quantity
    for at, there in market.levels(-order.side, ANYONE if order.prevention == NONE else owner):
        take = min(there, left)
        # rounded up per level: several makers of one level are paid one by one, each rounded down
        amount += -(-at * take // UNIT)
        left -= take
        if not left:
            break
    return amount
