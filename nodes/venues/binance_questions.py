"""Binance spot, what a session asks over REST about its account: requests with their weights, answers read. Sans I/O.

Protocol: Binance spot API documentation, "Trading endpoints", "Account endpoints"; weights: "IP Limits" of each page.
"""

from collections.abc import Sequence

import msgspec

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance_signing as signing
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_orders import OrderAnswer, fee_of, report_of_order
from tickmesh.nodes.venues.binance_ws_api import CANCEL_REJECTED as CANCEL_REJECTED
from tickmesh.nodes.venues.binance_ws_api import NO_SUCH_ORDER as NO_SUCH_ORDER
from tickmesh.nodes.venues.binance_ws_api import NO_SUCH_SYMBOL as NO_SUCH_SYMBOL
from tickmesh.nodes.venues.order_venue import Fill, FundingPayment, InstrumentOf, Report, Reported, SigningKey
from tickmesh.nodes.venues.parsing.decimals import mantissa
from tickmesh.nodes.venues.parsing.dialect import Request

PAGE = 1000  # the venue's largest
ORDER_WEIGHT = 4
OPEN_WEIGHT, OPEN_WEIGHT_ALL = 6, 80  # of one symbol; of the whole account
TRADES_WEIGHT, TRADES_WEIGHT_OF_ORDER = 20, 5
ACCOUNT_WEIGHT = 20
ALL_ORDERS_WEIGHT = 20


class _Trade(msgspec.Struct):
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


class _Balance(msgspec.Struct):
    """One asset in the answer to `GET /api/v3/account`."""

    asset: str
    free: str
    locked: str


class _Account(msgspec.Struct):
    """The answer to `GET /api/v3/account`: the balances of all assets."""

    balances: list[_Balance] = []
    updateTime: int = 0  # noqa: N815


_decode_order = msgspec.json.Decoder(OrderAnswer).decode
_decode_orders = msgspec.json.Decoder(list[OrderAnswer]).decode
_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_account = msgspec.json.Decoder(_Account).decode


def signed_query(request: Request, key: SigningKey, now_ms: int, recv_window_ms: int) -> str:
    """A request's query string, signed at the venue's time `now_ms`."""
    return signing.signed_query(request.query, key.sign, now_ms, recv_window_ms)


def order(instrument: Instrument, client_order_id: str) -> Request:
    """After one order."""
    return Request("/api/v3/order", {"symbol": instrument.symbol, "origClientOrderId": client_order_id}, ORDER_WEIGHT)


def read_order(body: bytes, instrument: Instrument, client_order_id: str) -> Report:
    """The report in the answer to `order`."""
    return report_of_order(_decode_order(body), instrument, client_order_id)


def open_orders_weight(instruments: int) -> int:
    """What the open orders of so many instruments cost: one by one, or all of the account at once."""
    return min(instruments * OPEN_WEIGHT, OPEN_WEIGHT_ALL)


def open_orders(instruments: Sequence[Instrument]) -> list[Request]:
    """After the open orders of these instruments, or of the whole account where that costs less, or none are named."""
    if not instruments or open_orders_weight(len(instruments)) == OPEN_WEIGHT_ALL:
        return [Request("/api/v3/openOrders", weight=OPEN_WEIGHT_ALL)]
    return [Request("/api/v3/openOrders", {"symbol": one.symbol}, OPEN_WEIGHT) for one in instruments]


def read_open_orders(body: bytes, instrument_of: InstrumentOf) -> tuple[list[Report], int]:
    """The reports in an answer to `open_orders`; how many rows are of symbols that are not known."""
    rows = _decode_orders(body)
    known = [(row, instrument) for row in rows if (instrument := instrument_of(row.symbol)) is not None]
    return [report_of_order(row, instrument) for row, instrument in known], len(rows) - len(known)


def read_open_ids(body: bytes) -> list[tuple[str, str]]:
    """(symbol, client id) of every order in an answer to `open_orders`, also of symbols that nobody knows."""
    return [(row.symbol, row.clientOrderId) for row in _decode_orders(body)]


def orders_from(instrument: Instrument, order_id: int) -> Request:
    """After a page of orders, open or over, with a venue's id ≥ `order_id`, in the order of their ids."""
    query: dict[str, object] = {"symbol": instrument.symbol, "orderId": order_id, "limit": PAGE}
    return Request("/api/v3/allOrders", query, ALL_ORDERS_WEIGHT)


def read_orders(body: bytes, instrument: Instrument) -> list[Report]:
    """The reports in the answer to `orders_from`."""
    return [report_of_order(row, instrument) for row in _decode_orders(body)]


def trades(instrument: Instrument, from_id: int, order_id: int = 0) -> Request:
    """After a page of own trades with an id ≥ `from_id`; of one order where its venue's id is named."""
    query: dict[str, object] = {"symbol": instrument.symbol, "fromId": from_id, "limit": PAGE}
    if not order_id:
        return Request("/api/v3/myTrades", query, TRADES_WEIGHT)
    return Request("/api/v3/myTrades", {**query, "orderId": order_id}, TRADES_WEIGHT_OF_ORDER)


def read_trades(body: bytes, instrument: Instrument) -> list[Fill]:
    """The fills in the answer to `trades`."""
    return [_fill_of(row, instrument) for row in _decode_trades(body)]


def _fill_of(trade: _Trade, instrument: Instrument) -> Fill:
    return Fill(
        trade.id, 1 if trade.isBuyer else -1,
        mantissa(trade.price, instrument.price_exponent), mantissa(trade.qty, instrument.quantity_exponent),
        *fee_of(trade.commission, trade.commissionAsset, trade.isMaker, to_ns(trade.time), trade.orderId),
    )  # fmt: skip


def balances() -> Request:
    """After what the account holds."""
    return Request("/api/v3/account", weight=ACCOUNT_WEIGHT)


def read_balances(body: bytes) -> list[Reported]:
    """Every asset of which the account has any, in the answer to `balances`."""
    rows = _decode_account(body).balances
    return [Reported(row.asset, row.free, row.locked) for row in rows if (row.free + row.locked).strip("0.")]


# What a spot account has none of.


def fitness() -> None:
    """No setting of a spot account makes it unfit for orders."""


def read_fitness(body: bytes) -> str:
    """Nothing was asked."""
    return ""


def positions() -> None:
    """A spot account has balances, and no positions."""


def read_positions(body: bytes, instrument_of: InstrumentOf) -> dict[str, int]:
    """Nothing was asked."""
    return {}


def fundings(since_ns: int, page: int) -> None:
    """Nothing is paid for what a spot account holds."""


def read_fundings(body: bytes, instrument_of: InstrumentOf) -> tuple[list[FundingPayment], int]:
    """Nothing was asked."""
    return [], 0
