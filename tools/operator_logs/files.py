"""The files of one process's log as one: what is written now, and what was put aside (`.1` is younger than `.2`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from tickmesh.tools.operator_logs.entries import Entry, entries_of, parse

SUPERVISORD = "supervisord"
BACKUPS_MAX = 100  # of a table that somebody has written; ours keeps three
BLOCK = 1 << 16
LINE_MAX = 1 << 20  # bytes of a line that are shown


def logs_of(run_dir: Path) -> dict[str, Path]:
    """Process → its log, of all that have one; supervisord's own stands beside their folder."""
    found = {path.name.removesuffix(".log"): path for path in sorted((run_dir / "logs").glob("*.log"))}
    if (own := run_dir / "supervisord.log").is_file():
        found[SUPERVISORD] = own
    return found


def opened_chain(path: Path) -> list[BinaryIO]:
    """Opens the log at `path` and what was put aside of it, the oldest first; the caller closes them.

    It may be rotated meanwhile: a file only ever moves to a higher number, and is looked for in this order, so none is missed.
    """
    files: list[BinaryIO] = []
    seen = set()
    for number in range(BACKUPS_MAX + 1):
        try:
            file = open(f"{path}.{number}" if number else path, "rb")  # noqa: SIM115  the caller's
        except OSError:
            if number:
                break
            continue
        stat = os.fstat(file.fileno())
        if (stat.st_dev, stat.st_ino) in seen:
            file.close()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        files.append(file)
    return files[::-1]


class FoundEntry(NamedTuple):
    """An entry, and how many bytes of its process's log stand before it."""

    entry: Entry
    offset: int


class WholeLog:
    """All files of the log of the process `name` as one, as they are now: supervisord cuts lines, too, where a file is full."""

    def __init__(self, name: str, path: Path):
        self.name, self.path = name, path
        self._files = opened_chain(path)
        self._sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        self.size = sum(self._sizes)

    def __enter__(self) -> "WholeLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files:
            file.close()

    def end(self) -> tuple[BinaryIO, bytes] | None:
        """Opens the newest file again, at the place up to which this log reaches; gives also what stands before that of a line
        that has no end yet. None where there is no file."""
        if not self._files:
            return None
        file = open(f"/proc/self/fd/{self._files[-1].fileno()}", "rb")  # noqa: SIM115  the caller's
        file.seek(self._sizes[-1])
        return file, self._bytes(max(self.size - LINE_MAX, 0), self.size).rpartition(b"\n")[2]

    def newest_first(self) -> Iterator[FoundEntry]:
        """Gives its entries, the last first."""
        after: list[str] = []  # lines that go on with the entry that is looked for
        offset = 0
        for offset, line in self._lines_backwards():
            if (entry := parse(line, self.name)) is None:
                after.append(line)
                continue
            entry.message = "\n".join([entry.message, *reversed(after)])
            after = []
            yield FoundEntry(entry, offset)
        if after:
            yield FoundEntry(Entry(0, "info", self.name, self.name, "\n".join(reversed(after))), offset)

    def since(self, since_ns: int) -> Iterator[Entry]:
        """Gives its entries from a time on, the oldest first; only the one that it is at is kept in memory."""
        begin = self.size
        for found in self.newest_first():
            if found.entry.time_ns < since_ns:
                break
            begin = found.offset
        yield from entries_of(self._lines(begin), self.name)

    def _bytes(self, begin: int, end: int) -> bytes:
        parts = []
        for file, size in zip(self._files, self._sizes):
            if begin < size and end > 0:
                file.seek(max(begin, 0))
                parts.append(file.read(min(end, size) - max(begin, 0)))
            begin, end = begin - size, end - size
        return b"".join(parts)

    def _lines_backwards(self) -> Iterator[tuple[int, str]]:
        """(where it begins, the line) of each whole line, the last first; one that is not ended yet is left out."""
        rest, end, ended = b"", self.size, False
        for place in range((self.size - 1) // BLOCK * BLOCK, -1, -BLOCK):
            first, *others = (self._bytes(place, min(place + BLOCK, self.size)) + rest).split(b"\n")
            for line in reversed(others):
                begin = end - len(line)
                if ended:
                    yield begin, line[:LINE_MAX].decode(errors="replace")
                end, ended = begin - 1, True
            rest = first
        if ended:
            yield 0, rest[:LINE_MAX].decode(errors="replace")

    def _lines(self, begin: int) -> Iterator[str]:
        rest = b""
        while begin < self.size:
            data = self._bytes(begin, min(begin + BLOCK, self.size))
            begin += BLOCK
            *whole, rest = (rest + data).split(b"\n")
            yield from (line[:LINE_MAX].decode(errors="replace") for line in whole)
