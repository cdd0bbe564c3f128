"""Whether a venue's ids began anew while a line was without a connection."""

from tickmesh.bus.wire import ids_of, venue_ns_of
from tickmesh.nodes.feed.streams import Key, Source


class LastBrought:
    """The newest event of each stream that the last connection brought, until the next one brings one."""

    def __init__(self) -> None:
        self._newest: dict[Key, bytearray] = {}

    def keep(self, source: Source) -> None:
        """Takes the newest event of each stream of a connection that is over."""
        for key, stream in source.streams.items():
            if stream.newest is not None:
                self._newest[key] = stream.newest

    def began_anew(self, key: Key, last_id: int, event: bytearray) -> bool:
        """Whether a stream's ids began anew: its next event has a lower id, and a later venue time, than its last."""
        before = self._newest.pop(key, None)
        if before is None or not last_id:
            return False
        return last_id < ids_of(before)[1] and venue_ns_of(event) > venue_ns_of(before)
