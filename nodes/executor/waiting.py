"""What an executor waits for between events: whoever passes events over until one of it fires leaves out nothing. No I/O.

It may say too much, never too little: a step that is given one event more does nothing with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tickmesh.nodes.executor.state import ExecutorState
from tickmesh.nodes.executor.styles.interface import Trigger, any_quote
from tickmesh.nodes.executor.working import Working


class Awaited(NamedTuple):
    """Until when, and of which instruments for what. Signals, reports of orders, gaps, definitions and commands count always.

    Both times: the first event that it reads at or after them, of whatever instrument. `time_ns`: something is due then, be it
    in a silence (0: with the next event); `mark_ns`: it takes notice of the time, which means nothing as long as nothing comes.
    `marks_only`: nothing follows from that, as long as quotes are `is_tradable`: it need only be told of it before the next
    event that it is given (`Step.note_marks`).
    """

    time_ns: int
    mark_ns: int
    marks_only: bool
    triggers: Mapping[str, Trigger]


def waiting(state: ExecutorState, working: Working, mark_ns: int, marks_only: bool, flattens: bool) -> Awaited:
    """Gathers what waits: for the next mark, for cancels, styles, simulated orders, and positions that are to be closed."""
    time_ns = Trigger().time_ns if not state.due else state.due[0][0]
    if working.subjects and working.pending:
        time_ns = 0
    triggers = dict(working.waits)
    for subject, instrument in state.instruments.items():
        flattened = flattens and state.kill.on and instrument.involved
        if instrument.closing or instrument.shadow_orders or flattened:  # they look at each quote
            triggers[subject] = triggers.get(subject, Trigger()).either(any_quote())
    return Awaited(time_ns, mark_ns, marks_only, triggers)
