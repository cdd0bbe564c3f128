"""A newcomer follows docs/research.md on a mesh that runs: from `make up` to a plotted backtest of a model of their own."""

import json
import warnings

import pytest

import tickmesh
from tests.support import mesh_run as run
from tests.support import notebook_run
from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.research_walk import new_folder, walk
from tickmesh.bus.schema import Kind
from tickmesh.research.backtest import (
    running,  # noqa: F401 - before numba's folder is that of a mesh which the test throws away: then it is compiled each time
    stored,
)

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """(the mesh's folder, what each line of the page did); the mesh is down again."""
    for library in ("pyarrow", "matplotlib"):
        pytest.importorskip(library)
    root = tmp_path_factory.mktemp("newcomer")
    new_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("TICKMESH_ROOT", raising=False)
        patch.setenv("MPLBACKEND", "Agg")
        try:
            yield root, list(walk(root))
        finally:
            mesh_here(root, "down")


def test_every_line_of_the_page_does_what_it_is_for(walked):
    root, steps = walked
    assert steps[-1].line == "make down" and not any(step.code for step in steps), (steps[-1], run.logs(root))
    texts = {step.line: step.text for step in steps}
    assert "0 of 0 live ones" not in texts["mesh replay --check --model my_model"]
    page = (root / "run/mine.html").read_text()
    assert page.count("<svg") >= 2 and (root / "run/mine.png").stat().st_size > 10_000
    result = stored.load(root / "run/mine.npz")
    assert result.strategies == ("mine",) and len(result.orders) > 0 and list(result.settings["models"]) == ["model-my_model"]


def test_an_edited_kernel_went_live_by_a_restart_of_its_process(walked):
    root, _ = walked
    first, second = [event for event in run.events(root, Kind.run) if event.subject == "model-my_model"]
    assert [event.map()["parameters"]["half_life_ms"] for event in (first, second)] == [5000.0, 5000.0], "of mesh.toml"
    assert first.map()["code"] != second.map()["code"]
    signals = [event.seq for event in run.events(root, Kind.signal)]
    assert any(first.seq < seq < second.seq for seq in signals) and any(seq > second.seq for seq in signals)


NOTEBOOKS = sorted((PROJECT / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_on_what_the_walk_has_recorded(walked, monkeypatch, path):
    """Each states in its cells what must hold: enough moments, no look-ahead, parity with what was live."""
    from matplotlib import pyplot

    root, steps = walked
    assert steps[-1].line == "make down", "the recording is whole"
    monkeypatch.chdir(root)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gaps in what was recorded
        names = notebook_run.run(path)
    assert names["tm"] is tickmesh and pyplot.get_fignums(), "it has drawn"
    pyplot.close("all")


def test_notebooks_are_kept_without_what_they_printed():
    """They are read as pages and run by people and tests; output of somebody's machine is not among the sources."""
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        kept = [cell for cell in json.loads(path.read_text())["cells"] if cell.get("outputs") or cell.get("execution_count")]
        assert not kept, f"{path.name}: clear its outputs before it is committed"


def test_a_cell_that_raises_is_named(tmp_path):
    book = {"nbformat": 4, "cells": [{"cell_type": "code", "source": ["x = 1\n", "1 / 0"]}]}
    (tmp_path / "broken.ipynb").write_text(json.dumps(book))
    with pytest.raises(notebook_run.CellError, match="broken.ipynb, cell 1: ZeroDivisionError"):
        notebook_run.run(tmp_path / "broken.ipynb")
