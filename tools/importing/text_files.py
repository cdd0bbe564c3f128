"""Text in a plain, gzip or zip file, line by line: read whole once before anything is imported of it, then again."""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from tickmesh.tools.terminal import Failure

Progress = Callable[[int], None]  # so many more bytes of a file are read
LINE_MAX = 16 << 20  # bytes; a venue's largest message is half of it
ENDS_BYTES = 1 << 16  # of the text's beginning and end that are looked at
ENDS_LINES = 200
CHUNK = 1 << 20
STEP_LINES = 4096  # between two words of progress
BOM = b"\xef\xbb\xbf"
BROKEN = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, NotImplementedError)


class Surveyed(NamedTuple):
    """A file that was read to its end: SHA-256 of its bytes, how many they are, the first and last whole lines of its text."""

    sha256: str
    size: int
    head: list[bytes]
    tail: list[bytes]


def sha256_of(path: Path, progress: Progress = lambda more: None) -> str:
    """The SHA-256 of a file's bytes, as hex digits; beside it `NAME.CHECKSUM`, where there is one, has to say the same.

    Raises Failure.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                progress(len(chunk))
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}") from None
    said = path.with_name(f"{path.name}.CHECKSUM")
    if said.is_file():
        words = said.read_text(errors="replace").split()
        if not words or words[0].lower() != digest.hexdigest():
            raise Failure(
                f"{path} has the SHA-256 {digest.hexdigest()}, and {said.name} says {' '.join(words[:1]) or 'nothing'}: "
                "download it again"
            )
    return digest.hexdigest()


def survey(path: Path, progress: Progress = lambda more: None) -> Surveyed:
    """Reads a file to its end. Raises Failure for one that is empty, torn or damaged, or no text; nothing is imported of it."""
    sha256 = sha256_of(path, progress)
    head, tail = b"", b""
    longest = 0  # bytes since the last end of a line
    with opened(path) as (text, _):
        while chunk := text.read(CHUNK):
            if len(head) < ENDS_BYTES:
                head += chunk[: ENDS_BYTES - len(head)]
            tail = (tail + chunk)[-ENDS_BYTES:]
            at = chunk.rfind(b"\n")
            longest = longest + len(chunk) if at < 0 else len(chunk) - at
            if longest > LINE_MAX:
                raise Failure(f"{path} has a line of more than {LINE_MAX} bytes: it is no text of rows")
    if not head:
        raise Failure(f"{path} is empty")
    whole = head.removeprefix(BOM).splitlines()
    last = tail.splitlines()
    if len(head) == ENDS_BYTES:
        whole, last = whole[:-1] or whole, last[1:] or last
    return Surveyed(sha256, path.stat().st_size, whole[:ENDS_LINES], last[-ENDS_LINES:])


def packed(path: Path) -> bool:
    """Whether a file is gzip or zip, by its first bytes: its own checksums show that it is whole."""
    with open(path, "rb") as file:
        return file.read(4)[:2] in (b"\x1f\x8b", b"PK")


@contextmanager
def opened(path: Path) -> Iterator[tuple[io.BufferedIOBase, io.BufferedIOBase]]:
    """Opens (the text of a file, its bytes on disk). Raises Failure."""
    try:
        with open(path, "rb") as raw:
            start = raw.read(4)
            raw.seek(0)
            if start[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as text:
                    yield cast(io.BufferedIOBase, text), raw
            elif start[:2] == b"PK":
                with zipfile.ZipFile(raw) as archive:
                    names = [one for one in archive.namelist() if not one.endswith("/")]
                    if len(names) != 1:
                        raise Failure(f"{path} holds {len(names)} files; one is allowed: unpack it, and import what is in it")
                    with archive.open(names[0]) as member:
                        yield cast(io.BufferedIOBase, member), raw
            else:
                yield raw, raw
    except BROKEN as error:
        raise Failure(f"{path} is torn or damaged: {error or 'it ends too early'}; nothing was imported of it") from None
    except RuntimeError as error:  # zipfile, of an encrypted member
        raise Failure(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}") from None


class TextLine(NamedTuple):
    """A line of a text without its end, its number from 1, and whether it had an end: only the last one of a file may not."""

    number: int
    text: bytes
    ended: bool


def lines(path: Path, progress: Progress = lambda more: None) -> Iterator[TextLine]:
    """Every line that is not empty; a byte order mark is left out. Raises Failure."""
    with opened(path) as (text, raw):
        told = 0
        number = 0
        while line := text.readline(LINE_MAX):
            number += 1
            if number == 1:
                line = line.removeprefix(BOM)
            if number % STEP_LINES == 0:
                progress(raw.tell() - told)
                told = raw.tell()
            if whole := line.rstrip(b"\r\n"):
                yield TextLine(number, whole, line.endswith(b"\n"))
        progress(path.stat().st_size - told)
