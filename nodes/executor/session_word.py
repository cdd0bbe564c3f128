"""What the log says of the session, and whether by that orders may be made now. No I/O."""

from typing import Any

import msgspec


class SessionWord(msgspec.Struct):
    """When the session was heard of last (log time), how far the venue's clock was ahead of ours then, in ms, and which
    positions the venue has otherwise than the log's fills say: by instrument, in lots, + is long.

    Of the mesh's time and the machine's clock the one counts that is nearer to the venue's: where one of them is right, how far
    the other one is from it is known, and no duration is wrong.
    """

    beat_ns: int = 0  # 0: never; a session that was never there has lost nothing, and what it is sent expires
    clock_skew_ms: float = 0.0
    venue_lots: dict[str, int] = {}

    def read_health(self, health: dict[str, Any], seq_ns: int) -> None:
        """Takes in a health event of the session."""
        self.beat_ns = seq_ns
        skew_ms = float(health.get("clock_skew_ms", 0.0))
        self.clock_skew_ms = min(skew_ms, float(health.get("wall_skew_ms", skew_ms)), key=abs)
        self.venue_lots = dict(health.get("venue_positions", {}))

    def has_none_to_close(self, subject: str, side: int) -> bool:
        """Whether the venue has no position of an instrument that an order of this side would close, whatever the log says."""
        return self.venue_lots.get(subject, -side) * side >= 0

    def refusal(self, now_ns: int, pause_ns: int, skew_max_ms: float) -> str:
        """Why no order may be made now; "" where one may.

        paused      the session has not been heard of for `pause_ns`, or the log stood still for so long
        clock_skew  the clocks differ by more than `skew_max_ms` (0: however much): what is stale cannot be told
        """
        if self.beat_ns and now_ns - self.beat_ns > pause_ns:
            return "paused"
        return "clock_skew" if skew_max_ms and not abs(self.clock_skew_ms) <= skew_max_ms else ""  # nor a NaN
