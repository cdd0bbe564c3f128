"""`mesh export --format hftbacktest`: an instrument's UTC day as an event array (.npz) that hftbacktest loads as it is.

FOLDER/hftbacktest.json says what is finished: of every file rows, tick and lot size, and by how much local times were moved.
"""

import json
from pathlib import Path

import numpy as np

from tickmesh.bus.config import Config, load
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import refusal
from tickmesh.nodes.venues.parsing.decimals import text
from tickmesh.storage.archive.file import folder_of, place
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.tools.arguments import moment
from tickmesh.tools.exporting.archive_days import book_before, days_to_write, definition_of_day, read_manifest, rows_of_day
from tickmesh.tools.exporting.checked_files import write_checked
from tickmesh.tools.exporting.event_arrays import EventArray, event_array
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

MANIFEST = "hftbacktest.json"
KINDS = (Kind.depth, Kind.trade)


def export(topics: list[str], start: str | None, end: str | None, to: Path | None, partial: bool) -> JsonObject:
    """Writes finished days as event arrays; gives what `--json` prints. Raises Failure; what is finished then stays."""
    for topic in topics:
        if topic.partition(".")[0] not in {kind.name for kind in KINDS}:
            raise UsageFailure(f"{topic!r} is in no event array: those have depth and trades, of --topic depth.binance.BTCUSDT")
    config = load()
    folder = to or config.source_dir / "export-hftbacktest"
    if config.archive_dir.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageFailure(f"{folder} lies in the archive, whose files are the mesh's own; choose another folder with --to")
    span = moment("--start", start) if start else None, moment("--end", end) if end else None
    archive = ArchiveReader(config.archive_dir)
    try:
        days = days_to_write(archive, topics, span, partial, KINDS)
        made, skipped = [], 0
        with progress("writing event arrays") as shown:
            for number, (subject, day) in enumerate(days):
                shown(number, len(days))
                entry = _one(config, archive, folder, subject, day)
                made += [entry] if entry is not None else []
                skipped += entry is None
    except LogError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{folder} cannot be written: {refusal(error, folder)}; what is finished stays") from None
    return {"folder": str(folder), "files": made, "written": len(made), "skipped": skipped, "gone": [], "failed": []}


def _one(config: Config, archive: ArchiveReader, folder: Path, subject: str, day: str) -> JsonObject | None:
    """Writes one file and its entry; None where it is there already."""
    name = f"{folder_of(Kind.trade, subject)}/{day}.npz"
    manifest = read_manifest(folder / MANIFEST)
    files = [file for file in archive.files if file.folder == folder_of(Kind.trade, subject) and file.day == day]
    made_of = [file.last for file in files][-1]
    known = manifest.get(name)
    if known and known["log_id"] != f"{archive.log_id:016x}":
        raise Failure(f"{folder / name} was made from log {known['log_id']}, here is {archive.log_id:016x}: take another --to")
    if known and known["last_seq"] == made_of and (folder / name).is_file():
        return None
    depth, trades = (rows_of_day(config, kind, subject, day) for kind in KINDS)
    definition = definition_of_day(config, subject, day)
    array = event_array(book_before(files[0].path), depth, trades, definition[:2])
    _write(folder / name, array)
    entry = {
        "path": name, "rows": len(array.rows), "instrument": subject, "day": day, "log_id": f"{archive.log_id:016x}",
        "last_seq": made_of, "tick_size": text(definition[2], definition[0]), "lot_size": text(definition[3], definition[1]),
        "moved_ns": array.moved_ns, "unsynced": array.unsynced, "untimed": array.untimed,
    }  # fmt: skip
    place(folder / MANIFEST, json.dumps({**manifest, name: entry}, indent=1, sort_keys=True).encode() + b"\n", 0o644)
    return entry


def _write(path: Path, array: EventArray) -> None:
    def is_right(file: Path) -> bool:
        with np.load(file) as stored:
            return bool(stored["data"].tobytes() == array.rows.tobytes())

    write_checked(path, lambda file: np.savez_compressed(file, data=array.rows), is_right)


def show(result: JsonObject) -> None:
    """Prints for a person what was written, and what a backtest has to know of it."""
    if not result["written"] and not result["skipped"]:
        out.print("There is no finished day to export yet; --partial exports the present one as far as it is.")
        return
    out.print(
        f"{result['written']} event arrays written to {result['folder']}, {result['skipped']} were there already.", markup=False
    )
    for one in result["files"]:
        sizes = "0" not in (one["tick_size"], one["lot_size"])
        steps = f"tick {one['tick_size']}, lot {one['lot_size']}" if sizes else "tick or lot size not known"
        words = [f"{one['rows']:,} rows", steps]
        words += [f"local times moved by {one['moved_ns']:,} ns: the clocks differ"] if one["moved_ns"] else []
        words += [f"{one['unsynced']:,} levels without a book left out"] if one["unsynced"] else []
        words += [f"{one['untimed']:,} rows know one clock only"] if one["untimed"] else []
        out.print(f"  {one['path']}: {'; '.join(words)}", markup=False)
