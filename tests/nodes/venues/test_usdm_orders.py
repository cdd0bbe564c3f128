"""Orders of USD-M futures as the venue wants them, and its events, answers and refusals read as what they prove."""

import json

import msgspec
import numpy as np
import pytest

from tickmesh.bus.schema import INTENT, Action, OrderType, Status, TimeInForce
from tickmesh.bus.settings import ORDER_VENUES, Instrument
from tickmesh.nodes.venues import binance_orders, usdm_orders, usdm_questions
from tickmesh.nodes.venues.order_venue import AnswerError, FundingPayment, IntentError, OrderTerms, Reported, Trouble
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.table import DIALECTS

BTC = Instrument(symbol="BTCUSDT", venue="binance_usdm", price_exponent=-2, quantity_exponent=-3)
KNOWN = {"BTCUSDT": BTC}.get


def intent(**values):
    record = np.zeros(1, INTENT)
    defaults = {"client_order_id": b"id-1", "action": Action.NEW, "side": -1, "order_type": OrderType.LIMIT,
                "time_in_force": TimeInForce.GTC, "price_ticks": 6183760, "quantity_lots": 12}  # fmt: skip
    for name, value in {**defaults, **values}.items():
        record[name] = value
    return record[0]


def test_every_venue_that_orders_can_be_sent_to_has_its_modules():
    assert set(DIALECTS) == set(ORDER_VENUES)


def test_a_post_only_order_is_one_that_is_good_till_crossing_and_comes_back_as_post_only():
    method, params, signed = usdm_orders.place(intent(order_type=OrderType.LIMIT_MAKER), BTC)
    assert method == "order.place" and signed
    assert params == {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTX", "quantity": "0.012",
                      "price": "61837.6", "newClientOrderId": "id-1", "newOrderRespType": "ACK"}  # fmt: skip
    answer = {"orderId": 5, "symbol": "BTCUSDT", "clientOrderId": "id-1", "status": "NEW", "side": "SELL", "type": "LIMIT",
              "timeInForce": "GTX", "price": "61837.60", "origQty": "0.012", "executedQty": "0.000",
              "updateTime": 7}  # fmt: skip
    report = usdm_orders.report_of_answer(json.dumps(answer).encode(), BTC, "id-1")
    assert report.terms == OrderTerms(-1, OrderType.LIMIT_MAKER, TimeInForce.GTC, 6183760, 12)
    assert (report.status, report.order_id, report.fills, report.venue_ns) == (Status.New, 5, [], 7 * 10**6)
    assert usdm_orders.place(intent(), BTC).params["timeInForce"] == "GTC"
    with pytest.raises(IntentError, match="loses its place"):
        usdm_orders.amend(BTC, "id-1", 5)


def test_an_order_that_only_closes_says_so_and_on_spot_there_is_no_such_thing():
    for order in (intent(reduce_only=1), intent(reduce_only=1, order_type=OrderType.MARKET)):
        assert usdm_orders.place(order, BTC).params["reduceOnly"] == "true"
        assert "reduceOnly" not in binance_orders.place(order, BTC).params
    assert "reduceOnly" not in usdm_orders.place(intent(), BTC).params


ORDER = {"s": "BTCUSDT", "c": "mine", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "0.012", "p": "61000.10", "x": "TRADE",
         "X": "PARTIALLY_FILLED", "i": 9, "l": "0.005", "z": "0.007", "L": "61000.10", "n": "0.06100000", "N": "USDT",
         "T": 1_700_000_000_000, "t": 77, "m": True, "R": False, "ps": "BOTH", "rp": "0", "er": "0"}  # fmt: skip


def test_an_order_update_is_a_state_and_a_fill_whose_fee_is_of_its_asset():
    event = {"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": ORDER}
    report = usdm_orders.read_user_event(json.dumps(event).encode(), KNOWN).report
    assert (report.client_order_id, report.order_id, report.status, report.filled_lots) == (
        "mine",
        9,
        Status.PartiallyFilled,
        7,
    )
    (fill,) = report.fills
    assert (fill.trade_id, fill.side, fill.price_ticks, fill.quantity_lots) == (77, 1, 6100010, 5)
    assert (fill.fee, fill.fee_asset, fill.maker) == (6_100_000, "USDT", True)
    event["o"] = ORDER | {"x": "CANCELED", "X": "CANCELED", "t": 0, "l": "0"}
    report = usdm_orders.read_user_event(json.dumps(event).encode(), KNOWN).report
    assert (report.client_order_id, report.status, report.fills) == ("mine", Status.Canceled, [])
    assert usdm_orders.read_user_event(json.dumps(event).encode(), {}.get).report is None


def test_a_wallet_that_changed_is_free_in_full_and_a_funding_is_to_be_asked_for():
    update = {
        "e": "ACCOUNT_UPDATE",
        "E": 2,
        "T": 3,
        "a": {"m": "ORDER", "B": [{"a": "USDT", "wb": "99.5", "cw": "99.5"}], "P": []},
    }
    read = usdm_orders.read_user_event(json.dumps(update).encode(), KNOWN)
    assert (read.balances, read.venue_ns, read.funding, read.ended) == (
        (Reported("USDT", "99.5", "0"),),
        3 * 10**6,
        False,
        False,
    )
    update["a"]["m"] = "FUNDING_FEE"
    assert usdm_orders.read_user_event(json.dumps(update).encode(), KNOWN).funding
    assert usdm_orders.read_user_event(b'{"e":"listenKeyExpired","E":1,"listenKey":"k"}', KNOWN).ended
    quiet = usdm_orders.read_user_event(b'{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{"s":"BTCUSDT","l":5}}', KNOWN)
    assert quiet == (None, (), 0, False, False)
    with pytest.raises(msgspec.DecodeError):
        usdm_orders.read_user_event(b"[]", KNOWN)


def test_user_events_have_a_websocket_of_their_own_by_a_key_that_is_asked_for_unsigned():
    class Key:
        api_key, sign = "public", "never called"

    message = json.loads(usdm_orders.encode(usdm_orders.open_stream(), "1", Key, 5, 6))
    assert message == {"id": "1", "method": "userDataStream.start", "params": {"apiKey": "public"}}
    assert usdm_orders.stream_path(b'{"listenKey":"abc"}') == "/private/ws?listenKey=abc"
    with pytest.raises(AnswerError, match="no listenKey"):
        usdm_orders.stream_path(b"{}")


@pytest.mark.parametrize(
    "status,code,proves",
    [(400, -2019, True), (400, -4164, True), (400, -5022, True), (429, -1015, True), (400, -4116, False), (503, -1008, False),
     (408, -1007, False), (500, 0, False)],
)  # fmt: skip
def test_only_refusals_that_prove_it_reject_an_order(status, code, proves):
    assert usdm_orders.proves_nothing_done(status, code, "") is proves


@pytest.mark.parametrize(
    "status,code,words,about",
    [(400, -2019, "Margin is insufficient.", Trouble.BALANCE),
     (400, -2022, "", Trouble.POSITION), (400, -4061, "", Trouble.PERMISSION),
     (400, -4141, "Symbol is closed.", Trouble.HALTED), (400, -4164, "", Trouble.FILTER), (401, -2015, "", Trouble.PERMISSION),
     (400, -5022, "", None)],
)  # fmt: skip
def test_what_the_next_order_would_meet_too(status, code, words, about):
    assert usdm_orders.trouble(status, code, words) is about


def test_answers_about_the_account_are_read_with_their_signs():
    rows = [{"symbol": "BTCUSDT", "positionAmt": "-0.012", "entryPrice": "1"}, {"symbol": "XUSDT", "positionAmt": "5"}]
    assert usdm_questions.read_positions(json.dumps(rows).encode(), KNOWN) == {"binance_usdm.BTCUSDT": -12}
    incomes = [{"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-0.01", "asset": "USDT", "time": 5, "tranId": 8},
               {"symbol": "", "incomeType": "FUNDING_FEE", "income": "1", "asset": "USDT", "time": 5, "tranId": 9}]  # fmt: skip
    payments, count = usdm_questions.read_fundings(json.dumps(incomes).encode(), KNOWN)
    assert payments == [FundingPayment("binance_usdm.BTCUSDT", "USDT", "-0.01", 8, 5 * 10**6)] and count == 2
    fit = {"canTrade": True, "canWithdraw": True, "dualSidePosition": False, "multiAssetsMargin": False}
    assert usdm_questions.read_fitness(json.dumps(fit).encode()) == "", "canWithdraw is of the account: every account may"
    for name in ("canTrade", "dualSidePosition", "multiAssetsMargin"):
        assert name in usdm_questions.read_fitness(json.dumps(fit | {name: not fit[name]}).encode())
        with pytest.raises(msgspec.ValidationError):  # what the venue does not say is not assumed
            usdm_questions.read_fitness(json.dumps({key: fit[key] for key in fit if key != name}).encode())
    wallets = [{"asset": "USDT", "balance": "5.0"}, {"asset": "BNB", "balance": "0.00000000"}]
    assert usdm_questions.read_balances(json.dumps(wallets).encode()) == [Reported("USDT", "5.0", "0")]
    with pytest.raises(DecimalError):
        usdm_questions.read_positions(b'[{"symbol":"BTCUSDT","positionAmt":"0.0001"}]', KNOWN)
