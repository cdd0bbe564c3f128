"""One order against a model of the venue: every interleaving of requests, answers, user events, timeouts and restarts."""

import copy
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.state import ExecutorState
from tickmesh.nodes.orders.states import apply_update, status_of_absent
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.venues.order_venue import Fill, OrderTerms, Report

SUBJECT = "binance.BTCUSDT"
QUANTITY = 10
OPEN = (Status.New, Status.PartiallyFilled)
FINAL = (Status.Filled, Status.Canceled, Status.Rejected, Status.Expired)
AT_ONCE = st.sampled_from([True, True, False])  # whether the session hears of it now, or whenever `hear` draws it
UNDER_WAY = (Status.PendingCancel, Status.PendingReplace)


def intended() -> bytes:
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"], record["quantity_lots"] = b"a", Action.NEW, 1, QUANTITY
    return encode(Kind.intent, SUBJECT, record)


def reported(status, filled=0, order_id=7, quantity=QUANTITY, fills=()) -> Report:
    return Report(SUBJECT, "a", order_id, status, filled, 0, fills=list(fills), terms=OrderTerms(1, 1, 1, 5, quantity))


@dataclass
class VenueModel:
    """The venue's truth of the order: its last report, and all there ever were."""

    quantity: int = QUANTITY
    truth: Report | None = None
    reports: list[Report] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    on_its_way: bool = True  # the order
    requests: list[int] = field(default_factory=list)  # on their way: 0 a cancel, else an amendment to so many lots

    @property
    def filled(self) -> int:
        return sum(fill.quantity_lots for fill in self.fills)

    @property
    def open(self) -> bool:
        return self.truth is not None and self.truth.status in OPEN

    def report(self, status, *fills) -> None:
        order_id = 0 if status == Status.Rejected else 7
        self.truth = reported(status, self.filled, order_id, self.quantity, fills)
        self.reports.append(self.truth)

    def trade(self, lots) -> None:
        fill = Fill(len(self.fills) + 1, 1, 5, min(lots, self.quantity - self.filled), 0, "USDT", False, 0, 7)
        self.fills.append(fill)
        self.report(Status.Filled if self.filled == self.quantity else Status.PartiallyFilled, fill)

    def amend(self, lots) -> None:
        if self.open and self.filled < lots < self.quantity:
            self.quantity = lots
            self.report(self.truth.status)


class OneOrder(RuleBasedStateMachine):
    """`venue` is the truth; the session's is an Account and what it has published, which an executor reads."""

    @initialize()
    def send(self):
        self.venue, self.account, self.published = VenueModel(), Account(), [intended()]
        self.waits = 0  # requests whose answer the session waits for
        self.lies = 0
        self.updates, self.fills = [], []  # of what is published
        self.executor, self.state = Order("a", 1, 1, 1, 5, QUANTITY, 0), ExecutorState()
        self.state.add_order(SUBJECT, self.executor)
        self.account.read(decode(self.published[0]))
        pending = self.account.build_pending_new(decode(self.published[0]), 7)
        self.account.read(decode(pending))
        self.publish([pending])

    def publish(self, events):
        self.published += events
        for event in map(decode, events):
            for row in event.records:
                if event.kind == Kind.update:
                    self.updates.append(
                        {name: int(row[name]) for name in ("status", "filled_lots", "order_id", "quantity_lots")}
                    )
                    self.state.apply_update(self.state.instruments[SUBJECT], self.executor, *self.updates[-1].values())
                elif event.kind == Kind.fill:
                    self.fills.append(int(row["trade_id"]))
                    self.state.apply_fill(SUBJECT, "a", self.fills[-1], 1, 5, int(row["quantity_lots"]), 0, "USDT")

    @property
    def order(self):
        return self.account.order("a")

    # The venue

    @precondition(lambda self: self.venue.on_its_way)
    @rule(what=st.sampled_from(["accepted"] * 8 + ["refused", "lost"]), at_once=AT_ONCE)
    def arrive(self, what, at_once):
        self.venue.on_its_way = False
        if what != "lost":
            self.venue.report(Status.New if what == "accepted" else Status.Rejected)
            self.hear_last(at_once)

    @precondition(lambda self: self.venue.open)
    @rule(lots=st.integers(1, 3), at_once=AT_ONCE, alone=st.booleans())
    def trade(self, lots, at_once, alone):
        """The session hears of it by a report, or by a list of trades, which says nothing of the order's state."""
        self.venue.trade(lots)
        if at_once and alone:
            self.publish(self.account.apply_fills(self.order, self.venue.fills[-1:], "reconcile", 7))
        else:
            self.hear_last(at_once)

    @precondition(lambda self: self.venue.open)
    @rule(status=st.sampled_from([Status.Expired, Status.Canceled]), at_once=AT_ONCE)
    def end(self, status, at_once):
        """The venue expires it, or somebody cancels it by hand."""
        self.venue.report(status)
        self.hear_last(at_once)

    @precondition(lambda self: self.venue.open)
    @rule(lots=st.integers(1, QUANTITY - 1), at_once=AT_ONCE)
    def amend_by_hand(self, lots, at_once):
        self.venue.amend(lots)
        self.hear_last(at_once)

    @precondition(lambda self: self.venue.requests and not self.venue.on_its_way)
    @rule(data=st.data(), lost=st.sampled_from([False, False, True]), at_once=AT_ONCE)
    def request_arrives(self, data, lost, at_once):
        """However late, whether anybody waits for it or not; or it is lost on the way."""
        lots = self.venue.requests.pop(data.draw(st.integers(0, len(self.venue.requests) - 1)))
        if lost:
            return
        if lots:
            self.venue.amend(lots)
        elif self.venue.open:
            self.venue.report(Status.Canceled)
        if self.venue.reports:
            self.hear_last(at_once)

    # What the session hears and does

    def hear_last(self, at_once):
        if at_once:
            self.take(copy.copy(self.venue.reports[-1]), "stream")

    @precondition(lambda self: self.venue.reports)
    @rule(data=st.data(), origin=st.sampled_from(["reply", "stream", "reconcile"]), states=st.booleans())
    def hear(self, data, origin, states):
        """Any report there ever was: late, early, again; a reply or a query carries no fill, and not all state a quantity."""
        one = copy.copy(data.draw(st.sampled_from(self.venue.reports)))
        if origin != "stream":
            one.fills = []
        if not states and one.status in OPEN:
            one.terms = None
        self.take(one, origin)

    def take(self, one, origin):
        before, quantity = self.order.status, self.order.quantity_lots
        self.publish(self.account.apply_report(one, origin, 7))
        if before == Status.PendingCancel or (before == Status.PendingReplace and self.order.quantity_lots == quantity):
            assert self.order.status in (before, *FINAL), "what may be older than the request does not end it"
        assert self.order.final or one.order_id in (0, self.order.order_id), "what the venue calls it is known from now on"
        if before == Status.PendingReplace and self.order.quantity_lots < quantity:
            assert self.order.status in (*OPEN, *FINAL), "the amendment is done"

    @rule()
    def intend_cancel(self):
        was = self.order.status
        events = self.account.apply_status(self.order, Status.PendingCancel, "", 7)
        assert bool(events) == (was not in (*FINAL, Status.PendingCancel)), "whatever stands, or may, can be cancelled"
        self.ask_venue(events, 0)

    @precondition(lambda self: self.order.status in OPEN)
    @rule(lots=st.integers(1, QUANTITY - 1))
    def intend_amend(self, lots):
        if self.order.filled_lots < lots < self.order.quantity_lots:
            events = self.account.apply_status(self.order, Status.PendingReplace, "", 7)
            assert events
            self.ask_venue(events, lots)

    def ask_venue(self, events, lots):
        if events:
            self.venue.requests.append(lots)
            self.waits += 1
        self.publish(events)

    @precondition(lambda self: self.order.status == Status.PendingNew)
    @rule()
    def time_out(self):
        self.publish(self.account.apply_status(self.order, Status.Unknown, "no answer", 7))
        assert self.order.status == Status.Unknown

    @precondition(lambda self: self.waits)
    @rule()
    def give_up(self):
        """No answer came in time, or it came, and said that nothing was done; the request may be on its way all the same."""
        self.waits = 0

    @precondition(lambda self: not self.venue.on_its_way)
    @rule()
    def ask(self):
        """A query, when the order cannot be on its way any more: absence is a proof then."""
        truth = self.venue.truth
        if truth is None or truth.status == Status.Rejected:
            if not self.order.final:
                status = status_of_absent(self.order, fills_complete=self.order.fills_complete)
                self.publish(self.account.apply_status(self.order, status, "", 7))
            return
        now = copy.copy(truth)
        now.fills = []
        self.publish(self.account.apply_report(now, "reconcile", 7, settled=not self.waits))
        if self.order.fills_missing:
            self.publish(self.account.apply_fills(self.order, self.venue.fills, "reconcile", 7))
        if not self.waits:
            assert (self.order.status, self.order.quantity_lots) == (truth.status, truth.quantity_lots), "as the venue has it"

    @rule()
    def restart(self):
        """From the log alone; the connection is gone, and with it what was on its way from the venue."""
        self.account, self.waits, self.lies = Account(), 0, 0
        for event in self.published:
            self.account.read(decode(event))
        for order in self.account.unsettled_orders():
            self.publish(self.account.apply_status(order, Status.Unknown, "restarted", 7))

    @rule(data=st.data())
    def read_a_copy(self, data):
        """An update that comes again from the log: it puts an order in doubt at worst, and takes nothing back."""
        update = data.draw(st.sampled_from(self.updates))
        for one in (copy.copy(self.order), copy.copy(self.executor)):
            before = copy.copy(one)
            apply_update(one, *update.values())
            assert (one.filled_lots, one.quantity_lots, one.order_id) == (
                before.filled_lots,
                before.quantity_lots,
                before.order_id,
            )
            assert one.status == before.status or not before.final

    @rule(data=st.data())
    def hear_a_lie(self, data):
        """What no venue's history of this order has, whatever the session knows: it is noticed, and moves nothing."""
        order = self.order
        filled, quantity = order.filled_lots, order.quantity_lots
        lies = [
            (Status.PartiallyFilled, quantity + 1, 7, 0), (Status.Filled, quantity + 1, 7, 0), (Status.New, 1, 7, 0),
            (Status.Canceled, quantity, 7, 0), (Status.PartiallyFilled, 0, 7, 0), (Status.Filled, 0, 7, 0),
            (Status.PartiallyFilled, filled + 1, 7, filled + 1), (Status.Rejected, 1, 0, 0),
            (Status.Expired, filled, 7, quantity + 1),
        ]  # fmt: skip
        if order.order_id:
            lies += [(order.status if order.status in OPEN else Status.Canceled, filled, 8, 0)]
        if order.order_id and not order.final:
            lies += [(Status.Rejected, 0, 0, 0)]
        if filled:
            lies += [(Status.Canceled, filled - 1, 7, 0), (Status.Expired, 0, 7, 0)]
        if filled + 1 < quantity:
            lies += [(Status.PartiallyFilled, filled + 1, 7, quantity + 1)]
        if order.final:
            lies += [(Status.PartiallyFilled, filled + 1, 7, filled + 2)]
            lies += [(Status.Expired if order.status != Status.Expired else Status.Canceled, filled, 7, 0)]
            if not order.order_id:
                lies += [(Status.New, 0, 7, 0)]
            if filled + 1 < quantity:
                lies += [(Status.PartiallyFilled if filled else Status.New, filled, 7, quantity - 1)]
        before = copy.copy(order)
        one = reported(*data.draw(st.sampled_from(lies)))
        if one.quantity_lots == 0:
            one.terms = None
        assert self.account.apply_report(one, "stream", 7) == []
        self.lies += 1
        order.stray = False
        assert order == before

    # What always holds

    @invariant()
    def every_lie_is_noticed_and_nothing_else(self):
        assert self.account.contradictions == self.lies, self.account.impossible

    @invariant()
    def every_update_follows_from_the_one_before(self):
        for before, after in zip(self.updates, self.updates[1:]):
            old, new = Status(before["status"]), Status(after["status"])
            assert old not in FINAL, f"{old.name} → {new.name}"
            assert before["filled_lots"] <= after["filled_lots"] <= after["quantity_lots"] <= before["quantity_lots"]
            assert new != Status.New or after["filled_lots"] == 0
            assert new != Status.Unknown or old == Status.PendingNew
            assert new != Status.PendingReplace or old in (*OPEN, new)
            assert new != Status.New or old != Status.PartiallyFilled
            assert not before["order_id"] or before["order_id"] == after["order_id"]
            told = [name for name in ("filled_lots", "quantity_lots", "order_id") if before[name] != after[name]]
            assert old != new or told, f"{new.name} again, and nothing is new"
        stated = {QUANTITY, *(report.quantity_lots for report in self.venue.reports)}
        assert {row["quantity_lots"] for row in self.updates} <= stated, "only the venue says what an amendment came to"

    @invariant()
    def each_fill_is_published_once(self):
        fills = self.fills
        assert len(set(fills)) == len(fills) and set(fills) <= {one.trade_id for one in self.venue.fills}

    @invariant()
    def the_executor_has_what_the_session_has_or_the_fills_have_told_it(self):
        ours, theirs = self.executor, self.order
        assert (ours.order_id, ours.quantity_lots) == (theirs.order_id, theirs.quantity_lots)
        assert ours.filled_lots == max(theirs.filled_lots, theirs.fill_lots)
        assert ours.final or ours.counted_lots < ours.quantity_lots, "its risk ends with the last fill"
        if ours.status != theirs.status:
            assert theirs.fill_lots and ours.status in (Status.PartiallyFilled, Status.Filled)
            assert theirs.status not in (*UNDER_WAY, *FINAL) or ours.status == Status.Filled, "a fill ends no request"

    def teardown(self):
        """In the end it asks: then both have the same, to the last fill."""
        if not hasattr(self, "account"):
            return
        self.venue.on_its_way, self.waits = False, 0
        self.ask()
        order, truth = self.order, self.venue.truth
        if truth is None:
            assert order.status == Status.Rejected and not order.fill_lots
        else:
            states = (truth.status, truth.filled_lots, truth.order_id, self.venue.quantity)
            assert (order.status, order.filled_lots, order.order_id, order.quantity_lots) == states
            assert (self.executor.status, self.executor.quantity_lots) == (truth.status, self.venue.quantity)
            assert order.fill_lots == self.executor.counted_lots == self.venue.filled
        assert self.account.contradictions == self.lies


TestOneOrder = OneOrder.TestCase
TestOneOrder.settings = settings(max_examples=600, stateful_step_count=30, deadline=None)
