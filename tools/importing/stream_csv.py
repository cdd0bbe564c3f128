"""Binance's streams written out as CSV, a row for each trade or level: `TimestampOfReceive,Stream,EventType,…`.

Each run of rows of one message is made the frame that it was, and heard as a raw capture is (raw_capture.py). Times are µs.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.nodes.venues.parsing.decimals import DecimalError, integer
from tickmesh.tools.importing import raw_capture, text_files
from tickmesh.tools.importing.rows import READ_ERRORS, Said
from tickmesh.tools.importing.source import NOT_ENDED, Known, Named, SourceFile, odd, window_of
from tickmesh.tools.importing.text_files import Progress, Surveyed

TRADES, DEPTH = "stream-csv-trade", "stream-csv-depth"
NAMES = (TRADES, DEPTH)
VENUE = "binance"
HEADERS = {
    b"TimestampOfReceive,Stream,EventType,EventTime,TransactionTime,Symbol,TradeId,Price,Quantity,IsBuyerMarketMaker,"
    b"MUnknownParameter": TRADES,
    b"TimestampOfReceive,Stream,EventType,EventTime,Symbol,FirstUpdateId,FinalUpdateId,IsAsk,Price,Quantity": DEPTH,
}
COLUMNS = {TRADES: 11, DEPTH: 10}
KINDS = {TRADES: (Kind.trade,), DEPTH: (Kind.depth,)}
MESSAGE = {TRADES: 7, DEPTH: 7}  # so many first columns are the same in all rows of a message
LACKS = {
    TRADES: ("no definitions of instruments (tick and lot size)",),
    DEPTH: ("no snapshots: changes belong to no book", "no definitions of instruments (tick and lot size)"),
}
FLAGS = {"0": False, "1": True, "True": True, "False": False}


class CsvRow(NamedTuple):
    """A row that has its columns: its line, the text, and the cells."""

    line: int
    text: bytes
    cells: tuple[str, ...]


def claims(path: Path, seen: Surveyed, named: Named) -> SourceFile | None:
    """The file as a source, of the one instrument of its rows. None for what has another first line."""
    format = HEADERS.get(seen.head[0].rstrip(b"\r"))
    if format is None or len(seen.head) < 2:
        return None
    symbol = seen.head[1].split(b",")[1].partition(b"@")[0].decode("utf-8", "replace").upper()
    window = window_of(path, seen, lambda line: _received(line.split(b",")[0].decode("ascii", "replace")))
    return SourceFile(path, format, (f"{VENUE}.{symbol}",), KINDS[format], seen.sha256, seen.size, window, LACKS[format])


def _received(text: str) -> int:
    return integer(text) * 1000


def read(source: SourceFile, known: Known, progress: Progress) -> Iterator[Said]:
    """The file's messages as events."""
    heard = raw_capture.listen(source, known)
    width = COLUMNS[source.format]
    rows: list[CsvRow | Said] = []

    def parsed() -> Iterator[CsvRow | Said]:
        for line in text_files.lines(source.path, progress):
            cells = tuple(line.text.decode("utf-8", "replace").split(","))
            if line.number == 1:
                continue
            if not line.ended:
                yield odd(line.number, NOT_ENDED, line.text)
            elif len(cells) != width:
                yield odd(line.number, f"{len(cells)} columns; {width} are allowed", line.text)
            else:
                yield CsvRow(line.number, line.text, cells)

    for _, group in groupby(parsed(), lambda row: row.cells[: MESSAGE[source.format]] if isinstance(row, CsvRow) else None):
        rows = list(group)
        found = [row for row in rows if isinstance(row, CsvRow)]
        yield from (row for row in rows if not isinstance(row, CsvRow))
        if not found:
            continue
        try:
            recv_ns, frame = _received(found[0].cells[0]), _frame(source.format, found)
        except READ_ERRORS as error:
            yield odd(found[0].line, error, found[0].text)
            continue
        yield from heard.take(found[0].line, recv_ns, frame)


def _frame(format: str, rows: list[CsvRow]) -> bytes:
    """The combined stream's message that the rows were made of."""
    first = rows[0].cells
    data = _trade(first) if format == TRADES else _change(rows)
    return json.dumps({"stream": first[1], "data": data}, separators=(",", ":")).encode()


def _trade(row: tuple[str, ...]) -> dict[str, object]:
    if row[9] not in FLAGS:
        raise DecimalError(f"IsBuyerMarketMaker is {row[9]!r}; 0 or 1 are allowed")
    return {
        "e": row[2], "E": integer(row[3]), "s": row[5], "t": integer(row[6]), "p": row[7], "q": row[8], "T": integer(row[4]),
        "m": FLAGS[row[9]], "M": True,
    }  # fmt: skip


def _change(rows: list[CsvRow]) -> dict[str, object]:
    first = rows[0].cells
    sides = {side: [[row.cells[8], row.cells[9]] for row in rows if row.cells[7] == side] for side in "01"}
    if sum(map(len, sides.values())) != len(rows):
        raise DecimalError("IsAsk is neither 0 nor 1")
    return {
        "e": first[2], "E": integer(first[3]), "s": first[4], "U": integer(first[5]), "u": integer(first[6]),
        "b": sides["0"], "a": sides["1"],
    }  # fmt: skip
