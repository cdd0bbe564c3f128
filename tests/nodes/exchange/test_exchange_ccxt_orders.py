"""ccxt places stops, trailing stops and order lists at the local exchange, with either kind of key."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.exchange_ccxt import SYMBOL, AsInProduction, ccxt, settings, start, stop

ED25519 = 'lines = 0\ned25519_public_key = "public.pem"\ned25519_api_key = "ed-key"\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(address of a running exchange, PEM of the private half of its Ed25519 key)."""
    folder = tmp_path_factory.mktemp("venue")
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    child, base = start(folder, ED25519)
    yield base, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    stop(child)


@pytest.fixture(params=["hmac", "ed25519"])
def venue(request, place):
    """A ccxt client with one kind of key."""
    base, private = place
    key = {"apiKey": "ed-key", "secret": private} if request.param == "ed25519" else {}
    return AsInProduction(settings(base) | key)


def last_price(venue) -> float:
    """The price of the newest trade, once there is one."""
    while True:
        if price := venue.fetch_ticker(SYMBOL)["last"]:
            return price
        time.sleep(0.05)


def test_stops_wait_and_are_cancelled_and_one_that_would_be_triggered_is_refused(venue):
    last = last_price(venue)
    low, high = round(last * 0.9, 2), round(last * 1.1, 2)
    loss = venue.create_order(SYMBOL, "limit", "sell", 0.01, low, {"stopLossPrice": low})
    profit = venue.create_order(SYMBOL, "market", "sell", 0.01, None, {"takeProfitPrice": high})
    trailing = venue.create_order(
        SYMBOL, "limit", "sell", 0.01, low, {"trailingPercent": 5, "stopLossOrTakeProfit": "stopLoss"}
    )
    for order, kind in ((loss, "STOP_LOSS_LIMIT"), (profit, "TAKE_PROFIT"), (trailing, "STOP_LOSS_LIMIT")):
        seen = venue.fetch_order(order["id"], SYMBOL)
        assert (seen["info"]["type"], seen["status"], seen["info"]["isWorking"]) == (kind, "open", False)
    assert venue.fetch_order(loss["id"], SYMBOL)["triggerPrice"] == low
    assert venue.fetch_order(trailing["id"], SYMBOL)["info"]["trailingDelta"] == 500
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        venue.create_order(SYMBOL, "market", "sell", 0.01, None, {"stopLossPrice": high})
    assert len(venue.cancel_all_orders(SYMBOL)) == 3


def test_an_order_list_is_placed_seen_and_cancelled_with_its_orders(venue):
    last = last_price(venue)
    made = venue.privatePostOrderListOco({
        "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01", "aboveType": "LIMIT_MAKER", "abovePrice": f"{last * 1.1:.2f}",
        "belowType": "STOP_LOSS", "belowStopPrice": f"{last * 0.9:.2f}",
    })  # fmt: skip
    assert {order["id"] for order in venue.fetch_open_orders(SYMBOL)} == {str(row["orderId"]) for row in made["orders"]}
    venue.cancel_order(made["orders"][0]["orderId"], SYMBOL)
    assert venue.fetch_open_orders(SYMBOL) == []
    assert venue.privateGetOrderList({"orderListId": made["orderListId"]})["listOrderStatus"] == "ALL_DONE"
