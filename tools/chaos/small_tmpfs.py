"""The small tmpfs that a sweep's outboxes are in, and its filling: in a mount namespace of its own where there may be one.

Elsewhere it is a folder in RAM, and a file beside the outboxes fills the mesh's budget of it (log.outbox_ram_bytes).
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

SIZE_BYTES = 8 << 20
BUDGET_BYTES = SIZE_BYTES // 2
BLOCK = bytes(1 << 12)
LOOK_S = 0.02
APART = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = f'mount -t tmpfs -o size={SIZE_BYTES} tmpfs "$0" && echo mounted && exec cat'


class SmallTmpfs:
    """Made with the sweep's mesh. `prefix`: what a command begins with that is to see it; `environment`: what it is told."""

    def __init__(self, folder: Path):
        self.prefix: list[str] = []
        self._own: Path | None = None  # to be removed in the end
        self._ballast: list[Path] = []
        self._enough = threading.Event()
        self._filler: threading.Thread | None = None
        folder = folder.resolve()
        place = folder / "tmpfs"
        place.mkdir(parents=True)
        self._holder = self._hold(place)
        if self._holder is not None:
            pid = str(self._holder.pid)
            self.prefix = ["nsenter", "--target", pid, "--user", "--preserve-credentials", "--mount", f"--wd={folder}", "--"]
            self._seen = Path(f"/proc/{pid}/root{place}")
        else:
            ram = "/dev/shm" if os.path.isdir("/dev/shm") else None
            place = self._seen = self._own = Path(tempfile.mkdtemp(prefix="tickmesh-chaos-", dir=ram))
        self.environment = {"TICKMESH_TMPFS": str(place)}

    def _hold(self, place: Path) -> subprocess.Popen[bytes] | None:
        """A process that keeps the namespace with the tmpfs; None where it may not be made."""
        with contextlib.suppress(OSError):
            holder = subprocess.Popen(
                [*APART, "sh", "-c", MOUNT, str(place)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            assert holder.stdout is not None
            if holder.stdout.readline().strip() == b"mounted":
                return holder
            holder.wait()
        return None

    @property
    def is_real(self) -> bool:
        """Whether it is a tmpfs that really takes nothing when it is full."""
        return self._holder is not None

    def fill(self) -> None:
        """Takes all room that is left, and from now on all that becomes free."""
        if self._filler is not None:
            return
        if self.is_real:
            self._ballast = [self._seen / "ballast"]
            self._enough.clear()
            self._filler = threading.Thread(target=self._fill, args=self._ballast, daemon=True)
            self._filler.start()
        else:
            self._ballast = [outboxes / "ballast" for outboxes in self._seen.iterdir()]
            for file in self._ballast:
                file.write_bytes(bytes(BUDGET_BYTES))

    def _fill(self, ballast: Path) -> None:
        with open(ballast, "ab", buffering=0) as file:
            while not self._enough.wait(LOOK_S):
                with contextlib.suppress(OSError):
                    while not self._enough.is_set():
                        file.write(BLOCK)

    def empty(self) -> None:
        """Gives the room back."""
        if self._filler is not None:
            self._enough.set()
            self._filler.join()
            self._filler = None
        for file in self._ballast:
            file.unlink(missing_ok=True)
        self._ballast = []

    def close(self) -> None:
        """Ends the namespace's keeper, or removes the folder; the mesh has ended before."""
        self.empty()
        if self._holder is not None:
            self._holder.communicate()  # its end of input is its end
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
