"""What every command shares: a fault is one sentence on stderr and an exit code (1 failed, 2 wrongly called)."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import msgspec
from rich.console import Console

from tickmesh.bus.config import Config, ConfigError, load

JsonObject = dict[str, Any]  # what a command gives, as `--json` prints it


class OutputClosed(Exception):
    """Whoever read our output has closed it (`tap | head`): the command ends, and that is no fault."""


class _Terminal(Console):
    """A console that never shortens a value of a table (tables.py)."""

    def print(self, *objects: Any, **options: Any) -> None:
        if not any(hasattr(one, "add_row") for one in objects):
            super().print(*objects, **options)
            return
        from tickmesh.tools.tables import fit  # rich's tables take a while to import

        for table in objects:
            whole, gone = fit(self, table)
            super().print(whole, **options)
            if gone:
                super().print(f"(no room for {', '.join(gone)}: a wider terminal, or --json)", style="dim")

    def on_broken_pipe(self) -> None:
        raise OutputClosed


out = _Terminal(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Failure(Exception):
    """The command failed: a sentence for the person at the terminal, and exit code 1."""

    code = 1


class UsageFailure(Failure):
    """The command was called wrongly: a sentence, and exit code 2."""

    code = 2


def config() -> Config:
    """The settings of the folder that this command is called in."""
    return load()


def version_text() -> str:
    """What `--version` prints."""
    from importlib.metadata import version

    return f"tickmesh {version('tickmesh')}, Python {sys.version.split()[0]}"


def announcer(json: bool) -> Callable[[str], None]:
    """Prints a line of what is about to be done: with `--json` on stderr, so that the object is alone on stdout."""
    console = err if json else out
    return lambda line: console.print(line, markup=False)


def print_parts(*parts: tuple[str, str]) -> None:
    """Prints texts, each with its style, on one line of stdout: with two spaces between them, in colour on a terminal only."""
    if out.is_terminal:
        from rich.text import Text

        out.print(Text("  ").join(Text(text, style) for text, style in parts))
        return
    try:
        print("  ".join(text for text, _ in parts), flush=True)
    except BrokenPipeError:
        raise OutputClosed from None


def print_json(value: object) -> None:
    """Prints an object as JSON on one line of stdout."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def _end(name: str, sentence: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(f"{name}: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def _as_ctrl_c(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what was begun is being cleaned up
    raise KeyboardInterrupt


def run(program: Callable[[], int], name: str) -> NoReturn:
    """Runs a program and exits with the code it gives; a foreseen fault is one sentence on stderr, never a traceback.

    A SIGTERM or a closed terminal is a Ctrl-C: whatever a command has begun it ends.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else it is ignored, as under nohup
            signal.signal(number, _as_ctrl_c)
    try:
        code = program()
        sys.stdout.flush()
    except Failure as error:
        _end(name, str(error), error.code)
    except ConfigError as error:
        _end(name, str(error), 1)
    except OutputClosed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(code)
