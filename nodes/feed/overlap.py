"""One stream while its line's connection is replaced: two connections bring it, each event is published once, in order of ids.

The old connection's events are published until the new one is known to overlap with it: an id of the new one follows on, or
is among, those that were published. From then on each brings all of the stream, and whichever is first is published; either
may break and nothing is lost. An event is left out only if its id was published meanwhile, never because a higher one was: an
absurd id must not silence what follows it.

What waits before that waits for `feed.overlap_s` at most (docs/decisions/waiting.md).
"""

from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.wire import flags_of, ids_of

HELD_MAX = 20_000  # events of a new connection that wait for the old one; beyond it the new one takes over
PUBLISHED_MAX = 200_000  # ids remembered; beyond it they are forgotten, what is published twice the sequencer drops
STRAYS = 64  # events of the only connection that were not published before: it needs this filter no more
_read_flags_and_last_id = header_reader("flags", "last_id")


class Overlap:
    """Decides, for one stream that two connections bring, which events of each are published.

    `rule`: contiguous, rising or exclusive (bus/id_rules.py). `at_once`: the old connection brings nothing of it.

    `joined`: what the new connection brings is published. `last`: the highest id published meanwhile; `since`: that before it
    began, None where nothing was. `old_brought`: the old connection has brought something meanwhile.
    """

    __slots__ = ("rule", "book", "joined", "last", "published", "strays", "held", "old_brought")

    def __init__(self, rule: str, kind: int, at_once: bool = False, since: int | None = None):
        self.rule = rule
        self.book = kind == Kind.depth
        self.joined = at_once
        self.last = since
        self.published: set[int] = set() if since is None else {since}
        self.strays = 0
        self.old_brought = False
        self.held: list[bytearray] = []

    @property
    def mute(self) -> bool:
        """Whether the old connection brings something of the stream, and the new one does not."""
        return self.old_brought and not self.joined and not self.held

    @property
    def full(self) -> bool:
        """Whether as many events of the new connection wait as may wait."""
        return len(self.held) >= HELD_MAX

    def from_old(self, event: bytearray) -> list[bytearray]:
        """Takes an event that the old connection brought; gives the events to publish."""
        self.old_brought = True
        if self.rule == "exclusive":
            return [] if self.joined else [event]
        if self.joined:
            return self._first(event)
        return [*self._first(event), *self._join()]

    def from_new(self, event: bytearray) -> list[bytearray]:
        """Takes an event that the new connection brought; gives the events to publish."""
        if self.joined:
            return [event] if self.rule == "exclusive" else self._first(event)
        if self.rule == "exclusive":
            # Ids mean nothing here: a book is taken over where it is whole, a quote is whole by itself.
            self.joined = not self.book or bool(flags_of(event) & Flag.SNAPSHOT)
            return [event] if self.joined else []
        self.held.append(event)
        return self._join()

    def end(self) -> list[bytearray]:
        """Takes notice that only one connection is left; gives the events that waited, to be published."""
        held, self.held, self.joined = self.held, [], True
        return [event for one in held for event in self._first(one)]

    def after_end(self, event: bytearray) -> tuple[bool, list[bytearray]]:
        """Takes an event of the only connection left; gives whether the next one needs no filter, and the events to publish."""
        flags, last_id = _read_flags_and_last_id(event)
        if self.rule == "exclusive" or self.last is None or flags & Flag.RESET:
            return True, [event]
        if last_id in self.published:
            return False, []
        self.strays += 1
        return last_id > self.last or self.strays > STRAYS, [event]

    def _first(self, event: bytearray) -> list[bytearray]:
        flags, last_id = _read_flags_and_last_id(event)
        if flags & Flag.RESET:
            self.published.clear()
        elif last_id in self.published:
            return []
        if len(self.published) >= PUBLISHED_MAX:
            self.published.clear()
        self.published.add(last_id)
        self.last = last_id if self.last is None else max(self.last, last_id)
        return [event]

    def _join(self) -> list[bytearray]:
        if self.last is None or not self.held:
            return []
        first_id, last_id = ids_of(self.held[0])
        if (last_id if self.rule == "rising" else first_id - 1) > self.last:
            return []
        return self.end()
