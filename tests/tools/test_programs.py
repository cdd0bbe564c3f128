"""The programs as they are installed, before and at the end of what a command does: Ctrl-C and a full stdout, no traceback."""

import configparser
import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support.command_run import mesh_here
from tests.support.mesh_run import until
from tests.support.places import PROJECT
from tests.support.stand_ins import StandIns
from tickmesh.tools.running import living


def entry_points() -> dict[str, str]:
    """Program → `module:function`, as setup.cfg installs them."""
    settings = configparser.ConfigParser()
    settings.read(PROJECT / "setup.cfg")
    pairs = (line.split(" = ") for line in settings["options.entry_points"]["console_scripts"].split("\n") if line)
    return {name: target for name, target in pairs}


def program(name: str, *words: str) -> list[str]:
    """A command line that runs an installed program."""
    module, function = entry_points()[name].split(":")
    return [sys.executable, "-P", "-c", f"import sys; from {module} import {function}; sys.exit({function}())", *words]


@pytest.mark.parametrize("name", ["mesh", "tap"])
def test_ctrl_c_while_it_imports_is_no_traceback(tmp_path, name):
    """msgspec stands for all that takes long to be imported: here it never comes to an end."""
    begun = tmp_path / "begun"
    (tmp_path / "msgspec.py").write_text(f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(600)\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(program(name), env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        try:
            until(begun.exists, f"{name} imports", 60)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130 and process.stderr.read() == b""
        finally:
            process.kill()


@pytest.mark.parametrize("ctrl_c", [True, False])
def test_a_library_that_makes_a_fault_of_a_ctrl_c_during_its_import_shows_none(ctrl_c):
    code = f"""if True:
        import os, signal
        from tickmesh.tools import terminal
        def program():
            try:
                {"os.kill(os.getpid(), signal.SIGINT)" if ctrl_c else "pass"}
            except KeyboardInterrupt:
                pass
            raise ImportError("a part of it failed to import")
        terminal.run(program, "mesh")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == ((130, False) if ctrl_c else (1, True)), done


@pytest.mark.mesh
def test_ctrl_c_on_up_says_that_the_mesh_goes_on_starting(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    shutil.copy(PROJECT / "supervisor.conf", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    StandIns(tmp_path)  # which write no log: it would wait for long
    try:
        with subprocess.Popen(program("mesh", "up"), cwd=tmp_path, stderr=subprocess.PIPE) as up:
            until((tmp_path / "run/supervisord.pid").exists, "supervisord is there", 60)
            up.send_signal(signal.SIGINT)
            assert up.wait(60) == 130
            said = up.stderr.read().decode()
        assert said == "The mesh goes on starting: `mesh status` shows how far it is, `mesh down` ends it.\n"
        assert until(lambda: living(tmp_path), "it goes on", 60)
    finally:
        assert mesh_here(tmp_path, "down").returncode == 0


@pytest.mark.parametrize(("name", "words"), [("mesh", ("status",)), ("mesh", ("status", "--json")), ("mesh", ("--version",))])
def test_a_stdout_that_takes_nothing_is_a_sentence(make_root, name, words):
    root = make_root()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(program(name, *words), cwd=root, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, f"{name}: its output cannot be written: No space left on device\n")
