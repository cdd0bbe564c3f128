"""What a line asks a venue over REST: definitions, snapshots of books, the time. Within its budget, one at a time of each.

A reconnect of many instruments must not spend the venue's whole budget at once, and a venue that refuses is asked again
after a wait that grows. A line that begins has its stream first: the HTTP client that questions need takes CPU to load.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tickmesh.bus.clock import now_ns
from tickmesh.bus.settings import FeedSettings, Instrument, InstrumentSettings
from tickmesh.nodes.feed.arrived import Arrived
from tickmesh.nodes.feed.connection import NextTry
from tickmesh.nodes.feed.reachability import REST, Reachability, ReachNews
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.standing import UNKNOWN, Standings
from tickmesh.nodes.net import venue_clock
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.rest import Rest, RestError, RestLimited, RestUnreachable
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.dialect import FrameError, Question, Request, Unknown, Unwell
from tickmesh.nodes.venues.parsing.listing import Listed, misfit

STREAM_FIRST_S = 2.0  # the first question waits for the stream to flow, but no longer than this: REST may live without it
OFFSET_MS_MAX = 500.0  # of the venue's clock against ours, beyond which a person should know
OFFSET_AGAIN = 0.8  # of that: from there on it is well again
EXPONENTS_ACTION = (
    "what does not fit is refused: state price_exponent and quantity_exponent under this instrument in mesh.toml, "
    "then mesh reload"
)


class LineRequests:
    """Asks for what the line's instruments and books want, for ever, and hands each answer on.

    `take_answer(arrived)` is called for every answer, `raise_alert(level, what, target, why, action)` for what a person should
    know, `subscribe_known(subjects)` when the venue has come to know instruments, or their exponents are decided.
    `take_up(listed)` decides exponents of those of `wanted` (subject → instrument) that the reception has not; it gives why
    where there are none that would do. `counters`: those of the process; here snapshots, rest_failures, used_weight,
    clock_offset_ms, clock_rtt_ms, not_trading.
    """

    def __init__(
        self,
        adapter: Adapter,
        reception: Reception,
        wanted: Mapping[str, InstrumentSettings],
        addresses: VenueAddresses,
        settings: FeedSettings,
        budget: RequestBudget,
        counters: dict[str, Any],
        take_answer: Callable[[Arrived], None],
        raise_alert: Callable[[str, str, str, str, str], None],
        subscribe_known: Callable[[Collection[str]], None],
        reachability: Reachability,
        take_up: Callable[[Mapping[str, Listed]], Mapping[str, DecimalError]],
        local_addr: str = "",
    ):
        self.adapter = adapter
        self.reception = reception
        self.wanted = wanted
        self.addresses = addresses
        self.settings = settings
        self.count = counters
        self.take_answer = take_answer
        self.raise_alert = raise_alert
        self.subscribe_known = subscribe_known
        self.reachability = reachability
        self.take_up = take_up
        self.rest = Rest(adapter.REST_RULES, local_addr=local_addr, ca=addresses.ca, waits=addresses.waits)
        self.budget = budget
        self.snapshots = {subject: NextTry(settings.backoff_s) for subject in wanted}
        self.standings = Standings()
        # Subject → when to ask about it (monotonic seconds): at once, where nothing can be read before its exponents are known
        self._due: dict[str, float] = {subject: 0.0 for subject in wanted if subject not in reception.instruments}
        self._backoffs: dict[str, Backoff] = {}  # subject → of those whose definition is asked for again
        self._refused: dict[str, str] = {}  # subject → why its definition could not be understood: published once
        self._due_changed = asyncio.Event()
        self.books_wanted = asyncio.Event()  # a book may want a snapshot
        self.stream_flows = asyncio.Event()  # market data has come, in this process
        self._offset_alert = False

    async def keep_definitions(self) -> None:
        """For ever: asks for the definitions that are due: at the start of a source, at a connection, and now and then."""
        await self._stream_first()
        while True:
            wait_s = max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._due_changed.wait()
            self._due_changed.clear()
            asked_s = time.monotonic()
            subjects = [subject for subject, due_s in self._due.items() if due_s <= asked_s]
            questions = list(self.adapter.definitions([self.wanted[subject] for subject in subjects]))
            while questions:
                questions += await self._define(questions.pop(0), asked_s)

    async def _stream_first(self) -> None:
        """Waits until the stream flows, for STREAM_FIRST_S at most; not where no instrument is known that it could bring."""
        if self.reception.instruments:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_FIRST_S):
                    await self.stream_flows.wait()

    def ask_about_all(self) -> None:
        """Marks the definitions of all instruments as due now: a connection is new, and they may have changed meanwhile."""
        self._due = dict.fromkeys(self.wanted, 0.0)
        self._backoffs.clear()
        self._due_changed.set()

    def ask_about(self, subject: str) -> None:
        """Marks an instrument's definition as due now: something contradicts what is known of it."""
        self._due[subject] = 0.0
        self._due_changed.set()

    async def _define(self, question: Question, asked_s: float) -> list[Question]:
        """Asks one question and takes what its answer says of each instrument; gives the questions to ask instead, if any."""
        answer = await self._ask_whole(question.request)
        subjects = [instrument.subject for instrument in question.instruments]
        outcome: dict[str, FrameError | None]
        if isinstance(answer, bytes):
            outcome = self._take_up_listed(subjects, answer)
            known = [subject for subject in subjects if subject in self.reception.instruments]
            if self.count["connections"]:  # before the first one nothing is published; it asks about all
                events, errors = self.reception.definitions_of(known, now_ns(), answer)
                outcome |= errors
                self.take_answer(Arrived(events))
        elif answer is not None and (answer.status, answer.code) in self.adapter.UNKNOWN:
            outcome = dict.fromkeys(subjects, Unknown("the venue refuses its name"))
        else:
            outcome = dict.fromkeys(subjects, Unwell("no answer"))
        if all(isinstance(error, Unknown) for error in outcome.values()) and (instead := self._apart(question)):
            return instead  # one that is unknown may have cost the answer about the others
        for subject, error in outcome.items():
            self._take_definition(subject, error, answer, asked_s)
        return []

    def _apart(self, question: Question) -> list[Question]:
        """The same instruments in halves, or each alone where a half is asked for as the whole is; [] where it cannot be."""
        many = question.instruments
        half = len(many) // 2
        ways: tuple[tuple[tuple[InstrumentSettings, ...], ...], ...] = (
            (many[:half], many[half:]),
            tuple((one,) for one in many),
        )
        for parts in ways if half else ():
            questions = [one for part in parts for one in self.adapter.definitions(part)]
            if all(one.request != question.request for one in questions):
                return questions
        return []

    def _take_definition(
        self, subject: str, error: FrameError | None, answer: bytes | RestError | None, asked_s: float
    ) -> None:
        """Takes what the venue answered about one instrument (`error`: why that is no definition), and when to ask again."""
        word, why = "", ""
        if error is None:
            assert isinstance(answer, bytes)
            known = self.count["connections"]  # before the first one nothing was decoded; it asks about all anyway
            word = self.adapter.standing(answer, self.reception.instruments[subject]) if known else ""
        if error is None or isinstance(error, Unknown):
            self._take_standing(subject, word if error is None else UNKNOWN, str(error or ""))
        elif isinstance(answer, bytes):
            why = self._why_not_held(subject, error, answer)
            if self._refused.get(subject) != str(error):
                self._refused[subject] = str(error)
                self.take_answer(Arrived([], [(str(error), answer)]))
                if why:
                    self.raise_alert("critical", "exponents", subject, why, EXPONENTS_ACTION)
        if error is None and not word:
            self._backoffs.pop(subject, None)
            self._refused.pop(subject, None)
            self._due[subject] = asked_s + self.settings.define_s
            return
        settled = error is None or isinstance(error, Unknown) or bool(why)
        bounds_s = self.settings.standing_s if settled else self.settings.backoff_s
        backoff = self._backoffs.get(subject)
        if backoff is None or backoff.bounds_s != bounds_s:
            backoff = self._backoffs[subject] = Backoff(bounds_s)
        self._due[subject] = time.monotonic() + backoff.wait_s()

    def _take_up_listed(self, subjects: Sequence[str], answer: bytes) -> dict[str, FrameError | None]:
        """Takes up the instruments without exponents that an answer lists; gives subject → None, or why it still has none."""
        outcome: dict[str, FrameError | None] = dict.fromkeys(subjects)
        missing = [self.wanted[subject] for subject in subjects if subject not in self.reception.instruments]
        found: dict[str, Listed] = {}
        try:
            listed = self.adapter.listed(answer) if missing else {}
        except FrameError as error:
            return outcome | dict.fromkeys((one.subject for one in missing), error)
        for one in missing:
            if one.symbol in listed:
                found[one.subject] = listed[one.symbol]
            else:
                outcome[one.subject] = self._why_not_listed(one, answer)
        errors = self.take_up(found) if found else {}
        outcome |= {subject: FrameError(str(error)) for subject, error in errors.items()}
        # One that was unknown is subscribed when its standing is taken.
        self.subscribe_known(found.keys() - errors.keys() - self.standings.unknown)
        return outcome

    def _why_not_listed(self, one: InstrumentSettings, answer: bytes) -> FrameError:
        try:
            self.adapter.decode_definition(answer, now_ns(), Instrument(one.symbol, one.venue))
        except FrameError as error:
            return error
        return FrameError(f"no tick and lot size of {one.subject} can be read")

    def _why_not_held(self, subject: str, error: FrameError, answer: bytes) -> str:
        """Why no exponents, or not those that were decided, hold what the venue lists; "" where that is not what is wrong."""
        if subject not in self.reception.instruments:
            return "" if isinstance(error, Unwell) else str(error)
        try:
            listed = self.adapter.listed(answer).get(self.wanted[subject].symbol)
        except FrameError:
            return ""
        return "" if listed is None else misfit(self.reception.instruments[subject], listed)

    def _take_standing(self, subject: str, word: str, why: str) -> None:
        """Takes the venue's word on an instrument ("": it is traded); raises an alert of what is news."""
        if not self.settings.check_instruments:
            return
        was_unknown = subject in self.standings.unknown
        news = self.standings.take(subject, word, why)
        self.count["not_trading"] = dict(self.standings.words)
        if news is not None:
            self.raise_alert(news.level, news.what, subject, news.why, news.action)
            self.books_wanted.set()
            if was_unknown:
                self.subscribe_known((subject,))

    async def keep_books(self) -> None:
        """For ever: asks for the snapshots that books want, as soon as one wants one."""
        while True:
            wanting = [s for s in self.reception.wanted_snapshots() if s not in self.standings.unknown]
            if not wanting:
                self.books_wanted.clear()
                await self.books_wanted.wait()
                continue
            subject = min(wanting, key=lambda subject: self.snapshots[subject].not_before_s)
            wait_s = self.snapshots[subject].not_before_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, 0.1))  # meanwhile another one may want its own
                continue
            await self._fetch(subject)

    async def _fetch(self, subject: str) -> None:
        next_try = self.snapshots[subject]
        request = self.adapter.snapshot(self.reception.instruments[subject], self.settings.depth_limit)
        body = await self.ask(request) if request is not None else None
        next_try.not_before_s = time.monotonic() + next_try.backoff.wait_s()
        if body is None:
            return
        arrived = self.reception.snapshot(subject, now_ns(), body)
        if not arrived.refused:
            self.count["snapshots"] += 1
        if subject not in self.reception.wanted_snapshots():
            next_try.backoff.reset()
        self.take_answer(arrived)

    async def keep_time(self) -> None:
        """For ever: measures the venue's clock against ours every `feed.clock_s`."""
        await self._stream_first()
        while True:
            sample = await venue_clock.measure(self._venue_ns, now_ns, lambda: self.budget.spend(self.adapter.clock().weight))
            if sample is not None:
                self._judge(sample)
            await asyncio.sleep(self.settings.clock_s)

    async def _venue_ns(self) -> int | None:
        body = await self._get(self.adapter.clock())
        try:
            return None if body is None else self.adapter.decode_clock(body)
        except FrameError as error:
            self.take_answer(Arrived([], [(str(error), body or b"")]))
            return None

    def _judge(self, sample: venue_clock.Sample) -> None:
        step_ns = self.adapter.CLOCK_STEP_NS  # the venue rounds its answer down to these
        offset_ms, round_trip_ms = (sample.offset_ns + step_ns // 2) / 1e6, sample.round_trip_ns / 1e6
        self.count["clock_offset_ms"], self.count["clock_rtt_ms"] = round(offset_ms, 3), round(round_trip_ms, 3)
        limit = OFFSET_MS_MAX * (OFFSET_AGAIN if self._offset_alert else 1) + step_ns / 2e6
        if (abs(offset_ms) > limit) != self._offset_alert:
            self._offset_alert = not self._offset_alert
            self.raise_alert(
                "warning" if self._offset_alert else "info", "clock_offset", self.adapter.VENUE,
                f"the venue's clock is {offset_ms:+.1f} ms from ours, to ±{round_trip_ms / 2 + step_ns / 2e6:.1f} ms; "
                f"{OFFSET_MS_MAX:.0f} ms are usual",
                "none: times of the venue are kept as they are",
            )  # fmt: skip

    async def ask(self, request: Request) -> bytes | None:
        """Asks once the budget allows; gives the answer's body, or None (and counts it) where the venue gave none."""
        answer = await self._ask_whole(request)
        return answer if isinstance(answer, bytes) else None

    async def _ask_whole(self, request: Request) -> bytes | RestError | None:
        """The body, the venue's refusal, or None where it gave neither."""
        await self.budget.spend(request.weight)
        return await self._answer(request)

    async def _get(self, request: Request) -> bytes | None:
        answer = await self._answer(request)
        return answer if isinstance(answer, bytes) else None

    async def _answer(self, request: Request) -> bytes | RestError | None:
        base, begun_s = await self.addresses.rest(), time.monotonic()
        refusal: RestError | None = None
        try:
            body = await self.rest.get(base, request.path, request.query)
            self.budget.observe_used(self.rest.used_weight)
            self._alert_of(self.reachability.reached(REST, time.monotonic()))
            return body
        except RestUnreachable as error:
            self.count["last_error"] = str(error)[:200]
            self.addresses.hop_rest()
            self._alert_of(self.reachability.failed(REST, str(error), begun_s, time.monotonic()))
        except RestError as error:
            refusal = error
            self.count["last_error"] = str(error)[:200]
            if isinstance(error, RestLimited):
                await asyncio.sleep(error.wait_s)
            elif error.status >= 500 or error.status == 403:  # 403: a firewall before the venue
                self.addresses.hop_rest()
        finally:
            self.count["used_weight"] = self.rest.used_weight
            self.count["limited"] = self.rest.limited
            self.count["budget_waited_s"] = round(self.budget.waited_s, 3)
        self.count["rest_failures"] += 1
        return refusal

    def _alert_of(self, news: ReachNews | None) -> None:
        if news is not None:
            self.raise_alert(*news)
