"""The topic table: what flows, who writes and reads it, on which lane it rings, and when it is stale.

A topic is `kind.subject`; market and order kinds have `venue.instrument` as their subject, system kinds a node's name.
Lanes and staleness are read from here; tests compare writers and readers with what the nodes say of themselves.
"""

from dataclasses import dataclass
from enum import IntEnum

from tickmesh.bus.schema import Kind


class Lane(IntEnum):
    """Groups of kinds that ring separately, so that a session is not woken for every quote.

    A definition is rare, and who trades needs it: it rings with orders.
    """

    market = 0
    order = 1
    system = 2

    @property
    def prefix(self) -> bytes:
        """The first byte of a ring on this lane, which ZeroMQ filters on."""
        return b"MOS"[self : self + 1]


@dataclass(frozen=True)
class TopicRow:
    """One kind's row of the topic table. `stale_after_ns`: age of the latest event that is shown as stale (0 = never)."""

    kind: Kind
    lane: Lane
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    stale_after_ns: int = 0


SECOND = 1_000_000_000
EVERY = ("*",)

TABLE: dict[Kind, TopicRow] = {
    row.kind: row
    for row in (
        TopicRow(Kind.instrument, Lane.order, ("feed",), ("model", "executor", "session", "exchange", "recorder", "gateway")),
        TopicRow(
            Kind.trade,
            Lane.market,
            ("feed", "backfill"),
            ("model", "executor", "backfill", "exchange", "recorder", "gateway"),
            stale_after_ns=60 * SECOND,
        ),
        TopicRow(
            Kind.quote,
            Lane.market,
            ("feed",),
            ("model", "executor", "exchange", "recorder", "gateway"),
            stale_after_ns=30 * SECOND,
        ),
        TopicRow(Kind.depth, Lane.market, ("feed",), ("model", "exchange", "recorder", "gateway"), stale_after_ns=30 * SECOND),
        TopicRow(Kind.gap, Lane.market, ("sequencer", "backfill"), ("model", "executor", "backfill", "recorder", "gateway")),
        TopicRow(Kind.signal, Lane.order, ("model",), ("executor", "recorder", "gateway")),
        TopicRow(
            Kind.feature, Lane.market, ("model",), ("recorder", "gateway")
        ),  # no executor reads it: a feature is never traded
        TopicRow(Kind.intent, Lane.order, ("executor",), ("session", "executor", "recorder", "gateway")),
        TopicRow(Kind.update, Lane.order, ("session",), ("executor", "session", "recorder", "gateway")),
        TopicRow(Kind.fill, Lane.order, ("session",), ("executor", "session", "recorder", "gateway")),
        TopicRow(Kind.balance, Lane.order, ("session",), ("session", "recorder", "gateway")),
        TopicRow(Kind.funding, Lane.order, ("session",), ("executor", "session", "recorder", "gateway")),
        TopicRow(
            Kind.clock,
            Lane.system,
            ("sequencer",),
            ("model", "executor", "session", "recorder", "sentinel", "gateway"),
            stale_after_ns=SECOND,
        ),
        TopicRow(Kind.cursor, Lane.system, ("sequencer",), ("sequencer", "backfill", "recorder", "sentinel", "gateway")),
        TopicRow(Kind.run, Lane.system, EVERY, ("recorder", "sentinel", "notifier", "gateway")),
        TopicRow(Kind.health, Lane.system, EVERY, ("executor", "recorder", "sentinel", "gateway"), stale_after_ns=5 * SECOND),
        TopicRow(Kind.refusal, Lane.system, EVERY, ("recorder", "gateway")),
        TopicRow(Kind.watermark, Lane.system, ("recorder",), ("recorder", "sentinel", "gateway")),
        TopicRow(Kind.coverage, Lane.system, ("recorder",), ("recorder", "gateway")),
        TopicRow(Kind.line, Lane.system, ("sequencer",), ("sentinel", "recorder", "gateway")),
        TopicRow(Kind.raw, Lane.system, ("feed",), ("recorder",)),
        TopicRow(Kind.alert, Lane.system, EVERY, ("recorder", "sentinel", "notifier", "gateway")),
        TopicRow(
            Kind.command, Lane.order, ("executor", "sentinel"), ("executor", "recorder", "sentinel", "notifier", "gateway")
        ),  # and `mesh` itself, as "operator"
        TopicRow(Kind.shadow, Lane.order, ("executor",), ("executor", "recorder", "gateway")),
        TopicRow(Kind.parent, Lane.order, ("executor",), ("executor", "recorder", "gateway")),
    )
}

LANE_OF_KIND: dict[int, Lane] = {int(kind): row.lane for kind, row in TABLE.items()}


def lanes_of(kinds: tuple[Kind, ...]) -> frozenset[Lane]:
    """The lanes that carry these kinds: a reader of them subscribes to all of these."""
    return frozenset(TABLE[kind].lane for kind in kinds)


def account_of(venue: str) -> str:
    """The subject of what an account at a venue holds: binance.account."""
    return f"{venue}.account"


def topic(kind: int, subject: str) -> str:
    """`kind.subject`, like trade.binance.BTCUSDT."""
    return f"{Kind(kind).name}.{subject}"
