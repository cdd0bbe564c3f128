"""`mesh rebuild`: a sealed day made again, from the log or from the archive's own events, and compared by checksum; or all
market data, from the frames as they came (tools/rebuild_raw.py)."""

import tempfile
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.segments import LogError
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.rebuild import rebuild_day
from tickmesh.tools import rebuild_raw
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, err, out

SOURCES = ("events", "raw")


def rebuild(day: str | None, into: Path | None, source: str, quiet: bool) -> JsonObject:
    """Rebuilds a sealed day or all market data and compares; gives the verdict as `--json` prints it. Raises Failure."""
    config = load()
    if source not in SOURCES:
        raise UsageFailure(f"--from {source} is unknown; allowed: {', '.join(SOURCES)}")
    if into is not None and into.exists() and any(into.iterdir()):
        raise Failure(
            f"{into} is not empty; what is rebuilt needs an empty folder, or none: then it is compared and thrown away"
        )
    if source == "raw":
        if day is not None:
            raise UsageFailure(
                "--day is for --from events; raw frames are read from their first to their last, or books have no beginning"
            )
        return _from_raw(config, into, quiet)
    day = _newest_sealed(config) if day is None else day
    try:
        day = str(np.datetime64(day, "D"))
    except ValueError:
        raise UsageFailure(f"--day {day} is no day; it should be like 2024-08-09") from None
    with _progress(quiet) as bar, tempfile.TemporaryDirectory() as scratch:
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


def _newest_sealed(config: Config) -> str:
    days = [file.day for file in ArchiveReader(config.archive_dir).files if file.part == "day"]
    if not days:
        raise Failure(
            f"no day is sealed in {config.archive_dir} yet: a day is over at midnight UTC, and sealed a minute later. "
            "--from raw makes everything again that raw frames tell"
        )
    return max(days)


def _from_raw(config: Config, into: Path | None, quiet: bool) -> JsonObject:
    log = LogReader(config.log_dir)
    last = max(log.last, ArchiveReader(config.archive_dir).archived_seq)
    with _progress(quiet) as bar, tempfile.TemporaryDirectory() as scratch:
        task = bar.add_task("rebuilding from raw frames", total=last)
        try:
            rows = rebuild_raw.rebuild(
                config, into or Path(scratch) / "archive", log.log_id, lambda seq: bar.update(task, completed=seq)
            )
        except LogError as error:
            raise Failure(str(error)) from None
    return {
        "ok": all(row.same for row in rows),
        "day": None,
        "from": "raw",
        "into": str(into) if into else None,
        "topics": [row._asdict() for row in rows],
    }


def _progress(quiet: bool) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=err, disable=quiet, transient=True)


def show(result: JsonObject) -> None:
    """Prints the comparison for a person."""
    if result["from"] == "raw":
        for row in result["topics"]:
            words = "same" if row["same"] else "DIFFERS"
            out.print(f"{row['topic']:<32} {row['stored']:>10} stored {row['made']:>10} from raw frames  {words}")
        out.print("ok: the same events." if result["ok"] else "NOT ok: not the same; a later parser may mean it so.")
        return
    for row in result["files"]:
        out.print(f"{row['folder']:<32} {row['now'] or 'no file':<64} {'same' if row['same'] else 'DIFFERS'}")
    if result["ok"]:
        out.print(f"ok: {result['day']}, made again from the {result['from']}, has the same content.")
    else:
        out.print(f"NOT ok: {result['day']}, made again from the {result['from']}, differs from the archive's.")
