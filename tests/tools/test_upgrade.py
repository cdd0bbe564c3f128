"""A mesh is a folder of its user: a newer program reads what an older one left there, and changes nothing of a person."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.command_run import mesh_here, run_here
from tests.support.places import PROJECT
from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.schema import SCHEMA_HASH
from tickmesh.nodes import models
from tickmesh.nodes.models import loading
from tickmesh.storage.query import reader
from tickmesh.tools import laying

OLD = PROJECT / "tests/upgrade/version-0.1.0.tar.xz"  # a folder as that version left it: log, archive, two sealed days
KERNEL = (PROJECT / "nodes/models/book_imbalance.py").read_text()


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("without", ["", "log"])
def test_data_of_version_0_1_0_reads_as_it_was_written(old, without):
    config, holds = load(old), json.loads((old / "holds.json").read_text())
    if without:
        shutil.rmtree(config.log_dir)  # what the archive holds alone
    events = list(reader.events(config))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(events) == holds["events"] if not without else len(events) > 0.9 * holds["events"]
    if without:
        return
    for topic, expected in holds["topics"].items():
        rows = reader.arrays(config, topic, gaps="ignore")
        assert {"rows": len(rows)} | {name: int(rows[name].sum()) for name in expected if name != "rows"} == expected, topic
    if holds["schema"] == SCHEMA_HASH:
        assert hashlib.sha256(b"".join(bytes(event.raw) for event in events)).hexdigest() == holds["sha256"], "every byte"


def test_commands_work_on_data_of_version_0_1_0(old):
    holds = json.loads((old / "holds.json").read_text())
    shown = run_here(old, "tap", "trade.binance", "--until", "now", "--json").stdout.splitlines()
    assert len(shown) == sum(holds["topics"][f"trade.binance.{symbol}"]["rows"] for symbol in ("BTCUSDT", "ETHUSDT"))
    for words in (["coverage"], ["bars", "BTCUSDT", "--every", "1h"], ["rebuild"], ["export", "--to", "out"]):
        done = mesh_here(old, *words)
        assert done.returncode == 0, (words, done)
    assert "2024-08-10" in mesh_here(old, "rebuild").stdout, "the newest sealed day"
    assert (old / "mesh.toml").read_text().startswith("# As a mesh of tickmesh 0.1.0")


def test_a_supervisor_conf_that_nobody_changed_goes_with_the_program(old):
    path, said = old / "supervisor.conf", []
    assert laying.unchanged(path.read_bytes()), "as 0.1.0 laid it"
    laying.refresh(load(old), said.append)
    shipped = laying.SHIPPED.read_bytes()
    assert path.read_bytes() in (shipped, laying.marked(shipped))
    path.write_bytes(laying.marked(b"; of a version in between\n"))
    laying.refresh(load(old), said.append)
    assert path.read_bytes() == laying.marked(shipped) and "is now that of this version" in said[-1]
    mine = laying.marked(shipped).replace(b"[include]", b"[program:mine]\ncommand=sleep 1\n[include]")
    path.write_bytes(mine)
    laying.refresh(load(old), said.append)
    assert path.read_bytes() == mine, "somebody has changed it"


def test_a_link_to_an_environment_that_is_gone_is_laid_anew(old):
    (old / ".venv").symlink_to(old / "removed")
    laying.refresh(load(old), print)
    assert (old / ".venv").resolve() == Path(sys.prefix).resolve()


def test_init_makes_a_folder_that_is_a_mesh(tmp_path):
    done = mesh_here(tmp_path, "init", "mine/mesh", "--json")
    root = tmp_path / "mine/mesh"
    assert done.returncode == 0 and json.loads(done.stdout)["laid"] == ["supervisor.conf", ".venv", "models/"], done.stderr
    assert load(root).mode == "sim" and load(root).models_dir == root / "models"
    assert mesh_here(root, "coverage").returncode == 0
    refused = mesh_here(tmp_path, "init", "other", "--mode", "capture")
    assert refused.returncode == 2 and "which venue?" in refused.stderr


def test_models_of_ones_own_lie_in_a_folder_of_ones_own(root):
    (root / "elsewhere").mkdir()
    (root / "mesh.toml").write_text('[paths]\nmodels = "elsewhere"\n')
    (root / "elsewhere/my_imbalance.py").write_text(KERNEL)
    loading.use_folder(load(root))
    loading.use_folder(load(root))
    assert "my_imbalance" in loading.names() and models.__path__.count(str(root / "elsewhere")) == 1
    assert Path(loading.load("my_imbalance").__file__).parent == root / "elsewhere"
    others = "book_imbalance, live_features, my_imb"
    with pytest.raises(ConfigError, match=f"no file of nodes/models or {root / 'elsewhere'}; there are {others}"):
        loading.load("nothing")
    (root / "elsewhere/decay.py").write_text("")
    with pytest.raises(ConfigError, match="decay.py has the name of a shipped file"):
        loading.use_folder(load(root))


def test_a_package_has_all_that_a_mesh_needs(tmp_path):
    """Its content is built into a folder of its own; nothing of the checkout is seen."""
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    for name in ("bus", "nodes", "storage", "tools", "tickmesh"):
        shutil.copytree(PROJECT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "supervisor.conf"):
        shutil.copy(PROJECT / name, source / name)
    site = tmp_path / "site"
    build = [sys.executable, "-c", "from setuptools import setup; setup()", "build_py", "--build-lib", str(site)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    program = "import sys; from tickmesh.tools import cli; sys.argv[0] = 'mesh'; cli.main()"
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def mesh(folder: Path, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", program, *words], cwd=folder, env=environment, capture_output=True, text=True
        )

    assert mesh(tmp_path, "init", "mine").returncode == 0
    laid = tmp_path / "mine" / "supervisor.conf"
    assert laying.unchanged(laid.read_bytes()) and laid.read_bytes().startswith(laying.SHIPPED.read_bytes())
    assert "Nothing is stored yet" in mesh(tmp_path / "mine", "coverage").stdout
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [".venv", "mesh.toml", "models", "supervisor.conf"]
