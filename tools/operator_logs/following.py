"""Follows the log of one process through its rotation and its restarts: every line once, as soon as it is whole."""

import os
from pathlib import Path
from typing import BinaryIO

from tickmesh.tools.operator_logs.entries import Entry, entries_of
from tickmesh.tools.operator_logs.files import LINE_MAX, WholeLog, opened_chain

READ = 1 << 20  # bytes at once


class FollowedLog:
    """The log of the process `name` at `path`: what comes behind `whole`, or without one all of the file that is written.

    `lost`: how often it was rotated away before it had been read to its end.
    """

    def __init__(self, name: str, path: Path, whole: WholeLog | None = None):
        self.name, self.path = name, path
        self.lost = 0
        self._last: Entry | None = None
        self._file: BinaryIO | None
        self._rest: bytes
        self._file, self._rest = (whole.end() if whole is not None else None) or (None, b"")

    def read(self) -> list[Entry]:
        """Gives the entries that have come since the last call; [] where none has."""
        lines: list[str] = []
        if self._file is None:
            self._file = _newest(opened_chain(self.path))
        if self._file is not None:
            self._read_file(self._file, lines)
            if self._is_rotated(self._file):
                self._go_on(self._file, lines)
        entries = list(entries_of(lines, self.name, self._last))
        if entries:
            self._last = entries[-1]
        return entries

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_file(self, file: BinaryIO, lines: list[str]) -> None:
        if os.fstat(file.fileno()).st_size < file.tell():  # emptied in its place
            file.seek(0)
            self._rest = b""
        while data := file.read(READ):
            *whole, self._rest = (self._rest + data).split(b"\n")
            lines += [line[:LINE_MAX].decode(errors="replace") for line in whole]
            self._rest = self._rest[:LINE_MAX]

    def _is_rotated(self, file: BinaryIO) -> bool:
        """Whether the log is another file now; where there is none just now, a rotation is under way."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(file.fileno()))
        except OSError:
            return False

    def _go_on(self, file: BinaryIO, lines: list[str]) -> None:
        """Reads the rest of what was rotated away and all that came after it: a line may begin in one and end in the next."""
        chain = opened_chain(self.path)
        mine = os.fstat(file.fileno())
        place = next((n for n, one in enumerate(chain) if os.path.samestat(os.fstat(one.fileno()), mine)), -1)
        self._read_file(file, lines)
        if place < 0:
            self._rest = b""
            self.lost += len(chain) > 1
        for one in chain[place + 1 :]:
            self._read_file(one, lines)
        if place + 1 < len(chain):
            file.close()
            self._file = _newest(chain)
        else:  # rotated, and nothing is written yet
            for one in chain:
                one.close()


def _newest(chain: list[BinaryIO]) -> BinaryIO | None:
    for file in chain[:-1]:
        file.close()
    return chain[-1] if chain else None
