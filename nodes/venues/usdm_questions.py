"""Binance USD-M futures, what a session asks over REST about its account: requests with their weights, answers read. Sans I/O.

Protocol: USD-M futures API, "Trade" (orders, trades, positions), "Account" (balance, configuration, income); weights: the
page of each endpoint.
"""

from collections.abc import Sequence

import msgspec

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.binance import to_ns
from tickmesh.nodes.venues.binance_orders import fee_of
from tickmesh.nodes.venues.binance_questions import read_open_ids as read_open_ids
from tickmesh.nodes.venues.binance_questions import read_open_orders as read_open_orders
from tickmesh.nodes.venues.binance_questions import read_order as read_order
from tickmesh.nodes.venues.binance_questions import read_orders as read_orders
from tickmesh.nodes.venues.binance_questions import signed_query as signed_query
from tickmesh.nodes.venues.binance_ws_api import CANCEL_REJECTED as CANCEL_REJECTED
from tickmesh.nodes.venues.binance_ws_api import NO_SUCH_ORDER as NO_SUCH_ORDER
from tickmesh.nodes.venues.binance_ws_api import NO_SUCH_SYMBOL as NO_SUCH_SYMBOL
from tickmesh.nodes.venues.order_venue import Fill, FundingPayment, InstrumentOf, Reported
from tickmesh.nodes.venues.parsing.decimals import mantissa
from tickmesh.nodes.venues.parsing.dialect import Request

PAGE = 1000  # the venue's largest, also of incomes
ORDER_WEIGHT = 1
OPEN_WEIGHT, OPEN_WEIGHT_ALL = 1, 40  # of one symbol; of the whole account
ALL_ORDERS_WEIGHT = TRADES_WEIGHT = 5
BALANCE_WEIGHT = POSITIONS_WEIGHT = 5
INCOME_WEIGHT = 30
CONFIGURATION_WEIGHT = 5


class _Trade(msgspec.Struct):
    """A row of `GET /fapi/v1/userTrades`: one side of a trade of ours."""

    id: int
    orderId: int  # noqa: N815
    price: str
    qty: str
    commission: str
    commissionAsset: str  # noqa: N815
    time: int
    buyer: bool
    maker: bool


class _Balance(msgspec.Struct):
    """The wallet of one asset in the answer to `GET /fapi/v3/balance`."""

    asset: str
    balance: str


class _Position(msgspec.Struct):
    """A row of `GET /fapi/v3/positionRisk`."""

    symbol: str
    positionAmt: str  # noqa: N815


class _Income(msgspec.Struct):
    """A row of `GET /fapi/v1/income`."""

    symbol: str
    income: str
    asset: str
    time: int
    tranId: int  # noqa: N815


class _Configuration(msgspec.Struct):
    """The answer to `GET /fapi/v1/accountConfig`: whether the account may trade, its position mode, its assets mode."""

    canTrade: bool  # noqa: N815
    dualSidePosition: bool  # noqa: N815
    multiAssetsMargin: bool  # noqa: N815


_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_balances = msgspec.json.Decoder(list[_Balance]).decode
_decode_positions = msgspec.json.Decoder(list[_Position]).decode
_decode_incomes = msgspec.json.Decoder(list[_Income]).decode
_decode_configuration = msgspec.json.Decoder(_Configuration).decode


def order(instrument: Instrument, client_order_id: str) -> Request:
    """After one order."""
    return Request("/fapi/v1/order", {"symbol": instrument.symbol, "origClientOrderId": client_order_id}, ORDER_WEIGHT)


def open_orders_weight(instruments: int) -> int:
    """What the open orders of so many instruments cost: one by one, or all of the account at once."""
    return min(instruments * OPEN_WEIGHT, OPEN_WEIGHT_ALL)


def open_orders(instruments: Sequence[Instrument]) -> list[Request]:
    """After the open orders of these instruments, or of the whole account where that costs less, or none are named."""
    if not instruments or open_orders_weight(len(instruments)) == OPEN_WEIGHT_ALL:
        return [Request("/fapi/v1/openOrders", weight=OPEN_WEIGHT_ALL)]
    return [Request("/fapi/v1/openOrders", {"symbol": one.symbol}, OPEN_WEIGHT) for one in instruments]


def orders_from(instrument: Instrument, order_id: int) -> Request:
    """After a page of orders, open or over, with a venue's id ≥ `order_id`, in the order of their ids."""
    return Request("/fapi/v1/allOrders", {"symbol": instrument.symbol, "orderId": order_id, "limit": PAGE}, ALL_ORDERS_WEIGHT)


def trades(instrument: Instrument, from_id: int, order_id: int = 0) -> Request:
    """After a page of own trades with an id ≥ `from_id`; of one order where its venue's id is named."""
    query: dict[str, object] = {"symbol": instrument.symbol, "fromId": from_id, "limit": PAGE}
    return Request("/fapi/v1/userTrades", {**query, "orderId": order_id} if order_id else query, TRADES_WEIGHT)


def read_trades(body: bytes, instrument: Instrument) -> list[Fill]:
    """The fills in the answer to `trades`."""
    return [
        Fill(
            row.id, 1 if row.buyer else -1,
            mantissa(row.price, instrument.price_exponent), mantissa(row.qty, instrument.quantity_exponent),
            *fee_of(row.commission, row.commissionAsset, row.maker, to_ns(row.time), row.orderId),
        )
        for row in _decode_trades(body)
    ]  # fmt: skip


def balances() -> Request:
    """After what the wallets hold."""
    return Request("/fapi/v3/balance", weight=BALANCE_WEIGHT)


def read_balances(body: bytes) -> list[Reported]:
    """Every wallet that has anything, in the answer to `balances`: free in full, as in the events of the account."""
    return [Reported(row.asset, row.balance, "0") for row in _decode_balances(body) if row.balance.strip("0.")]


def fitness() -> Request:
    """After how the account is set."""
    return Request("/fapi/v1/accountConfig", weight=CONFIGURATION_WEIGHT)


def read_fitness(body: bytes) -> str:
    """Why no orders can be sent as the account is set, a sentence; "" where they can."""
    account = _decode_configuration(body)
    if not account.canTrade:
        return "the futures account may not trade (canTrade): look at the venue for why, and open it there"
    if account.dualSidePosition:
        return (
            "the account is in hedge mode (dualSidePosition), where an instrument has two positions; orders are sent in "
            "one-way mode only: close all positions and orders, and switch the position mode at the venue"
        )
    if account.multiAssetsMargin:
        return (
            "the account is in multi-assets mode (multiAssetsMargin), where every asset stands for the losses of all, and no "
            "limit in one currency bounds them; orders are sent in single-asset mode only: switch the assets mode at the venue"
        )
    return ""


def positions() -> Request:
    """After the positions."""
    return Request("/fapi/v3/positionRisk", weight=POSITIONS_WEIGHT)


def read_positions(body: bytes, instrument_of: InstrumentOf) -> dict[str, int]:
    """The positions in the answer to `positions`: subject → lots, + is long; none of an instrument that is not known."""
    found = {}
    for row in _decode_positions(body):
        if (instrument := instrument_of(row.symbol)) is not None:
            size = mantissa(row.positionAmt.removeprefix("-"), instrument.quantity_exponent)
            found[instrument.subject] = -size if row.positionAmt.startswith("-") else size
    return found


def fundings(since_ns: int, page: int) -> Request:
    """After a page (1, 2, …) of fundings from a time of the venue on, oldest first."""
    query: dict[str, object] = {"incomeType": "FUNDING_FEE", "startTime": since_ns // 1_000_000, "limit": PAGE, "page": page}
    return Request("/fapi/v1/income", query, INCOME_WEIGHT)


def read_fundings(body: bytes, instrument_of: InstrumentOf) -> tuple[list[FundingPayment], int]:
    """The fundings of known instruments in the answer to `fundings`; how many rows it has."""
    rows = _decode_incomes(body)
    known = [(row, instrument) for row in rows if (instrument := instrument_of(row.symbol)) is not None]
    return [FundingPayment(one.subject, row.asset, row.income, row.tranId, to_ns(row.time)) for row, one in known], len(rows)
