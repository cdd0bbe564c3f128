"""Folders with a mesh of their own, deep enough that a socket path would be too long, and real captures; one kernel cache."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.command_run import mesh_here
from tests.support.long_first import long_first
from tests.support.places import PROJECT
from tests.support.process_state import process_kept
from tests.support.source_trees import hash_of, sources

# Machines are noisy and speed is measured in bench/, so no example has a deadline. Examples are the same in every run.
hypothesis.settings.register_profile("tickmesh", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tickmesh")

# And with what supervisord, a pattern, a shell or an ini file would read otherwise.
DEEP = 'a-rather-long-folder-name-so-that-socket-paths-are-not-short/and another one [1] below it, %s "100 %" with spaces'


KEEP_CACHES = 3  # of machine code of other sources


def pytest_configure(config: pytest.Config) -> None:
    """All processes of all tests keep machine code in one folder: a kernel is compiled once, not once for each mesh and worker.

    Its name is a hash of all our sources: numba does not see a changed function of another file, and a test would pass on old
    code. Workers are given what the process that starts them has chosen.
    """
    if hasattr(config, "workerinput"):
        return
    folder = PROJECT / ".pytest_cache/kernels" / hash_of(sources())
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    with contextlib.suppress(OSError):  # another run may remove the same at this moment
        for path in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEEP_CACHES]:
            shutil.rmtree(path, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


@pytest.fixture(scope="session", autouse=True)
def tmpfs() -> Iterator[None]:
    """Outboxes of tests are in RAM as they are in life, and gone when the tests are over."""
    if not os.path.isdir("/dev/shm"):
        yield
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tickmesh-tests-") as folder:
        os.environ["TICKMESH_TMPFS"] = folder
        yield


@pytest.fixture(scope="module", autouse=True)
def process_of_the_module() -> Iterator[None]:
    """What a module's fixtures let this process find, handle or follow is not there for the next module's tests."""
    with process_kept():
        yield


@pytest.fixture(autouse=True)
def process_of_the_test() -> Iterator[None]:
    """Nor what a test does, for the next test."""
    with process_kept():
        yield


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """An empty folder whose path is longer than the 107 bytes that a socket path may have."""
    folder = tmp_path / DEEP
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty mesh.toml; it is the working folder meanwhile."""
    (tmp_path / "mesh.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_root(deep: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Makes a folder that `mesh up` works in: this project's code, its supervisor.conf or `table`, its own settings and data.

    The mesh is brought down at the end, and the working folder is that root meanwhile.
    """
    made: list[Path] = []

    def make(settings: str = "", table: Path | None = None) -> Path:
        root = deep / f"mesh-{len(made)}"
        root.mkdir()
        (root / "mesh.toml").write_text(settings)
        shutil.copy(table or PROJECT / "supervisor.conf", root / "supervisor.conf")
        (root / ".venv").symlink_to(sys.prefix)
        monkeypatch.chdir(root)
        monkeypatch.delenv("TICKMESH_ROOT", raising=False)
        made.append(root)
        return root

    yield make
    for root in made:
        mesh_here(root, "down")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real captures; skips where there is none."""
    folder = Path(os.environ.get("TICKMESH_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no captures in {folder} (TICKMESH_DATA)")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `long` repeat at length what shorter ones show once; TICKMESH_LONG=1 runs them. Meshes come early."""
    for item in items:
        if item.get_closest_marker("long") and not os.environ.get("TICKMESH_LONG"):
            item.add_marker(pytest.mark.skip(reason="long: TICKMESH_LONG=1 runs it"))
    if workers := getattr(config, "workerinput", {}).get("workercount"):
        modules = [item.nodeid.partition("::")[0] for item in items]
        is_long = [_is_long(item) for item in items]
        items[:] = [items[place] for place in long_first(modules, is_long, workers)]


def _is_long(item: pytest.Item) -> bool:
    """Whether a test starts processes or lies among those that do, and is not skipped."""
    starts = item.get_closest_marker("mesh") or item.nodeid.startswith("tests/mesh/")
    return bool(starts) and not item.get_closest_marker("skip")
