"""Where the time between a venue's event and our order goes, hop by hop, from the times that the messages themselves have.

One computation for the gateway, for `mesh latency` and for `python -m bench tick_to_order`. Only what this machine's clock
stamped is compared, but for `venue → here`, which has the venue's.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

from tickmesh.bus.schema import Flag, Kind, Status
from tickmesh.bus.wire import Event

VENUE, FEED, MARKET_TO_LOG = "venue → here", "feed: read, appended, sent", "market data → log"
TO_MODEL, MODEL, SIGNAL_TO_LOG = "log → model", "model: computed, appended, sent", "signal → log"
TO_EXECUTOR, EXECUTOR, INTENT_TO_LOG = "log → executor", "executor: decided, appended, sent", "intent → log"
NOTED, ACKNOWLEDGED, FILLED = "log → session: noted as PendingNew", "sent → acknowledged", "sent → first fill"
TICK_TO_ORDER = "tick → order"
HOPS = (
    VENUE, FEED, MARKET_TO_LOG, TO_MODEL, MODEL, SIGNAL_TO_LOG, TO_EXECUTOR, EXECUTOR, INTENT_TO_LOG, NOTED, ACKNOWLEDGED,
    FILLED, TICK_TO_ORDER,
)  # fmt: skip
MARKET = (Kind.trade, Kind.quote, Kind.depth)
KINDS = (*MARKET, Kind.signal, Kind.intent, Kind.update, Kind.fill)
REMEMBERED = 100_000
Key = TypeVar("Key")
Value = TypeVar("Value")


class Moments(NamedTuple):
    """What is remembered of an event: its times in ns (0: none), and what caused it."""

    kind: int
    last_id: int
    cause_seq: int
    recv_ns: int
    sent_ns: int
    seq_ns: int


class OrderPath(NamedTuple):
    """One order with all that led to it, up to the session's note that it is PendingNew, upon which it goes to the venue."""

    client_order_id: str
    tick: Moments
    signal: Moments
    intent: Moments
    noted: Moments

    @property
    def times(self) -> tuple[int, ...]:
        """The ns at which one hop ends and the next begins: from the tick's arrival here to `noted`, as it was sent."""
        steps = (self.tick, self.signal, self.intent)
        return (*(ns for one in steps for ns in (one.recv_ns, one.sent_ns, one.seq_ns)), self.noted.sent_ns)


class Hop(NamedTuple):
    """A hop that an event has shown: its name of HOPS, and how long it took. Below 0 where clocks differ."""

    name: str
    ns: int


class HopTracker:
    """Follows the events of a log, in order, and gives the hops that each shows.

    `remembered`: events of each kind of which a later one may name the cause; a cause is milliseconds old.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._ticks: dict[int, Moments] = {}
        self._signals: dict[int, Moments] = {}
        self._intents: dict[str, Moments] = {}
        self._noted: dict[str, Moments] = {}
        self._filled: dict[str, Moments] = {}

    def add(self, event: Event) -> tuple[list[Hop], OrderPath | None]:
        """Takes the next event; gives its hops, and the whole way of an order where this is the note that it is sent."""
        kind = event.kind
        now = Moments(kind, event.last_id, event.cause_seq, event.recv_ns, event.sent_ns, event.seq_ns)
        if kind in MARKET:
            self._keep(self._ticks, event.seq, now)
            live = event.venue_ns and event.recv_ns and not event.flags & Flag.REPAIRED
            venue = [Hop(VENUE, event.recv_ns - event.venue_ns)] if live else []
            return venue + _own(now, FEED, MARKET_TO_LOG), None
        if kind == Kind.signal:
            self._keep(self._signals, event.seq, now)
            return _from(self._ticks.get(event.cause_seq), now, TO_MODEL) + _own(now, MODEL, SIGNAL_TO_LOG), None
        if kind == Kind.intent:
            self._keep(self._intents, _client_id(event), now)
            cause = self._signals.get(event.cause_seq) or self._ticks.get(event.cause_seq)
            return _from(cause, now, TO_EXECUTOR) + _own(now, EXECUTOR, INTENT_TO_LOG), None
        if kind == Kind.update:
            return self._update(event, now)
        if kind == Kind.fill:
            return _between(self._filled.pop(_client_id(event), None), now, FILLED), None
        return [], None

    def _update(self, event: Event, now: Moments) -> tuple[list[Hop], OrderPath | None]:
        name = _client_id(event)
        intent = self._intents.pop(name, None)
        if intent is None or event.records["status"][0] != Status.PendingNew:
            return _between(self._noted.pop(name, None), now, ACKNOWLEDGED), None
        self._keep(self._noted, name, now)
        self._keep(self._filled, name, now)
        hops = [Hop(NOTED, now.sent_ns - intent.seq_ns)]
        signal = self._signals.get(intent.cause_seq)
        tick = None if signal is None else self._ticks.get(signal.cause_seq)
        if signal is None or tick is None or not tick.recv_ns:
            return hops, None
        path = OrderPath(name, tick, signal, intent, now)
        return [*hops, Hop(TICK_TO_ORDER, now.sent_ns - tick.recv_ns)], path

    def _keep(self, remembered: dict[Key, Value], key: Key, value: Value) -> None:
        """Remembers; the oldest are forgotten where there are too many."""
        if len(remembered) >= self._remembered:
            for old in list(islice(remembered, self._remembered // 2)):
                del remembered[old]
        remembered[key] = value


def order_paths(events: Iterable[Event]) -> Iterator[OrderPath]:
    """Gives the whole way of each order among these events of a log, in the order in which the session noted them."""
    tracker = HopTracker()
    for event in events:
        _, path = tracker.add(event)
        if path is not None:
            yield path


def _own(event: Moments, work: str, to_log: str) -> list[Hop]:
    """The hops within a producer, and from it to the log."""
    if not event.sent_ns:
        return []
    hops = [Hop(work, event.sent_ns - event.recv_ns)] if event.recv_ns else []
    return [*hops, Hop(to_log, event.seq_ns - event.sent_ns)]


def _from(cause: Moments | None, event: Moments, name: str) -> list[Hop]:
    """The hop from its cause in the log to the process that published the event."""
    return [Hop(name, event.recv_ns - cause.seq_ns)] if cause is not None and event.recv_ns else []


def _between(noted: Moments | None, event: Moments, name: str) -> list[Hop]:
    """The hop from an order's sending to a word of the venue about it."""
    return [Hop(name, event.recv_ns - noted.sent_ns)] if noted is not None and event.recv_ns else []


def _client_id(event: Event) -> str:
    return bytes(event.records["client_order_id"][0]).rstrip(b"\0").decode()
