"""The first section of docs/research.md as a newcomer goes it: commands, settings and Python on a mesh of its own, in order."""

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.command_run import PROGRAMS, run_here
from tests.support.page_blocks import Block, commands, section
from tests.support.places import PROJECT

WALK = ("docs/research.md", "From `make up` to a backtest of your own model")
# The two models that every mesh has anyhow are left out: their kernels are compiled, and their signals seen, in other tests.
SETTINGS = "default_models = false\n[exchange]\nseed = 7\n"
MAKEFILE = "up:\n\t@.venv/bin/mesh up\ndown:\n\t@.venv/bin/mesh down\nextras:\n\t@true\n"  # what they install is installed


class Step(NamedTuple):
    """What one line of the page did: the command (or the language of a block), its exit code and what it printed."""

    line: str
    code: int
    text: str


def new_folder(root: Path) -> None:
    """Lays out a mesh's folder in which `make up` works as in a checkout, without installing anything."""
    (root / "mesh.toml").write_text(SETTINGS)
    shutil.copy(PROJECT / "supervisor.conf", root)
    (root / "Makefile").write_text(MAKEFILE)
    (root / ".venv").symlink_to(sys.prefix)


def walk(root: Path) -> Iterator[Step]:
    """Does in the folder `root` what the page says; ends after the first step that fails."""
    for block in section(*WALK):
        for step in steps(root, block):
            yield step
            if step.code:
                return


def steps(root: Path, block: Block) -> Iterator[Step]:
    """What one block of the page does: commands are run, settings go to the end of mesh.toml, Python is run by itself."""
    if block.language == "bash":
        for words in commands(block):
            yield run_line(root, words)
    elif block.language == "toml":
        with (root / "mesh.toml").open("a") as file:
            file.write(f"\n{block.text}")
    elif block.language == "python":
        path = root / f"block_{block.number}.py"
        path.write_text(block.text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of gaps in what was recorded
            runpy.run_path(str(path))
        yield Step(f"python {path.name}", 0, "")


def run_line(root: Path, words: list[str]) -> Step:
    """Runs one command: ours in this process, others by a shell in the environment of the mesh."""
    if words[0] in PROGRAMS:
        done = run_here(root, *words)
    else:
        environment = {**os.environ, "PATH": f"{root}/.venv/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", shlex.join(words)], cwd=root, env=environment, capture_output=True, text=True, timeout=120
        )
    return Step(" ".join(words), done.returncode, done.stdout + done.stderr)
