"""What an import is to read: files looked at whole before anything is written, and the order in which they are taken."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.schema import Kind
from tickmesh.tools.importing import (
    binance_dumps,
    event_arrays,
    exported_files,
    raw_capture,
    stream_csv,
    tardis,
    text_files,
)
from tickmesh.tools.importing.source import Named, SourceFile, TextFormat
from tickmesh.tools.importing.text_files import Progress
from tickmesh.tools.terminal import Failure

_RAW: TextFormat = raw_capture
_DUMPS: TextFormat = binance_dumps
_TARDIS: TextFormat = tardis
_STREAMS: TextFormat = stream_csv
TEXT: tuple[TextFormat, ...] = (_RAW, _TARDIS, _STREAMS, _DUMPS)  # what is told by its rows before what is told by its name
FORMATS = tuple(name for format in TEXT for name in format.NAMES) + (event_arrays.ARRAYS, exported_files.EXPORT)
LATE_NS = 60 * 1_000_000_000  # by so much clocks of two files may differ that follow on one another
BESIDE = (".CHECKSUM", ".tmp")


class ImportPlan(NamedTuple):
    """The sources in order of time; `klines`: bars to compare with; `left_out`: what of the files is not taken, in words."""

    sources: list[SourceFile]
    klines: list[SourceFile]
    left_out: list[str]


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and those in folders that are; a folder of `mesh export` is one. Raises Failure."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Failure(f"there is no file {path}")
        if path.is_file() or exported_files.is_export(path):
            found.append(path)
        else:
            inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
            found += [one for one in inside if not one.name.endswith(BESIDE)]
    if not found:
        raise Failure(f"there is no file in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(found))


def size_of(files: Sequence[Path]) -> int:
    """Bytes of files; of an export those of all its files."""
    parts = [one for file in files for one in (file.rglob("*") if file.is_dir() else (file,))]
    return sum(one.stat().st_size for one in parts if one.is_file())


def look(files: Sequence[Path], named: Named, progress: Progress, begun: Callable[[str], None]) -> ImportPlan:
    """Reads every file to its end and says what it is. Raises Failure for the first that cannot be imported."""
    plan = ImportPlan([], [], [])
    for file in files:
        begun(file.name)
        if file.is_dir():
            found, left_out = exported_files.sources(file, progress)
            plan.sources.extend(found)
            plan.left_out.extend(left_out)
            continue
        source = _source(file, named, progress)
        (plan.klines if source.format == binance_dumps.KLINES else plan.sources).append(source)
    plan.sources.sort(key=lambda one: (one.window.first_ns, one.window.last_ns, one.path.name))
    return plan


def _source(file: Path, named: Named, progress: Progress) -> SourceFile:
    if file.suffix in (".npz", ".npy"):
        source = event_arrays.claims(file, text_files.sha256_of(file, progress), named)
    else:
        seen = text_files.survey(file, progress)
        source = next((one for format in TEXT if (one := format.claims(file, seen, named)) is not None), None)
    if source is None:
        raise Failure(
            f"{file} is of no format that is known: {', '.join(FORMATS)}. Say it with --format and --symbol, where its name "
            "and its first line do not (docs/import.md)"
        )
    return source


Chain = list[SourceFile]  # files that go on one another: the same streams, one after the other


def chains_of(sources: Sequence[SourceFile]) -> list[Chain]:
    """Files of the same format and streams, in order of time. Raises Failure where two formats say the same stream, or two
    files of a format without ids are of the same time."""
    chains: dict[tuple[str, tuple[str, ...], tuple[Kind, ...]], Chain] = {}
    speakers: dict[tuple[Kind, str], tuple[str, Path]] = {}
    for one in sources:
        for subject in one.subjects:
            for kind in one.kinds:
                format, path = speakers.setdefault((kind, subject), (one.format, one.path))
                if format != one.format:
                    raise Failure(
                        f"{path} ({format}) and {one.path} ({one.format}) both say {kind.name}.{subject}: one of them is "
                        "enough, or give each a source of its own with --source"
                    )
        chain = chains.setdefault((one.format, one.subjects, one.kinds), [])
        if chain and _without_ids(one) and one.window.first_ns < chain[-1].window.last_ns:
            raise Failure(
                f"{chain[-1].path} and {one.path} are of the same time, and nothing in them tells copies apart: take one"
            )
        chain.append(one)
    return list(chains.values())


def _without_ids(source: SourceFile) -> bool:
    return source.format == event_arrays.ARRAYS or source.format.startswith(tardis.PREFIX)


def groups_of(sources: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """The sources in groups that do not overlap in time, oldest first: after each one the import can be taken up again."""
    groups: list[list[SourceFile]] = []
    end_ns = -1
    for one in sources:
        if not groups or one.window.first_ns > end_ns:
            groups.append([])
        groups[-1].append(one)
        end_ns = max(end_ns, one.window.last_ns)
    return groups
