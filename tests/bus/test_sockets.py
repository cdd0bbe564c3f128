"""Append, then ring: rings are lost, repeated and late; nothing of that is seen behind the files."""

import select
import time

import numpy as np
import pytest
import zmq

from tickmesh.bus import intake as intake_module
from tickmesh.bus.config import load
from tickmesh.bus.intake import Cursor, Intake
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import CLOCK, QUOTE, SCHEMA_VERSION, SIGNAL, Kind
from tickmesh.bus.sockets import PRODUCER_RING, OutboxFull, Places, Producer, Publisher, Subscriber
from tickmesh.bus.topics import Lane
from tickmesh.bus.wire import encode, stamp_sequenced


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path)


def make_config(tmp_path, **log):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "mesh.toml").write_text("")
    return load(tmp_path, {"log": {"segment_bytes": 1 << 16, "outbox_segment_bytes": 1 << 16, **log}})


def quote(update_id=1):
    return encode(Kind.quote, "binance.BTCUSDT", np.zeros(1, QUOTE), last_id=update_id)


def signal(cause=1):
    return encode(Kind.signal, "binance.BTCUSDT", np.zeros(1, SIGNAL), cause_seq=cause)


def until(condition, what, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (got := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.002)
    return got


class Mute:
    """Stands in for a producer's socket whose peer is gone: what is sent into it is lost, as with a killed process."""

    def send(self, *_args):
        pass

    def close(self):
        pass


def take(intake, count, sweep=False):
    taken = []
    until(lambda: taken.extend(intake.receive() + (intake.sweep(0) if sweep else [])) or len(taken) >= count, f"{len(taken)}")
    return taken


class TestIntake:
    def test_takes_each_number_once_and_in_order(self, config):
        intake = Intake(config, {})
        one, two = Producer(config, "feed-1"), Producer(config, "feed-2")
        for i in range(50):
            one.publish([quote(i), quote(i)])
            two.publish([quote(i)])
        taken = take(intake, 150)
        assert [t.number for t in taken if t.producer == "feed-1"] == list(range(1, 101))
        assert [t.number for t in taken if t.producer == "feed-2"] == list(range(1, 51))
        assert intake.catch_ups == 0

    def test_reads_the_outbox_when_rings_were_lost(self, config):
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        producer.publish([quote(1)])
        take(intake, 1)
        push, producer._push = producer._push, Mute()
        for i in range(2, 30):
            producer.publish([quote(i)])
        producer._push = push
        producer.publish([quote(30)])
        assert [t.number for t in take(intake, 29)] == list(range(2, 31))
        assert intake.catch_ups == 1 and intake.caught_up == 29

    def test_without_catch_up_that_is_lost(self, tmp_path):
        config = make_config(tmp_path, outbox_read=False)
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        producer.publish([quote(1)])
        take(intake, 1)
        push, producer._push = producer._push, Mute()
        producer.publish([quote(2)])
        producer._push = push
        producer.publish([quote(3)])
        assert [t.number for t in take(intake, 1)] == [3]

    def test_sweep_finds_the_last_event_of_a_dead_producer(self, config):
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        producer._push.close()
        producer._push = Mute()
        producer.publish([quote(1), quote(2)])
        assert intake.receive() == []
        assert [t.number for t in intake.sweep(0)] == [1, 2]
        assert intake.sweep(0) == []

    def test_a_long_outbox_is_taken_in_parts(self, config, monkeypatch):
        """After a long outage: so many bytes a turn, each number once and in order, also while rings come in between."""
        monkeypatch.setattr(intake_module, "READ_BYTES", 20_000)
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        push, producer._push = producer._push, Mute()
        for i in range(1, 1001):
            producer.publish([quote(i)])
        parts = [intake.sweep(0)]
        assert intake.behind
        producer._push = push
        while intake.behind:
            if producer.number < 1100:
                producer.publish([quote(producer.number + 1)])
            parts.append(intake.receive())
        assert max(sum(len(t.event) for t in part) for part in parts) < 30_000
        assert len(parts) > 10 and intake.sweep(0) == []
        taken = [t.number for part in parts for t in part]
        until(lambda: taken.extend(t.number for t in intake.receive()) or len(taken) >= producer.number, "rings")
        assert taken == list(range(1, producer.number + 1))
        assert intake.catch_ups == 1

    def test_who_stops_at_the_bound_may_have_more_and_who_finds_nothing_is_signalled(self, config):
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        for i in range(4):
            producer.publish([quote(i)])
        taken = []
        until(lambda: taken.extend(intake.receive(3)) or len(taken) >= 3, "three rings")
        intake.receive(0)
        assert intake.may_have_more, "it has not looked"
        until(lambda: taken.extend(intake.receive()) or len(taken) == 4, "the fourth ring")
        assert not intake.may_have_more
        producer.publish([quote(5)])
        until(lambda: select.select([intake.fd], [], [], 0)[0], "the signal of one that came after nothing was found")
        assert [one.number for one in intake.receive(1)] == [5] and intake.may_have_more

    def test_a_ring_that_comes_again_is_not_taken_again(self, config):
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        sent = []
        push = producer._push

        class Twice(Mute):
            def send(self, data, flags):
                sent.append(data)
                push.send(data, flags)
                push.send(sent[0], flags)  # an old one again

        producer._push = Twice()
        for i in range(5):
            producer.publish([quote(i)])
        taken = take(intake, 5)
        until(lambda: taken.extend(intake.receive()) or intake.repeated == 5, "repeats")
        assert [t.number for t in taken] == [1, 2, 3, 4, 5]

    def test_without_the_number_check_it_would_be_taken_again(self, tmp_path):
        config = make_config(tmp_path, check_numbers=False)
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        producer.publish([quote(1)])
        push = zmq.Context.instance().socket(zmq.PUSH)
        push.connect(Places(config).intake)
        taken = take(intake, 1)
        push.send(PRODUCER_RING.pack(SCHEMA_VERSION, b"feed-1", producer.epoch, 1, 1, 0) + bytes(taken[0].event))
        assert [t.number for t in take(intake, 1)] == [1]

    def test_a_restarted_producer_goes_on_counting(self, config):
        intake = Intake(config, {})
        producer = Producer(config, "feed-1")
        producer.publish([quote(1), quote(2)])
        producer.close()
        producer = Producer(config, "feed-1")
        assert producer.number == 2
        producer.publish([quote(3)])
        assert [t.number for t in take(intake, 3, sweep=True)] == [1, 2, 3]

    def test_a_recovered_sequencer_takes_only_what_is_not_in_the_log(self, config):
        producer = Producer(config, "feed-1")
        for i in range(1, 9):
            producer.publish([quote(i)])
        cursor = Cursor(producer.epoch, 3)
        cursor.skip = {5, 6}
        intake = Intake(config, {"feed-1": cursor})
        assert [t.number for t in take(intake, 3, sweep=True)] == [4, 7, 8]

    def test_an_outbox_of_an_earlier_clock_is_taken_and_an_old_ring_is_not(self, config):
        intake = Intake(config, {"feed-1": Cursor(1 << 62, 5)})  # the clock was far ahead before
        producer = Producer(config, "feed-1")
        producer.publish([quote(1)])
        assert [t.number for t in take(intake, 1)] == [1]
        old_ring = bytes(quote(7))
        intake._take("feed-1", 17, 1, 1, memoryview(old_ring), late := [])
        assert late == [] and intake.repeated == 1

    def test_what_was_released_without_being_taken_is_counted(self, config):
        producer = Producer(config, "feed-1")
        for i in range(1000):
            producer.publish([quote(i)])
        Intake(config, {}).release({"feed-1": 900})
        intake = Intake(config, {})
        taken = intake.sweep(0)
        assert intake.unreadable == 1 and taken[-1].number == 1000 and taken[0].number > 1

    def test_an_outbox_is_bounded_and_released(self, tmp_path):
        config = make_config(tmp_path, outbox_bytes_max=4 << 16)
        producer = Producer(config, "feed-1")
        with pytest.raises(OutboxFull, match="Is the sequencer running"):
            for i in range(2000):
                producer.publish([quote(i)])
        intake = Intake(config, {})
        intake.release({"feed-1": producer.number})
        producer.publish([quote(0)])


class Mesh:
    """A log, its publisher and an event numbering, without a sequencer."""

    def __init__(self, config):
        self.log = LogWriter(config.log_dir, segment_bytes=config.log.segment_bytes)
        self.publisher = Publisher(config, self.log, [0, 0, 0])

    def log_events(self, *batch):
        first = self.log.last + 1
        for i, event in enumerate(batch):
            stamp_sequenced(event, first + i, 0, 0)
        self.publisher.publish(first, batch)


class TestSubscriber:
    def test_who_stops_at_the_bound_may_have_more_and_who_finds_nothing_is_signalled(self, config):
        mesh = Mesh(config)
        subscriber = Subscriber(config, frozenset(Lane))
        until(lambda: mesh.publisher.ring_silent(0) or subscriber.drain() or subscriber.log_id > 0, "the first ring")
        for i in range(4):
            mesh.log_events(quote(i))
        heard = []
        until(lambda: heard.extend(subscriber.drain(1)) or len(heard) == 3, "three rings")
        assert subscriber.may_have_more, "it has not looked"
        until(lambda: heard.extend(subscriber.drain()) or len(heard) == 4, "the fourth ring")
        assert not subscriber.may_have_more
        mesh.log_events(quote(5))
        until(lambda: select.select([subscriber.fd], [], [], 0)[0], "the signal of one that came after nothing was found")
        assert [one.seq for one in subscriber.drain(1)] == [5] and subscriber.may_have_more

    def test_a_late_one_gets_everything(self, config):
        mesh = Mesh(config)
        for i in range(500):
            mesh.log_events(quote(i), quote(i))
        subscriber = Subscriber(config, frozenset(Lane), 10)
        mesh.publisher.ring_silent(0)
        heard = []

        def more():
            mesh.publisher.ring_silent(0)  # as the sequencer does every 100 ms
            heard.extend(e.seq for e in subscriber.drain())
            return len(heard) >= 990

        until(more, "the backlog")
        assert heard == list(range(11, 1001))

    def test_a_slow_one_misses_rings_and_no_event(self, tmp_path):
        config = make_config(tmp_path, ring_messages=5)
        mesh = Mesh(config)
        subscriber = Subscriber(config, frozenset(Lane), 0)
        mesh.log_events(quote())
        until(lambda: mesh.publisher.ring_silent(0) or subscriber.drain(), "the first")
        for i in range(3000):
            mesh.log_events(quote(i))
        heard = []

        def more():
            mesh.publisher.ring_silent(0)
            heard.extend(e.seq for e in subscriber.drain())
            return subscriber.seq >= 3001

        until(more, "the end")
        assert heard == list(range(2, 3002))
        assert subscriber.catch_ups > 0 and subscriber.caught_up > 0

    def test_without_catch_up_that_is_lost(self, tmp_path):
        config = make_config(tmp_path, ring_messages=5, log_read=False)
        mesh = Mesh(config)
        subscriber = Subscriber(config, frozenset(Lane), 0)
        for i in range(3000):
            mesh.log_events(quote(i))
        time.sleep(0.1)
        heard = [e.seq for _ in range(200) for e in subscriber.drain()]
        assert len(heard) < 3000

    def test_the_last_event_before_a_silence_is_read_from_the_log(self, config):
        mesh = Mesh(config)
        subscriber = Subscriber(config, frozenset({Lane.order, Lane.system}), 0)
        mesh.log_events(encode(Kind.clock, "sequencer", np.zeros(1, CLOCK)))
        heard = []
        until(lambda: mesh.publisher.ring_silent(0) or heard.extend(subscriber.drain()) or heard, "the clock")
        pub, mesh.publisher._pub = mesh.publisher._pub, Mute()
        mesh.log_events(signal(1))
        mesh.publisher._pub = pub
        mesh.log_events(quote())  # another lane's event tells it nothing
        mesh.publisher.ring_silent(0)
        until(lambda: heard.extend(subscriber.drain()) or len(heard) == 2, "the signal")
        assert [e.kind for e in heard] == [Kind.clock, Kind.signal]
        assert subscriber.caught_up == 1

    def test_lanes_come_in_one_order(self, config):
        mesh = Mesh(config)
        subscriber = Subscriber(config, frozenset({Lane.market, Lane.order}), 0)
        expected = []
        for i in range(300):
            batch = [quote(i), signal(i), quote(i), encode(Kind.clock, "sequencer", np.zeros(1, CLOCK))][: 1 + i % 4]
            expected += [mesh.log.last + 1 + n for n, e in enumerate(batch) if e[8] != Kind.clock]
            mesh.log_events(*batch)
        heard = []

        def more():
            mesh.publisher.ring_silent(0)
            heard.extend(e.seq for e in subscriber.drain())
            return len(heard) >= len(expected)

        until(more, "all")
        assert heard == expected

    def test_backlog_then_live(self, config):
        mesh = Mesh(config)
        for i in range(20):
            mesh.log_events(quote(i))
        subscriber = Subscriber(config, frozenset(Lane), 0)
        assert [e.seq for events in subscriber.backlog() for e in events] == list(range(1, 21))
        mesh.log_events(quote())
        heard = []
        until(lambda: mesh.publisher.ring_silent(0) or heard.extend(subscriber.drain()) or heard, "the live one")
        assert [e.seq for e in heard] == [21]

    @pytest.mark.parametrize("first_ring", ["event", "silence"])
    def test_from_now_on_without_a_look_at_the_log(self, config, first_ring, monkeypatch):
        mesh = Mesh(config)
        mesh.log_events(*(quote(i) for i in range(1, 200)))
        subscriber = Subscriber(config, frozenset({Lane.market}), None)
        assert subscriber.seq == -1 and subscriber.drain() == []
        read, reads = Subscriber._read, []
        monkeypatch.setattr(Subscriber, "_read", lambda *arguments: reads.append(1) or read(*arguments))
        seen, number = [], 200

        def ring():
            nonlocal number
            if first_ring == "silence" and subscriber.seq < 0:
                mesh.publisher.ring_silent(0)
            else:
                mesh.log_events(quote(number))
                number += 1
            seen.extend(subscriber.drain())
            return len(seen) > 3

        until(ring, "events of now")
        seqs = [event.seq for event in seen]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) and seqs[0] >= 200, "without a hole, from some moment on"
        assert not reads
        subscriber.close()
