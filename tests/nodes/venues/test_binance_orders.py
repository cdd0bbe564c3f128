"""Orders as Binance wants them, signed as its documents say, and its reports and errors read as what they prove."""

import json

import numpy as np
import pytest

from tests.support.captures import VECTORS, needs
from tickmesh.bus.schema import INTENT, Action, OrderType, Status, TimeInForce
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance_orders, binance_signing
from tickmesh.nodes.venues.binance_orders import read_user_event
from tickmesh.nodes.venues.order_venue import IntentError, Reported, UserEvent
from tickmesh.nodes.venues.parsing import decimals

BTC = Instrument(symbol="BTCUSDT")


@needs(VECTORS)
@pytest.mark.data
def test_signatures_are_those_of_the_venue_s_documentation():
    for vector in json.loads(VECTORS.read_text()):
        if vector["name"].startswith("binance"):
            assert binance_signing.hmac_signer(vector["secret"])(vector["payload"]) == vector["expected"], vector["name"]


def test_websocket_payloads_are_sorted_and_booleans_lower_case():
    params = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00",
    }  # fmt: skip
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    signed = binance_signing.signed_params(params, key, binance_signing.hmac_signer(secret), 1645423376532, 100)
    assert signed["signature"] == "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    other = {"apiKey": "key", "orderId": 28, "recvWindow": 10000, "returnRateLimits": False, "symbol": "BTCUSDT",
             "timestamp": 1795328476012}  # fmt: skip
    assert binance_signing.hmac_signer("secret")(binance_signing.ws_payload(other)).startswith("477e830413c441a0e45b")


def test_a_rest_query_is_encoded_before_it_is_signed():
    query = binance_signing.signed_query({"symbol": "１２３"}, binance_signing.hmac_signer("secret"), 1, 5000)
    payload, _, signature = query.rpartition("&signature=")
    assert payload == "symbol=%EF%BC%91%EF%BC%92%EF%BC%93&recvWindow=5000&timestamp=1"
    assert signature == binance_signing.hmac_signer("secret")(payload)


def intent(**values):
    record = np.zeros(1, INTENT)
    defaults = {"client_order_id": b"id-1", "action": Action.NEW, "side": 1, "order_type": OrderType.LIMIT,
                "time_in_force": TimeInForce.IOC, "price_ticks": 6183763000000, "quantity_lots": 100000}  # fmt: skip
    for name, value in {**defaults, **values}.items():
        record[name] = value
    return record[0]


def test_intents_become_requests_with_exact_numbers():
    method, params, _ = binance_orders.place(intent(), BTC)
    assert method == "order.place"
    assert params == {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.001", "price": "61837.63",
                      "timeInForce": "IOC", "newClientOrderId": "id-1", "newOrderRespType": "FULL"}  # fmt: skip
    _, params, _ = binance_orders.place(intent(order_type=OrderType.MARKET, side=-1, price_ticks=0), BTC)
    assert params["side"] == "SELL" and "price" not in params and "timeInForce" not in params
    _, params, _ = binance_orders.place(intent(order_type=OrderType.LIMIT_MAKER), BTC)
    assert "timeInForce" not in params and params["price"] == "61837.63"
    cancel = binance_orders.cancel("BTCUSDT", "id-0")
    assert cancel == ("order.cancel", {"symbol": "BTCUSDT", "origClientOrderId": "id-0"}, True)
    for name in ("side", "action", "order_type", "quantity_lots", "price_ticks", "time_in_force"):
        senseless = {name: 0}
        with pytest.raises(IntentError):
            binance_orders.place(intent(**senseless), BTC)


@pytest.mark.parametrize(
    "status,code,message,proves",
    [(400, -2010, "Account has insufficient balance for requested action.", True), (400, -1013, "Filter failure", True),
     (429, -1015, "Too many new orders", True), (400, -1021, "outside of the recvWindow", True),
     (400, -2010, "Duplicate order sent.", False), (503, -1007, "Timeout", False), (400, -1006, "", False),
     (500, 0, "<html>", False), (503, -1008, "overloaded", False), (400, -1001, "Internal error", False)],
)  # fmt: skip
def test_only_errors_that_prove_it_reject_an_order(status, code, message, proves):
    assert binance_orders.proves_nothing_done(status, code, message) is proves


REPORT = {"e": "executionReport", "E": 1, "s": "BTCUSDT", "c": "mine", "S": "SELL", "x": "TRADE", "X": "PARTIALLY_FILLED",
          "i": 9, "l": "0.50000000", "L": "100.00000000", "z": "0.75000000", "T": 1700000000000, "t": 77, "C": "", "r": "NONE",
          "n": "0.00010000", "N": "BNB", "m": True}  # fmt: skip


def private(**values):
    return read_user_event(json.dumps(REPORT | values).encode(), {"BTCUSDT": BTC}.get)


def test_an_execution_report_is_a_state_and_a_fill():
    report, balances, _, ended, _ = private()
    assert (report.client_order_id, report.status, report.filled_lots) == ("mine", Status.PartiallyFilled, 75_000_000)
    (fill,) = report.fills
    assert (fill.trade_id, fill.side, fill.price_ticks, fill.quantity_lots) == (77, -1, 10**10, 5 * 10**7)
    assert (fill.fee, fill.fee_asset, fill.maker) == (10_000, "BNB", True)
    assert not balances and not ended


def test_a_cancel_s_report_is_about_the_order_not_about_the_cancel():
    report, *_ = private(x="CANCELED", X="CANCELED", c="the-cancel", C="mine", t=-1, N=None, n="0")
    assert (report.client_order_id, report.status, report.fills) == ("mine", Status.Canceled, [])
    assert private(X="EXPIRED_IN_MATCH", x="EXPIRED", t=-1)[0].status == Status.Expired


def test_balances_and_the_end_of_the_stream():
    position = {"e": "outboundAccountPosition", "E": 1700000000000, "u": 1, "B": [{"a": "BTC", "f": "1.5", "l": "0.00000001"}]}
    moved = read_user_event(json.dumps(position).encode(), {}.get)
    assert moved == (None, (Reported("BTC", "1.5", "0.00000001"),), 1700000000000 * 10**6, False, False)
    assert read_user_event(b'{"e":"eventStreamTerminated","E":1}', {}.get).ended
    assert read_user_event(b'{"e":"balanceUpdate","E":1}', {}.get) == UserEvent()
    with pytest.raises(decimals.DecimalError, match="unknown"):
        private(X="SOMETHING_NEW")
