"""One order against a model of the venue: every interleaving of requests, answers, user events, timeouts and restarts."""

import copy

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.orders.states import FINAL, MOVES, OPEN, status_of_absent
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.venues.order_venue import Fill, Report

SUBJECT = "binance.BTCUSDT"
QUANTITY = 10


def intended() -> bytes:
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"], record["quantity_lots"] = b"a", Action.NEW, 1, QUANTITY
    return encode(Kind.intent, SUBJECT, record)


class OneOrder(RuleBasedStateMachine):
    """The venue's truth is `truth` and all it ever reported; the session's is an Account and what it has published."""

    @initialize()
    def send(self):
        self.account, self.published = Account(), [intended()]
        self.account.read(decode(self.published[0]))
        self.publish([self.account.build_pending_new(decode(self.published[0]), 7)], taken=False)
        self.on_its_way = True  # the order
        self.cancelling = False  # a cancel is on its way, or its answer
        self.truth: Report | None = None
        self.reports: list[Report] = []
        self.fills: list[Fill] = []

    def publish(self, events, taken=True):
        for event in events:
            if not taken:
                self.account.read(decode(event))
            self.published.append(event)

    @property
    def order(self):
        return self.account.order("a")

    def report(self, status, fill=None):
        filled = sum(one.quantity_lots for one in self.fills)
        self.truth = Report(
            SUBJECT, "a", 7 if status != Status.Rejected else 0, status, filled, 0, fills=[fill] if fill else []
        )
        self.reports.append(self.truth)

    # The venue

    @precondition(lambda self: self.on_its_way)
    @rule(what=st.sampled_from(["accepted"] * 4 + ["refused", "lost"]))
    def arrive(self, what):
        self.on_its_way = False
        if what != "lost":
            self.report(Status.New if what == "accepted" else Status.Rejected)

    @precondition(lambda self: self.truth is not None and self.truth.status in OPEN)
    @rule(lots=st.integers(1, 4))
    def trade(self, lots):
        lots = min(lots, QUANTITY - self.truth.filled_lots)
        fill = Fill(len(self.fills) + 1, 1, 5, lots, 0, "USDT", False, 0, 7)
        self.fills.append(fill)
        done = sum(one.quantity_lots for one in self.fills) == QUANTITY
        self.report(Status.Filled if done else Status.PartiallyFilled, fill)

    @precondition(lambda self: self.truth is not None and self.truth.status in OPEN)
    @rule(status=st.sampled_from([Status.Expired, Status.Canceled]))
    def end(self, status):
        """The venue expires it, or somebody cancels it by hand."""
        self.report(status)

    @precondition(lambda self: self.cancelling and not self.on_its_way)
    @rule()
    def cancel_arrives(self):
        self.cancelling = False
        if self.truth is not None and self.truth.status in OPEN:
            self.report(Status.Canceled)

    # What the session hears and does

    @precondition(lambda self: self.reports)
    @rule(data=st.data(), origin=st.sampled_from(["reply", "stream", "reconcile"]))
    def hear(self, data, origin):
        """Any report there ever was: late, early, again; a reply or a query carries no fill."""
        one = copy.copy(data.draw(st.sampled_from(self.reports)))
        if origin != "stream":
            one.fills = []
        self.publish(self.account.apply_report(one, origin, 7))

    @rule()
    def intend_cancel(self):
        events = self.account.apply_status(self.order, Status.PendingCancel, "", 7)
        self.cancelling = self.cancelling or bool(events)
        self.publish(events)

    @precondition(lambda self: self.order.status == Status.PendingNew)
    @rule()
    def time_out(self):
        self.publish(self.account.apply_status(self.order, Status.Unknown, "no answer", 7))

    @precondition(lambda self: not self.on_its_way)
    @rule()
    def ask(self):
        """A query, when nothing can be on its way any more: absence is a proof then."""
        if self.truth is None or self.truth.status == Status.Rejected:
            if not self.order.final:
                status = status_of_absent(self.order, fills_complete=self.order.fills_complete)
                self.publish(self.account.apply_status(self.order, status, "", 7))
            return
        now = copy.copy(self.truth)
        now.fills = []
        self.publish(self.account.apply_report(now, "reconcile", 7, cancel_failed=not self.cancelling))
        if self.order.fills_missing:
            self.publish(self.account.apply_fills(self.order, self.fills, "reconcile", 7))

    @rule()
    def restart(self):
        """From the log alone; the connection is gone, and with it what was on its way from the venue."""
        self.account = Account()
        for event in self.published:
            self.account.read(decode(event))
        for order in self.account.unsettled_orders():
            self.publish(self.account.apply_status(order, Status.Unknown, "restarted", 7))

    # What always holds

    @invariant()
    def no_report_is_impossible_and_every_move_is_in_the_table(self):
        assert self.account.contradictions == 0, self.account.impossible
        states = [row for event in self.published for row in decode(event).records if decode(event).kind == Kind.update]
        for before, after in zip(states, states[1:]):
            old, new = int(before["status"]), int(after["status"])
            assert old == new or new in MOVES[old], f"{Status(old).name} → {Status(new).name}"
            assert after["filled_lots"] >= before["filled_lots"] and old not in FINAL

    @invariant()
    def each_fill_is_published_once(self):
        fills = [
            int(row["trade_id"]) for event in self.published if decode(event).kind == Kind.fill for row in decode(event).records
        ]
        assert len(set(fills)) == len(fills) and set(fills) <= {one.trade_id for one in self.fills}

    def teardown(self):
        """In the end it asks: then both have the same, to the last fill."""
        if not hasattr(self, "account"):
            return
        self.on_its_way = self.cancelling = False
        self.ask()
        order, truth = self.order, self.truth
        if truth is None:
            assert order.status == Status.Rejected and not order.fill_lots
        else:
            assert (order.status, order.filled_lots) == (truth.status, truth.filled_lots)
            assert order.fill_lots == sum(one.quantity_lots for one in self.fills)
        assert self.account.contradictions == 0


TestOneOrder = OneOrder.TestCase
TestOneOrder.settings = settings(max_examples=500, stateful_step_count=30, deadline=None)
