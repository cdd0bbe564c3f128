"""One order's states: what the venue, the session, the log and a fill may move, in any order and with any copies."""

from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.wire import Event, decode, encode
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.state import ExecutorState
from tickmesh.nodes.orders.states import (
    FINAL,
    MOVES,
    By,
    apply_fill,
    apply_update,
    impossible,
    session_may_publish,
    status_after_report,
    status_of_absent,
)
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.venues.order_venue import Fill, OrderTerms, Report

SUBJECT = "binance.BTCUSDT"
QUANTITY = 10
LINE = [Status.PendingNew, Status.New, Status.PartiallyFilled]  # then a final one
REDUCED = 6
CASES = list(product(Status, (0, 4, QUANTITY), (0, 7), Status, (0, 4, QUANTITY), (0, 7), (0, REDUCED, QUANTITY)))


class Known(msgspec.Struct):
    status: int = Status.PendingNew
    filled_lots: int = 0
    order_id: int = 0
    quantity_lots: int = QUANTITY


def reach(status: int) -> int | None:
    """How far along the line a status is; None beside it."""
    return len(LINE) if status in FINAL else LINE.index(status) if status in LINE else None


@pytest.mark.parametrize("settled", [False, True])
def test_an_update_is_what_every_reader_of_the_log_has_then(settled):
    """The session publishes a status, and reads its own update: nothing else may come of it, here or at the executor."""
    for status, filled, order_id, reported, *now in CASES:
        known = Known(status, filled, order_id)
        published = status_after_report(known, reported, *now, settled=settled)
        assert known == Known(status, filled, order_id)
        if published is not None:
            now_filled, now_id, now_quantity = now
            apply_update(known, published, *now)
            assert known == Known(published, now_filled, order_id or now_id, now_quantity or QUANTITY) and now_filled >= filled
            assert status_after_report(known, reported, *now, settled=settled) is None, "published once"
        if session_may_publish(known := Known(status, filled, order_id), reported):
            apply_update(known, reported, filled)
            assert known == Known(reported, filled, order_id)


def test_nothing_moves_a_final_order_or_an_order_back():
    for status, filled, order_id, reported, now_filled, now_id, now_quantity in CASES:
        known = Known(status, filled, order_id)
        apply_update(known, reported, now_filled, now_id, now_quantity)
        assert known.quantity_lots == (now_quantity or QUANTITY)
        assert known.filled_lots == max(filled, now_filled) and known.order_id == (order_id or now_id)
        if status in FINAL:
            assert known.status == status and not session_may_publish(known, reported)
            assert status_after_report(known, reported, QUANTITY, 7, settled=True) is None
        before, after = reach(status), reach(known.status)
        assert before is None or after is None or after >= before
        assert known.status != Status.New or not known.filled_lots or reported == Status.PendingNew, "what is filled is no New"


def test_rules_that_differ_by_who_reports():
    # the venue's report of less than is known is old, or of another order: it is asked for again, even where it is final
    assert status_after_report(Known(Status.PartiallyFilled, 4), Status.Canceled, 0) is None
    known = Known(Status.PartiallyFilled, 4)
    apply_update(known, Status.Canceled, 0)
    assert known == Known(Status.Canceled, 4), "in the log the session has decided it"
    # a report that the order stands may be older than the cancel
    assert status_after_report(Known(Status.PendingCancel, 4), Status.PartiallyFilled, 4) is None
    assert status_after_report(Known(Status.PendingCancel, 0), Status.PartiallyFilled, 4) == Status.PendingCancel
    for filled, status in ((0, Status.New), (4, Status.PartiallyFilled)):
        assert status_after_report(Known(Status.PendingCancel, filled), Status.New, filled, settled=True) == status
    # the session calls unknown only what no report has been seen of; a reader of the log takes it over from wherever it comes
    assert [s for s in Status if session_may_publish(Known(s), Status.Unknown)] == [Status.PendingNew]
    for status in set(Status) - FINAL:
        known = Known(status, 4, 7)
        apply_update(known, Status.Unknown, 0)
        assert known == Known(Status.Unknown, 4, 7)
        apply_update(known, Status.New, 0)
        assert known.status == Status.PartiallyFilled, "and with the next report it is where it was"
    assert {s for s in Status if session_may_publish(Known(Status.Unknown), s)} == {
        Status.Filled, Status.Rejected, Status.Expired, Status.PendingCancel,
    }  # fmt: skip


def test_an_amendment_is_done_when_the_venue_states_the_smaller_quantity():
    asked = Known(Status.PendingReplace, 4, 7)
    assert status_after_report(asked, Status.PartiallyFilled, 4, 7, QUANTITY) is None, "it may be older than the amendment"
    assert status_after_report(asked, Status.PartiallyFilled, 5, 7, QUANTITY) == Status.PendingReplace
    assert status_after_report(asked, Status.PartiallyFilled, 4, 7, QUANTITY, settled=True) == Status.PartiallyFilled, "refused"
    assert status_after_report(asked, Status.PartiallyFilled, 4, 7, REDUCED) == Status.PartiallyFilled
    assert status_after_report(asked, Status.Filled, REDUCED, 7, REDUCED) == Status.Filled, "and filled since"
    reduced = Known(Status.PartiallyFilled, 4, 7, REDUCED)
    for settled in (False, True):
        assert status_after_report(reduced, Status.PartiallyFilled, 4, 7, QUANTITY, settled=settled) is None, "of before"
    assert status_after_report(Known(Status.PendingCancel, 4, 7), Status.PartiallyFilled, 4, 7, REDUCED) == Status.PendingCancel
    assert status_after_report(Known(Status.New, 0, 7), Status.New, 0, 7, REDUCED) == Status.New, (
        "by hand: it is news all the same"
    )
    assert [s for s in Status if session_may_publish(Known(s), Status.PendingReplace)] == [Status.New, Status.PartiallyFilled]
    apply_fill(reduced, REDUCED)
    assert reduced == Known(Status.Filled, REDUCED, 7, REDUCED)
    apply_fill(asked, 5)
    assert asked == Known(Status.PendingReplace, 5, 7), "a fill does not end an amendment"


def test_what_the_old_two_machines_did_by_accident():
    known = Known(Status.Unknown)
    apply_update(known, Status.PendingNew, 0)
    assert known.status == Status.Unknown, "that it is being sent says nothing of an order in doubt (a session read it back)"
    known = Known(Status.PartiallyFilled, 4)
    apply_update(known, Status.New, 0)
    assert known.status == Status.PartiallyFilled, "a late New (a session went back)"
    known = Known(Status.Rejected)
    apply_update(known, Status.PartiallyFilled, 4, 7)
    assert known == Known(Status.Rejected, 4, 7), "its fills are missing now, and can be asked for (a session did not see it)"
    known = Known(Status.PendingCancel)
    apply_fill(known, 4)
    assert known == Known(Status.PendingCancel, 4), "a fill does not end a cancel (an executor thought so)"
    assert status_after_report(Known(Status.New), Status.PendingCancel, 0) == Status.PendingCancel, "the venue's own word"
    assert status_of_absent(Known(Status.New, 0, 7), fills_complete=True) == Status.Filled, "not Expired"
    assert status_of_absent(Known(Status.New, 0, 7), fills_complete=False) == Status.Expired
    assert status_of_absent(Known(Status.Unknown), fills_complete=False) == Status.Rejected


@pytest.mark.parametrize(
    ("known", "reported", "words"),
    [
        (Known(Status.Rejected), (Status.New, 0, 7), "ended Rejected, and is reported New"),
        (
            Known(Status.Canceled, 4, 7),
            (Status.PartiallyFilled, 6, 7),
            "ended Canceled, and is reported PartiallyFilled with 6",
        ),
        (
            Known(Status.Canceled, 4, 7),
            (Status.Filled, QUANTITY, 7),
            "ended Canceled with 4 lots filled, and is reported Filled",
        ),
        (Known(Status.PartiallyFilled, 4, 7), (Status.Canceled, 0, 7), "had 4 lots filled, and is reported Canceled with 0"),
        (Known(Status.New, 0, 7), (Status.Rejected, 0, 7), "was accepted by the venue, and is reported Rejected"),
        (Known(Status.New, 0, 7), (Status.PartiallyFilled, 4, 8), "has the id 7 at the venue, and is reported as 8"),
        (Known(Status.New, 0, 7), (Status.PartiallyFilled, 11, 7), "is reported PartiallyFilled with 11 of 10"),
        (Known(Status.New, 0, 7), (Status.Filled, 4, 7), "is reported Filled with 4 of 10"),
        (Known(Status.New, 0, 7), (Status.New, 4, 7), "is reported New with 4 of 10"),
        (Known(Status.New, 0, 7), (Status.Canceled, QUANTITY, 7), "is reported Canceled with 10 of 10"),
        (Known(Status.New, 0, 7), (Status.Filled, QUANTITY, 7, REDUCED), "is reported Filled with 10 of 6"),
        (
            Known(Status.New, 0, 7, REDUCED),
            (Status.Canceled, 0, 7, QUANTITY),
            "was reduced to 6 lots, and is reported Canceled",
        ),
        (Known(Status.New, 0, 7, REDUCED), (Status.PartiallyFilled, 4, 7, QUANTITY), "was reduced to 6 lots, and is"),
        (
            Known(Status.Expired, 0, 7),
            (Status.New, 0, 7, REDUCED),
            "ended Expired as one of 10 lots, and is reported New as one",
        ),
    ],
)
def test_what_no_history_of_an_order_has_is_impossible(known, reported, words):
    assert words in impossible(known, *reported)


def test_old_reports_and_copies_are_possible():
    for known, reported in (
        (Known(Status.Rejected), (Status.Rejected, 0, 0)), (Known(Status.Canceled, 4, 7), (Status.New, 0, 7)),
        (Known(Status.Unknown), (Status.New, 0, 7)), (Known(Status.PartiallyFilled, 4, 7), (Status.New, 0, 7)),
        (Known(Status.PendingCancel, 4, 7), (Status.Filled, QUANTITY, 7)),
        (Known(Status.New), (Status.Filled, REDUCED, 7, REDUCED)),
        (Known(Status.Filled, REDUCED, 7, REDUCED), (Status.PartiallyFilled, 4, 7, QUANTITY)),
    ):  # fmt: skip
        assert impossible(known, *reported) == ""


def test_whatever_is_published_is_a_move_of_the_table():
    for status, filled, order_id, reported, *now in CASES:
        known = Known(status, filled, order_id)
        for settled in (False, True):
            published = status_after_report(known, reported, *now, settled=settled)
            assert published in (None, status) or MOVES[status][published] & By.VENUE
        assert session_may_publish(known, reported) == bool(MOVES[status].get(reported, By(0)) & By.SESSION)
    assert set(MOVES) == set(Status) and not any(MOVES[status] for status in FINAL)


def test_fills_alone_complete_an_order():
    known = Known(Status.Unknown)
    apply_fill(known, 4)
    assert known == Known(Status.PartiallyFilled, 4)
    apply_fill(known, QUANTITY)
    assert known == Known(Status.Filled, QUANTITY)
    known = Known(Status.Canceled, 4)
    apply_fill(known, QUANTITY)
    assert known == Known(Status.Canceled, QUANTITY)


@st.composite
def venue_reports(draw) -> list[Report]:
    """All that a venue can report of one order, in its order: each report with the fills that led to it."""
    if draw(st.integers(0, 5)) == 0:
        return [Report(SUBJECT, "a", 0, Status.Rejected, 0, 0)]
    quantity = QUANTITY

    def report(status, filled, *fills):
        return Report(SUBJECT, "a", 7, status, filled, 0, fills=list(fills), terms=OrderTerms(1, 1, 1, 5, quantity))

    reports, filled = [report(Status.New, 0)], 0
    for trade_id, lots in enumerate(draw(st.lists(st.integers(1, 4), max_size=6)), 1):
        if filled + 1 < quantity and draw(st.integers(0, 3)) == 0:
            quantity = draw(st.integers(filled + 1, quantity - 1))
            reports.append(report(reports[-1].status, filled))  # amended
        lots = min(lots, quantity - filled)
        if not lots:
            break
        filled += lots
        fill = Fill(trade_id, 1, 5, lots, 0, "USDT", False, 0, 7)
        reports.append(report(Status.Filled if filled == quantity else Status.PartiallyFilled, filled, fill))
    if filled < quantity:
        reports.append(report(draw(st.sampled_from([Status.Canceled, Status.Expired])), filled))
    return reports


def intended() -> Event:
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"], record["quantity_lots"] = b"a", Action.NEW, 1, QUANTITY
    return decode(encode(Kind.intent, SUBJECT, record))


def executor_after(events: list[Event]) -> Order:
    """The order at an executor that read these updates and fills."""
    state, order = ExecutorState(), Order("a", 1, 1, 1, 5, QUANTITY, 0)
    state.add_order(SUBJECT, order)
    instrument = state.instruments[SUBJECT]
    for event in events:
        for record in event.records:
            if event.kind == Kind.update:
                words = [int(record[name]) for name in ("status", "filled_lots", "order_id", "quantity_lots")]
                state.apply_update(instrument, order, *words)
            elif event.kind == Kind.fill:
                state.apply_fill(SUBJECT, "a", int(record["trade_id"]), 1, 5, int(record["quantity_lots"]), 0, "USDT")
    return order


SESSION_OWN = [Status.Unknown, Status.PendingCancel, Status.PendingReplace]


@given(venue_reports(), st.lists(st.sampled_from(SESSION_OWN), max_size=3), st.data())
def test_session_and_executor_agree_whatever_the_order_and_number_of_reports(reports, own, data):
    """Reports arrive in any order and number, the session speaks between them; its log then, in any order and number too."""
    copies = data.draw(st.lists(st.sampled_from(reports), max_size=4))
    account = Account()
    intent = intended()
    account.read(intent)
    published = [account.build_pending_new(intent, 7)]
    account.read(decode(published[0]))
    order = account.order("a")
    for what in data.draw(st.permutations([*reports, *copies, *own])):
        before = (order.status, order.filled_lots)
        if isinstance(what, Report):
            published += account.apply_report(what, "stream", 7, settled=data.draw(st.booleans()))
        else:
            published += account.apply_status(order, what, "", 7)
        assert order.filled_lots >= before[1]
        assert before[0] not in FINAL or order.status == before[0]
        assert None in (reach(before[0]), reach(order.status)) or reach(order.status) >= reach(before[0])
    assert (order.status, order.filled_lots) == (reports[-1].status, reports[-1].filled_lots)
    assert not order.fills_missing

    events = [decode(event) for event in published]
    executed = executor_after(events)
    last = (order.status, order.filled_lots, order.order_id, order.quantity_lots)
    assert (executed.status, executed.filled_lots, executed.order_id, executed.quantity_lots) == last
    again = Account()
    again.read(intent)
    for event in events:
        again.read(event)
    assert again.state.orders == account.state.orders, "rebuilt from the log it is the same"

    shuffled = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=4))]))
    executed, again = executor_after(shuffled), Account()
    for event in [intent, *shuffled]:
        again.read(event)
    for one in (executed, again.order("a")):
        assert (one.status, one.filled_lots, one.order_id, one.quantity_lots) == last
