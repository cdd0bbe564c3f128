"""Answers what the API asks: finds the instruments and topics that are meant, and reads their events, books, bars, coverage."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.settings import ORDER_VENUES
from tickmesh.bus.topic_names import UnknownTopic, choose, topics_of_instruments, topics_of_processes
from tickmesh.bus.topics import account_of
from tickmesh.nodes.gateway import figures, market_rows
from tickmesh.nodes.gateway.asking import subject_parameter, time_given
from tickmesh.nodes.gateway.core_share import CoreShare
from tickmesh.nodes.gateway.encoding import ARROW, JSON, MSGPACK, EncodedAnswer, encoded_events
from tickmesh.nodes.gateway.hop_latency import HopLatency
from tickmesh.nodes.gateway.named_processes import NamedProcesses
from tickmesh.nodes.gateway.paced_threads import PacedThreads
from tickmesh.nodes.gateway.problems import RequestProblem
from tickmesh.nodes.gateway.reading import EventReading, known_subjects
from tickmesh.nodes.gateway.recent_events import EventPage, RecentEvents, WantedEvents
from tickmesh.storage.query.names import resolve
from tickmesh.storage.query.times import ReadError, span_ns

if TYPE_CHECKING:
    from tickmesh.storage.books.newest import NewestBook

JsonObject = dict[str, Any]
ENCODED_AT_ONCE = 20_000  # bytes of events that are encoded at once; what is more, in a thread
COVERED = (Kind.trade, Kind.quote, Kind.depth)
BOOK_KINDS = frozenset({Kind.depth, Kind.gap})
BOOK_EVENTS = 5000  # that a book is moved on by at once
BOOKS_MAX = 100


class MeshQueries:
    """What may be asked of a mesh. `latency`: of its hops; `counted`: gives the gateway's own counters for `status`."""

    def __init__(self, config: Config, recent: RecentEvents, latency: HopLatency, counted: Callable[[], JsonObject]):
        self.config, self.recent, self.latency, self.counted = config, recent, latency, counted
        self.named = NamedProcesses(config)
        self.threads = PacedThreads(CoreShare(config.gateway.core_share))
        self.reading = EventReading(config, recent, self.threads)
        self.now_ns = now_ns
        self._one_book = asyncio.Lock()  # at a time: what is shown in a thread is not moved on meanwhile
        self._books: dict[str, NewestBook] = {}  # that were asked for; the one that has not been for longest goes first

    def instruments(self) -> list[str]:
        """The `venue.symbol` of every instrument of mesh.toml and archive."""
        return known_subjects(self.config)

    def processes(self) -> list[str]:
        """The names of the processes that have published that they are alive, sorted."""
        return sorted(self.recent.newest_of(Kind.health))

    def forms(self, kind: Kind) -> tuple[str, ...]:
        """The media types that events of a kind are given as: maps fit into no table."""
        return (JSON, MSGPACK) if DTYPES[kind].names is None else (JSON, MSGPACK, ARROW)

    def of_kind(self, kind: Kind, names: list[str], start: str | None, end: str | None) -> WantedEvents:
        """What is wanted of a kind: of the subjects that `names` mean, all without one. Raises RequestProblem."""
        start_ns, end_ns = _span(start, end)
        if not names:
            return WantedEvents(frozenset({kind}), lambda topic: True, start_ns or 0, end_ns)
        what = subject_parameter(kind)
        known = self.instruments()
        if what == "process":
            known = list(dict.fromkeys([*self.processes(), *sorted(self.recent.subjects(kind))]))
        elif what == "account":
            known = sorted({account_of(venue) for venue in ORDER_VENUES} | self.recent.subjects(kind))
        topics = {f"{kind.name}.{subject}" for subject in self._resolve(known, names, what)}
        return WantedEvents(frozenset({kind}), topics.__contains__, start_ns or 0, end_ns)

    def of_topics(self, topics: list[str], start: str | None = None, end: str | None = None) -> WantedEvents:
        """What is wanted of topics as `tap` takes them; all without one. Raises RequestProblem."""
        start_ns, end_ns = _span(start, end)
        known = [*topics_of_instruments(self.instruments()), *topics_of_processes(self.processes())]
        try:
            chosen, kinds = choose(topics, known, any_subject=False)
        except UnknownTopic as error:
            raise RequestProblem(404, str(error)) from None
        given = frozenset(kinds) - {Kind.raw}
        if not given:
            raise RequestProblem(404, "raw frames are not given here: `mesh rebuild` reads them from the archive")
        return WantedEvents(given, chosen, start_ns or 0, end_ns)

    async def page(self, wanted: WantedEvents, after: int | None, limit: int, started: bool) -> EventPage:
        """A page of events: the first after `after`, or from the wanted start (`started`), else the newest."""
        head = self.recent.head
        if after is not None and after > head:
            raise RequestProblem(422, f"after = {after} is beyond the newest seq; allowed: 0 to {head}")
        if after is None and not started:
            return await self.reading.newest(wanted, limit)
        if after is None:
            after = min(await self.reading.seq_before(wanted.start_ns), head)
        return await self.reading.after(wanted, after, limit)

    async def encode(self, kind: Kind, page: EventPage, more: JsonObject, media_type: str) -> EncodedAnswer:
        """Encodes a page; a large one in a thread, so that nobody waits for it. Raises RequestProblem where too many wait."""
        if sum(event.size for event in page.events) <= ENCODED_AT_ONCE and media_type != ARROW:
            return encoded_events(self.config, kind, page.events, more, media_type)
        return await self.threads.call(encoded_events, self.config, kind, page.events, more, media_type)

    async def book(self, instrument: str, at: str | None, levels: int) -> JsonObject:
        """An instrument's book at a time, or now: that one is kept, and moved on when it is asked for again."""
        subject = self._one(instrument)
        if at is None:
            async with self._one_book:
                book = await self._newest_book(subject)
                shown: JsonObject = await self._read(market_rows.shown_book, book, levels)
            return shown
        past: JsonObject = await self._read(market_rows.read_book_at, subject, time_given(at), levels)
        return past

    async def newest_levels(self, subject: str, levels: int, exponents: tuple[int, int]) -> JsonObject:
        """The best levels of an instrument's book now, with the exponents that are in force: no file is read for them."""
        async with self._one_book:
            book = await self._newest_book(subject)
            return market_rows.plain_book(book, book.sides(levels), exponents)

    async def _newest_book(self, subject: str) -> "NewestBook":
        book = self._books.pop(subject, None)
        if book is None:
            book = await self._read(market_rows.read_newest_book, subject)
        wanted = WantedEvents(BOOK_KINDS, {f"{kind.name}.{subject}" for kind in BOOK_KINDS}.__contains__)
        while True:
            page = await self.reading.after(wanted, book.seen, BOOK_EVENTS)
            for event in page.events:
                book.take(event)
            book.seen = max(book.seen, page.seq)
            if not page.more:
                break
        self._books[subject] = book
        if len(self._books) > BOOKS_MAX:
            del self._books[next(iter(self._books))]
        return book

    async def bars(self, instrument: str, every: str, start: str | None, end: str | None) -> JsonObject:
        """An instrument's bars. Raises RequestProblem."""
        bars: JsonObject = await self._read(
            market_rows.read_bars, self._one(instrument), every, time_given(start), time_given(end)
        )
        return bars

    async def coverage(
        self, names: list[str], kinds: list[str], start: str | None, end: str | None, limit: int
    ) -> list[JsonObject]:
        """What is known of stored intervals, at most `limit`. Raises RequestProblem."""
        for name in kinds:
            if name not in (kind.name for kind in COVERED):
                raise RequestProblem(422, f"kind = {name[:60]!r}: coverage is of {', '.join(kind.name for kind in COVERED)}")
        wanted = [kind for kind in COVERED if kind.name in kinds] or list(COVERED)
        subjects = self._resolve(self.instruments(), names or None, "instrument")
        found: list[JsonObject] = await self._read(
            market_rows.read_coverage, subjects, wanted, time_given(start), time_given(end), limit
        )
        return found[:limit]

    async def _read(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self.reading.in_thread(lambda: call(self.config, *arguments))
        except ReadError as error:
            raise RequestProblem(422, str(error)) from None

    def _one(self, instrument: str) -> str:
        found = self._resolve(self.instruments(), instrument, "instrument")
        if len(found) != 1:
            raise RequestProblem(422, f"{instrument} are {len(found)} instruments; ask for one: {', '.join(found[:8])}")
        return found[0]

    def _resolve(self, known: list[str], names: list[str] | str | None, what: str) -> list[str]:
        try:
            return resolve(known, names, "this mesh", what)
        except ReadError as error:
            raise RequestProblem(404, str(error)) from None

    def log_id(self) -> str:
        """The log's identity: another one, and seq may have gone back (docs/power-cuts.md)."""
        return f"{LogReader(self.config.log_dir).log_id:016x}"

    def status(self) -> JsonObject:
        """The mesh at a glance: what `mesh status` finds out beside, it asks supervisord and the machine for."""
        durable = LogReader(self.config.log_dir).durable
        return {
            "mode": self.config.mode, "source": self.config.source,
            "log": {"log_id": self.log_id(), "last_seq": self.recent.head, "durable_seq": durable},
            "topics": figures.topics(self.recent, self.now_ns()), "gateway": self.counted(),
        }  # fmt: skip


def _span(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    try:
        return span_ns(time_given(start), time_given(end))
    except ReadError as error:
        raise RequestProblem(422, str(error)) from None
