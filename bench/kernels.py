"""Models and executor: events/s of each step, live (one event a call), in lists, and by columns, beside the bare kernel.

The bare kernel has its records in one array already and says nothing on: what is left is the mathematics. Columns are measured
in memory, and with what it takes to read them: from a log in the page cache, from an archive. Seconds are of the processor;
of a day in the archive those of the clock stand beside them, since files are read.
TICKMESH_BENCH_DAY: another number of events of that day.
"""

import functools
import os
import shutil
import time
from collections.abc import Callable, Iterable

import numpy as np

from bench import stored_days
from bench.floor import line, take_turns, throw_away_mesh
from tickmesh.bus.config import Config
from tickmesh.bus.layout import header_slice
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import DTYPES, QUOTE, SIGNAL, TRADE, Kind
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.nodes.models.interface import OUT, ROW, SIGNALS_PER_ROW
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns.archive import ArchiveColumns
from tickmesh.storage.columns.log import LogColumns
from tickmesh.storage.columns.span import ColumnSpan

EVENTS = 40_000
LAPS = 10  # of the same market, for columns
BATCH = 8  # events of one append in the log that is read
TRADED = 20  # instruments of an executor
MANY = 100  # of a model
DAY = 4_000_000  # events of a day in an archive: three quotes to a trade, as in `market`
DAY_PATTERN = (Kind.quote, Kind.trade, Kind.quote, Kind.quote)
SUBJECT = "binance.BTCUSDT"
START_NS = 1_700_000_000 * 1_000_000_000


def subjects_of(count: int) -> list[str]:
    """The first `count` instruments of this bench; the first of all is SUBJECT."""
    return [SUBJECT, *(f"binance.A{number}USDT" for number in range(1, count))]


def market(signals: int = 0, instruments: int = 1, still: bool = False) -> list[Event]:
    """Three quotes to a trade, 80 events/s by seq_ns, of any of so many instruments; a strong signal after every `signals`.

    `still`: the best prices never move, and there is one signal, when all instruments have a quote.
    """
    subjects = subjects_of(instruments)
    random = np.random.default_rng(1)
    now_ns = START_NS
    events: list[Event] = []

    def log(event: bytearray, producer: bytes = b"feed-1") -> None:
        stamp_sent(event, producer_bytes(producer.decode()), 1, 1, now_ns)
        stamp_sequenced(event, len(events) + 1, 0, now_ns)
        events.append(decode(bytes(event)))

    log(encode(Kind.run, "sequencer", {"log_id": "0" * 16}), b"sequencer")
    rules = np.array([(-8, -8, 1_000_000, 1000, 1000, 0, 0)], DTYPES[Kind.instrument])
    for subject in subjects:
        log(encode(Kind.instrument, subject, rules))
    for i in range(EVENTS):
        subject = subjects[int(random.integers(instruments))] if instruments > 1 else SUBJECT
        now_ns += int(random.exponential(1e9 / 80))
        if i == signals if still else signals and i % signals == 0:
            row = np.array([(b"bench", float(random.choice([-1, 1])), np.nan, 0, 0)], SIGNAL)
            log(encode(Kind.signal, subject, row, cause_seq=len(events)), b"model-bench")
        elif i % 4:
            bid = 6_000_000_000_000 + int(random.integers(1 if still else 5)) * 1_000_000
            lots = random.integers(1, 10**8, 2)
            log(encode(Kind.quote, subject, np.array([(i, bid, lots[0], bid + 1_000_000, lots[1], 0)], QUOTE)))
        else:
            row = np.array([(i, 6 * 10**12, random.integers(1, 10**7), 0, 0, random.choice([-1, 1]), b"")], TRADE)
            log(encode(Kind.trade, subject, row))
    return events


def rate(work: Callable[[], object], events: int) -> float:
    """Events per second of processor time, the best of three."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        work()
        best = max(best, events / (time.process_time() - start))
    return best


def bare(step: model.Step, events: list[Event]) -> Callable[[], object]:
    """The step's kernel over everything in one call, into an array that is large enough."""
    wanted = [event for event in events if event.kind in (Kind.quote, Kind.trade)]
    quotes = np.concatenate([event.records for event in wanted if event.kind == Kind.quote])
    trades = np.concatenate([event.records for event in wanted if event.kind == Kind.trade])
    rows = np.zeros(len(wanted), ROW)
    firsts = {int(Kind.quote): 0, int(Kind.trade): 0}
    for row, event in zip(rows, wanted, strict=True):
        row["kind"], row["first"], row["count"], row["seq_ns"] = event.kind, firsts[event.kind], 1, event.seq_ns
        firsts[event.kind] += 1
    levels, out = np.zeros(1, DTYPES[Kind.depth]), np.zeros(len(wanted) * SIGNALS_PER_ROW, OUT)
    parameters, units, kernel, empty = step._parameters, np.ones(2), step._any_kernel, np.zeros(1, step.states.dtype)
    return lambda: kernel(empty.copy(), parameters, units, rows, len(rows), quotes, trades, levels, out)


def decode_all(events: list[Event]) -> list[Event]:
    return [decode(event.raw) for event in events]


def in_lists(step, events: list[Event], size: int) -> Callable[[], None]:
    """From the beginning each time: time never goes back in a log."""
    lists = [events[i : i + size] for i in range(0, len(events), size)]
    empty = step.save()

    def work() -> None:
        step.load(empty)
        for one in lists:
            step.step(one)

    return work


def as_logged(step: executor.Step, events: list[Event]) -> Callable[[], None]:
    """One by one, and the log has what each of them causes before the next."""
    empty = step.save()

    def work() -> None:
        step.load(empty)
        for event in events:
            for raw in step.step([event]):
                stamp_sent(raw, producer_bytes(step.name), 1, 1, event.seq_ns)
                stamp_sequenced(raw, event.seq, 0, event.seq_ns)
                step.step([decode(raw)])

    return work


def at_rest(idle: float) -> None:
    """A post-only order rests, and nothing happens that its style waits for. `idle`: events/s where none rests."""
    settings = {"instruments": [SUBJECT], "styles": ["post_only"], "execution": {"lifetime_ms": 3_600_000}}
    config = throw_away_mesh(instruments=[{"symbol": SUBJECT.partition(".")[2]}], executor=settings)
    try:
        step, tape = executor.Step(config), market(9, still=True)
        got = rate(as_logged(step, tape), len(tape))
        if step.state.intents != 1 or step.counters()["open_orders"] != 1:
            raise RuntimeError(f"one order is to rest to the end: {step.counters()}")
        line("executor: quotes and trades, an order at rest", f"{got:,.0f} events/s", f"none {idle:,.0f}/s", idle / got)
    finally:
        shutil.rmtree(config.root, ignore_errors=True)


def executors(signals: int, what: str) -> float:
    """The same market by one instrument and by twenty: what an event costs is not to grow with their number. Gives events/s of
    one.
    """
    got, intents = {}, {}
    for count in (1, TRADED):
        tape = market(signals, count)
        instruments = [{"symbol": subject.partition(".")[2]} for subject in subjects_of(count)]
        config = throw_away_mesh(instruments=instruments, executor={"instruments": ["binance.*"]})
        try:
            step = executor.Step(config)
            got[count] = rate(as_logged(step, tape), len(tape))
            intents[count] = step.state.intents
        finally:
            shutil.rmtree(config.root, ignore_errors=True)
        if count == 1:
            decoding = rate(functools.partial(decode_all, tape), len(tape))
            line(f"executor: {what}", f"{got[1]:,.0f} events/s", f"decoding alone {decoding:,.0f}/s", decoding / got[1])
    line(
        f"executor: {what}, {TRADED} instruments", f"{got[TRADED]:,.0f} events/s", f"one {got[1]:,.0f}/s", got[1] / got[TRADED]
    )
    if signals:  # nobody answers here: orders stand, and are cancelled again and again: the more, the more instruments
        line(f"executor: intents of {TRADED} instruments", f"{intents[TRADED]:,}", f"of one {intents[1]:,}")
    return got[1]


def recorded(config: Config, events: list[Event], subjects: list[str]) -> int:
    """Writes LAPS times the events, spread over the subjects, as a log and as an archive of it; gives how many there are."""
    lap_ns = events[-1].seq_ns - START_NS + 1
    log, seq = LogWriter(config.log_dir, sync_ms=1000), 0
    raws: list[bytearray] = []
    for lap in range(LAPS):
        for event in events:
            for subject in subjects if event.kind == Kind.instrument else subjects[seq % len(subjects) :][:1]:
                raw = bytearray(event.raw)
                if event.subject == SUBJECT:
                    raw[header_slice("subject")] = subject.encode().ljust(32, b"\0")
                seq += 1
                stamp_sequenced(raw, seq, 0, event.seq_ns + lap * lap_ns)
                raws.append(raw)
    for i in range(0, len(raws), BATCH):
        log.append(i + 1, raws[i : i + BATCH])
        log.roll_if_full()
    log.close()
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), seq, seq)
    writer.close()
    return seq


def over(step: model.Step, spans: Callable[[], Iterable[ColumnSpan]]) -> Callable[[], None]:
    """From the beginning each time."""

    def work() -> None:
        step.reset()
        for span in spans():
            step.step_span(span)

    return work


def by_columns(subjects: list[str], floors: dict[str, float]) -> None:
    """Columns in memory, from a log and from an archive; `floors`: of the bare kernels."""
    names = [{"symbol": subject.partition(".")[2]} for subject in subjects]
    config = throw_away_mesh(instruments=names)
    try:
        count = recorded(config, market(), subjects)
        for one in config.models:
            step, floor = model.Step(config, one.name), floors[one.kernel]
            log = LogColumns(config.log_dir, step.kinds)
            held = list(log.spans())
            sources = {
                "in memory": lambda held=held: held,
                f"log, {BATCH} events a batch": log.spans,
            }
            if len(subjects) == 1:  # files are opened one by one: of so few events each, that is all that would be measured
                sources["archive"] = lambda step=step: ArchiveColumns(config.archive_dir, step.kinds).spans()
            for what, spans in sources.items():
                got = rate(over(step, spans), count)
                line(
                    f"{one.kernel}: columns of {len(subjects)}, {what}", f"{got:,.0f} events/s",
                    f"bare kernel {floor:,.0f}/s", floor / got,
                )  # fmt: skip
    finally:
        shutil.rmtree(config.root, ignore_errors=True)


def read_all(spans: Iterable[ColumnSpan]) -> int:
    """How many rows spans have."""
    return sum(len(columns.rows) for span in spans for columns in span.subjects)


def of_a_day(floors: dict[str, float]) -> dict[str, float]:
    """A day in an archive: its columns read alone, with each kernel, and the kernel over a part of them that is in memory."""
    count = int(os.environ.get("TICKMESH_BENCH_DAY") or DAY)
    config = throw_away_mesh(instruments=[{"symbol": stored_days.SUBJECT.partition(".")[2]}])
    figures: dict[str, float] = {}
    try:
        stored_days.write_days(config, 1, count, DAY_PATTERN)
        for one in config.models:
            step = model.Step(config, one.name)
            spans = ArchiveColumns(config.archive_dir, step.kinds).spans
            held = next(spans())
            turns = take_turns(
                {
                    "read alone": functools.partial(lambda spans: read_all(spans()), spans),
                    "with the kernel": over(step, spans),
                    "in memory": over(step, functools.partial(list, [held])),
                }
            )
            for what, turn in turns.items():
                events = count if what != "in memory" else read_all([held])
                figures[f"day_{one.kernel}_{what.replace(' ', '_')}_events_per_s"] = events / turn.cpu_s
                line(
                    f"{one.kernel}: a day of {count:,} events, {what}", f"{events / turn.cpu_s:,.0f} events/s",
                    f"by the clock {events / turn.wall_s:,.0f}/s; bare kernel {floors[one.kernel]:,.0f}/s",
                )  # fmt: skip
    finally:
        shutil.rmtree(config.root, ignore_errors=True)
    return figures


def main() -> dict[str, float]:
    config = throw_away_mesh()
    floors: dict[str, float] = {}
    try:
        events = market()
        for one in config.models:
            start = time.perf_counter()
            step = model.Step(config, one.name)
            cold_s = time.perf_counter() - start
            start = time.perf_counter()
            model.Step(config, one.name)
            warm_s = time.perf_counter() - start
            floor = floors[one.kernel] = rate(bare(step, events), len(events))
            line(f"{one.kernel}: made, first in this process | again", f"{cold_s:.2f} s | {warm_s * 1000:.1f} ms")
            for size in (1, 4096):
                got = rate(in_lists(step, events, size), len(events))
                line(
                    f"{one.kernel}: lists of {size}", f"{got:,.0f} events/s",
                    f"bare kernel {floor:,.0f}/s", floor / got,
                )  # fmt: skip
        for signals, what in ((0, "quotes and trades"), (4, "a strong signal in four events")):
            got = executors(signals, what)
            if not signals:
                at_rest(got)
    finally:
        shutil.rmtree(config.root, ignore_errors=True)
    by_columns([SUBJECT], floors)
    by_columns([f"binance.S{i:02d}" for i in range(MANY)], floors)
    return of_a_day(floors)


if __name__ == "__main__":
    main()
