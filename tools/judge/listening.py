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
MARKET = ("/ws", "/stream", "/binance_usdm/")  # what the paths of connections for market data begin with
ALL = ""  # every stream


class ListeningTimes:
    """When connections to the exchange were open, and which frames it withheld, from its ledger."""

    def __init__(self, ledger: LedgerContents):
        lives: dict[str, list[tuple[float, float]]] = {}
        for stream, begin, end in sorted(_lives(ledger)):
            lives.setdefault(stream, []).append((begin, end))
        self._all = lives.get(ALL, [])  # a ledger that does not know who subscribed to what
        self._opened = {stream: [begin for begin, _ in times] for stream, times in lives.items()}
        # of the connections opened so far, the last to end
        self._until = {stream: list(accumulate((end for _, end in times), max)) for stream, times in lives.items()}
        self.withheld: dict[str, list[int]] = {}
        for _number, kind, time_ms, *values in ledger.withheld:
            if kind == "frame" and values[3] in ("dropped", "altered"):
                self.withheld.setdefault(values[2], []).append(time_ms)

    @property
    def known(self) -> bool:
        """Whether the ledger knows of any connection for market data."""
        return bool(self._opened)

    def was_received(self, stream: str, ms: int) -> bool:
        """Whether what a stream sent at this moment surely reached a connection: one that had it before and after.

        One that ends where another begins is none: of a process that was killed the end is seen late.
        """
        which = ALL if self._all else stream
        place = bisect_right(self._opened.get(which, ()), ms - MARGIN_MS) - 1
        if place < 0 or self._until[which][place] < ms + MARGIN_MS:
            return False
        times = self.withheld.get(stream, ())
        near = bisect_left(times, ms - MARGIN_MS)
        return near == len(times) or times[near] > ms + MARGIN_MS


def _lives(ledger: LedgerContents) -> Iterator[tuple[str, float, float]]:
    """(stream, from, until) of each subscription; (ALL, opened, closed) of each connection in a ledger that has none."""
    named = any(what == "subscribed" for _, _, what, _ in ledger.clients)
    begun: dict[int, dict[str, float]] = {}  # of each connection for market data that is open: its streams
    for time_ms, connection, what, detail in ledger.clients:
        if what == "opened" and detail.startswith(MARKET) and not detail.startswith("/ws-api"):
            begun[connection] = {} if named else {ALL: time_ms}
        elif connection == EVERY_CONNECTION:
            yield from ((stream, begin, time_ms) for streams in begun.values() for stream, begin in streams.items())
            begun.clear()
        elif connection in begun:
            streams = begun[connection]
            if what == "subscribed":
                streams.update(dict.fromkeys(detail.split(), time_ms))
                continue
            ended = detail.split() if what == "unsubscribed" else tuple(streams)
            yield from ((stream, streams.pop(stream), time_ms) for stream in ended if stream in streams)
    yield from ((stream, begin, float("inf")) for streams in begun.values() for stream, begin in streams.items())


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
