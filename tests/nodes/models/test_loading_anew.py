"""A model whose file was edited is loaded as it is now, in a process that had loaded it before: a notebook's."""

import os
import sys
from pathlib import Path

import pytest

from tickmesh.bus.config import ConfigError
from tickmesh.bus.config import load as settings
from tickmesh.nodes.models import loading

MODEL = """
import numpy as np
from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.anew_helper import FACTOR
KINDS = (Kind.quote,)
HORIZON_NS = 1
PARAMETERS = {}
STATE = np.dtype([("seen", "<i8")])
def kernel(state, parameters, units, rows, count, quotes, trades, levels, out):
    return 0
"""


def write(path: Path, text: str) -> None:
    """Writes a file, each time within the same second: only its text tells an edit that changes no length."""
    path.write_text(text)
    os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def folder(root, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # compiled files are there, as for a person
    (root / "models").mkdir()
    write(root / "models/anew.py", MODEL)
    write(root / "models/anew_helper.py", "FACTOR = 3\n")
    loading.use_folder(settings(root))
    return root / "models"


def test_an_edit_of_a_model_or_of_what_it_imports_is_seen_by_the_next_load(folder):
    first = loading.load("anew")
    assert (first.HORIZON_NS, first.FACTOR) == (1, 3) and loading.load("anew") is first, "unchanged it is imported once"
    write(folder / "anew.py", MODEL.replace("HORIZON_NS = 1", "HORIZON_NS = 2"))
    assert loading.load("anew").HORIZON_NS == 2
    write(folder / "anew_helper.py", "FACTOR = 4\n")
    assert loading.load("anew").FACTOR == 4


def test_two_meshes_of_one_process_have_models_of_their_own(folder, make_root):
    other = make_root()
    (other / "models").mkdir()
    write(other / "models/anew.py", MODEL.replace("HORIZON_NS = 1", "HORIZON_NS = 5"))
    write(other / "models/anew_helper.py", "FACTOR = 7\n")
    write(other / "models/anew_two.py", MODEL)
    assert loading.load("anew").HORIZON_NS == 1
    loading.use_folder(settings(other))
    there = loading.load("anew")
    assert (there.HORIZON_NS, there.FACTOR, loading.load("anew_two").FACTOR) == (5, 7, 7)
    loading.use_folder(settings(folder.parent))
    assert (loading.load("anew").HORIZON_NS, loading.load("anew").FACTOR) == (1, 3)
    with pytest.raises(ConfigError, match="anew_two"):
        loading.load("anew_two")
