"""A mesh in miniature, for tests of replays: the real steps, one event at a time; they die, and settings change."""

import random
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import FILL, INSTRUMENT, QUOTE, TRADE, UPDATE, Action, Kind, Status
from tickmesh.bus.wire import Event, cause_of, decode, encode, stamp_received, stamp_sent, stamp_sequenced
from tickmesh.nodes.orders.commands import KillSwitch, SetLimit, SwitchStrategy, content_of
from tickmesh.tools.replaying.steps import steps

SUBJECT = "binance.BTCUSDT"
SETTINGS = """
[executor]
signal_threshold = 0.25
[[strategies]]
name = "fast"
models = ["imbalance"]
[[strategies]]
name = "target"
models = ["flow"]
target_quantity = "0.01"
styles = ["limit", "limit_ioc"]
[[strategies]]
name = "tried"
state = "shadow"
styles = ["limit_maker", "market"]
"""
SWITCHED = (  # after each further tenth of the events, from the third on, a person says this
    SwitchStrategy("fast", "shadow", "operator"),
    SwitchStrategy("tried", "live", "operator"),
    KillSwitch(True, "operator", "a test"),
    KillSwitch(False, "operator"),
    SwitchStrategy("fast", "live", "operator"),
    SetLimit("account", "daily_loss_max", "0.000001", "operator"),
    SwitchStrategy("target", "off", "operator"),
)


class LiveMesh:
    """A sequencer, the real steps one event at a time, a session that fills; every hop is late.

    `deaths`: at so many events everything that computes dies, and comes up again with these settings. `market`: what feeds say,
    instead of what is made up.
    """

    def __init__(
        self, config: Config, events: int, deaths: dict[int, Config] | None = None, seed: int = 1,
        market: Iterable[bytearray] | None = None, subject: str = SUBJECT,
    ):  # fmt: skip
        self.config, self.count, self.deaths = config, events, dict(deaths or {})
        self.switched = {events * (3 + i) // 10: said for i, said in enumerate(SWITCHED)}
        self.subject = subject
        self.heard = None if market is None else iter(market)
        self.published: dict[str, tuple[int, int]] = {}
        self.random = random.Random(seed)
        self.now_ns = 1_700_000_000 * 1_000_000_000
        self.events: list[Event] = []
        self.steps = steps(config)
        self.waiting: deque[tuple[bytearray, str]] = deque()

    def log(self, raw: bytearray, producer: str) -> None:
        self.now_ns += self.random.randrange(20_000_000)
        stamp_sent(raw, producer_bytes(producer), 1, 1, self.now_ns)
        stamp_sequenced(raw, len(self.events) + 1, 0, self.now_ns)
        event = decode(bytes(raw))
        self.events.append(event)
        for name, step in self.steps.items():
            for said in step.step([event]):
                stamp_received(said, self.now_ns)
                self.waiting.append((said, name))
                self.published[name] = cause_of(said)
        if event.kind == Kind.intent:
            self.waiting.extend((said, "session") for said in self.acted(event.records[0]))

    def acted(self, intent: np.void) -> list[bytearray]:
        update = np.zeros(1, UPDATE)
        if intent["action"] == Action.CANCEL:
            update["client_order_id"], update["status"] = intent["target_id"], Status.Canceled
            return [encode(Kind.update, self.subject, update)]
        for field in ("client_order_id", "side", "order_type", "time_in_force", "price_ticks", "quantity_lots"):
            update[field] = intent[field]
        if intent["time_in_force"] == 1 and intent["price_ticks"]:
            update["status"] = Status.New
            return [encode(Kind.update, self.subject, update)]
        update["status"], update["filled_lots"] = Status.Filled, intent["quantity_lots"]
        fill = np.zeros(1, FILL)
        for field in ("client_order_id", "side", "quantity_lots"):
            fill[field] = intent[field]
        fill["price_ticks"], fill["trade_id"] = 6_000_000_000_000, len(self.events)
        return [encode(Kind.update, self.subject, update), encode(Kind.fill, self.subject, fill)]

    def market(self) -> bytearray:
        if self.heard is not None:
            return next(self.heard)
        pick = self.random.randrange
        if pick(4):
            bid = 6_000_000_000_000 + pick(5) * 1_000_000
            row = np.array([(pick(1000), bid, pick(10**8), bid + 1_000_000, 1 + pick(10**8), 0)], QUOTE)
            return encode(Kind.quote, SUBJECT, row)
        row = np.array([(pick(1000), 6_000_000_000_000, 1 + pick(10**7), 0, 0, 2 * pick(2) - 1, b"")], TRADE)
        return encode(Kind.trade, SUBJECT, row)

    def run_event(self, name: str, **begun: int) -> None:
        self.waiting.append((encode(Kind.run, name, {"node": name, **self.steps[name].identity(), **begun}), name))

    def live(self) -> list[bytes]:
        self.log(encode(Kind.run, "sequencer", {"node": "sequencer", "log_id": "00c0ffee00c0ffee"}), "sequencer")
        row = np.array([(-8, -8, 1_000_000, 1000, 1000, 0, 0)], INSTRUMENT)
        self.log(encode(Kind.instrument, self.subject, row), "feed-1")
        for name in self.steps:
            self.run_event(name)
        while len(self.events) < self.count:
            if self.deaths and len(self.events) >= min(self.deaths) and not self.waiting:
                self.die(self.deaths.pop(min(self.deaths)))
            if (said := self.switched.pop(len(self.events), None)) is not None:
                self.log(encode(Kind.command, "operator", content_of(said)), "operator")
            if self.waiting and self.random.randrange(2):
                self.log(*self.waiting.popleft())
            else:
                self.log(self.market(), "feed-1")
        while self.waiting:  # all that was in the outboxes
            self.log(*self.waiting.popleft())
        return [bytes(event.raw) for event in self.events]

    def die(self, config: Config) -> None:
        """Everything that computes dies and is rebuilt from the log, in lists of any length; then as nodes/runner/step.py."""
        before = {name: step.identity() for name, step in self.steps.items()}
        self.steps = steps(config)
        for name, step in self.steps.items():
            unsaid = []
            for i in range(0, len(self.events), 37):
                given = step.step(self.events[i : i + 37])
                unsaid += [raw for raw in given if cause_of(raw) > self.published.get(name, (0, -1))]
            if name == "executor":
                self.waiting.extend((raw, name) for raw in unsaid)
                self.run_event(name)
            else:
                self.run_event(name, **({} if step.identity() == before[name] else {"publishes_after": len(self.events)}))


def changed(raws: Iterable[bytes], kind: Kind, change: Callable[[bytearray], list[Event]], place: int = 20) -> list[Event]:
    """The events, with the one at a place of its kind, counted from 1, as `change` makes it: changed, doubled or dropped."""
    seen, out = 0, []
    for raw in raws:
        event = decode(raw)
        if event.kind == kind:
            seen += 1
            if seen == place:
                out += change(bytearray(raw))
                continue
        out.append(event)
    return out
