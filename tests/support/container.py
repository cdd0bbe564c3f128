"""A mesh as a container runs it, without a container's program: namespaces of its own, 64 MiB of /dev/shm, a read-only root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.mesh_run import until

CANNOT = 77
INTO = """
mount -t tmpfs -o size=64m tmpfs /dev/shm && mount -t proc proc /proc || exit 77
for one in "$0" "$NUMBA_CACHE_DIR"; do mount --bind "$one" "$one" || exit 77; done
mount -o remount,bind,ro / || exit 77
cd "$0" && exec "$@"
"""
SPACES = ("--user", "--map-root-user", "--mount", "--pid")


class Container:
    """`mesh run` as PID 1 of a PID namespace; the mesh's folder is the only place that it can write, beside /dev/shm."""

    def __init__(self, root: Path):
        """Skips the test where namespaces are not allowed."""
        if not shutil.which("unshare") or not shutil.which("nsenter"):
            pytest.skip("namespaces need unshare and nsenter (util-linux)")
        self.root = root
        self.written = root / "stdout"
        environment = {name: value for name, value in os.environ.items() if name != "TICKMESH_TMPFS"}
        words = ["unshare", *SPACES, "--fork", "--kill-child", "sh", "-c", INTO, root, sys.executable, "-c", MESH, "run"]
        with open(self.written, "ab") as out:
            self._outside = subprocess.Popen(words, stdout=out, stderr=out, env=environment)
        until(lambda: self._ended() or "supervisord started with pid 1" in self.text(), self.text)
        if self._outside.poll() == CANNOT or "unshare failed" in self.text():
            pytest.skip(f"namespaces are not allowed here: {self.text()}")
        assert not self._ended(), self.text()

    def _ended(self) -> bool:
        return self._outside.poll() is not None

    def text(self) -> str:
        """What it has written to its standard output."""
        return self.written.read_text()

    @property
    def first(self) -> psutil.Process:
        """Its PID 1, as it is called outside."""
        return psutil.Process(self._outside.pid).children()[0]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in there, as `docker exec` does."""
        enter = ["nsenter", "--target", str(self.first.pid), "--user", "--preserve-credentials", "--mount", "--pid"]
        shell = 'cd "$0" && exec "$@"'
        environment = {name: value for name, value in os.environ.items() if name != "TICKMESH_TMPFS"}
        return subprocess.run(
            [*enter, "sh", "-c", shell, self.root, *words], capture_output=True, text=True, timeout=120, env=environment
        )

    def mesh(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs `mesh WORDS` in there."""
        return self.run(sys.executable, "-c", MESH, *words)

    def signal(self, number: int) -> int:
        """Sends its PID 1 a signal, waits for its end; gives the exit code as a container's program would."""
        living = [self.first, *self.first.children(recursive=True)]
        self.first.send_signal(number)
        code = self._outside.wait(120)
        left = [one for one in living if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert not left, left
        return code

    def close(self) -> None:
        """Kills what is left of it."""
        if not self._ended():
            self._outside.kill()
            self._outside.wait()


MESH = "from tickmesh.tools.cli import main; main()"
