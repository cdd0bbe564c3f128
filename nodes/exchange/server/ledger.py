"""The files of the exchange ledger: append-only, one after the other, the oldest removed beyond a bound. Written before
anything is sent to clients.

Each file `ledger-<number of its first row>.bin` begins with the format and the books as they stand, so it can be read
without those before it. A start begins a new file; what a crash left half written at the end of the last one is cut off.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tickmesh.nodes.exchange.core import Uncommitted
from tickmesh.nodes.exchange.last_books import LedgerBooks, read_last_books
from tickmesh.nodes.exchange.ledger import ExchangeLedger, LastBook, LedgerRow, find_end
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM

FILE_BYTES_MAX = 8 << 20  # the newest is read at every start


class LedgerFiles:
    """Appends rows to the exchange ledger's files.

    `clock_ms` is the exchange's clock; `books` gives every book by market: until it is set, as the process before left them.
    """

    def __init__(self, folder: Path, market: str, bytes_max: int, clock_ms: Callable[[], int]):
        self.folder, self.bytes_max, self.clock_ms = folder, bytes_max, clock_ms
        self.file_bytes_max = min(FILE_BYTES_MAX, bytes_max // 4)
        self.books: Callable[[], Mapping[str, LastBook]] = dict
        self.era = 0  # of those books
        self.bytes = 0  # of the file that is open
        self.removed = 0  # files, since this start
        self._fd = -1
        self.ledger = ExchangeLedger(market, self._next_number())
        if (last := self.last_books()).market == market == "synthetic":  # a replay's book is made from its capture again
            self.books, self.era = (lambda: last.books), last.era
        self._open()

    def last_books(self) -> LedgerBooks:
        """Reads where the books stand, from the newest file: 8 MiB at most. Of an empty ledger nothing."""
        files = self._files()
        return read_last_books(files[-1].read_bytes()) if files else LedgerBooks()

    def append_committed(self, done: Uncommitted, now_ms: int) -> None:
        """Appends the rows of a commit, before any of it is sent to clients. OSError stops the exchange."""
        self.ledger.add_rows(done.ledger_rows, now_ms)
        for text in done.outgoing.events:
            self.ledger.add("event", now_ms, text, SPOT)
        for _, text in done.outgoing.private:
            self.ledger.add("event", now_ms, text, USDM)
        self._flush()
        if self.bytes > self.file_bytes_max:
            self._open()  # here the books are what the rows have made of them

    def note(self, row: LedgerRow) -> None:
        """Adds one row to those of the next commit, which writes it before anything is answered."""
        self.ledger.add(row[0], self.clock_ms(), *row[1:])

    def record(self, kind: str, *values: object) -> None:
        """Appends one row at once, about a fault that is about to strike."""
        self.ledger.add(kind, self.clock_ms(), *values)
        self._flush()

    def close(self) -> None:
        """Closes the file that rows are appended to."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("ledger-*.bin"))

    def _next_number(self) -> int:
        for path in reversed(self._files()):
            size, number = find_end(path.read_bytes())
            os.truncate(path, size)
            if number:
                return number
            path.unlink()  # nothing whole is in it
        return 1

    def _open(self) -> None:
        self.close()
        path = self.folder / f"ledger-{self.ledger.number:020d}.bin"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self.bytes = 0
        self.ledger.add_head(self.books(), self.clock_ms(), self.era)
        self._flush()
        files = self._files()
        total = sum(file.stat().st_size for file in files)
        for file in files[:-1]:
            if total <= self.bytes_max - self.file_bytes_max:
                break
            total -= file.stat().st_size
            file.unlink()
            self.removed += 1

    def _flush(self) -> None:
        view = memoryview(self.ledger.take_batch())
        self.bytes += len(view)
        while view:
            view = view[os.write(self._fd, view) :]
