"""One stream while its line's connection is replaced: two connections bring it, each event is said once, in order of its ids.

The old connection speaks until the new one is known to overlap with it: an id of the new one follows on, or is among,
those that were said. From then on each brings all of the stream, and whichever is first is said; either may break
and nothing is lost. An event is left out only if its id was said meanwhile, never because a higher one was: an absurd id
must not silence what follows it.

What waits before that waits for `feed.overlap_s` at most (docs/decisions/waiting.md).
"""

from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.wire import flags_of, ids_of

HELD_MAX = 20_000  # events of a new connection that wait for the old one; beyond it the new one takes over
SAID_MAX = 200_000  # ids remembered; beyond it they are forgotten, and what is said twice the sequencer knows as a duplicate
STRAYS = 64  # events of the only connection that were not said before: it needs this filter no more
_read_flags_and_last_id = header_reader("flags", "last_id")


class Overlap:
    """`rule`: contiguous, rising or exclusive (bus/id_rules.py). `at_once`: the old connection brings nothing of it.

    `joined`: what the new connection brings is said. `last`: the highest id said meanwhile; `since`: that before it began,
    None where nothing was. `heard`: the old connection has brought something meanwhile.
    """

    __slots__ = ("rule", "book", "joined", "last", "said", "strays", "held", "heard")

    def __init__(self, rule: str, kind: int, at_once: bool = False, since: int | None = None):
        self.rule = rule
        self.book = kind == Kind.depth
        self.joined = at_once
        self.last = since
        self.said: set[int] = set() if since is None else {since}
        self.strays = 0
        self.heard = False
        self.held: list[bytearray] = []

    @property
    def mute(self) -> bool:
        """The old connection brings something of it, and the new one does not."""
        return self.heard and not self.joined and not self.held

    @property
    def full(self) -> bool:
        return len(self.held) >= HELD_MAX

    def old(self, event: bytearray) -> list[bytearray]:
        """What to say because the old connection brought this."""
        self.heard = True
        if self.rule == "exclusive":
            return [] if self.joined else [event]
        if self.joined:
            return self._first(event)
        return [*self._first(event), *self._join()]

    def new(self, event: bytearray) -> list[bytearray]:
        """What to say because the new connection brought this."""
        if self.joined:
            return [event] if self.rule == "exclusive" else self._first(event)
        if self.rule == "exclusive":
            # Ids mean nothing here: a book is taken over where it is whole, a quote is whole by itself.
            self.joined = not self.book or bool(flags_of(event) & Flag.SNAPSHOT)
            return [event] if self.joined else []
        self.held.append(event)
        return self._join()

    def end(self) -> list[bytearray]:
        """Only one connection is left; what waited is said."""
        held, self.held, self.joined = self.held, [], True
        return [event for one in held for event in self._first(one)]

    def alone(self, event: bytearray) -> tuple[bool, list[bytearray]]:
        """After the end: whether what comes next needs this filter no more, and what to say."""
        flags, last_id = _read_flags_and_last_id(event)
        if self.rule == "exclusive" or self.last is None or flags & Flag.RESET:
            return True, [event]
        if last_id in self.said:
            return False, []
        self.strays += 1
        return last_id > self.last or self.strays > STRAYS, [event]

    def _first(self, event: bytearray) -> list[bytearray]:
        flags, last_id = _read_flags_and_last_id(event)
        if flags & Flag.RESET:
            self.said.clear()
        elif last_id in self.said:
            return []
        if len(self.said) >= SAID_MAX:
            self.said.clear()
        self.said.add(last_id)
        self.last = last_id if self.last is None else max(self.last, last_id)
        return [event]

    def _join(self) -> list[bytearray]:
        if self.last is None or not self.held:
            return []
        first_id, last_id = ids_of(self.held[0])
        if (last_id if self.rule == "rising" else first_id - 1) > self.last:
            return []
        return self.end()
