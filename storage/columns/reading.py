"""Columns of archive, then log, as one continuous stream of spans: what storage/query/reader.py is for events."""

from collections.abc import Iterable, Iterator

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogReleased
from tickmesh.storage.archive.reader import read_watermark
from tickmesh.storage.columns.archive import ArchiveColumns
from tickmesh.storage.columns.log import LogColumns
from tickmesh.storage.columns.span import ColumnSpan
from tickmesh.storage.query.reader import check_one_mesh, missing


def spans(
    config: Config, kinds: Iterable[Kind], objects: Iterable[Kind] = (), after: int = 0, until: int | None = None,
    subject: str | None = None,
) -> Iterator[ColumnSpan]:  # fmt: skip
    """Reads the events with after < seq ≤ until up to this moment: `kinds` as columns, `objects` as events, each once.

    `subject`: of the archive only the files of that instrument are read, and spans need not follow one another there. Raises
    ReadError when neither archive nor log has a number in between or they are not of one mesh, ArchiveError or LogError when
    files are damaged.
    """
    kinds, objects, position = tuple(kinds), tuple(objects), after
    while until is None or position < until:
        mark = read_watermark(config.archive_dir)
        if mark.archived_seq > position:
            archive = ArchiveColumns(config.archive_dir, kinds, objects, subject)
            yield from archive.spans(position, until)
            position = archive.reader.archived_seq
            continue
        check_one_mesh(config, mark)
        try:
            for span in LogColumns(config.log_dir, kinds, objects).spans(position, until):
                position = span.last
                yield span
            return
        except LogReleased:
            if read_watermark(config.archive_dir).archived_seq <= position:
                raise missing(config, position + 1, mark.archived_seq) from None
            # released because it was archived meanwhile
