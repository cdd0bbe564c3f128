"""Where our order stands in its level's queue, compiled: what a queue model makes of a level that changed.

The models and their sources: nodes/exchange/market/queue.py. venue_kernel.py calls this, and keeps the machine code.
"""

import math
from typing import Any

from numba import njit

RISK_AVERSE, POWER, LOGARITHM = range(3)  # queue models
UNKNOWN = -1  # a quantity that nothing has shown yet


@njit(nogil=True)
def changed(rules: Any, order: Any, before: Any, after: Any, unit: Any) -> None:
    """A queue model: the order's level went from one quantity to another."""
    gone = before - after - order.traded
    order.traded = 0
    if rules.model != RISK_AVERSE and gone > 0 and order.ahead > 0.0:
        behind = max(before - order.ahead, 0.0)
        if rules.model == POWER:
            front, back = (order.ahead * unit) ** rules.exponent, (behind * unit) ** rules.exponent
        else:
            front, back = math.log1p(order.ahead * unit), math.log1p(behind * unit)
        share = front / (front + back) if front + back > 0.0 else 1.0
        # more cancels behind us than there are orders can only have been before us
        order.ahead -= share * gone + max((1.0 - share) * gone - behind, 0.0)
    order.ahead = min(max(order.ahead, 0.0), float(after))


@njit(nogil=True)
def moved(rules: Any, order: Any, level: Any, as_of: Any, unit: Any) -> Any:
    """Takes an order's level as it is now, by an update id; gives whether it has the quantity that it had."""
    before = order.level
    order.level, order.as_of = level, as_of
    if before == UNKNOWN:
        order.ahead, order.traded = min(order.ahead, float(level)), 0
    elif level != before:
        changed(rules, order, before, level, unit)
    return level == before
