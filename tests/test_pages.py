"""Every block of code in README.md and docs/ works by itself: what Python runs, what TOML sets, which commands there are."""

import json
import os
import re
import runpy
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path

import msgspec
import pytest
import typer.main
from rich.text import Text

from tests.support.command_run import mesh_here
from tests.support.page_blocks import blocks, commands, section
from tests.support.places import PROJECT
from tests.support.research_walk import WALK
from tickmesh.bus.config import load
from tickmesh.nodes.__main__ import parse
from tickmesh.nodes.exchange.faults import fault_plan
from tickmesh.tools import cli, tap

LANGUAGES = {"python", "toml", "json", "bash", "text", "console"}  # text: a picture or a listing, console: what was printed
PLAIN = {"bash", "cd", "mkdir", "touch", "cat", "curl", "sed", "source"}  # and what a shell has
# Commands that read only: they are run on a recorded market.
RUN = {"coverage", "bars", "export", "rebuild", "ls", "info", "head", "sql"}
NEEDS_EXCHANGE = "run/exchange.json"
# Blocks that other tests run: what reads an export test_export_engines.py, other programs test_exchange_peers.py, and what a
# newcomer does on a mesh that runs test_research_walk.py.
ELSEWHERE = re.compile(r"data/sim/export|^(import|from) (cryptofeed|binance)", re.M)
WALKED = section(*WALK)
GROUP = typer.main.get_command(cli.commands)


def named(found):
    return pytest.mark.parametrize("block", found, ids=[block.name for block in found])


def spread_model() -> tuple[str, str]:
    """(the kernel that docs/research.md prints, its setting)."""
    own = [block for block in blocks() if block.page == "docs/research.md"]
    kernel = next(block.text for block in own if "def kernel(" in block.text)
    return kernel, next(block.text for block in own if block.language == "toml" and 'kernel = "spread"' in block.text)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A mesh's folder with three recorded days, two of them sealed and exported, and the model of docs/research.md."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(PROJECT / "tests/upgrade/version-0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    kernel, setting = spread_model()
    (root / "models").mkdir()
    (root / "models/spread.py").write_text(kernel)
    with (root / "mesh.toml").open("a") as file:
        file.write(f"\n{setting}")
    assert mesh_here(root, "export").returncode == 0
    return root


@pytest.fixture
def here(recorded, monkeypatch) -> Path:
    monkeypatch.chdir(recorded)
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    return recorded


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """A folder in which the local exchange runs by itself, as docs/exchange.md starts it."""
    root = tmp_path_factory.mktemp("venue")
    (root / "mesh.toml").touch()
    environment = {**os.environ, "TICKMESH_ROOT": str(root)}
    with subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "exchange"], cwd=root, env=environment) as process:
        deadline = time.monotonic() + 60
        while not (root / NEEDS_EXCHANGE).exists():
            assert process.poll() is None and time.monotonic() < deadline, "the exchange did not start"
            time.sleep(0.05)
        yield root
        process.terminate()


def test_every_block_says_what_it_is():
    found = blocks()
    assert len(found) > 35
    assert {block.name: block.language for block in found if block.language not in LANGUAGES} == {}


def run_python(block, folder: Path) -> None:
    path = folder / f"block_{re.sub(r'[^a-z]+', '_', block.page)}{block.number}.py"  # in a file: numba caches nothing without
    path.write_text(block.text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gaps in what was recorded
        runpy.run_path(str(path))


@named(
    [
        block
        for block in blocks("python")
        if NEEDS_EXCHANGE not in block.text and not ELSEWHERE.search(block.text) and block not in WALKED
    ]
)
def test_python_runs_by_itself(block, here):
    run_python(block, here)


@pytest.mark.mesh
@named([block for block in blocks("python") if NEEDS_EXCHANGE in block.text and not ELSEWHERE.search(block.text)])
def test_python_that_needs_an_exchange_runs_by_itself(block, exchange, monkeypatch):
    monkeypatch.chdir(exchange)
    run_python(block, exchange)


@named(blocks("toml"))
def test_toml_can_be_set(block, tmp_path):
    if "[[faults]]" in block.text:
        assert fault_plan.read_schedule(block.text.encode(), block.name)
        return
    (tmp_path / "mesh.toml").write_text(block.text)
    merged = msgspec.toml.decode(block.text)
    if "population" in merged.get("exchange", {}) and "instruments" not in merged:
        symbols = "".join(f'[[instruments]]\nsymbol = "{symbol}"\n' for symbol in ("BTCUSDT", "ETHUSDT"))
        (tmp_path / "mesh.toml").write_text(f"{symbols}{block.text}")
    load(tmp_path)


@named(blocks("json"))
def test_json_can_be_read(block):
    assert json.loads(block.text)


def program(words: list[str]) -> tuple[str, list[str]]:
    name = words[0].removeprefix(".venv/bin/")
    if name.startswith("python") and words[1:3] == ["-m", "tickmesh.nodes"]:
        return "nodes", words[3:]
    return name, words[1:]


def check_command(words: list[str]) -> None:
    """Fails for a command that is not there, or is not called so."""
    name, rest = program([word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)] if words[0] != "make" else words)
    if name == "mesh":
        context = GROUP.make_context("mesh", rest[:])
        given, command, left = GROUP.resolve_command(context, rest)
        command.make_context(given, left, parent=context)
    elif name == "tap":
        tap.arguments().parse_intermixed_args(rest)
    elif name == "make":
        makefile = (PROJECT / "Makefile").read_text()
        for word in rest:
            variable, is_variable, _ = word.partition("=")
            pattern = rf"^{variable} \?=" if is_variable else rf"^{word}:"
            assert re.search(pattern, makefile, re.M), f"the Makefile has no {word}"
    elif name == "nodes":
        parse([word for word in rest if not word.startswith("-")])
    elif name == "supervisorctl":
        assert rest[0] == "-c" and rest[2] in ("status", "start", "stop", "restart", "signal", "tail")
    else:
        assert name in PLAIN | {"pip", "git"} or name.startswith("$"), f"{name}: is it a command of ours?"


@named(blocks("bash"))
def test_commands_are_there_and_those_that_read_do(block, here):
    for words in commands(block):
        check_command(words)
        name, rest = program(words)
        if name == "mesh" and rest and rest[0] in RUN and block not in WALKED:
            done = mesh_here(here, *rest)
            assert done.returncode == (1 if "--missing" in rest else 0), (words, done.stderr)


def test_every_command_has_a_row_in_the_table_of_commands():
    table = (PROJECT / "docs/operations.md").read_text().partition("## What happens when it dies")[0]
    rows = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| "))
    assert {name for name in GROUP.commands if f"mesh {name}" not in rows} == set()


def test_help_shows_what_stands_in_brackets():
    """`[exchange]` is markup to the printer of help, and vanishes, where it is not written with a backslash."""
    lost = {
        f"{command.name}: {text}"
        for command in GROUP.commands.values()
        for text in (command.help or "", *(getattr(one, "help", None) or "" for one in command.params))
        if re.sub(r"\\\[", "[", text).count("[") != Text.from_markup(text).plain.count("[")
    }
    assert lost == set()


def test_what_these_tests_look_for_is_found(tmp_path):
    for words in (["mesh", "frob"], ["mesh", "bars", "--frob"], ["make", "frob"], ["tap", "--frob"], ["frob"]):
        with pytest.raises(Exception):  # noqa: B017  each parser has its own
            check_command(words)
