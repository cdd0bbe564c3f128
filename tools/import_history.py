"""`mesh import`: files of others into an archive of their own (tools/importing); run again, it goes on."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tickmesh.bus.config import Config, load
from tickmesh.bus.files import make_folders, write_file
from tickmesh.bus.segments import LogError
from tickmesh.bus.setting_types import SourceName
from tickmesh.bus.settings import InstrumentSettings
from tickmesh.bus.space import refusal
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.tools.extras import need
from tickmesh.tools.importing import exported_files, klines
from tickmesh.tools.importing.archiving import ImportArchive, StatedTerms
from tickmesh.tools.importing.assembly import Tally
from tickmesh.tools.importing.plan import FORMATS, ImportPlan, chains_of, files_of, groups_of, look, size_of
from tickmesh.tools.importing.source import Named, SourceFile
from tickmesh.tools.importing.state import ImportState, read_state, write_state
from tickmesh.tools.sources import MARKET, MARKETS
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, err, out

OWN = "import"  # whose market the folder has
BESIDE = {
    "duplicates": "were copies of what was there",
    "refused": "were refused: their ids contradict others",
    "undecided": "were left out: nothing that came after confirmed their ids",
}
Shown = tuple[Callable[[str], None], Callable[[int], None]]


def import_files(paths: Sequence[Path], source: str, named: Named, terms: StatedTerms, dry: bool) -> JsonObject:
    """Imports files into the source of this name; gives what `--json` prints. Raises Failure; what is archived then stays."""
    _check(source, named, terms)
    files = files_of(paths)
    if any(exported_files.is_export(one) for one in files):
        need("pyarrow", "export", "an import of an export")
    usual = load()
    place = Config(msgspec.structs.replace(usual.mesh, source=source, instruments=()), usual.root)
    _check_place(place)
    with _bar("looking at", size_of(files)) as (begun, progress):
        plan = look(files, named, progress, begun)
    try:
        return _import(place, plan, terms, dry)
    except LogError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{place.source_dir} cannot be used: {refusal(error, place.source_dir)}") from None


def _check(source: str, named: Named, terms: StatedTerms) -> None:
    try:
        msgspec.convert(source, SourceName)
    except msgspec.ValidationError:
        raise UsageFailure(f"--source {source!r} is no name of a folder: no '/', and not only dots") from None
    if named.format and named.format not in FORMATS:
        raise UsageFailure(f"--format {named.format} is unknown; there are {', '.join(FORMATS)}")
    if bool(terms.tick) != bool(terms.lot):
        raise UsageFailure("--tick and --lot go together: a definition has both")


def _check_place(place: Config) -> None:
    """Raises Failure where the source is no import's: what was recorded and what was imported have a log each."""
    path = place.source_dir / MARKET
    found = path.read_text().strip() if path.is_file() else ""
    if found not in ("", OWN) or place.log_dir.exists():
        raise Failure(
            f"{place.data}/{place.source} has the market of {MARKETS.get(found, 'a mesh')}, and an import needs a folder of "
            "its own: give it another name with --source"
        )


def _import(place: Config, plan: ImportPlan, terms: StatedTerms, dry: bool) -> JsonObject:
    everything = {subject for one in plan.sources for subject in one.subjects}
    config = _with_instruments(place, everything)
    state = read_state(place.source_dir, _identity(plan))
    new = [one for one in plan.sources if one.sha256 not in state.known]
    new = list({one.sha256: one for one in reversed(new)}.values())[::-1]  # a file that is named twice is one
    groups = groups_of(new)
    for group in groups:
        chains_of(group)  # refuses what cannot go together before anything is written
    _check_begun(state, groups, terms)
    tally = Tally()
    if not dry and groups:
        make_folders(place.source_dir, 0o700)
        write_file(place.source_dir / MARKET, f"{OWN}\n".encode())
        write_state(place.source_dir, state)
    archive = ImportArchive(config, state, dry) if groups else None
    try:
        if archive is not None:
            with _bar("importing", sum(one.size for one in new)) as (begun, progress):
                for group in groups:
                    begun(group[0].path.name)
                    archive.take_group(group, terms, tally, progress)
            archive.seal()
    finally:
        if archive is not None:
            archive.close()
    checks = [] if dry else _checked(place, plan.klines, state)
    return {
        "ok": not any(one.differ for one in checks),
        "source": place.source,
        "folder": str(place.source_dir),
        "dry_run": dry,
        "files": [_file(one, state, new) for one in plan.sources],
        "events": tally.events,
        "missing": dict(sorted(tally.missing.items())),
        "odd": sum(tally.odd_of.values()),
        "odd_rows": [one._asdict() for one in tally.odd],
        "refused": tally.refused,
        "duplicates": tally.duplicates,
        "undecided": tally.waiting,
        "alerts": tally.alerts,
        "left_out": plan.left_out,
        "klines": [one._asdict() for one in checks],
        "sealed": archive.sealed if archive is not None else [],
        "archived_seq": 0 if dry or archive is None else ArchiveReader(place.archive_dir).archived_seq,
    }


def _identity(plan: ImportPlan) -> str:
    """The identity of the log of a new source: of its first file, so that the same import is the same archive."""
    return plan.sources[0].sha256[:16] if plan.sources else f"{0:016x}"


def _with_instruments(place: Config, subjects: set[str]) -> Config:
    named = (one.partition(".") for one in sorted(subjects))
    instruments = tuple(InstrumentSettings(symbol, venue) for venue, _, symbol in named)
    return Config(msgspec.structs.replace(place.mesh, instruments=instruments), place.root)


def _check_begun(state: ImportState, groups: list[list[SourceFile]], terms: StatedTerms) -> None:
    """Raises Failure where an import was interrupted and this call would not go on with just that."""
    if state.begun is None:
        return
    first = {one.sha256 for one in groups[0]} if groups else set()
    if first != state.begun.files.keys():
        names = sorted(state.begun.files.values())
        raise Failure(
            f"an import of {', '.join(names[:8])}{' …' if len(names) > 8 else ''} was interrupted: give it again as it was"
        )
    if state.begun.settings != terms.words():
        said = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in state.begun.settings.items())
        raise Failure(f"the import that was interrupted was begun with {said or 'no sizes and exponents'}: give the same")


def _file(source: SourceFile, state: ImportState, new: list[SourceFile]) -> JsonObject:
    entry = next(one for one in state.files if one.sha256 == source.sha256)
    return {
        "path": str(source.path), "format": source.format, "subjects": list(source.subjects),
        "rows": entry.rows, "odd": entry.odd,
        "first": str(np.datetime64(source.window.first_ns, "ns")), "last": str(np.datetime64(source.window.last_ns, "ns")),
        "lacks": list(source.lacks), "already": source.sha256 not in {one.sha256 for one in new},
    }  # fmt: skip


def _checked(place: Config, files: list[SourceFile], state: ImportState) -> list[klines.KlineCheck]:
    subjects = sorted({subject for one in state.files for subject in one.subjects if "trade" in one.kinds})
    with _bar("comparing bars", sum(one.size for one in files)) as (begun, progress):
        found = []
        for file in files:
            begun(file.path.name)
            found.append(klines.check(place, file, klines.subject_of(file, subjects), progress))
        return found


@contextlib.contextmanager
def _bar(what: str, total: int) -> Iterator[Shown]:
    """(a file begins, so many more bytes are read) of a bar on stderr, for a person who looks."""
    columns = TextColumn(f"{what} {{task.description}}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda name: bar.update(task, description=name), lambda more: bar.advance(task, more)


def show(result: JsonObject) -> None:
    """Prints for a person what was imported, what is missing in it, and what was not taken."""
    new = [one for one in result["files"] if not one["already"]]
    already = len(result["files"]) - len(new)
    if new:
        rows, did = sum(one["rows"] for one in new), "would go" if result["dry_run"] else "went"
        out.print(f"{rows:,} rows of {len(new)} files {did} into {result['folder']}:", markup=False)
        for topic, count in result["events"].items():
            missing = result["missing"].get(topic, 0)
            out.print(f"  {topic}: {count:,} events{f', {missing:,} ids are missing' if missing else ''}", markup=False)
    if already:
        out.print(f"{already} files were there already: nothing of them was changed.")
    if not result["files"] and not result["klines"]:
        out.print("There is nothing to import.")
    for sentence in dict.fromkeys(
        f"{one['format']} has {lack}" for one in new for lack in one["lacks"] if lack.startswith("no ")
    ):
        out.print(sentence, markup=False)
    if result["odd"]:
        out.print(
            f"{result['odd']:,} rows could not be read; each is in the archive as a refusal, with its bytes. The first of them:"
        )
        for row in result["odd_rows"]:
            out.print(f"  {row['file']}:{row['line']}: {row['why']}", markup=False)
    for name, words in BESIDE.items():
        if result[name]:
            out.print(f"{result[name]:,} events {words}.")
    for sentence in [*result["alerts"], *result["left_out"]]:
        out.print(sentence, markup=False)
    for check in result["klines"]:
        unread = f", {check['odd']:,} cannot be read" if check["odd"] else ""
        out.print(
            f"{check['file']}: {check['equal']:,} bars equal those of the trades here, {check['differ']:,} differ, "
            f"{check['absent']:,} are of a time without trades here{unread}.",
            markup=False,
        )
        for line in check["differences"]:
            out.print(f"  {line}", markup=False)
    if new and not result["dry_run"]:
        out.print(
            f"mesh ls --at {result['folder']} lists it; coverage and gaps are as of what is recorded (docs/import.md).",
            markup=False,
        )
