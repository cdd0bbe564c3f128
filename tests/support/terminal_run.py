"""A command on a terminal of its own (a pty), as a person has it: what it draws, and keys that it is given."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path


class TerminalRun:
    """`PROGRAM WORDS` in the folder `root` on a terminal of `columns` × `rows`. `shown`: all bytes that it has written."""

    def __init__(self, root: Path, *words: str, columns: int = 80, rows: int = 24, **environment: str):
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        kept = {key: value for key, value in os.environ.items() if key not in ("TICKMESH_ROOT", "NO_COLOR", "COLORTERM")}
        program = [str(root / ".venv/bin" / words[0]), *words[1:]]
        self.process = subprocess.Popen(
            program, cwd=root, stdin=theirs, stdout=theirs, stderr=theirs, env=kept | environment, start_new_session=True
        )
        self._theirs = theirs
        self.shown = b""

    def read_until(self, what: bytes, seconds: float = 60.0) -> None:
        """Reads until it has written these bytes."""
        deadline = time.monotonic() + seconds
        while what not in self.shown:
            assert time.monotonic() < deadline, f"{what!r} was not drawn: {self.shown[-2000:]!r}"
            self._read(0.2)

    def press(self, keys: bytes) -> None:
        """Gives it keys."""
        os.write(self._fd, keys)

    def end(self, seconds: float = 30.0) -> int:
        """Waits until it has ended; gives its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it has not ended: {self.shown[-2000:]!r}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def modes(self) -> list:
        """The terminal's modes now."""
        return termios.tcgetattr(self._theirs)

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._fd], [], [], wait_s)[0]:
            return False
        with contextlib.suppress(OSError):
            self.shown += os.read(self._fd, 1 << 16)
        return True

    def close(self) -> None:
        """Ends it if it still runs, and closes the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)
        os.close(self._theirs)
