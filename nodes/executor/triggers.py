"""What styles wait for, by instrument, held against lists of events: at which of them somebody has to be asked. No I/O."""

import struct
from collections.abc import Iterable

import numpy as np

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.state import ExecutorState
from tickmesh.nodes.executor.styles.interface import NO_MOST, Trigger
from tickmesh.nodes.executor.trigger_kernel import NO_LAG, QUOTE, ROW, SKIPPED, TIME, TRADE, TRIGGER, first_fired

QUOTED = record_struct(Kind.quote, "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
TRADED = record_struct(Kind.trade, "price_ticks", "quantity_lots")
# Plain numbers: enumerations answer many times as slowly
REPAIRED, UNCOUNTED = int(Flag.REPAIRED), int(Flag.REPAIRED | Flag.OFF_BOOK)
QUOTE_KIND, TRADE_KIND = int(Kind.quote), int(Kind.trade)
_unpack_quoted, _LAST_QUOTED = QUOTED.unpack_from, -QUOTED.size  # of an event's bytes, and where
_PACK = struct.Struct(f"<{len(ROW.names or ())}q")
NOWHERE = -1


class Watch:
    """Triggers that are armed, and the list of events they are held against. `reads`: the kinds whose time counts."""

    def __init__(self, state: ExecutorState, reads: Iterable[int]):
        self._state = state
        self._reads = frozenset(reads)
        self._slots: dict[str, int] = {}  # by subject: its place in `_triggers` and in `_volumes`
        self._subjects: list[str] = []
        self._triggers = np.zeros(0, TRIGGER)
        self._volumes = np.zeros(0, "i8")
        self._counted: list[tuple[int, str]] = []  # (slot, subject) of those whose volume is waited for
        self._fired = np.zeros(0, "u1")
        self._buffer = bytearray()
        self._rows = np.zeros(0, ROW)
        self._events: list[Event] = []
        self._known = False  # whether `_next` holds
        self._built = False  # whether the list has its rows
        self._next = NOWHERE
        # compiled, or loaded, now, and not when the first order is to go out
        first_fired(np.zeros(1, ROW), 0, 1, np.zeros(1, TRIGGER), np.zeros(1, "i8"), np.zeros(1, "u1"))

    def begin_list(self, events: list[Event]) -> None:
        """Takes a new list of events."""
        self._events, self._known, self._built = events, False, False

    def arm(self, triggers: dict[str, Trigger]) -> None:
        """Sets what is waited for, by subject; only what differs from before costs anything."""
        if triggers.keys() != self._slots.keys():
            self._subjects = list(triggers)
            self._slots = {subject: slot for slot, subject in enumerate(self._subjects)}
            self._triggers = np.zeros(len(triggers), TRIGGER)
            self._volumes, self._fired = np.zeros(len(triggers), "i8"), np.zeros(len(triggers), "u1")
            self._built = False
        for subject, trigger in triggers.items():
            slot = self._slots[subject]
            self._triggers[slot] = (slot, *trigger)
        self._counted = [(self._slots[one], one) for one, trigger in triggers.items() if trigger.volume_lots != NO_MOST]
        self._known = False

    def fired(self, index: int) -> list[str]:
        """The subjects of which a trigger fires at this event of the list. To be asked for in order."""
        if not self._subjects:
            return []
        if not self._known:
            self._find(index)
        if index != self._next:
            return []
        self._known = False
        return [subject for subject, fired in zip(self._subjects, self._fired.tolist()) if fired]

    def _find(self, index: int) -> None:
        """Finds the next event at which a trigger fires, from `index` on."""
        if not self._built:
            self._build(index)
        for slot, subject in self._counted:
            self._volumes[slot] = self._traded_before(subject, self._events[index])
        self._next = int(first_fired(self._rows, index, len(self._events), self._triggers, self._volumes, self._fired))
        self._known = True

    def _traded_before(self, subject: str, event: Event) -> int:
        """Volume of an instrument before this event, which its state has taken in already."""
        counts = event.kind == TRADE_KIND and event.subject == subject and not event.flags & UNCOUNTED
        own = sum(lots for _, lots in TRADED.iter_unpack(event.body)) if counts else 0
        return self._state.instruments[subject].market.traded_lots - own

    def _build(self, index: int) -> None:
        """Makes the rows of the list from `index` on."""
        events, size = self._events, _PACK.size
        if len(self._rows) < len(events):
            self._buffer = bytearray(max(2 * len(events), 64) * size)
            self._rows = np.frombuffer(self._buffer, ROW)
        pack, buffer, slots, reads = _PACK.pack_into, self._buffer, self._slots, self._reads
        for i in range(index, len(events)):
            event = events[i]
            kind, at = event.kind, i * size
            slot = slots.get(event.subject, NOWHERE) if kind in (QUOTE_KIND, TRADE_KIND) else NOWHERE
            if slot < 0 or kind not in reads:
                pack(buffer, at, TIME if kind in reads else SKIPPED, NOWHERE, event.seq_ns, NO_LAG, 0, 0, 0, 0, 0)
                continue
            lag = event.recv_ns - event.venue_ns if event.venue_ns and event.recv_ns else NO_LAG
            if kind == QUOTE_KIND:
                bid, _, ask, _ = _unpack_quoted(event.raw, _LAST_QUOTED)
                pack(buffer, at, QUOTE, slot, event.seq_ns, NO_LAG if event.flags & REPAIRED else lag, bid, ask, 0, 0, 0)
            elif event.flags & UNCOUNTED:
                pack(buffer, at, TIME, slot, event.seq_ns, NO_LAG if event.flags & REPAIRED else lag, 0, 0, 0, 0, 0)
            else:
                prices, lots = zip(*TRADED.iter_unpack(event.body))
                pack(buffer, at, TRADE, slot, event.seq_ns, lag, 0, 0, min(prices), max(prices), sum(lots))
        self._built = True
