"""A file lock is held by one process at a time, until it is closed or its process ends."""

import gc
import os
import subprocess
import sys
import threading

import pytest

from tickmesh.bus.file_lock import FileLock, FileLocked

HOLDER = """
import sys
from pathlib import Path
from tickmesh.bus.file_lock import FileLock
lock = FileLock.acquired(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on tmp_path/lock until it is ended."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_what_another_process_holds_is_refused_until_it_is_killed(tmp_path, holder):
    path = tmp_path / "lock"
    with pytest.raises(FileLocked, match="is locked by another process"):
        FileLock.acquired(path)
    with FileLock(path) as lock:
        assert not lock.try_acquire()
        holder.kill()
        holder.wait()
        assert lock.try_acquire()
    assert path.exists(), "the file stays"


def test_who_waits_has_it_as_soon_as_it_is_free(tmp_path, holder):
    held = threading.Event()

    def wait():
        with FileLock(tmp_path / "lock") as lock:
            lock.acquire()
            held.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not held.wait(0.2)
    holder.stdin.close()
    assert held.wait(20)
    waiting.join()


def test_it_is_held_though_nobody_refers_to_it_and_free_when_closed(tmp_path):
    fd = FileLock.acquired(tmp_path / "lock").fd
    gc.collect()
    with pytest.raises(FileLocked):
        FileLock.acquired(tmp_path / "lock")
    os.close(fd)
    lock = FileLock.acquired(tmp_path / "lock")
    lock.close()
    lock.close()
    FileLock.acquired(tmp_path / "lock").close()


def test_a_child_does_not_inherit_it(tmp_path):
    lock = FileLock.acquired(tmp_path / "lock")
    program = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout.readline() == b"\n", "it runs: until then it is a copy of this process, descriptors and all"
        lock.close()
        FileLock.acquired(tmp_path / "lock").close()
        child.communicate(b"\n")


def test_a_file_is_made_for_its_owner_alone_or_not_at_all(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "lock", create=False)
    FileLock(tmp_path / "lock").close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_refused_lock_leaves_no_descriptor_behind(tmp_path):
    with FileLock.acquired(tmp_path / "lock"):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with pytest.raises(FileLocked):
                FileLock.acquired(tmp_path / "lock")
        assert len(os.listdir("/proc/self/fd")) == before
