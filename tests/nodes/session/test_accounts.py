"""Two accounts in one log: what is of one venue is nothing to the session of the other."""

import numpy as np
import pytest

from tickmesh.bus.schema import BALANCE, FILL, FUNDING, INTENT, UPDATE, Action, Kind, Status
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.session.account import Account


def told(venue: str) -> list:
    """An order, its update and fill, a balance and a funding of an account."""
    intent, update, fill, balance, funding = (np.zeros(1, dtype) for dtype in (INTENT, UPDATE, FILL, BALANCE, FUNDING))
    for record in (intent, update, fill):
        record["client_order_id"] = b"a"
    intent["action"], intent["side"], intent["quantity_lots"] = Action.NEW, -1, 9
    update["status"], update["side"], update["quantity_lots"], update["order_id"] = Status.New, -1, 9, 5
    fill["side"], fill["quantity_lots"], fill["trade_id"], fill["venue_ns"] = -1, 4, 7, 11
    balance["asset"], balance["free"] = b"USDT", 3
    funding["asset"], funding["amount"], funding["transaction_id"], funding["venue_ns"] = b"USDT", -2, 8, 12
    kinds = (Kind.intent, Kind.update, Kind.fill, Kind.funding)
    events = [encode(kind, f"{venue}.BTCUSDT", row) for kind, row in zip(kinds, (intent, update, fill, funding))]
    events.append(encode(Kind.balance, f"{venue}.account", balance))
    return [decode(event) for event in events]


@pytest.mark.parametrize("mine, other", [("binance", "binance_usdm"), ("binance_usdm", "binance")])
def test_only_the_own_account_is_read(mine, other):
    account = Account(venue=mine)
    before = account.pack()
    for event in told(other):
        account.read(event)
    assert account.pack() == before and not account.moved
    for event in told(mine):
        account.read(event)
    subject = f"{mine}.BTCUSDT"
    assert account.order("a").fill_lots == 4 and account.positions.known == {subject: -4}
    assert account.balances.known == {"USDT": (3, 0, 0)} and account.fundings.known == {8: 12}
    assert account.state.first_fill_ns == 11
    again = Account(venue=mine)
    again.load(account.pack())
    for event in told(mine):
        again.read(event)
    assert again.pack() == account.pack(), "the log read again changes nothing"
