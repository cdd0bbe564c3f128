"""What the lines must have received, from the exchange's ledger: when connections were open, and which frames it withheld.

A mesh may lack what nobody could bring it, and must say so. It may not lack what was sent to a connection that stayed open,
whatever its coverage says: what a socket brought is stored.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate

from tickmesh.tools.judge.against_capture import StoredMarket
from tickmesh.tools.judge.exchange_ledger import EVERY_CONNECTION, LedgerContents, TrueEra, stream_of
from tickmesh.tools.judge.findings import Findings

MARGIN_MS = 1500  # so near to the end of a connection, or to a frame that was withheld, nothing is certain
# Venue → what the paths of its connections for market data begin with, those that bring trades and books.
MARKET = {
    "binance": ("/ws", "/stream"),
    "binance_usdm": ("/binance_usdm/public/", "/binance_usdm/ws", "/binance_usdm/stream"),
}


class ListeningTimes:
    """When connections to the exchange were open, and which frames it withheld, from its ledger."""

    def __init__(self, ledger: LedgerContents):
        # by venue: when its connections opened, and of those opened so far when the last ended
        self._open: dict[str, tuple[list[float], list[float]]] = {}
        for venue in MARKET:
            lives = sorted(_lives(ledger, venue))
            self._open[venue] = ([begin for begin, _ in lives], list(accumulate((end for _, end in lives), max)))
        self.withheld: dict[str, list[int]] = {}
        for _number, kind, time_ms, *values in ledger.withheld:
            if kind == "frame" and values[3] in ("dropped", "altered"):
                self.withheld.setdefault(values[2], []).append(time_ms)

    def was_received(self, stream: str, ms: int) -> bool:
        """Whether what a stream sent at this moment surely reached a connection: one that was open before and after.

        One that ends where another begins is none: of a process that was killed the end is seen late.
        """
        opened, until = self._open[stream.rpartition(".")[0] or "binance"]
        place = bisect_right(opened, ms - MARGIN_MS) - 1
        if place < 0 or until[place] < ms + MARGIN_MS:
            return False
        times = self.withheld.get(stream, ())
        near = bisect_left(times, ms - MARGIN_MS)
        return near == len(times) or times[near] > ms + MARGIN_MS


def _lives(ledger: LedgerContents, venue: str) -> Iterator[tuple[float, float]]:
    """(opened, closed) of each connection for market data of a venue."""
    opened: dict[int, float] = {}
    for time_ms, connection, what, detail in ledger.clients:
        if what == "opened" and detail.startswith(MARKET[venue]) and not detail.startswith("/ws-api"):
            opened[connection] = time_ms
        elif connection == EVERY_CONNECTION:
            yield from ((begin, time_ms) for begin in opened.values())
            opened.clear()
        elif what in ("closed", "cut") and connection in opened:
            yield opened.pop(connection), time_ms
    yield from ((begin, float("inf")) for begin in opened.values())


def check_changes(subject: str, truth: TrueEra, mine: StoredMarket, listening: ListeningTimes, findings: Findings) -> None:
    """Checks that every change of a book that surely was received, between the first and the last stored, is stored."""
    logged = sorted((first, last) for first, last, snapshot, _ in mine.depth if not snapshot)
    if not logged:
        return
    findings.count("changes_checked", 0)
    stream = stream_of(subject, "depth@100ms")
    begins: list[int] = []
    reached: list[int] = []  # ids up to it are stored from each `begins` on, without a hole
    for first, last in logged:
        if reached and first <= reached[-1] + 1:
            reached[-1] = max(reached[-1], last)
        else:
            begins.append(first)
            reached.append(last)
    lost: list[int] = []
    for (kind, first, last, _), time_ms in zip(truth.steps, truth.times):
        if kind != "depth" or first < begins[0] or last > reached[-1]:
            continue
        findings.count("changes_checked")
        place = bisect_right(begins, first) - 1
        if last > reached[place] and listening.was_received(stream, time_ms):
            lost.append(last)
    if lost:
        findings.count("lost", len(lost))
        what = f"depth.{subject}: {len(lost)} changes, of ids {lost[0]} to {lost[-1]}"
        findings.fault("lost", f"{what}, were sent to open connections and are not stored")
