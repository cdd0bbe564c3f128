"""`mesh replay`: the recorded events through the same steps again; they must publish what they published live, to the bit.

Models take columns, without an object for an event; with --batch they take events in lists, as a live process does.

Compared are cause_seq, k, instrument and the record's bytes; not the times of the hops, which differ by nature. A step's state
follows from the whole history, so the events have to begin with seq 1. With --speed nothing is compared: replaying/speed.py.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.wire import Event
from tickmesh.nodes.model import node as model
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.columns.span import ColumnSpan
from tickmesh.storage.query.times import ReadError
from tickmesh.tools import terminal
from tickmesh.tools.arguments import place
from tickmesh.tools.progress import progress
from tickmesh.tools.replaying.checking import SILENCE_MAX_S, ReplayCheck
from tickmesh.tools.replaying.recording import SOURCES, EventsInMemory, RecordedEvents, StoredEvents, seq_at, watched
from tickmesh.tools.replaying.stretches import WHOLE, ReplayedPart

if TYPE_CHECKING:
    import pandas


def source_spans(config: Config, source: str, columns: Iterable[Kind], objects: Iterable[Kind]) -> Iterator[ColumnSpan]:
    """Reads the columns of a source, with some kinds as events. `source`: one of SOURCES."""
    return StoredEvents(config, source).spans(columns, objects)


def signals(config: Config, source: str = "all") -> "pandas.DataFrame":
    """Runs every model of mesh.toml that gives signals over what is recorded; one signal a row, by (cause_seq, k, model).

    Index and columns are those of tools/signal_frame.py, and `model`. `source`: all (the archive, then the log),
    log, or archive.
    """
    import pandas

    from tickmesh.tools.signal_frame import signal_frame

    frames = []
    for one in config.models:
        if one.features:
            continue
        step = model.Step(config, one.name)
        frames.append(signal_frame(step, source_spans(config, source, step.kinds, ())).assign(model=one.name))
    together = pandas.concat(frames) if frames else pandas.DataFrame()
    return together.sort_values(["cause_seq", "k", "model"], kind="stable") if frames else together


def compare(
    config: Config, events: Iterable[Event], batch: int = 4096, silence_max_s: float = SILENCE_MAX_S
) -> terminal.JsonObject:
    """Runs the steps over `events`, from seq 1 on, and compares what they publish with what they published live."""
    return ReplayCheck(config, EventsInMemory(list(events)), batch, silence_max_s=silence_max_s).run()


def compare_stored(
    config: Config, source: str = "all", batch: int | None = None, part: ReplayedPart = WHOLE, only: Sequence[str] = (),
    silence_max_s: float = SILENCE_MAX_S,
) -> terminal.JsonObject:  # fmt: skip
    """`compare` of what this folder has recorded, by columns or in lists of `batch`; with a bar on stderr for a person.

    `part`: only what its events cause is compared. `only`: names of models, or `executor`."""
    recording = StoredEvents(config, source)
    last = recording.last
    with progress("replaying") as shown:
        return ReplayCheck(config, watched(recording, lambda seq: shown(seq, last)), batch, part, only, silence_max_s).run()


def replay(
    source: str = "all", batch: int | None = None, start: str = "", end: str = "", models: Sequence[str] = (),
    silence_max_s: float = SILENCE_MAX_S,
) -> terminal.JsonObject:  # fmt: skip
    """Replays this folder's events, by columns or in lists of `batch`; gives what `--json` prints.

    `start`, `end`: a seq, a time, or so long ago; what events from the one to before the other cause is compared. `models`:
    only those. `silence_max_s`: longer without what a node had to publish is a difference. Raises terminal.Failure."""
    check_source(source)
    if batch is not None and batch < 1:
        raise terminal.UsageFailure(f"a batch of {batch} events is impossible; 1 or more are")
    config = terminal.config()
    try:
        recording = StoredEvents(config, source)
        last = check_any(config, recording)
        result = compare_stored(config, source, batch, part_of(recording, start, end, last), models, silence_max_s)
    except (ReadError, ArchiveError, LogError) as error:
        raise terminal.Failure(str(error)) from None
    return result | {"source": source}


def check_source(source: str) -> None:
    """Raises UsageFailure for a source that there is not."""
    if source not in SOURCES:
        raise terminal.UsageFailure(f"{source!r} is no source of events; there are {', '.join(SOURCES)}")


def check_any(config: Config, recording: StoredEvents) -> int:
    """Gives the newest seq of a recording. Raises Failure where it has no event."""
    last = recording.last
    if not last:
        source = recording.source
        where = {"log": config.log_dir, "archive": config.archive_dir}.get(source, config.source_dir)
        advice = "it is cut about once a minute and at mesh down" if source == "archive" else "start the mesh with: mesh up"
        raise terminal.Failure(f"there is no event in {where}; {advice}")
    return last


def part_of(recording: RecordedEvents, start: str, end: str, last: int) -> ReplayedPart:
    """The part from `start` to before `end`, each a place as `arguments.place` reads it, or "". `last`: the newest seq.

    Raises Failure for a part without an event."""
    bounds: list[int | None] = []  # of both, the seq before it
    for option, text in (("--start", start), ("--end", end)):
        where = place(option, text) if text else None
        if where is None:
            bounds.append(None)
        elif where.seq is not None:
            bounds.append(max(where.seq - 1, 0))
        else:
            bounds.append(seq_at(recording, where.ns or 0))
    first, until = (bounds[0] or 0) + 1, bounds[1]
    if first > last:
        raise terminal.Failure(f"--start {start} is after the newest event, seq {last}: there is nothing to compare")
    if until is not None and until < first:
        raise terminal.Failure(f"between --start {start or 'the beginning'} and --end {end} there is no event")
    return ReplayedPart(first, until if until is not None and until < last else None)
