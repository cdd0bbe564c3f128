"""`mesh backtest-report` as a person calls it: tables, JSON, the page, several files, sentences."""

import dataclasses
import json

import pytest

from tests.support.backtest_scene import random_result
from tests.support.command_run import mesh_here
from tickmesh.research.backtest.report import as_dict, summarize
from tickmesh.research.backtest.stored import save
from tickmesh.tools.backtest_report import backtest_report
from tickmesh.tools.terminal import Failure, UsageFailure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backtests")
    for name, seed in (("a", 1), ("b", 2)):
        save(dataclasses.replace(random_result(seed), coverage=(f"trades of {name} are missing",)), folder / f"{name}.npz")
    return folder


def test_a_file_is_a_report_and_a_page(folder):
    shown = mesh_here(folder, "backtest-report", "a.npz", "--html", "a.html", "--interval", "5")
    assert shown.returncode == 0 and shown.stdout.startswith("Missing data: trades of a are missing\n"), shown.stderr
    assert "Sharpe ratio" in shown.stdout and (folder / "a.html").read_text().startswith("<!doctype html>")
    found = mesh_here(folder, "backtest-report", "a.npz", "--json", "--interval", "5")
    report = summarize(dataclasses.replace(random_result(1), coverage=("trades of a are missing",)), 5_000_000_000)
    assert json.loads(found.stdout) == json.loads(json.dumps(as_dict(report)))


def test_several_files_stand_side_by_side(folder):
    shown = mesh_here(folder, "backtest-report", "a.npz", "b.npz", "--trials", "9")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[:2] == [f"Missing data: {n}.npz: trades of {n} are missing" for n in "ab"]
    assert "2 of 9 trials" in shown.stdout and "deflated" in shown.stdout


def test_what_cannot_be_reported_is_one_sentence(folder):
    (folder / "bad.npz").write_text("nothing")
    done = mesh_here(folder, "backtest-report", "bad.npz")
    assert done.returncode == 1 and done.stderr.startswith("mesh: bad.npz is no result of a backtest"), done.stderr
    a, b = folder / "a.npz", folder / "b.npz"
    with pytest.raises(UsageFailure, match="--html is of one backtest"):
        backtest_report([a, b], None, 1, None, folder / "x.html")
    with pytest.raises(UsageFailure, match="--trials is of a comparison"):
        backtest_report([a], None, 1, 5, None)
    with pytest.raises(UsageFailure, match="the same backtest twice is no trial more"):
        backtest_report([a, b, a], None, 1, None, None)
    with pytest.raises(Failure, match="take a longer one"):
        backtest_report([a], 0.001, 1, None, None)
    with pytest.raises(Failure, match=r"page.html cannot be written: No such file or directory"):
        backtest_report([a], None, 1, None, folder / "gone" / "page.html")
