"""The session of a comparison: everything arrives when it is known to have arrived."""

from collections.abc import Collection
from heapq import heapify

from tickmesh.bus.wire import Event
from tickmesh.research.backtest.session import BacktestSession, Message


class ExactSession(BacktestSession):
    """As `BacktestSession`, and everything arrives when its latency says: messages of one connection may overtake one another,
    since what is known of when each arrived is as exact as the market's stamps."""

    def _arrival(self, way: str, slot: int, now_ns: int, seconds: float) -> int:
        return now_ns + round(seconds * 1e9)

    def keep(self, kept: Collection[bytes]) -> None:
        """Takes every order but these out of the book, and what is under way with them: nothing is said of them any more."""
        self._under_way = [one for one in self._under_way if _name_of(one) in kept]
        heapify(self._under_way)
        for order in self._orders:
            if not order.ended_ns and bytes(order.intent["client_order_id"]) not in kept:
                self._venue.cut(order.number, order.lots - order.filled)
                order.ended_ns = max(order.arrived_ns, 1)


def _name_of(message: Message) -> bytes:
    """Of which order a message is: its client id."""
    if message.intent is None:
        return bytes(Event(message.event).records[0]["client_order_id"]) if message.event is not None else b""
    return bytes(message.intent["client_order_id" if message.order >= 0 else "target_id"])
