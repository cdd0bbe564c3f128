"""One strategy with one style, an executor's step for it, and a venue that says what the test tells it to."""

import numpy as np

from tests.support.executor_tape import LOT, Tape, make
from tickmesh.bus.schema import DTYPES, Action, Kind, ParentState, Status
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes.executor import node as executor


class Scene:
    """A step, its log, and what it has published by kind. Everything published is in the log at once."""

    def __init__(self, style: str, lots: int = LOT, state: str = "live", limits: dict | None = None, **execution):
        sized = {} if "target" in execution else {"order_quantity": f"{lots / 1e8:.8f}"}
        if target := execution.pop("target", ""):
            sized["target_quantity"] = target
        settings = ExecutionSettings(**execution)
        one = StrategySettings(name="s", styles=(style,), state=state, position_max="1", execution=settings, **sized)
        self.step = make(strategies=(one,), limits=limits, kind=executor.Step, orders_per_s=100.0)
        self.tape = Tape()
        self.intents: list[np.void] = []
        self.shadows: list[np.void] = []
        self.parents: list[np.void] = []
        self.trade_id = 0
        self.see(self.tape.run(), self.tape.instrument(), self.tape.quote())

    def see(self, *events: Event) -> list[np.void]:
        """Gives the step events; the intents that they cause."""
        before = len(self.intents)
        for event in events:
            published = self.step.step([event])
            while published:
                own = self.tape.log(published.pop(0), "executor")
                {Kind.intent: self.intents, Kind.shadow: self.shadows, Kind.parent: self.parents}[own.kind].append(
                    own.records[0]
                )
                published += self.step.step([own])
        return self.intents[before:]

    def signal(self, value: float = 1.0) -> list[np.void]:
        """A signal, and what it causes."""
        return self.see(self.tape.signal(value))

    def accept(self, intent: np.void) -> list[np.void]:
        """The venue has taken an order."""
        return self.see(self._update(intent, Status.New))

    def fill(self, intent: np.void, lots: int = 0, price: int = 0) -> list[np.void]:
        """The venue fills an order, whole or so many lots, at its own price or another."""
        whole = int(intent["quantity_lots"])
        lots, self.trade_id = lots or whole, self.trade_id + 1
        name, side, price = intent["client_order_id"], int(intent["side"]), price or int(intent["price_ticks"])
        made = self.see(self.tape.fill(name, self.trade_id, lots, side=side, price=price))
        status = Status.Filled if lots == whole else Status.PartiallyFilled
        return made + self.see(self._update(intent, status, lots))

    def over(self, intent: np.void, status: Status = Status.Canceled, filled: int = 0) -> list[np.void]:
        """The venue says that an order has ended."""
        return self.see(self._update(intent, status, filled))

    def _update(self, intent: np.void, status: Status, filled: int = 0) -> Event:
        return self.tape.update(
            intent["client_order_id"], status, filled, side=int(intent["side"]), lots=int(intent["quantity_lots"]),
            price=int(intent["price_ticks"]),
        )  # fmt: skip

    def ended(self) -> np.void:
        """The record of the last parent that has ended; there is one."""
        return [one for one in self.parents if one["state"] == ParentState.ended][-1]

    @property
    def refused(self) -> dict[str, int]:
        """Refusals by reason."""
        return self.step.counters()["strategies"]["s"]["refused"]


def is_cancel(intents: list[np.void], order: np.void) -> bool:
    """Whether what was published is one cancel, of this order."""
    return [(one["action"], one["target_id"]) for one in intents] == [(Action.CANCEL, order["client_order_id"])]


def records(published: list[bytearray], kind: Kind) -> list[np.void]:
    """The records of a kind among what a step published."""
    return [np.frombuffer(bytes(event.body), DTYPES[kind])[0] for event in map(decode, published) if event.kind == kind]
