"""Signals in, order intents out: styles propose, risk approves or refuses, orders and position follow from the log.

When it dies: the checkpoint is loaded and the log replayed from there; the same intents come out again, and what was
published already is not published again. It never speaks to a venue: the session acts on intents that it reads in the log.
"""

from bisect import bisect_right
from hashlib import sha256
from operator import itemgetter
from pathlib import Path

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.layout import record_reader, record_struct
from tickmesh.bus.schema import Action, Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor import risk, styles
from tickmesh.nodes.executor.counters import executor_counters
from tickmesh.nodes.executor.intents import INTENT, IntentPlace, build_cancel, build_intent
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.risk import InstrumentRules, Refused
from tickmesh.nodes.executor.sizes import Sizes
from tickmesh.nodes.executor.signals import RANGE, declared_range
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.executor.styles import Quote
from tickmesh.nodes.orders.states import FINAL

READS = (
    Kind.instrument, Kind.quote, Kind.signal, Kind.intent, Kind.update, Kind.fill, Kind.clock, Kind.run,
)  # fmt: skip
WRITES = (Kind.intent,)

MS = 1_000_000
UNASKED = frozenset(int(kind) for kind in (Kind.instrument, Kind.intent, Kind.update, Kind.fill))  # taken of any instrument
CANCEL_AGAIN_MAX = 5  # the pause between two cancels of one order doubles so many times
MARKS = 16  # how finely the age of a signal's cause is known: stale_ms ÷ 16

_read_rules = record_reader(Kind.instrument, *InstrumentRules.__struct_fields__)
QUOTE = record_struct(Kind.quote, "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
SIGNAL = record_struct(Kind.signal, "value")
UPDATE = record_struct(
    Kind.update, "client_order_id", "order_id", "status", "side", "order_type", "time_in_force", "price_ticks", "quantity_lots",
    "filled_lots",
)  # fmt: skip
FILL = record_struct(Kind.fill, "client_order_id", "side", "trade_id", "price_ticks", "quantity_lots", "fee", "fee_asset")


def code_hash() -> str:
    """16 hex digits that change with the code an executor decides by: this folder's and that of nodes/orders."""
    folder = Path(__file__).parent
    digest = sha256()
    for path in (*sorted(folder.glob("*.py")), *sorted((folder.parent / "orders").glob("*.py"))):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Step:
    """The executor, pure: intents and state follow from the events of READS alone, however they are cut into lists.

    It acts on signals of the instruments in `listed`. What it ordered on others, by settings that were changed, it follows
    and cancels all the same.
    """

    def __init__(self, config: Config, instance: str = ""):
        self.settings = config.executor
        self.listed = frozenset(instrument.subject for instrument in config.traded)
        self.name = f"executor-{instance}" if instance else "executor"
        self.state = ExecutorState()
        self._code = code_hash()
        self._ttl_ns = self.settings.order_ttl_ms * MS
        self._stale_ns = self.settings.stale_ms * MS
        self._intent_ttl_ns = self.settings.intent_ttl_ms * MS
        period_ns = round(risk.SECOND / self.settings.orders_per_s)
        self._limits = risk.RiskLimits(0, self._stale_ns, period_ns, max(1, int(self.settings.orders_per_s)))
        self._sizes: dict[str, Sizes] = {}
        self._intents: list[bytearray] = []
        self._k = 0
        self._handlers = {
            int(Kind.quote): self._on_quote,
            int(Kind.signal): self._on_signal,
            int(Kind.update): self._on_update,
            int(Kind.fill): self._on_fill,
            int(Kind.intent): self._on_intent,
            int(Kind.instrument): self._on_instrument,
        }
        self._reads = frozenset(int(kind) for kind in READS)
        self._followed: dict[str, InstrumentState] = {}  # those whose quotes are read: listed, or with orders or fills of ours
        self._prepare()

    def step(self, events: list[Event]) -> list[bytearray]:
        """Takes in events of the log, in its order, and gives the intents that they cause.

        Of one event first what its own instrument answers, then the cancels that are due by now, by instrument in the order of
        their names.
        """
        self._intents = []
        state, mark_ns = self.state, self._stale_ns // MARKS
        followed, handlers = self._followed, self._handlers
        for event in events:
            if event.kind not in self._reads:
                continue
            self._k = 0
            now_ns = event.seq_ns
            if not state.marks or now_ns - state.marks[-1][1] >= mark_ns:
                self._mark(event.seq, now_ns)
            if (instrument := followed.get(event.subject)) is not None:
                if handler := handlers.get(event.kind):
                    handler(instrument, event)
            elif event.kind == Kind.run:
                self._on_run(event)
            elif event.kind in UNASKED:
                self._on_other(event)
            if state.due and now_ns >= state.due[0][0]:
                self._cancel_due(event)
        return self._intents

    # Taking in the log

    def _on_run(self, event: Event) -> None:
        if event.producer == "sequencer":
            self.state.log_id = str(event.map().get("log_id", self.state.log_id))[:16]
        elif event.producer.startswith("model-"):
            self.state.ranges[event.producer] = declared_range(event.map())

    def _on_other(self, event: Event) -> None:
        """Of an instrument that is not followed: its definition, or an order or a fill, with which it is from now on."""
        instrument = self.state.instrument(event.subject)
        self._handlers[event.kind](instrument, event)
        if instrument.involved:
            self._followed[event.subject] = instrument

    def _on_instrument(self, instrument: InstrumentState, event: Event) -> None:
        instrument.rules = InstrumentRules(*_read_rules(event.raw))
        if event.subject in self.listed:
            self._sizes[event.subject] = Sizes(self.settings, instrument.rules)

    def _on_quote(self, instrument: InstrumentState, event: Event) -> None:
        instrument.quote = QUOTE.unpack_from(event.raw, -QUOTE.size)  # the last one
        instrument.quote_ns = event.seq_ns

    def _on_intent(self, instrument: InstrumentState, event: Event) -> None:
        """Ours, or of an executor with other settings that ran before: its orders are in the world all the same."""
        for intent_id, target, action, *terms, _ in INTENT.iter_unpack(event.body):
            client_order_id = _text(intent_id)
            if event.producer == self.name:
                kept = "" if action == Action.CANCEL else event.subject
                self.state.forget_unpublished(event.cause_seq, event.k, kept)
            if action == Action.CANCEL:
                if (cancelled := self.state.find_order(instrument, _text(target))) is not None:
                    self.state.remember_cancel(client_order_id, cancelled)
                continue
            self.state.cancel_ids.pop(client_order_id, None)  # other settings would have cancelled something there
            order = self.state.find_order(instrument, client_order_id)
            if order is not None and not order.confirmed and order.terms != tuple(terms):
                del instrument.orders[client_order_id]  # the same place in the log, other settings
                order = None
            if order is None:
                order = self._adopt(event, client_order_id, *terms)
            order.confirmed = True

    def _on_update(self, instrument: InstrumentState, event: Event) -> None:
        for raw_id, order_id, status, *terms, filled in UPDATE.iter_unpack(event.body):
            client_order_id = _text(raw_id)
            if client_order_id in self.state.cancel_ids:
                continue  # a refused cancel leaves the order as it is; the next one is due in time
            order = self.state.find_order(instrument, client_order_id)
            if order is None:
                if status in FINAL or terms[-1] <= 0:
                    continue
                order = self._adopt(event, client_order_id, *terms)
            order.confirmed = True
            self.state.apply_update(instrument, order, status, filled, order_id)

    def _adopt(
        self, event: Event, client_order_id: str, side: int, order_type: int, force: int, price: int, lots: int
    ) -> Order:
        """An order that we did not make in this life: after other settings, or of a tail that a power cut took."""
        order = Order(client_order_id, side, order_type, force, price, lots, event.seq_ns, confirmed=True)
        order.cancel_ns = event.seq_ns + self._ttl_ns
        self.state.add_order(event.subject, order)
        return order

    def _on_fill(self, instrument: InstrumentState, event: Event) -> None:
        for raw_id, side, trade_id, price, lots, fee, asset in FILL.iter_unpack(event.body):
            self.state.apply_fill(instrument, _text(raw_id), trade_id, side, price, lots, fee, _text(asset))

    # Sending and cancelling

    def _on_signal(self, instrument: InstrumentState, event: Event) -> None:
        (value,) = SIGNAL.unpack_from(event.raw, -SIGNAL.size)  # the last one
        state, sizes, rules = self.state, self._sizes.get(event.subject), instrument.rules
        if sizes is None and event.subject not in self.listed:
            return
        least, most = state.ranges.get(event.producer, RANGE)
        if not least <= value <= most:  # nor a NaN
            instrument.count_refusal("range")
            return
        if abs(value) < self.settings.signal_threshold:
            return
        instrument.signals += 1
        if sizes is None or rules is None or not state.log_id:
            instrument.count_refusal("not_ready")
            return
        mark_seq, mark_ns = state.marks[0]
        if event.cause_seq < mark_seq and event.seq_ns - mark_ns >= self._stale_ns:
            instrument.count_refusal("stale_signal")
            return
        if not all(order.confirmed for order in instrument.orders.values()):
            instrument.count_refusal("unconfirmed")  # one at a time is under way to the log
            return
        quote = Quote(*instrument.quote)
        style = self.settings.styles[instrument.turn % len(self.settings.styles)]
        # at the bid, the lower of both prices: what is worth enough there is worth enough wherever it is offered
        draft = styles.build_draft(style, 1 if value > 0 else -1, quote, sizes.order_lots(quote.bid_ticks))
        limits = self._limits._replace(position_max_lots=sizes.position_lots(quote.bid_ticks))
        answer = risk.check(
            draft, quote, instrument.quote_ns, event.seq_ns, rules, limits, instrument.position.lots,
            instrument.orders.values(), state.bucket,
        )  # fmt: skip
        if isinstance(answer, Refused):
            instrument.count_refusal(answer.reason)
            if answer.reason == "own_order":
                self._make_way(instrument, draft.side, event)
            return
        instrument.turn += 1
        place = self._place(event, event.subject, self._expiry_ns(event))
        self._add(instrument, build_intent(answer, place))
        side, order_type, force, price_ticks, lots, _ = answer.draft
        order = Order(place.client_order_id, side, order_type, force, price_ticks, lots, event.seq_ns, place.cause_seq, place.k)
        order.cancel_ns = event.seq_ns + self._ttl_ns
        state.add_order(event.subject, order)

    def _make_way(self, instrument: InstrumentState, side: int, event: Event) -> None:
        """The signal has turned: what rests on the other side is cancelled now, not when its time is over."""
        for order in instrument.orders.values():
            if order.side == -side and order.resting and not order.cancels:
                order.cancel_ns = event.seq_ns
                self.state.schedule(event.subject, event.seq_ns)

    def _cancel_due(self, event: Event) -> None:
        """Orders beyond their time, in whatever state: a cancel makes the session find out. Again, ever more rarely."""
        state, now_ns = self.state, event.seq_ns
        for subject in state.take_due(now_ns):
            instrument = state.instruments[subject]
            for order in instrument.orders.values():
                if order.final:
                    continue
                if order.cancel_ns <= now_ns and not order.confirmed:
                    order.cancel_ns = now_ns + self._ttl_ns  # not in the log yet: nobody can have sent it
                elif order.cancel_ns <= now_ns and self._is_ours(order):
                    pause_ns = max(self._ttl_ns, self._intent_ttl_ns) << min(order.cancels, CANCEL_AGAIN_MAX)
                    order.cancels += 1
                    order.cancel_ns = now_ns + pause_ns
                    place = self._place(event, subject)
                    self._add(instrument, build_cancel(order, place))
                    state.remember_cancel(place.client_order_id, order)
                    state.cancels += 1
                if order.cancel_ns > now_ns:
                    state.schedule(subject, order.cancel_ns)

    def _is_ours(self, order: Order) -> bool:
        """Somebody's own orders on this account count in the exposure, but are theirs to cancel."""
        return bool(self.state.log_id) and order.client_order_id[:1] == "t" and order.client_order_id[17:18] == "-"

    def _place(self, cause: Event, subject: str, expires_ns: int = 0) -> IntentPlace:
        """Of the next intent that `cause` brings about."""
        return IntentPlace(subject, self.state.log_id, cause.seq, self._k, expires_ns)

    def _expiry_ns(self, signal: Event) -> int:
        """Until when an order on this signal may be sent: as long as what the signal is about is not older than stale_ms.

        The session compares it with the time at which it can act, so what is made up for after an absence is too late there.
        """
        marks = self.state.marks
        newest = max(bisect_right(marks, signal.cause_seq, key=itemgetter(0)) - 1, 0)
        return min(signal.seq_ns + self._intent_ttl_ns, marks[newest][1] + self._stale_ns)

    def _add(self, instrument: InstrumentState, intent: bytearray) -> None:
        self._intents.append(intent)
        self._k += 1
        self.state.intents += 1
        instrument.intents += 1

    def _mark(self, seq: int, now_ns: int) -> None:
        """Keeps one mark that is older than stale_ns, if there is one, and those after it."""
        marks = self.state.marks
        marks.append((seq, now_ns))
        while len(marks) > 1 and now_ns - marks[1][1] >= self._stale_ns:
            del marks[0]

    def _prepare(self) -> None:
        """What follows from settings and state, so it is not part of the state."""
        self._sizes.clear()
        for subject in sorted(self.listed):
            instrument = self.state.instrument(subject)
            if instrument.rules is not None:
                self._sizes[subject] = Sizes(self.settings, instrument.rules)
        self._followed.clear()
        for subject, instrument in self.state.instruments.items():
            if subject in self.listed or instrument.involved:
                self._followed[subject] = instrument

    # For the runner

    def counters(self) -> dict[str, object]:
        """Positions, profits and counts for people, by instrument and in all. Asked for once a second, not at every event.

        Money is not added up over instruments: their quote currencies differ, and the log does not name them.
        """
        return executor_counters(self.state, self.listed)

    def identity(self) -> dict[str, object]:
        """Code, instruments and parameters that the state depends on: a state with another identity is not loaded."""
        parameters = msgspec.json.decode(msgspec.json.encode(self.settings))  # plain lists and dicts
        del parameters["instruments"]  # what they match counts, not how it was written
        return {"code": self._code, "instruments": sorted(self.listed), "parameters": parameters}

    def save(self) -> bytes:
        """The state as bytes for `load`, with the code and parameters that made it."""
        return msgspec.json.encode({"identity": self.identity(), "state": self.state})

    def load(self, state: bytes) -> None:
        """Goes on where `save` was called. Raises ValueError for a state of other code or parameters."""
        try:
            saved = msgspec.json.decode(state, type=ExecutorCheckpoint)
        except msgspec.DecodeError as error:
            raise ValueError(f"the executor's state cannot be read: {error}") from None
        if saved.identity != self.identity():
            raise ValueError("the executor's state was made by other code, parameters or instruments")
        self.state = saved.state
        self._prepare()


class ExecutorCheckpoint(msgspec.Struct):
    """What `Step.save` writes: a state, and the identity of the code and parameters that made it."""

    identity: dict[str, object]
    state: ExecutorState


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
