"""A stored market with holes."""

from tests.support.coverage_scene import Scene
from tests.support.stored import START
from tickmesh.bus.schema import GapState, Kind, Reason

MILLISECOND = 1_000_000


def scene(seq_ns: int = START) -> Scene:
    """Builds trades 1–20 without 8–11, of which 8 and 9 are repaired later; a book that breaks once; a quote."""
    made = Scene(seq_ns=seq_ns).trades(1, 2).book(100).change(101, 105).trades(3, 4, 5, 6, 7).quotes(104)
    made.lost(Kind.trade, 8, 11).trades(*range(12, 16))
    made.lost(Kind.depth, 106, 109, GapState.unrecoverable, Reason.no_history).change(110, 112).book(113).change(114, 120)
    made.trades(8, 9, repaired=True).trades(*range(16, 21)).lost(Kind.trade, 8, 9, GapState.repaired)
    return made.lost(Kind.trade, 10, 11, GapState.unrecoverable, Reason.retention)


def seq_ns(made: Scene, seq: int) -> int:
    """The time of an event of such a scene."""
    return START + seq * MILLISECOND
