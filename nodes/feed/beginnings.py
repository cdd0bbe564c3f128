"""Whether a venue's ids began anew while a line was without a connection."""

from tickmesh.bus.wire import ids_of, venue_ns_of
from tickmesh.nodes.feed.streams import Key, Source


class LastBrought:
    """The newest event of each stream that the last connection brought, until the next one brings one."""

    def __init__(self) -> None:
        self._newest: dict[Key, bytearray] = {}

    def keep(self, source: Source) -> None:
        """A connection is over."""
        for key, stream in source.streams.items():
            if stream.newest is not None:
                self._newest[key] = stream.newest

    def began_anew(self, key: Key, last_id: int, event: bytearray) -> bool:
        """Takes the stream's first event since: whether its id is lower than before, and it is later by the venue's time."""
        before = self._newest.pop(key, None)
        if before is None or not last_id:
            return False
        return last_id < ids_of(before)[1] and venue_ns_of(event) > venue_ns_of(before)
