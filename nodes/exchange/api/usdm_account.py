"""What the local venue answers about the futures account: wallet, positions, leverage, incomes, its listenKey.

Pure: (venue, params, now_ms) → what becomes JSON. Sources: USD-M futures, "Account", "Trade" (positions, leverage),
"User Data Streams".
"""

from tickmesh.nodes.exchange.api.usdm_orders import times
from tickmesh.nodes.exchange.api.venue import UsdmVenue
from tickmesh.nodes.exchange.market.fees import PPM
from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames
from tickmesh.nodes.exchange.orders import margin
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.orders.margin import MarginUse
from tickmesh.nodes.exchange.orders.margin_records import MarginPosition
from tickmesh.nodes.exchange.orders.margin_reports import income_view
from tickmesh.nodes.exchange.protocol import UNIT, JsonObject, Params, VenueError, decimal_text

ZERO = decimal_text(0)
NOT_BUILT = VenueError(-4084, "Method is not allowed currently. Upcoming soon.")
QUARTER_MS = 92 * 86_400_000
INCOME_TYPES = ("COMMISSION", "REALIZED_PNL", "FUNDING_FEE")


def account_v2(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v2/account`: settings, wallets, and the position of every symbol."""
    settings = {
        "feeTier": 0, "feeBurn": False, "canTrade": True, "canDeposit": False, "canWithdraw": False, "updateTime": 0,
        "multiAssetsMargin": False, "tradeGroupId": -1,
    }  # fmt: skip
    return {
        **settings,
        **_account(venue, now_ms),
        "positions": [_account_row(venue, symbol, v2=True) for symbol in venue.markets],
    }


def account_v3(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v3/account`: wallets, and the symbols that have a position or open orders."""
    return {
        **_account(venue, now_ms),
        "positions": [_account_row(venue, s, v2=False) for s in venue.markets if _used(venue, s)],
    }


def account_configuration(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/accountConfig`: how the account is set: one-way mode and single-asset mode, always."""
    return {
        "feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True, "dualSidePosition": False, "updateTime": 0,
        "multiAssetsMargin": False, "tradeGroupId": -1,
    }  # fmt: skip


def balance(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v2/balance` and `/fapi/v3/balance`: the wallets."""
    return [
        {
            "accountAlias": "local", "asset": row["asset"], "balance": row["walletBalance"],
            "crossWalletBalance": row["crossWalletBalance"], "crossUnPnl": row["crossUnPnl"],
            "availableBalance": row["availableBalance"], "maxWithdrawAmount": row["maxWithdrawAmount"], "marginAvailable": True,
            "updateTime": now_ms,
        }
        for row in _assets(venue, now_ms)
    ]  # fmt: skip


def position_risk_v2(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v2/positionRisk`: the position of one symbol or of all, with its leverage."""
    return [
        {
            **_position(venue, symbol), "marginType": "cross", "isAutoAddMargin": "false",
            "leverage": str(venue.desk.leverage_of(symbol)), "liquidationPrice": "0",
            "maxNotionalValue": str(margin.notional_max(venue.desk.leverage_of(symbol)) // UNIT),
        }
        for symbol in _symbols(venue, params)
    ]  # fmt: skip


def position_risk_v3(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v3/positionRisk`: the symbols that have a position or open orders, with what they take of the account."""
    rows = []
    for symbol in _symbols(venue, params):
        if _used(venue, symbol):
            use = venue.desk.use_of(symbol)
            more = {
                "liquidationPrice": "0", "marginAsset": venue.markets[symbol].spec.quote, "adl": 0,
                "bidNotional": decimal_text(use.bid_notional), "askNotional": decimal_text(use.ask_notional), **_margins(use),
            }  # fmt: skip
            rows.append({**_position(venue, symbol), **more})
    return rows


def position_mode(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/positionSide/dual`: one-way mode, always."""
    return {"dualSidePosition": False}


def set_position_mode(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`POST /fapi/v1/positionSide/dual`: hedge mode is not built."""
    params.text("dualSidePosition")
    if not params.flag("dualSidePosition"):
        raise VenueError(-4059, "No need to change position side.")
    if venue.desk.orders.open:
        raise VenueError(-4067, "Position side cannot be changed if there exists open orders.")
    if any(venue.desk.accounts.position(OWNER, symbol).amount for symbol in venue.markets):
        raise VenueError(-4068, "Position side cannot be changed if there exists position.")
    raise NOT_BUILT


def assets_mode(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/multiAssetsMargin`: single-asset mode, always."""
    return {"multiAssetsMargin": False}


def set_margin_type(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`POST /fapi/v1/marginType`: isolated margin is not built."""
    symbol = venue.market(params).spec.symbol
    wanted = params.choice("marginType", ("ISOLATED", "CROSSED"), -1130, "Data sent for parameter 'marginType' is not valid.")
    if wanted == "CROSSED":
        raise VenueError(-4046, "No need to change margin type.")
    if venue.desk.orders.open_of(symbol):
        raise VenueError(-4047, "Margin type cannot be changed if there exists open orders.")
    if venue.desk.accounts.position(OWNER, symbol).amount:
        raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
    raise NOT_BUILT


def set_leverage(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`POST /fapi/v1/leverage`: changes the leverage of a symbol."""
    symbol, leverage = venue.market(params).spec.symbol, params.integer("leverage")
    if not 1 <= leverage <= margin.LEVERAGE_MAX:
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    venue.desk.set_leverage(symbol, leverage, now_ms)
    return {"leverage": leverage, "maxNotionalValue": str(margin.notional_max(leverage) // UNIT), "symbol": symbol}


def leverage_brackets(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/leverageBracket`: how large a position may be at which leverage; the same table for every symbol."""
    floors = [0, *(bracket.cap // UNIT for bracket in margin.BRACKETS)]
    rows = [
        {
            "bracket": number, "initialLeverage": one.leverage, "notionalCap": one.cap // UNIT, "notionalFloor": floor,
            "maintMarginRatio": one.maintenance_ppm / PPM, "cum": float(one.deducted // UNIT),
        }
        for number, (one, floor) in enumerate(zip(margin.BRACKETS, floors), 1)
    ]  # fmt: skip
    return [{"symbol": symbol, "notionalCoef": 1.0, "brackets": rows} for symbol in _symbols(venue, params)]


def commission_rate(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`GET /fapi/v1/commissionRate`: the fee rates of a symbol."""
    fees = venue.desk.fees
    maker, taker = (decimal_text(ppm * UNIT // PPM)[:-2] for ppm in fees)
    return {"symbol": venue.market(params).spec.symbol, "makerCommissionRate": maker, "takerCommissionRate": taker}


def income(venue: UsdmVenue, params: Params, now_ms: int) -> list[JsonObject]:
    """`GET /fapi/v1/income`: changes of the wallet, oldest first; from startTime on, else the newest."""
    limit, page = min(params.integer("limit", 100, low=1), 1000), params.integer("page", 1, low=1)
    start, end = times(params, QUARTER_MS)
    kind = params.text("incomeType", "")
    symbol = venue.market(params).spec.symbol if "symbol" in params else None
    rows = [
        row for row in venue.desk.state.incomes
        if kind in ("", row.kind) and symbol in (None, row.symbol)
        and (start is None or row.time >= start) and (end is None or row.time <= end)
    ]  # fmt: skip
    first = (page - 1) * limit
    if start is None:
        last = len(rows) - first
        return [income_view(row) for row in rows[max(last - limit, 0) : max(last, 0)]]
    return [income_view(row) for row in rows[first : first + limit]]


def start_stream(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`POST /fapi/v1/listenKey`: the key of the account's events, valid for its whole life from now on."""
    return {"listenKey": venue.desk.state.listen_key.ask(now_ms)}


def keep_stream(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`PUT /fapi/v1/listenKey`: prolongs the key's life. VenueError −1125 when there is none."""
    return {"listenKey": venue.desk.state.listen_key.keep_alive(now_ms)}


def close_stream(venue: UsdmVenue, params: Params, now_ms: int) -> JsonObject:
    """`DELETE /fapi/v1/listenKey`: ends the key; its connections stay, and hear nothing more."""
    venue.desk.state.listen_key.close()
    return {}


# ---- inside


def _symbols(venue: UsdmVenue, params: Params) -> list[str]:
    return [venue.market(params).spec.symbol] if "symbol" in params else list(venue.markets)


def _used(venue: UsdmVenue, symbol: str) -> bool:
    return bool(venue.desk.accounts.position(OWNER, symbol).amount or venue.desk.orders.open_of(symbol))


def _position(venue: UsdmVenue, symbol: str) -> JsonObject:
    """What both versions of positionRisk say of a symbol."""
    position, use = venue.desk.accounts.position(OWNER, symbol), venue.desk.use_of(symbol)
    return {
        "symbol": symbol, "positionSide": "BOTH", "positionAmt": _amount(venue, symbol, position),
        "entryPrice": decimal_text(position.entry_price), "breakEvenPrice": decimal_text(position.entry_price),
        "markPrice": decimal_text(venue.desk.mark_of(symbol)), "unRealizedProfit": decimal_text(use.unrealised),
        "isolatedMargin": "0", "isolatedWallet": "0", "notional": decimal_text(use.notional),
        "updateTime": position.update_time,
    }  # fmt: skip


def _account_row(venue: UsdmVenue, symbol: str, v2: bool) -> JsonObject:
    position, use = venue.desk.accounts.position(OWNER, symbol), venue.desk.use_of(symbol)
    row: JsonObject = {
        "symbol": symbol, "positionSide": "BOTH", "positionAmt": _amount(venue, symbol, position),
        "unrealizedProfit": decimal_text(use.unrealised), "notional": decimal_text(use.notional), "isolatedWallet": "0",
        **_margins(use), "updateTime": position.update_time,
    }  # fmt: skip
    if not v2:
        return {**row, "isolatedMargin": "0"}
    leverage = venue.desk.leverage_of(symbol)
    return {
        **row, "leverage": str(leverage), "isolated": False, "entryPrice": decimal_text(position.entry_price),
        "breakEvenPrice": decimal_text(position.entry_price), "maxNotional": str(margin.notional_max(leverage) // UNIT),
        "bidNotional": decimal_text(use.bid_notional), "askNotional": decimal_text(use.ask_notional),
    }  # fmt: skip


def _amount(venue: UsdmVenue, symbol: str, position: MarginPosition) -> str:
    return UsdmFrames(venue.markets[symbol].spec).quantity(position.amount)


def _margins(use: MarginUse) -> JsonObject:
    return {
        "initialMargin": decimal_text(use.initial_margin), "maintMargin": decimal_text(use.maintenance),
        "positionInitialMargin": decimal_text(use.position_margin), "openOrderInitialMargin": decimal_text(use.order_margin),
    }  # fmt: skip


def _assets(venue: UsdmVenue, now_ms: int) -> list[JsonObject]:
    rows: list[JsonObject] = []
    for asset in venue.desk.accounts.deposited:
        uses = [venue.desk.use_of(symbol) for symbol, market in venue.markets.items() if market.spec.quote == asset]
        wallet, unrealised = venue.desk.accounts.wallet(OWNER, asset), sum(use.unrealised for use in uses)
        total = MarginUse(
            0, unrealised, sum(use.position_margin for use in uses), sum(use.order_margin for use in uses),
            sum(use.maintenance for use in uses), 0, 0,
        )  # fmt: skip
        free = max(venue.desk.available(asset), 0)
        rows.append({
            "asset": asset, "walletBalance": decimal_text(wallet), "unrealizedProfit": decimal_text(unrealised),
            "marginBalance": decimal_text(wallet + unrealised), **_margins(total), "crossWalletBalance": decimal_text(wallet),
            "crossUnPnl": decimal_text(unrealised), "availableBalance": decimal_text(free),
            "maxWithdrawAmount": decimal_text(max(min(free, wallet), 0)), "marginAvailable": True, "updateTime": now_ms,
        })  # fmt: skip
    return rows


def _account(venue: UsdmVenue, now_ms: int) -> JsonObject:
    """The totals, which are of USDT alone in single-asset mode, and the wallets."""
    assets = _assets(venue, now_ms)
    usdt = next((row for row in assets if row["asset"] == "USDT"), {})
    names = {
        "totalInitialMargin": "initialMargin", "totalMaintMargin": "maintMargin", "totalWalletBalance": "walletBalance",
        "totalUnrealizedProfit": "unrealizedProfit", "totalMarginBalance": "marginBalance",
        "totalPositionInitialMargin": "positionInitialMargin", "totalOpenOrderInitialMargin": "openOrderInitialMargin",
        "totalCrossWalletBalance": "crossWalletBalance", "totalCrossUnPnl": "crossUnPnl",
        "availableBalance": "availableBalance", "maxWithdrawAmount": "maxWithdrawAmount",
    }  # fmt: skip
    return {**{name: usdt.get(field, ZERO) for name, field in names.items()}, "assets": assets}
