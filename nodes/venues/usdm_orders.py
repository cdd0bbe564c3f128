"""Binance USD-M futures, orders, in one-way mode. Sans I/O; what is as on spot is spot's; REST: `usdm_questions`.

Protocol: USD-M futures API, "Websocket API" (New Order, Cancel Order, user data streams), "User Data Streams"
(ORDER_TRADE_UPDATE, ACCOUNT_UPDATE, listenKeyExpired), "Error Codes". Unlike spot: post-only is a time in force
(GTX), answers carry no fills, user events come on a websocket of their own by a listenKey, which lives for an hour unless it is
prolonged.

Leverage and margin mode stay as the account has them.
"""

import msgspec

from tickmesh.bus.schema import OrderType
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance_orders as spot
from tickmesh.nodes.venues import binance_ws_api as ws_api
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_orders import POST_ONLY, ExecutionReport
from tickmesh.nodes.venues.binance_orders import cancel as cancel
from tickmesh.nodes.venues.binance_orders import report_of_answer as report_of_answer
from tickmesh.nodes.venues.binance_ws_api import UNKNOWN_OUTCOME
from tickmesh.nodes.venues.binance_ws_api import WRONG_TIME as WRONG_TIME
from tickmesh.nodes.venues.binance_ws_api import encode as encode
from tickmesh.nodes.venues.binance_ws_api import read_message as read_message
from tickmesh.nodes.venues.order_venue import (
    AnswerError,
    InstrumentOf,
    IntentError,
    IntentRecord,
    OrderRequest,
    Reported,
    Trouble,
    UserEvent,
)

WS_PATH = "/ws-fapi/v1"
KEEP_STREAM_S = 1200.0  # of the 3600 that a listenKey lives: two may fail
REST_ORDERS = {"order.place": ("POST", "/fapi/v1/order"), "order.cancel": ("DELETE", "/fapi/v1/order")}
DUPLICATE = -4116  # an open order of this client id stands at the venue
WRONG_MODE = -4061  # the account has been switched to hedge mode
CLOSED = -4141  # of a symbol
NOTHING_TO_REDUCE = -2022  # an order that only reduces, and no position on the other side that is large enough
BALANCE_CODES = frozenset((-2019, -2027, -2028))  # margin, or what the leverage allows
# Price, quantity and worth of an order ("Error Codes": 40xx filters), and how far it may be from the mark price
FILTER_CODES = frozenset((-4001, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024, -4131, -4164))
LIMIT_MAKER = spot.TYPE_NAMES[OrderType.LIMIT_MAKER]


class _OrderUpdate(msgspec.Struct):
    """The user event ORDER_TRADE_UPDATE: its order (`o`) has the names of spot's executionReport."""

    o: ExecutionReport


class _Wallet(msgspec.Struct):
    """A wallet (`wb`) of one asset (`a`) that changed."""

    a: str
    wb: str


class _Account(msgspec.Struct):
    """What changed, and why (`m`: ORDER, FUNDING_FEE, DEPOSIT, …)."""

    m: str = ""
    B: list[_Wallet] = []


class _AccountUpdate(msgspec.Struct):
    """The user event ACCOUNT_UPDATE at a time (`T`, of the transaction)."""

    T: int
    a: _Account


class _ListenKey(msgspec.Struct):
    """The answer to `open_stream`."""

    listenKey: str = ""  # noqa: N815


_decode_type = msgspec.json.Decoder(spot.EventType).decode
_decode_order = msgspec.json.Decoder(_OrderUpdate).decode
_decode_account = msgspec.json.Decoder(_AccountUpdate).decode
_decode_key = msgspec.json.Decoder(_ListenKey).decode


def place(record: IntentRecord, instrument: Instrument) -> OrderRequest:
    """The request that an intent record for an order asks for. Raises IntentError where it means nothing."""
    params = spot.order_params(record, instrument)
    if spot.intent_values(record)["reduce_only"]:
        params["reduceOnly"] = "true"
    if params["type"] == LIMIT_MAKER:
        params |= {"type": spot.TYPE_NAMES[OrderType.LIMIT], "timeInForce": POST_ONLY}
    return OrderRequest("order.place", {**params, "newOrderRespType": "ACK"})


def amend(instrument: Instrument, client_order_id: str, quantity_lots: int) -> OrderRequest:
    """Raises IntentError: an order that is amended here goes to the end of its queue, so nothing is won by it."""
    raise IntentError(f"{instrument.subject}: an order of this venue loses its place when it is amended; cancel it instead")


def open_stream() -> OrderRequest:
    """The request for the listenKey by which user events come."""
    return OrderRequest("userDataStream.start", {}, signed=False)


def stream_path(result: bytes) -> str:
    """The path of the websocket of user events, by the answer to `open_stream`. Raises AnswerError."""
    key = _decode_key(result).listenKey
    if not key:
        raise AnswerError("the answer to userDataStream.start has no listenKey")
    return f"/private/ws?listenKey={key}"


def keep_stream() -> OrderRequest:
    """The request that prolongs the listenKey's life."""
    return OrderRequest("userDataStream.ping", {}, signed=False)


def proves_nothing_done(status: int, code: int, words: str) -> bool:
    """Whether a refusal that answers an order request proves that the venue did nothing: as on spot.

    The venue's pages call −1008 a definite refusal; it comes with 503, and is asked about like every other of those.
    """
    return status < 500 and code not in UNKNOWN_OUTCOME and code != DUPLICATE


def trouble(status: int, code: int, words: str) -> Trouble | None:
    """What a refusal is about that the next order like it would meet too: as on spot, with the codes of futures."""
    if code == WRONG_MODE:
        return Trouble.PERMISSION
    if code == CLOSED:
        return Trouble.HALTED
    if code == NOTHING_TO_REDUCE:
        return Trouble.POSITION
    if code in BALANCE_CODES:
        return Trouble.BALANCE
    return Trouble.FILTER if code in FILTER_CODES else ws_api.trouble(status, code, words)


def read_user_event(event: bytes, instrument_of: InstrumentOf) -> UserEvent:
    """Reads a user event. `instrument_of` gives the instrument of a symbol; reports of those it does not know are left out.

    A wallet is `free` in full: what positions and orders take of it moves with the mark price, and the venue tells it only when
    asked. Raises msgspec.DecodeError or ValueError for what cannot be understood.
    """
    kind = _decode_type(event).e
    if kind == "ORDER_TRADE_UPDATE":
        order = _decode_order(event).o
        instrument = instrument_of(order.s)
        return UserEvent(spot.report_of_event(order, instrument) if instrument else None)
    if kind == "ACCOUNT_UPDATE":
        update = _decode_account(event)
        wallets = tuple(Reported(one.a, one.wb, "0") for one in update.a.B)
        return UserEvent(None, wallets, to_ns(update.T), funding=update.a.m == "FUNDING_FEE")
    return UserEvent(ended=kind == "listenKeyExpired")
