"""Signals in, order intents out: styles propose, risk approves or refuses, orders and position follow from the log.

When it dies: the checkpoint is loaded and the log replayed from there; the same intents come out again, and what was
published already is not published again. It never speaks to a venue: the session acts on intents that it reads in the log.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.layout import record_reader, record_struct
from tickmesh.bus.schema import Action, Flag, Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.control import TradingControl
from tickmesh.nodes.executor.counters import executor_counters, watched
from tickmesh.nodes.executor.intents import INTENT, Answers
from tickmesh.nodes.executor.ordering import MARKS, Ordering
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.session_word import SessionWord
from tickmesh.nodes.executor.signals import declared_range
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState, StrategyStatus
from tickmesh.nodes.executor.traders import AccountLimits, Trader
from tickmesh.nodes.executor.waiting import Awaited, waiting
from tickmesh.nodes.executor.wishes import Wishes
from tickmesh.nodes.executor.working import Working
from tickmesh.nodes.orders.accounts import is_session
from tickmesh.nodes.orders.states import FINAL

READS = (
    Kind.instrument, Kind.trade, Kind.quote, Kind.gap, Kind.signal, Kind.intent, Kind.update, Kind.fill, Kind.funding,
    Kind.clock, Kind.run, Kind.command, Kind.health,
)  # fmt: skip
WRITES = (Kind.intent, Kind.command, Kind.shadow, Kind.parent)

# Taken of any instrument
UNASKED = frozenset(int(kind) for kind in (Kind.instrument, Kind.intent, Kind.update, Kind.fill, Kind.funding))

# What a style may depend on beside quotes, trades and time: of the same instrument, or of any.
TELLING_ALL = frozenset((int(Kind.intent), int(Kind.command)))
TELLING = TELLING_ALL | {int(kind) for kind in (Kind.instrument, Kind.gap, Kind.signal, Kind.update, Kind.fill)}

# Plain numbers: what an IntFlag answers is another one, made anew at each event
UNCOUNTED = int(Flag.REPAIRED | Flag.OFF_BOOK)

_read_rules = record_reader(Kind.instrument, *InstrumentRules.__struct_fields__)
QUOTE = record_struct(Kind.quote, "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
_unpack_quote, _LAST_QUOTE = QUOTE.unpack_from, -QUOTE.size  # of an event's bytes, and where
TRADE = record_struct(Kind.trade, "quantity_lots")
SIGNAL = record_struct(Kind.signal, "value")
UPDATE = record_struct(
    Kind.update, "client_order_id", "order_id", "status", "side", "order_type", "time_in_force", "price_ticks", "quantity_lots",
    "filled_lots",
)  # fmt: skip
FILL = record_struct(
    Kind.fill, "client_order_id", "side", "trade_id", "price_ticks", "quantity_lots", "fee", "fee_asset", "venue_ns"
)
FUNDING = record_struct(Kind.funding, "asset", "amount", "venue_ns", "scale")


def code_hash() -> str:
    """16 hex digits that change with the code an executor decides by: this folder's, its styles', and that of nodes/orders."""
    folder = Path(__file__).parent
    digest = sha256()
    for path in (*sorted(folder.rglob("*.py")), *sorted((folder.parent / "orders").glob("*.py"))):
        digest.update(f"{path.relative_to(folder.parent)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Step:
    """The executor, pure: intents and state follow from the events of READS alone, however they are cut into lists.

    It acts on signals of the instruments in `listed`. What it ordered on others, by settings that were changed, it follows
    and cancels all the same.
    """

    def __init__(self, config: Config, instance: str = ""):
        self._config = config
        self.settings = config.executor
        self.listed = frozenset(instrument.subject for instrument in config.traded)
        self.name = f"executor-{instance}" if instance else "executor"
        self.state = ExecutorState()
        self._code = code_hash()
        self._mark_ns = self.settings.stale_ms * 1_000_000 // MARKS
        self._answers = Answers()
        self._handlers = {
            int(Kind.quote): self._on_quote,
            int(Kind.trade): self._on_trade,
            int(Kind.gap): self._on_gap,
            int(Kind.signal): self._on_signal,
            int(Kind.update): self._on_update,
            int(Kind.fill): self._on_fill,
            int(Kind.funding): self._on_funding,
            int(Kind.intent): self._on_intent,
            int(Kind.instrument): self._on_instrument,
        }
        self._owed: tuple[list[Event], int, bool] | None = None  # what `step_rest` has to do: arguments of `_follow_up`
        self._followed: dict[str, InstrumentState] = {}  # those whose quotes are read: listed, or with orders or fills of ours
        self._prepare()

    def step(self, events: list[Event]) -> list[bytearray]:
        """Takes in events of the log, in its order, and gives the events that they cause.

        Of one event first what its own instrument answers, by strategy in the order of their names, then what a breached limit
        causes, what styles have to do, the cancels that are due by now, each by instrument in the order of their names; at last
        the records of parents that have begun or ended.
        """
        first = self.step_first(events)
        rest = self.step_rest()
        return first + rest if rest else first

    def step_first(self, events: list[Event]) -> list[bytearray]:
        """`step`, but for what follows from the last event beside the answer of its own instrument: an order need not wait for
        that. `step_rest` gives it, and has to be called before the step is given anything else."""
        assert self._owed is None, "step_rest was not called"
        answers, state, working = self._answers, self.state, self._working
        followed, handlers, reads = self._followed, self._handlers, self._reads
        answers.begin_list()
        working.is_new_list = True
        last = len(events) - 1
        for index, event in enumerate(events):
            if event.kind not in reads:
                continue
            now_ns = event.seq_ns
            marked = now_ns >= self._next_mark_ns
            if marked:
                self._mark(event.seq, now_ns)
            if (instrument := followed.get(event.subject)) is not None:
                if handler := handlers.get(event.kind):
                    handler(instrument, event)
            elif event.kind == Kind.run:
                self._on_run(event)
            elif event.kind == Kind.health:
                if is_session(event.producer):
                    state.sessions.setdefault(event.producer, SessionWord()).read_health(event.map(), now_ns)
            elif event.kind == Kind.command:
                self._control.on_command(event)
            elif event.kind in UNASKED:
                self._on_other(event)
            if marked or working.subjects or working.news or (state.due and now_ns >= state.due[0][0]):
                if index == last:
                    self._owed = events, index, marked
                else:
                    self._follow_up(events, index, marked)
        return answers.events

    def step_rest(self) -> list[bytearray]:
        """The rest of what `step` gives, after `step_first`."""
        if self._owed is None:
            return []
        owed, self._owed = self._owed, None
        self._answers.begin_rest()
        self._follow_up(*owed)
        return self._answers.events

    def _follow_up(self, events: list[Event], index: int, marked: bool) -> None:
        """What an event of the list causes beside the answer of its own instrument. `marked`: losses are to be looked at."""
        event, state, working = events[index], self.state, self._working
        if marked and self._control.watch_losses(event):
            working.notice("")
        if working.subjects:
            if event.kind in TELLING:
                working.notice("" if event.kind in TELLING_ALL else event.subject)
            if (working.pending or working.waits) and (woken := working.woken(events, index)):
                working.work(woken, event)
        if state.due and event.seq_ns >= state.due[0][0]:
            self._ordering.cancel_due(event)
        if working.news:
            working.publish_news(event)

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
        rules = InstrumentRules(*_read_rules(event.raw))
        if rules != instrument.rules:
            instrument.rules = rules

    def _on_quote(self, instrument: InstrumentState, event: Event) -> None:
        instrument.quote = _unpack_quote(event.raw, _LAST_QUOTE)
        instrument.quote_ns = event.seq_ns
        if self._counts_lag:
            instrument.market.note_lag(event)
        if instrument.shadow_orders:
            before = len(instrument.shadow_orders)
            self._ordering.follow_shadows(instrument, event)
            if len(instrument.shadow_orders) < before:
                self._working.notice(event.subject)
        if self._flattens and self.state.kill.on and instrument.involved:
            self._ordering.flatten(instrument, event)
        if instrument.closing:
            self._control.close(instrument, event)

    def _on_trade(self, instrument: InstrumentState, event: Event) -> None:
        """Takes in volume and lag; of what was fetched later, or never met the book, nothing counts."""
        if self._counts_lag:
            instrument.market.note_lag(event)
        if not event.flags & UNCOUNTED:
            for (lots,) in TRADE.iter_unpack(event.body):
                instrument.market.traded_lots += lots

    def _on_gap(self, instrument: InstrumentState, event: Event) -> None:
        instrument.market.note_gap(event, self._ordering.stale_ns)

    def _on_signal(self, instrument: InstrumentState, event: Event) -> None:
        (value,) = SIGNAL.unpack_from(event.raw, -SIGNAL.size)  # the last one
        for trader in self._by_subject.get(event.subject, ()):
            if trader.acts_on(event.producer):
                self._wishes.on_signal(trader, instrument, event, value)

    def _on_intent(self, instrument: InstrumentState, event: Event) -> None:
        """Ours, or of an executor with other settings that ran before: its orders are in the world all the same."""
        for intent_id, target, action, *terms, _, strategy, parent_seq, _ in INTENT.iter_unpack(event.body):
            client_order_id = _text(intent_id)
            if event.producer == self.name:
                kept = event.subject if action == Action.NEW else ""
                self.state.forget_unpublished(event.cause_seq, event.k, kept)
            if action != Action.NEW:
                if (asked := self.state.find_order(instrument, _text(target))) is not None:
                    self.state.remember_request(client_order_id, asked)
                    asked.amend_lots = terms[-1] if action == Action.AMEND else asked.amend_lots
                continue
            self.state.request_ids.pop(client_order_id, None)  # other settings would have cancelled something there
            order = self.state.find_order(instrument, client_order_id)
            if order is not None and not order.confirmed and order.terms != tuple(terms):
                del instrument.orders[client_order_id]  # the same place in the log, other settings
                order = None
            if order is None:
                order = self._adopt(event, client_order_id, (_text(strategy), parent_seq), *terms)
            order.confirmed = True
            stopped = order.recalled or order.strategy in instrument.closing or self._control.stopped(order.strategy)
            if order.resting and stopped:  # it was on its way
                self._ordering.cancel_now(event.subject, (order,), event.seq_ns)

    def _on_update(self, instrument: InstrumentState, event: Event) -> None:
        for raw_id, order_id, status, *terms, filled in UPDATE.iter_unpack(event.body):
            client_order_id = _text(raw_id)
            if (asked := self.state.request_ids.get(client_order_id)) is not None:
                order = self.state.find_order(instrument, asked)
                if order is not None and order.amend_lots:
                    self._ordering.cancel_unamended(event.subject, order, event.seq_ns)
                continue  # a refused cancel leaves the order as it is; the next one is due in time
            order = self.state.find_order(instrument, client_order_id)
            if order is None:
                if status in FINAL or terms[-1] <= 0:
                    continue
                order = self._adopt(event, client_order_id, ("", 0), *terms)
            order.confirmed = True
            if self.state.apply_update(instrument, order, status, filled, order_id, terms[-1]):
                self._ordering.cancel_unamended(event.subject, order, event.seq_ns)
            self._ordering.reduce_waiting(event.subject, instrument, order, event)

    def _adopt(
        self, event: Event, client_order_id: str, whose: tuple[str, int], side: int, order_type: int, force: int, price: int,
        lots: int,
    ) -> Order:  # fmt: skip
        """An order that we did not make in this life: after other settings, or of a tail that a power cut took.

        `whose`: (strategy, seq of the signal of its parent).
        """
        order = Order(client_order_id, side, order_type, force, price, lots, event.seq_ns, confirmed=True)
        order.cancel_ns, (order.strategy, order.parent_seq) = event.seq_ns + self._ordering.ttl_ns, whose
        book = self.state.instrument(event.subject).books.get(order.strategy)
        parent = book.parents.get(order.parent_seq) if book is not None else None
        # It is among them already where the log has other terms than we had for it
        if parent is not None and not parent.shadow and client_order_id not in parent.children:
            parent.children.append(client_order_id)
        self.state.add_order(event.subject, order)
        return order

    def _on_fill(self, instrument: InstrumentState, event: Event) -> None:
        for raw_id, side, trade_id, price, lots, fee, asset, venue_ns in FILL.iter_unpack(event.body):
            self.state.apply_fill(event.subject, _text(raw_id), trade_id, side, price, lots, fee, _text(asset), venue_ns)

    def _on_funding(self, instrument: InstrumentState, event: Event) -> None:
        for asset, amount, venue_ns, scale in FUNDING.iter_unpack(event.body):
            self.state.apply_funding(event.subject, _text(asset), amount * 10**scale, venue_ns)

    def _mark(self, seq: int, now_ns: int) -> None:
        """Keeps one mark that is older than stale_ns, if there is one, and those after it."""
        marks = self.state.marks
        marks.append((seq, now_ns))
        self._next_mark_ns = now_ns + self._mark_ns
        while len(marks) > 1 and now_ns - marks[1][1] >= self._ordering.stale_ns:
            del marks[0]

    def _prepare(self) -> None:
        """What follows from settings and state, so it is not part of the state."""
        config, state = self._config, self.state
        traders: dict[str, Trader] = {}
        for one in sorted(config.strategies_resolved, key=lambda one: one.name):
            subjects = frozenset(instrument.subject for instrument in config.traded_by(one))
            traders[one.name] = Trader(one, subjects, state.tightened.get(one.name, {}))
            state.strategies.setdefault(one.name, StrategyStatus(one.state))
        # Trades are looked at where a style or a guard asks for them: they are many.
        self._counts_lag = any(trader.execution.venue_lag_max_ms for trader in traders.values())
        trades = self._counts_lag or any("pov" in trader.styles for trader in traders.values())
        self._reads = frozenset(int(kind) for kind in READS if trades or kind != Kind.trade)
        account = AccountLimits(config.risk, state.tightened.get(AccountLimits.name, {}))
        self._ordering = Ordering(config.executor, config.risk, state, traders, account, self._answers)
        self._working = Working(state, traders, self._ordering, self._answers, self._reads)
        self._wishes = Wishes(state, self._ordering, self._working)
        self._control = TradingControl(self.name, state, traders, account, self._ordering, self._answers)
        self._flattens = config.risk.on_kill == "flatten"
        self._traders = traders
        self._next_mark_ns = state.marks[-1][1] + self._mark_ns if state.marks else 0
        self._by_subject = {
            subject: [trader for trader in traders.values() if subject in trader.subjects] for subject in self.listed
        }
        for subject in sorted(self.listed):
            state.instrument(subject)
        self._followed.clear()
        for subject, instrument in state.instruments.items():
            if subject in self.listed or instrument.involved:
                self._followed[subject] = instrument

    # For whoever has it run

    @property
    def reads(self) -> frozenset[int]:
        """The kinds, as numbers, that it looks at with these settings."""
        return self._reads

    def waiting(self) -> Awaited:
        """What it waits for now: of quotes and trades at which nothing of it fires only the newest need be given."""
        marks_only = not self._control.heeds_marks()
        return waiting(self.state, self._working, self._next_mark_ns, marks_only, self._flattens)

    def note_marks(self, marks: Iterable[tuple[int, int]]) -> None:
        """Takes notice of the time at events that it is not given, (seq, seq_ns) of each: see `Awaited.marks_only`."""
        for seq, now_ns in marks:
            self._mark(seq, now_ns)

    @property
    def mark_pace(self) -> tuple[int, int]:
        """(when the next mark is, how long after one the next is), ns: at the first event that it reads then."""
        return self._next_mark_ns, self._mark_ns

    def counters(self) -> dict[str, object]:
        """Positions, profits and counts for people, by instrument and in all. Asked for once a second, not at every event.

        Money is not added up over instruments: their quote currencies differ, and the log does not name them.
        """
        return executor_counters(self.state, self.listed, self._ordering.exposures) | watched(self.state, self._traders)

    def identity(self) -> dict[str, object]:
        """Code, instruments and parameters that the state depends on: a state with another identity is not loaded."""
        config = self._config
        parameters = msgspec.json.decode(msgspec.json.encode(config.executor))  # plain lists and dicts
        del parameters["instruments"]  # what they match counts, not how it was written
        strategies = {}
        for one in config.strategies_resolved:
            said = strategies[one.name] = msgspec.json.decode(msgspec.json.encode(one))
            said["instruments"] = sorted(instrument.subject for instrument in config.traded_by(one))
        limits = msgspec.json.decode(msgspec.json.encode(config.risk))
        parameters |= {"strategies": strategies, "risk": limits}
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
