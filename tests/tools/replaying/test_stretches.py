"""What a node published live is cut where its code or parameters changed, and each piece is set beside its own replay."""

import numpy as np
import pytest

from tests.support.stored import Market
from tickmesh.bus.schema import SIGNAL, Kind
from tickmesh.bus.wire import Event, decode, encode
from tickmesh.tools.replaying.recording import EventsInMemory, rows_before, running_s, seq_at
from tickmesh.tools.replaying.steps import Published
from tickmesh.tools.replaying.stretches import LiveOutput, ReplayedPart, compare_stretch

SUBJECT = "binance.BTCUSDT"
NOW, THEN = {"code": "c", "parameters": {"n": 2.0}}, {"code": "c", "parameters": {"n": 1.0}}


def run(identity: dict, **begun: int) -> Event:
    return decode(encode(Kind.run, "model-m", {"node": "model-m", "pid": 7, **identity, **begun}))


def said(cause_seq: int, k: int = 0, recv_ns: int = 1, value: int = 1) -> Event:
    record = bytes([value]) + bytes(SIGNAL.itemsize - 1)
    return decode(encode(Kind.signal, SUBJECT, record, k=k, cause_seq=cause_seq, recv_ns=recv_ns))


def replayed(*causes: int) -> list[Published]:
    return [Published(cause, 0, "model-m", Kind.signal, SUBJECT, bytes(said(cause).body)) for cause in causes]


def taken(*events: Event, part: ReplayedPart = ReplayedPart()) -> LiveOutput:  # noqa: B008 - it has no state
    live = LiveOutput(NOW, part)
    for event in events:
        live.take(event)
    live.finish()
    return live


def causes(live: LiveOutput) -> list[list[int]]:
    return [[one.cause_seq for one in stretch.published] for stretch in live.stretches]


def test_a_restart_with_the_same_code_and_parameters_is_no_cut():
    live = taken(run(NOW), said(3), run(NOW), said(5))
    assert causes(live) == [[3, 5]] and live.is_present(live.stretches[0])


def test_other_parameters_begin_a_stretch_where_they_publish():
    live = taken(run(THEN), said(3), said(5), run(NOW, publishes_after=8), said(9))
    assert causes(live) == [[3, 5], [9]] and [live.is_present(one) for one in live.stretches] == [False, True]
    old, new = live.stretches
    assert old.last == (5, 0) and new.after[0] == 8
    between = compare_stretch(old, replayed(3, 5, 7, 9), new)
    assert (between.equal, between.unpublished, between.unpublished_from) == (2, 1, 7), "7 nobody has said, 9 is the next one's"
    later = compare_stretch(new, replayed(3, 5, 7, 9, 11), None)
    assert (later.live, later.equal, later.unpublished, later.unpublished_from) == (1, 1, 1, 11) and later.is_equal


def test_what_a_process_catches_up_with_is_of_the_run_that_follows():
    """It is published before the run event, and has no time at which its cause was received."""
    live = taken(run(THEN), said(3), said(4, recv_ns=0), said(5, recv_ns=0), run(NOW), said(6))
    assert causes(live) == [[3], [4, 5, 6]] and live.stretches[1].after == (3, 0)
    assert causes(taken(run(NOW), said(3), said(4, recv_ns=0))) == [[3, 4]], "without a run event it is of the present one"


def test_the_same_parameters_after_a_pause_are_a_stretch_of_their_own():
    """What it would have said meanwhile is counted, not missed."""
    live = taken(run(NOW, publishes_after=0), said(3), run(NOW, publishes_after=8), said(9))
    assert causes(live) == [[3], [9]]
    first = compare_stretch(live.stretches[0], replayed(3, 6, 9), live.stretches[1])
    assert first.is_equal and (first.unpublished, first.unpublished_from) == (1, 6)


@pytest.mark.parametrize(
    ("events", "difference", "equal"),
    [
        ((said(3), said(5, value=2), said(7)), (5, 0), 2),
        ((said(3), said(7)), (5, 0), 2),
        ((said(3), said(4), said(5), said(7)), (4, 0), 3),
        ((said(3), said(5, k=1), said(7)), (5, 0), 2),
    ],
)
def test_the_first_difference_is_the_lowest_place(events, difference, equal):
    live = taken(run(NOW), *events)
    found = compare_stretch(live.stretches[0], replayed(3, 5, 7), None)
    assert not found.is_equal and found.equal == equal and found.difference.key == difference


def test_what_is_published_twice_is_counted():
    found = compare_stretch(taken(run(NOW), said(3), said(3)).stretches[0], replayed(3), None)
    assert not found.is_equal and (found.twice, found.difference) == (1, None)


def test_of_a_part_only_its_causes_count():
    live = taken(run(NOW), said(3), said(5), said(7), part=ReplayedPart(4, 6))
    assert causes(live) == [[5]] and live.last == (7, 0)
    found = compare_stretch(live.stretches[0], replayed(5), None)
    assert found.is_equal and (found.live, found.unpublished) == (1, 0)


def test_places_in_a_recording_are_found_by_time_and_backwards():
    market = Market()
    events = [decode(raw) for raw in (market.trade(subject=SUBJECT if n % 3 else "binance.ETHUSDT") for n in range(100))]
    recording = EventsInMemory(events)
    assert [seq_at(recording, events[n].seq_ns) for n in (0, 1, 57, 99)] == [0, 1, 57, 99]
    assert seq_at(recording, events[40].seq_ns + 1) == 41 and seq_at(recording, events[-1].seq_ns + 1) == 100
    wanted = [event.seq for event in events if event.subject == SUBJECT and event.seq < 60][-8:]
    for wide in (1, 5, 4096):
        assert [one.seq for one in rows_before(recording, 60, SUBJECT, {Kind.trade}, 8, wide)] == wanted
    assert [one.seq for one in rows_before(recording, 4, SUBJECT, {Kind.trade}, 8)] == [2, 3]
    assert not rows_before(recording, 60, SUBJECT, {Kind.quote}, 8)


def test_a_time_in_which_the_mesh_was_down_is_not_counted():
    market, second = Market(), 1_000_000_000
    steps = [second // 10, second // 10, 8 * 3600 * second, second // 2]
    recording = EventsInMemory([decode(market.event(Kind.signal, SUBJECT, np.zeros(1, SIGNAL), step_ns=ns)) for ns in steps])
    assert running_s(recording, 1, 4) == pytest.approx(0.1 + 1.0 + 0.5) and running_s(recording, 3, 4) == pytest.approx(0.5)
