"""What a session sends: an order once, whatever its socket does; cancels of orders that are alive and over for the log."""

import asyncio
import time

import numpy as np
import pytest

from tests.support.session_scene import LOCAL, SUBJECT
from tickmesh.bus.schema import INTENT, Action, Kind, OrderType, Status
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.paper_sender import NoPublisher
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.session.troubles import Troubles
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


def test_an_order_whose_sending_failed_half_way_is_not_sent_again():
    """PendingNew is on file and some of the request may have left: that is for the venue to say, not to be tried again."""
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"] = b"t-1", Action.NEW, 1
    record["order_type"], record["quantity_lots"] = OrderType.MARKET, 100_000
    intent = Event(encode(Kind.intent, SUBJECT, record))
    venue, _, symbol = SUBJECT.partition(".")
    account, sent, count = Account({SUBJECT: Instrument(symbol, venue)}), [], {"orders_sent": 0, "refused_intents": 0}
    requests = OrderRequests(binance_orders, LOCAL, 1000, 1.0, VenueTime())
    troubles = Troubles(venue, (1.0, 1.0), time.monotonic)
    sender = IntentSender(binance_orders, account, requests, NoPublisher(), asyncio.Event(), count, troubles)

    def broken(request):
        sent.append(request.client_order_id)
        raise OSError("half of it has left")

    requests.rest, requests.trading = broken, True
    account.read(intent)
    with pytest.raises(OSError, match="half of it has left"):
        sender.act_on(intent)
    sender.act_on_waiting()
    assert sent == ["t-1"] and not account.state.waiting
    assert [order.status for order in account.unsettled_orders()] == [Status.PendingNew], "the venue is asked about it"
