"""What the nodes published live, cut where a node began to run other code or parameters, beside what a replay gives."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.runner.step import K_MAX
from tickmesh.research.identities import Identity, same
from tickmesh.tools.replaying.steps import DERIVED, Key, Published

BEFORE_ALL: Key = (0, -1)


class ReplayedPart(NamedTuple):
    """The events whose consequences are compared: `first` ≤ cause_seq ≤ `last`, the latter None for all there are."""

    first: int = 1
    last: int | None = None

    def has(self, cause_seq: int) -> bool:
        """Whether an event is in it."""
        return cause_seq >= self.first and (self.last is None or cause_seq <= self.last)


WHOLE = ReplayedPart()


@dataclass
class Stretch:
    """What a node published with one identity (None: no `run` event named one), between its `run` events.

    It answers for what comes after `after`, up to `last`, the place of the last event that it published. `published`: those
    whose cause is in the part that is compared.
    """

    run_seq: int
    identity: Identity | None
    after: Key = BEFORE_ALL
    last: Key = BEFORE_ALL
    published: list[Published] = field(default_factory=list)


class LiveOutput:
    """Collects from the log what one node published live, stretch by stretch.

    A process that starts publishes first what it finds unsaid, without a time of receipt, and then its `run` event: so such
    events belong to the run that follows.
    """

    def __init__(self, present: Identity, part: ReplayedPart):
        self.present, self.part = present, part
        self.stretches = [Stretch(0, None)]
        self._waiting: list[Event] = []

    @property
    def last(self) -> Key:
        """The place of the newest event that the node has published."""
        return max(one.last for one in self.stretches)

    def take(self, event: Event) -> None:
        """Adds one event of the node; they come in order."""
        if event.kind == Kind.run:
            self._begin(event)
        elif event.kind not in DERIVED:
            return
        elif event.recv_ns:
            self.finish()
            self._add(event)
        else:
            self._waiting.append(event)

    def finish(self) -> None:
        """What waits for a `run` event is of the present stretch."""
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._add(event)

    def _begin(self, event: Event) -> None:
        content = event.map()
        identity = {name: content.get(name) for name in self.present}
        after = (content["publishes_after"], K_MAX) if "publishes_after" in content else BEFORE_ALL
        current = self.stretches[-1]
        if current.identity is None and current.last == BEFORE_ALL:
            self.stretches[-1] = Stretch(event.seq, identity, after)  # nothing came before
        elif current.identity != identity or after > max(current.after, current.last):
            self.stretches.append(Stretch(event.seq, identity, max(after, self.last)))
        self.finish()

    def _add(self, event: Event) -> None:
        stretch = self.stretches[-1]
        payload = bytes(event.body)
        one = Published(event.cause_seq, event.k, event.producer, Kind(event.kind), event.subject, payload)
        stretch.last = max(stretch.last, one.key)
        if self.part.has(one.cause_seq):
            stretch.published.append(one)

    def is_present(self, stretch: Stretch) -> bool:
        """Whether a stretch is of the code and parameters that there are now."""
        return stretch.identity is None or same(stretch.identity, self.present)


class Difference(NamedTuple):
    """The first place where the two sides are not the same; None: that side has nothing there."""

    key: Key
    live: Published | None
    replayed: Published | None


class StretchComparison(NamedTuple):
    """One stretch against one replay. Counts are of events whose cause is in the part.

    `equal`: the same in cause_seq, k, kind, subject and every byte; `twice`: published more than once; `unpublished`: replayed
    ones after the last live one, before the next stretch begins to answer; `unpublished_from`: the cause of their first, or 0.
    """

    live: int
    replayed: int
    equal: int
    twice: int
    unpublished: int
    unpublished_from: int
    difference: Difference | None

    @property
    def is_equal(self) -> bool:
        """Whether the two sides are one."""
        return self.difference is None and not self.twice


def compare_stretch(stretch: Stretch, replayed: list[Published], following: Stretch | None) -> StretchComparison:
    """Sets a stretch beside what its step gave: all of the part, in order of (cause_seq, k). `following`: the next stretch."""
    keys = [one.key for one in replayed]
    begin, middle = bisect_right(keys, stretch.after), bisect_right(keys, max(stretch.last, stretch.after))
    end = bisect_right(keys, following.after) if following is not None else len(keys)
    mine = {one.key: one for one in replayed[begin:middle]}
    theirs = {one.key: one for one in stretch.published}
    different = first_difference(mine, theirs)
    unsaid = max(end - middle, 0)
    return StretchComparison(
        live=len(stretch.published),
        replayed=len(mine) + unsaid,
        equal=sum(key in mine and mine[key].content == one.content for key, one in theirs.items()),
        twice=len(stretch.published) - len(theirs),
        unpublished=unsaid,
        unpublished_from=replayed[middle].cause_seq if unsaid else 0,
        difference=different,
    )


def first_difference(mine: dict[Key, Published], theirs: dict[Key, Published]) -> Difference | None:
    """The lowest place at which the two are not the same."""
    wrong = [key for key in mine.keys() | theirs.keys() if not _equal(mine.get(key), theirs.get(key))]
    return Difference(min(wrong), theirs.get(min(wrong)), mine.get(min(wrong))) if wrong else None


def _equal(one: Published | None, other: Published | None) -> bool:
    return one is not None and other is not None and one.content == other.content


def earliest(found: Iterable[tuple[str, Difference]]) -> tuple[str, Difference] | None:
    """The node whose difference is the first in the log."""
    return min(found, key=lambda one: (one[1].key, one[0]), default=None)
