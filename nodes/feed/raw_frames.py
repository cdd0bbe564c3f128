"""What a line heard, as `raw` events: enough to make its market events again, later and with a later parser."""

from collections.abc import Iterable

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import EVENT_SIZE_MAX, encode

MARGIN_BYTES = 4096  # of header, map and lengths of the frames


def raw_event(line: str, connection: int, channel: str, recv_ns: int, frames: Iterable[bytes] = ()) -> bytearray | None:
    """Subject `line`. None when the frames are too many bytes for one event."""
    kept = list(frames)
    if sum(map(len, kept)) + 5 * len(kept) > EVENT_SIZE_MAX - MARGIN_BYTES:
        return None
    return encode(Kind.raw, line, {"connection": connection, "channel": channel, "frames": kept}, recv_ns=recv_ns)
