"""A line in the sequencer's process beside one that has its own: a real log, a real outbox and its socket, one process."""

import asyncio
import shutil
import time

import pytest

from tests.support.arbitration import event
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogFull
from tickmesh.bus.sockets import OutboxFull, Producer, Subscriber
from tickmesh.bus.topics import Lane
from tickmesh.bus.wire import decode
from tickmesh.nodes.runner.hosting import Guest, Host, HostedContext, HostedProducer
from tickmesh.nodes.sequencer.node import Sequencer
from tickmesh.nodes.sequencer.open_log import SequencerLog


class Mesh:
    """A sequencer that hosts line 1, and line 2 with an outbox of its own."""

    def __init__(self, root):
        self.config = load(root)
        self.two = Producer(self.config, "feed-binance-2")
        self.start()

    def start(self):
        self.sequencer = Sequencer(self.config)
        self.log = SequencerLog(self.sequencer)
        self.host = Host(self.log)
        self.one = HostedProducer(self.log, "feed-binance-1", arbitrated=True)

    def begin_again(self):
        """As after SIGKILL: what is in the log and in outboxes is all that is left."""
        self.sequencer.log._let_go()
        self.sequencer.intake.close()
        self.sequencer.publisher.close()
        self.start()
        self.sequencer.take_outboxes()

    def say_on_two(self, *events):
        """Publishes events of line 2, and has the sequencer take them."""
        self.two.publish(list(events))
        self.sequencer.take_outboxes()

    def close(self):
        self.two.close()
        if not self.sequencer.closed:
            self.sequencer.close()

    @property
    def logged(self):
        """(kind's name, first id, producer) of every market event and gap in the log."""
        kinds = (Kind.trade, Kind.quote, Kind.depth, Kind.gap)
        events = LogReader(self.config.log_dir).events()
        return [(Kind(e.kind).name, e.first_id, e.producer) for e in events if e.kind in kinds]


@pytest.fixture
def mesh(tmp_path):
    (tmp_path / "mesh.toml").write_text('host = ["feed-1"]\n[log]\nhold_ms = 60000\n')
    mesh = Mesh(tmp_path)
    yield mesh
    mesh.close()


def trade(ident):
    return event(Kind.trade, ident, ident)


def test_it_races_with_the_other_line_and_each_id_is_logged_once(mesh):
    mesh.one.publish([trade(1), trade(2)])
    mesh.say_on_two(trade(1), trade(2), trade(3))
    mesh.one.publish([trade(3), trade(4)])
    assert mesh.logged == [
        ("trade", 1, "feed-binance-1"), ("trade", 2, "feed-binance-1"), ("trade", 3, "feed-binance-2"),
        ("trade", 4, "feed-binance-1"),
    ]  # fmt: skip
    assert mesh.sequencer.arbiter.copies.duplicates == {"feed-binance-1": 1, "feed-binance-2": 2}
    rows = {row["producer"].decode(): row for row in mesh.sequencer.position.records()}
    assert rows["feed-binance-1"]["number"] == 4, "the cursor of a line without an outbox moves with what it says"


def test_what_it_brings_behind_a_hole_waits_for_the_other_line(mesh):
    mesh.one.publish([trade(1), trade(3)])
    assert [ident for _, ident, _ in mesh.logged] == [1]
    assert mesh.sequencer.is_held({"feed-binance-1"}) and not mesh.sequencer.is_held({"feed-binance-2"})
    mesh.say_on_two(trade(2))
    assert mesh.logged[1:] == [("trade", 2, "feed-binance-2"), ("trade", 3, "feed-binance-1")]
    assert not mesh.sequencer.is_held({"feed-binance-1"})


def test_killed_with_its_host_it_takes_only_what_the_other_line_has_as_well(mesh):
    mesh.one.publish([trade(1), trade(3)])  # 3 waits for 2, in this process alone
    mesh.two.publish([trade(1), trade(2), trade(3)])
    mesh.begin_again()
    assert mesh.logged == [
        ("trade", 1, "feed-binance-1"), ("trade", 2, "feed-binance-2"), ("trade", 3, "feed-binance-2"),
    ]  # fmt: skip
    mesh.one.publish([trade(2), trade(3), trade(4)])  # numbered from 1 again
    assert mesh.logged[3:] == [("trade", 4, "feed-binance-1")]


def test_a_line_that_numbers_anew_after_the_venue_s_ids_began_anew_is_heard(mesh):
    """What was remembered of it by number, from where on it is in the new era, is of the time before its new numbers."""
    mesh.one.publish([trade(1000 + i) for i in range(9)])
    mesh.one.publish([event(Kind.trade, 5, 5, reset=True)])
    mesh.begin_again()
    mesh.one.publish([trade(6)])
    assert mesh.logged[-1] == ("trade", 6, "feed-binance-1")
    mesh.begin_again()
    mesh.one.publish([event(Kind.trade, 1, 1, reset=True), trade(2)])  # and once more
    assert mesh.logged[-2:] == [("trade", 1, "feed-binance-1"), ("trade", 2, "feed-binance-1")]


def test_so_is_one_that_has_lost_its_outbox_and_after_a_crash_of_the_sequencer_too(mesh):
    mesh.say_on_two(*(trade(1000 + i) for i in range(9)), event(Kind.trade, 5, 5, reset=True))
    mesh.two.close()
    for folder in mesh.two.folders:
        shutil.rmtree(folder, ignore_errors=True)
    mesh.two = Producer(mesh.config, "feed-binance-2")
    mesh.say_on_two(trade(6))
    mesh.begin_again()
    mesh.say_on_two(trade(7))
    assert mesh.logged[-2:] == [("trade", 6, "feed-binance-2"), ("trade", 7, "feed-binance-2")]


def test_a_full_disk_stops_it_and_nothing_is_lost_or_said_twice(mesh, monkeypatch):
    mesh.one.publish([trade(1)])

    def full(first, blobs):
        raise LogFull("the disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(mesh.sequencer.log, "append", full)
        mesh.one.publish([trade(2)])  # arbitrated: it waits for room
        number = mesh.one.number
        with pytest.raises(OutboxFull, match="feed-binance-1 publishes it again when there is room"):
            mesh.one.publish([trade(3)])
        assert mesh.one.number == number, "nothing of it was taken"
    assert [ident for _, ident, _ in mesh.logged] == [1]
    mesh.sequencer.tick()
    mesh.one.publish([trade(3)])
    assert [ident for _, ident, _ in mesh.logged] == [1, 2, 3]


def test_others_are_rung_after_what_follows_in_this_process(mesh):
    """An order does not wait for readers in other processes; they get everything, in one ring where it is of one lane."""
    later = []
    mesh.sequencer.ring_later = later.append
    reader = Subscriber(mesh.config, frozenset({Lane.market}), 0)
    list(reader.backlog())
    answered = []

    def answer(events):
        if events[0].last_id == 1:
            mesh.one.publish([trade(2)])
            answered.append(later[:])

    mesh.host.handlers.append(answer)
    deadline = time.monotonic() + 10
    mesh.one.publish([trade(1)])
    assert len(answered[0]) == len(later) == 1, "one ring for all, and not yet"
    assert [e.last_id for e in LogReader(mesh.config.log_dir).events()] == [1, 2], "though it is logged"
    later.pop()()
    heard = []
    while len(heard) < 2:
        heard += [e.last_id for e in reader.drain()]
        mesh.sequencer.publisher.ring_silent(0)
        assert time.monotonic() < deadline
    assert heard == [1, 2]
    reader.close()


def test_who_acts_outside_is_given_a_batch_before_the_steps_and_what_it_says_waits_for_the_loop(mesh, monkeypatch):
    """Its order leaves the socket when the loop has its turn: until then nothing else is worked out."""
    turns, given = [], []
    monkeypatch.setattr(
        "tickmesh.nodes.runner.hosting.asyncio.get_running_loop",
        lambda: type("Loop", (), {"call_soon": lambda _, call: turns.append(call)})(),
    )

    def act(events):
        given.append(("acts", events[0].last_id))
        if events[0].last_id == 1:
            mesh.one.publish([trade(2)])
            mesh.host.rest()

    mesh.host.handlers.append(lambda events: given.append(("step", events[0].last_id)))
    mesh.host.first.append(act)
    mesh.one.publish([trade(1)])
    assert given == [("acts", 1)]
    turns.pop()()
    assert given == [("acts", 1), ("acts", 2), ("step", 1), ("step", 2)] and not turns
    assert [decode(e.raw).last_id for e in LogReader(mesh.config.log_dir).events()] == [1, 2]


def test_what_a_step_says_is_acted_on_before_other_steps_have_seen_what_it_answers(mesh):
    """An order does not wait for a model that has no part in it; every step is given all, in order, and none once put out."""
    given = []

    def answer(events):
        given.append(("first step", events[0].last_id))
        if events[0].last_id == 1:
            mesh.one.publish([trade(2)])
            mesh.host.handlers.remove(ended)

    def fail(events):
        given.append(("second step", events[0].last_id))
        mesh.host.handlers.remove(fail)

    def ended(events):
        raise AssertionError("it was put out before its turn")

    mesh.host.handlers += [answer, fail, ended]
    mesh.host.first.append(lambda events: given.append(("acts", events[0].last_id)))
    mesh.one.publish([trade(1)])
    first = [("acts", 1), ("first step", 1), ("acts", 2), ("second step", 1)]
    assert given == [*first, ("first step", 2)]
    mesh.one.publish([trade(3)])
    assert given[5:] == [("acts", 3), ("first step", 3)]


def test_a_guest_that_follows_the_log_is_called_by_who_logs_but_never_in_the_midst_of_its_own_publishing(mesh):
    """Else an intent to cancel could be acted on before the session has noted the order that it has just published."""

    async def scene():
        stop = asyncio.Event()
        ctx = HostedContext(mesh.config, Guest("session", "", None, ("session",)), mesh.host, stop, None)
        subscription = ctx.subscribe((Kind.trade, Kind.update), 0)
        heard = []
        following = asyncio.create_task(subscription.follow(lambda events: heard.extend(e.last_id for e in events)))
        try:
            await asyncio.sleep(0)
            mesh.one.publish([trade(1)])
            while heard != [1]:
                await asyncio.sleep(0)  # as backlog, or live
            await asyncio.sleep(0.01)
            mesh.one.publish([trade(2)])
            assert heard == [1, 2], "in the call that logged it"
            ctx.publish([event(Kind.quote, 33, 33)])
            assert heard == [1, 2], "not in a call of its own"
            mesh.one.publish([trade(3)])
            assert heard == [1, 2], "nor before what waits"
            deadline = time.monotonic() + 10
            while heard != [1, 2, 33, 3]:
                assert time.monotonic() < deadline, heard
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            mesh.one.publish([trade(4)])
            assert heard[-1] == 4 and subscription.seq == mesh.log.last
        finally:
            stop.set()
            await following

    asyncio.run(scene())
