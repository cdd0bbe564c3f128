"""Orders on paper, every few milliseconds while there is no other: so the next real one finds its code in the caches.

Between two orders of a quiet market other code has had the processor's caches, and the same instructions take half as long
again. A rehearsal goes their way with objects of its own: steps that are made like the hosted ones and are given made-up
events, and a session's sender without connection or key (nodes/session/paper_sender.py). Of the mesh it has the exponents and
the bytes of one quote of each instrument; it has nothing to publish with, and nobody asks what it gives.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Protocol

from tickmesh.bus.clock import now_ns
from tickmesh.bus.layout import record_reader, record_struct
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import Event, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.runner.hosting import HostedContext
from tickmesh.nodes.runner.step import PureStep, UrgentStep

SECOND = 1_000_000_000  # of made-up time between two rehearsals, so that no limit of a rate is met
ORDERS_KEPT = 500  # by the executor: then it begins anew, so that the garbage collector never has much to look through
LOG_ID = "0" * 16
QUOTE, INTENT = int(Kind.quote), int(Kind.intent)  # plain numbers: an enumeration is asked by a call
_DEFINITION, _SIGNAL = record_struct(Kind.instrument), record_struct(Kind.signal, "value")
_UPDATE = record_struct(
    Kind.update, "client_order_id", "order_id", "status", "side", "order_type", "quantity_lots", "filled_lots"
)
_FILL = record_struct(Kind.fill, "client_order_id", "side", "trade_id", "price_ticks", "quantity_lots")
_read_quote = record_reader(Kind.quote, "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
_read_intent = record_reader(Kind.intent, "client_order_id", "action", "side", "order_type", "quantity_lots")


class Sender(Protocol):
    """Acts on an intent as a session does, but that nothing leaves the process, and forgets it."""

    def act_on(self, intent: Event) -> None: ...


class Rehearsal:
    """`models`: by process name a new step, and the subjects that it is for; `executor`: a new step; `senders`: new ones.

    `instruments`: subject → exponents, of those that are known by now. `orders` counts the orders that were made up.
    """

    def __init__(
        self, models: Mapping[str, tuple[PureStep, Sequence[str]]], executor: UrgentStep, senders: Sequence[Sender],
        instruments: Mapping[str, Instrument],
    ):  # fmt: skip
        self._models = models
        self._executor = executor
        self._senders = senders
        self._instruments = instruments
        self._turns = cycle([(name, subject) for name, (_, subjects) in models.items() for subject in subjects])
        self._quotes: dict[str, bytes] = {}  # by subject: the first one that can be traded on, for good
        self._defined: set[str] = set()
        self._defined_state = b""  # the executor's after the last definition
        self._busy = False
        self._seq, self._now_ns, self._side = 0, 0, 1
        self.orders, self._forget_at = 0, ORDERS_KEPT
        self._executor.step([self._logged(encode(Kind.run, "sequencer", {"log_id": LOG_ID}), "sequencer")])

    def note(self, events: list[Event]) -> None:
        """Takes notice of the log's next events: that there was a real order, and what an instrument's quotes are like.

        It is called in the sequencer's append, where nothing may fail: all else is done in `run`.
        """
        for event in events:
            if event.kind == INTENT:
                self._busy = True
            elif event.kind == QUOTE and event.subject not in self._quotes:
                bid, bid_lots, ask, ask_lots = _read_quote(event.raw)
                if 0 < bid < ask and bid_lots > 0 and ask_lots > 0:
                    self._quotes[event.subject] = bytes(event.raw)

    def run(self, now_ns: int) -> None:
        """Makes up a signal of the next model and instrument, and goes the way of its orders; nothing after a real one."""
        busy, self._busy = self._busy, False
        turn = next(self._turns, None)
        if busy or turn is None or (quote := self._quotes.get(turn[1])) is None:
            return
        model, subject = turn
        if subject not in self._defined:
            if subject not in self._instruments:
                return
            self._define(subject)
        self._now_ns = max(self._now_ns + SECOND, now_ns)  # never behind the mesh's: an order may not be sent late
        seen = self._logged(bytearray(quote), "feed")
        self._models[model][0].step([seen])
        self._executor.step([seen])
        self._side = -self._side
        signal = encode(Kind.signal, subject, _SIGNAL.pack(self._side), cause_seq=seen.seq)
        given = self._logged_all(self._executor.step_first([self._logged(signal, model)]))
        self._send(given)
        given += self._logged_all(self._executor.step_rest())
        self._executor.step(given)
        for intent in given:
            if intent.kind == INTENT:
                self._fill(intent, _read_quote(quote)[0])
        if self.orders >= self._forget_at:
            self._forget_at = self.orders + ORDERS_KEPT
            self._executor.load(self._defined_state)

    def _define(self, subject: str) -> None:
        instrument = self._instruments[subject]
        record = _DEFINITION.pack(instrument.price_exponent, instrument.quantity_exponent, 1, 1, 1, 1)
        definition = self._logged(encode(Kind.instrument, subject, record), "feed")
        for step, _ in self._models.values():
            step.step([definition])
        self._executor.step([definition])
        self._defined.add(subject)
        self._defined_state = self._executor.save()

    def _fill(self, intent: Event, price_ticks: int) -> None:
        """The order of an intent is filled at one price for ever: it gains and loses nothing, and the next one closes it."""
        name, action, side, order_type, lots = _read_intent(intent.raw)
        if action != Action.NEW:
            return
        fill = _FILL.pack(name, side, intent.seq, price_ticks, lots)
        update = _UPDATE.pack(name, intent.seq, Status.Filled, side, order_type, lots, lots)
        outcome = [
            self._logged(encode(Kind.fill, intent.subject, fill), "session"),
            self._logged(encode(Kind.update, intent.subject, update), "session"),
        ]
        self._executor.step(outcome)
        self.orders += 1

    def _send(self, events: list[Event]) -> None:
        for sender in self._senders:
            for event in events:
                if event.kind == INTENT:
                    sender.act_on(event)

    def _logged_all(self, given: list[bytearray]) -> list[Event]:
        return [self._logged(event, "executor") for event in given]

    def _logged(self, event: bytearray, producer: str) -> Event:
        self._seq += 1
        self._now_ns += 1
        stamp_sent(event, producer_bytes(producer), 1, self._seq, self._now_ns)
        stamp_sequenced(event, self._seq, 0, self._now_ns)
        return Event(event)


async def rehearse(ctx: HostedContext, make: Callable[[], Rehearsal], every_s: float) -> None:
    """Rehearses every `every_s` until the context stops. What fails in it ends only itself, with an alert."""
    rehearsal: Rehearsal | None = None
    try:
        rehearsal = await asyncio.to_thread(make)
        ctx.host.handlers.append(rehearsal.note)
        while not ctx.stop.is_set():
            await asyncio.sleep(every_s)
            rehearsal.run(now_ns())
    except Exception as error:  # noqa: BLE001 - a model of a person's own may raise anything, and orders do not need this
        why = f"{type(error).__name__}: {error}"
        action = "orders go on, those after a silence take longer; hosting.warm_ms = 0 in mesh.toml leaves it out"
        ctx.alert("warning", "rehearsals stopped", why, action)
    finally:
        if rehearsal is not None and rehearsal.note in ctx.host.handlers:
            ctx.host.handlers.remove(rehearsal.note)
