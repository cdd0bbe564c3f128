"""A file that can be imported, as its first look says: which format, of which instruments, from when to when. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median_low
from typing import NamedTuple, Protocol

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.parsing.rising import RisingIds
from tickmesh.tools.importing.rows import DAY_NS, RAW_SHOWN, READ_ERRORS, FileSpan, OddRow, Said
from tickmesh.tools.importing.text_files import Progress, Surveyed, TextLine
from tickmesh.tools.terminal import Failure

NOT_ENDED = "the file ends in the middle of this line; get it again, or end the line where it is whole"


class Named(NamedTuple):
    """What the person says of files that do not say it themselves; "" where nothing is said."""

    format: str = ""
    venue: str = ""
    symbols: tuple[str, ...] = ()

    def symbol(self, path: Path) -> str:
        """The one symbol. Raises Failure where none is said, or several are."""
        if len(self.symbols) != 1:
            raise Failure(f"{path} does not say of which instrument it is: give it with --symbol, as the venue spells it")
        return self.symbols[0]


class SourceFile(NamedTuple):
    """A file to import. `subjects`, `kinds`: what it speaks of; `lacks`: what its format cannot say, in words."""

    path: Path
    format: str
    subjects: tuple[str, ...]
    kinds: tuple[Kind, ...]
    sha256: str
    size: int
    window: FileSpan
    lacks: tuple[str, ...] = ()


class Known(NamedTuple):
    """What a reader is given: the instruments by subject, and the counters of ids that the file does not have."""

    instruments: Mapping[str, Instrument]
    ids: Callable[[Kind, str], RisingIds]


class TextFormat(Protocol):
    """A format of rows of text, as a module: one for each publisher."""

    @property
    def NAMES(self) -> tuple[str, ...]:
        """The names of its formats, as --format takes them."""

    def claims(self, path: Path, seen: Surveyed, named: Named) -> SourceFile | None:
        """The file as a source, or None where it is of another format. Raises Failure for one that cannot be imported."""

    def read(self, source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
        """The file's rows in its order. Raises Failure where it is damaged."""


def window_of(path: Path, seen: Surveyed, moment: Callable[[bytes], int]) -> FileSpan:
    """From when to when a file is, by the lines of its two ends that can be read; absurd times among them count for nothing.

    Raises Failure where no line can be read.
    """
    begins, ends = (_moments(lines, moment) for lines in (seen.head, seen.tail))
    if not begins or not ends:
        why = _why(seen.head[1] if len(seen.head) > 1 else seen.head[0], moment)
        raise Failure(f"{path}: none of its first and last rows can be read ({why}); nothing was imported")
    first, last = median_low(begins), median_low(ends)
    near = [at for at in begins + ends if min(first, last) - DAY_NS <= at <= max(first, last) + DAY_NS]
    return FileSpan(min(near), max(near))


def _moments(lines: Iterable[bytes], moment: Callable[[bytes], int]) -> list[int]:
    found = []
    for line in lines:
        try:
            found.append(moment(line))
        except READ_ERRORS:
            continue
    return [at for at in found if at > 0]


def _why(line: bytes, moment: Callable[[bytes], int]) -> str:
    try:
        return f"a time of {moment(line)} ns"
    except READ_ERRORS as error:
        return f"{line[:80].decode('utf-8', 'replace')!r}: {error}"


def odd(line: int, error: Exception | str, raw: bytes) -> OddRow:
    """A row that cannot be read."""
    return OddRow(line, str(error) or type(error).__name__, raw[:RAW_SHOWN])


def each_row(lines: Iterable[TextLine], header: bytes, read: Callable[[bytes], Said]) -> Iterator[Said]:
    """Reads each line by itself; one that cannot be read costs no other. `header`: what line 1 begins with, if it is one."""
    for line in lines:
        if line.number == 1 and line.text.startswith(header):
            continue
        if not line.ended:
            yield odd(line.number, NOT_ENDED, line.text)
            continue
        try:
            said = read(line.text)
        except READ_ERRORS as error:
            yield odd(line.number, error, line.text)
            continue
        yield said
