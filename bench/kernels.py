"""Models and executor: events/s of each step, live (one event a call) and in bulk, beside the bare kernel over arrays.

The bare kernel has its records in one array already and says nothing on: what is left is the mathematics.
"""

import functools
import shutil
import time
from collections.abc import Callable

import numpy as np

from bench.floor import line, throw_away_mesh
from tickmesh.bus.schema import DTYPES, QUOTE, SIGNAL, TRADE, Kind
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.nodes.models.interface import OUT, ROW, SIGNALS_PER_ROW

EVENTS = 40_000
MANY = 20
SUBJECT = "binance.BTCUSDT"
START_NS = 1_700_000_000 * 1_000_000_000


def subjects_of(count: int) -> list[str]:
    """The first `count` instruments of this bench; the first of all is SUBJECT."""
    return [SUBJECT, *(f"binance.A{number}USDT" for number in range(1, count))]


def market(signals: int = 0, instruments: int = 1) -> list[Event]:
    """Three quotes to a trade, 80 events/s by seq_ns, of any of so many instruments; a strong signal after every `signals`."""
    subjects = subjects_of(instruments)
    random = np.random.default_rng(1)
    now_ns = START_NS
    events: list[Event] = []

    def log(event: bytearray, producer: bytes = b"feed-1") -> None:
        stamp_sent(event, producer.ljust(16, b"\0"), 1, 1, now_ns)
        stamp_sequenced(event, len(events) + 1, 0, now_ns)
        events.append(decode(bytes(event)))

    log(encode(Kind.run, "sequencer", {"log_id": "0" * 16}), b"sequencer")
    rules = np.array([(-8, -8, 1_000_000, 1000, 1000, 0, 0)], DTYPES[Kind.instrument])
    for subject in subjects:
        log(encode(Kind.instrument, subject, rules))
    for i in range(EVENTS):
        subject = subjects[int(random.integers(instruments))] if instruments > 1 else SUBJECT
        now_ns += int(random.exponential(1e9 / 80))
        if signals and i % signals == 0:
            row = np.array([(b"bench", float(random.choice([-1, 1])), np.nan, 0, 0)], SIGNAL)
            log(encode(Kind.signal, subject, row, cause_seq=len(events)), b"model-bench")
        elif i % 4:
            bid = 6_000_000_000_000 + int(random.integers(5)) * 1_000_000
            lots = random.integers(1, 10**8, 2)
            log(encode(Kind.quote, subject, np.array([(i, bid, lots[0], bid + 1_000_000, lots[1], 0)], QUOTE)))
        else:
            row = np.array([(i, 6 * 10**12, random.integers(1, 10**7), 0, 0, random.choice([-1, 1]), b"")], TRADE)
            log(encode(Kind.trade, subject, row))
    return events


def rate(work: Callable[[], object], events: int) -> float:
    """Events/s, the best of three."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = max(best, events / (time.perf_counter() - start))
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
    parameters, units, kernel, empty = step._parameters, np.ones(2), step._kernel, step._empty
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


def executors(signals: int, what: str) -> None:
    """The same market by one instrument and by twenty: what an event costs is not to grow with their number."""
    got, intents = {}, {}
    for count in (1, MANY):
        tape = market(signals, count)
        instruments = [{"symbol": subject.partition(".")[2]} for subject in subjects_of(count)]
        config = throw_away_mesh(instruments=instruments, executor={"instruments": ["binance.*"]})
        try:
            step = executor.Step(config)
            got[count] = rate(in_lists(step, tape, 1), len(tape))
            intents[count] = step.state.intents
        finally:
            shutil.rmtree(config.root, ignore_errors=True)
        if count == 1:
            decoding = rate(functools.partial(decode_all, tape), len(tape))
            line(f"executor: {what}", f"{got[1]:,.0f} events/s", f"decoding alone {decoding:,.0f}/s", decoding / got[1])
    line(f"executor: {what}, {MANY} instruments", f"{got[MANY]:,.0f} events/s", f"one {got[1]:,.0f}/s", got[1] / got[MANY])
    if signals:  # nobody answers here: orders stand, and are cancelled again and again: the more, the more instruments
        line(f"executor: intents of {MANY} instruments", f"{intents[MANY]:,}", f"of one {intents[1]:,}")


def main() -> None:
    config = throw_away_mesh()
    try:
        events = market()
        for one in config.models:
            start = time.perf_counter()
            step = model.Step(config, one.name)
            cold_s = time.perf_counter() - start
            start = time.perf_counter()
            model.Step(config, one.name)
            warm_s = time.perf_counter() - start
            floor = rate(bare(step, events), len(events))
            line(f"{one.kernel}: made, first in this process | again", f"{cold_s:.2f} s | {warm_s * 1000:.1f} ms")
            for size in (1, 4096):
                got = rate(in_lists(step, events, size), len(events))
                line(
                    f"{one.kernel}: lists of {size}", f"{got:,.0f} events/s",
                    f"bare kernel {floor:,.0f}/s", floor / got,
                )  # fmt: skip
        for signals, what in ((0, "quotes and trades"), (4, "a strong signal in four events")):
            executors(signals, what)
    finally:
        shutil.rmtree(config.root, ignore_errors=True)


if __name__ == "__main__":
    main()
