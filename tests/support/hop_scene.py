"""Made-up events of a mesh in which every time is known: ticks, the signals that they cause, and orders."""

import numpy as np

from tests.support.stored import Market
from tickmesh.bus.schema import DTYPES, Action, Kind, Status
from tickmesh.bus.wire import decode

S = "binance.BTCUSDT"
SENT = 30_000  # ns that Market has an event take from its producer to the log


class HopScene:
    """Events of a mesh in which everything takes a known time: `log` has them."""

    def __init__(self):
        self.market = Market()
        self.log = []

    def add(self, kind, fields, recv_ago, **header):
        """Appends an event whose producer received its cause `recv_ago` ns before the event was sequenced."""
        record = np.zeros(1, DTYPES[kind])
        for name, value in fields.items():
            record[name] = value
        now = self.market.seq_ns + 1_000_000
        event = self.market.event(kind, S, record, recv_ns=now - recv_ago, step_ns=1_000_000, **header)
        self.log.append(decode(event))
        return self.log[-1]

    def order(self, number: int, cause: int):
        """An intent of this cause, its PendingNew, New and two fills."""
        name = b"t1-%d" % number
        intent = self.add(Kind.intent, {"client_order_id": name, "action": Action.NEW}, 400_000, cause_seq=cause)
        self.add(Kind.update, {"client_order_id": name, "status": Status.PendingNew}, 900_000)
        self.add(Kind.update, {"client_order_id": name, "status": Status.New}, 300_000)
        self.add(Kind.fill, {"client_order_id": name}, 250_000)
        self.add(Kind.fill, {"client_order_id": name}, 250_000)
        return intent
