"""Binance spot, reducing an order in its place: intent → request, answer → report. Sans I/O.

Protocol: Binance spot API documentation, "Order Amend Keep Priority" of the WebSocket API's trading requests, and its FAQ.
"""

import msgspec
import numpy as np

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_orders import Report, record_values, status_of, terms_of
from tickmesh.nodes.venues.parsing.decimals import mantissa, text

METHOD = "order.amend.keepPriority"


class AmendedOrder(msgspec.Struct):
    """An order as the answer to an amendment states it: its quantity, as it is now, is `qty` there."""

    orderId: int  # noqa: N815
    status: str
    side: str
    price: str
    qty: str
    executedQty: str  # noqa: N815
    type: str
    timeInForce: str = ""  # noqa: N815


class AmendAnswer(msgspec.Struct):
    """The answer to order.amend.keepPriority."""

    transactTime: int  # noqa: N815
    amendedOrder: AmendedOrder  # noqa: N815


decode_amended = msgspec.json.Decoder(AmendAnswer).decode


def build_amend_request(record: np.void, instrument: Instrument) -> tuple[str, dict[str, object]]:
    """(method, params) of the WS-API request that an intent to amend asks for: `quantity_lots` is the whole order's then.

    The order keeps its client id, which is why that is sent as the new one: without one the venue would make one up.
    """
    intent = record_values(record)
    target = intent["target_id"].decode()
    quantity = text(intent["quantity_lots"], instrument.quantity_exponent)
    return METHOD, {
        "symbol": instrument.symbol, "origClientOrderId": target, "newClientOrderId": target, "newQty": quantity,
    }  # fmt: skip


def report_of_amended(answer: AmendAnswer, instrument: Instrument, client_order_id: str) -> Report:
    """The report that the answer holds, of the order with this client id. Raises AnswerError, or DecimalError."""
    order = answer.amendedOrder
    return Report(
        instrument.subject, client_order_id, order.orderId, status_of(order.status),
        mantissa(order.executedQty, instrument.quantity_exponent), to_ns(answer.transactTime),
        terms=terms_of(order.side, order.type, order.timeInForce, order.price, order.qty, instrument),
    )  # fmt: skip
