"""One instrument at the simulated venue, as far as it is asked for: what arrives there, and what it says, in the log's time."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Action, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.exchange.market.latency import Latency
from tickmesh.research.backtest.live_orders import LiveOrder
from tickmesh.research.backtest.tape import MarketTape, tapes
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue
from tickmesh.research.compare.exact_session import ExactSession
from tickmesh.research.compare.numbering import roomy_id
from tickmesh.research.compare.own_orders import without_own
from tickmesh.research.compare.simulated import define, note_mids

NEVER_NS = (1 << 63) - 1


class VenueWord(NamedTuple):
    """What the venue says of an order: an event of a session, at a time of the log."""

    at_ns: int
    event: Event


class _Way:
    """The latency of what is sent next."""

    entry_ns = 0

    def at(self, now_ns: int) -> Latency:
        """As `LatencyModel.at`: the venue's words are there at once."""
        return Latency(self.entry_ns / 1e9, 0.0)


class VenueCourse:
    """A simulated venue of one instrument, in the recorded market without `own`, the orders that were live in it."""

    def __init__(self, config: Config, subject: str, terms: VenueTerms, own: Sequence[LiveOrder]):
        """`own`: in order of sending; `mids`, (n,) f8, are in ticks of the quotes as each of those that arrived was sent."""
        self._subject, self._way = subject, _Way()
        self._own = [one for one in own if one.arrived_ns]
        self._places = {id(one): place for place, one in enumerate(self._own)}
        self._venue = ColumnVenue(1, terms)
        self.session = ExactSession(self._venue, terms._replace(latency=self._way), (subject,), ())
        self.sent: list[np.void] = []  # the intents of orders, by number
        self.worth = np.nan, np.nan
        self.mids = np.full(len(self._own), np.nan)
        self.now_ns = 0
        self._at, self._stop = 0, 0
        self._times = np.zeros(0, "i8")
        self._tape: MarketTape | None = None
        first_ns = min((one.sent_ns for one in self._own), default=0)
        self._tapes = tapes(config, (subject,), (), frozenset(), first_ns, None)

    @property
    def is_busy(self) -> bool:
        """Whether something is under way, or an order is in the book."""
        return self.session.next_ns is not None or len(self._venue.resting) > 0

    def send(self, intent: np.void, sent_ns: int, arrives_ns: int) -> int:
        """Sends an order, a cancel or an amendment, which arrives then, or now if the venue is further already; gives when."""
        arrives_ns = max(arrives_ns, self.now_ns)
        self._way.entry_ns = arrives_ns - sent_ns
        if intent["action"] == Action.NEW:
            self.sent.append(intent)
        event = Event(encode(Kind.intent, self._subject, np.array([intent])))
        event.seq_ns = sent_ns
        self.session.take_answers([event])
        return arrives_ns

    def mid_of(self, order: LiveOrder) -> float:
        """The mid, in ticks, as a live order that arrived was sent; NaN where there was none."""
        return float(self.mids[self._places[id(order)]])

    def keep(self, names: Collection[bytes]) -> None:
        """Takes every order but these out: client ids of the recording."""
        self.session.keep({roomy_id(one) for one in names})

    def advance(self, until_ns: int) -> list[VenueWord]:
        """Goes on until this time, the market's events first; gives what the venue says."""
        found: list[VenueWord] = []
        while True:
            due_ns = self.session.next_ns
            bound_ns = until_ns if due_ns is None else min(due_ns, until_ns)
            self._pass(bound_ns)
            now_due_ns = self.session.next_ns
            if now_due_ns is not None and now_due_ns <= min(bound_ns, until_ns):
                at_ns, raw = self.session.arrive()
                if raw is not None:
                    found.append(VenueWord(at_ns, Event(raw)))
            elif bound_ns == until_ns:
                self.now_ns = max(self.now_ns, until_ns)
                return found

    def _pass(self, bound_ns: int) -> None:
        """Passes rows up to a time, or to the first that fills an order."""
        while True:
            tape = self._tape
            if tape is None or self._at >= len(self._times):
                if not self._next_tape():
                    return
                continue
            if self._times[self._at] > bound_ns:
                return
            stop = int(np.searchsorted(self._times, bound_ns, "right"))
            while self._stop < len(tape.stops) and tape.stops[self._stop] < self._at:
                self._define(tape, int(tape.stops[self._stop]))
                self._stop += 1
            if self._stop < len(tape.stops):
                stop = min(stop, int(tape.stops[self._stop]) + 1)
            self._at, reports = self._venue.pass_rows(tape.market, self._at, stop)
            if reports:
                self.session.take_reports(reports, int(self._times[self._at - 1]))
                return

    def _next_tape(self) -> bool:
        if self._tape is not None:
            for stop in self._tape.stops[self._stop :].tolist():
                self._define(self._tape, stop)
        found = next(self._tapes, None)
        if found is None:
            return False
        self._tape = without_own(found, self._own, 0)
        note_mids(found, self._own, self.mids)
        self._at, self._stop = 0, 0
        self._times = np.ascontiguousarray(found.market.rows["seq_ns"])
        return True

    def _define(self, tape: MarketTape, row: int) -> None:
        self.worth = define(self.session, tape, row) or self.worth
