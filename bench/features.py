"""Features of docs/features.md, one by one: events per second over columns in memory, and what an event costs by itself.

`python -m bench features`. The floor is the same loop over the same rows with the mid price alone. "By itself" is a call of the
compiled function for each event, as a live model makes one, from Python: most of it is the call. Seconds of the processor,
medians, all on one core. TICKMESH_BENCH_EVENTS: other numbers of events.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from bench import stored_days
from bench.floor import line, one_core, take_turns, throw_away_mesh
from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.research.feature_frames import FOREVER_NS, FeatureRun
from tickmesh.storage.columns import reading
from tickmesh.storage.columns.span import SubjectColumns

EVENTS = 800_000
SINGLE = 20_000  # events that are given one by one
FLOOR = "mid"
EVERY_NS = 1_000_000_000


def run_of(config: Config, name: str) -> FeatureRun:
    run = FeatureRun(config, [name], {}, EVERY_NS, 0, FOREVER_NS)
    run.define(-8, -8)
    return run


def over(config: Config, name: str, spans: list[SubjectColumns]) -> Callable[[], int]:
    """All events, a sample each second, from the beginning each time; gives how many events."""

    run: Any = run_of(config, name)

    def work() -> int:
        run._state.fill(0)
        for field in ("next_ns", "seq", "seq_ns"):
            run._pace[field] = 0
        for columns in spans:
            deque(run.take(columns), maxlen=0)
        run.rest()
        return sum(len(columns.rows) for columns in spans)

    return work


def one_by_one(config: Config, name: str, columns: SubjectColumns) -> Callable[[], int]:
    """The first events, a call of the compiled function each; gives how many."""
    run: Any = run_of(config, name)
    rows, seqs = columns.rows[:SINGLE], columns.seqs[:SINGLE]
    quotes, trades, levels = (columns.records[kind] for kind in (Kind.quote, Kind.trade, Kind.depth))

    def work() -> int:
        for at in range(len(rows)):
            run._sample_rows(
                run._state, run._parameters, run.units, rows, seqs, at, at + 1, quotes, trades, levels, run._wanted,
                run._pace, run._samples, run._values, 0,
            )  # fmt: skip
        return len(rows)

    return work


def main() -> dict[str, float]:
    events = int(os.environ.get("TICKMESH_BENCH_EVENTS") or EVENTS)
    config = throw_away_mesh(instruments=[{"symbol": stored_days.SUBJECT.partition(".")[2]}])
    stored_days.write_days(config, 1, events)
    every = run_of(config, FLOOR)  # the cache of compiled code is known to numba from here on
    from tickmesh.nodes.models.features import table

    figures = {}
    for kinds, names in sorted(by_kinds(table, tuple(table.NAMES)).items()):
        wanted = tuple(map(Kind, (*every.kinds, *kinds)))
        spans = [one for span in reading.spans(config, wanted) for one in span.subjects if one.subject == stored_days.SUBJECT]
        whole = [one for span in reading.spans(config, tuple(stored_days.PATTERN)) for one in span.subjects]
        with one_core():
            turns = take_turns({name: over(config, name, spans) for name in dict.fromkeys((FLOOR, *names))})
            single = take_turns({name: one_by_one(config, name, whole[0]) for name in names})
        floor = turns[FLOOR].given / turns[FLOOR].cpu_s
        for name in names:
            own = turns[name].given / turns[name].cpu_s
            figures[f"feature_{name}_events_per_s"] = own
            alone = single[name].cpu_s / single[name].given
            line(
                f"{name} (by itself {alone * 1e6:.2f} µs)", f"{own / 1e6:.1f} M events/s",
                f"{FLOOR} {floor / 1e6:.1f} M/s", floor / own,
            )  # fmt: skip
    return figures


def by_kinds(table: Any, names: tuple[str, ...]) -> dict[tuple[int, ...], list[str]]:
    """The features that are made of the same kinds of events, by those."""
    found: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        found.setdefault(tuple(sorted(table.kinds_of([name]))), []).append(name)
    return found


if __name__ == "__main__":
    main()
