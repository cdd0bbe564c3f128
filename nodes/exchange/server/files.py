"""The files behind the local venue: its state, its tape, a replay's position; and the captures that it replays."""

import logging
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from tickmesh.bus.config import ConfigError
from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.files import write_file
from tickmesh.nodes.exchange.market.captures import lines_of
from tickmesh.nodes.exchange.market.survey import FORMAT, Survey, Surveyor
from tickmesh.nodes.exchange.market.tape import RETAINED, ROW, Print, Tape
from tickmesh.nodes.exchange.orders.orders import StateLine

SURVEY = "survey.json"
log = logging.getLogger("exchange")


class ExchangeFiles:
    """The files behind the exchange: own orders and balances (`state.jsonl`), trades, and the replay's position."""

    def __init__(self, folder: Path, trades_kept: int = RETAINED):
        self.folder = folder
        self.trades_kept = trades_kept
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock = FileLock.acquired(folder / "lock")
        except FileLocked:
            raise ConfigError(f"another exchange runs on {folder}; one state can have only one exchange") from None
        self._fd = -1
        self.appended_bytes = 0  # since the last rewrite
        self.era = 0  # of the tapes: whose ids are in them
        self._tapes: dict[str, tuple[int, int]] = {}  # market → file descriptor, rows in the file
        self._position = -1

    def state_lines(self) -> Iterator[StateLine]:
        """The lines of the state file, up to a torn end. ConfigError for damage further up: no id may be given twice."""
        path = self.folder / "state.jsonl"
        torn = 0
        for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else (), 1):
            try:
                line = msgspec.json.decode(raw, type=StateLine)
            except (msgspec.DecodeError, UnicodeDecodeError):
                torn = torn or number
                continue
            if torn:
                break
            yield line
        else:
            if torn != 1:
                return
        raise ConfigError(f"{path}: line {torn} is damaged; move the folder away to begin with a new exchange")

    def rewrite(self, line: StateLine) -> None:
        """Begins the state file anew with one line that holds everything."""
        path = self.folder / "state.jsonl"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(line) + b"\n")
        fresh.replace(path)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.appended_bytes = 0

    def append(self, line: StateLine) -> None:
        """Appends one line to the state file."""
        data = msgspec.json.encode(line) + b"\n"
        _write(self._fd, data)
        self.appended_bytes += len(data)

    def open_tape(self, market: str) -> Tape:
        """Opens a market's file of trades and gives those kept before: two generations of `2 × trades_kept` rows at most."""
        tape = Tape(self.trades_kept)
        path = self._tape_path(market)
        for gone in self._of_other_eras(market):
            gone.unlink()
        old = path.with_suffix(".old")
        for file in (old, path):
            if file.exists():
                tape.load(file.read_bytes())
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        rows = os.fstat(fd).st_size // ROW.size
        os.ftruncate(fd, rows * ROW.size)
        self._tapes[market] = (fd, rows)
        return tape

    def append_trades(self, market: str, trades: list[Print]) -> None:
        """Appends trades to the file of their market."""
        fd, rows = self._tapes[market]
        if rows >= 2 * self.trades_kept:
            os.close(fd)
            path = self._tape_path(market)
            path.replace(path.with_suffix(".old"))
            fd, rows = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 0
        _write(fd, b"".join([trade.packed() for trade in trades]))
        self._tapes[market] = (fd, rows + len(trades))

    def _tape_path(self, market: str) -> Path:
        name = f"trades-{quote(market, safe='')}"  # whatever a market is called, it is one file name
        return self.folder / (f"{name}.{self.era}.bin" if self.era else f"{name}.bin")

    def _of_other_eras(self, market: str) -> list[Path]:
        """The files of trades of a market whose ids are of another era."""
        mine = self._tape_path(market)
        of_market = re.compile(rf"trades-{re.escape(quote(market, safe=''))}(\.[0-9]+)?\.(bin|old)")
        return [p for p in self.folder.glob("trades-*") if of_market.fullmatch(p.name) and p.stem != mine.stem]

    def open_position(self, identity: str) -> int:
        """Opens the file of the replay's position; gives the lines of this capture that clients had, 0 for another capture."""
        self._position = os.open(self.folder / "position", os.O_RDWR | os.O_CREAT, 0o600)
        number, _, whose = os.pread(self._position, 4096, 0).decode(errors="replace").rstrip("\n").partition(" ")
        found = int(number) if whose == identity and number.isdigit() else 0
        os.ftruncate(self._position, 0)
        os.pwrite(self._position, f"{found:020d} {identity}\n".encode(), 0)
        return found

    def save_position(self, position: int) -> None:
        """Writes how many lines of the capture its clients have had."""
        os.pwrite(self._position, b"%020d" % position, 0)

    def mark_ended(self) -> None:
        """Leaves a mark for `mesh up` that this replay is over: the capture's next one begins in a folder of its own."""
        (self.folder / "ended").touch()

    def close(self) -> None:
        """Closes all files and gives up the lock on the folder."""
        for fd in (self._fd, self._position, *(fd for fd, _ in self._tapes.values())):
            if fd >= 0:
                os.close(fd)
        self._lock.close()


def _write(fd: int, data: bytes) -> None:
    """Writes all of it, or raises OSError: a full disk stops the exchange, which may not send what it cannot remember."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class CaptureFiles:
    """The lines of several capture files as one, gzip or plain, as far as they can be read; `error` has why not further."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self.error = ""
        self.survey = Survey()

    def lines(self) -> Iterator[str]:
        """The lines of all files, one file after the other."""
        for path in self.paths:
            yield from self._lines_of(path)

    def _lines_of(
        self, path: Path, on_progress: Callable[[int], object] = lambda done: None, bytes_before: int = 0
    ) -> Iterator[str]:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(lines_of(file)):
                    if number % 1000 == 0:
                        on_progress(bytes_before + file.tell())
                    yield line
        except (OSError, zlib.error, EOFError) as error:
            if not self.error:
                self.error = f"{path} ends early: {error}; what could be read before that is served"
                log.error(self.error)

    def identity(self) -> str:
        """The names and sizes of the files, by which a replay knows its capture again."""
        return " ".join(f"{path.name}:{path.stat().st_size}" for path in self.paths)[:4000]

    def read_whole(self, folder: Path, on_progress: Callable[[int], object] = lambda done: None) -> Survey:
        """Reads all lines and gives their survey, which is kept in `folder` for the next start.

        `on_progress` is called with the bytes of the files read so far.

        Raises ConfigError for files that cannot be read, or of which nothing can be served.
        """
        try:
            stamps = " ".join(f"{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for path in self.paths)
        except OSError as error:
            raise ConfigError(f"exchange.replay: a capture cannot be read: {error}") from None
        survey = _kept(folder / SURVEY, stamps)
        if survey is None:
            survey = self._survey(on_progress)
            survey.identity = stamps
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(folder / SURVEY, msgspec.json.encode(survey))
        if why := survey.refusal():
            raise ConfigError(f"exchange.replay: {why}")
        self.survey, self.error = survey, survey.error
        return survey

    def _survey(self, on_progress: Callable[[int], object]) -> Survey:
        surveyor = Surveyor()
        before = 0
        for path in self.paths:
            self.error, earlier = "", self.error
            surveyor.read_file(f"the capture {path}", self._lines_of(path, on_progress, before))
            if self.error and path.is_file() and not surveyor.survey.lines or not path.is_file():
                raise ConfigError(f"exchange.replay: a capture cannot be read: {self.error}")
            self.error = earlier or self.error
            before += path.stat().st_size
        return surveyor.finish(self.error)


def _kept(path: Path, identity: str) -> Survey | None:
    """The survey made before, if it is of just these files and of this version; else None."""
    try:
        survey = msgspec.json.decode(path.read_bytes(), type=Survey)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return survey if survey.format == FORMAT and survey.identity == identity else None
