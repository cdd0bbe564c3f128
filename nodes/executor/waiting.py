"""What an executor waits for between events: whoever passes events over until one of it fires leaves out nothing. No I/O.

It may say too much, never too little: a step that is given one event more does nothing with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tickmesh.nodes.executor import shadow
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.executor.styles.interface import Trigger, any_quote
from tickmesh.nodes.executor.working import Working


class Awaited(NamedTuple):
    """Until when, and of which instruments for what. Signals, reports of orders, gaps, definitions and commands count always.

    `time_ns`: with the first event that it reads at or after that time, of whatever instrument; 0: with the next one.
    """

    time_ns: int
    triggers: Mapping[str, Trigger]


def waiting(state: ExecutorState, working: Working, mark_ns: int, flattens: bool) -> Awaited:
    """Gathers what waits: for the next mark, for cancels, styles, simulated orders, and positions that are to be closed."""
    time_ns = min(mark_ns, state.due[0][0]) if state.due else mark_ns
    if working.subjects and working.pending:
        time_ns = 0
    triggers = dict(working.waits)
    for subject, instrument in state.instruments.items():
        own = triggers.get(subject, Trigger())
        if instrument.closing or (flattens and state.kill.on and instrument.involved):
            own = own.either(any_quote())
        if instrument.shadow_orders:
            own = own.either(_of_shadows(instrument))
        if own != Trigger():
            triggers[subject] = own
    return Awaited(time_ns, triggers)


def _of_shadows(instrument: InstrumentState) -> Trigger:
    """Until a quote reaches a simulated order, or one's time is over."""
    if len(instrument.shadow_orders) > shadow.RESTING_MAX:
        return any_quote()
    wait = Trigger()
    for order in instrument.shadow_orders.values():
        reached = Trigger(ask_low=order.price_ticks) if order.side > 0 else Trigger(bid_high=order.price_ticks)
        wait = wait.either(reached if order.resting else any_quote()).no_later(order.cancel_ns)
    return wait
