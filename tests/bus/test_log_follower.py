"""The log's file followed at its own pace: every event of the kinds once, whatever the log does meanwhile; no socket."""

import asyncio
import os

import numpy as np
import pytest

from tests.support.log_filling import append_quotes, quote
from tickmesh.bus.config import load
from tickmesh.bus.log import Tail
from tickmesh.bus.log_follower import LogFollower, UnhurriedSubscription
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import CLOCK, Kind
from tickmesh.bus.segments import LogReleased, read_durable, release, segments
from tickmesh.bus.wire import encode, stamp_sequenced

HOUR_S = 3600.0


@pytest.fixture
def config(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    return load(tmp_path)


@pytest.fixture
def writer(config):
    writer = LogWriter(config.log_dir, segment_bytes=5000, sync_ms=1)
    yield writer
    writer.close()


def append_clock(writer):
    event = encode(Kind.clock, "sequencer", np.zeros(1, CLOCK))
    stamp_sequenced(event, writer.last + 1, 0, (writer.last + 1) * 1000)
    writer.append(writer.last + 1, [event])


def seqs(lists):
    return [event.seq for events in lists for event in events]


def test_every_event_of_its_kinds_comes_once_while_the_log_grows_and_rolls(config, writer):
    follower = LogFollower(config, (Kind.quote,), 5)
    seen, clocks = [], []
    for round_ in range(60):
        append_quotes(writer, round_ % 7, 1 + round_ % 3)
        append_clock(writer)
        clocks.append(writer.last)
        seen += seqs(follower.backlog())
        assert follower.seq == max(writer.last, 5), "also over what is of another kind"
    assert seen == [seq for seq in range(6, writer.last + 1) if seq not in clocks]
    assert len(segments(config.log_dir)) > 5
    assert follower.read() == []


def test_one_read_finds_its_kind_behind_segments_without_any(config, writer):
    append_quotes(writer, 200)
    append_clock(writer)
    assert len(segments(config.log_dir)) > 5
    assert [event.seq for event in LogFollower(config, (Kind.clock,)).read()] == [201]


def test_a_log_without_a_segment_yet_is_waited_for(config):
    follower = LogFollower(config, (Kind.quote,))
    assert follower.read() == [] and (follower.log_id, follower.durable_seq) == (0, 0)
    writer = LogWriter(config.log_dir)
    append_quotes(writer, 3)
    assert seqs(follower.backlog()) == [1, 2, 3] and follower.log_id == writer.log_id
    writer.close()
    follower.read()
    assert follower.durable_seq == 3


def test_a_new_identity_below_what_was_read_is_seen_with_its_first_event(config):
    first = LogWriter(config.log_dir, sync_ms=10_000, boot="one")
    append_quotes(first, 20)
    follower = LogFollower(config, (Kind.quote,))
    assert seqs(follower.backlog()) == list(range(1, 21)) and follower.log_id == first.log_id
    path = segments(config.log_dir)[-1][1]
    first._let_go()  # the machine dies: nothing is synced any more
    os.truncate(path, path.stat().st_size - 10 * (len(quote(1)) + 24))
    second = LogWriter(config.log_dir, sync_ms=10_000, boot="two")
    assert second.last == 10 and second.log_id != first.log_id
    append_quotes(second, 15)
    assert seqs(follower.backlog()) == list(range(21, 26)), "numbers that it has had are not given again"
    assert follower.log_id == second.log_id, "who must not mix both sees it"
    second.close()


def test_a_segment_that_is_begun_anew_under_its_name_is_read(config, writer):
    append_quotes(writer, 10)
    follower = LogFollower(config, (Kind.quote,))
    assert seqs(follower.backlog()) == list(range(1, 11))
    path = segments(config.log_dir)[-1][1]
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)
    writer._fd = writer._open(path)
    append_quotes(writer, 1)
    assert seqs(follower.backlog()) == [11]


def test_a_place_far_ahead_of_the_open_segment_is_found(config, writer):
    append_quotes(writer, 5)
    tail = Tail(config.log_dir)
    assert tail.read()[-1].last == 5
    append_quotes(writer, 205)
    tail.seek(205)
    numbers = []
    while batches := tail.read():
        numbers += [batch.last for batch in batches]
    assert numbers == list(range(206, 211))


def test_what_has_been_released_is_no_silence(config, writer):
    append_quotes(writer, 300)
    follower = LogFollower(config, (Kind.quote,))
    release(config.log_dir, 300)
    with pytest.raises(LogReleased):
        follower.read()


def subscribed(config, every_s):
    stop = asyncio.Event()
    return UnhurriedSubscription(LogFollower(config, (Kind.quote,)), stop, every_s), stop


async def following(subscription, seen):
    await subscription.follow(lambda events: seen.extend(event.seq for event in events))


async def reached(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def test_it_reads_at_its_pace_when_woken_and_at_once_for_who_asks(config, writer):
    async def scene():
        subscription, stop = subscribed(config, HOUR_S)
        append_quotes(writer, 3)
        seen = []
        task = asyncio.create_task(following(subscription, seen))
        await reached(lambda: seen == [1, 2, 3])
        append_quotes(writer, 2)
        await asyncio.sleep(0.05)
        assert seen == [1, 2, 3], "an hour is not over"
        assert seqs(subscription.backlog()) == [4, 5] and subscription.lag == 0
        append_quotes(writer, 2)
        subscription.every_s = 0.01
        subscription.wake()
        await reached(lambda: seen == [1, 2, 3, 6, 7])
        append_quotes(writer, 1)
        await reached(lambda: seen[-1] == 8)
        subscription.every_s = HOUR_S
        await asyncio.sleep(0.02)
        stop.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(scene())


def test_others_have_their_turn_while_it_is_far_behind(config):
    writer = LogWriter(config.log_dir)
    append_quotes(writer, 30_000, 1000)

    async def scene():
        await reached(lambda: read_durable(config.log_dir) == 30_000)
        subscription, stop = subscribed(config, HOUR_S)
        lists, turns = [], 0
        task = asyncio.create_task(subscription.follow(lists.append))
        while sum(map(len, lists)) < 30_000:
            assert sum(map(len, lists)) == 0 or subscription.lag == 30_000 - sum(map(len, lists)), "as much is due"
            turns += 1
            await asyncio.sleep(0)
        assert len(lists) > 3 and turns >= len(lists)
        stop.set()
        await asyncio.wait_for(task, 10)
        assert subscription.lag == 0 and subscription.deaf_s == 0

    asyncio.run(scene())
    writer.close()
