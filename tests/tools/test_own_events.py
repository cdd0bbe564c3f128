"""Nobody is called up by another's events: `mesh up` counts what its own sequencer logs, published since its own start."""

from tests.support.stored import Market
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import decode, encode, stamp_sent, stamp_sequenced
from tickmesh.tools.own_events import OwnEvents

SECOND = 10**9


def events(*what: tuple) -> list:
    """One event a second: of a `run` (subject, mesh), of a trade (how many seconds before its place it was published,)."""
    out, market = [], Market()
    for seq, one in enumerate(what, 1):
        is_run = isinstance(one[0], str)
        raw = encode(Kind.run, one[0], {"node": one[0], "mesh": one[1]}) if is_run else bytearray(market.trade())
        stamp_sent(raw, b"x".ljust(32, b"\0"), 1, seq, (seq - (0 if is_run else one[0])) * SECOND)
        stamp_sequenced(raw, seq, 0, seq * SECOND)
        out.append(decode(raw))
    return out


def own(mesh: str, begun_s: int, *what: tuple) -> list[int]:
    return [event.seq for event in OwnEvents(mesh, begun_s * SECOND).of(events(*what))]


def test_what_another_mesh_writes_into_the_log_does_not_count():
    log = [(0,), ("sequencer", "theirs"), (0,), ("feed-binance-1", "mine"), (0,), ("sequencer", "mine"), (0,), (0,)]
    assert own("mine", 0, *log) == [6, 7, 8]
    assert own("nobody's", 0, *log) == []


def test_nor_does_what_an_earlier_life_left_in_its_outboxes():
    log = [("sequencer", "mine"), (3,), (0,)]
    assert own("mine", 1, *log) == [1, 3]
    assert own("", 1, *log) == [1, 3], "a table written by hand has no identity: time alone decides"
