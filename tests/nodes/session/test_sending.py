"""What a session sends beside its intents: cancels of orders that are alive at the venue and over for the log."""

import asyncio

from tests.support.session_scene import LOCAL, SUBJECT
from tickmesh.bus.schema import Status
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.venues import binance_orders
from tickmesh.nodes.venues.order_venue import Report


def test_an_order_that_lives_on_is_cancelled_as_soon_as_there_is_a_way_to_the_venue():
    """Found while there was none: in the reconciliation before orders go over REST."""
    account, sent, count = Account(), [], {"cancels_sent": 0, "strays_cancelled": 0}
    account.state.orders["a"] = SessionOrder("a", SUBJECT, 1, 1, 1, 100, 10, order_id=7, status=Status.Canceled)
    requests = OrderRequests(binance_orders, LOCAL, 1000, 1.0, VenueTime())
    sender = IntentSender(binance_orders, account, requests, None, asyncio.Event(), count, None)
    account.apply_report(Report(SUBJECT, "a", 7, Status.PartiallyFilled, 1, 0), "reconcile", 0)
    sender.cancel_strays()
    assert count["strays_cancelled"] == 0
    requests.rest = sent.append
    for _ in range(2):
        sender.cancel_strays()
    assert [(one.method, one.client_order_id) for one in sent] == [("order.cancel", "a")] and count["strays_cancelled"] == 1
