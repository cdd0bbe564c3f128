"""A step that answers what it reads."""

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import SIGNAL, Kind
from tickmesh.bus.wire import Event, encode


class Echo:
    """A node's module that answers every trade with one signal; its state is how many it has seen."""

    READS = (Kind.trade,)
    WRITES = (Kind.signal,)

    class Step:
        def __init__(self, config: Config, instance: str):
            self.seen = 0

        def step(self, events: list[Event]) -> list[bytearray]:
            self.seen += len(events)
            return [encode(Kind.signal, "binance.BTCUSDT", np.zeros(1, SIGNAL), cause_seq=event.seq) for event in events]

        def identity(self) -> dict:
            return {}

        def counters(self) -> dict:
            return {"seen": self.seen}

        def save(self) -> bytes:
            return bytes([self.seen])

        def load(self, state: bytes) -> None:
            self.seen = state[0]
