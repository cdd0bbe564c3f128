"""Which instruments of which venues a person wants recorded: as written on the command line, checked by the venues themselves.

What a venue cannot be asked stays as it was written, in the venue's notation: recording begins without that check.
"""

import asyncio
import contextlib
import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import uvloop

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.settings import Instrument, InstrumentSettings
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.exchange_address import ForeignExchange
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.parsing.dialect import FrameError, Request, Unknown, Unwell
from tickmesh.nodes.venues.parsing.names import nearest, squeezed
from tickmesh.nodes.venues.table import adapter_of
from tickmesh.tools.terminal import Failure, UsageFailure

ASK_S = 6.0  # for all questions to all venues: then it begins without their answers
TRIES = 4  # of one question, each at the next address
OFFERED = ("binance", "binance_usdm", "coinbase", "kraken", "okx")  # kraken_v1 is for captures
PER_VENUE = 400  # names at most: a slip of the pen is not to ask a venue a thousand times

Wanted = Mapping[str, Sequence[str]]  # venue → names


class Unasked(Exception):
    """A venue could not be asked: a sentence with the server and the reason."""


@dataclass
class VenueAnswer:
    """What a venue says of the wanted names. `symbols`: those that are recorded, in its notation and in the order wanted.

    `unknown`: name as written → names near it. `halted`: symbol → the venue's word. `unasked`: why it could not be asked.
    """

    venue: str
    symbols: list[str] = field(default_factory=list)
    unknown: dict[str, list[str]] = field(default_factory=dict)
    halted: dict[str, str] = field(default_factory=dict)
    unasked: str = ""


def paired(venues: Sequence[str], lists: Sequence[str]) -> dict[str, list[str]]:
    """Venue → names, of `--venue` and `--instruments` in turn: the first list is of the first venue. Raises UsageFailure."""
    if len(venues) != len(lists):
        example = "--venue binance --instruments BTCUSDT,ETHUSDT --venue kraken --instruments BTC/USD"
        raise UsageFailure(
            f"{len(venues)} × --venue and {len(lists)} × --instruments: each venue needs its list of instruments, "
            f"as in {example}"
        )
    wanted: dict[str, list[str]] = {}
    for venue, text in zip(venues, lists):
        names = [name.strip() for name in text.split(",") if name.strip()]
        check_venue(venue)
        if not names:
            raise UsageFailure(f"--instruments {text!r} names none; give some of {venue}, separated by commas")
        wanted[venue] = list(dict.fromkeys((*wanted.get(venue, ()), *names)))
        if len(wanted[venue]) > PER_VENUE:
            raise UsageFailure(f"{len(wanted[venue])} instruments of {venue}; {PER_VENUE} at most")
    return wanted


def check_venue(venue: str) -> None:
    """Raises UsageFailure for a venue that cannot be recorded by its name alone."""
    if venue not in OFFERED:
        near = difflib.get_close_matches(venue.lower(), OFFERED, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageFailure(f"there is no venue {venue!r}; there are {', '.join(OFFERED)}{meant}")


def ask(config: Config, wanted: Wanted) -> list[VenueAnswer]:
    """Asks every venue about its names, all venues at once, for ASK_S at most. `config`: of a mesh in mode capture."""

    async def all_venues() -> list[VenueAnswer]:
        return await asyncio.gather(*(_ask_one(config, venue, names) for venue, names in wanted.items()))

    return uvloop.run(all_venues())


def chosen(answers: Sequence[VenueAnswer]) -> list[InstrumentSettings]:
    """The instruments to record, each once. Raises Failure with every name that a venue does not know, and those near it."""
    sentences = []
    for answer in answers:
        for name, near in answer.unknown.items():
            near_names = f"; near it: {', '.join(near)}" if near else ""
            sentences.append(f"{answer.venue} has no instrument {name!r}{near_names}")
    if sentences:
        raise Failure("; ".join(sentences) + ". Nothing was started.")
    return [InstrumentSettings(symbol, answer.venue) for answer in answers for symbol in dict.fromkeys(answer.symbols)]


def names_of(config: Config, venue: str) -> tuple[list[str], str]:
    """(all names that a venue has, "") or ([], why it could not be asked)."""

    async def ask_it() -> tuple[list[str], str]:
        question = _Questions(config, venue)
        try:
            return await question.listing(), ""
        except Unasked as error:
            return [], str(error)
        finally:
            await question.close()

    return uvloop.run(ask_it())


async def _ask_one(config: Config, venue: str, names: Sequence[str]) -> VenueAnswer:
    question = _Questions(config, venue)
    spelled = {name: question.adapter.spell(name) for name in names}
    try:
        return await _check(question, spelled)
    except Unasked as error:
        return VenueAnswer(venue, list(spelled.values()), unasked=str(error))
    finally:
        await question.close()


async def _check(question: "_Questions", spelled: Mapping[str, str]) -> VenueAnswer:
    answer = VenueAnswer(question.venue)
    standings = await question.standings(list(dict.fromkeys(spelled.values())))
    listed: list[str] = []
    if len(standings) < len(set(spelled.values())):
        with contextlib.suppress(Unasked):
            listed = await question.listing()
    by_letters: dict[str, list[str]] = {}
    for name in listed:
        by_letters.setdefault(squeezed(name), []).append(name)
    for name, symbol in spelled.items():
        same = by_letters.get(squeezed(name), [])
        if symbol not in standings and len(same) == 1:
            symbol = same[0]  # other separators than its letters let us think
            standings |= await question.standings([symbol])
        if symbol not in standings:
            answer.unknown[name] = nearest(name, listed)
            continue
        answer.symbols.append(symbol)
        if standings[symbol]:
            answer.halted[symbol] = standings[symbol]
    return answer


class _Questions:
    """Questions to one venue, each at one address after the other until one answers; ASK_S for all of them."""

    def __init__(self, config: Config, venue: str):
        from tickmesh.nodes.net.rest import Rest  # an HTTP client is 0.1 s of CPU, and `mesh up` has most often nobody to ask

        self.venue = venue
        self.adapter: Adapter = adapter_of(venue)
        self._addresses = VenueAddresses(config, self.adapter, 1)
        self._rest = Rest(self.adapter.REST_RULES, ca=self._addresses.ca, waits=self._addresses.waits)
        self._until_s = time.monotonic() + ASK_S

    async def close(self) -> None:
        await self._rest.close()

    async def standings(self, symbols: Sequence[str]) -> dict[str, str]:
        """Symbol → "" if it is traded, else the venue's word, of those that the venue knows. Raises Unasked."""
        out: dict[str, str] = {}
        questions = list(self.adapter.definitions([InstrumentSettings(symbol, self.venue) for symbol in symbols]))
        while questions:
            request, instruments = questions.pop()
            body = await self._ask(request)
            if body is not None:
                out |= self._read(body, [instrument.symbol for instrument in instruments])
            if len(instruments) > 1 and not any(instrument.symbol in out for instrument in instruments):
                # one that is unknown may have cost the answer about the others
                half = len(instruments) // 2
                halves = [one for part in (instruments[:half], instruments[half:]) for one in self.adapter.definitions(part)]
                questions += [one for one in halves if one.request != request]
        return out

    def _read(self, body: bytes, symbols: Sequence[str]) -> dict[str, str]:
        """Symbol → standing of those that the answer has. One whose row cannot be read is there: its feed says why."""
        out: dict[str, str] = {}
        try:
            listed = self.adapter.listed(body)
        except FrameError as error:
            raise Unasked(f"{self.venue}: {error}") from None
        for symbol in symbols:
            if symbol in listed:
                out[symbol] = listed[symbol].standing
                continue
            try:
                self.adapter.decode_definition(body, now_ns(), Instrument(symbol, self.venue))
            except Unknown:
                continue
            except Unwell as error:
                raise Unasked(f"{self.venue}: {error}") from None
            except FrameError:
                pass
            out[symbol] = ""
        return out

    async def listing(self) -> list[str]:
        """All names that the venue has. Raises Unasked."""
        names: list[str] = []
        for request in self.adapter.listings():
            try:
                names += self.adapter.listed(await self._ask(request) or b"")
            except FrameError as error:
                raise Unasked(f"{self.venue}: {error}") from None
        return names

    async def _ask(self, request: Request) -> bytes | None:
        """The answer's body; None where the venue refuses the names in the request. Raises Unasked."""
        from tickmesh.nodes.net.rest import RestError, RestLimited, RestUnreachable

        why = "it does not answer in time"
        try:
            async with asyncio.timeout(max(self._until_s - time.monotonic(), 0.0)):
                for _ in range(TRIES):
                    try:
                        return await self._rest.get(await self._addresses.rest(), request.path, request.query)
                    except ForeignExchange as error:
                        raise Unasked(str(error)) from None
                    except RestLimited as error:
                        raise Unasked(f"{self.venue} asks to wait: {error}") from None
                    except RestUnreachable as error:
                        why = str(error)
                    except RestError as error:
                        if (error.status, error.code) in self.adapter.UNKNOWN:
                            return None
                        why = f"{self.venue} answers {error}"
                    self._addresses.hop_rest()
        except TimeoutError:
            pass
        raise Unasked(why)
