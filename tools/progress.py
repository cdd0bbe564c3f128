"""A bar on stderr, where a person sits and the work is long enough to wonder."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tickmesh.tools.terminal import err

Shown = Callable[[int, int | None], None]  # (how much is done, of how much, None: not known)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Shown]:
    """Gives what is to be called as `what` goes on: it is shown until the block ends, and not where stderr is no terminal."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, of: shown.update(task, completed=done, total=of)
