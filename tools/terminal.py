"""What every command shares: a fault is one sentence on stderr and an exit code (1 failed, 2 wrongly called)."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def interrupted(sentence: str) -> Iterator[None]:
    """Says on stderr what goes on when a Ctrl-C ends the command in here."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(sentence, markup=False)
        raise


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


def _takes_nothing() -> bool:
    """Whether stdout takes not even the end of a line."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except io.UnsupportedOperation:
        return False  # no file at all
    except OSError:
        return True
    return False


def _throw_output_away() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_ctrl_c(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what was begun is being cleaned up
    raise KeyboardInterrupt


class _CtrlC:
    """Remembers that a Ctrl-C came: a library that is being imported then may make a fault of its own of it (numba does)."""

    def __init__(self) -> None:
        self.came = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, or somebody else's
            signal.signal(signal.SIGINT, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.default_int_handler(number, frame)


def _finished(program: Callable[[], int]) -> int:
    """Runs a program to its end and writes what it has printed; gives its exit code. argparse ends by SystemExit."""
    try:
        code = program()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    return code


def run(program: Callable[[], int], name: str) -> NoReturn:
    """Runs a program and exits with the code it gives; a foreseen fault is one sentence on stderr, never a traceback.

    A SIGTERM or a closed terminal is a Ctrl-C: whatever a command has begun it ends.
    """
    ctrl_c = _CtrlC()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else it is ignored, as under nohup
            signal.signal(number, _as_ctrl_c)
    try:
        code = _finished(program)
    except Failure as error:
        _end(name, str(error), error.code)
    except ConfigError as error:
        _end(name, str(error), 1)
    except OutputClosed:
        _throw_output_away()
        raise SystemExit(0) from None
    except OSError as error:
        if not _takes_nothing():
            raise
        _throw_output_away()  # what is in a buffer still
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        _end(name, f"its output cannot be written: {error.strerror}", 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ImportError:
        if not ctrl_c.came:
            raise
        raise SystemExit(130) from None
    raise SystemExit(code)
