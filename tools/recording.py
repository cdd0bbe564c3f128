"""What `mesh up` sees of real venues: of each instrument its first events, its rates and its sizes, or why nothing comes.

A venue is judged by the log alone: its lines' alerts say that it is not reached, or that it does not know or trade an
instrument. One that is traded and silent is quiet, which is no failure.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tickmesh.bus.config import Config
from tickmesh.bus.log import Tail
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.wire import Event, events
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.sentinel.supervisord import Supervisord
from tickmesh.nodes.venues.parsing.decimals import text
from tickmesh.tools.own_events import OwnEvents
from tickmesh.tools.running import check_still_there
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, err, out

MARKET = (Kind.trade, Kind.quote, Kind.depth)
QUIET_S = 15.0  # after the venue's first event: an instrument that has not brought everything by then is quiet
LOOK_S = 0.1
RATES_S = 1.0  # rates are what comes in so long, once everything is there
AWAY_S = 10.0  # supervisord answers within a second of its start
UNREACHED_S = 2.0  # after the first line's alert the others may have their say
CRASHES = "crash loop"  # a sentinel's alert of a process that dies again and again
REFUSED = ("unknown_instrument", "halted_instrument")
COLUMNS = ("instrument", "complete after", "trades/s", "quotes/s", "depth/s", "bid", "ask", "spread", "tick", "lot")
ROWS_SHOWN = 40


@dataclass
class InstrumentSeen:
    """What has come of one instrument: seconds until the first event of each kind, counts, the newest quote, its sizes."""

    subject: str
    first_s: dict[Kind, float] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    quote: Any = None  # a record
    definition: Any = None  # a record
    refused: str = ""  # the venue does not know it, or does not trade it

    @property
    def complete(self) -> bool:
        """Whether everything that it can bring has come."""
        return self.definition is not None and all(kind in self.first_s for kind in MARKET)

    def sizes(self) -> dict[str, str | None]:
        """Bid, ask, spread, tick and lot size as decimals; None where they are not known yet."""
        words: dict[str, str | None] = dict.fromkeys(("bid", "ask", "spread", "tick_size", "lot_size"))
        if self.definition is None:
            return words
        price, quantity = int(self.definition["price_exponent"]), int(self.definition["quantity_exponent"])
        words["tick_size"] = text(int(self.definition["tick_size"]), price)
        words["lot_size"] = text(int(self.definition["lot_size"]), quantity)
        if self.quote is not None:
            bid, ask = int(self.quote["bid_ticks"]), int(self.quote["ask_ticks"])
            words |= {"bid": text(bid, price), "ask": text(ask, price), "spread": text(ask - bid, price)}
        return words


@dataclass
class VenueSeen:
    """What is known of one venue. `unreached`: line → why it does not reach the venue; `flowing_s`: of its first event."""

    venue: str
    lines: int
    flowing_s: float | None = None
    unreached: dict[str, str] = field(default_factory=dict)
    unreached_s: float = 0.0  # of the first such alert

    def take_failure(self, line: str, why: str, now_s: float) -> None:
        """Takes the alert that a line does not reach the venue, or does not live long enough to."""
        self.unreached_s = self.unreached_s or now_s
        self.unreached[line] = why


class Recording:
    """Judges by events of the log whether every instrument of a configuration is recorded. Times: seconds since the start."""

    def __init__(self, config: Config):
        self._config = config
        self.instruments = {one.subject: InstrumentSeen(one.subject) for one in config.instruments}
        venues = dict.fromkeys(one.venue for one in config.instruments)
        self.venues = {venue: VenueSeen(venue, config.feed.lines) for venue in venues}
        self._events = 0

    def take(self, found: Iterable[Event], now_s: float) -> None:
        """Takes new events of the log."""
        for event in found:
            self._events += 1
            if event.kind in MARKET or event.kind == Kind.instrument:
                self._take_market(event, now_s)
            elif event.kind == Kind.alert:
                self._take_alert(event, now_s)

    def _take_market(self, event: Event, now_s: float) -> None:
        seen = self.instruments.get(event.subject)
        if seen is None:
            return
        if event.kind == Kind.instrument:
            if event.count:
                seen.definition = event.records[-1]
            return
        venue = self.venues[event.subject.partition(".")[0]]
        if venue.flowing_s is None:
            venue.flowing_s = now_s
        venue.unreached.pop(event.producer, None)
        seen.first_s.setdefault(Kind(event.kind), now_s)
        seen.counts[event.kind] += 1
        if event.kind == Kind.quote and event.count:
            seen.quote = event.records[-1]

    def _take_alert(self, event: Event, now_s: float) -> None:
        alert = event.map()
        what, target = alert.get("what"), alert.get("target", "")
        venue = line_of(self._config, target.removeprefix("feed-"))[0] if target.startswith("feed-") else ""
        if target in self.venues and what == "unreachable":
            self.venues[target].take_failure(event.subject, alert["why"], now_s)
        elif venue in self.venues and what == CRASHES:
            self.venues[venue].take_failure(target, f"{target}: {alert['why']}", now_s)
        elif target in self.venues and what == "reachable":
            self.venues[target].unreached.pop(event.subject, None)
        elif target in self.instruments and what in REFUSED:
            self.instruments[target].refused = alert["why"]
        elif target in self.instruments and what == "instrument_back":
            self.instruments[target].refused = ""

    def unreached(self, venue: VenueSeen, now_s: float) -> str:
        """Why a venue is not reached by any line; "" if one reaches it, or it is not known yet."""
        if venue.flowing_s is not None or not venue.unreached:
            return ""
        if len(venue.unreached) < venue.lines and now_s - venue.unreached_s < UNREACHED_S:
            return ""
        return next(iter(venue.unreached.values()))

    def missing(self, now_s: float) -> list[str]:
        """What is still to be waited for, as words; [] when every venue and every instrument is decided."""
        out = []
        for venue in self.venues.values():
            if self.unreached(venue, now_s):
                continue
            if venue.flowing_s is None:
                mine = [seen for subject, seen in self.instruments.items() if subject.startswith(f"{venue.venue}.")]
                if not all(seen.refused for seen in mine):
                    out.append(venue.venue)
                continue
            if now_s - venue.flowing_s < QUIET_S:
                out += [
                    subject for subject, seen in self.instruments.items()
                    if subject.startswith(f"{venue.venue}.") and not (seen.complete or seen.refused)
                ]  # fmt: skip
        return out

    @property
    def has_events(self) -> bool:
        """Whether anything has come into the log, of whatever kind."""
        return self._events > 0

    def why_not(self, now_s: float) -> dict[str, str]:
        """Venue or instrument → why it is not recorded, of those that are not."""
        out = {}
        for venue in self.venues.values():
            if why := self.unreached(venue, now_s):
                out[venue.venue] = why
            elif venue.flowing_s is None:
                out[venue.venue] = "nothing has come of it yet"
        for subject, seen in self.instruments.items():
            if seen.refused:
                out[subject] = seen.refused
            elif subject.partition(".")[0] not in out and not seen.first_s and seen.definition is None:
                out[subject] = "nothing has come of it, and the venue has not answered yet whether it trades it"
        return out

    def rows(self, seconds: float, before: dict[str, Counter[int]]) -> list[JsonObject]:
        """One object an instrument, for `--json`; rates are of the last `seconds`, since the counts `before`."""
        out = []
        for subject, seen in self.instruments.items():
            counts = seen.counts - before[subject]
            quiet = [kind.name for kind in MARKET if kind not in seen.first_s]
            out.append({
                "instrument": subject,
                "first_s": {kind.name: round(seen.first_s[kind], 1) for kind in MARKET if kind in seen.first_s},
                "per_s": {kind.name: round(counts[kind] / seconds, 1) for kind in MARKET},
                **seen.sizes(),
                "quiet": [] if seen.refused else quiet,
            })  # fmt: skip
        return out

    def counts(self) -> dict[str, Counter[int]]:
        """The counts so far, by subject."""
        return {subject: Counter(seen.counts) for subject, seen in self.instruments.items()}


def watch(
    config: Config, own: OwnEvents, after: int, started: float, timeout_s: float, give_up: Callable[[list[str]], Failure]
) -> JsonObject:
    """Reads the log beyond `after` until it is clear of every instrument whether it is recorded; gives what `--json` prints.

    `own`: whose events count; `started`: monotonic seconds.
    `give_up(missing)`: what to raise where a mesh writes nothing at all in time, or has ended.
    """
    recording = Recording(config)
    client = Supervisord(config.root / "run")
    status = err.status("starting") if err.is_terminal else contextlib.nullcontext()
    with status as line, contextlib.closing(Tail(config.log_dir, after)) as tail, contextlib.closing(client):
        missing, away_s = [""], AWAY_S
        while missing:
            now_s = time.monotonic() - started
            _read(tail, recording, own, now_s)
            missing = recording.missing(now_s)
            if now_s > timeout_s:
                if not recording.has_events:
                    raise give_up(missing)
                break
            if now_s > away_s:
                away_s = now_s + 1
                check_still_there(config.root, client)
            if line is not None:
                line.update(f"waiting for {', '.join(missing)}")
            time.sleep(LOOK_S if missing else 0)
        before, begun = recording.counts(), time.monotonic()
        if any(venue.flowing_s is not None for venue in recording.venues.values()):
            time.sleep(RATES_S)
        now_s = time.monotonic() - started
        _read(tail, recording, own, now_s)
    return {
        "running": True,
        "already": False,
        "mode": config.mode,
        "source": config.source,
        "seconds": round(now_s, 1),
        "seen": recording.rows(time.monotonic() - begun, before),
        "not_recording": recording.why_not(now_s),
    }


def _read(tail: Tail, recording: Recording, own: OwnEvents, now_s: float) -> None:
    try:
        while batches := tail.read():
            for batch in batches:
                recording.take(own.of(events(batch.body)), now_s)
    except LogError as error:
        raise Failure(str(error)) from None


def show(result: JsonObject) -> None:
    """Prints for a person what is recorded, and what is not and why."""
    seen = [row for row in result["seen"] if row["first_s"]]
    if seen:
        table = TerminalTable(*COLUMNS, least=("tick", "lot", "spread"), box=None, header_style="bold")
        for row in seen[:ROWS_SHOWN]:
            first, rate = row["first_s"], row["per_s"]
            words = ["quiet" if row["quiet"] else f"{max(first.values())} s", *(f"{rate[kind.name]:g}" for kind in MARKET)]
            words += [row[name] or "-" for name in ("bid", "ask", "spread", "tick_size", "lot_size")]
            table.add_row(row["instrument"], *words)
        out.print(f"Recording after {result['seconds']} s, source {result['source']}:")
        out.print(table)
        if len(seen) > ROWS_SHOWN:
            out.print(f"and {len(seen) - ROWS_SHOWN} more (--json has all)")
    for row in result["seen"]:
        venue, _, _ = row["instrument"].partition(".")
        if row["quiet"] and not {row["instrument"], venue} & set(result["not_recording"]):
            out.print(
                f"{row['instrument']} is quiet: no {', no '.join(row['quiet'])} yet; it is traded, and recorded as it comes."
            )
    if not result["not_recording"]:
        return
    out.print(f"NOT recording {', '.join(result['not_recording'])}:", style="bold")
    for name, why in result["not_recording"].items():
        out.print(f"  {name}: {why}", markup=False)
    out.print("The mesh stays up and tries again, calmly, every 5 to 10 s: recording begins by itself. `mesh down` ends it.")
