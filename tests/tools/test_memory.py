"""What `mesh status` says of a process's memory, on real processes, and where the kernel shows no shares."""

import os
import subprocess
import sys

from tickmesh.tools.memory import memory_of

SHARED = 64 << 20
# Writes a block and forks: the child only waits, so that all of the block is shared.
FORKS = f"""
import os, sys
block = bytearray({SHARED})
block[::4096] = b"x" * len(block[::4096])
pid = os.fork()
if pid:
    print(pid, flush=True)
sys.stdin.read()
"""


def test_pages_of_two_count_once_in_the_sum():
    with subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        pids = process.pid, int(process.stdout.readline())
        shares = [memory_of(pid) for pid in pids]
        process.stdin.close()
    assert [share.measure for share in shares] == ["pss", "pss"]
    assert all(SHARED / 2 < share.bytes < SHARED for share in shares)
    assert SHARED < sum(share.bytes for share in shares) < 1.5 * SHARED


def test_without_shares_it_is_what_is_resident(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/status").write_text("Name:\tpython\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n")
    assert memory_of(7, tmp_path) == (2048 * 1024, "rss")
    (tmp_path / "7/smaps_rollup").write_text("00400000-7ffe [rollup]\nRss:  2048 kB\nPss:  1024 kB\nPss_Dirty: 8 kB\n")
    assert memory_of(7, tmp_path) == (1024 * 1024, "pss")


def test_of_a_process_that_is_gone_nothing_is_said():
    pid = os.spawnv(os.P_NOWAIT, "/bin/true", ["true"])
    os.waitpid(pid, 0)
    assert memory_of(pid) is None
