"""What processes write, on the standard output of a supervisord in the foreground: for a container's log, or systemd's.

supervisord has one thread, and a pipe that nobody reads is full at some time. So nothing is written that would wait: such lines
are left out, and counted in the next one. All of them are in run/logs.
"""

import os
import select
from collections import defaultdict

LINE_BYTES_MAX = 1 << 16  # a longer one is passed on in parts
WRITE_BYTES = select.PIPE_BUF  # a pipe that poll(2) calls writable takes so much at once (pipe(7))


class ForegroundLines:
    """Writes whole lines to the descriptor `fd`; never waits for whoever reads there."""

    def __init__(self, fd: int):
        self.fd = fd
        self.left_out = 0  # lines since the last that was written
        self._begun: defaultdict[str, bytes] = defaultdict(bytes)  # process → the line that it has not ended yet

    def take(self, name: str, data: bytes | str) -> None:
        """Takes what a process has written, a part of a line too, and writes the lines that are whole."""
        lines = (self._begun[name] + (data.encode() if isinstance(data, str) else data)).split(b"\n")
        self._begun[name] = lines.pop() if len(lines[-1]) < LINE_BYTES_MAX else b""
        for line in lines:
            self._write_line(line + b"\n")

    def _write_line(self, line: bytes) -> None:
        if self.left_out:
            said = f"supervisord: {self.left_out} lines were left out here, for nobody read them; run/logs has them\n"
            if not self._write(said.encode()):
                self.left_out += 1
                return
            self.left_out = 0
        if not self._write(line):
            self.left_out += 1

    def _write(self, data: bytes) -> bool:
        """Whether all of it was taken at once."""
        try:
            while data:
                if not select.select([], [self.fd], [], 0)[1]:
                    return False
                data = data[os.write(self.fd, data[:WRITE_BYTES]) :]
        except OSError:  # the reader is gone
            return False
        return True
