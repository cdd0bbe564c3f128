"""What an installation brings: one name, what runs and no more, in the versions that the locks pin."""

import configparser
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.command_run import run_here
from tests.support.places import PROJECT
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load

SETUP = configparser.ConfigParser()
SETUP.read(PROJECT / "setup.cfg")
PACKAGES = ("bus", "storage", "nodes", "research", "tools")
EXTRAS = (
    "pyarrow",
    "matplotlib",
    "polars",
    "duckdb",
    "distributed",
    "dask",
    "fsspec",
    "ccxt",
    "hypothesis",
    "pytest",
    "mypy",
    "ruff",
)


def required(extra: str = "") -> list[Requirement]:
    lines = SETUP["options"]["install_requires"] + (SETUP["options.extras_require"][extra] if extra else "")
    return [Requirement(line) for line in lines.splitlines() if line.strip() and not line.startswith("#")]


def pinned(lock: str) -> dict[str, tuple[str, int]]:
    """Package → (version, how many hashes)."""
    pins: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", (PROJECT / lock).read_text()):
        if match := re.match(r"([\w.-]+)==(\S+)", block):
            pins[canonicalize_name(match[1])] = match[2], block.count("--hash=sha256:")
    return pins


@pytest.mark.parametrize(("lock", "extra", "least"), [("requirements.lock", "", 15), ("requirements-dev.lock", "dev", 25)])
def test_every_package_is_pinned_within_its_range_with_its_hashes(lock, extra, least):
    pins = pinned(lock)
    assert len(required(extra)) > least
    for requirement in required(extra):
        version, hashes = pins[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"{lock} has {requirement.name} {version}: make lock"
        assert hashes, requirement.name


def test_what_runs_and_what_tests_need_are_pinned_alike_and_apart():
    runtime, dev = pinned("requirements.lock"), pinned("requirements-dev.lock")
    assert {name: dev.get(name) for name in runtime} == runtime, "one version of each"
    assert not set(EXTRAS) & set(runtime), "`make up` installs what runs, and nothing else"


def test_nodes_and_commands_run_without_any_extra(tmp_path):
    program = f"""
import sys
from importlib import import_module
from pkgutil import iter_modules

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import tickmesh.tools
from tickmesh.nodes.process_table import NODES
for name in NODES:
    import_module(f"tickmesh.nodes.{{name}}.node")
for module in iter_modules(tickmesh.tools.__path__):
    import_module(f"tickmesh.tools.{{module.name}}")
print("all")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "all\n", done.stderr


def test_a_missing_extra_is_said_with_the_command_that_installs_it(make_root, monkeypatch):
    monkeypatch.setattr("tickmesh.tools.extras.find_spec", lambda name: None)
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(50))
    for words, library in (
        (["export"], "pyarrow"),
        (["head", "trade.BTCUSDT"], "pyarrow"),
        (["outage"], "matplotlib"),
        (["coverage", "--plot", "x.png"], "matplotlib"),
        (["bars", "BTCUSDT", "--plot", "x.png"], "matplotlib"),
    ):
        done = run_here(root, "mesh", *words)
        assert done.returncode == 1, (words, done)
        assert re.search(rf"{sys.executable} -m pip install '{library}[<>=,.\d]+'", done.stderr), done.stderr


def test_the_folders_are_no_packages_of_a_person_s_environment(tmp_path):
    names = ("bus", "nodes", "research", "storage", "tools")
    program = f"import tickmesh.bus.wire, importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_file_that_is_no_python_goes_into_the_wheel():
    """What the program reads beside its modules: scripts and styles of pages, the table of processes."""
    data = {package: patterns.replace("\n", ",").split(",") for package, patterns in SETUP["options.package_data"].items()}
    files = (path.relative_to(PROJECT) for package in PACKAGES for path in (PROJECT / package).rglob("*") if path.is_file())
    others = [path for path in files if path.suffix != ".py" and "__pycache__" not in path.parts]
    assert others
    for path in others:
        patterns = data.get(".".join(("tickmesh", *path.parent.parts)), [])
        assert any(path.match(pattern.strip()) for pattern in patterns), f"{path} is in no package_data of setup.cfg"
