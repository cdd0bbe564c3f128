"""Makes the pictures that the page's viewers are shown, each once for all of them, from memory, files and supervisord.

Nothing is made while nobody looks: a picture is made when a viewer asks for it and the last one is too old.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.wire import Event
from tickmesh.nodes.gateway.page.market_memory import FOLLOWED, MarketMemory
from tickmesh.nodes.gateway.page.mesh_rows import alert_rows, instrument_rows, process_rows, trading_rows
from tickmesh.nodes.gateway.problems import RequestProblem
from tickmesh.nodes.gateway.queries import MeshQueries
from tickmesh.nodes.gateway.recent_events import WantedEvents
from tickmesh.storage.query.event_dict import as_dict, exponents_of

JsonObject = dict[str, Any]
Made = TypeVar("Made")
PRICES_S, BOOK_S, MESH_S, SUPERVISED_S, COVERAGE_S = 0.45, 0.9, 0.9, 1.8, 60.0  # how old each part may be
COVERED = timedelta(minutes=15)  # of the coverage bars
COVERAGE_AGAIN_S = 3.0  # where a gap has opened or was repaired
LEVELS = 10
EVENTS_MAX = 5000  # taken in at once
BYTES_MAX = 8 << 20
REPORTS_MAX = 400
REPORTS = frozenset({Kind.alert, Kind.run, Kind.command})
MARKETS_MAX = 32  # memories of instruments that are kept; the one that was not looked at for longest goes first
SECOND_NS = 1_000_000_000
SUPERVISORD_S = 1.0  # it answers in milliseconds


class MarketPicture(NamedTuple):
    """One instrument as it is shown. `book`: {} where there is none; `why_no_book`: a sentence then."""

    memory: MarketMemory
    row: JsonObject
    book: JsonObject
    why_no_book: str
    coverage: list[JsonObject]
    covered_from_s: float
    covered_to_s: float
    now_s: float


class WholePicture(NamedTuple):
    """The whole mesh as it is shown. `log`: seq, durable_seq and events a second; `disk`: bytes free and its marks."""

    mode: str
    source: str
    instruments: list[JsonObject]
    processes: list[JsonObject]
    supervisord: str
    trading: JsonObject
    alerts: list[JsonObject]
    log: JsonObject
    disk: JsonObject
    latency: list[JsonObject]
    now_s: float


class _Kept(Generic[Made]):
    """One thing that is made anew when it is asked for and older than `age_s`; who asks meanwhile waits for the same."""

    def __init__(self, age_s: float):
        self.age_s, self.made_s = age_s, -1e9
        self.value: Made | None = None
        self.turn = asyncio.Lock()

    async def get(self, make: Callable[[], Awaitable[Made]]) -> Made:
        async with self.turn:
            if self.value is None or time.monotonic() - self.made_s >= self.age_s:
                self.value = await make()
                self.made_s = time.monotonic()
            return self.value

    def expire(self, age_s: float) -> bool:
        """Has it made anew if it is older than this; gives whether it is."""
        old = time.monotonic() - self.made_s >= age_s
        if old:
            self.made_s = -1e9
        return old


class _Market:
    def __init__(self, subject: str):
        self.memory = MarketMemory(subject)
        self.picture: _Kept[MarketPicture] = _Kept(PRICES_S)
        self.book: _Kept[tuple[JsonObject, str]] = _Kept(BOOK_S)
        self.coverage: _Kept[tuple[list[JsonObject], float]] = _Kept(COVERAGE_S)
        self.gaps_seen = 0


class PictureCollector:
    """Gives pictures to viewers: of one instrument, and of the mesh."""

    def __init__(self, queries: MeshQueries):
        self.queries, self.config, self.recent = queries, queries.config, queries.recent
        self._markets: dict[str, _Market] = {}
        self._mesh: _Kept[WholePicture] = _Kept(MESH_S)
        self._supervised: _Kept[tuple[list[JsonObject], Mapping[str, int], str]] = _Kept(SUPERVISED_S)
        self._rate_from: tuple[float, int] = (time.monotonic(), self.recent.head)
        self._exponents: dict[str, tuple[int, int]] = {}  # of prices and quantities, by instrument

    def subjects(self) -> list[str]:
        """The instruments that may be picked."""
        return self.queries.instruments()

    async def market(self, subject: str) -> MarketPicture:
        """Makes the picture of an instrument, or gives the last one while it is new enough."""
        market = self._markets.pop(subject, None) or _Market(subject)
        self._markets[subject] = market
        while len(self._markets) > MARKETS_MAX:
            del self._markets[next(iter(self._markets))]
        return await market.picture.get(lambda: self._make_market(market))

    async def mesh(self) -> WholePicture:
        """Makes the picture of the mesh, or gives the last one while it is new enough."""
        return await self._mesh.get(self._make_mesh)

    async def _make_market(self, market: _Market) -> MarketPicture:
        memory, now_ns = market.memory, self.queries.now_ns()
        self._take_events(memory)
        (row,) = instrument_rows([memory.subject], self.recent, self._exponents_of([memory.subject]), now_ns)
        if memory.is_behind(now_ns // SECOND_NS):
            try:
                memory.begin((await self.queries.bars(memory.subject, "1s", "5m", None))["bars"])
            except (RequestProblem, LogError):
                memory.begin(())  # a market that has just begun, or files that others read: the picture begins now
        memory.take_prices(now_ns // SECOND_NS, row["bid"], row["ask"], row["last"])
        book, why = await market.book.get(lambda: self._make_book(memory.subject))
        if memory.gaps_seen != market.gaps_seen and market.coverage.expire(COVERAGE_AGAIN_S):
            market.gaps_seen = memory.gaps_seen
        coverage, covered_to_s = await market.coverage.get(lambda: self._make_coverage(memory.subject))
        return MarketPicture(
            memory, row, book, why, coverage, covered_to_s - COVERED.total_seconds(), covered_to_s, now_ns / SECOND_NS
        )

    def _take_events(self, memory: MarketMemory) -> None:
        wanted = WantedEvents(FOLLOWED, memory.topics.__contains__)
        after = max(memory.seq, self.recent.whole_after(FOLLOWED)) if memory.seq else 0
        while True:
            page = self.recent.read(wanted, after, EVENTS_MAX, BYTES_MAX)
            for event in page.events:
                memory.take(as_dict(self.config, event))
            after = memory.seq = page.seq
            if not page.more:
                return

    async def _make_book(self, subject: str) -> tuple[JsonObject, str]:
        exponents = self._exponents_of([subject]).get(subject)
        if exponents is None:
            return {}, "no quote has come yet"
        try:
            book = await self.queries.newest_levels(subject, LEVELS, exponents)
        except (RequestProblem, LogError) as problem:
            return {}, str(problem)
        return book, "" if book["valid"] else "the book is not valid now: a gap, and no snapshot since"

    async def _make_coverage(self, subject: str) -> tuple[list[JsonObject], float]:
        """What is known of the last minutes, and up to when: it reads the log since the archive's end, 0.4 s of CPU at most."""
        now_s = self.queries.now_ns() / SECOND_NS
        begin = datetime.fromtimestamp(now_s, UTC) - COVERED
        try:
            return await self.queries.coverage([subject], [], begin.isoformat(), None, 1000), now_s
        except (RequestProblem, LogError):
            return [], now_s

    def _exponents_of(self, subjects: list[str]) -> Mapping[str, tuple[int, int]]:
        for subject in subjects:
            if subject not in self._exponents and (one := self.recent.latest.get(f"quote.{subject}")) is not None:
                self._exponents[subject] = exponents_of(self.config, Event(one.raw))
        return self._exponents

    async def _make_mesh(self) -> WholePicture:
        now_ns, recent = self.queries.now_ns(), self.recent
        subjects = [one.subject for one in self.config.instruments]
        supervised, restarts, word = await self._supervised.get(lambda: asyncio.to_thread(self._ask_supervisord))
        reports = recent.read_newest(WantedEvents(REPORTS, lambda topic: True), REPORTS_MAX, BYTES_MAX)
        beats = recent.newest_of(Kind.health)
        recorder = beats["recorder"].map() if "recorder" in beats else {}
        durable = beats["sequencer"].map().get("durable_seq") if "sequencer" in beats else None
        return WholePicture(
            self.config.mode, self.config.source, instrument_rows(subjects, recent, self._exponents_of(subjects), now_ns),
            process_rows(recent, supervised, restarts, now_ns), word, trading_rows(self.config, recent),
            alert_rows(recent, reports, now_ns),
            {"seq": recent.head, "durable_seq": durable, "rate": self._rate(), "waiting_bytes": recorder.get("waiting_bytes")},
            {"free_bytes": recorder.get("free_bytes"), "low_bytes": self.config.disk.low_bytes},
            self.queries.latency.rows(now_ns), now_ns / SECOND_NS,
        )  # fmt: skip

    def _rate(self) -> float:
        """Events a second since the last call."""
        (since, seq), now = self._rate_from, time.monotonic()
        self._rate_from = (now, self.recent.head)
        return round((self.recent.head - seq) / max(now - since, 0.1), 1)

    def _ask_supervisord(self) -> tuple[list[JsonObject], Mapping[str, int], str]:
        """(processes, restarts of the last minute, "" or why there are none)."""
        from tickmesh.nodes.sentinel.supervisord import Away, ShuttingDown, Supervisord

        client = Supervisord(self.config.run_dir, SUPERVISORD_S)
        try:
            return client.processes(), client.restarts(), ""
        except (Away, ShuttingDown) as error:
            return [], {}, str(error)
        finally:
            client.close()
