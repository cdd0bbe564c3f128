"""A log with chosen events, for the judge."""

import numpy as np

from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, GapState, Kind, Reason
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import verify as command

SUBJECT = "binance.BTCUSDT"


SECOND = 1_000_000_000


class Log:
    """Builds a log of one instrument, as a sequencer writes it."""

    def __init__(self) -> None:
        self.market = Market()
        self.events: list[bytes] = []

    def publish(self, kind: Kind, record, subject: str = SUBJECT, **fields) -> None:
        """Adds an event."""
        self.events.append(self.market.event(kind, subject, record, **fields))

    def trades(self, *ids: int, **fields) -> "Log":
        """Adds a trade of each id."""
        for number in ids:
            record = np.zeros(1, DTYPES[Kind.trade])
            record["trade_id"], record["venue_ns"] = number, self.market.seq_ns
            self.publish(Kind.trade, record, first_id=number, last_id=number, **fields)
        return self

    def quotes(self, *ids: int, **fields) -> "Log":
        """Adds a quote of each id."""
        for number in ids:
            record = np.zeros(1, DTYPES[Kind.quote])
            record["update_id"] = number
            self.publish(Kind.quote, record, first_id=number, last_id=number, **fields)
        return self

    def depth(self, first: int, last: int, flags: int = 0) -> "Log":
        """Adds a change of the book."""
        self.publish(Kind.depth, np.zeros(1, DTYPES[Kind.depth]), first_id=first, last_id=last, flags=flags)
        return self

    def gap(self, kind: Kind, first: int, last: int, reason: Reason, state: GapState = GapState.unrecoverable) -> "Log":
        """Adds a gap."""
        record = np.zeros(1, DTYPES[Kind.gap])
        record[0] = (first, last, kind, state, reason, 0, 0, 0, 0)
        self.publish(Kind.gap, record, producer=b"sequencer", first_id=first, last_id=last)
        return self

    def lines(self, kind: Kind, events: int, lasted_s: float = 10.0) -> "Log":
        """Adds statistics of a line over so many seconds."""
        record = np.zeros(1, DTYPES[Kind.line])
        record["line"], record["stream"], record["events"], record["duplicates"] = b"feed-1", kind, events, events
        step_ns = int(lasted_s * SECOND)
        record["begin_ns"], record["end_ns"] = self.market.seq_ns, self.market.seq_ns + step_ns
        self.publish(Kind.line, record, producer=b"sequencer", step_ns=step_ns)
        return self

    def alert(self, what: str, target: str) -> "Log":
        """Adds an alert."""
        self.publish(Kind.alert, {"level": "critical", "what": what, "target": target, "why": "", "action": ""}, "sequencer")
        return self

    def clock(self, step_ns: int) -> "Log":
        """Adds a clock event."""
        self.events.append(self.market.clock(step_ns))
        return self

    def faults(self, archived: bool = False) -> dict:
        """Writes the log (archived, too, if so); gives the faults that `mesh verify` finds."""
        config = load()
        write_log(config.log_dir, self.events)
        if archived:
            reader = LogReader(config.log_dir)
            writer = ArchiveWriter(config.archive_dir)
            writer.archive_log(reader, reader.last, 7)
            writer.close()
        return command.verify([])["faults"]
