"""A capture through the real reading and serving code, two real receptions and the real arbiter, in one process and without
a socket: what became of every line. Time is what the caller says it is."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.schema import Flag, Kind, Reason
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode
from tickmesh.nodes.exchange.api import api, control
from tickmesh.nodes.exchange.market.instruments import venue_and_symbol
from tickmesh.nodes.exchange.market.survey import Survey
from tickmesh.nodes.exchange.protocol import NotKnownYet, Params, VenueError
from tickmesh.nodes.exchange.server.files import CaptureFiles
from tickmesh.nodes.exchange.server.pace import publish_line
from tickmesh.nodes.exchange.server.running import RunningExchange
from tickmesh.nodes.feed.arrived import Arrived
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.venues import binance

MS = 1_000_000
HOLD_NS = 1000 * MS
RECV_NS = 1_700_000_000 * 10**9
BOUND_HOLDS = 130  # whatever waits, waits no longer (doubts.KEPT_HOLDS)


class Transport:
    """A client's socket that keeps the websocket frames it was sent."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write(self, frame: bytes) -> None:
        """Keeps the text of a frame."""
        assert frame[0] == 0x81, "text"
        size = frame[1]
        self.frames.append(frame[2:] if size < 126 else frame[4:] if size == 126 else frame[10:])

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        raise AssertionError("a client of the replay was cut off")


class Line:
    """One feed's line: a client of the exchange, and the reception that takes its frames."""

    def __init__(self, name: str, running: RunningExchange):
        self.name, self.running, self.number = name, running, 0
        config = running.config
        instruments = [Instrument(one.symbol) for one in config.instruments if one.venue == "binance"]
        self.transport = Transport()
        client = running.add_client(self.transport, "ws", True, "127.0.0.1")
        for message in binance.subscribe(instruments, config.feed):
            control.answer(running.hub, client, message, 1 << 20)
        self.reception = Reception(name, binance, instruments, config.feed)
        self.source, self.events = self.reception.open(1, RECV_NS)
        self.refused: list[bytes] = []  # what it did not understand
        for request, many in binance.definitions(instruments):
            body = self._ask(request.path, request.query)
            assert body is not None
            events, wrong = self.reception.definitions_of([instrument.subject for instrument in many], RECV_NS, body)
            assert not any(wrong.values()), wrong
            self.events += events

    def _ask(self, path: str, query: dict) -> bytes | None:
        """The answer of the real operation; None for one that there is not, or not yet."""
        params = Params({name: str(value) for name, value in query.items()})
        try:
            answer = api.answer(self.running.core.venue, api.find_operation("GET", path), params, "", "", self.running.now_ms())
        except (NotKnownYet, VenueError):
            return None
        return answer.encode() if isinstance(answer, str) else msgspec.json.encode(answer)

    def receive(self, now_ns: int) -> None:
        """Takes what has come on the socket, and fetches the snapshots that its books want."""
        frames, self.transport.frames = self.transport.frames, []
        if frames:
            self._take(self.reception.frames(self.source, now_ns, frames))
        for subject in self.reception.wanted_snapshots():
            request = binance.snapshot(self.reception.instruments[subject], 5000)
            if (body := self._ask(request.path, request.query)) is not None:
                self._take(self.reception.snapshot(subject, now_ns, body))

    def _take(self, heard: Arrived) -> None:
        self.events += heard.events
        self.refused += [raw for _, raw in heard.refused]

    def take(self) -> Iterator[tuple[int, bytearray]]:
        """Gives (number, event) of what it has made since the last call."""
        events, self.events = self.events, []
        for event in events:
            self.number += 1
            yield self.number, event


class Outcome:
    """What became of a capture. `unfit`: why nothing of it is served; `survey`: every line as served or left out.

    `stored`: (kind, symbol) → id → contents of the events in the log; `gaps`: (kind, symbol) → (first id, last id, reason) of
    what is said not to be there; `refused`: bytes that a line did not understand; `words`: why the sequencer refused an event.
    """

    def __init__(self) -> None:
        self.unfit = ""
        self.survey = Survey()
        self.stored: dict[tuple[str, str], dict[int, list[tuple]]] = defaultdict(lambda: defaultdict(list))
        self.eras: Counter = Counter()  # beginnings of ids so far: anew, or back after a contradiction
        self.contents: set[tuple] = set()
        self.gaps: dict[tuple[str, str], list[tuple[int, int, Reason]]] = defaultdict(list)
        self.refused: list[bytes] = []
        self.words: list[str] = []
        self.duplicates = 0

    def log(self, raws: Iterable[bytearray | memoryview]) -> None:
        """Takes events of the log, in order."""
        for raw in raws:
            event = decode(raw)
            key = (Kind(event.kind).name, event.subject.partition(".")[2])
            if event.kind == Kind.gap:
                for row in event.records:
                    of = (Kind(int(row["stream"])).name, key[1])
                    self.gaps[of].append((int(row["first_id"]), int(row["last_id"]), Reason(int(row["reason"]))))
                    self.eras[of] += row["reason"] == Reason.contradiction  # what follows may go back to known ids
            elif event.kind == Kind.refusal:
                refusal = event.map()
                if refusal["node"] == "sequencer":
                    self.words.append(refusal["why"])
                else:
                    self.refused.append(refusal["raw"])
            elif event.kind in ARBITRATED:
                if event.flags & Flag.RESET:
                    self.eras[key] += 1
                if not event.flags & Flag.SNAPSHOT:
                    one = content(event)
                    self.stored[key][event.last_id].append(one)
                    again = (*key, self.eras[key], one)
                    assert again not in self.contents, f"{again} is in the log twice, in one era"
                    self.contents.add(again)


def content(event: Any) -> tuple:
    """The content of a market event, as a line of a capture states it."""
    rows = [row.item() for row in event.records]
    if event.kind == Kind.trade:
        return tuple((ident, price, quantity, side) for ident, price, quantity, _, _, side, *_ in rows)
    if event.kind == Kind.quote:
        return tuple(row[:5] for row in rows)
    levels = [(int(r["side"]), int(r["price_ticks"]), int(r["quantity_lots"])) for r in event.records]
    return (event.first_id, event.last_id, tuple(level for level in levels if level[0]))


def run_capture(folder: Path, data: bytes, pauses_ms: tuple[int, ...] = (0,), batch: int = 16) -> Outcome:
    """Runs a capture through exchange, two receptions and the arbiter; gives what became of it.

    The lines take what is on the socket after each `batch` lines of the capture, line 2 only each other time; before each the
    clock goes on by the next of `pauses_ms`.
    """
    outcome = Outcome()
    path = folder / ("capture.gz" if data[:2] == b"\x1f\x8b" else "capture.dat")
    path.write_bytes(data)
    try:
        outcome.survey = CaptureFiles([path]).read_whole(folder)
    except ConfigError as error:
        outcome.unfit = str(error)
        return outcome
    json.dumps(outcome.survey.summary())
    (folder / "mesh.toml").write_text("")
    markets = map(venue_and_symbol, outcome.survey.symbols)
    instruments = [{"venue": venue, "symbol": symbol} for venue, symbol in markets]
    config = load(folder, {"exchange": {"replay": [str(path)], "speed": 0}, "instruments": instruments})
    running = RunningExchange(SimpleNamespace(config=config, stop=asyncio.Event(), counters={}, name="exchange"))
    try:
        _replay(running, outcome, pauses_ms, batch)
        assert running.replay.position == outcome.survey.lines, "all that was read before has been passed"
        left, surveyed = dict(running.replay.not_served), outcome.survey.not_served
        left.pop("a snapshot out of proportion", None)  # that shows when there is a book
        assert left == surveyed, f"left out {left}, surveyed {surveyed}"
    finally:
        running.close()
    return outcome


def _replay(running: RunningExchange, outcome: Outcome, pauses_ms: tuple[int, ...], batch: int) -> None:
    arbiter = Arbiter(HOLD_NS)
    lines = [Line("feed-1", running), Line("feed-2", running)]
    now = RECV_NS

    def turn(number: int) -> None:
        for line in lines if number % 2 else lines[:1]:
            line.receive(now)
            for count, event in line.take():
                outcome.log(sequence(arbiter, line.name, count, event, now))
        outcome.log(arbiter.due(now))

    number = 0
    for number, line in enumerate(running.lines, 1):
        publish_line(running, line)
        if number % batch == 0:
            now += pauses_ms[number // batch % len(pauses_ms)] * MS
            turn(number // batch)
    turn(1)
    for _ in range(BOUND_HOLDS):
        now += HOLD_NS
        turn(1)
    for line in lines:
        outcome.refused += line.refused
    outcome.duplicates = sum(arbiter.copies.duplicates.values())
    for stream in arbiter.streams.values():
        assert not stream.held, f"{stream.topic} holds {stream.held} for ever"
        assert not stream.doubts, f"{stream.topic} doubts {stream.doubts.runs} for ever, after {stream.last}"


def sequence(arbiter: Arbiter, line: str, number: int, event: bytearray, now: int) -> list[bytearray]:
    """Does what the sequencer does with an event of a feed; gives what it logs."""
    head = decode(event)
    if head.kind in ARBITRATED:
        return arbiter.offer(head.kind, head.subject, line, number, event, now)
    if head.kind == Kind.instrument and head.last_id:
        arbiter.connected(line, number, head.subject, head.k)
    return [event]
