"""Where the time between a tick and its order goes, hop by hop, from the times that the messages themselves have."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event

HOPS = (
    "exchange → feed: sent … out of the socket", "feed: read, appended, sent", "sequencer: quote in the log",
    "→ model: it has the quote", "model: signal appended, sent", "sequencer: signal in the log",
    "→ executor: it has the signal", "executor: intent appended, sent", "sequencer: intent in the log",
    "session: it has noted the order as PendingNew", "→ exchange: signed, sent … arrived",
)  # fmt: skip


class Chain(NamedTuple):
    """One order with all that led to it. `sent`, `arrived`: at the exchange, ns."""

    sent: int
    quote: Event
    signal: Event
    intent: Event
    update: Event
    arrived: int

    @property
    def hops(self) -> tuple[int, ...]:
        """ns of each of HOPS, which add up to the whole way."""
        quote, signal, intent = self.quote, self.signal, self.intent
        times = (
            self.sent, quote.recv_ns, quote.sent_ns, quote.seq_ns, signal.recv_ns, signal.sent_ns, signal.seq_ns,
            intent.recv_ns, intent.sent_ns, intent.seq_ns, self.update.sent_ns, self.arrived,
        )  # fmt: skip
        return tuple(after - before for before, after in zip(times, times[1:], strict=False))


def chains(log: LogReader, sent: Mapping[int, int], arrived: Mapping[str, int]) -> Iterator[Chain]:
    """The orders of a log that arrived at the exchange, in the order in which the session noted them."""
    quotes: dict[int, Event] = {}
    signals: dict[int, Event] = {}
    intents: dict[str, Event] = {}
    for event in log.events():
        if event.kind == Kind.quote:
            quotes[event.seq] = event
        elif event.kind == Kind.signal:
            signals[event.seq] = event
        elif event.kind == Kind.intent:
            intents[_client_id(event)] = event
        elif event.kind == Kind.update and (intent := intents.pop(_client_id(event), None)) is not None:
            signal = signals.get(intent.cause_seq)
            quote = quotes.get(signal.cause_seq) if signal is not None else None
            client_id = _client_id(event)
            if quote is not None and signal is not None and client_id in arrived and quote.last_id in sent:
                yield Chain(sent[quote.last_id], quote, signal, intent, event, arrived[client_id])


def _client_id(event: Event) -> str:
    return bytes(event.records["client_order_id"][0]).rstrip(b"\0").decode()
