"""How much of a bar's time is covered: a dip in what was heard is marked, and no calm market is."""

import json

import numpy as np
import pytest

from tests.support.command_run import mesh_here
from tests.support.coverage_scene import SECOND, SUBJECT, Scene
from tests.support.stored import START, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, GapState, Kind, Reason
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import bars
from tickmesh.storage.query.bar_coverage import _before, uncovered

MINUTE = 60


class Clocked(Scene):
    """Trades of one id after the other, each at a venue time that the log's own time follows."""

    def __init__(self) -> None:
        super().__init__()
        self.last_id = 0

    def at(self, *seconds: float, skipped: int = 0) -> "Clocked":
        """Adds a trade at each of these seconds after START; `skipped`: ids left out before the first."""
        self.last_id += skipped
        for second in seconds:
            record = np.zeros(1, DTYPES[Kind.trade])
            self.last_id += 1
            time_ns = START + round(second * SECOND)
            record[0] = (self.last_id, 6_000_000_000_000, 100, time_ns, time_ns, 1, b"")
            step_ns = max(time_ns + 1_000_000 - self.seq_ns, 1)
            self.raws.append(
                self.event(Kind.trade, SUBJECT, record, step_ns=step_ns, first_id=self.last_id, last_id=self.last_id,
                           venue_ns=time_ns, recv_ns=time_ns)
            )  # fmt: skip
        return self

    def begun(self, node: str, second: float) -> "Clocked":
        """Adds the start of a process."""
        content = {"node": node, "pid": 1}
        step_ns = START + round(second * SECOND) - self.seq_ns
        self.raws.append(self.event(Kind.run, node, content, producer=node.encode(), step_ns=step_ns))
        return self


def stored(root, made: Scene, archived: int = 0) -> Config:
    config = load(root)
    write_log(config.log_dir, made.raws)
    if archived:
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(LogReader(config.log_dir), archived, 7)
        if archived == len(made.raws):
            Sealer(writer).seal("2024-08-09")
        writer.close()
    return config


def shares(config: Config, every: str, **more) -> dict[int, tuple[float, int]]:
    """Seconds after START → (covered, trades) of each bar."""
    frame = bars.frame(config, SUBJECT, every, gaps=more.pop("gaps", "mask"), **more)
    begins = (frame.index.as_unit("ns").asi8 - START) // SECOND
    return {int(at): (round(float(row.covered), 4), int(row["count"])) for at, (_, row) in zip(begins, frame.iterrows())}


def stopped() -> Clocked:
    """A mesh that heard a trade a second for 90 s, was down for 150 s, and hears again; no id is missing."""
    return Clocked().begun("sequencer", 0).at(*range(90)).begun("sequencer", 238).at(*range(239, 300))


@pytest.mark.parametrize("archived", [0, 40, 95, 153])
def test_the_minutes_in_which_the_mesh_was_down_are_there_and_say_so(root, archived):
    config = stored(root, stopped(), archived)
    assert shares(config, "1m") == {
        0: (1.0, 60), 60: (round(29 / 60, 4), 30), 120: (0.0, 0), 180: (round(2 / 60, 4), 1), 240: (round(59 / 60, 4), 60)
    }  # fmt: skip
    frame = bars.frame(config, SUBJECT, "1m")
    assert np.isnan(frame["close"].iloc[2]) and frame["volume"].iloc[2] == 0, "nothing is known of it"
    assert len(bars.bars(config, SUBJECT, "1m")) == 4, "an array has the bars that there are"
    assert "covered" not in bars.frame(config, SUBJECT, "1m", gaps="ignore")


def test_a_calm_market_and_a_process_that_came_back_at_once_are_covered(root):
    made = Clocked().begun("sequencer", 0).at(0, 60, 100).begun("feed-binance-1", 159.5).begun("sequencer", 160.5)
    config = stored(root, made.at(161, 162, 300, 400))
    assert {at: covered for at, (covered, _) in shares(config, "1m").items() if covered < 1} == {360: round(40 / 60, 4)}
    assert 180 not in shares(config, "1m"), "nothing was traded, and nothing was lost: no bar"


def test_ids_that_are_missing_are_not_covered_while_a_repair_is(root):
    made = Clocked().begun("sequencer", 0).at(*range(60)).at(*range(90, 150), skipped=20)
    made.lost(Kind.trade, 61, 80, GapState.unrecoverable, Reason.retention)
    config = stored(root, made)
    assert shares(config, "30s") == {0: (1.0, 30), 30: (round(29 / 30, 4), 30), 60: (0.0, 0), 90: (1.0, 30),
                                     120: (round(29 / 30, 4), 30)}  # fmt: skip
    assert uncovered(config, SUBJECT)[1].tolist() == [START + 59 * SECOND, START + 90 * SECOND]


def test_what_lies_outside_the_question_is_not_in_the_bar(root):
    config = stored(root, stopped())
    start, end = (np.datetime64(START + at * SECOND, "ns") for at in (30, 270))
    seen = shares(config, "1m", start=start, end=end)
    assert seen[0] == (0.5, 30) and seen[240] == (0.5, 30) and list(seen) == [0, 60, 120, 180, 240]
    filled = shares(config, "30s", fill=True)
    assert filled[90] == (0.0, 0) and filled[60] == (round(29 / 30, 4), 30) and len(filled) == 10


def test_time_before_is_that_of_a_naive_sum():
    rng = np.random.default_rng(5)
    edges = np.sort(rng.choice(1000, 20, replace=False)).reshape(-1, 2)
    lost = {at for low, high in edges.tolist() for at in range(low, high)}
    at = np.arange(0, 1000, 7)
    got = _before(edges, at + 7) - _before(edges, at)
    assert got.tolist() == [sum(t in lost for t in range(a, a + 7)) for a in at.tolist()]


def test_the_command_marks_it_in_table_csv_json_and_picture(root, tmp_path):
    stored(root, stopped())
    shown = mesh_here(root, "bars", "BTCUSDT").stdout
    rows = {line.split()[1]: line.split() for line in shown.splitlines() if line.strip().startswith("2024-08-09")}
    assert "covered" in shown.splitlines()[1].split() and rows["00:02:00"][2:4] == ["0", "0%"] and "48%" in rows["00:01:00"]
    assert "%" not in rows["00:00:00"][7] and "4 of them are not wholly covered, 1 not at all" in shown
    assert "Covered is time in which the venue was heard; whether anything is missing, `mesh coverage` says by ids" in shown
    result = json.loads(mesh_here(root, "bars", "BTCUSDT", "--json").stdout)
    assert [round(row["covered"], 2) for row in result["bars"]] == [1.0, 0.48, 0.0, 0.03, 0.98]
    assert result["bars"][2]["close"] is None
    table, picture = tmp_path / "bars.csv", tmp_path / "bars.png"
    assert mesh_here(root, "bars", "BTCUSDT", "--csv", table, "--plot", picture).returncode == 0
    header, _, _, down, *_ = table.read_text().splitlines()
    assert dict(zip(header.split(","), down.split(",")))["covered"] == "0.0"
    assert picture.stat().st_size > 10_000
