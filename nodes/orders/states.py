"""The states of an order, in FIX's words, and which may follow which, by who says so. Executor and session obey it.

    PendingNew → New → PartiallyFilled → Filled, Canceled, Rejected or Expired, which are final

is the line, and no order goes back along it; its filled quantity never falls, its quantity never grows, and its id at the venue
never changes. Three states stand beside the line: PendingCancel (a cancel is under way), PendingReplace (an amendment is) and
Unknown (nobody knows whether the order reached the venue). `MOVES` is the table. What a report may move depends on whose it is:

- the venue (`status_after_report`): a report may be older than what is known, so one of less filled quantity moves nothing, nor
  does one of a larger quantity, from before an amendment. New and PartiallyFilled do not end PendingCancel or PendingReplace,
  for they may be older than the request; only a smaller quantity proves that an amendment was done, and only a caller who
  knows that no request is under way passes `settled`. What no history of an order can bring is `impossible`: it moves nothing.
- the session itself (`session_may_publish`): Unknown only where no report of the venue has been seen (PendingNew). An order
  that is known to stand at the venue is asked for without calling it Unknown.
- the log (`apply_update`): the session has decided already, so the three beside the line are taken over from every state that
  is not final, and New ends them. An old copy leaves an order in doubt at worst, and only until the next update.
- a fill (`apply_fill`): proof that the order stands at the venue, but not that a request failed. Only the executor counts fills
  into the state, because its risk must end with the quantity; the session publishes what the venue reports, and compares.

An order's quantity is what the venue reports of it, the least of all: an amendment (Action.AMEND) only reduces it, so reports
and copies in any order and number lead to the same. What was asked for changes nothing before the venue has said it.
"""

from collections.abc import Mapping
from enum import IntFlag
from typing import Protocol

from tickmesh.bus.schema import Status

PENDING_NEW, NEW, PARTIALLY_FILLED, FILLED = 1, 2, 3, 4  # Status; plain integers compare faster
PENDING_CANCEL, CANCELED, REJECTED, EXPIRED, UNKNOWN, PENDING_REPLACE = 5, 6, 7, 8, 9, 10
FINAL = frozenset((FILLED, CANCELED, REJECTED, EXPIRED))
OPEN = frozenset((NEW, PARTIALLY_FILLED))
UNDER_WAY = frozenset((PENDING_CANCEL, PENDING_REPLACE))  # a request about an order that stands
TAKEN_FROM_LOG = FINAL | UNDER_WAY | {UNKNOWN}  # as they are; of the open ones the further one counts

assert [int(s) for s in Status] == list(range(1, 11)) and Status.Unknown == UNKNOWN and Status.PendingReplace == PENDING_REPLACE


class By(IntFlag):
    """Who may move an order: the venue by its report, the session by what it does or concludes."""

    VENUE = 1
    SESSION = 2
    BOTH = 3


# from → to → by whom. The session concludes a final state of an order that the venue does not know (`status_of_absent`).
MOVES: Mapping[int, Mapping[int, By]] = {
    PENDING_NEW: {
        NEW: By.VENUE, PARTIALLY_FILLED: By.VENUE, FILLED: By.BOTH, PENDING_CANCEL: By.BOTH, CANCELED: By.VENUE,
        REJECTED: By.BOTH, EXPIRED: By.BOTH, UNKNOWN: By.SESSION,
    },
    NEW: {
        PARTIALLY_FILLED: By.VENUE, FILLED: By.BOTH, PENDING_CANCEL: By.BOTH, CANCELED: By.VENUE, EXPIRED: By.BOTH,
        PENDING_REPLACE: By.BOTH,
    },
    PARTIALLY_FILLED: {
        FILLED: By.BOTH, PENDING_CANCEL: By.BOTH, CANCELED: By.VENUE, EXPIRED: By.BOTH, PENDING_REPLACE: By.BOTH,
    },
    PENDING_CANCEL: {
        NEW: By.VENUE, PARTIALLY_FILLED: By.VENUE, FILLED: By.BOTH, CANCELED: By.VENUE, REJECTED: By.BOTH, EXPIRED: By.BOTH,
    },
    UNKNOWN: {
        NEW: By.VENUE, PARTIALLY_FILLED: By.VENUE, FILLED: By.BOTH, PENDING_CANCEL: By.BOTH, CANCELED: By.VENUE,
        REJECTED: By.BOTH, EXPIRED: By.BOTH,
    },
    PENDING_REPLACE: {  # only of an order that the venue has accepted
        NEW: By.VENUE, PARTIALLY_FILLED: By.VENUE, FILLED: By.BOTH, PENDING_CANCEL: By.BOTH, CANCELED: By.VENUE,
        EXPIRED: By.BOTH,
    },
    FILLED: {}, CANCELED: {}, REJECTED: {}, EXPIRED: {},
}  # fmt: skip


class OrderState(Protocol):
    """The fields of an order that the rules of this file read and write."""

    status: int
    filled_lots: int  # cumulative
    quantity_lots: int  # of the whole order, as it was amended; 0 while it is not known
    order_id: int  # the venue's; 0 while it is not known


def apply_update(order: OrderState, status: int, filled_lots: int, order_id: int = 0, quantity_lots: int = 0) -> None:
    """Moves an order by an update from the log. Copies and late updates neither take anything back nor reopen a final order."""
    if is_less(quantity_lots, order.quantity_lots):
        order.quantity_lots = quantity_lots
    if filled_lots > order.filled_lots:
        order.filled_lots = filled_lots
    if not order.order_id:
        order.order_id = order_id
    present = order.status
    if present in FINAL:
        return
    if status in TAKEN_FROM_LOG:
        order.status = status
    elif status in OPEN:
        order.status = _open_status(present, status, order.filled_lots)
    # PendingNew moves nothing: it is where every order begins


def apply_fill(order: OrderState, counted_lots: int) -> None:
    """Moves an order by its fills, whose sum is `counted_lots` now: Filled when they are complete."""
    if counted_lots > order.filled_lots:
        order.filled_lots = counted_lots
    if order.status in FINAL:
        return
    if counted_lots >= order.quantity_lots > 0:
        order.status = FILLED
    elif order.status not in UNDER_WAY:
        order.status = PARTIALLY_FILLED


def status_after_report(
    order: OrderState, status: int, filled_lots: int, order_id: int = 0, quantity_lots: int = 0, *, settled: bool = False
) -> Status | None:
    """The status to publish after a report of the venue, or None where it tells nothing new. Leaves the order as it is.

    `quantity_lots`: what the venue states as the order's; 0: nothing. `settled`: it is known that no request about the order is
    under way, so an open one is no longer PendingCancel or PendingReplace.
    """
    if order.status in FINAL or filled_lots < order.filled_lots or is_less(order.quantity_lots, quantity_lots):
        return None
    if status in (PENDING_NEW, UNKNOWN):
        return None  # the venue has it, and has not accepted it: the session has published as much
    following, amended = status, is_less(quantity_lots, order.quantity_lots)
    if status in OPEN:
        done = settled or (amended and order.status == PENDING_REPLACE)
        keep = order.status in UNDER_WAY and not done
        following = order.status if keep else _open_status(order.status, status, filled_lots)
    if following == order.status:
        news = filled_lots > order.filled_lots or amended or (order_id and not order.order_id)
        return Status(following) if news else None
    return Status(following) if MOVES[order.status].get(following, By(0)) & By.VENUE else None


def session_may_publish(order: OrderState, status: int) -> bool:
    """Whether the session may publish this status on its own: what it asks for, Unknown, or a final one that it concludes."""
    return bool(MOVES[order.status].get(status, By(0)) & By.SESSION)


def status_of_absent(order: OrderState, *, fills_complete: bool) -> Status:
    """The final status of an order that the venue does not know, asked when it cannot be on its way there any more."""
    if fills_complete:
        return Status.Filled
    return Status.Expired if order.order_id else Status.Rejected


def impossible(order: OrderState, status: int, filled_lots: int, order_id: int = 0, quantity_lots: int = 0) -> str:
    """Why no venue's history of this order has the report after what is known, as words behind "the order"; "" where one may.

    An old report, a copy, one that overtook another are possible. `quantity_lots` that the venue states; 0: none.
    """
    name, known = Status(status).name, Status(order.status).name
    quantity = quantity_lots or order.quantity_lots
    older = is_less(order.quantity_lots, quantity_lots)  # from before an amendment
    if order_id and order.order_id and order_id != order.order_id:
        return f"has the id {order.order_id} at the venue, and is reported as {order_id}"
    if not _consistent(status, filled_lots, quantity):
        return f"is reported {name} with {filled_lots} of {quantity} lots filled"
    if status in FINAL and filled_lots < order.filled_lots:
        return f"had {order.filled_lots} lots filled, and is reported {name} with {filled_lots}"
    if older and (status in FINAL or filled_lots > order.filled_lots):
        return f"was reduced to {order.quantity_lots} lots, and is reported {name} with {filled_lots} of {quantity}"
    if order.status in FINAL:
        if status in FINAL and (status, filled_lots) != (order.status, order.filled_lots):
            return f"ended {known} with {order.filled_lots} lots filled, and is reported {name} with {filled_lots}"
        if filled_lots > order.filled_lots or (status in OPEN and not order.order_id):
            return f"ended {known}, and is reported {name} with {filled_lots} lots filled"
        if is_less(quantity_lots, order.quantity_lots):
            return f"ended {known} as one of {order.quantity_lots} lots, and is reported {name} as one of {quantity_lots}"
    elif status == REJECTED and order.order_id:
        return "was accepted by the venue, and is reported Rejected"
    return ""


def is_less(quantity_lots: int, known_lots: int) -> bool:
    """Whether a quantity is a smaller one than another; of one that is not known (0) it is not."""
    return 0 < quantity_lots < known_lots


def _consistent(status: int, filled_lots: int, quantity_lots: int) -> bool:
    """Whether a venue can state this status with this cumulative quantity."""
    most = quantity_lots or filled_lots + 1
    if status == FILLED:
        return filled_lots > 0 and filled_lots == (quantity_lots or filled_lots)
    if status == PARTIALLY_FILLED:
        return 0 < filled_lots < most
    if status in (NEW, PENDING_NEW, REJECTED):
        return filled_lots == 0
    return 0 <= filled_lots < most


def _open_status(present: int, status: int, filled_lots: int) -> int:
    """New or PartiallyFilled, whichever is further of what was known, what is reported, and what the quantity proves."""
    return PARTIALLY_FILLED if filled_lots > 0 or PARTIALLY_FILLED in (present, status) else NEW
