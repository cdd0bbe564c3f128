"""The past, for a step that comes late: the log, and the archive where the log has been released; as lists or as columns."""

from collections.abc import Callable, Iterable, Iterator

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogReleased
from tickmesh.bus.topics import LANE_OF_KIND, Lane
from tickmesh.bus.wire import Event
from tickmesh.nodes.runner.step import ColumnStep, StepRunner
from tickmesh.storage.columns.span import ColumnSpan

COLUMNS_FROM = 100_000  # events of history: fewer are read as events before the columns' code is loaded


def catch_up(config: Config, runner: StepRunner, stop: Callable[[], bool] = lambda: False) -> None:
    """Brings the runner to the log's present end, or until `stop()`: a long way by columns if its step takes them."""
    step = runner.step
    if isinstance(step, ColumnStep) and LogReader(config.log_dir).last - runner.seq >= COLUMNS_FROM:
        for span in column_history(config, runner.seq, step.kinds, (*runner.writes, Kind.run)):
            runner.replay_span(step, span)
            if stop():
                return
    for events in history(config, runner.seq, runner.history_lanes):
        runner.replay(events)
        if stop():
            return


def column_history(config: Config, after: int, kinds: tuple[Kind, ...], objects: tuple[Kind, ...]) -> Iterator[ColumnSpan]:
    """`history` as spans of columns of `kinds`, with the events of `objects`."""
    from tickmesh.storage.columns import log, reading  # compiled, and rarely needed

    try:
        for span in log.LogColumns(config.log_dir, kinds, objects).spans(after):
            yield span
            after = span.last
    except LogReleased:
        yield from reading.spans(config, kinds, objects, after)


def history(config: Config, after: int, lanes: Iterable[Lane], until: int | None = None) -> Iterator[list[Event]]:
    """The log after `after`, as lists; from the archive on where the log has been released."""
    wanted = frozenset(lanes)
    try:
        for chunk in _chunks(LogReader(config.log_dir).events(after, until), wanted):
            yield chunk
            after = chunk[-1].seq
    except LogReleased:  # also in the middle, when the recorder releases what is being read
        from tickmesh.storage.query import reader  # heavy, and rarely needed

        yield from _chunks(reader.events(config, after, until), wanted)


def _chunks(events: Iterable[Event], lanes: frozenset[Lane]) -> Iterator[list[Event]]:
    chunk: list[Event] = []
    for event in events:
        if LANE_OF_KIND[event.kind] in lanes:
            chunk.append(event)
        if len(chunk) >= 4096:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
