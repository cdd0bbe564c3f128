"""Made-up events for the storage tests: every kind, and a log on disk without a sequencer."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.segments import Batch
from tickmesh.bus.wire import Event, encode, stamp_sent, stamp_sequenced

DAY = 86_400 * 1_000_000_000
START = 1_723_161_600 * 1_000_000_000  # 2024-08-09 00:00 UTC


class Market:
    """Builds events as a mesh would log them: `seq` without a hole, `link` per topic, producers with epochs."""

    def __init__(self, seq: int = 0, seq_ns: int = START):
        self.seq = seq
        self.seq_ns = seq_ns
        self.links: dict[tuple[int, str], int] = {}
        self.numbers: dict[bytes, int] = {}

    def event(self, kind: Kind, subject: str, records, *, producer: bytes = b"feed-1", step_ns=1_000_000, **fields) -> bytes:
        """Builds the next event."""
        event = encode(kind, subject, records, **fields)
        self.seq += 1
        self.seq_ns += step_ns
        self.numbers[producer] = self.numbers.get(producer, 0) + 1
        stamp_sent(event, producer_bytes(producer.decode()), 77, self.numbers[producer], self.seq_ns - 30_000)
        stamp_sequenced(event, self.seq, self.links.get((kind, subject), 0), self.seq_ns)
        self.links[kind, subject] = self.seq
        return bytes(event)

    def trade(self, price: int = 6_183_763_000_000, subject: str = "binance.BTCUSDT", **fields) -> bytes:
        """Builds the next event: a trade."""
        record = np.zeros(1, DTYPES[Kind.trade])
        number = self.seq + 1000
        venue = self.seq_ns // 1_000_000 * 1_000_000
        record[0] = (number, price, 2_000_000, venue, venue, 1 if self.seq % 3 else -1, b"")
        return self.event(
            Kind.trade, subject, record, first_id=number, last_id=number, venue_ns=venue,
            recv_ns=self.seq_ns - 90_000, **fields,
        )  # fmt: skip

    def depth(self, levels: list[tuple[int, int, int]], last_id: int, snapshot: bool = False, **fields) -> bytes:
        """Builds the next event: levels of a book."""
        records = np.zeros(len(levels), DTYPES[Kind.depth])
        for record, (price, quantity, side) in zip(records, levels):
            record["price_ticks"], record["quantity_lots"], record["side"] = price, quantity, side
        return self.event(
            Kind.depth, fields.pop("subject", "binance.BTCUSDT"), records, flags=Flag.SNAPSHOT if snapshot else 0,
            first_id=last_id, last_id=last_id, **fields,
        )  # fmt: skip

    def gap(self, stream: Kind, subject: str = "binance.BTCUSDT") -> bytes:
        """Builds the next event: an open gap."""
        record = np.zeros(1, DTYPES[Kind.gap])
        record["stream"], record["state"] = stream, 1
        return self.event(Kind.gap, subject, record, producer=b"sequencer")

    def instrument(self, exponents: tuple[int, int] = (-8, -8), subject: str = "binance.BTCUSDT") -> bytes:
        """Builds the next event: a definition."""
        record = np.zeros(1, DTYPES[Kind.instrument])
        record["price_exponent"], record["quantity_exponent"] = exponents
        return self.event(Kind.instrument, subject, record)

    def clock(self, step_ns: int = 1_000_000) -> bytes:
        """Builds the next event: a clock."""
        record = np.zeros(1, DTYPES[Kind.clock])
        record["now_ns"] = self.seq_ns + step_ns
        return self.event(Kind.clock, "sequencer", record, producer=b"sequencer", step_ns=step_ns)

    def health(self, node: str = "feed-1") -> bytes:
        """Builds the next event: a node's health."""
        return self.event(Kind.health, node, {"node": node, "trades": self.seq}, producer=node.encode())

    def mixed(self, count: int) -> list[bytes]:
        """Builds the next `count` events, a little of everything."""
        out = []
        while len(out) < count:
            step = len(out) % 10
            if step == 0:
                out.append(self.health(f"feed-{1 + len(out) % 2}"))
            elif step == 1:
                out.append(self.depth([(100 + len(out) % 7, 5, 1), (200, len(out), -1)], self.seq, len(out) == 1))
            elif step == 2:
                out.append(self.clock())
            elif step == 3:
                out.append(self.trade(subject="binance.ETHUSDT"))
            else:
                out.append(self.trade(6_183_763_000_000 + step * 1_000_000))
        return out


def seq_of(raw: bytes) -> int:
    """The seq in an event's header."""
    return Event(raw).seq


def batches(raws: Iterable[bytes], size: int = 100) -> list[Batch]:
    """Events in batches of `size`."""
    raws = list(raws)
    return [
        Batch(seq_of(raws[i]), seq_of(raws[i]) + len(raws[i : i + size]) - 1, memoryview(b"".join(raws[i : i + size])))
        for i in range(0, len(raws), size)
    ]


def write_log(folder: Path, raws: list[bytes], segment_bytes: int = 1 << 16, size: int = 50) -> None:
    """Writes a log in `folder`, and closes it cleanly: everything is durable then."""
    writer = LogWriter(folder, segment_bytes=segment_bytes, sync_ms=50)
    for i in range(0, len(raws), size):
        writer.append(seq_of(raws[i]), raws[i : i + size])
    writer.close()
