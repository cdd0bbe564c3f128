"""Binance spot, the private side: intents → requests, replies and user events → reports. Sans I/O.

Protocol: Binance spot API documentation, "WebSocket API" (request and response format, signed requests, trading),
"User Data Stream" (executionReport, outboundAccountPosition), "Errors", "General API information" (HTTP 5xx and unknown
outcomes).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tickmesh.bus.schema import Action, OrderType, Status, TimeInForce
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_limits import RateLimit
from tickmesh.nodes.venues.parsing.decimals import DecimalError, Unholdable, mantissa, text

WS_PATH = "/ws-api/v3"
FEE_EXPONENT = -8  # of fees and balances, whatever the asset

STATUS = {
    "PENDING_NEW": Status.PendingNew,
    "NEW": Status.New,
    "PARTIALLY_FILLED": Status.PartiallyFilled,
    "FILLED": Status.Filled,
    "PENDING_CANCEL": Status.PendingCancel,
    "CANCELED": Status.Canceled,
    "REJECTED": Status.Rejected,
    "EXPIRED": Status.Expired,
    "EXPIRED_IN_MATCH": Status.Expired,
}
TYPE_NAMES = {OrderType.LIMIT: "LIMIT", OrderType.MARKET: "MARKET", OrderType.LIMIT_MAKER: "LIMIT_MAKER"}
TIF_NAMES = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
TYPES = {name: int(kind) for kind, name in TYPE_NAMES.items()}
FORCES = {name: int(force) for force, name in TIF_NAMES.items()}


class IntentError(ValueError):
    """Raised for an intent that the venue has no request for."""


class AnswerError(DecimalError):
    """Raised for an answer of the venue that cannot be understood."""


UNKNOWN_OUTCOME = frozenset({-1000, -1001, -1006, -1007, -1008})
NO_SUCH_ORDER = -2013
CANCEL_REJECTED = -2011  # "Unknown order sent.": it is over, or was never there
NO_SUCH_SYMBOL = -1121
WRONG_TIME = -1021  # our timestamp is too old, or ahead of the venue's clock: nothing was done
DUPLICATE = "Duplicate order sent."


# Requests


def build_request(number: str, method: str, params: Mapping[str, object]) -> bytes:
    """A WS-API request as JSON bytes; its answer carries the same id, `number`."""
    return msgspec.json.encode({"id": number, "method": method, "params": params})


def record_values(record: np.void) -> dict[str, Any]:
    """The fields of a record as Python values by name: five times as fast as reading them one by one."""
    return dict(zip(record.dtype.names or (), record.item(), strict=True))


def build_order_request(record: np.void, instrument: Instrument) -> tuple[str, dict[str, object]]:
    """(method, params) of the WS-API request that an intent record asks for. Raises IntentError where it means nothing."""
    intent = record_values(record)
    if intent["action"] == Action.CANCEL:
        return "order.cancel", {"symbol": instrument.symbol, "origClientOrderId": intent["target_id"].decode()}
    if intent["action"] != Action.NEW or intent["side"] not in (1, -1) or intent["order_type"] not in TYPE_NAMES:
        raise IntentError(
            f"an intent with action {intent['action']}, side {intent['side']} and type {intent['order_type']}; "
            "action 1 or 2, side +1 or -1 and type 1 to 3 are known"
        )
    if intent["quantity_lots"] <= 0:
        raise IntentError(f"an intent of quantity {intent['quantity_lots']}; it has to be above 0")
    kind = OrderType(intent["order_type"])
    params: dict[str, object] = {
        "symbol": instrument.symbol,
        "side": "BUY" if intent["side"] > 0 else "SELL",
        "type": TYPE_NAMES[kind],
        "quantity": text(intent["quantity_lots"], instrument.quantity_exponent),
        "newClientOrderId": intent["client_order_id"].decode(),
        "newOrderRespType": "FULL",
    }
    if kind is not OrderType.MARKET:
        if intent["price_ticks"] <= 0:
            raise IntentError(f"a limit order at {intent['price_ticks']}; its price has to be above 0")
        params["price"] = text(intent["price_ticks"], instrument.price_exponent)
    if kind is OrderType.LIMIT:
        if intent["time_in_force"] not in TIF_NAMES:
            raise IntentError(f"time in force {intent['time_in_force']} is unknown; 1 to 3 are known")
        params["timeInForce"] = TIF_NAMES[TimeInForce(intent["time_in_force"])]
    return "order.place", params


def proves_nothing_done(status: int, code: int, message: str) -> bool:
    """Whether an error that answers an order request proves that the venue did nothing.

    5xx and the codes of an unanswered backend leave it open. A duplicate client id means that an order of this id
    stands at the venue: it has to be asked for too.
    """
    return status < 500 and code not in UNKNOWN_OUTCOME and DUPLICATE not in message


# What comes back


@dataclass
class Fill:
    """One execution of an order. Price and quantity: mantissas of the instrument; the fee: at 10^FEE_EXPONENT of its asset.

    `unheld_fee`: the venue's text of a fee that is no such mantissa; `fee` is 0 then, for the fill counts without it.
    """

    trade_id: int
    side: int
    price_ticks: int
    quantity_lots: int
    fee: int
    fee_asset: str
    maker: bool
    venue_ns: int
    order_id: int
    unheld_fee: str = ""


class OrderTerms(NamedTuple):
    """What an order asks for, in the codes and mantissas of an intent; 0 for a type or a time in force that no intent has."""

    side: int
    order_type: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int


@dataclass
class Report:
    """The state of an order as the venue reported it at one moment. `client_order_id` is its own, not a cancel's.

    `order_id` is one of its instrument's: the venue counts orders of each symbol by themselves.
    """

    subject: str
    client_order_id: str
    order_id: int
    status: Status
    filled_lots: int
    venue_ns: int
    reason: str = ""
    fills: list[Fill] = field(default_factory=list)
    terms: OrderTerms | None = None  # of the order, where the venue has stated them


class ExecutionReport(msgspec.Struct):
    """The user event executionReport: what happened to one order, by the venue's names.

    On a cancel `c` is the cancel's id and `C` the order's; `z` is cumulative; `t` is −1 where nothing traded.
    """

    s: str
    c: str
    S: str
    x: str
    X: str
    i: int
    l: str  # noqa: E741 (the venue's name)
    L: str
    z: str
    T: int
    t: int = -1
    C: str = ""
    r: str = "NONE"
    n: str | None = None
    N: str | None = None
    m: bool = False
    eR: int | str | None = None  # noqa: N815
    o: str = ""
    f: str = ""
    q: str = "0"
    p: str = "0"


class Amount(msgspec.Struct):
    """Free (`f`) and locked (`l`) of one asset (`a`), in a user event."""

    a: str
    f: str
    l: str  # noqa: E741


class AccountPosition(msgspec.Struct):
    """The user event outboundAccountPosition: the balances (`B`) that changed at a time (`E`)."""

    E: int
    B: list[Amount]


class EventType(msgspec.Struct):
    """Any user event, read for its type only."""

    e: str = ""


class Error(msgspec.Struct):
    """The error of an answer on the WS-API."""

    code: int = 0
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct):
    """Anything on a WS-API connection: the answer to a request (`id`), or a user event (`event`)."""

    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: Error | None = None
    event: msgspec.Raw = msgspec.Raw()
    rateLimits: list[RateLimit] = []  # noqa: N815


class Retry(msgspec.Struct):
    """The `data` of an error that asks to wait: until when."""

    retryAfter: int = 0  # noqa: N815  (ms since the epoch here, unlike the HTTP header)


class ReplyFill(msgspec.Struct):
    """An execution within the answer to order.place."""

    price: str
    qty: str
    commission: str
    commissionAsset: str  # noqa: N815
    tradeId: int  # noqa: N815


class _OrderAnswer(msgspec.Struct):
    """The answer to placing, cancelling and asking. On a cancel `origClientOrderId` is the order's id."""

    orderId: int  # noqa: N815
    symbol: str = ""
    clientOrderId: str = ""  # noqa: N815
    origClientOrderId: str = ""  # noqa: N815
    status: str = "NEW"
    side: str = "BUY"
    executedQty: str = "0"  # noqa: N815
    price: str = "0"
    origQty: str = "0"  # noqa: N815
    type: str = ""
    timeInForce: str = ""  # noqa: N815
    transactTime: int = 0  # noqa: N815
    updateTime: int = 0  # noqa: N815
    fills: list[ReplyFill] = []


class MyTrade(msgspec.Struct):
    """A row of `GET /api/v3/myTrades`: one side of a trade of ours."""

    id: int
    orderId: int  # noqa: N815
    price: str
    qty: str
    commission: str
    commissionAsset: str  # noqa: N815
    time: int
    isBuyer: bool  # noqa: N815
    isMaker: bool  # noqa: N815


class AccountBalance(msgspec.Struct):
    """One asset in the answer to `GET /api/v3/account`."""

    asset: str
    free: str
    locked: str


class AccountAnswer(msgspec.Struct):
    """The answer to `GET /api/v3/account`: the balances of all assets."""

    balances: list[AccountBalance] = []
    updateTime: int = 0  # noqa: N815


decode_message = msgspec.json.Decoder(_Message).decode
decode_event_type = msgspec.json.Decoder(EventType).decode
decode_execution = msgspec.json.Decoder(ExecutionReport).decode
decode_position = msgspec.json.Decoder(AccountPosition).decode
decode_order = msgspec.json.Decoder(_OrderAnswer).decode
decode_orders = msgspec.json.Decoder(list[_OrderAnswer]).decode
decode_trades = msgspec.json.Decoder(list[MyTrade]).decode
decode_account = msgspec.json.Decoder(AccountAnswer).decode
decode_retry = msgspec.json.Decoder(Retry).decode


def status_of(name: str) -> Status:
    """The order status of a venue's name for it. Raises AnswerError for a name that is not known."""
    if name not in STATUS:
        raise AnswerError(f"order status {name!r} is unknown; known: {', '.join(STATUS)}")
    return STATUS[name]


def report_of_event(event: ExecutionReport, instrument: Instrument) -> Report:
    """The report that an executionReport holds. Raises AnswerError, or DecimalError for numbers that cannot be held."""
    report = Report(
        instrument.subject,
        event.C or event.c if event.x == "CANCELED" else event.c,
        event.i,
        status_of(event.X),
        mantissa(event.z, instrument.quantity_exponent),
        to_ns(event.T),
        "" if event.r == "NONE" else event.r,
        terms=_terms(event.S, event.o, event.f, event.p, event.q, instrument),
    )
    if event.x == "TRADE":
        report.fills.append(
            Fill(
                event.t,
                1 if event.S == "BUY" else -1,
                mantissa(event.L, instrument.price_exponent),
                mantissa(event.l, instrument.quantity_exponent),
                *_fee_of(event.n or "0", event.N or "", event.m, to_ns(event.T), event.i),
            )
        )
    return report


def _terms(side: str, kind: str, force: str, price: str, quantity: str, instrument: Instrument) -> OrderTerms | None:
    lots = mantissa(quantity, instrument.quantity_exponent)
    ticks = mantissa(price, instrument.price_exponent)
    return OrderTerms(1 if side == "BUY" else -1, TYPES.get(kind, 0), FORCES.get(force, 0), ticks, lots) if lots else None


def _fee_of(stated: str, asset: str, maker: bool, venue_ns: int, order_id: int) -> tuple[int, str, bool, int, int, str]:
    """The last fields of a Fill, from its fee on."""
    try:
        return mantissa(stated, FEE_EXPONENT), asset, maker, venue_ns, order_id, ""
    except Unholdable:
        return 0, asset, maker, venue_ns, order_id, stated


def report_of_order(order: _OrderAnswer, instrument: Instrument, client_order_id: str = "") -> Report:
    """The report that the answer to order.place, order.cancel or an order query holds.

    `client_order_id`: the order's, where the caller knows it (after a cancel some answers carry the cancel's id).
    """
    venue_ns = to_ns(order.transactTime or order.updateTime)
    side = 1 if order.side == "BUY" else -1
    return Report(
        instrument.subject,
        client_order_id or order.origClientOrderId or order.clientOrderId,
        order.orderId,
        status_of(order.status),
        mantissa(order.executedQty, instrument.quantity_exponent),
        venue_ns,
        terms=_terms(order.side, order.type, order.timeInForce, order.price, order.origQty, instrument),
        fills=[
            # Fills in a reply are those of the order's arrival: it took.
            Fill(
                fill.tradeId, side,
                mantissa(fill.price, instrument.price_exponent), mantissa(fill.qty, instrument.quantity_exponent),
                *_fee_of(fill.commission, fill.commissionAsset, False, venue_ns, order.orderId),
            )
            for fill in order.fills
        ],
    )  # fmt: skip


def fill_of_trade(trade: MyTrade, instrument: Instrument) -> Fill:
    """The fill that a row of `GET /api/v3/myTrades` holds."""
    return Fill(
        trade.id, 1 if trade.isBuyer else -1,
        mantissa(trade.price, instrument.price_exponent), mantissa(trade.qty, instrument.quantity_exponent),
        *_fee_of(trade.commission, trade.commissionAsset, trade.isMaker, to_ns(trade.time), trade.orderId),
    )  # fmt: skip
