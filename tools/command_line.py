"""The command line of `mesh`, as typer reads it. (`tap` has argparse: what typer brings takes longer than its first line.)"""

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]  # typer.completion has it, and does not list it

from tickmesh.tools.terminal import UsageFailure, version_text

# The parser's own exception, wherever this version of typer keeps it.
UsageError: Any = typer.BadParameter.__base__


def command_group(help: str) -> typer.Typer:
    """A program's group of commands, with its help."""
    return typer.Typer(
        help=help, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version_text())
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.", show_default=False)
]


def caller(commands: typer.Typer, name: str) -> Callable[[], int]:
    """The program for `terminal.run`: calls the command that the words name, and gives its exit code."""

    def call() -> int:
        if f"_{name.upper()}_COMPLETE" in os.environ:
            completion_init()
        try:
            code = commands(standalone_mode=False, prog_name=name)
        except UsageError as error:
            if not (message := error.format_message()):  # no arguments at all: the help has been shown
                return 2
            sentence = " ".join(message.split())  # typer lists what an argument may be in lines of their own
            raise UsageFailure(f"{sentence.rstrip('.')}; see {name} --help") from None
        except typer.Abort:
            raise KeyboardInterrupt from None
        return code if isinstance(code, int) else 0

    return call
