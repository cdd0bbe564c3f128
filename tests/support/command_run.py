"""A command as a person types it, run in this process: its words, output and exit code, without the start of an interpreter."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from tests.support.process_state import process_kept
from tickmesh.tools import cli, tap

PROGRAMS = {"mesh": cli.main, "tap": tap.main}


def mesh_here(root: Path, *words: object) -> CompletedProcess[str]:
    """`mesh WORDS` in the folder `root`."""
    return run_here(root, "mesh", *words)


def run_here(root: Path, program: str, *words: object) -> CompletedProcess[str]:
    """`PROGRAM WORDS` in the folder `root`. What ends, kills or interrupts a command needs a real process instead."""
    line = [str(word) for word in words]
    code: object = 0
    with _as_program(root, program, line) as (out, err):
        try:
            PROGRAMS[program]()
        except SystemExit as end:
            code = end.code
    return CompletedProcess(line, code if isinstance(code, int) else 0, _text(out), _text(err))


@contextlib.contextmanager
def _as_program(root: Path, name: str, line: list[str]) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        process_kept(),
        contextlib.chdir(root),
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", [name, *line]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        os.environ.pop("TICKMESH_ROOT", None)
        yield out, err


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
