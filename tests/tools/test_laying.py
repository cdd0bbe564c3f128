"""The link .venv of a mesh's folder: made where it is missing or dead, and what is no link is never thrown away."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.config import Config
from tickmesh.bus.settings import Mesh
from tickmesh.tools.laying import refresh
from tickmesh.tools.terminal import Failure


@pytest.mark.parametrize(("target", "words"), [(None, ".venv was missing; it is now"), ("/gone", ".venv led nowhere")])
def test_a_folder_without_a_python_is_linked_to_this_one(tmp_path, target, words):
    shutil.copy(PROJECT / "supervisor.conf", tmp_path)
    if target:
        (tmp_path / ".venv").symlink_to(target)
    said: list[str] = []
    for _ in range(2):
        refresh(Config(Mesh(), tmp_path), said.append)
    assert (tmp_path / ".venv").readlink() == Path(sys.prefix) and len(said) == 1 and said[0].startswith(words)


def test_a_folder_of_somebody_is_not_replaced(tmp_path):
    (tmp_path / ".venv/lib").mkdir(parents=True)
    with pytest.raises(Failure, match="has no bin/python, and cannot be made a link"):
        refresh(Config(Mesh(), tmp_path), print)
    assert (tmp_path / ".venv/lib").is_dir()
