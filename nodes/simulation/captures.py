"""Raw captures: bytes of a file to lines, as far as they can be read. Pure: files are opened elsewhere."""

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

LINE = re.compile(r"^(\d{16}|\d{19}) (\{.*\})\s*$", re.DOTALL)
CHUNK_BYTES = 1 << 16


def recv_ns(line: str) -> int:
    """The receive time of a line, recorded in µs (16 digits) or ns (19); 0 when it has none."""
    head = line.partition(" ")[0]
    if not head.isdigit() or len(head) not in (16, 19):
        return 0
    return int(head) * (1000 if len(head) == 16 else 1)


def is_snapshot(line: str) -> bool:
    return '{"lastUpdateId"' in line[:36]


def lines_of(file: BinaryIO) -> Iterator[str]:
    """Lines of a gzip or plain file. Raises EOFError or zlib.error after the last line that can be read."""
    rest = b""
    try:
        for chunk in _chunks(file):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
    except (EOFError, zlib.error):
        rest = b""  # half a line is no line
        raise
    if rest:
        yield rest.decode(errors="replace")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Decompressed as far as it goes: a cut gzip file gives all its bytes before the cut, then EOFError."""
    data = file.read(CHUNK_BYTES)
    if not data.startswith(b"\x1f\x8b"):
        while data:
            yield data
            data = file.read(CHUNK_BYTES)
        return
    inflate = zlib.decompressobj(31)
    while data:
        yield inflate.decompress(data)
        data = inflate.unused_data or file.read(CHUNK_BYTES)
        if inflate.eof:
            if not data:
                return
            inflate = zlib.decompressobj(31)  # files that were appended to have several members
    raise EOFError("the gzip stream is cut off")
