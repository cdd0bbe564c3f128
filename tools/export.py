"""`mesh export`: finished days as Parquet or Arrow files, one for each topic and UTC day; run again, it goes on.

FOLDER/manifest.json says what is finished. A day whose trades, quotes and depth are all there is noted in the archive's
exported.json, so that `disk.prune = "exported"` may remove it.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tickmesh.bus.config import Config, load
from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.files import make_folders
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.topic_names import chooser
from tickmesh.bus.topics import TABLE, Lane
from tickmesh.storage.archive.catalog import PRUNED_KINDS
from tickmesh.storage.archive.file import SYSTEM, ArchiveGone, folder_of, place, subject_of
from tickmesh.storage.archive.prune import mark_exported
from tickmesh.storage.archive.reader import DAY_NS, ArchiveReader, day_of
from tickmesh.storage.query import coverage
from tickmesh.tools.arguments import moment
from tickmesh.tools.extras import need
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, err, out

if TYPE_CHECKING:
    from tickmesh.storage.query.export import Day

MANIFEST = "manifest.json"
FORMAT = "tickmesh export 3"
USUAL = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)  # without --topic
WHOLE = (Kind.trade, Kind.quote, Kind.depth)  # a day is exported when it has all of these that the archive has
RETRIES = 3  # a recorder seals a day a day
Result = TypeVar("Result")


class DayEntry(TypedDict):
    """The archive's content for an instrument on a finished day: the log that it was made from, and kinds."""

    log_id: str
    kinds: list[str]


class Manifest(TypedDict):
    """The content of FOLDER/manifest.json. files: path → the fields of `Written`; days: day → folder → its DayEntry."""

    format: str
    files: dict[str, JsonObject]
    days: dict[str, dict[str, DayEntry]]


class Export:
    """One run of `mesh export`: plans which days to write, writes them, and keeps the manifest."""

    def __init__(self, config: Config, folder: Path, format: Any, decimals: Any):
        from tickmesh.storage.query import export as files  # pyarrow is heavy, and an extra

        self.files = files
        self.config = config
        self.folder = folder
        self.format = format
        self.decimals = decimals
        self.archive = ArchiveReader(config.archive_dir)
        self.manifest = read_manifest(folder)
        self.done: dict[str, int] = {"written": 0, "skipped": 0, "rows": 0, "bytes": 0}
        self.partial: list[str] = []
        self.marked: list[str] = []
        self.gone: list[str] = []
        self.failed: list[str] = []
        self._ledgers: dict[str, np.ndarray] = {}
        self._log_ids: dict[tuple[str, str], str] = {}  # of what a folder's day was made from

    # -- the plan

    def plan(self, topics: list[str], start_ns: int | None, end_ns: int | None, partial: bool) -> "list[Day]":
        """Chooses every wanted topic's every day to write, oldest first."""
        return self._retried(lambda: self._plan(topics, start_ns, end_ns, partial))

    def _plan(self, topics: list[str], start_ns: int | None, end_ns: int | None, partial: bool) -> "list[Day]":
        asked = day_of(start_ns) if start_ns is not None else "", day_of(end_ns) if end_ns is not None else "9999"
        self.archive.require(None, asked)
        days, last = self.files.archived_days(self.archive)
        open_days = self._open_days(last) if partial else {}
        found = []
        for day in sorted({*days, *open_days}):
            begin_ns = int(np.datetime64(day, "D").astype("i8")) * DAY_NS
            outside = (start_ns is not None and begin_ns + DAY_NS <= start_ns) or (end_ns is not None and begin_ns >= end_ns)
            if outside or not (day < last or partial):
                continue
            known = self._finished(day) if day < last else open_days[day]
            found += [self.files.Day(kind, subject, day, day < last) for kind, subject in sorted(known)]
        chosen = chooser(topics, {one.topic for one in found})
        return [one for one in found if (chosen(one.topic) if topics else one.kind in USUAL)]

    def _finished(self, day: str) -> set[tuple[Kind, str]]:
        """What there is of a day that is over, remembered in the manifest: its files need not be opened at every run."""
        known = self.manifest["days"].setdefault(day, {})
        pruned = {folder for one in self.archive.mark.pruned if one.day == day for folder in one.folders}
        for folder in {file.folder for file in self.archive.files if file.day == day} - {SYSTEM}:
            log_id = self._log_id(folder, day)
            entry = known.get(folder)
            if entry is None or entry["log_id"] != log_id:
                kinds = {*self.files.kinds_of(self.archive, folder, day), *(PRUNED_KINDS if folder in pruned else ())}
                known[folder] = {"log_id": log_id, "kinds": sorted(kind.name for kind in kinds if DTYPES[kind].names)}
        return {(Kind[name], subject_of(folder)) for folder, one in known.items() for name in one["kinds"]}

    def _open_days(self, last: str) -> dict[str, set[tuple[Kind, str]]]:
        """What archive and log have of the days from the archive's last one on."""
        found: dict[str, set[tuple[Kind, str]]] = defaultdict(set)
        for folder in {file.folder for file in self.archive.files if file.day == last} - {SYSTEM}:
            kinds = self.files.kinds_of(self.archive, folder, last)
            found[last] |= {(kind, subject_of(folder)) for kind in kinds if DTYPES[kind].names}
        for event in LogReader(self.config.log_dir).events(self.archive.archived_seq):
            kind = Kind(event.kind)
            if TABLE[kind].lane is not Lane.system and DTYPES[kind].names:
                found[day_of(event.seq_ns)].add((kind, event.subject))
        return found

    # -- the work

    def run(
        self, plan: "list[Day]", begun: Callable[[str], None], rows: Callable[[int], None], ended: Callable[[], None]
    ) -> None:
        """Writes the planned days and their coverage, and marks complete days. `begun`, `rows`, `ended` report progress."""
        for day in plan:
            begun(f"{day.topic} {day.day}")
            self.one(day, rows)
            ended()
        for day in {(day.subject, day.day): day for day in plan}.values():
            self.cover(day)
        for name in sorted({day.day for day in plan if day.complete}):
            self.mark(name)

    def one(self, day: "Day", rows: Callable[[int], None]) -> None:
        """Writes one topic's day, unless it is there already."""
        name = day.path(self.format)
        entry = self.manifest["files"].get(name)
        if entry and entry["complete"]:
            self._check_log(name, entry, day)
            same = entry["decimals"] == self.decimals
            if same and self.files.is_there(self.folder / name, entry["bytes"]):
                self.done["skipped"] += 1
                return
        ledger = self._ledger(day.subject)

        def write() -> Any:
            if self._is_pruned(day):
                return None
            return self.files.write_day(self.config, self.archive, day, self.folder, self.format, self.decimals, ledger, rows)

        try:
            written = self._retried(write)
        except self.files.NoScale as error:
            self.failed.append(str(error))
            return
        if written is None:
            self.gone.append(name)
            return
        self.manifest["files"][name] = written._asdict()
        self._save()
        self.done["written"] += 1
        self.done["rows"] += written.rows
        self.done["bytes"] += written.bytes
        if not day.complete:
            self.partial.append(name)

    def _is_pruned(self, day: "Day") -> bool:
        """By now: a prune may come at any moment, and what it leaves must not be taken for the day."""
        return day.kind in PRUNED_KINDS and any(
            one.day == day.day and folder_of(day.kind, day.subject) in one.folders for one in self.archive.mark.pruned
        )

    def _check_log(self, name: str, entry: JsonObject, day: "Day") -> None:
        """Raises Failure for a file of another archive with the same topics: it may be the only one that is left of it."""
        here = self._log_id(folder_of(day.kind, day.subject), day.day)
        if here not in ("", entry["log_id"]):
            raise Failure(
                f"{self.folder / name} was made from log {entry['log_id']}, and {day.day} here is of log {here}: "
                "another source's files are there. Export into another folder with --to"
            )

    def _log_id(self, folder: str, day: str) -> str:
        if (folder, day) not in self._log_ids:
            self._log_ids[folder, day] = self._retried(lambda: self.files.log_id_of(self.archive, folder, day))
        return self._log_ids[folder, day]

    def _retried(self, work: Callable[[], Result]) -> Result:
        """`work`, done again when the recorder has sealed a day meanwhile and removed the files that were about to be read."""
        for _ in range(RETRIES):
            try:
                return work()
            except ArchiveGone:
                self.archive.refresh()
        return work()

    def _ledger(self, subject: str) -> np.ndarray:
        """The instrument's whole coverage, as it is known now."""
        if subject not in self._ledgers:
            self._ledgers[subject] = coverage.read(self.config, subject)
        return self._ledgers[subject]

    def cover(self, day: "Day") -> None:
        """Writes the day's coverage as a file of its own; again when a repair has changed it."""
        if len(rows := self.files.of_day(self._ledger(day.subject), day)):
            name = day.ledger_path(self.format)
            known = self.manifest["files"].get(name)
            if (written := self.files.write_ledger(self.folder, day, rows, self.format, known)) is not None:
                self.manifest["files"][name] = written._asdict()
                self._save()

    def mark(self, day: str) -> None:
        """Notes a sealed day in the archive's exported.json when all of its files are here, whole and exact (no floats)."""
        if not any(file.day == day and file.part == "day" for file in self.archive.files):
            return
        wanted = {
            f"{kind.name}/{folder}/{day}.{self.format}": folder
            for folder, one in self.manifest["days"].get(day, {}).items()
            for kind in WHOLE
            if kind.name in one["kinds"]
        }
        if wanted and all(self._is_whole(name, folder, day) for name, folder in wanted.items()):
            mark_exported(self.config.archive_dir, day, self.folder)
            self.marked.append(day)

    def _is_whole(self, name: str, folder: str, day: str) -> bool:
        entry = self.manifest["files"].get(name)
        if not entry or not entry["complete"] or entry["decimals"] == "float" or entry["log_id"] != self._log_id(folder, day):
            return False
        with contextlib.suppress(OSError):
            return bool(self.files.file_sha256(self.folder / name) == entry["file_sha256"])
        return False

    def _save(self) -> None:
        place(self.folder / MANIFEST, json.dumps(self.manifest, indent=1, sort_keys=True).encode() + b"\n", 0o644)


def read_manifest(folder: Path) -> Manifest:
    """Reads a folder's manifest.json; an empty one where there is none. Raises Failure for one that cannot be read."""
    path = folder / MANIFEST
    try:
        tree: Manifest = json.loads(path.read_bytes())
        if tree["format"] != FORMAT:
            raise Failure(f"{path} has format {tree['format']!r}, this program writes {FORMAT!r}; export into another folder")
        return tree
    except FileNotFoundError:
        return {"format": FORMAT, "files": {}, "days": {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} cannot be read: {error!r}; remove it to begin anew, or export into another folder") from None


def export(
    topics: list[str], start: str | None, end: str | None, format: str, decimals: str, to: Path | None, partial: bool
) -> JsonObject:
    """Writes finished days into a folder; gives what `--json` prints. Raises Failure; what is finished then stays."""
    config = load()
    _check(topics)
    need("pyarrow", "export", "an export")
    folder = to or config.source_dir / "export"
    if config.archive_dir.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageFailure(f"{folder} lies in the archive, whose files are the mesh's own; choose another folder with --to")
    span = moment("--start", start) if start else None, moment("--end", end) if end else None
    try:
        make_folders(folder)
        with _alone(folder):
            run = Export(config, folder, format, decimals)
            plan = run.plan(topics, *span, partial)
            with _progress(len(plan)) as (begun, rows, ended):
                run.run(plan, begun, rows, ended)
    except LogError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{folder} cannot be used: {error.strerror or error}; choose another with --to") from None
    return {
        "folder": str(folder),
        "files": len(plan),
        **run.done,
        "partial": run.partial,
        "marked": run.marked,
        "gone": run.gone,
        "failed": run.failed,
    }


def _check(topics: list[str]) -> None:
    market = [kind.name for kind in Kind if TABLE[kind].lane is not Lane.system and DTYPES[kind].names]
    for topic in topics:
        if topic.partition(".")[0] not in market:
            raise UsageFailure(f"{topic!r} cannot be exported; a topic begins with one of {', '.join(market)}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two exports into one folder would write the same files. What a killed one left half written is removed."""
    try:
        lock = FileLock.acquired(folder / ".lock")
    except FileLocked:
        raise Failure(f"another export into {folder} is running") from None
    with lock:
        for left in folder.rglob(".*.tmp"):
            left.unlink()
        yield


@contextlib.contextmanager
def _progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[int], None], Callable[[], None]]]:
    """(file begins, rows went, file ended) of a bar on stderr, for a person who looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files"),
               TextColumn("{task.fields[rows]:,} rows"), TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=total, rows=0)
        rows = 0

        def went(more: int) -> None:
            nonlocal rows
            rows += more
            bar.update(task, rows=rows)

        yield lambda name: bar.update(task, description=name), went, lambda: bar.advance(task)


def show(result: JsonObject) -> None:
    """Prints for a person what was exported."""
    if not result["files"]:
        out.print("There is no finished day to export yet; --partial exports the present one as far as it is.")
        return
    out.print(
        f"{result['written']} files with {result['rows']:,} rows ({result['bytes'] / 1e6:,.1f} MB) written to "
        f"{result['folder']}, {result['skipped']} were there already."
    )
    if result["partial"]:
        out.print(f"{len(result['partial'])} of them are of days that are not over; they are written again at the next run.")
    for name in result["gone"]:
        out.print(f"{name} is not here, and the archive has no longer what it was made of: the day was pruned after an export.")
    for sentence in result["failed"]:
        out.print(sentence)
    if result["marked"]:
        out.print(f"Completely exported: {', '.join(result['marked'])}.")
