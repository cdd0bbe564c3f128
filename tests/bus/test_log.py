"""The log: what was appended is there, whatever was killed, cut, filled or read meanwhile."""

import errno
import os
import random
import signal
import subprocess
import sys
import time

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.log_filling import append_quotes, quote
from tests.support.places import PROJECT
from tickmesh.bus import segments as segments_module
from tickmesh.bus.log import LogReader, Tail
from tickmesh.bus.log_files import reserve
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.segments import LogCorrupt, LogFull, LogLocked, LogNewer, LogReleased, read_preamble, release, segments
from tickmesh.bus.wire import events


def seqs(folder, after=0, until=None):
    return [event.seq for event in LogReader(folder).events(after, until)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 20)), min_size=1, max_size=5),
    st.integers(0, 900), st.integers(0, 900), st.integers(300, 20_000),
)  # fmt: skip
def test_any_range_reads_back(tmp_path_factory, parts, after, until, segment_bytes):
    folder = tmp_path_factory.mktemp("log")
    total = 0
    for count, per_batch in parts:  # each part by a fresh writer: reopening goes on
        writer = LogWriter(folder, segment_bytes=segment_bytes, sync_ms=0)
        assert writer.last == total
        append_quotes(writer, count, per_batch)
        total += count
        writer.close()
    assert seqs(folder, after, until) == list(range(after + 1, min(until, total) + 1))
    assert LogReader(folder).last == total
    at = LogReader(folder).seq_at(500_000)
    assert at == min(total, 499)


def test_a_synced_segment_has_its_room_on_the_disk_before_it_is_written_and_is_no_longer_for_that(tmp_path):
    """An append then waits for no allocation; outboxes, in RAM, take what they fill."""
    with open(tmp_path / "probe", "wb") as probe:
        reserve(probe.fileno(), 1 << 20)
        if not os.fstat(probe.fileno()).st_blocks:
            pytest.skip("this file system keeps no room")
    room = {}
    for sync_ms in (1000, 0):
        writer = LogWriter(tmp_path / str(sync_ms), segment_bytes=1 << 20, sync_ms=sync_ms)
        append_quotes(writer, 10)
        files = [path.stat() for _, path in segments(writer.folder)]
        writer.close()
        assert len(files) == 1 and files[0].st_size < 100_000
        room[sync_ms] = files[0].st_blocks * 512
    assert room[1000] >= 1 << 20 > room[0]


def test_a_second_writer_is_refused(tmp_path):
    writer = LogWriter(tmp_path)
    with pytest.raises(LogLocked, match="another process"):
        LogWriter(tmp_path)
    writer.close()
    LogWriter(tmp_path).close()


@pytest.mark.parametrize("cut", [1, 7, 30, 100, 200])
def test_a_torn_tail_is_cut_and_the_rest_stays(tmp_path, cut):
    writer = LogWriter(tmp_path, sync_ms=0)
    append_quotes(writer, 50)
    writer.close()
    path = segments(tmp_path)[-1][1]
    whole = path.stat().st_size
    batch = segments_module.BATCH_HEAD + len(quote(1))
    os.truncate(path, whole - cut)
    writer = LogWriter(tmp_path)
    assert writer.last == 49
    assert writer.cut_bytes == batch - cut
    append_quotes(writer, 5)
    writer.close()
    assert seqs(tmp_path) == list(range(1, 55))


def test_damage_in_the_middle_is_told(tmp_path):
    writer = LogWriter(tmp_path)
    append_quotes(writer, 50)
    writer.close()
    path = segments(tmp_path)[0][1]
    with open(path, "r+b") as file:
        file.seek(-5000, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(LogCorrupt, match="does not match its CRC"):
        list(LogReader(tmp_path).events())
    assert LogReader(tmp_path).durable == 50
    with pytest.raises(LogCorrupt, match="everything up to 50 was synced"):
        LogWriter(tmp_path)
    assert segments(tmp_path)[0][1].stat().st_size > 5000, "a damaged log is left as it is"


def test_power_cut_gives_a_new_identity_and_keeps_what_was_durable(tmp_path):
    rng = random.Random(1)
    for trial in range(20):
        folder = tmp_path / str(trial)
        writer = LogWriter(folder, boot="a", segment_bytes=8_000, sync_ms=10_000)  # this test syncs, and nobody beside it
        append_quotes(writer, 60, 3)
        writer._sync_now()
        durable = writer.durable
        identity = writer.log_id
        writer._closing.set()
        writer._thread.join()
        append_quotes(writer, 60, 3)
        os.close(writer._fd)
        writer._locks[0].close()
        # The unsynced tail: some 512-byte blocks never reached the disk.
        synced = {first: 0 for first, _ in segments(folder)}
        for first, path in segments(folder):
            data = bytearray(path.read_bytes())
            at = read_preamble(path).size
            for stop, batch in segments_module.scan(bytes(data), at):
                if batch.last <= durable:
                    synced[first] = stop
            if first > durable:
                synced[first] = 0
            for block in range(synced[first], len(data), 512):
                if rng.random() < 0.3:
                    data[block : block + 512] = bytes(len(data[block : block + 512]))
            path.write_bytes(data)
        writer = LogWriter(folder, boot="b")
        assert writer.last >= durable
        assert writer.log_id != identity
        append_quotes(writer, 4)
        writer.close()
        assert seqs(folder) == list(range(1, writer.last + 1))


def test_a_start_after_a_power_cut_that_was_interrupted_leaves_the_old_owner(tmp_path, monkeypatch):
    """Else the next start would take the old identity for its own, and give numbers out twice under it."""
    writer = LogWriter(tmp_path, boot="a", sync_ms=1)
    append_quotes(writer, 10)
    identity = writer.log_id
    writer._closing.set()
    writer._thread.join()
    os.close(writer._fd)
    writer._locks[0].close()

    def interrupted(self, state):
        raise LogFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(LogWriter, "_roll", interrupted)
        with pytest.raises(LogFull):
            LogWriter(tmp_path, boot="b")
    writer = LogWriter(tmp_path, boot="b")
    assert writer.log_id != identity and writer.last == 10
    append_quotes(writer, 3)
    writer.close()
    assert seqs(tmp_path) == list(range(1, 14))


def test_a_kill_keeps_the_identity_and_everything_appended(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from tickmesh.bus.log_writer import LogWriter; from tests.support.log_filling import *\n"
        "w = LogWriter(sys.argv[1], segment_bytes=30000)\n"
        "while True:\n"
        "    append_quotes(w, 7, 7); print(w.last, flush=True)\n"
    )
    identities = set()
    said = 0
    rng = random.Random(2)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(PROJECT)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(rng.randrange(20, 60)):
            said = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                said = int(line)
        process.wait()
        identities.add(LogReader(tmp_path).log_id)
        got = seqs(tmp_path)
        assert got == list(range(1, len(got) + 1))
        assert len(got) >= said
    assert len(identities) == 1


def test_readers_follow_while_a_writer_rolls_and_releases(tmp_path):
    writer = LogWriter(tmp_path, segment_bytes=2_000, sync_ms=5)
    tail = Tail(tmp_path)
    got = []
    for step in range(200):
        append_quotes(writer, 1 + step % 3)
        while batches := tail.read():  # one read may end where a segment does
            got += [event.seq for batch in batches for event in events(batch.body)]
    assert got == list(range(1, writer.last + 1))
    assert release(tmp_path, 100, keep=2) > 0
    assert LogReader(tmp_path).first <= 101
    assert seqs(tmp_path, 100) == list(range(101, writer.last + 1))
    release(tmp_path, writer.last, keep=2)
    assert len(segments(tmp_path)) == 2
    with pytest.raises(LogReleased, match="the archive has it"):
        seqs(tmp_path)
    tail.seek(writer.last - 1)  # forward over segments that are gone
    assert [event.seq for batch in tail.read() for event in events(batch.body)][-1] == writer.last
    deadline = time.monotonic() + 5
    while writer.durable < writer.last:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    writer.close()


def test_a_full_disk_loses_nothing_and_goes_on(tmp_path, monkeypatch):
    writer = LogWriter(tmp_path)
    append_quotes(writer, 10)
    real = os.write

    def short(fd, data):
        if len(data) > 100:
            real(fd, data[:50])
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(LogFull, match="No space left"):
        append_quotes(writer, 1)
    monkeypatch.undo()
    assert writer.last == 10
    append_quotes(writer, 3)
    writer.close()
    assert seqs(tmp_path) == list(range(1, 14))


def test_numbers_must_follow(tmp_path):
    writer = LogWriter(tmp_path)
    with pytest.raises(ValueError, match="not the next one"):
        writer.append(2, [quote(2)])
    writer.close()


def test_appending_nothing_hides_nothing(tmp_path):
    writer = LogWriter(tmp_path)
    writer.append(1, [])
    append_quotes(writer, 3)
    writer.append(4, [])
    append_quotes(writer, 2)
    writer.close()
    assert seqs(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_half_a_batch_that_cannot_be_cut_is_cut_before_the_next(tmp_path, monkeypatch, error):
    """The disk refuses both the write and the truncation: nothing may be written behind the half that is there."""
    writer = LogWriter(tmp_path, sync_ms=0)
    append_quotes(writer, 5)
    real = os.write

    def half(fd, data):
        real(fd, data[: len(data) // 2])
        raise OSError(error, os.strerror(error))

    def refuse(*_args):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as m:
        m.setattr(os, "write", half)
        m.setattr(os, "ftruncate", refuse)
        with pytest.raises(LogFull):
            append_quotes(writer, 1)
        m.undo()
        m.setattr(os, "ftruncate", refuse)
        with pytest.raises(LogFull):
            append_quotes(writer, 1)
        with pytest.raises(LogFull):
            writer._roll()
    append_quotes(writer, 5)
    assert seqs(tmp_path) == list(range(1, 11))
    writer.close()


def test_a_folder_entry_of_a_new_log_is_synced(tmp_path, monkeypatch):
    """Else a power cut may take the whole folder, with everything that was synced in it."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    LogWriter(tmp_path / "data" / "source" / "log").close()
    assert {str(tmp_path), str(tmp_path / "data"), str(tmp_path / "data/source")} <= set(synced)


def test_a_newer_schema_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(segments_module, "SCHEMA_VERSION", 99)
        writer = LogWriter(tmp_path / "new")
        writer.close()
    with pytest.raises(LogNewer, match="schema version 99"):
        LogWriter(tmp_path / "new")
    with pytest.raises(LogNewer):
        LogReader(tmp_path / "new").last  # noqa: B018


def test_the_state_at_a_segments_head(tmp_path):
    writer = LogWriter(tmp_path, segment_bytes=500, state=lambda: msgpack.packb({"n": 1}))
    append_quotes(writer, 20)
    assert len(segments(tmp_path)) == 1  # a writer with a state rolls when it says so
    writer.roll_if_full()
    append_quotes(writer, 1)
    writer.close()
    assert msgpack.unpackb(read_preamble(segments(tmp_path)[1][1]).state) == {"n": 1}


@pytest.mark.parametrize(("sync_ms", "left"), [(3_600_000, 2), (0, 1)])
def test_what_is_released_leaves_a_segment_whose_head_is_known_to_be_on_disk(tmp_path, sync_ms, left):
    """The log is archived up to a segment's end: the next one's head may still be nowhere but in the page cache."""
    writer = LogWriter(tmp_path, segment_bytes=2_000, sync_ms=sync_ms)
    append_quotes(writer, 100)
    first = segments(tmp_path)[-1][0]
    release(tmp_path, first - 1)
    assert len(segments(tmp_path)) == left
    release(tmp_path, first)
    assert [number for number, _ in segments(tmp_path)] == [first]
    writer.close()


def test_a_log_that_is_never_synced_keeps_no_released_segment_open(tmp_path):
    """An outbox is in RAM: an open descriptor of a removed segment would keep its memory."""
    before = len(os.listdir("/proc/self/fd"))
    writer = LogWriter(tmp_path, segment_bytes=2_000, sync_ms=0)
    append_quotes(writer, 100)
    release(tmp_path, 100)
    assert len(os.listdir("/proc/self/fd")) - before <= 3
    writer.close()
