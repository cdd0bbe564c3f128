"""Open gaps of trades: opened, filled by what comes late, declared lost, and what the log is told of each. Pure.

Changes of books have none: no venue sells them afterwards, so their holes are final at once.
"""

import numpy as np

from tickmesh.bus.schema import GapState, Kind, Reason
from tickmesh.bus.wire import add_flags
from tickmesh.nodes.gaps import clipping
from tickmesh.nodes.gaps.gaps import Gap, Run
from tickmesh.nodes.sequencer import statements
from tickmesh.nodes.sequencer.offer import REPAIRED, Offer, offer_of
from tickmesh.nodes.sequencer.stream import ArbitratedStream

MISSING_MAX = 1000  # open gaps remembered per stream; the oldest beyond them is declared unrecoverable
HISTORY_NS = 1_000_000_000  # a history may print its times so much later than the feed did, which prints them finer


class TradeGaps:
    """The gaps of all streams, which each stream keeps. `out`: events for the log, appended to."""

    def __init__(self) -> None:
        self.late = 0  # events taken although their ids had been given up
        self.forgotten = 0  # open gaps that were too many
        self.undecided: set[tuple[int, str]] = set()  # found in the log: what became of a gap may still be to be said

    def open(
        self, stream: ArbitratedStream, low: int, high: int, after_ns: int, out: list[bytearray],
        reason: Reason = Reason.skipped,
    ) -> None:  # fmt: skip
        """Publishes that trades are missing. `last` moves to the end of them, in the log too: a restart opens no gap twice."""
        stream.gaps.open(low, high, stream.venue_ns, after_ns)
        stream.give_up_to(high)
        out.append(statements.gap(stream, [(low, high)], GapState.open, reason, after_ns))
        if len(stream.gaps) > MISSING_MAX:
            self.close(stream, out)  # after a restart the oldest may be decided, and that not said yet
        if len(stream.gaps) > MISSING_MAX:
            self.forgotten += 1
            oldest = stream.gaps.all[0]
            self.lose(stream, oldest, list(oldest.missing), Reason.skipped, out)
            self.close(stream, out)

    def fills(self, stream: ArbitratedStream, one: Offer, now: int, out: list[bytearray]) -> bool:
        """Takes an event that has ids of an open gap, as `repair` does; whether it had any."""
        return bool(stream.gaps) and one.first_id <= stream.gaps.high and self.repair(stream, one, now, out)

    def repair(self, stream: ArbitratedStream, one: Offer, now: int, out: list[bytearray]) -> bool:
        """Takes a late event, or one of backfill, that has ids of an open gap, flagged REPAIRED; whether it had any.

        Of an event that lies across several holes only the part in the first one is: an event is one run of ids.
        """
        for low, high in stream.gaps.missing(one.first_id, one.last_id):
            (gap,) = stream.gaps.touched(low, high)
            if one.venue_ns - (one.flags and HISTORY_NS) > gap.after_ns > 0:
                continue  # later than what stands behind the hole: it means something else
            event = clipping.clip(one.event, low, high)
            if event is not None:
                part = offer_of(one.line, one.number, event)
                add_flags(event, REPAIRED)
                stream.gaps.fill(part.first_id, part.last_id)
                self.late += 1
                out.append(event)
                if not one.flags:
                    stream.doubts.wait_anew(now)  # the stream lives: others may be late as well
                self.close(stream, out)
                return True
        return False

    def lose(self, stream: ArbitratedStream, gap: Gap, runs: list[Run], reason: Reason, out: list[bytearray]) -> None:
        """Marks ids of a gap as lost and publishes the reason; they will not come."""
        for low, high in runs:
            stream.gaps.lose(low, high)
        out.append(statements.gap(stream, runs, GapState.unrecoverable, reason, gap.after_ns, gap.before_ns))

    def declare(self, stream: ArbitratedStream, record: np.void, out: list[bytearray]) -> bool:
        """Marks ids that backfill's GAP record gives up as lost, those that are still missing. False if none is."""
        runs = []
        if record["state"] == GapState.unrecoverable:
            runs = stream.gaps.missing(int(record["first_id"]), int(record["last_id"]))
        for gap in stream.gaps.touched(runs[0][0], runs[-1][1]) if runs else ():
            self.lose(stream, gap, gap.overlap(runs[0][0], runs[-1][1]), Reason(record["reason"]), out)
        self.close(stream, out)
        return bool(runs)

    def lose_all(self, stream: ArbitratedStream, reason: Reason, out: list[bytearray]) -> None:
        """Marks all that is still missing of the stream as lost, and publishes it with the reason."""
        for gap in list(stream.gaps.all):
            self.lose(stream, gap, list(gap.missing), reason, out)
        self.close(stream, out)

    def close(self, stream: ArbitratedStream, out: list[bytearray]) -> None:
        """Forgets gaps of which every id is decided, and publishes what of them was repaired; what was lost is published."""
        for gap in stream.gaps.pop_decided():
            if runs := gap.repaired():
                out.append(statements.gap(stream, runs, GapState.repaired, Reason.none, gap.after_ns, gap.before_ns))

    def close_undecided(self, streams: dict[tuple[int, str], ArbitratedStream], out: list[bytearray]) -> None:
        """Closes after a restart the gaps that had been decided and were not published yet."""
        for key in sorted(self.undecided):
            self.close(streams[key], out)
        self.undecided.clear()

    def still_missing(self, stream: ArbitratedStream, low: int, high: int, after_ns: int, out: list[bytearray]) -> list[Run]:
        """The runs of trades `low` to `high` that nobody has brought; the last run reaches `high`, and may be empty.
        What was repaired of a gap that an absurd id opened is published.
        """
        missing, at = [], low
        for gap in stream.gaps.touched(low, high):
            repaired = [(max(first, low), min(last, high)) for first, last in gap.repaired() if first <= high and last >= low]
            if repaired:
                out.append(statements.gap(stream, repaired, GapState.repaired, Reason.none, after_ns, gap.before_ns))
            missing += gap.overlap(low, high)
            at = gap.high + 1
        if at <= high:
            missing.append((at, high))
        if not missing or missing[-1][1] < high:
            missing.append((high + 1, high))
        return missing

    def take_rest(self, stream: ArbitratedStream, one: Offer, last: int, out: list[bytearray]) -> Offer | None:
        """Cuts off the trades of an event that are known already; None: they cannot be cut off, and the new ones are a gap."""
        rest = clipping.clip(one.event, last + 1, one.last_id)
        if rest is None:
            self.open(stream, last + 1, one.last_id, one.venue_ns, out)
            return None
        new = offer_of(one.line, one.number, rest)
        if new.first_id > last + 1:
            self.open(stream, last + 1, new.first_id - 1, one.venue_ns, out)
        return new

    def give_up(self, stream: ArbitratedStream, low: int, high: int, after_ns: int, out: list[bytearray]) -> None:
        """Gives up ids that nobody has brought in time: an open gap for backfill where they are trades, else a final one."""
        absurd = stream.refuted is not None and stream.refuted == stream.last
        if stream.kind == Kind.trade:
            self.open(stream, low, high, after_ns, out, Reason.contradiction if absurd else Reason.skipped)
        else:
            reason = Reason.contradiction if absurd else Reason.no_history
            out.append(statements.gap(stream, [(low, high)], GapState.unrecoverable, reason, after_ns))
            stream.give_up_to(high)
