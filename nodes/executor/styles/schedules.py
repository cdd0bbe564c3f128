"""When how much of a parent is due: all at once, in equal parts over a horizon, or as a share of what is traded."""

from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.styles.interface import Trigger, View

PPM = 1_000_000


def twap(parent: Parent, view: View) -> tuple[int, Trigger]:
    """Equal parts, one at the beginning of each of `slices` equal times of the horizon. What one leaves the next has to do."""
    slices = view.settings.slices or 1
    horizon_ns = parent.deadline_ns - parent.begun_ns
    index = min((view.now_ns - parent.begun_ns) * slices // horizon_ns, slices - 1)
    if index == slices - 1:
        return parent.wanted_lots, Trigger()
    next_ns = parent.begun_ns + -(-(index + 1) * horizon_ns // slices)
    return view.rules.whole(parent.wanted_lots * (index + 1) // slices), Trigger(time_ns=next_ns)


def pov(parent: Parent, view: View) -> tuple[int, Trigger]:
    """The share `participation` of what has been traded since it began, in `slices` parts, or fewer: none is below what the
    venue takes. Each part costs requests, so their number is bounded, however much is traded.
    """
    wanted, least = parent.wanted_lots, least_lots(parent, view)
    share = max(round((view.settings.participation or 0.0) * PPM), 1)
    part = max(view.rules.whole_up(-(-wanted // (view.settings.slices or 1))), least)
    earned = (view.traded_lots - parent.traded_lots) * share // PPM
    if earned >= wanted:
        return wanted, Trigger()
    due = earned // part * part
    if wanted - due < least:  # the venue would not take the last part alone: it waits, and the part before it, too
        due = max(due - part, 0)
    following = due + part if wanted - due - part >= least else wanted
    return due, Trigger(volume_lots=parent.traded_lots + -(-following * PPM // share))


def least_lots(parent: Parent, view: View) -> int:
    """The smallest order that the venue took when the parent began."""
    rules = view.rules
    worth: int = -(-rules.min_notional * 10**-rules.quantity_exponent // max(parent.bid_ticks, 1))
    return rules.whole_up(max(rules.min_quantity, worth, 1))
