"""The judge finds every false statement of the coverage ledger, in files and in the log, and none where all is true."""

import numpy as np
import pytest
from hypothesis import given

from tests.support.coverage_scene import STEPS, SUBJECT, SUBJECTS, Scene, ledger_of, play, shown, tables
from tests.support.stored import write_log
from tests.support.verify_marked import marked
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Coverage, Evidence, GapState, Kind, Reason
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.coverage.stretch import of_tables
from tickmesh.tools import verify as command
from tickmesh.tools.judge import intervals
from tickmesh.tools.judge.coverage import _missed_changes
from tickmesh.tools.judge.exchange_ledger import BookStep, TrueEra
from tickmesh.tools.judge.intervals import COMPLETE, MISSING, UNPROVEN, Claim
from tickmesh.tools.judge.log import Event as Judged


def scene() -> Scene:
    made = Scene().trades(1, 2).book(100).change(101, 105).trades(3, 4, 5, 6, 7).quotes(104)
    made.lost(Kind.trade, 8, 11).trades(*range(12, 16))
    made.lost(Kind.depth, 106, 109, GapState.unrecoverable, Reason.no_history).change(110, 112).book(113).change(113, 120)
    made.trades(8, 9, repaired=True).trades(*range(16, 21)).lost(Kind.trade, 8, 9, GapState.repaired)
    made.lost(Kind.trade, 10, 11, GapState.unrecoverable, Reason.retention)
    # 121 is sure, 122 to 140 are taken back; then the ids begin anew, and the newest change waits for a neighbour
    made.change(121, 140).lost(Kind.depth, 122, 124, GapState.unrecoverable, Reason.contradiction).change(125, 126)
    made.lost(Kind.quote, 105, 106, GapState.unrecoverable, Reason.contradiction).quotes(107)
    made.lost(Kind.trade, 21, 21, GapState.unrecoverable, Reason.reset).trades(1, reset=True).trades(2, 3)
    made.lost(Kind.depth, 127, 127, GapState.unrecoverable, Reason.reset).change(1, 4, reset=True)
    return made.book(4).change(5, 9).change(10, 14)


def publish_coverage(made: Scene, rows: np.ndarray, upto: int) -> None:
    """What the recorder says after a cut: the rows, then the watermark that vouches for them."""
    if len(rows):
        made.raws.append(made.event(Kind.coverage, SUBJECT, rows, producer=b"recorder"))
    record = np.zeros(1, DTYPES[Kind.watermark])
    record["archived_seq"] = upto
    made.raws.append(made.event(Kind.watermark, "recorder", record, producer=b"recorder"))


def store(root, made: Scene, cut_events: int = 9, upto: int | None = None) -> None:
    config = load(root)
    write_log(config.log_dir, marked(made.raws))
    reader = LogReader(config.log_dir)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(reader, reader.last if upto is None else upto, cut_events)
    writer.close()


@pytest.mark.parametrize("upto", [10, 20, None])
@pytest.mark.parametrize("cut_events", [3, 9, 1000])
def test_finds_nothing_where_all_is_true(root, cut_events, upto):
    made = scene()
    publish_coverage(made, of_tables(tables(made.raws[:10]), SUBJECT)[0], 10)
    store(root, made, cut_events, upto)
    result = command.verify([])
    assert result["ok"], (result["faults"], result["sentences"])
    assert result["coverage_checked"] >= 6 and result["coverage_rows"] >= 3 and result["coverage_said"] > 0


def change(index: int, **fields):
    def plant(rows: np.ndarray) -> np.ndarray:
        for name, value in fields.items():
            rows[name][index] = value(rows[name][index]) if callable(value) else value
        return rows

    return plant


def nth(stream: str, state: str, which: int = 0) -> int:
    """Index of a row of the scene's ledger."""
    return [i for i, row in enumerate(shown(ledger_of(scene()))) if (row[0], row[3]) == (stream, state)][which]


FAULTS = {
    "a row removed": (lambda rows: np.delete(rows, nth("trade", "complete")), "coverage_unaccounted"),
    "a missing row removed": (lambda rows: np.delete(rows, nth("trade", "missing")), "coverage_unaccounted"),
    "missing trades called complete": (
        change(nth("trade", "missing"), state=Coverage.complete, evidence=Evidence.ids, reason=0), "coverage_false",
    ),
    "missing trades called repaired": (
        change(nth("trade", "missing"), state=Coverage.repaired, evidence=Evidence.ids, reason=0), "coverage_false",
    ),
    "a missing book called complete": (
        change(nth("depth", "missing"), state=Coverage.complete, evidence=Evidence.ids, reason=0), "coverage_false",
    ),
    "changes without a book called complete": (
        change(nth("depth", "unproven"), state=Coverage.complete, evidence=Evidence.ids, reason=0), "coverage_false",
    ),
    "what was taken back called complete": (
        change(nth("depth", "unproven", 1), state=Coverage.complete, evidence=Evidence.ids, reason=0), "coverage_false",
    ),
    "the newest change called complete": (
        change(nth("depth", "complete", -1), last_id=lambda n: n + 4), "coverage_false",
    ),
    "an absurd id called complete": (
        change(nth("depth", "complete", 1), last_id=lambda n: n + 10**12), "coverage_false",
    ),
    "changes without a book left out": (lambda rows: np.delete(rows, nth("depth", "unproven", 2)), "coverage_unaccounted"),
    "a wrong reason of what has no book": (
        change(nth("depth", "unproven"), reason=Reason.contradiction), "coverage_reason",
    ),
    "a contradiction called a hole": (change(nth("depth", "unproven", 1), state=Coverage.missing), "coverage_hidden"),
    "a contradiction of quotes not said": (
        change(nth("quote", "unproven", 1), reason=Reason.conflated), "coverage_reason",
    ),
    "trades of a new era in the old one": (change(nth("trade", "complete", -1), era=0), "coverage_unaccounted"),
    "a new era of depth left out": (lambda rows: rows[rows["era"] == 0], "coverage_unaccounted"),
    "the end of an era left out": (lambda rows: np.delete(rows, nth("trade", "missing", -1)), "coverage_unaccounted"),
    "present trades called missing": (change(nth("trade", "complete"), state=Coverage.missing), "coverage_hidden"),
    "a present book called missing": (change(nth("depth", "complete"), state=Coverage.missing), "coverage_hidden"),
    "repaired trades called complete": (change(nth("trade", "repaired"), state=Coverage.complete), "coverage_false"),
    "unproven quotes called complete": (change(nth("quote", "unproven"), state=Coverage.complete), "coverage_false"),
    "a boundary one too far": (change(nth("trade", "complete", 1), last_id=lambda n: n + 1), "coverage_false"),
    "a boundary one too near": (change(nth("depth", "complete", 1), last_id=lambda n: n - 1), "coverage_unaccounted"),
    "a beginning one too early": (change(nth("trade", "complete"), first_id=lambda n: n - 1), "coverage_false"),
    "a wrong stream": (change(nth("depth", "complete"), stream=Kind.trade), "coverage_false"),
    "a wrong era": (change(nth("depth", "complete"), era=3), "coverage_false"),
    "a wrong reason": (change(nth("trade", "missing"), reason=Reason.refused), "coverage_reason"),
    "better evidence than there is": (change(nth("depth", "complete"), evidence=Evidence.checksum), "coverage_reason"),
    "an id stated twice": (change(nth("depth", "missing"), first_id=lambda n: n - 1), "coverage_twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_finds_what_a_file_states_falsely(root, monkeypatch, name):
    """The file is whole, its checksum right: only what it says of its own events is not so."""
    plant, finding = FAULTS[name]

    def false(*arguments):
        rows, state = of_tables(*arguments)
        return plant(rows), state

    monkeypatch.setattr("tickmesh.storage.archive.writer.of_tables", false)
    store(root, scene(), 1000)
    result = command.verify([])
    assert not result["ok"] and finding in result["faults"], result
    assert not set(result["faults"]) - {name for _, name in FAULTS.values()}, result


@pytest.mark.parametrize("name", [name for name, (_, finding) in FAULTS.items() if finding != "coverage_twice"])
def test_finds_what_is_said_falsely_in_the_log(root, name):
    plant, finding = FAULTS[name]
    made = scene()
    publish_coverage(made, plant(ledger_of(made)), len(made.raws))
    store(root, made, 1000)
    result = command.verify([])
    assert not result["ok"] and finding in result["faults"], result


def test_what_is_said_again_after_a_crash_is_no_fault(root):
    made = scene()
    rows, upto = ledger_of(made), len(made.raws)
    publish_coverage(made, rows, upto)
    publish_coverage(made, rows[:3], upto)
    store(root, made, 1000)
    assert command.verify([])["ok"]


def test_a_cut_of_which_nothing_was_said_is_a_fault(root):
    made = scene()
    publish_coverage(made, of_tables(tables(made.raws[:10]), SUBJECT)[0], 20)
    store(root, made, 10)
    assert "coverage_unaccounted" in command.verify([])["faults"]


@given(STEPS, SUBJECTS)
def test_the_judge_s_own_arithmetic_agrees_with_what_is_stored(steps, subject):
    """Two programs from one page: neither is tested against itself."""
    made = play(steps, subject).scene
    truth = intervals.ProvenIntervals(made.subject)
    for raw in made.raws:
        event = Event(raw)
        fields = {name: getattr(event, name) for name in Judged._fields if name not in ("kind", "records")}
        records = [tuple(row) for row in event.records.tolist()]
        if event.kind == Kind.gap:
            records = [(*row[:5], *row[6:8]) for row in records]
        truth.take(Judged(Kind(event.kind).name, records=records, **fields))
    mine = {key: [tuple(claim) for claim in claims] for key, claims in truth.merged().items()}
    stored: dict = {}
    for row in ledger_of(made):
        claim = tuple(int(row[name]) for name in ("first_id", "last_id", "state", "evidence", "reason"))
        stored.setdefault((int(row["stream"]), int(row["era"])), []).append(claim)
    assert mine == stored


@pytest.mark.parametrize("cut_events", [2, 1000])
def test_ids_that_were_taken_back_may_stand_in_an_older_file_as_unproven(root, cut_events):
    """A change without a book is stated at once. When its line takes it back, an earlier cut has it in its ledger for good."""
    made = Scene().change(1, 4).change(5, 900).lost(Kind.depth, 5, 6, GapState.unrecoverable, Reason.contradiction)
    store(root, made.change(7, 9), cut_events)
    result = command.verify([])
    assert result["ok"] and result.get("coverage_taken_back", 0) == (cut_events == 2), result


def test_changes_that_are_called_missing_count_only_where_the_exchange_had_them():
    """Of another symbol's ids (USD-M counts over all), and of ids that nobody ever used, nothing was missed."""
    truth = TrueEra()
    for first, last in ((10, 14), (20, 20), (30, 39)):
        truth.add_step(BookStep("depth", first, last, []), 1)
    claims = [
        Claim(1, 9, COMPLETE),
        Claim(10, 11, MISSING),
        Claim(12, 19, UNPROVEN),
        Claim(20, 32, MISSING),
        Claim(50, 90, MISSING),
    ]
    assert _missed_changes(claims, truth) == 2 + 1 + 3
    assert _missed_changes(claims[:1], truth) == 0
