"""A backtest of a late day reads no earlier one that it does not need, and gives what it gives when it reads them all."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

import tickmesh as tm
from tests.support.backtest_scene import SUBJECTS, TWO_INSTRUMENTS, RandomMarket
from tests.support.stored import DAY, START, write_log
from tests.support.sweep_scene import KERNEL, SETTINGS
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.research.backtest import late_start, running
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.storage.archive.catalog import day_of
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns import reading
from tickmesh.storage.columns.archive import ArchiveColumns

DAYS, EVENTS = 5, 250
FORGETS = KERNEL.replace("KINDS", "LOOKBACK_S = 60.0\nKINDS").replace(
    'STATE = np.dtype([("before", "<i8")])', 'STATE = np.dtype([("before", "<i8"), ("at_ns", "<i8")])'
)
FORGETS = FORGETS.replace(  # what is older than a minute is as if it never was
    "if then != 0 and", "at_ns, state[0].at_ns = state[0].at_ns, row.seq_ns\n        if row.seq_ns - at_ns < 60e9 and"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A recording of some days, all but the last one archived; ETHUSDT is quoted on the first day alone."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(TWO_INSTRUMENTS + SETTINGS)
    (root / "models").mkdir()
    (root / "models" / "trend.py").write_text(FORGETS)
    market, config = RandomMarket(7), load(root)
    ends = []
    for day in range(DAYS):
        market._market.seq_ns = START + day * DAY + DAY // 2
        ends.append(len(market.run(EVENTS)))
        market._subjects = ("binance.BTCUSDT",)
    write_log(config.log_dir, market.raws)
    with contextlib.closing(ArchiveWriter(config.archive_dir)) as writer:
        for end in ends[:-1]:
            writer.archive_log(LogReader(config.log_dir), end, 90)
    return root


@pytest.fixture
def cuts(monkeypatch) -> list[str]:
    """The days whose columns are read."""
    read: list[str] = []
    whole = ArchiveColumns._cut

    def counted(self, files, after, until):
        read.append(files[0].day)
        return whole(self, files, after, until)

    monkeypatch.setattr(ArchiveColumns, "_cut", counted)
    return read


def name(day: int) -> str:
    return day_of(START + day * DAY)


def same(one: BacktestResult, other: BacktestResult) -> None:
    for name in ("orders", "fills"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert {name: marks.tobytes() for name, marks in one.marks.items()} == {k: v.tobytes() for k, v in other.marks.items()}
    assert (one.start_ns, one.end_ns, one.settings, one.coverage) == (
        other.start_ns,
        other.end_ns,
        other.settings,
        other.coverage,
    )


@pytest.mark.parametrize("day, warm_up, first", [(3, "", 2), (3, "2d", 1), (4, "1h", 3)])  # all begin at midnight
def test_a_late_day_reads_its_warm_up_and_no_day_before(root, cuts, monkeypatch, day, warm_up, first):
    words = {"start": START + day * DAY, "end": START + (day + 1) * DAY, "warm_up": warm_up, "latency": "1"}
    late, read = tm.backtest(root, **words), cuts.copy()
    cuts.clear()
    monkeypatch.setattr(running, "last_before", lambda config, begin_ns: 0)
    same(late, tm.backtest(root, **words))
    assert len(late.orders) > 5 and len(late.fills)
    assert min(read) == name(first)
    assert set(cuts) - set(read) == {name(number) for number in range(first)}


def test_a_model_that_depends_on_all_of_the_past_is_given_all_of_it(root, cuts):
    path = root / "models" / "trend.py"
    path.write_text(FORGETS.replace("LOOKBACK_S = 60.0", "LOOKBACK_S = 0.0"))
    tm.backtest(root, START + 3 * DAY, START + 4 * DAY, latency="1")
    assert min(cuts) == name(0)


def test_what_was_in_force_is_the_last_event_of_each_kind(root):
    config = load(root)
    after = late_start.last_before(config, START + 3 * DAY)
    found = late_start.in_force(config, after, SUBJECTS[:1], SUBJECTS)
    assert found.last == after and [one.subject for one in found.subjects] == [*SUBJECTS]
    whole = list(reading.spans(config, (Kind.quote, Kind.instrument), until=after))
    for one, kinds in zip(found.subjects, ({Kind.instrument, Kind.quote}, {Kind.instrument})):
        assert set(one.rows["kind"].tolist()) == kinds
        for row, seq in zip(one.rows, one.seqs.tolist()):
            kind = Kind(int(row["kind"]))
            spans = [part for span in whole for part in span.subjects if part.subject == one.subject]
            columns = next(part for part in reversed(spans) if (part.rows["kind"] == kind).any())
            place = np.flatnonzero(columns.rows["kind"] == kind)[-1]
            truth, records = columns.rows[place], columns.records[kind]
            assert (seq, row["seq_ns"], row["flags"]) == (columns.seqs[place], truth["seq_ns"], truth["flags"])
            assert one.records[kind][-1].tobytes() == records[truth["first"] + truth["count"] - 1].tobytes()
