"""The way of an order wire to wire: nodes/hops/tracker.py's, between the moments at which the exchange sent and received."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.hops.tracker import OrderPath, order_paths

HOPS = (
    "exchange → feed: sent … out of the socket", "feed: read, appended, sent", "sequencer: quote in the log",
    "→ model: it has the quote", "model: signal appended, sent", "sequencer: signal in the log",
    "→ executor: it has the signal", "executor: intent appended, sent", "sequencer: intent in the log",
    "session: it has noted the order as PendingNew", "→ exchange: signed, sent … arrived",
)  # fmt: skip


class Chain(NamedTuple):
    """One order with all that led to it. `sent`, `arrived`: at the exchange, ns."""

    sent: int
    path: OrderPath
    arrived: int

    @property
    def hops(self) -> tuple[int, ...]:
        """ns of each of HOPS, which add up to the whole way."""
        times = (self.sent, *self.path.times, self.arrived)
        return tuple(after - before for before, after in zip(times, times[1:], strict=False))


def chains(events: Iterable[Event], sent: Mapping[int, int], arrived: Mapping[str, int]) -> Iterator[Chain]:
    """The orders of a log that a quote caused and that arrived at the exchange, in the order in which they were noted."""
    for path in order_paths(events):
        if path.tick.kind == Kind.quote and path.tick.last_id in sent and path.client_order_id in arrived:
            yield Chain(sent[path.tick.last_id], path, arrived[path.client_order_id])
