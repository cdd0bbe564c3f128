"""`mesh coverage` as a person calls it, and the examples of its page."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.command_run import mesh_here
from tests.support.coverage_scene import Scene
from tests.support.coverage_stored import scene
from tests.support.places import PROJECT
from tests.support.stored import write_log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, GapState, Kind, Reason
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import coverage as command


def store(root: Path, made: Scene) -> None:
    config = load(root)
    write_log(config.log_dir, made.raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), 10, 4)
    writer.close()


def ledger_of() -> Scene:
    return Scene().trades(1, 2, 3).book(100).change(99, 105).quotes(103).trades(4, 5, 6, 7, 8)


def mesh(root: Path, *words: str) -> subprocess.CompletedProcess:
    return mesh_here(root, "coverage", *words)


def test_shows_every_interval_and_says_that_something_is_missing(root):
    store(root, scene())
    done = mesh(root)
    assert done.returncode == 0, done.stderr
    assert re.search(r"trade\.binance\.BTCUSDT.* ids 1 to 20, .*: 90 % of ids", done.stdout)
    assert re.search(r"repaired +8 +9 +2 .*ids", done.stdout)
    assert "Ids without a hole prove that nothing is missing, also of time in which the mesh was down." in done.stdout
    assert re.search(r"missing +10 +11 +2 .*retention", done.stdout)
    assert done.stdout.splitlines()[-1] == (
        "MISSING: 6 ids in 2 intervals; 3 ids of depth.binance.BTCUSDT (no_snapshot: no book to apply them to). "
        "1 of 3 streams cannot be proven by their nature."
    )
    assert mesh(root, "--missing").returncode == 1
    assert mesh(root, "--missing", "--kind", "quote").returncode == 0


def test_ids_of_several_eras_are_not_shown_as_one_run_of_them(root):
    """What an era had after its last id is not known: one is counted as missing, and that there may be more is said."""
    made = Scene().trades(1, 2, 3, 4)
    for last, first in ((4, 1), (2, 1)):
        made.lost(Kind.trade, last + 1, last + 1, GapState.unrecoverable, Reason.reset).trades(first, reset=True).trades(2)
    store(root, made)
    done = mesh(root, "--kind", "trade")
    assert re.search(r"ids 1 to 5, then anew 1 to 3, then anew 1 to 2, .*: at most 80 % of ids", done.stdout), done.stdout
    assert re.search(r"missing +5 +5 +1 or more .*reset", done.stdout), done.stdout
    assert done.stdout.splitlines()[-1] == "MISSING: at least 2 ids in 2 intervals."
    (stream,) = json.loads(mesh(root, "--kind", "trade", "--json").stdout)["streams"]
    assert [(one["begins"], one["ends"]) for one in stream["eras"]] == [(1, 5), (1, 3), (1, 2)] and stream["missing_at_least"]
    assert (
        command._spans([{"begins": n, "ends": n} for n in range(5)])
        == "ids … (2 eras), 2 to 2, then anew 3 to 3, then anew 4 to 4"
    )


def test_says_clearly_that_nothing_is_missing(root):
    assert mesh(root).stdout == "Nothing is stored yet (source sim).\n"
    store(root, ledger_of())
    done = mesh(root, "--missing")
    assert (done.returncode, done.stdout) == (0, "Nothing is missing. 1 of 3 streams cannot be proven by their nature.\n")


def test_nothing_is_missing_is_not_said_beside_what_was_never_heard(root):
    (root / "mesh.toml").write_text('[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "FOOUSDT"\n')
    store(root, ledger_of())
    last = mesh(root, "--missing").stdout.splitlines()[-1]
    assert last.startswith("Nothing is missing of what was heard. ")
    assert last.endswith(" Never heard, and nothing is known of it: binance.FOOUSDT.")


def test_what_is_in_doubt_is_not_called_plainly_there(root):
    made = Scene().trades(1, 2, 3).change(90, 98).change(99, 104).book(104).change(105, 110).quotes(103)
    store(root, made.lost(Kind.quote, 104, 120, GapState.unrecoverable, Reason.contradiction))
    done = mesh(root, "--missing")
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, "--missing is for what is missing only"
    assert last.startswith("UNPROVEN: 14 ids of depth.binance.BTCUSDT (no_snapshot: no book to apply them to); ")
    assert "17 ids of quote.binance.BTCUSDT (contradiction: ids were said that their own line took back)" in last
    assert last.endswith(". Nothing else is missing. 1 of 3 streams cannot be proven by their nature.")
    assert json.loads(mesh(root, "--json", "--kind", "depth").stdout)["streams"][0]["unproven"] == {"no_snapshot": 14}


def reported(made: Scene, *reports: tuple[float, float, int, int]) -> Scene:
    """Adds the sequencer's reports of two lines of quotes: begin and end in seconds, and what each brought."""
    for begin, end, *counts in reports:
        records = np.zeros(2, DTYPES[Kind.line])
        for record, line, count in zip(records, (b"feed-1", b"feed-2"), counts):
            record["line"], record["stream"], record["events"] = line, Kind.quote, count
            record["begin_ns"], record["end_ns"] = round(begin * 10**9), round(end * 10**9)
        made.publish(Kind.line, records)
    return made


@pytest.mark.parametrize(
    "reports, sentence",
    [
        ([], "cannot prove that all is there"),
        ([(0, 10, 60, 60), (10, 20, 40, 40)], "its 2 lines brought the same number, 100; it was never silent for 10 s"),
        (
            [(10, 10, 9, 9), (10, 20, 6, 5), (41, 51, 4, 4)],
            "feed-1 brought 19, feed-2 brought 18; nothing came for 21 s at most",
        ),
    ],
)
def test_of_a_stream_that_nothing_can_prove_it_is_said_what_speaks_for_it(root, reports, sentence):
    store(root, reported(ledger_of(), *reports))
    shown = mesh(root, "--kind", "quote").stdout
    assert "the venue conflates it" in shown and "0 %" not in shown and shown.splitlines()[0].endswith(sentence)
    (stream,) = json.loads(mesh(root, "--kind", "quote", "--json").stdout)["streams"]
    assert stream["by_nature"] == "conflated" and bool(stream["lines"]) == bool(reports)
    trades = mesh(root, "--kind", "trade").stdout
    assert "100 % of ids and 100 % of time complete or repaired" in trades


def test_an_era_is_shown_where_there_are_two(root):
    store(
        root,
        Scene().trades(1000, 1001).lost(Kind.trade, 1002, 1002, GapState.unrecoverable, Reason.reset).trades(1, reset=True),
    )
    shown = mesh(root, "--kind", "trade").stdout
    assert re.search(r"reason +era", shown) and re.search(r"complete +1 +1 +1 .* 4 *\n", shown)


def test_the_json_has_totals_and_all_intervals(root):
    store(root, scene())
    result = json.loads(mesh(root, "btcusdt", "--kind", "trade", "--json").stdout)
    (stream,) = result["streams"]
    assert (result["ok"], result["missing_intervals"]) == (False, 1)
    assert stream["ids"] == {"complete": 16, "repaired": 2, "missing": 2, "unproven": 0}
    assert stream["share_of_ids"] == 0.9
    assert [(row["first_id"], row["last_id"], row["state"]) for row in stream["intervals"]] == [
        (1, 7, "complete"), (8, 9, "repaired"), (10, 11, "missing"), (12, 20, "complete"),
    ]  # fmt: skip
    assert stream["intervals"][2]["begin"] == "1970-01-01T00:00:09Z" and stream["intervals"][2]["reason"] == "retention"


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (["DOGEUSDT"], 1, "nothing of DOGEUSDT is stored in .*; known are binance.BTCUSDT"),
        (["--kind", "fill"], 2, "--kind fill is unknown; it should be one of trade, quote, depth"),
    ],
)
def test_a_wrong_word_is_a_sentence(root, words, code, sentence):
    store(root, ledger_of())
    done = mesh(root, *words)
    assert done.returncode == code and re.search(sentence, done.stderr) and "Traceback" not in done.stderr


def test_a_share_is_never_rounded_up(root):
    assert [command._percent(share) for share in (1, 0.9999999999, 0.5, 0)] == ["100 %", "99.9999 %", "50 %", "0 %"]


def test_the_timeline_is_drawn(root):
    pytest.importorskip("matplotlib")
    store(root, scene())
    assert mesh(root, "--plot", "coverage.png").returncode == 0
    assert (root / "coverage.png").read_bytes()[:4] == b"\x89PNG"


def test_the_examples_of_the_page_run(root, capsys, monkeypatch):
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    store(root, ledger_of())
    page = (PROJECT / "docs/coverage.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(examples) == 2
    names: dict = {}
    for example in examples:
        exec(example, names)  # noqa: S102
    assert "100.0000% of ids" in capsys.readouterr().out
    for words in re.findall(r"^mesh coverage(.*?)(?:#.*)?$", page, re.M):
        assert mesh(root, *words.split()).returncode == 0, words
