"""Streams of Arrow tables: cut to size, merged in order of seq, and read ahead by a thread."""

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

Item = TypeVar("Item")
AHEAD = 2  # items that are held ready
WAIT_S = 0.1  # how often a thread whose reader is slow looks whether it is still wanted


def of_size(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cuts tables anew, the same rows in tables of `rows`; the last one is shorter."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        while count + table.num_rows >= rows:
            fits = rows - count
            yield pa.concat_tables([*held, table.slice(0, fits)]).combine_chunks()
            table, held, count = table.slice(fits), [], 0
        if table.num_rows:
            held.append(table)
            count += table.num_rows
    if held:
        yield pa.concat_tables(held).combine_chunks()


def merged(streams: list[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Merges streams, each in order of its column `seq`, into one in that order; a table of each is in memory."""
    heads: list[pa.Table | None] = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        bound = min(head["seq"][-1].as_py() for head in heads if head is not None)
        parts = []
        for number, head in enumerate(heads):
            if head is None:
                continue
            rows = int(np.searchsorted(head["seq"].to_numpy(), bound, "right"))
            if rows:
                parts.append(head.slice(0, rows))
            heads[number] = head.slice(rows) if rows < head.num_rows else next(streams[number], None)
        whole = pa.concat_tables(parts)
        yield whole if len(parts) == 1 else whole.take(pa.array(np.argsort(whole["seq"].to_numpy(), kind="stable")))


class _Failed(NamedTuple):
    error: BaseException


class _End:
    pass


def read_ahead(items: Iterator[Item], held: int = AHEAD) -> Iterator[Item]:
    """Gives the same items while a thread makes the next ones, at most `held` of them; its error is raised here.

    The thread ends with the last item, and when the generator is closed.
    """
    ready: Queue[Item | _Failed | _End] = Queue(held)
    unwanted = threading.Event()

    def put(item: Item | _Failed | _End) -> bool:
        while not unwanted.is_set():
            try:
                ready.put(item, timeout=WAIT_S)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_End())
        except BaseException as error:  # noqa: BLE001  whatever it is, it is raised where the items are wanted
            put(_Failed(error))

    thread = threading.Thread(target=work, name="read ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = ready.get(timeout=1.0)
            except Empty:
                continue
            if isinstance(item, _End):
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        unwanted.set()
        thread.join()
