"""Events into an archive by cuts, and out of it again as bytes."""

from pathlib import Path

from tests.support.stored import batches
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.writer import ArchiveWriter


def archive(folder: Path, raws: list[bytes], cut_events: int = 1000, upto: int | None = None, log_id: int = 5) -> None:
    """Archives these events in cuts of `cut_events`."""
    writer = ArchiveWriter(folder)
    try:
        writer.archive(batches(raws), upto if upto is not None else 1 << 60, cut_events, log_id)
    finally:
        writer.close()


def read(folder: Path, *args, **kwargs) -> list[bytes]:
    """Reads events of an archive back, as bytes."""
    return [bytes(event.raw) for event in ArchiveReader(folder).events(*args, **kwargs)]
