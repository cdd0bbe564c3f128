"""Binance spot, orders: intents → requests, answers and user events → reports. Sans I/O; REST: `binance_questions`.

Protocol: Binance spot API documentation, "WebSocket API" (trading), "User Data Stream" (executionReport,
outboundAccountPosition), "Errors".
"""

from typing import Any

import msgspec

from tickmesh.bus.layout import plain_names, record_struct
from tickmesh.bus.schema import DTYPES, Action, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_ws_api import UNKNOWN_OUTCOME
from tickmesh.nodes.venues.binance_ws_api import WRONG_TIME as WRONG_TIME
from tickmesh.nodes.venues.binance_ws_api import encode as encode
from tickmesh.nodes.venues.binance_ws_api import read_message as read_message
from tickmesh.nodes.venues.binance_ws_api import trouble as trouble
from tickmesh.nodes.venues.order_venue import (
    FEE_EXPONENT,
    AnswerError,
    Fill,
    InstrumentOf,
    IntentError,
    IntentRecord,
    OrderRequest,
    OrderTerms,
    Report,
    Reported,
    UserEvent,
)
from tickmesh.nodes.venues.parsing.decimals import Unholdable, mantissa, text

_INTENT, _FIELDS = record_struct(Kind.intent), plain_names(DTYPES[Kind.intent])
WS_PATH = "/ws-api/v3"
REST_ORDERS = {
    "order.place": ("POST", "/api/v3/order"), "order.cancel": ("DELETE", "/api/v3/order"),
    "order.amend.keepPriority": ("PUT", "/api/v3/order/amend/keepPriority"),
}  # fmt: skip
KEEP_STREAM_S = 0.0
DUPLICATE = "Duplicate order sent."
POST_ONLY = "GTX"  # as a time in force: futures have it instead of LIMIT_MAKER

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
MARKET, LIMIT, NEW_ORDER = int(OrderType.MARKET), int(OrderType.LIMIT), int(Action.NEW)  # an enumeration is asked by a call
TYPES = {name: int(kind) for kind, name in TYPE_NAMES.items()}
FORCES = {name: int(force) for force, name in TIF_NAMES.items()}


# Requests


def intent_values(record: IntentRecord) -> dict[str, Any]:
    """The fields of an intent record as Python values by name; texts are bytes, zero-padded. Given bytes it needs no numpy,
    whose objects cost more than all else here."""
    return dict(zip(_FIELDS, _INTENT.unpack(record.tobytes()), strict=True))


def place(record: IntentRecord, instrument: Instrument) -> OrderRequest:
    """The request that an intent record for an order asks for. Raises IntentError where it means nothing."""
    return OrderRequest("order.place", {**order_params(record, instrument), "newOrderRespType": "FULL"})


def order_params(record: IntentRecord, instrument: Instrument) -> dict[str, object]:
    """What an intent record states of an order, in the venue's names. Raises IntentError where it means nothing."""
    intent = intent_values(record)
    kind = intent["order_type"]
    if intent["action"] != NEW_ORDER or intent["side"] not in (1, -1) or kind not in TYPE_NAMES:
        raise IntentError(
            f"an intent with action {intent['action']}, side {intent['side']} and type {intent['order_type']}; "
            "action 1, side +1 or -1 and type 1 to 3 are known"
        )
    if intent["quantity_lots"] <= 0:
        raise IntentError(f"an intent of quantity {intent['quantity_lots']}; it has to be above 0")
    params: dict[str, object] = {
        "symbol": instrument.symbol,
        "side": "BUY" if intent["side"] > 0 else "SELL",
        "type": TYPE_NAMES[kind],
        "quantity": text(intent["quantity_lots"], instrument.quantity_exponent),
        "newClientOrderId": intent["client_order_id"].rstrip(b"\0").decode(),
    }
    if kind != MARKET:
        if intent["price_ticks"] <= 0:
            raise IntentError(f"a limit order at {intent['price_ticks']}; its price has to be above 0")
        params["price"] = text(intent["price_ticks"], instrument.price_exponent)
    if kind == LIMIT:
        if intent["time_in_force"] not in TIF_NAMES:
            raise IntentError(f"time in force {intent['time_in_force']} is unknown; 1 to 3 are known")
        params["timeInForce"] = TIF_NAMES[intent["time_in_force"]]
    return params


def cancel(symbol: str, client_order_id: str) -> OrderRequest:
    """The request to cancel the order of this client id."""
    return OrderRequest("order.cancel", {"symbol": symbol, "origClientOrderId": client_order_id})


def amend(instrument: Instrument, client_order_id: str, quantity_lots: int) -> OrderRequest:
    """The request to reduce an order in its place ("Order Amend Keep Priority").

    The order keeps its client id, which is why that is sent as the new one: without one the venue would make one up.
    """
    quantity = text(quantity_lots, instrument.quantity_exponent)
    same = {"origClientOrderId": client_order_id, "newClientOrderId": client_order_id}
    return OrderRequest("order.amend.keepPriority", {"symbol": instrument.symbol, **same, "newQty": quantity})


def open_stream() -> OrderRequest:
    """The request after which user events come on the same connection."""
    return OrderRequest("userDataStream.subscribe.signature", {})


def stream_path(result: bytes) -> str:
    """Where user events come, by the answer to `open_stream`: on the same connection."""
    return ""


def keep_stream() -> None:
    """The user stream lasts as long as its connection."""


def proves_nothing_done(status: int, code: int, words: str) -> bool:
    """Whether an error that answers an order request proves that the venue did nothing.

    5xx and the codes of an unanswered backend leave it open. A duplicate client id means that an order of this id
    stands at the venue: it has to be asked for too.
    """
    return status < 500 and code not in UNKNOWN_OUTCOME and DUPLICATE not in words


# What comes back


class ExecutionReport(msgspec.Struct):
    """The user event executionReport: what happened to one order, by the venue's names.

    On a cancel or an amendment `c` is the request's id, `C` the order's; `z` is cumulative; `t` is −1 where nothing traded.
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


class ReplyFill(msgspec.Struct):
    """An execution within the answer to order.place."""

    price: str
    qty: str
    commission: str
    commissionAsset: str  # noqa: N815
    tradeId: int  # noqa: N815


class OrderAnswer(msgspec.Struct):
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


class AmendedOrder(OrderAnswer):
    """An order within the answer to an amendment: `qty` is its quantity as it is now."""

    qty: str = "0"


class AmendAnswer(msgspec.Struct):
    """The answer to order.amend.keepPriority."""

    amendedOrder: AmendedOrder  # noqa: N815
    transactTime: int = 0  # noqa: N815


_decode_event_type = msgspec.json.Decoder(EventType).decode
_decode_execution = msgspec.json.Decoder(ExecutionReport).decode
_decode_position = msgspec.json.Decoder(AccountPosition).decode
_decode_amended = msgspec.json.Decoder(AmendAnswer).decode
_decode_order = msgspec.json.Decoder(OrderAnswer).decode


def status_of(name: str) -> Status:
    """The order status of a venue's name for it. Raises AnswerError for a name that is not known."""
    if name not in STATUS:
        raise AnswerError(f"order status {name!r} is unknown; known: {', '.join(STATUS)}")
    return STATUS[name]


def read_user_event(event: bytes, instrument_of: InstrumentOf) -> UserEvent:
    """Reads a user event. `instrument_of` gives the instrument of a symbol; reports of those it does not know are left out.

    Raises msgspec.DecodeError or ValueError for what cannot be understood. Kinds of events that do not concern orders or
    absolute balances (balanceUpdate, listStatus, …) give nothing.
    """
    kind = _decode_event_type(event).e
    if kind == "executionReport":
        execution = _decode_execution(event)
        instrument = instrument_of(execution.s)
        return UserEvent(report_of_event(execution, instrument) if instrument else None)
    if kind == "outboundAccountPosition":
        position = _decode_position(event)
        return UserEvent(None, tuple(Reported(one.a, one.f, one.l) for one in position.B), to_ns(position.E))
    return UserEvent(ended=kind in ("eventStreamTerminated", "serverShutdown"))


def report_of_event(event: ExecutionReport, instrument: Instrument) -> Report:
    """The report that an executionReport holds. Raises AnswerError, or DecimalError for numbers that cannot be held."""
    report = Report(
        instrument.subject,
        event.C or event.c if event.x in ("CANCELED", "REPLACED") else event.c,
        event.i,
        status_of(event.X),
        mantissa(event.z, instrument.quantity_exponent),
        to_ns(event.T),
        "" if event.r == "NONE" else event.r,
        terms=terms_of(event.S, event.o, event.f, event.p, event.q, instrument),
    )
    if event.x == "TRADE":
        report.fills.append(
            Fill(
                event.t,
                1 if event.S == "BUY" else -1,
                mantissa(event.L, instrument.price_exponent),
                mantissa(event.l, instrument.quantity_exponent),
                *fee_of(event.n or "0", event.N or "", event.m, to_ns(event.T), event.i),
            )
        )
    return report


def terms_of(side: str, kind: str, force: str, price: str, quantity: str, instrument: Instrument) -> OrderTerms | None:
    """What an order asks for, by the venue's words; None of one without a quantity. Raises DecimalError."""
    lots = mantissa(quantity, instrument.quantity_exponent)
    ticks = mantissa(price, instrument.price_exponent)
    if force == POST_ONLY:
        kind, force = TYPE_NAMES[OrderType.LIMIT_MAKER], TIF_NAMES[TimeInForce.GTC]
    return OrderTerms(1 if side == "BUY" else -1, TYPES.get(kind, 0), FORCES.get(force, 0), ticks, lots) if lots else None


def fee_of(stated: str, asset: str, maker: bool, venue_ns: int, order_id: int) -> tuple[int, str, bool, int, int, str]:
    """The last fields of a Fill, from its fee on."""
    try:
        return mantissa(stated, FEE_EXPONENT), asset, maker, venue_ns, order_id, ""
    except Unholdable:
        return 0, asset, maker, venue_ns, order_id, stated


def report_of_answer(result: bytes, instrument: Instrument, client_order_id: str) -> Report:
    """The report in the answer to order.place, order.cancel or order.amend.keepPriority."""
    if b'"amendedOrder"' not in result:
        return report_of_order(_decode_order(result), instrument, client_order_id)
    answer = _decode_amended(result)
    answer.amendedOrder.origQty, answer.amendedOrder.transactTime = answer.amendedOrder.qty, answer.transactTime
    return report_of_order(answer.amendedOrder, instrument, client_order_id)


def report_of_order(order: OrderAnswer, instrument: Instrument, client_order_id: str = "") -> Report:
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
        terms=terms_of(order.side, order.type, order.timeInForce, order.price, order.origQty, instrument),
        fills=[
            # Fills in a reply are those of the order's arrival: it took.
            Fill(
                fill.tradeId, side,
                mantissa(fill.price, instrument.price_exponent), mantissa(fill.qty, instrument.quantity_exponent),
                *fee_of(fill.commission, fill.commissionAsset, False, venue_ns, order.orderId),
            )
            for fill in order.fills
        ],
    )  # fmt: skip
