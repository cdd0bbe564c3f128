"""What every command shares: a fault is one sentence on stderr and an exit code (1 failed, 2 wrongly called)."""

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import msgspec
import typer
from rich.console import Console

from tickmesh.bus.config import Config, ConfigError, load

# The parser's own exception, wherever this version of typer keeps it.
UsageError: Any = typer.BadParameter.__base__

JsonObject = dict[str, Any]  # what a command gives, as `--json` prints it


class Enough(Exception):
    """Whoever reads our output has closed it (`tap | head`): no fault, and nothing more to say."""


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        raise Enough


out = _Terminal(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Failure(Exception):
    """A sentence for the person at the terminal."""

    code = 1


class UsageFailure(Failure):
    """The command was called wrongly."""

    code = 2


def config() -> Config:
    return load()


def app(help: str, no_args_is_help: bool = True) -> typer.Typer:
    return typer.Typer(help=help, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=no_args_is_help)


def print_json(value: object) -> None:
    """One object on one line of stdout."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise Enough from None


def _end(name: str, sentence: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(f"{name}: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def _as_ctrl_c(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: what was begun is being cleaned up
    raise KeyboardInterrupt


def run(commands: typer.Typer, name: str) -> NoReturn:
    """Runs a command line; never shows a traceback for a fault that was foreseen. A SIGTERM or a closed terminal
    is a Ctrl-C: whatever a command has begun it ends."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else it is ignored, as under nohup
            signal.signal(number, _as_ctrl_c)
    try:
        code = commands(standalone_mode=False, prog_name=name)
        sys.stdout.flush()
    except UsageError as error:
        message = error.format_message()
        if not message:  # no arguments at all: the help has been shown
            raise SystemExit(2) from None
        _end(name, f"{message.rstrip('.')}; see {name} --help", 2)
    except Failure as error:
        _end(name, str(error), error.code)
    except ConfigError as error:
        _end(name, str(error), 1)
    except Enough:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except (KeyboardInterrupt, typer.Abort):
        raise SystemExit(130) from None
    raise SystemExit(code if isinstance(code, int) else 0)
