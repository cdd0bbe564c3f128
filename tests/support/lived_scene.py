"""A live run in miniature: the executor's own step answers a market of two prices as its log is written; a venue fills it."""

from pathlib import Path

import numpy as np

from tests.support.backtest_scene import scene
from tests.support.compare_scene import ASK, BID, LiveRun
from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Action, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.node import Step

TAKES = StrategySettings(name="s", models=("m",), styles=("market",), order_quantity="0.03", position_max="0.09")
LOG_ID = "00ba0000000000e5"


def _takes(intent: np.void) -> bool:
    return intent["order_type"] == OrderType.MARKET or intent["time_in_force"] == TimeInForce.IOC


class LivedRun(LiveRun):
    """Signals in, orders out. The market is at rest but for what the orders take; every level is restored after that.

    By number of the order, `wrong`: ticks by which its fill is reported at another price; `more`: lots beyond it.
    """

    def __init__(
        self, root: Path, wrong: dict[int, int] | None = None, more: dict[int, int] | None = None,
        strategy: StrategySettings = TAKES,
    ):  # fmt: skip
        self._step: Step | None = None
        self.root, self.strategies, self._wrong, self._more = root, (strategy,), wrong or {}, more or {}
        self.orders: list[str] = []
        self._asked: list[Event] = []
        super().__init__()
        self._begin(scene(root / "first", list(self.raws), self.strategies))

    def _begin(self, config: Config) -> None:
        self._step = Step(config)
        for raw in self.raws:
            self._step.step([Event(raw)])
        self._add(Kind.run, {"node": "sequencer", "log_id": LOG_ID}, b"sequencer", "sequencer")
        self._add(Kind.run, self._step.identity() | {"node": "executor"}, b"executor", "executor")

    def change(self, strategy: StrategySettings) -> None:
        """The executor begins anew with another strategy, which goes on from all that was."""
        self.strategies = (strategy,)
        self._begin(scene(self.root / f"n{len(self.raws)}", list(self.raws), self.strategies))

    def _add(self, kind: Kind, records, producer: bytes = b"feed-1", *rest, **more) -> int:
        seq = super()._add(kind, records, producer, *rest, **more)
        if self._step is not None:
            self._asked += [Event(raw) for raw in self._step.step([Event(self.raws[-1])])]
        return seq

    def signal_now(self, value: float) -> None:
        """A model gives a signal; what the executor orders then is filled."""
        record = np.zeros(1, DTYPES[Kind.signal])
        record["value"] = value
        self._add(Kind.signal, record, b"model-m", cause_seq=self.market.seq)
        while self._asked:
            asked = self._asked.pop(0)
            self._add(Kind(asked.kind), asked.records, b"executor", asked.subject, cause_seq=asked.cause_seq, k=asked.k)
            for intent in asked.records if asked.kind == Kind.intent else ():
                if intent["action"] == Action.NEW and _takes(intent):
                    self._fill_now(bytes(intent["client_order_id"]).decode(), int(intent["side"]), int(intent["quantity_lots"]))

    def _fill_now(self, name: str, side: int, lots: int) -> None:
        self.update(name, Status.PendingNew)
        price, at_ns = ASK if side > 0 else BID, self.venue_ns
        trade = self.trade(price, lots, side)
        self.quote(100 - lots * (side < 0), 100 - lots * (side > 0))
        number = len(self.orders)
        reported = lots + self._more.get(number, 0)
        self.fill(name, trade, side, price + self._wrong.get(number, 0), reported, False, at_ns)
        self.update(name, Status.Filled, at_ns, lots=lots, filled=lots)
        self.book(100 - lots * (side < 0), 100 - lots * (side > 0))
        self.book(100, 100)
        self.quote(100, 100)
        self.orders.append(name)

    def write(self) -> Config:
        """Writes the log; gives the settings of its mesh."""
        return scene(self.root / "mesh", self.raws, self.strategies)
