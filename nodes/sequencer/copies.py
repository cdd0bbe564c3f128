"""Events that are not taken: copies of what is known, and what only looks like one, which is refused with its bytes. Pure."""

from tickmesh.bus.schema import Kind
from tickmesh.nodes.sequencer import statements
from tickmesh.nodes.sequencer.offer import Offer, key_of
from tickmesh.nodes.sequencer.stream import ArbitratedStream
from tickmesh.nodes.sequencer.trade_gaps import TradeGaps


class Copies:
    """Counts what each line brought in vain. `out`: events for the log, appended to."""

    def __init__(self, trade_gaps: TradeGaps):
        self.trade_gaps = trade_gaps
        self.duplicates: dict[str, int] = {}

    def glance(self, stream: ArbitratedStream, one: Offer, now: int) -> bool:
        """Drops an event at or below the last id if it is nothing but a copy of what was taken, as most are, in few words.

        False: it may be one all the same, which the rest of arbitration finds out.
        """
        line = one.line
        if stream.refused or stream.crossed is not None or line in stream.held or line in stream.fresh:
            return False
        if not (stream.numbered or (line in stream.joined and not stream.marks.get(line))) or stream.same(one) is not True:
            return False
        stream.lines.note(line, one.last_id, one.recv_ns, stream.last)
        self.drop(stream, line, now)
        return True

    def drop(self, stream: ArbitratedStream, line: str, now: int) -> None:
        """Counts an event of the line that is not taken, and publishes nothing of it."""
        self.count(line)
        stream.dropped_at = now
        if not stream.drops:
            stream.dropping_since = now
        stream.drops += 1

    def count(self, line: str) -> None:
        """Counts one more event that the line brought in vain."""
        self.duplicates[line] = self.duplicates.get(line, 0) + 1

    def judge(self, stream: ArbitratedStream, one: Offer, now: int, out: list[bytearray], newer: bool = False) -> None:
        """Takes an event into a gap that it fills, or drops it, with a refusal if it is no copy of anything.

        `newer`: by the venue's time it is later than what was known when it came, so it is no copy. Where each line numbers the
        same events by itself it may be one: another line says it with a higher id.
        """
        newer = newer and stream.comparable and not one.snapshot
        if self.trade_gaps.fills(stream, one, now, out):
            return
        if stream.same(one) is False:
            self.refuse_otherwise(stream, one, out)
        elif not self.refuse_unfilled(stream, one, out) and (newer or stream.overtaken(one)):
            self._refuse(stream, one, f" after {stream.last}: it is no copy, and its place is gone", out)
        self.drop(stream, one.line, now)

    def refuse_otherwise(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
        """Publishes a refusal of an event that has a known id, and other records."""
        self._refuse(stream, one, " again, with something else in it: the first is kept", out)

    def refuse_unfilled(self, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> bool:
        """Refuses an event whose id is missing, but which does not belong there; gives whether it did."""
        if not stream.missing(one):
            return False
        why = "but the book has gone on without it" if stream.kind == Kind.depth else "but is later than what stands behind it"
        self._refuse(stream, one, f", which is missing, {why}", out)
        return True

    @staticmethod
    def _refuse(stream: ArbitratedStream, one: Offer, why: str, out: list[bytearray]) -> None:
        key = key_of(one.first_id, one.last_id, one.event)
        if key not in stream.named:  # else another line's copy of it
            stream.named.append(key)
            out.append(statements.refusal(stream, one, f"{stream.topic} says id {one.last_id}{why}"))
