"""Raw frames as a collector wrote them, lines of `<receive time> <json>`: through the reception of a feed, as if it heard them.

The receive time is in ms, µs or ns, told by its number of digits. A line that is an answer of the depth request
(`{"lastUpdateId": …`) is the snapshot of the file's one instrument.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tickmesh.bus.settings import FeedSettings
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.streams import KINDS
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.table import ADAPTERS, adapter_of
from tickmesh.tools.importing import text_files
from tickmesh.tools.importing.rows import READ_ERRORS, FileSpan, Row, Said
from tickmesh.tools.importing.source import NOT_ENDED, Known, Named, SourceFile, odd, window_of
from tickmesh.tools.importing.text_files import Progress, Surveyed
from tickmesh.tools.terminal import Failure

RAW = "raw"
NAMES = (RAW,)
LINE = re.compile(rb"([0-9]{13,19}) ([\[{].*)", re.DOTALL)
UNITS = {13: 1_000_000, 16: 1_000, 19: 1}  # digits of a time of this century → ns
STREAM = re.compile(rb'"stream"\s*:\s*"([a-z0-9_]{2,30})@')
OF_FUTURES = re.compile(rb'"pu"\s*:|"X"\s*:\s*"')
SNAPSHOT = b'"lastUpdateId"'
LACKS = ("no definitions of instruments (tick and lot size)",)
SAMPLE = 2000  # lines in which a file has to show whether it is of spot or of USD-M


def claims(path: Path, seen: Surveyed, named: Named) -> SourceFile | None:
    """The capture as a source: of Binance its streams say the instruments, of others --venue and --symbol do.

    None for what is no capture. Raises Failure.
    """
    if named.format not in ("", RAW) or not any(LINE.fullmatch(line) for line in seen.head[:10]):
        return None
    symbols, futures = _streams(path) if named.venue in ("", "binance", "binance_usdm") else (set[str](), False)
    venue = named.venue or ("binance_usdm" if futures else "binance" if symbols else "")
    if venue not in ADAPTERS:
        raise Failure(f"{path} does not say of which venue it is: give it with --venue ({', '.join(sorted(ADAPTERS))})")
    if futures != (venue == "binance_usdm") and symbols:
        raise Failure(f"{path} has frames of {'binance_usdm' if futures else 'binance'}, and --venue says {venue}")
    chosen = named.symbols or tuple(sorted(symbols))
    if not chosen:
        raise Failure(f"{path} does not say of which instruments it is: give them with --symbol, as the venue spells them")
    window = window_of(path, seen, lambda line: _parts(line)[0])
    return SourceFile(path, RAW, tuple(f"{venue}.{one}" for one in chosen), KINDS, seen.sha256, seen.size, window, LACKS)


def _streams(path: Path) -> tuple[set[str], bool]:
    """(the symbols whose streams are in a capture of Binance, whether it is of USD-M)."""
    symbols: set[bytes] = set()
    futures = False
    for line in text_files.lines(path):
        if (match := STREAM.search(line.text)) is not None:
            symbols.add(match[1])
            futures = futures or (line.number < SAMPLE and OF_FUTURES.search(line.text) is not None)
    return {one.decode().upper() for one in symbols}, futures


def _parts(line: bytes) -> tuple[int, bytes]:
    match = LINE.fullmatch(line)
    if match is None or len(match[1]) not in UNITS:
        raise DecimalError("the line is not `<receive time in ms, µs or ns> <json>`")
    return int(match[1]) * UNITS[len(match[1])], match[2]


def read(source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
    """The events of a capture's frames, each at its receive time."""
    heard = listen(source, known)
    for line in text_files.lines(source.path, progress):
        if not line.ended:
            yield odd(line.number, NOT_ENDED, line.text)
            continue
        try:
            recv_ns, frame = _parts(line.text)
        except READ_ERRORS as error:
            yield odd(line.number, error, line.text)
            continue
        yield from heard.take(line.number, recv_ns, frame)


def listen(source: SourceFile, known: Known) -> "FrameReception":
    """Opens a connection on which the frames of a source are heard."""
    venue = source.subjects[0].partition(".")[0]
    instruments = [known.instruments[subject] for subject in source.subjects]
    return FrameReception(Reception("", adapter_of(venue), instruments, FeedSettings()), source.window)


class FrameReception:
    """A line's reception that hears the frames of a file on one connection."""

    def __init__(self, reception: Reception, window: FileSpan):
        self.reception = reception
        self.window = window
        self.connection, _ = reception.open(1, window.first_ns)

    def take(self, number: int, recv_ns: int, frame: bytes) -> Iterator[Said]:
        """What a frame says that was received at this time; `number`: its line in the file."""
        try:
            self.window.check(recv_ns)
        except ValueError as error:
            yield odd(number, error, frame)
            return
        if SNAPSHOT in frame and STREAM.search(frame) is None:
            if len(self.reception.instruments) != 1:
                yield odd(number, "a snapshot that does not say of which of several instruments it is", frame)
                return
            arrived = self.reception.snapshot(next(iter(self.reception.instruments)), recv_ns, frame)
        else:
            arrived = self.reception.frames(self.connection, recv_ns, [frame])
        for why, raw in arrived.refused:
            yield odd(number, why, raw)
        for event in arrived.events:
            yield Row(recv_ns, event)
