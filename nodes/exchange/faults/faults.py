"""Faults on command: which frames, requests and connections are treated how, and when. Pure but for the clients it is
given to write to; time comes from the clock it is given, chance from each fault's own seed.

Whatever is not done as usual goes to `record` first: a frame that is withheld, altered, repeated or late, to whom; a
request that is refused or answered otherwise. The first fault that takes a frame or a request is the one that has it.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from tickmesh.nodes.exchange.api.streams import Client
from tickmesh.nodes.exchange.faults import hooks, tampering
from tickmesh.nodes.exchange.faults.fault_answers import fault_body, fault_headers, refused
from tickmesh.nodes.exchange.faults.fault_plan import DOWN, FRAMES, MOMENTARY, ORDERS, REQUESTS, FaultError, PlannedFault
from tickmesh.nodes.exchange.market.latency import Latency
from tickmesh.nodes.exchange.protocol import JsonObject

DELAYED = (*ORDERS, "DELETE /api/v3/order", "DELETE /api/v3/openOrders", "POST /api/v3/order/cancelReplace", "order.cancel",
           "order.cancelReplace", "openOrders.cancelAll", "PUT /api/v3/order/amend/keepPriority", "order.amend.keepPriority",
           "DELETE /api/v3/orderList", "orderList.cancel", "PUT /binance_usdm/fapi/v1/order", "binance_usdm.order.modify",
           "DELETE /binance_usdm/fapi/v1/order", "DELETE /binance_usdm/fapi/v1/allOpenOrders",
           "binance_usdm.order.cancel")  # fmt: skip
FAULTS_MAX = 1000  # that are planned or last
REORDER_S = 1.0  # a frame that waits for the next one waits no longer than this
ENDED_KEPT = 100


class FaultState:
    """A fault and its state: planned, active or ended, and how often it struck."""

    def __init__(self, number: int, fault: PlannedFault, now_s: float):
        self.number = number
        self.fault = fault
        self.start_s = now_s + fault.start_s
        momentary = fault.kind in MOMENTARY and not fault.length_s
        self.end_s = self.start_s if momentary else self.start_s + (fault.length_s or float("inf"))
        self.state = "planned"  # then active, ended
        self.taken = 0  # how often it struck
        self.clients: list[Client] = []  # that are to end with it
        self.chance = random.Random(f"{fault.seed} {fault.kind} {fault.start_s}")

    def takes(self) -> bool:
        """Whether the fault strikes at this frame, request or connection, by its probability and its bound."""
        if self.fault.times and self.taken >= self.fault.times:
            return False
        if self.fault.probability >= 1 or self.chance.random() < self.fault.probability:
            self.taken += 1
            return True
        return False


class _Backlog:
    """Bytes of a dripping connection that are not sent yet, and when some of them were sent last."""

    __slots__ = ("unsent", "at_s")

    def __init__(self, unsent: bytearray, at_s: float):
        self.unsent = unsent
        self.at_s = at_s


class FaultChange(NamedTuple):
    """A fault that has begun or ended, for the shell to act on: cut, shutdown, restart, anew, outage, halt, unknown."""

    planned: FaultState
    began: bool


class Faults:
    """Decides what becomes of frames, requests and connections while faults last.

    `record(kind, *values)` takes rows of the exchange ledger (nodes/exchange/ledger.py); `cut(client)` ends a connection."""

    def __init__(self, clock: Callable[[], float], record: Callable[..., None], cut: Callable[[Client], None]):
        self.clock, self.record, self.cut = clock, record, cut
        self.market_ms: Callable[[], float] = lambda: clock() * 1000  # of the frame that is being sent
        self.planned: dict[int, FaultState] = {}  # planned and active, by number
        self.ended: deque[FaultState] = deque(maxlen=ENDED_KEPT)
        self.active: list[FaultState] = []
        self.impossible: dict[str, str] = {}  # kinds that this market cannot have, and why
        self.connection_bytes_max = 4 << 20  # a dripping connection whose backlog exceeds it is cut, as a slow one
        self.latency: Callable[[], Latency] | None = None  # of our orders in a recorded market, market/latency.py
        self._next = 1
        self._held: dict[Client, tuple[float, bytes]] = {}  # client → the frame that waits for the next one
        self._late: list[tuple[float, int, Client, str, bytes]] = []  # heap: due, order, client, stream, frame
        self._last_due: dict[tuple[Client, str], float] = {}
        self._order = 0
        self._stale: dict[tuple[Client, str], bytes] = {}
        self._jumped: set[tuple[Client, str]] = set()  # client and stream whose last frame's id was absurd
        self._drips: dict[Client, _Backlog] = {}

    # ---- on command

    def add(self, fault: PlannedFault, since_s: float = 0.0) -> int:
        """Plans a fault whose times began `since_s` ago; gives its number. FaultError: too many, or impossible here."""
        if fault.kind in self.impossible:
            raise FaultError(f"{fault.kind} is impossible here: {self.impossible[fault.kind]}")
        if len(self.planned) >= FAULTS_MAX:
            raise FaultError(f"{FAULTS_MAX} faults are planned already; end some first")
        number, self._next = self._next, self._next + 1
        self.planned[number] = FaultState(number, fault, self.clock() - since_s)
        self._record_fault(number, "added", fault)
        return number

    def end(self, number: int) -> bool:
        """Ends a fault now; `tick` does what follows. False when there is no such one (any more)."""
        planned = self.planned.get(number)
        if planned is None:
            return False
        planned.end_s = min(planned.end_s, self.clock())
        if planned.state == "planned":
            planned.start_s = planned.end_s + 1  # never starts
        return True

    def tick(self) -> list[FaultChange]:
        """Starts and ends the faults that are due, sends frames that waited long enough; gives what the shell has to act on."""
        now, changes = self.clock(), []
        for planned in list(self.planned.values()):
            if planned.state == "planned" and planned.start_s <= now and planned.start_s <= planned.end_s:
                planned.state = "active"
                self.active.append(planned)
                self._record_fault(planned.number, "started", None)
                changes.append(FaultChange(planned, True))
            if planned.end_s <= now:
                was = planned.state
                planned.state = "ended"
                self.planned.pop(planned.number)
                self.ended.append(planned)
                self._record_fault(planned.number, "ended", None)
                if was == "active":
                    self.active.remove(planned)
                    changes.append(FaultChange(planned, False))
        if self._held or self._late or self._drips or self._stale:
            self._release(now)
        return changes

    @property
    def busy(self) -> bool:
        """Whether `tick` has to be called often: a fault is planned or lasts, or frames wait."""
        return bool(self.planned or self._held or self._late or self._drips or self.latency)

    def view(self) -> list[JsonObject]:
        """Every fault that is planned, lasts, or ended lately, for the endpoint."""
        rows = [*self.ended, *self.planned.values()]
        return [{"id": p.number, "state": p.state, "taken": p.taken, "fault": p.fault} for p in rows]

    @property
    def skew_ms(self) -> float:
        """How far off the venue's clock is, by the faults of kind `clock`."""
        now = self.clock()
        return sum(
            p.fault.offset_ms + p.fault.skew_ppm * (now - p.start_s) / 1000 for p in self.active if p.fault.kind == "clock"
        )

    @property
    def forgotten_ms(self) -> float:
        """The time before which REST has no trades, by the faults of kind `forget`; 0: no bound."""
        return max((p.fault.to_ms for p in self.active if p.fault.kind == "forget"), default=0.0)

    def outage(self) -> bool:
        """Whether an outage lasts: only market orders get through."""
        return any(p.fault.kind == "outage" for p in self.active)

    def down(self) -> bool:
        """Whether the exchange is down: everything is refused."""
        return any(p.fault.kind in DOWN for p in self.active)

    def markets_of(self, kind: str, markets: Iterable[str]) -> set[str]:
        """The markets, by their names, that active faults of a kind (halt, unknown) are about."""
        patterns = [p.fault.symbol or "*" for p in self.active if p.fault.kind == kind]
        return {name for name in markets if any(fnmatchcase(name, pattern) for pattern in patterns)}

    # ---- frames

    def on_send(self, client: Client, stream: str, frame: bytes) -> bool:
        """Whether a frame goes out as it is; otherwise the fault that takes it decides what is sent (streams.SendHook)."""
        if not self.active and not self._drips and not self._held and not self._late and not self.latency:
            return True
        for planned in self.active:
            if planned.fault.kind == "stall" and self._meets(planned.fault, client) and planned.takes():
                self._frame(planned, client, stream, "dropped", frame)
                return False
        for planned in self.active:
            if planned.fault.kind in FRAMES and self._concerns(planned.fault, client, stream) and planned.takes():
                self._tamper(planned, client, stream, frame)
                return False
        self._jumped.discard((client, stream))
        last = self._last_due.get((client, stream))
        if self.latency and stream == "user":
            last = max(last or 0.0, self.clock() + self.latency().response_s)
        if last is not None:  # behind those that are late: a stream's own order stays
            self._later(client, stream, frame, last)
            return False
        if client not in self._held and not self._drip(client, stream):
            return True
        self._out(client, stream, frame)
        return False

    def _tamper(self, planned: FaultState, client: Client, stream: str, frame: bytes) -> None:
        kind, now = planned.fault.kind, self.clock()
        if kind == "skip":
            self._frame(planned, client, stream, "dropped", frame)
        elif kind == "duplicate":
            self._frame(planned, client, stream, "repeated", frame)
            self._out(client, stream, frame)
            self._out(client, stream, frame)
        elif kind == "reorder" and client not in self._held:
            self._frame(planned, client, stream, "late", frame)
            self._held[client] = (now + REORDER_S, frame)
        elif kind == "reorder":
            self._out(client, stream, frame)
        elif kind == "delay":
            self._frame(planned, client, stream, "late", frame)
            self._later(
                client, stream, frame, max(now + planned.fault.delay_ms / 1000, self._last_due.get((client, stream), 0))
            )
        elif kind == "torn":
            self._frame(planned, client, stream, "dropped", frame)
            client.write(frame[: max(len(frame) // 2, 1)])
            self._cut(planned, client)
        else:
            self._alter(planned, client, stream, frame)

    def _alter(self, planned: FaultState, client: Client, stream: str, frame: bytes) -> None:
        kind = planned.fault.kind
        if kind == "stale":
            other = self._stale.setdefault((client, stream), frame)
        elif kind == "garbage":
            other = tampering.garbage(frame, planned.chance)
        elif kind == "truncate":
            other = tampering.truncated(frame)
        elif kind == "jump":
            self._jumped.add((client, stream))
            other = tampering.jumped(frame, stream, planned.fault.by)
        else:
            other = tampering.crossed(frame)
        if other != frame:
            self._frame(planned, client, stream, "altered", frame)
        self._out(client, stream, other)

    def _out(self, client: Client, stream: str, frame: bytes) -> None:
        """Writes a frame, or adds it to what drips; a frame that waited for the next one follows it."""
        _, held = self._held.pop(client, (0.0, b""))
        data = frame + held
        planned = self._drip(client, stream)
        if planned is None:
            client.write(data)
            return
        backlog = self._drips.setdefault(client, _Backlog(bytearray(), self.clock())).unsent
        backlog += data
        self._frame(planned, client, stream, "late", frame)
        if len(backlog) > self.connection_bytes_max:
            self._drips.pop(client)
            self._cut(planned, client)

    def _later(self, client: Client, stream: str, frame: bytes, due_s: float) -> None:
        self._order += 1
        self._last_due[client, stream] = due_s
        heapq.heappush(self._late, (due_s, self._order, client, stream, frame))

    def _drip(self, client: Client, stream: str) -> FaultState | None:
        return next((p for p in self.active if p.fault.kind == "drip" and self._meets(p.fault, client)), None)

    def _release(self, now: float) -> None:
        """Writes what has waited long enough, what drips, and what a fault held that has ended."""
        while self._late and self._late[0][0] <= now:
            due, _, client, stream, frame = heapq.heappop(self._late)
            if self._last_due.get((client, stream)) == due:
                del self._last_due[client, stream]
            self._out(client, stream, frame)
        reordering = any(p.fault.kind == "reorder" for p in self.active)
        for client, (until, frame) in list(self._held.items()):
            if until <= now or not reordering:
                del self._held[client]
                client.write(frame)
        if not any(p.fault.kind == "stale" for p in self.active):
            self._stale.clear()
        for client, backlog in list(self._drips.items()):
            planned = self._drip(client, "")
            count = len(backlog.unsent) if planned is None else int((now - backlog.at_s) * planned.fault.bytes_per_s)
            if count:
                client.write(bytes(backlog.unsent[:count]))
                del backlog.unsent[:count]
                backlog.at_s = now
            if planned is None or client.dead:
                del self._drips[client]

    # ---- requests and connections

    def on_request(self, asked: hooks.IncomingRequest) -> hooks.RequestFault | None:
        """The fault's answer to a request or handshake; None when no fault takes it: answer as usual."""
        for planned in self.active:
            fault = planned.fault
            if fault.kind in ("refuse", *DOWN) and self._refuses(fault, asked) and planned.takes():
                self._request(planned, asked, "refused", fault.status)
                return refused(fault)
            if fault.kind in REQUESTS and self._answers(fault, asked) and planned.takes():
                return self._answer(planned, asked)
        if self.latency and asked.operation in DELAYED:
            entry_s, response_s = self.latency()
            return hooks.RequestFault(execute=True, enter_s=entry_s, delay_s=response_s)
        return None

    def opened(self, client: Client, detail: str = "") -> None:
        """Records that a websocket has opened; a cut that lasts ends it too."""
        self.record("client", client.number, "opened", detail)
        for planned in self.active:
            if planned.fault.kind == "cut" and self._meets(planned.fault, client) and planned.takes():
                self._cut(planned, client)

    def closed(self, client: Client) -> None:
        """Records that a websocket has closed, and drops the frames that waited for it."""
        self._held.pop(client, None)
        self._drips.pop(client, None)
        self._jumped = {key for key in self._jumped if key[0] is not client}
        self._late = [row for row in self._late if row[2] is not client]
        heapq.heapify(self._late)
        for mine in (self._stale, self._last_due):
            for key in [key for key in mine if key[0] is client]:
                del mine[key]
        self.record("client", client.number, "closed", "")

    def cut_all(self, planned: FaultState, clients: Iterable[Client]) -> None:
        """Ends the connections that a fault takes as it begins; all of them where it takes the exchange down."""
        for client in list(clients) if planned.fault.kind in DOWN else self.concerned(planned, clients):
            self._cut(planned, client)

    def concerned(self, planned: FaultState, clients: Iterable[Client]) -> list[Client]:
        """The connections that a fault takes as it begins."""
        return [client for client in clients if self._meets(planned.fault, client) and planned.takes()]

    def _cut(self, planned: FaultState, client: Client) -> None:
        self.record("client", client.number, "cut", f"fault {planned.number}")
        self.cut(client)

    def _refuses(self, fault: PlannedFault, asked: hooks.IncomingRequest) -> bool:
        if fault.kind in DOWN:
            return True
        if not fault.endpoint:
            return asked.door in ("ws", "ws-api-connect")
        return fnmatchcase(asked.operation, fault.endpoint)

    def _answers(self, fault: PlannedFault, asked: hooks.IncomingRequest) -> bool:
        if asked.door not in ("rest", "ws-api"):
            return False
        if fault.endpoint:
            return fnmatchcase(asked.operation, fault.endpoint)
        return fault.kind == "answer" or asked.operation in ORDERS

    def _answer(self, planned: FaultState, asked: hooks.IncomingRequest) -> hooks.RequestFault:
        fault = planned.fault
        if fault.kind == "answer":
            status = fault.status or 503
            code = fault.code or {429: -1003, 418: -1003, 403: 0}.get(status, -1001)
            self._request(planned, asked, "answered", status)
            return hooks.RequestFault(status=status, body=fault_body(fault, status, code), headers=fault_headers(fault, status),
                               content_type="text/html" if fault.html else "application/json")  # fmt: skip
        executed = fault.kind == "timeout_after"
        status = 0 if fault.silent else fault.status or 504
        self._request(planned, asked, "executed" if executed else "ignored", status)
        text = fault_body(fault, status, fault.code or -1007) if status else b""
        return hooks.RequestFault(executed, fault.delay_ms / 1000, status=status, body=text, cut=fault.silent)

    # ---- who, and what is written

    def _meets(self, fault: PlannedFault, client: Client) -> bool:
        """Whether a fault is about this connection."""
        if fault.connection and client.number != fault.connection:
            return False
        if not fault.stream:
            return True
        names = client.streams.values()
        return client.has_user_stream and fault.stream == "user" or any(fnmatchcase(name, fault.stream) for name in names)

    def _concerns(self, fault: PlannedFault, client: Client, stream: str) -> bool:
        """Whether a fault of frames is about this frame."""
        if fault.connection and client.number != fault.connection:
            return False
        if (fault.from_ms or fault.to_ms) and not fault.from_ms <= self.market_ms() < (fault.to_ms or float("inf")):
            return False
        if fault.kind == "jump" and ((client, stream) in self._jumped or not tampering.id_of(stream)):
            return False  # two in a row would confirm one another
        return fnmatchcase(stream, fault.stream or "*@*")

    def _frame(self, planned: FaultState, client: Client, stream: str, what: str, frame: bytes) -> None:
        text = tampering.payload_of(frame).decode(errors="replace")
        self.record("frame", planned.number, client.number, stream, what, text)

    def _request(self, planned: FaultState, asked: hooks.IncomingRequest, what: str, status: int) -> None:
        number = asked.client.number if asked.client is not None else 0
        self.record("request", planned.number, number, asked.door, asked.operation, what, status)

    def _record_fault(self, number: int, what: str, fault: PlannedFault | None) -> None:
        detail = "" if fault is None else tampering._encode(fault).decode()
        self.record("fault", number, what, detail)
