"""What a new or an amended order of futures asks for, checked as far as that goes without an account. Pure.

Sources: USD-M futures, "New Order", "Modify Order", "Error Codes" (−1xxx, −4xxx, −5xxx). Conditional orders are not of this
endpoint there either: since 2025-12-09 they are algo orders, and −4120 says so.
"""

import re
from typing import NamedTuple

from tickmesh.nodes.exchange.market.instruments import InstrumentSpec
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError, illegal_parameter

TYPES = ("LIMIT", "MARKET")
CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
OF_CONDITIONAL = ("stopPrice", "activationPrice", "callbackRate")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX")
RESPONSES = ("ACK", "RESULT")
CLIENT_ORDER_ID = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
CLIENT_ORDER_ID_LENGTH_MAX = 36
PRICE_UP_PPM, PRICE_DOWN_PPM = 1_050_000, 950_000  # of the mark price: PERCENT_PRICE
PPM = 10**6
TOO_PRECISE = VenueError(-1111, "Precision is over the maximum defined for this asset.")


class MarginTerms(NamedTuple):
    """What a new order asks for, parsed and checked. Numbers are mantissas at 10^−8; `price` is 0 for MARKET."""

    market: VenueMarket
    side: int
    type: str
    time_in_force: str
    price: int
    quantity: int
    reduce_only: bool
    client_id: str
    response: str


def read_margin_terms(market: VenueMarket, params: Params, mark: int) -> MarginTerms:
    """Reads and checks the terms of a new order. `mark`: the mark price. Raises VenueError."""
    side = 1 if params.choice("side", ("BUY", "SELL"), -1117, "Invalid side.") == "BUY" else -1
    _check_position_side(params)
    kind = params.choice("type", (*TYPES, *CONDITIONAL), -1116, "Invalid orderType.")
    if kind in CONDITIONAL:
        words = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        raise VenueError(-4120, words)
    _refuse_what_is_not_built(params)
    spec = market.spec
    if kind == "MARKET":
        for name in ("price", "timeInForce"):
            if name in params:
                raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
        time_in_force, price = "GTC", 0
    else:
        time_in_force = params.choice("timeInForce", TIMES_IN_FORCE, -1115, "Invalid timeInForce.")
        price = read_price(spec, params, side, mark)
    quantity = read_quantity(spec, params, kind == "MARKET")
    reduce_only = params.flag("reduceOnly")
    response = params.choice("newOrderRespType", RESPONSES, -1136, "Invalid newOrderRespType.", "ACK")
    client_id = read_client_id(params)
    if not reduce_only:
        check_notional(spec, price or mark, quantity, -4164, " (unless you choose reduce only)")
    return MarginTerms(market, side, kind, time_in_force, price, quantity, reduce_only, client_id, response)


def read_client_id(params: Params) -> str:
    """The client order id of a new order; "" when it was not sent."""
    client_id = params.text("newClientOrderId", "")
    if len(client_id) > CLIENT_ORDER_ID_LENGTH_MAX:
        raise VenueError(-4015, f"Client order id length should not be more than {CLIENT_ORDER_ID_LENGTH_MAX} chars")
    if client_id and not CLIENT_ORDER_ID.match(client_id):
        raise illegal_parameter("newClientOrderId", CLIENT_ORDER_ID.pattern)
    return client_id


def read_price(spec: InstrumentSpec, params: Params, side: int, mark: int) -> int:
    """The price of a limit order, within the filters PRICE_FILTER and PERCENT_PRICE."""
    price = params.decimal("price")
    if price % 10 ** (8 - spec.price_decimals):
        raise TOO_PRECISE
    if not price:
        raise VenueError(-4001, "Price less than or equal to zero.")
    if price < spec.tick:
        raise VenueError(-4013, "Price less than min price.")
    if price > spec.price_max:
        raise VenueError(-4002, "Price greater than max price.")
    if price % spec.tick:
        raise VenueError(-4014, "Price not increased by tick size.")
    write = UsdmFrames(spec)
    highest, lowest = mark * PRICE_UP_PPM // PPM, -(-mark * PRICE_DOWN_PPM // PPM)
    if mark and side > 0 and price > highest:
        raise VenueError(-4016, f"Limit price can't be higher than {write.price(highest)}.")
    if mark and side < 0 and price < lowest:
        raise VenueError(-4024, f"Limit price can't be lower than {write.price(lowest)}.")
    return price


def read_quantity(spec: InstrumentSpec, params: Params, market: bool = False) -> int:
    """The quantity of an order, within LOT_SIZE and, for MARKET, MARKET_LOT_SIZE."""
    quantity = params.decimal("quantity")
    if quantity % 10 ** (8 - spec.quantity_decimals):
        raise TOO_PRECISE
    if not quantity:
        raise VenueError(-4003, "Quantity less than or equal to zero.")
    if quantity < spec.lot:
        raise VenueError(-4004, "Quantity less than min quantity.")
    if quantity > (min(spec.market_quantity_max, spec.quantity_max) if market else spec.quantity_max):
        raise VenueError(-4005, "Quantity greater than max quantity.")
    if quantity % spec.lot:
        raise VenueError(-4023, "Qty not increased by step size.")
    return quantity


def check_notional(spec: InstrumentSpec, price: int, quantity: int, code: int, unless: str = "") -> None:
    """Refuses an order of too little value; `price` 0 (none is known) refuses nothing."""
    if price and price * quantity // UNIT < spec.notional_min:
        raise VenueError(code, f"Order's notional must be no smaller than {spec.notional_min // UNIT}{unless}.")


def _check_position_side(params: Params) -> None:
    wanted = params.choice("positionSide", ("BOTH", "LONG", "SHORT"), -4060, "Invalid position side.", "BOTH")
    if wanted != "BOTH":  # hedge mode's
        raise VenueError(-4061, "Order's position side does not match user's setting.")


def _refuse_what_is_not_built(params: Params) -> None:
    for name in OF_CONDITIONAL:
        if name in params:
            raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    for name in ("closePosition", "priceProtect"):
        if params.flag(name):
            raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    params.choice("workingType", ("CONTRACT_PRICE", "MARK_PRICE"), -4031, "Invalid parameter working type", "CONTRACT_PRICE")
    params.choice("priceMatch", ("NONE",), -5037, "Invalid price match", "NONE")
    words = "Invalid self trade prevention mode"
    params.choice("selfTradePreventionMode", ("EXPIRE_MAKER",), -5039, words, "EXPIRE_MAKER")
