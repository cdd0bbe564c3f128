"""What a finished cut proves is handed on as it was computed: the same that its files state."""

import types

import numpy as np
import pytest

import tickmesh.storage.archive.writer
from tests.support.stored import DAY, START, Market, batches
from tickmesh.bus.schema import COVERAGE, Coverage, Kind
from tickmesh.storage.archive.cut import CutCoverage, coverage_of
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import coverage

SUBJECT = "binance.BTCUSDT"


def rows_of(first: int, last: int) -> np.ndarray:
    rows = np.zeros(1, COVERAGE)
    rows["first_id"], rows["last_id"], rows["stream"], rows["state"] = first, last, Kind.trade, Coverage.complete
    return rows


@pytest.mark.parametrize("held", [8_000, 1 << 28])  # laid aside in pieces, or all in memory
def test_cuts_prove_what_their_files_state(tmp_path, monkeypatch, held):
    monkeypatch.setattr(tickmesh.storage.archive.writer, "HELD_BYTES_MAX", held)
    config = types.SimpleNamespace(archive_dir=tmp_path, log_dir=tmp_path / "none")
    cuts: list[CutCoverage] = []
    writer = ArchiveWriter(tmp_path, cuts.append)
    raws = Market().mixed(500) + Market(500, START + DAY).mixed(300)  # the third cut ends with the day
    writer.archive(batches(raws), 800, 200, 5)
    assert [(cut.first, cut.last) for cut in cuts] == [(1, 200), (201, 400), (401, 500), (501, 700), (701, 800)]
    for after, until in ((0, 800), (0, 200), (400, 500), (400, 800), (800, 800)):
        chosen = [cut for cut in cuts if cut.last <= until]
        handed, (stated, damaged) = coverage_of(chosen, after, until), coverage.added(config, after, until)
        assert not damaged and {s: r.tolist() for s, r in handed.items()} == {s: r.tolist() for s, r in stated.items()}
    writer.close()


def test_where_a_cut_is_not_known_nothing_is():
    cuts = [CutCoverage(1, 10, {SUBJECT: rows_of(1, 5)}), CutCoverage(11, 20, {SUBJECT: rows_of(6, 9)})]
    later = CutCoverage(31, 40, {})
    assert coverage_of(cuts, 0, 20)[SUBJECT].tolist() == rows_of(1, 9).tolist()
    assert coverage_of(cuts, 10, 20)[SUBJECT].tolist() == rows_of(6, 9).tolist()
    assert coverage_of([], 20, 20) == {} and coverage_of(cuts, 20, 20) == {}
    for known, after, until in (([], 0, 20), (cuts[1:], 0, 20), (cuts, 0, 21), ([*cuts, later], 0, 40), ([later], 20, 40)):
        assert coverage_of(known, after, until) is None
