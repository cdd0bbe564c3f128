"""The worst append to a log, with a sync under way and with none: `python -m bench appends`.

One thread appends as a sequencer does, a batch each millisecond, for SECONDS a round; the log's own thread syncs as often as
it can (`sync_ms = 1`), as usual (50), or next to never (10 s). Each append is one that a sync was under way in, or not. In
turns with them a bare loop: write(2) of as many bytes to a file, and fdatasync(2) of it in a thread.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np

from bench.floor import line, rounds, throw_away_mesh
from tickmesh.bus import log_writer
from tickmesh.bus.log_writer import LogWriter

SECONDS = 4.0
EVERY_S = 0.001
BYTES = 300
QUANTILES = (50, 99, 99.9, 100)
Spans = list[tuple[int, int]]


@contextmanager
def noted_syncs() -> Iterator[Spans]:
    """Gives a list that grows by (begun, ended), ns, of each fdatasync."""
    spans: Spans = []
    sync = os.fdatasync

    def noted(fd: int) -> None:
        begun = time.monotonic_ns()
        sync(fd)
        spans.append((begun, time.monotonic_ns()))

    with mock.patch.object(os, "fdatasync", noted):
        yield spans


def overlapping(spans: Spans, others: Spans) -> np.ndarray:
    """Whether each of `spans` has a moment in common with one of `others`, which follow each other in time."""
    mine, theirs = np.array(spans).reshape(-1, 2), np.array(others).reshape(-1, 2)
    first = np.searchsorted(theirs[:, 1], mine[:, 0], "right")  # the first one that ends after it began
    begun = np.append(theirs[:, 0], np.iinfo(np.int64).max)
    return begun[first] < mine[:, 1]


def appends(append: Callable[[int], None]) -> Spans:
    """Calls `append` with 1, 2, … every EVERY_S for SECONDS; when each call began and ended, ns."""
    spans: Spans = []
    due = time.monotonic()
    end, number = due + SECONDS, 0
    while due < end:
        number += 1
        begun = time.monotonic_ns()
        append(number)
        spans.append((begun, time.monotonic_ns()))
        due = max(due + EVERY_S, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
    return spans


def of_a_log(sync_ms: int) -> tuple[Spans, Spans]:
    """(appends, syncs) of a log."""
    with noted_syncs() as syncs:
        log = LogWriter(throw_away_mesh().log_dir, segment_bytes=4 << 20, sync_ms=sync_ms)
        syncs.clear()
        try:
            done = appends(lambda number: log.append(number, [bytearray(BYTES)]))
        finally:
            taken = list(syncs)
            log.close()
        return done, taken


def without_room(sync_ms: int) -> tuple[Spans, Spans]:
    """(appends, syncs) of a log whose segments find room on the disk as they grow."""
    with mock.patch.object(log_writer, "reserve", lambda _fd, _size: None):
        return of_a_log(sync_ms)


def bare() -> tuple[Spans, Spans]:
    """(writes, syncs) of a file that a thread syncs all the time."""
    path = throw_away_mesh().root / "bare"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    over = threading.Event()
    content = bytes(BYTES)

    def keep_syncing() -> None:
        while not over.wait(EVERY_S):
            os.fdatasync(fd)

    with noted_syncs() as syncs:
        thread = threading.Thread(target=keep_syncing)
        thread.start()
        try:
            return appends(lambda _: None if os.write(fd, content) else None), syncs
        finally:
            over.set()
            thread.join()
            os.close(fd)


CONTESTANTS: dict[str, Callable[[], tuple[Spans, Spans]]] = {
    "a log, synced all the time": lambda: of_a_log(1),
    "a log, synced every 50 ms": lambda: of_a_log(50),
    "the same, no room kept for it": lambda: without_room(50),
    "a log, not synced": lambda: of_a_log(10_000),
    "bare write(2), synced all the time": bare,
}


def quantiles_us(spans: np.ndarray) -> list[float]:
    """p50, p99, p99.9 and the longest, µs."""
    return [float(one) / 1000 for one in np.percentile(spans[:, 1] - spans[:, 0], QUANTILES)]


def main() -> dict:
    """Prints the figures; gives them by contestant, and by whether a sync was under way."""
    print(f"an append of {BYTES} bytes, one a millisecond: p50, p99, p99.9, longest, µs, of {rounds()} rounds that take turns")
    found: dict[str, dict[bool, list[np.ndarray]]] = {name: {True: [], False: []} for name in CONTESTANTS}
    for _ in range(rounds()):
        for name, work in CONTESTANTS.items():
            done, syncs = work()
            during = overlapping(done, syncs)
            for under_way, own in found[name].items():
                own.append(np.array(done)[during == under_way])
    result: dict = {"rounds": rounds()}
    for name, parts in found.items():
        for under_way, word in ((True, "while a sync is under way"), (False, "while none is")):
            spans = np.concatenate(parts[under_way])
            if not len(spans):
                continue
            figures = quantiles_us(spans)
            shown = ", ".join(f"{one:,.0f}" for one in figures)
            result.setdefault(name, {})[word] = {"count": len(spans), **dict(zip(("p50", "p99", "p99_9", "max"), figures))}
            line(f"{name}, {word}", shown, f"{len(spans)} appends")
    return result


if __name__ == "__main__":
    main()
