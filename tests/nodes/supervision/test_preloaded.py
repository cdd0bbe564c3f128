"""Processes that begin as copies of supervisord: the same to the last as those that begin anew, and less memory."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tickmesh
from tests.support.node_lives import lives
from tickmesh.nodes.supervision import preloaded, taking_over
from tickmesh.nodes.supervision.preloaded import LoadedCode

ARGV = [".venv/bin/python", "-m", "tickmesh.nodes", "sequencer"]


@pytest.mark.mesh
def test_a_copy_is_what_a_process_that_begins_anew_is(make_root):
    copy, anew = lives(make_root())
    assert copy.facts == anew.facts
    assert copy.facts["cmdline"] == ARGV
    assert copy.facts["leads its group"] and copy.facts["exit codes"] == ["0", "2"]
    assert copy.private_kb < 0.7 * anew.private_kb, "it shares what supervisord has loaded"


def loaded_now(**more) -> LoadedCode:
    usual = {"files": (), "packages": {}, "environment": preloaded.read_at_start(os.environ), "uid": os.getuid()}
    return LoadedCode(**(usual | more))


@pytest.fixture
def loaded(monkeypatch):
    """Gives what makes this process one that has loaded something."""
    monkeypatch.setattr(taking_over, "why_not", lambda _argv: "")

    def put(**more) -> None:
        monkeypatch.setattr(preloaded, "_loaded", [loaded_now(**more)])

    put()
    return put


def why_not(filename: str = sys.executable, argv: list[str] = ARGV, **more: str) -> str:
    return preloaded.why_not(filename, argv, dict(os.environ) | more)


def test_the_same_program_goes_on_in_a_copy(loaded):
    assert why_not() == ""
    assert why_not(TICKMESH_SETTINGS="log=1", HOME="/nowhere") == "", "what is read when it is needed may differ"


def test_code_that_has_changed_begins_anew(loaded, tmp_path):
    file = tmp_path / "node.py"
    file.write_text("A = 1\n")
    seen = file.stat()
    loaded(files=((os.fsencode(file), seen.st_size, seen.st_mtime_ns),))
    assert why_not() == ""
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))
    assert why_not() == f"{file} has changed since it was loaded"
    file.unlink()
    assert why_not() == f"{file} has changed since it was loaded"


def test_what_an_interpreter_would_load_from_its_folder_instead_begins_anew(loaded, tmp_path, monkeypatch):
    ours = Path(str(tickmesh.__file__)).parent
    loaded(packages={"tickmesh": str(ours), "json": "/usr/lib/json"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.txt").touch()
    (tmp_path / "tickmesh").symlink_to(ours)
    assert why_not() == "", "the same package by another name, and what is no module"
    (tmp_path / "json.py").touch()
    assert why_not() == f"{'json.py'} comes before what is loaded".replace("json.py", str(Path.cwd() / "json.py"))


@pytest.mark.parametrize(
    "name", ["PYTHONPATH", "PYTHONHASHSEED", "NUMBA_DISABLE_JIT", "OPENBLAS_NUM_THREADS", "TICKMESH_CLOCK"]
)
def test_an_environment_that_only_a_new_interpreter_takes_up_begins_anew(loaded, name):
    assert "environment" in why_not(**{name: "another"})


def test_other_programs_interpreters_and_users_begin_anew(loaded, monkeypatch):
    assert why_not(argv=["/bin/cat", "file"]) == "it is another program"
    assert why_not(argv=[*ARGV[:2], "tickmesh.nodes.session.emergency"]) == "it is another program"
    assert "another interpreter" in why_not("/usr/bin/python3")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert why_not() == "it is another user"


def test_a_command_line_longer_than_supervisord_s_begins_anew():
    assert taking_over.why_not(["python"]) == ""
    assert "longer" in taking_over.why_not(["python", "x" * 100_000])


def test_the_nodes_of_a_table_are_found_with_their_guests():
    commands = (
        "/bin/cat x",
        " ".join(ARGV) + " model flow",
        ".venv/bin/python -m tickmesh.nodes feed kraken-1",
        "a -m tickmesh.nodes no",
    )
    group = SimpleNamespace(process_configs=[SimpleNamespace(command=one) for one in commands])
    supervisord = SimpleNamespace(options=SimpleNamespace(process_group_configs=[group]))
    assert preloaded.nodes_of(supervisord) == ["sequencer", "model", "feed"]
