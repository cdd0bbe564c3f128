"""`tap`: live topics on the terminal. It hears what every node hears, and keeps up as they do: from the log."""

import contextlib
import select
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

import typer
from rich.text import Text

from tickmesh.bus.clock import follow as follow_clock
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config, load
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Flag, Kind, Status
from tickmesh.bus.segments import LogError
from tickmesh.bus.settings import Instrument
from tickmesh.bus.sockets import Subscriber
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event
from tickmesh.nodes.sentinel.supervisord import is_free
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query import reader
from tickmesh.tools import terminal
from tickmesh.tools.arguments import kinds_of, matches, start_position

commands = terminal.command_group("Shows the mesh's events as they happen.", no_args_is_help=False)
SECOND = 1_000_000_000
LISTEN_S = 0.25
FRESH_S = 2.0  # a clock event is published every 100 ms: a log that has been silent for longer is nobody's
MANTISSAS = Instrument(symbol="", price_exponent=0, quantity_exponent=0)  # of an instrument that mesh.toml has no more
LEVELS_SHOWN = 3


@commands.command()
def tap(
    prefixes: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...", help="trade, quote.binance …")] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many events (with --rate: reports); 0 = never.")] = 0,
    rate: Annotated[bool, typer.Option("--rate", help="Events per second of each topic instead of the events.")] = False,
    since: Annotated[str, typer.Option("--from", help="Begin at this seq, time (UTC), or so long ago (30s, 5m).")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on a line for each event.")] = False,
) -> None:
    """Show events of the topics that begin so; all without one."""
    config = load()
    follow_clock(config.log_dir)
    wanted = prefixes or []
    kinds = kinds_of(wanted, config)
    running = is_running(config)
    if not running and not since:
        raise terminal.Failure("the mesh is not running; `mesh up` starts it (or read its log with --from 1)")
    try:
        events = wanted_events(config, kinds, wanted, since, running)
        show_rates(events, count, json) if rate else show_events(config, events, count, json)
    except (LogError, ArchiveError) as error:
        raise terminal.Failure(str(error)) from None


def is_running(config: Config) -> bool:
    """Whether this folder's mesh runs: supervisord answers, or the log is fresh."""
    if not is_free(config.root / "run"):
        return True
    last = None
    with contextlib.suppress(LogError):
        log = LogReader(config.log_dir)
        last = next(log.events(log.last - 1), None)
    return last is not None and now_ns() - last.seq_ns < FRESH_S * SECOND


def wanted_events(
    config: Config, kinds: tuple[Kind, ...], prefixes: list[str], since: str, live: bool
) -> Iterator[list[Event]]:
    """Gives lists of the wanted events; [] now and then while nothing comes. Ends with the log when it is not `live`."""
    log = LogReader(config.log_dir)
    after, since_ns = start_position(since, log) if since else (log.last, 0)

    def chosen(events: list[Event]) -> list[Event]:
        return [
            event
            for event in events
            if event.seq_ns >= since_ns and (not prefixes or any(matches(event.topic, prefix) for prefix in prefixes))
        ]

    if since:
        for event in reader.events(config, after):  # the archive has what the log has released
            after = event.seq
            yield chosen([event])
    subscriber = Subscriber(config, lanes_of(kinds), after)
    with contextlib.closing(subscriber):
        for events in subscriber.backlog():
            yield chosen(events)
        received = time.monotonic()
        while live:
            if events := subscriber.drain():
                received = time.monotonic()
                yield chosen(events)
                continue
            select.select([subscriber.fd], [], [], LISTEN_S)
            if time.monotonic() - received > FRESH_S:
                received = time.monotonic()
                if not is_running(config):
                    raise terminal.Failure("the mesh has stopped")
            yield []


def show_events(config: Config, batches: Iterator[list[Event]], count: int, json: bool) -> None:
    """Prints each event on a line, until `count` are shown (0: for ever)."""
    shown = 0
    for events in batches:
        for event in events:
            terminal.print_json(as_dict(event)) if json else terminal.out.print(event_line(config, event))
            shown += 1
            if count and shown >= count:
                return


def show_rates(batches: Iterator[list[Event]], count: int, json: bool) -> None:
    """Prints every second how many events of each topic came, and their lag."""
    seen: Counter[str] = Counter()
    lag: dict[str, float] = {}
    begun, reports = time.monotonic(), 0
    for events in batches:
        at_ns = now_ns()
        for event in events:
            seen[event.topic] += 1
            lag[event.topic] = (at_ns - event.seq_ns) / 1e6
        elapsed = time.monotonic() - begun
        if elapsed < 1:
            continue
        rates = {topic: round(n / elapsed, 1) for topic, n in sorted(seen.items())}
        if json:
            topics = [{"topic": topic, "rate": value, "lag_ms": round(lag[topic], 3)} for topic, value in rates.items()]
            terminal.print_json({"time_ns": at_ns, "topics": topics})
        else:
            shown = "   ".join(f"{topic} {value:g}/s ({lag[topic]:.1f} ms)" for topic, value in rates.items())
            terminal.out.print(f"{time_of_day(at_ns)}  {shown or 'nothing'}")
        seen.clear()
        begun, reports = time.monotonic(), reports + 1
        if count and reports >= count:
            return


def as_dict(event: Event) -> dict[str, Any]:
    """An event as `--json` prints it: header and records with the names of docs/messages.md. Integers are exact."""
    head = {name: getattr(event, name) for name in Event.__slots__ if name not in ("raw", "_records", "reserved", "size")}
    head |= {"topic": event.topic, "kind": Kind(event.kind).name, "lag_ms": (now_ns() - event.seq_ns) / 1e6}
    if DTYPES[Kind(event.kind)].names is None:
        return {**head, "records": [event.map()]}
    names = [name for name in event.records.dtype.names or () if not name.startswith("reserved")]
    rows = event.records[names].tolist()
    return {**head, "records": [{n: _plain(v) for n, v in zip(names, row)} for row in rows]}


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def time_of_day(ns: int) -> str:
    """A time in ns as HH:MM:SS.ffffff, UTC."""
    return datetime.fromtimestamp(ns / SECOND, UTC).strftime("%H:%M:%S.%f")


def event_line(config: Config, event: Event) -> Text:
    """Formats an event for a person: time, seq, topic, content, and how long ago it was sequenced."""
    lag_ms = (now_ns() - event.seq_ns) / 1e6
    return Text.assemble(
        (time_of_day(event.seq_ns), "dim"), f"  {event.seq:>9}  ", (f"{event.topic:<26}", "bold"),
        f" {content_of(config, event)}  ",
        (f"lag {lag_ms:.2f} ms", "dim"),
    )  # fmt: skip


def decimal_text(mantissa: int, exponent: int) -> str:
    """Formats mantissa × 10^exponent as an exact decimal without trailing zeros."""
    text = f"{Decimal(int(mantissa)).scaleb(exponent):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=1)
def _instruments(config: Config) -> DecidedInstruments:
    return DecidedInstruments(config)


def content_of(config: Config, event: Event) -> str:
    """Formats the content of an event in a few words."""
    kind = Kind(event.kind)
    if kind is Kind.alert:
        fields = {**dict.fromkeys(("level", "target", "what", "why", "action"), "?"), **event.map()}
        return "{level}: {target}: {what}: {why}; {action}".format(**fields)
    if DTYPES[kind].names is None:
        return " ".join(f"{name}={value}" for name, value in event.map().items())
    row = event.records[0]
    market = _instruments(config).for_reading(event.subject) or MANTISSAS

    def price(mantissa: int) -> str:
        return decimal_text(mantissa, market.price_exponent)

    def quantity(mantissa: int) -> str:
        return decimal_text(mantissa, market.quantity_exponent)

    if kind is Kind.trade:
        away = "  off the book" if event.flags & Flag.OFF_BOOK else ""
        return f"{_side(row)} {quantity(row['quantity_lots'])} @ {price(row['price_ticks'])}  id {row['trade_id']}{away}"
    if kind is Kind.quote:
        bid = f"{quantity(row['bid_lots'])} @ {price(row['bid_ticks'])}"
        return f"{bid} | {quantity(row['ask_lots'])} @ {price(row['ask_ticks'])}  id {row['update_id']}"
    if kind is Kind.depth:
        what = "snapshot" if event.flags & Flag.SNAPSHOT else "change"
        levels = ", ".join(
            f"{'bid' if r['side'] > 0 else 'ask'} {price(r['price_ticks'])}: {quantity(r['quantity_lots'])}"
            for r in event.records[:LEVELS_SHOWN]
            if r["side"]
        )
        more = f" … {event.count} levels" if event.count > LEVELS_SHOWN else ""
        return f"{what} {event.first_id}–{event.last_id}  {levels}{more}"
    if kind is Kind.signal:
        return f"{_plain(row['model'])} {row['value']:+.4f}  fair {row['price']:.8g}  cause {event.cause_seq}"
    if kind is Kind.intent:
        order = f"{_side(row)} {quantity(row['quantity_lots'])} @ {price(row['price_ticks'])}"
        what = order if row["action"] == 1 else f"cancel {_plain(row['target_id'])}"
        return f"{what}  {_plain(row['client_order_id'])}"
    if kind is Kind.update:
        done = f"{quantity(row['filled_lots'])} of {quantity(row['quantity_lots'])}"
        return f"{Status(row['status']).name} {done}  {_plain(row['client_order_id'])} {_plain(row['reason'])}"
    if kind is Kind.fill:
        order = f"{_side(row)} {quantity(row['quantity_lots'])} @ {price(row['price_ticks'])}"
        return f"{order}  trade {row['trade_id']}  {_plain(row['client_order_id'])}"
    named = (n for n in row.dtype.names if not n.startswith("reserved"))
    return " ".join(f"{name}={_plain(row[name].item())}" for name in named)


def _side(row: Any) -> str:
    return "buy" if row["side"] > 0 else "sell"


def main() -> None:
    """The command `tap`."""
    terminal.run(commands, "tap")


if __name__ == "__main__":
    main()
