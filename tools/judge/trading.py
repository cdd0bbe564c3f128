"""What a log says of trading beside orders and fills: whose each order is, when it was known and over, and when trading was
to stop."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.venue_clock import VenueClock

NEW = 1  # action of an intent
STRATEGY = 9  # place of an intent's strategy among its fields, which older files have not
PENDING_NEW = 1  # status of an update
FINAL = (4, 6, 7, 8)  # Filled, Canceled, Rejected, Expired

PARENT = 10  # likewise of its parent; 0: an order that closes a position

READ_MS = 12_000.0  # within that an executor has read what is in the log

STOP = "stop of "  # and a session's name: what such a stretch is
SWITCHED = "switching of "  # and a strategy's name: likewise
OrderKey = tuple[str, str]  # subject, client order id
FillKey = tuple[str, str, int]  # and the trade id


class QuietTime(NamedTuple):
    """A stretch in which nothing may be sent. Times in ms of the venue; `end_ms`: infinite where it lasts to the end."""

    begin_ms: float
    end_ms: float
    what: str

    def concerns(self, venue: str, strategy: str, closes: bool) -> bool:
        """Whether an order may not be sent in it. The stop of a session is of its venue alone, the switching of a strategy of
        that alone; who closes positions does so while the others may order nothing."""
        if self.what.startswith(STOP):
            return (self.what.removeprefix(STOP).partition("-")[2] or "binance") == venue
        if self.what.startswith(SWITCHED) and self.what.removeprefix(SWITCHED) != strategy:
            return False
        return not closes


class PendingOrder(NamedTuple):
    """An order's PendingNew, published right before it is sent."""

    key: OrderKey
    sent_ms: float


class StrategyPositions(NamedTuple):
    """What an executor said last of its strategies' positions (strategy, subject) → quantity, when it knew the first `fills`
    fills of the log."""

    held: dict[tuple[str, str], float]
    fills: int
    due: int  # fills that were in the log for READ_MS by then


class StoredTrading:
    """The intents, lives of orders and orders to stop that a log has. All times are by the venue's clock."""

    def __init__(self) -> None:
        self.strategy: dict[OrderKey, str] = {}  # of each intent to send an order
        self.closing: set[OrderKey] = set()  # those that close a position
        self.intended_ms: dict[OrderKey, float] = {}
        self.known_ms: dict[OrderKey, float] = {}  # of each order that something was published about: when first
        self.ended_ms: dict[OrderKey, float] = {}  # when it was over for the log
        self.placed: list[PendingOrder] = []
        self.windows: list[QuietTime] = []
        self.fills: dict[FillKey, int] = {}  # in order, each once, and its lots: below 0 sold
        self._fill_ms: list[float] = []  # when each of them was logged
        self.positions: StrategyPositions | None = None
        self.last_ms = 0.0
        self._clock = VenueClock()
        self._begun: dict[str, float] = {}  # windows that have begun and not ended, by what they are

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Takes events, and passes them on."""
        for event in events:
            self._clock.take(event)
            self.last_ms = self._clock.ms(event.seq_ns)
            if event.kind == "intent":
                self._intent(event)
            elif event.kind == "update":
                self._update(event)
            elif event.kind == "fill":
                self._fill(event)
            elif event.kind in ("command", "alert", "run", "health"):
                self._packed(event)
            yield event

    def windows_to_the_end(self) -> list[QuietTime]:
        """All stretches in which nothing may be sent, those too that last to the end of the log."""
        return [*self.windows, *(QuietTime(begun, float("inf"), what) for what, begun in self._begun.items())]

    def _intent(self, event: Event) -> None:
        for record in event.records:
            if record[2] == NEW:
                key = event.subject, record[0].decode()
                self.strategy[key] = record[STRATEGY].decode() if len(record) > STRATEGY else ""
                if len(record) > PARENT and not record[PARENT]:
                    self.closing.add(key)
                self.intended_ms[key] = self.last_ms

    def _update(self, event: Event) -> None:
        for name, _, status, _, _, _, _, _, quantity, *_ in event.records:
            key = event.subject, name.decode()
            if not quantity:  # the refusal of a cancel
                continue
            self.known_ms.setdefault(key, self.last_ms)
            if status in FINAL:
                self.ended_ms.setdefault(key, self.last_ms)
            elif status == PENDING_NEW:
                self.placed.append(PendingOrder(key, self._clock.ms(event.sent_ns)))

    def _fill(self, event: Event) -> None:
        for name, side, _, _, trade_id, _, quantity, *_ in event.records:
            if (key := (event.subject, name.decode(), trade_id)) not in self.fills:
                self.fills[key] = side * quantity
                self._fill_ms.append(self.last_ms)

    def _packed(self, event: Event) -> None:
        content = map_of(event.records)
        if event.kind == "command" and content.get("command") == "kill_switch":
            self._mark("kill switch", bool(content.get("on")), self.last_ms)
        elif event.kind == "command" and content.get("command") == "strategy":
            self._mark(f"{SWITCHED}{content.get('name')}", content.get("state") != "live", self.last_ms)
        elif event.kind == "alert" and content.get("what") == "session_stopping":
            self._mark(f"{STOP}{event.producer}", True, self._clock.ms(event.sent_ns))
        elif event.kind == "run":
            self._mark(f"{STOP}{event.producer}", False, self._clock.ms(event.sent_ns))
        elif event.kind == "health" and event.subject.startswith("executor") and "strategies" in content:
            self.positions = StrategyPositions(
                {
                    (name, subject): one["position"]
                    for name, strategy in content["strategies"].items() for subject, one in strategy["positions"].items()
                },
                content.get("fills", 0),
                bisect_right(self._fill_ms, self.last_ms - READ_MS),
            )  # fmt: skip

    def _mark(self, what: str, begins: bool, now_ms: float) -> None:
        if begins:
            self._begun.setdefault(what, now_ms)
        elif what in self._begun:
            self.windows.append(QuietTime(self._begun.pop(what), now_ms, what))


def map_of(packed: bytes) -> dict[str, Any]:
    """The map that a packed event holds; {} of what is none, which is another check's finding."""
    try:
        content = msgpack.unpackb(packed)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
