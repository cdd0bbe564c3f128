"""What a new order list asks for: its orders' parameters by their prefixes, and how its prices must stand (venues.md §3.1;
rest-api.md, "Order lists"). Pure."""

from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.orders.terms import Terms
from tickmesh.nodes.exchange.protocol import Params, VenueError

# What follows an order's prefix, and the parameter of a single order that it is
LEG = {
    "Type": "type", "ClientOrderId": "newClientOrderId", "IcebergQty": "icebergQty", "Price": "price",
    "StopPrice": "stopPrice", "TrailingDelta": "trailingDelta", "TimeInForce": "timeInForce", "StrategyId": "strategyId",
    "StrategyType": "strategyType", "PegPriceType": "pegPriceType", "PegOffsetType": "pegOffsetType",
    "PegOffsetValue": "pegOffsetValue", "Side": "side", "Quantity": "quantity",
}  # fmt: skip
FOR_ALL = ("symbol", "selfTradePreventionMode")
PAIR_TYPES = ("STOP_LOSS_LIMIT", "STOP_LOSS", "LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
WORKING_TYPES = ("LIMIT", "LIMIT_MAKER")
RELATION = VenueError(-2010, "The relationship of the prices for the orders is not correct.")


def read_leg(desk: Desk, params: Params, prefix: str, types: tuple[str, ...], beside: int, **given: str) -> Terms:
    """Reads and checks one order of a list; `given`: parameters that stand without its prefix. Raises VenueError."""
    values = {ours: params.values[prefix + theirs] for theirs, ours in LEG.items() if prefix + theirs in params}
    values |= {ours: params.values[theirs] for ours, theirs in given.items() if theirs in params}
    values |= {name: params.values[name] for name in FOR_ALL if name in params}
    params.choice(f"{prefix}Type", types, -1116, "Invalid orderType.")
    try:
        return desk.check(Params(values), beside)
    except VenueError as error:
        theirs = {f"'{ours}'": f"'{given.get(ours, prefix + name)}'" for name, ours in LEG.items()}
        for ours, named in theirs.items():
            error.message = error.message.replace(ours, named)
        raise


def read_pair(desk: Desk, params: Params, above: str, below: str, beside: int, **given: str) -> list[Terms]:
    """Reads and checks the two orders of which one ends the other: the one above the market, then the one below."""
    pair = [read_leg(desk, params, prefix, PAIR_TYPES, beside, **given) for prefix in (above, below)]
    buys = pair[0].side > 0
    for terms, is_above in zip(pair, (True, False)):
        if terms.type.startswith("STOP_LOSS") and is_above != buys:
            where = "buy OCO must be above" if buys else "sell OCO must be below"
            raise VenueError(-1196 if buys else -1197, f"A stop loss order in a {where}.")
        if terms.type.startswith("TAKE_PROFIT") and is_above == buys:
            where = "buy OCO must be below" if buys else "sell OCO must be above"
            raise VenueError(-1198 if buys else -1199, f"A take profit order in a {where}.")
        if terms.type == "LIMIT_MAKER" and is_above == buys:
            raise RELATION
    high, low = (terms.stop_price or terms.price for terms in pair)
    if not any(terms.trailing_delta for terms in pair) and high <= low:
        raise RELATION
    return pair


def check_around(pair: list[Terms], last_price: int) -> None:
    """Checks that the last price is between the two orders. Raises VenueError −2010."""
    for terms, sign in zip(pair, (1, -1)):
        at = terms.stop_price or (terms.price if terms.type == "LIMIT_MAKER" else 0)
        if last_price and at and not terms.trailing_delta and (at - last_price) * sign <= 0:
            raise RELATION
