"""Completion by the Tab key: what is installed for each shell, and a real bash that completes."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from tests.support.command_run import mesh_here
from tickmesh.tools import completed_words, completion
from tickmesh.tools.tap import arguments

OPTIONS = arguments()._option_string_actions
MESH = '[[instruments]]\nsymbol = "BTCUSDT"\n'


@pytest.fixture
def home(root, monkeypatch):
    """A mesh's folder that is the user's home, too: no start file of this machine is touched."""
    (root / "mesh.toml").write_text(MESH)
    (root / ".venv").symlink_to(sys.prefix)
    monkeypatch.setenv("HOME", str(root))
    for name in ("ZDOTDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return root


class Terminal:
    """A real, interactive bash on a terminal of its own, which types what it is given."""

    def __init__(self, home):
        self._ours, theirs = pty.openpty()
        environment = os.environ | {"TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "-i"], cwd=home, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def types(self, keys: str, until: str) -> None:
        """Types, and waits until the terminal shows something."""
        self.shown = ""
        os.write(self._ours, keys.encode())
        deadline = time.monotonic() + 60
        while until not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._ours], [], [], 0.2)[0]:
                self.shown += os.read(self._ours, 4096).decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_a_real_bash_completes_commands_options_and_names_of_this_mesh(home):
    assert mesh_here(home, "completion", "install", "--shell", "bash").returncode == 0
    (home / "a-file").touch()
    bash = Terminal(home)
    try:
        bash.types(".venv/bin/mesh kill-sw\t", "mesh kill-switch ")
        bash.types("\x15.venv/bin/mesh logs feed-binance-2 exec\t", "logs feed-binance-2 executor ")
        bash.types("\x15.venv/bin/tap trade --wh\t", "tap trade --where ")
        bash.types("\x15.venv/bin/tap --columns seq,quantity_l\t", "seq,quantity_l")
        bash.types("\x15.venv/bin/mesh verify a-f\t", "verify a-file ")
        # Names come from a folder that somebody else may have written: what they look like to a shell is never done.
        (home / "mesh.toml").write_text('mode = "capture"\n[[instruments]]\nsymbol = "XRP$(>pwned)"\n')
        bash.types("\x15.venv/bin/mesh latency XR\t", "latency XRP$(>pwned)")
        assert not (home / "pwned").exists()
    finally:
        bash.close()


@pytest.mark.parametrize(("shell", "start"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_installing_again_changes_nothing_and_removing_leaves_what_was_there(home, shell, start):
    if start:
        (home / start).write_text("alias ll='ls -l'")
    first = json.loads(mesh_here(home, "completion", "install", "--shell", shell, "--json").stdout)
    assert len(first["written"]) == 2
    assert json.loads(mesh_here(home, "completion", "install", "--shell", shell, "--json").stdout)["written"] == []
    if start:
        lines = (home / start).read_text().splitlines()
        assert len(lines) == 2 and lines[0] == "alias ll='ls -l'" and lines[1].endswith(completion.MARK)
    else:
        assert {path.name for path in (home / ".config/fish/completions").iterdir()} == {"mesh.fish", "tap.fish"}
    removed = json.loads(mesh_here(home, "completion", "remove", "--shell", shell, "--json").stdout)
    assert sorted(removed["removed"]) == sorted(first["written"])
    if start:
        assert (home / start).read_text() == "alias ll='ls -l'\n"


def test_the_shell_is_the_one_that_is_named_or_that_of_the_environment(home, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    shown = mesh_here(home, "completion", "show")
    assert shown.stdout == completion.ZSH and "compdef _tickmesh_complete mesh tap" in shown.stdout
    assert "complete -c mesh -f" in mesh_here(home, "completion", "show", "--shell", "fish").stdout
    monkeypatch.setenv("SHELL", "/bin/dash")
    for words in ([], ["--shell", "tcsh"]):
        refused = mesh_here(home, "completion", "install", *words)
        assert refused.returncode == 2 and "--shell is one of bash, zsh, fish" in refused.stderr
    assert not (home / ".bashrc").exists()


@pytest.mark.parametrize(
    ("before", "begun", "some", "none"),
    [
        ([], "", {"trade", "quote.binance.BTCUSDT", "fill.binance.BTCUSDT"}, {"--where"}),
        (["trade"], "--", {"--where", "--out", "--columns"}, {"trade", "-n"}),
        (["trade", "--columns"], "", {"price", "side", "lag_ms"}, {"bid_price", "trade"}),
        (["trade", "--columns"], "seq,p", {"seq,price"}, {"price"}),
        (["trade", "-n"], "", set(), {"trade", "price"}),
        (["trade", "--json"], "", {"quote"}, {"price"}),
    ],
)
def test_what_tap_offers(home, before, begun, some, none):
    words = set(completed_words.words_of_tap(OPTIONS, before, begun))
    assert some <= words and not none & words


def test_without_a_mesh_or_with_words_that_cannot_be_read_nothing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert completed_words.instruments("") == [] and completed_words.processes("") == ["supervisord"]
    assert "trade" in completed_words.words_of_tap(OPTIONS, [], "")
    monkeypatch.setenv("COMP_WORDS", "tap 'trade")
    monkeypatch.setenv("COMP_CWORD", "1")
    completed_words.print_words_of_tap(OPTIONS)
    assert capsys.readouterr() == ("", "")
