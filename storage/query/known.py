"""What there is to read: the subjects of which something is stored or configured, for a sentence to who asks for another."""

import contextlib
from urllib.parse import unquote

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.file import SYSTEM, ArchiveFile, ArchiveGone, folder_of, of_instrument, subject_of
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.query.times import ReadError

NAMED = 20  # subjects that a sentence names


def known_subjects(config: Config, kind: Kind) -> list[str]:
    """The subjects of a kind that archive, log or mesh.toml know, sorted. Kinds of an instrument share all instruments."""
    archive = ArchiveReader(config.archive_dir)
    own = folder_of(kind, "a.b")  # what it looks like tells what the subject is: an instrument, or a process
    of_instruments = of_instrument(own)
    found: set[str] = {one.subject for one in config.instruments} if of_instruments else set()
    for folder in {file.folder for file in archive.files}:
        if of_instruments and of_instrument(folder):
            found.add(subject_of(folder))
        elif kind is Kind.raw and not of_instrument(folder) and folder != SYSTEM:
            found.add(unquote(folder.partition("/")[2]))
    if own == SYSTEM:
        for file in (file for file in archive.files if file.folder == SYSTEM):
            with contextlib.suppress(ArchiveGone), ArchiveFile(file.path) as segment:
                if kind in segment.kinds:
                    found.update(subject.decode() for subject in segment.reader(kind).subjects)
    for event in LogReader(config.log_dir).events(archive.archived_seq):
        if event.kind == kind or (of_instruments and of_instrument(folder_of(event.kind, event.subject))):
            found.add(event.subject)
    if of_instruments and kind is not Kind.command:  # those of commands are processes and persons
        found = {one for one in found if one.partition(".")[2]}
    return sorted(found)


def check_known(config: Config, kind: Kind, subject: str) -> None:
    """Raises ReadError, with the subjects that there are, for one of which nothing is stored or configured."""
    known = known_subjects(config, kind)
    if subject in known:
        return
    named = ", ".join(known[:NAMED]) + (f" and {len(known) - NAMED} more" if len(known) > NAMED else "")
    near = [one for one in known if one.partition(".")[2] == subject]
    hint = f"; did you mean {kind.name}.{near[0]}?" if near else ""
    there = f"the subjects of {kind.name} are {named}" if known else f"there is nothing of {kind.name} in {config.source_dir}"
    raise ReadError(f"there is no topic {kind.name}.{subject}; {there}{hint}")
