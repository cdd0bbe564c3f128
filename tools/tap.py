"""`tap`: topics on the terminal, live or from what was recorded. It hears what every node hears; late, it reads the log."""

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn, TypeVar

from tickmesh.bus.clock import follow as follow_clock
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config, load
from tickmesh.bus.segments import LogError
from tickmesh.bus.wire import Event
from tickmesh.storage.query.event_dict import as_dict
from tickmesh.tools import terminal, topics
from tickmesh.tools.event_streams import SECOND, is_running, span_of, wanted_events
from tickmesh.tools.event_text import event_line, time_text

ABOUT = """Show events of these topics as they come; of all without one. What was recorded: --from, --until.

A TOPIC is kind.subject, or its beginning; a kind, an instrument or a process alone; or a pattern:

  tap trade                       every trade             tap trade.binance.BTC     topics that begin so
  tap BTCUSDT                     all of an instrument    tap '*.BTC*'              a pattern
  tap health.feed                 of some processes       tap trade quote --rate    how many a second
  tap fill --from 1h --until now  the last hour's fills
  tap trade --where "price > 60000 and side = sell" --columns seq,price,quantity
  tap quote --out quotes.parquet --from 1d --until now; tap quote --plot bid_price

lag: from the frame's arrival here to its place in the log. age: how long ago that was."""
QUIET_S = 2.0  # so long without an event, and it is said what is waited for
Batches = Iterator[list[Event]]
Item = TypeVar("Item")


class Arguments(argparse.ArgumentParser):
    """A command line whose faults are sentences as those of every command."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageFailure; of an option that there is not, with the one that is near to it."""
        wrong = next((word for word in message.split() if word.startswith("-")), "")
        near = get_close_matches(wrong, self._option_string_actions, 1) if "unrecognized" in message else []
        raise terminal.UsageFailure(f"{message}{f' (did you mean {near[0]}?)' if near else ''}; see tap --help")


def arguments() -> Arguments:
    """What `tap` may be called with."""
    wide = argparse.RawDescriptionHelpFormatter
    parser = Arguments("tap", usage="tap [OPTION]... [TOPIC]...", description=ABOUT, formatter_class=wide, allow_abbrev=False)
    add = parser.add_argument
    add("topics", metavar="TOPIC", nargs="*", help=argparse.SUPPRESS)
    add("-c", "-n", "--count", metavar="N", type=_count, default=0, help="end after the first N events (with --rate: reports)")
    add("--rate", action="store_true", help="events per second of each topic instead of the events")
    add("--from", dest="since", metavar="PLACE", default="", help="begin at this seq, time (UTC) or so long ago (30s, 5m, 1h)")
    add("--until", metavar="PLACE", default="", help="end there; now: at the end of what is recorded")
    add("--at", metavar="FOLDER", default="", help="of the mesh or the replay (mesh replay --speed) in this folder")
    add("--columns", metavar="A,B", default="", help="only these columns, a line for each record (names as --json has them)")
    where = "only what fulfils this: columns with = != < <= > >= ~ (pattern) in (…), and, or, not, brackets"
    add("--where", metavar="FILTER", default="", help=where)
    add("--out", metavar="FILE", default="", help="write rows into FILE.csv or FILE.parquet, whole also after a Ctrl-C")
    add("--plot", metavar="COLUMN", default="", help="draw a column's newest values as a line that moves")
    add("--local", action="store_true", help="times of this machine's zone instead of UTC")
    add("--json", action="store_true", help="one JSON object on a line for each event")
    add("--version", action="store_true", help="show the version and end")
    return parser


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of events, 0 (never ends) or more")
    return int(text)


def tap() -> int:
    """Does what the command line says; gives the exit code. Raises Failure."""
    given = arguments().parse_intermixed_args()
    if given.version:
        print(terminal.version_text())
        return 0
    wanted, since, until = given.topics, given.since, given.until
    config = load(Path(given.at) if given.at else None)
    follow_clock(config.log_dir)
    history = bool(since or until)
    chosen, kinds = topics.resolve(config, wanted, history)
    rows = None
    if given.columns or given.where or given.out or given.plot:
        from tickmesh.tools import tap_rows  # most taps need no more than events

        if given.rate and (given.columns or given.out or given.plot):
            raise terminal.UsageFailure("--rate counts events; --columns, --out and --plot show their content")
        rows = tap_rows.wanted_rows(kinds, given.columns, given.where, given.out, given.plot)
    running = is_running(config)
    if not running and not history:
        raise terminal.Failure("the mesh is not running; `mesh up` starts it (or read what it recorded: --until now)")
    name = ", ".join(wanted or ["any event"])
    try:
        span = span_of(config, since, until, running, given.local)
        batches = announced(wanted_events(config, kinds, chosen, span), name, span.after is not None)
        if rows is not None and not rows.is_filter_alone:
            tap_rows.show(config, batches, rows, kinds, given.count, given.json)
            return 0
        if rows is not None:
            batches = tap_rows.filtered(config, batches, rows.where)
        show = partial(show_rates if given.rate else show_events, config)
        show(batches, given.count, given.json, given.local)
    except LogError as error:
        raise terminal.Failure(str(error)) from None
    return 0


def announced(batches: Batches, name: str, history: bool) -> Batches:
    """Gives the batches on, and says on stderr what is waited for while nothing comes, or that there was nothing."""
    heard, said, any_at_all = time.monotonic(), False, False
    for events in batches:
        now = time.monotonic()
        if events:
            heard, said, any_at_all = now, False, True
        elif not said and now - heard > QUIET_S:
            said = True
            end = " (what was recorded is shown; --until now ends there)" if history else ""
            terminal.err.print(f"tap: waiting for {name} …{end}", markup=False)
        yield events
    if not any_at_all:
        terminal.err.print(f"tap: nothing of {name} was recorded there", markup=False)


def show_events(config: Config, batches: Batches, count: int, json: bool, local: bool = False) -> None:
    """Prints each event on a line, until `count` are shown (0: for ever)."""
    for event in _first(chain.from_iterable(batches), count):
        if json:
            terminal.print_json(as_dict(config, event))
            continue
        when, seq, topic, content, delays = event_line(config, event, local)
        terminal.print_parts((when, "dim"), (seq, ""), (topic, "bold"), (content, ""), (delays, "dim"))


def show_rates(config: Config, batches: Batches, count: int, json: bool, local: bool = False) -> None:
    """Prints how many events of each topic every second of the log had, until there were `count` reports (0: for ever)."""
    for second in _first(_seconds(batches), count):
        topics = sorted(second.topics.items())
        if json:
            rows = [{"topic": topic, "rate": n, "lag_ms": lag} for topic, (n, lag) in topics]
            terminal.print_json({"time_ns": second.end_ns, "topics": rows})
            continue
        shown = [f"{topic} {n}/s" + ("" if lag is None else f" (lag {lag:.1f} ms)") for topic, (n, lag) in topics]
        terminal.print_parts((time_text(second.end_ns, local), "dim"), ("   ".join(shown) or "nothing", ""))


def _first(items: Iterator[Item], count: int) -> Iterator[Item]:
    return islice(items, count or None)


class Second:
    """One second of the log, up to `end_ns`: topic → (how many events, the newest one's lag in ms or None)."""

    def __init__(self, end_ns: int):
        self.end_ns = end_ns
        self.counts: Counter[str] = Counter()
        self.lags: dict[str, float | None] = {}

    def add(self, event: Event) -> None:
        """Adds an event of this second."""
        self.counts[event.topic] += 1
        self.lags[event.topic] = round((event.seq_ns - event.recv_ns) / 1e6, 3) if event.recv_ns else None

    @property
    def topics(self) -> dict[str, tuple[int, float | None]]:
        """Topic → (events, lag)."""
        return {topic: (n, self.lags[topic]) for topic, n in self.counts.items()}


def _seconds(batches: Batches) -> Iterator[Second]:
    """Cuts a stream into seconds of the log's time; of silence in what was recorded it makes none, live it makes empty ones."""
    window: Second | None = None
    for events in batches:
        for event in events:
            if window is not None and event.seq_ns >= window.end_ns:
                yield window
                window = _next(window, event.seq_ns)
            window = window or Second(event.seq_ns + SECOND)
            window.add(event)
        if not events:
            now = now_ns()
            window = window or Second(now + SECOND)
            if now >= window.end_ns + SECOND // 10:  # what came in it has been heard by then
                yield window
                window = _next(window, now)
    if window is not None and window.counts:
        yield window


def _next(second: Second, ns: int) -> Second:
    """The empty second behind this one in which the time `ns` is."""
    return Second(second.end_ns + (ns - second.end_ns) // SECOND * SECOND + SECOND)


def main() -> None:
    """The command `tap`."""
    if "_TAP_COMPLETE" in os.environ:
        from tickmesh.tools.completed_words import print_words_of_tap

        print_words_of_tap(arguments()._option_string_actions)
        return
    terminal.run(tap, "tap")


if __name__ == "__main__":
    main()
