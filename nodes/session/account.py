"""What a session knows of its orders: rebuilt from the log, moved on by the venue's reports. Sans I/O.

The venue reports the same thing up to four times (reply, user stream, open orders, own trades) in any order. Each fill is
published once (nodes/orders/fills.py: which fill is which), and an order moves as nodes/orders/states.py allows.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from tickmesh.bus.clock import STEP_NS
from tickmesh.bus.layout import record_reader, record_struct
from tickmesh.bus.names import fitting
from tickmesh.bus.schema import DTYPES, SCHEMA_HASH, Action, Kind, Status
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import Event, decode, encode
from tickmesh.nodes.orders import fills, states
from tickmesh.nodes.session.account_state import AccountState, SessionOrder
from tickmesh.nodes.session.balances import Balances
from tickmesh.nodes.session.fundings import Fundings
from tickmesh.nodes.session.positions import Positions
from tickmesh.nodes.venues.order_venue import Fill, OrderTerms, Report
from tickmesh.nodes.venues.private import asset_name

UPDATE, FILL = record_struct(Kind.update), record_struct(Kind.fill)
# Plain numbers: an enumeration is asked by a call
CLOCK, INTENT, FILL_KIND, INSTRUMENT = int(Kind.clock), int(Kind.intent), int(Kind.fill), int(Kind.instrument)
UPDATE_KIND, NEW, CANCEL = int(Kind.update), int(Action.NEW), int(Action.CANCEL)
READ_OF_FILL = record_struct(Kind.fill, "client_order_id", "side", "trade_id", "quantity_lots", "venue_ns")
_read_intent = record_reader(Kind.intent, "client_order_id", "target_id", "action")
_read_order = record_reader(Kind.intent, "side", "order_type", "time_in_force", "price_ticks", "quantity_lots")
REASON_BYTES = DTYPES[Kind.update]["reason"].itemsize
OURS = re.compile(r"t[0-9a-f]{16}-")  # how a client order id of an executor begins: with its log's id
NO_INSTRUMENTS: Mapping[str, Instrument] = MappingProxyType({})
IMPOSSIBLE_KEPT = 100  # sentences that wait for the operator; what is beyond them is counted only
FOREIGN_KEPT = 10_000
FINAL_KEPT = 10_000  # final orders remembered, for reports that come late
FILLS_KEPT = 50_000  # remembered per instrument: far more than are under way at any time


class Account:
    """The orders, fills, balances and waiting intents of one account at a venue.

    `read` takes in events of the log. `apply_…` take in what the venue reports or the session concludes, and give the events to
    publish, which are taken in already; `build_…` only build an event: the caller publishes it and has it `read`.
    `foreign` counts reports of orders that are not ours, `contradictions` reports that no history of an order has; what they
    were is in `impossible`, for the operator. `strays`: orders that are over by the log and alive at the venue.
    `moved`: instruments of which an update or a fill was read since their own trades were last compared with the venue's.
    `adopts_all`: orders that are nobody's of this mesh are followed like its own; else only those that an executor's id names,
    whatever its log was. `adopted` counts both.
    `venue`: its name in mesh.toml. `configured`: the instruments of mesh.toml there. On others nothing new is sent; orders that
    are there are brought to their end.
    """

    def __init__(
        self,
        configured: Mapping[str, Instrument] = NO_INSTRUMENTS,
        adopts_all: bool = False,
        venue: str = "binance",
    ) -> None:
        self.venue, self._prefix = venue, f"{venue}."
        self.configured = configured
        self.adopts_all = adopts_all
        self.adopted = 0
        self.foreign_orders: set[tuple[str, int]] = (
            set()
        )  # by instrument and the venue's id: not ours, and not to be asked again
        self.moved: set[str] = set()
        self._use(AccountState(fills={}, schema=SCHEMA_HASH))
        self.by_order_id: dict[tuple[str, int], SessionOrder] = {}  # by instrument and the venue's id, which is one of its own
        self.foreign = 0
        self.contradictions = 0
        self.repeated = 0  # reports that told nothing new
        self.impossible: list[str] = []
        self.strays: dict[str, SessionOrder] = {}
        self.oddities: list[str] = []  # sentences for the operator, who takes them from here
        self.long_names: set[str] = set()  # assets of which that has been said

    def load(self, state: bytes) -> None:
        """Goes on where `pack` was called. Raises msgspec.DecodeError for a state of another version, and changes nothing."""
        loaded = msgspec.msgpack.decode(state, type=AccountState)
        if loaded.waiting and loaded.schema != SCHEMA_HASH:
            raise msgspec.ValidationError(f"{len(loaded.waiting)} intents wait in it as events of another schema")
        loaded.schema = SCHEMA_HASH
        self._use(loaded)
        self.moved = set(self.state.fills)
        self.by_order_id = {(order.subject, order.order_id): order for order in self.state.orders.values() if order.order_id}

    def _use(self, state: AccountState) -> None:
        self.state = state
        self.balances = Balances(state.balances, self.venue)
        self.positions = Positions(state.positions)
        self.fundings = Fundings(state.fundings)

    def pack(self) -> bytes:
        """The state as bytes for `load`."""
        return msgspec.msgpack.encode(self.state)

    def order(self, client_order_id: str) -> SessionOrder | None:
        """The order of this client id; None if it is not known, or forgotten."""
        return self.state.orders.get(client_order_id)

    def unsettled_orders(self) -> list[SessionOrder]:
        """Orders that are not final, or whose fills are not all known."""
        return [order for order in self.state.orders.values() if not order.final or order.fills_missing]

    # Instruments

    def instrument(self, subject: str) -> Instrument | None:
        """An instrument of the venue, by the exponents of the log, else of mesh.toml or the source; None: unknown."""
        venue, _, symbol = subject.partition(".")
        if venue == self.venue and (defined := self.state.exponents.get(subject)) is not None:
            return Instrument(symbol, venue, *defined)
        return self.configured.get(subject)

    def instrument_of(self, symbol: str) -> Instrument | None:
        """The instrument of a symbol, as `instrument` gives it."""
        return self.instrument(f"{self.venue}.{symbol}")

    def instruments_with_orders(self) -> list[Instrument]:
        """The instruments on which orders of ours may be open: those of mesh.toml, and those with an unsettled order."""
        subjects = dict.fromkeys([*self.configured, *(order.subject for order in self.unsettled_orders())])
        return [instrument for subject in subjects if (instrument := self.instrument(subject)) is not None]

    # The log

    def read(self, event: Event) -> None:
        """Takes in an event of the log: of this venue instrument, intent, update, fill, balance, funding; and clock."""
        kind = event.kind
        if kind == CLOCK:
            if event.records["correction_ns"][0] >= STEP_NS:
                self.state.stepped_ns = event.seq_ns
        elif not event.subject.startswith(self._prefix):
            return  # of another account
        elif kind == INTENT:
            self._read_intent(event)
        elif kind == UPDATE_KIND:
            self._read_update(event)
        elif kind == FILL_KIND:
            for raw_id, side, trade_id, lots, venue_ns in READ_OF_FILL.iter_unpack(event.body):
                self._read_fill(event.subject, _text(raw_id), side, trade_id, lots, venue_ns)
        elif kind == INSTRUMENT:
            record = event.records[-1]
            self.state.exponents[event.subject] = int(record["price_exponent"]), int(record["quantity_exponent"])
        elif kind == Kind.balance:
            self.balances.read(event)
        elif kind == Kind.funding:
            self.fundings.read(event)

    def _read_intent(self, event: Event) -> None:
        raw_id, raw_target, action = _read_intent(event.raw)
        client_order_id = _text(raw_id)
        if client_order_id in self.state.orders:
            return
        if action == CANCEL:
            target = self.state.orders.get(_text(raw_target))
            if target is not None and (target.final or target.status == Status.PendingCancel):
                return
        self.state.waiting[client_order_id] = bytes(event.raw)

    def _read_update(self, event: Event) -> None:
        self.moved.add(event.subject)
        for raw_id, order_id, status, side, kind, force, _, price, lots, filled, *_ in UPDATE.iter_unpack(event.body):
            client_order_id = _text(raw_id)
            waiting = self.state.waiting.pop(client_order_id, None)
            if waiting is not None and _read_intent(waiting)[2] != NEW:
                continue  # the refusal of a cancel or an amendment is no order
            order = self.state.orders.get(client_order_id)
            if order is None:
                if lots == 0:
                    continue  # likewise, read again
                order = SessionOrder(
                    client_order_id, event.subject, side, kind, force, price, lots, event.sent_ns or event.recv_ns
                )
                self.state.orders[client_order_id] = order
            was_final = order.final
            states.apply_update(order, status, filled, order_id, lots)
            if order.order_id:
                self.by_order_id[order.subject, order.order_id] = order
            if order.final or order.status in states.UNDER_WAY:
                self._forget_requests(order)
            if order.final and not was_final:
                self._forget_oldest()

    def _read_fill(self, subject: str, client_order_id: str, side: int, trade_id: int, lots: int, venue_ns: int) -> bool:
        """Takes in a fill; False where it was known."""
        known = self.state.fills.setdefault(subject, {})
        if not fills.remember_fill(known, client_order_id, trade_id, FILLS_KEPT):
            return False
        self.moved.add(subject)
        self.positions.count(subject, side, lots)
        self.state.first_fill_ns = min(self.state.first_fill_ns or venue_ns, venue_ns)
        order = self.state.orders.get(client_order_id)
        if order is not None:
            order.fill_lots += lots
        return True

    def _forget_requests(self, order: SessionOrder) -> None:
        """Forgets intents about an order that is over, or asked to end; of one that is asked to be reduced the amendments."""
        answered = {Action.AMEND} if order.status == Status.PendingReplace else {Action.AMEND, Action.CANCEL}
        for client_order_id, raw in list(self.state.waiting.items()):
            _, raw_target, action = _read_intent(raw)
            if action in answered and _text(raw_target) == order.client_order_id:
                del self.state.waiting[client_order_id]

    def _forget_oldest(self) -> None:
        if len(self.state.orders) <= FINAL_KEPT:
            return
        for client_order_id, order in self.state.orders.items():
            if order.final and not order.fills_missing:
                del self.state.orders[client_order_id]
                self.by_order_id.pop((order.subject, order.order_id), None)
                return

    # What to publish

    def build_pending_new(self, intent: Event, now_ns: int) -> bytearray:
        """The update PendingNew of an intent; it has to be on file before the order is sent."""
        order = _order_of(intent, now_ns)
        return _build_update(order, Status.PendingNew, "session", recv_ns=intent.recv_ns)

    def build_unsent(self, intent: Event, status: Status, reason: str, recv_ns: int) -> bytearray:
        """The final update of an intent that is not sent; of a cancel or an amendment under its own id, with quantity 0."""
        order = _order_of(intent, recv_ns)
        if _read_intent(intent.raw)[2] != Action.NEW:
            order.quantity_lots = 0
        return _build_update(order, status, "session", reason=reason, recv_ns=recv_ns)

    def apply_status(
        self, order: SessionOrder, status: Status, reason: str, recv_ns: int, origin: str = "session"
    ) -> list[bytearray]:
        """Moves an order to a status that the session itself concludes, and gives the update; [] where states.py forbids it."""
        if not states.session_may_publish(order, status):
            return []
        event = _build_update(order, status, origin, reason=reason, recv_ns=recv_ns)
        self.read(decode(event))
        return [event]

    def apply_report(
        self, report: Report, origin: str, recv_ns: int, *, code: int = 0, settled: bool = False
    ) -> list[bytearray]:
        """Takes in a report of the venue and gives what to publish: fills that are new, then an update if the order moved.

        `settled`: it is known that no request about the order is under way: an open one is New or PartiallyFilled then.
        """
        order = self.state.orders.get(report.client_order_id) or self.by_order_id.get((report.subject, report.order_id))
        if order is None and report.terms is not None and self.claims(report.client_order_id):
            return self._adopt(report, report.terms, origin, recv_ns)
        if order is None or order.subject != report.subject:
            self.foreign += 1
            return []
        stated = report.status, report.filled_lots, report.order_id, report.quantity_lots
        if why := states.impossible(order, *stated):
            return self._refuse_report(order, report, why, origin, recv_ns)
        events = self.apply_fills(order, report.fills, origin, recv_ns)
        status = states.status_after_report(order, *stated, settled=settled)
        if status is not None:
            event = _build_update(
                order, status, origin, reason=report.reason, recv_ns=recv_ns, code=code,
                order_id=report.order_id, filled_lots=report.filled_lots, venue_ns=report.venue_ns,
                quantity_lots=report.quantity_lots,
            )  # fmt: skip
            self.read(decode(event))
            events.append(event)
        self.repeated += not events
        return events

    def claims(self, client_order_id: str) -> bool:
        """Whether an order that the log does not know is followed: an executor's of any log, or anybody's if so configured."""
        return self.adopts_all or OURS.match(client_order_id) is not None

    def _adopt(self, report: Report, terms: OrderTerms, origin: str, recv_ns: int) -> list[bytearray]:
        """The first update and the fills of an order that the log did not know: of a lost log, or placed by somebody else."""
        order = SessionOrder(report.client_order_id, report.subject, *terms, sent_ns=recv_ns)
        event = _build_update(
            order, report.status, origin, reason="adopted: the log did not know it", recv_ns=recv_ns,
            order_id=report.order_id, filled_lots=report.filled_lots, venue_ns=report.venue_ns,
        )  # fmt: skip
        self.adopted += 1
        self.read(decode(event))
        adopted = self.state.orders[report.client_order_id]
        return [event, *self.apply_fills(adopted, report.fills, origin, recv_ns)]

    def _refuse_report(self, order: SessionOrder, report: Report, why: str, origin: str, recv_ns: int) -> list[bytearray]:
        """Notes a report that no history of the order has; of its contents only fills are taken, for they are money."""
        same = not (report.order_id and order.order_id) or report.order_id == order.order_id
        events = self.apply_fills(order, report.fills, origin, recv_ns) if same else []
        if same and report.order_id:  # what it was filled may be among own trades alone, which name it by that id
            self.moved.add(order.subject)
            self.by_order_id[order.subject, report.order_id] = order
        if order.stray and report.status in states.FINAL:
            return events  # its end, which has been brought about
        if order.final and report.status not in states.FINAL:
            order.stray = True
            self.strays[order.client_order_id] = order
        self.contradictions += 1
        sentence = f"the order {order.client_order_id} of {order.subject} {why} ({origin})"
        if len(self.impossible) < IMPOSSIBLE_KEPT:
            self.impossible.append(sentence)
        return events

    def apply_fills(self, order: SessionOrder, reported: Iterable[Fill], origin: str, recv_ns: int) -> list[bytearray]:
        """Takes in fills of an order that the venue reported, and gives an event for each that is new."""
        events = []
        for fill in reported:
            taken = fill.side, fill.trade_id, fill.quantity_lots, fill.venue_ns
            if self._read_fill(order.subject, order.client_order_id, *taken):
                self._note_fee(order, fill)
                record = FILL.pack(
                    order.client_order_id.encode(), fill.side, fill.maker, fill.order_id, fill.trade_id, fill.price_ticks,
                    fill.quantity_lots, fill.fee, asset_name(fill.fee_asset), fill.venue_ns, origin.encode(),
                )  # fmt: skip
                events.append(
                    encode(
                        Kind.fill, order.subject, record,
                        first_id=fill.trade_id, last_id=fill.trade_id, venue_ns=fill.venue_ns, recv_ns=recv_ns,
                    )
                )  # fmt: skip
        return events

    def _note_fee(self, order: SessionOrder, fill: Fill) -> None:
        """Notes what of a fee its record does not show."""
        if fill.unheld_fee:
            which = f"trade {fill.trade_id} of order {order.client_order_id}"
            self.oddities.append(f"the fee of {which}, {fill.unheld_fee} {fill.fee_asset}, cannot be held: the log has 0")
        held = asset_name(fill.fee_asset)
        if held != fill.fee_asset.encode() and fill.fee_asset not in self.long_names:
            self.long_names.add(fill.fee_asset)
            self.oddities.append(
                f"the asset {fill.fee_asset!r} stands in the log as {held.decode()}: records have 16 bytes for it"
            )

    def remember_trades_complete(self, subject: str, trade_id: int) -> None:
        """Remembers that all own trades of an instrument up to this id are known: the next comparison begins there."""
        self.state.trade_floor[subject] = max(trade_id, self.state.trade_floor.get(subject, 0))
        self.moved.discard(subject)

    def remember_foreign(self, subject: str, order_id: int) -> None:
        """Remembers an order that had a fill as somebody else's: its fills are left alone."""
        self.foreign += 1
        if len(self.foreign_orders) >= FOREIGN_KEPT:
            self.foreign_orders.clear()  # they are asked for once more
        self.foreign_orders.add((subject, order_id))

    def waiting_intents(self) -> list[Event]:
        """Intents that nothing has been published about, in the order of the log."""
        return sorted((decode(raw) for raw in self.state.waiting.values()), key=lambda event: event.seq)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode()


def _order_of(intent: Event, sent_ns: int) -> SessionOrder:
    side, kind, force, price, lots = _read_order(intent.raw)
    return SessionOrder(_text(_read_intent(intent.raw)[0]), intent.subject, side, kind, force, price, lots, sent_ns)


def _build_update(
    order: SessionOrder,
    status: Status,
    origin: str,
    *,
    reason: str = "",
    recv_ns: int = 0,
    code: int = 0,
    order_id: int = 0,
    filled_lots: int = 0,
    venue_ns: int = 0,
    quantity_lots: int = 0,
) -> bytearray:
    quantity = quantity_lots if states.is_less(quantity_lots, order.quantity_lots) else order.quantity_lots
    record = UPDATE.pack(
        order.client_order_id.encode(), order_id or order.order_id, status, order.side, order.order_type, order.time_in_force,
        code, order.price_ticks, quantity, max(filled_lots, order.filled_lots), venue_ns, origin.encode(),
        fitting(reason, REASON_BYTES) if reason else b"",
    )  # fmt: skip
    return encode(Kind.update, order.subject, record, venue_ns=venue_ns, recv_ns=recv_ns)
