"""A stream of arbitration as the head of a log segment has it."""

from typing import NotRequired, TypedDict

from tickmesh.nodes.gaps.gaps import PackedGap, Run
from tickmesh.nodes.sequencer.unsynced import PackedChanges

FirstPackedStream = tuple[int | None, int, bool, list[str], list[Run]]  # last, venue_ns, synced, joined, missing


_Numbered = TypedDict("_Numbered", {"told_number": NotRequired[int]})  # noqa: UP013  the key on disk


class PackedStream(_Numbered):
    """A stream's state in the head of a log segment. Keys that an older version did not write are not required."""

    last: int | None
    venue_ns: int
    synced: bool
    gaps: list[PackedGap]
    joined: list[str]
    marks: dict[str, list[int]]
    crossed: dict[str, int] | None
    owner: str
    away: bool
    sure: NotRequired[int | None]
    teller: NotRequired[str]
    connections: NotRequired[dict[str, list[int]]]
    leap: NotRequired[dict[str, int]]
    leapt: NotRequired[list[int]]
    jumped: NotRequired[bool]
    widest: NotRequired[int]
    usual: NotRequired[int]
    base: NotRequired[int | None]
    unsynced: NotRequired[PackedChanges]
    before: NotRequired[int]
    anew: NotRequired[bool]
