"""The operations of USD-M futures: which name, over REST or the WS-API, is which answer; api.py has spot's. Pure.

Weights and parameters: USD-M futures, the page of each endpoint (2026). New orders and amends weigh nothing; they count as
orders.
"""

from tickmesh.nodes.exchange.api import market_answers as market
from tickmesh.nodes.exchange.api import usdm_account as account
from tickmesh.nodes.exchange.api import usdm_answers as usdm
from tickmesh.nodes.exchange.api import usdm_marks as marks
from tickmesh.nodes.exchange.api import usdm_orders as orders
from tickmesh.nodes.exchange.api.operation import Operation
from tickmesh.nodes.exchange.api.parameters import takes
from tickmesh.nodes.exchange.protocol import Params


def _open_weight(params: Params) -> int:
    return 1 if "symbol" in params else 40


_ONE = takes("symbol! orderId origClientOrderId")
_DEPTH = Operation(usdm.depth, takes=takes("symbol! limit"), weigh=usdm.depth_weight)
_PLACE = Operation(
    orders.place, 0, takes("symbol! side! type! positionSide timeInForce quantity reduceOnly price newClientOrderId stopPrice "
    "closePosition activationPrice callbackRate workingType priceProtect newOrderRespType priceMatch selfTradePreventionMode "
    "goodTillDate"), True, order=True,
)  # fmt: skip
_MODIFY = Operation(
    orders.modify, 0, takes("symbol! side! quantity! price! orderId origClientOrderId positionSide origType priceMatch"), True,
    order=True,
)  # fmt: skip
_CANCEL = Operation(orders.cancel, 1, _ONE, True)
_STATUS = Operation(orders.order_status, 1, _ONE, True)
_OF_STREAM = takes("listenKey timestamp recvWindow signature")
_START, _KEEP, _CLOSE = (
    Operation(call, 1, _OF_STREAM, keyed=True) for call in (account.start_stream, account.keep_stream, account.close_stream)
)
_ACCOUNT_V2, _ACCOUNT_V3 = (Operation(call, 5, signed=True) for call in (account.account_v2, account.account_v3))
_BALANCE = Operation(account.balance, 5, signed=True)
_RISK_V2, _RISK_V3 = (
    Operation(call, 5, takes("symbol"), True) for call in (account.position_risk_v2, account.position_risk_v3)
)
USDM_REST: dict[tuple[str, str], Operation] = {
    ("GET", "/fapi/v1/ping"): Operation(market.ping),
    ("GET", "/fapi/v1/time"): Operation(market.time),
    ("GET", "/fapi/v1/exchangeInfo"): Operation(usdm.exchange_info),
    ("GET", "/fapi/v1/depth"): _DEPTH,
    ("GET", "/fapi/v1/trades"): Operation(usdm.trades, 5, takes("symbol! limit")),
    ("GET", "/fapi/v1/historicalTrades"): Operation(usdm.historical_trades, 200, takes("symbol! limit fromId")),
    ("GET", "/fapi/v1/aggTrades"): Operation(usdm.aggregate_trades, 20, takes("symbol! fromId startTime endTime limit")),
    ("GET", "/fapi/v1/premiumIndex"): Operation(marks.premium_index, takes=takes("symbol"), weigh=marks.premium_index_weight),
    ("GET", "/fapi/v1/fundingRate"): Operation(marks.funding_rates, 1, takes("symbol startTime endTime limit")),
    ("GET", "/fapi/v1/fundingInfo"): Operation(marks.funding_info, 1),
    ("POST", "/fapi/v1/order"): _PLACE,
    ("PUT", "/fapi/v1/order"): _MODIFY,
    ("DELETE", "/fapi/v1/order"): _CANCEL,
    ("GET", "/fapi/v1/order"): _STATUS,
    ("GET", "/fapi/v1/openOrder"): Operation(orders.open_order, 1, _ONE, True),
    ("GET", "/fapi/v1/openOrders"): Operation(orders.open_orders, 1, takes("symbol"), True, weigh=_open_weight),
    ("DELETE", "/fapi/v1/allOpenOrders"): Operation(orders.cancel_all, 1, takes("symbol!"), True),
    ("GET", "/fapi/v1/allOrders"): Operation(orders.all_orders, 5, takes("symbol! orderId startTime endTime limit"), True),
    ("GET", "/fapi/v1/userTrades"): Operation(
        orders.user_trades, 5, takes("symbol! orderId startTime endTime fromId limit"), True
    ),
    ("GET", "/fapi/v2/account"): _ACCOUNT_V2,
    ("GET", "/fapi/v3/account"): _ACCOUNT_V3,
    ("GET", "/fapi/v2/balance"): _BALANCE,
    ("GET", "/fapi/v3/balance"): _BALANCE,
    ("GET", "/fapi/v2/positionRisk"): _RISK_V2,
    ("GET", "/fapi/v3/positionRisk"): _RISK_V3,
    ("GET", "/fapi/v1/accountConfig"): Operation(account.account_configuration, 5, signed=True),
    ("GET", "/fapi/v1/positionSide/dual"): Operation(account.position_mode, 30, signed=True),
    ("POST", "/fapi/v1/positionSide/dual"): Operation(account.set_position_mode, 1, takes("dualSidePosition!"), True),
    ("GET", "/fapi/v1/multiAssetsMargin"): Operation(account.assets_mode, 30, signed=True),
    ("POST", "/fapi/v1/marginType"): Operation(account.set_margin_type, 1, takes("symbol! marginType!"), True),
    ("POST", "/fapi/v1/leverage"): Operation(account.set_leverage, 1, takes("symbol! leverage!"), True),
    ("GET", "/fapi/v1/leverageBracket"): Operation(account.leverage_brackets, 1, takes("symbol"), True),
    ("GET", "/fapi/v1/commissionRate"): Operation(account.commission_rate, 20, takes("symbol!"), True),
    ("GET", "/fapi/v1/income"): Operation(account.income, 30, takes("symbol incomeType startTime endTime page limit"), True),
    ("POST", "/fapi/v1/listenKey"): _START,
    ("PUT", "/fapi/v1/listenKey"): _KEEP,
    ("DELETE", "/fapi/v1/listenKey"): _CLOSE,
}
USDM_WS: dict[str, Operation] = {
    "depth": _DEPTH,
    "order.place": _PLACE,
    "order.modify": _MODIFY,
    "order.cancel": _CANCEL,
    "order.status": _STATUS,
    "account.status": _ACCOUNT_V2,
    "v2/account.status": _ACCOUNT_V3,
    "account.balance": _BALANCE,
    "v2/account.balance": _BALANCE,
    "account.position": _RISK_V2,
    "v2/account.position": _RISK_V3,
    "userDataStream.start": _START,
    "userDataStream.ping": _KEEP,
    "userDataStream.stop": _CLOSE,
}
