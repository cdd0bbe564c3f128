"""An executor's step, and a log made by hand for it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.layout import RECORDS
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import (
    DTYPES,
    FILL,
    GAP,
    INSTRUMENT,
    INTENT,
    QUOTE,
    SIGNAL,
    TRADE,
    UPDATE,
    GapState,
    Kind,
    OrderType,
    Status,
)  # fmt: skip
from tickmesh.bus.settings import Instrument, Mesh
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings, StrategySettings
from tickmesh.bus.wire import Event, decode, encode, kind_of, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.orders.commands import Command, content_of

SUBJECT = "binance.BTCUSDT"
LOG_ID = "00c0ffee00c0ffee"
BID, ASK = 6_000_000_000_000, 6_000_001_000_000
ALONE = (StrategySettings(),)  # a mesh.toml without [[strategies]]
LOT = 100_000  # 60 USDT at the bid: 0.001 at 10^-8
MS = 1_000_000
START_NS = 1_700_000_000 * 1_000_000_000


class OrdersAlone(executor.Step):
    """A step whose records of parents are left out: tests of orders do not ask for them, nor does any step read them."""

    def step(self, events: list[Event]) -> list[bytearray]:
        return [event for event in super().step(events) if kind_of(event) != Kind.parent]


def make(symbols=("BTCUSDT",), strategies=ALONE, limits=None, kind=OrdersAlone, **changes) -> executor.Step:
    """Builds an executor's step with these settings, in a mesh of these symbols. `limits`: of [risk]; `kind`: its class."""
    instruments = tuple(Instrument(symbol) for symbol in symbols)
    settings, risk = ExecutorSettings(**changes), RiskSettings(**(limits or {}))
    mesh = Mesh(instruments=instruments, executor=settings, strategies=tuple(strategies), risk=risk)
    return kind(Config(mesh, Path("/nonexistent")), "")


@dataclass
class Tape:
    """A log made by hand: each event gets the next seq and the time."""

    now_ns: int = START_NS
    events: list[Event] = field(default_factory=list)

    def log(self, event: bytearray, producer: str = "test") -> Event:
        """Appends an event."""
        stamp_sent(event, producer_bytes(producer), 1, 1, self.now_ns)
        stamp_sequenced(event, len(self.events) + 1, 0, self.now_ns)
        self.events.append(decode(bytes(event)))
        return self.events[-1]

    def run(self, log_id: str = LOG_ID) -> Event:
        """Appends the sequencer's run event."""
        return self.log(encode(Kind.run, "sequencer", {"node": "sequencer", "log_id": log_id}), "sequencer")

    def instrument(self, tick_size=1_000_000, lot_size=1000, min_quantity=1000, min_notional=0, subject=SUBJECT) -> Event:
        """Appends a definition of the instrument."""
        row = (-8, -8, tick_size, lot_size, min_quantity, min_notional, 0)
        return self.log(encode(Kind.instrument, subject, np.array([row], INSTRUMENT)))

    def quote(self, bid=BID, bid_lots=5 * LOT, ask=ASK, ask_lots=5 * LOT, subject=SUBJECT, lag_ms=0.0) -> Event:
        """Appends a quote. `lag_ms`: how long after the venue's time it was received; 0: the venue states none."""
        row = np.array([(1, bid, bid_lots, ask, ask_lots, 0)], QUOTE)
        return self.log(encode(Kind.quote, subject, row, **self._lag(lag_ms)))

    def _lag(self, lag_ms: float) -> dict[str, int]:
        return {"venue_ns": self.now_ns - int(lag_ms * MS), "recv_ns": self.now_ns} if lag_ms else {}

    def trade(self, lots: int, price=ASK, side=1, subject=SUBJECT, flags=0, lag_ms=0.0) -> Event:
        """Appends a trade."""
        row = np.zeros(1, TRADE)
        row["trade_id"], row["price_ticks"], row["quantity_lots"], row["side"] = len(self.events), price, lots, side
        return self.log(encode(Kind.trade, subject, row, flags=flags, **self._lag(lag_ms)))

    def gap(self, first: int, last: int, state: GapState, stream=Kind.trade, subject=SUBJECT) -> Event:
        """Appends a gap."""
        row = np.zeros(1, GAP)
        row["first_id"], row["last_id"], row["stream"], row["state"] = first, last, stream, state
        return self.log(encode(Kind.gap, subject, row), "sequencer")

    def signal(self, value: float, cause: int | None = None, subject: str = SUBJECT, model: str = "m") -> Event:
        """Appends a signal."""
        row = np.array([(b"m", value, np.nan, 0, BID)], SIGNAL)
        return self.log(encode(Kind.signal, subject, row, cause_seq=cause or len(self.events)), f"model-{model}")

    def command(self, command: Command, producer: str = "operator") -> Event:
        """Appends a command."""
        return self.log(encode(Kind.command, producer, content_of(command)), producer)

    def update(self, order_id: bytes, status: Status, filled=0, side=1, lots=LOT, price=ASK, subject=SUBJECT) -> Event:
        """Appends an update of an order."""
        row = np.zeros(1, UPDATE)
        row["client_order_id"], row["status"], row["filled_lots"] = order_id, status, filled
        row["side"], row["quantity_lots"], row["price_ticks"] = side, lots, price
        row["order_type"], row["time_in_force"] = OrderType.LIMIT, 1
        return self.log(encode(Kind.update, subject, row), "session")

    def fill(self, order_id: bytes, trade_id: int, lots: int, side=1, price=ASK, subject=SUBJECT) -> Event:
        """Appends a fill."""
        row = np.zeros(1, FILL)
        row["client_order_id"], row["trade_id"], row["quantity_lots"] = order_id, trade_id, lots
        row["side"], row["price_ticks"], row["fee"], row["fee_asset"] = side, price, 7, b"USDT"
        row["venue_ns"] = self.now_ns
        return self.log(encode(Kind.fill, subject, row), "session")

    def clock(self, pass_ms: float) -> Event:
        """Appends a clock event so many ms later."""
        self.now_ns += int(pass_ms * MS)
        row = np.array([(self.now_ns, 0, 0)], DTYPES[Kind.clock])
        return self.log(encode(Kind.clock, "sequencer", row), "sequencer")

    def opened(self, step: executor.Step, subjects=(SUBJECT,), **instrument) -> "Tape":
        """Gives a step the beginning of a log: run, and of each instrument its definition and a quote."""
        step.step([self.run()])
        for subject in subjects:
            step.step([self.instrument(**instrument, subject=subject), self.quote(subject=subject)])
        return self

    def answer(self, step: executor.Step, *events: Event) -> list[np.void]:
        """Gives a step events one by one, and what each causes, which is in the log then, too; the records of that."""
        records = []
        for event in events:
            for raw in step.step([event]):
                own = self.log(raw, "executor")
                records.append(own.records[0])
                assert step.step([own]) == []
        return records


def intents(published: list[bytearray]) -> list[np.void]:
    """The records of intents that a step published."""
    return [np.frombuffer(event[RECORDS], INTENT)[0] for event in published]
