"""What reached a line, as `raw` events: enough to make its market events again, later and with a later parser."""

from collections.abc import Iterable

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import EVENT_SIZE_MAX, encode

MARGIN_BYTES = 4096  # of header, map and lengths of the frames


class RawFrames:
    """Makes the `raw` events of a line while `kept`. `left_out`: calls whose frames were too many bytes for one event."""

    def __init__(self, line: str, kept: bool):
        self.line = line
        self.kept = kept
        self.left_out = 0

    def events(self, connection: int, channel: str, recv_ns: int, frames: Iterable[bytes] = ()) -> list[bytearray]:
        """One `raw` event of frames that came on a connection (0: over REST); none while raw frames are not kept."""
        if not self.kept:
            return []
        event = raw_event(self.line, connection, channel, recv_ns, frames)
        self.left_out += event is None
        return [] if event is None else [event]


def raw_event(line: str, connection: int, channel: str, recv_ns: int, frames: Iterable[bytes] = ()) -> bytearray | None:
    """A `raw` event of subject `line`; None when the frames are too many bytes for one event."""
    kept = list(frames)
    if sum(map(len, kept)) + 5 * len(kept) > EVENT_SIZE_MAX - MARGIN_BYTES:
        return None
    return encode(Kind.raw, line, {"connection": connection, "channel": channel, "frames": kept}, recv_ns=recv_ns)
