"""`mesh rebuild`: a sealed day made again, from the log or from the archive's own events, and compared by checksum."""

import tempfile
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bus.config import load
from storage.rebuild import rebuild_day
from storage.segment import ArchiveError
from tools.terminal import Failure, Usage, err, out

SOURCES = ("events", "raw")


def rebuild(day: str, into: Path | None, source: str, quiet: bool) -> dict:
    """The verdict, as `--json` prints it. Raises Usage and Failure with a sentence."""
    config = load()
    if source not in SOURCES:
        raise Usage(f"--from {source} is unknown; allowed: {', '.join(SOURCES)}")
    if source == "raw":
        raise Failure("raw frames cannot be read into events yet; use --from events")
    try:
        day = str(np.datetime64(day, "D"))
    except ValueError:
        raise Usage(f"--day {day} is no day; it should be like 2024-08-09") from None
    if into is not None and into.exists() and any(into.iterdir()):
        raise Failure(f"{into} is not empty; a rebuilt day needs an empty folder, or none: then it is compared and thrown away")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, disable=quiet, transient=True) as bar, tempfile.TemporaryDirectory() as scratch:
        task = bar.add_task(f"rebuilding {day}", total=None)
        target = into or Path(scratch) / "archive"
        try:
            used, rows = rebuild_day(
                config.archive_dir, config.log_dir, day, target, lambda done, all: bar.update(task, completed=done, total=all)
            )
        except ArchiveError as error:
            raise Failure(str(error)) from None
    return {
        "ok": all(row.same for row in rows),
        "day": day,
        "from": used,
        "into": str(into) if into else None,
        "files": [{"folder": row.folder, "was": row.was, "now": row.now, "same": row.same} for row in rows],
    }


def show(result: dict) -> None:
    """For a person."""
    for row in result["files"]:
        out.print(f"{row['folder']:<32} {row['now'][:16] or 'no file':<16} {'same' if row['same'] else 'DIFFERS'}")
    if result["ok"]:
        out.print(f"ok: {result['day']}, made again from the {result['from']}, has the same content.")
    else:
        out.print(f"NOT ok: {result['day']}, made again from the {result['from']}, differs from the archive's.")
