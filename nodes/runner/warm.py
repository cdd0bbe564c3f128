"""A warm start: a model without a checkpoint that declares how far it looks back is given that much of the log, not all of it.

The state has to be the same as of the whole log. So two steps are brought to the end, one from a look-back ago, one from two
ago: where both end in the same state to the last bit, what is older does not matter, and the model goes on from it. Where they
do not, the whole log is replayed as without a look-back, and a line says so.
"""

from collections.abc import Callable, Iterator

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.schema import Kind
from tickmesh.nodes.runner.history import column_history
from tickmesh.nodes.runner.step import ColumnStep, StepRunner
from tickmesh.storage.columns.span import ColumnSpan, SubjectColumns

WARM_FROM = 100_000  # events: a shorter log is replayed whole in no time


def warm_start(config: Config, runner: StepRunner, make: Callable[[], StepRunner], stop: Callable[[], bool]) -> StepRunner:
    """Gives a runner that is where the log ended a moment ago, or `runner` itself where that cannot be had or is not needed.

    `make`: builds another runner as fresh as `runner`.
    """
    step = runner.step
    log = LogReader(config.log_dir)
    last = log.last
    if not isinstance(step, ColumnStep) or not step.lookback_ns or runner.seq or step.publishes_past or last < WARM_FROM:
        return runner
    newest = next(log.events(last - 1), None)
    if newest is None:
        return runner
    far, near = (log.seq_at(newest.seq_ns - times * step.lookback_ns) for times in (2, 1))
    if far < max(last // 4, log.first):  # most of the log, or more than the log still has
        return runner
    other = make()
    if not isinstance(other.step, ColumnStep):
        return runner
    from tickmesh.storage.columns import reading  # compiled, and rarely needed

    # Definitions, and which instruments there have been: the archive first, where they lie by themselves.
    for span in reading.spans(config, (Kind.instrument,), (), 0, far):
        runner.replay_span(step, span)
        other.replay_span(other.step, span)
    kinds, objects = step.kinds, (*runner.writes, Kind.run)
    for span in column_history(config, far, kinds, objects):
        other.replay_span(other.step, span)
        definitions = cut(only_definitions(span), 0, near)
        runner.replay_span(step, definitions)
        runner.replay_span(step, cut(span, near, span.last))
        if stop():
            return runner
    if step.state_bytes() != other.step.state_bytes():
        seconds = step.lookback_ns / 1e9
        why = f"LOOKBACK_S = {seconds:g} is not enough: one look-back and two give other states; the whole log is replayed"
        log_line(runner.name, "warning", why)
        return make()
    runner.seq = other.seq
    runner.begin_warm(near)
    return runner


def cut(span: ColumnSpan, after: int, until: int) -> ColumnSpan:
    """The part of a span with after < seq ≤ until."""
    subjects = []
    for columns in span.subjects:
        begin, end = np.searchsorted(columns.seqs, [after, until], side="right").tolist()
        if begin < end:
            subjects.append(SubjectColumns(columns.subject, columns.rows[begin:end], columns.seqs[begin:end], columns.records))
    events = [event for event in span.events if after < event.seq <= until]
    return ColumnSpan(max(span.first, after + 1), min(span.last, until), subjects, events)


def only_definitions(span: ColumnSpan) -> ColumnSpan:
    """A span with the definitions of instruments alone, and the events."""
    return span._replace(subjects=list(_definitions(span)))


def _definitions(span: ColumnSpan) -> Iterator[SubjectColumns]:
    for columns in span.subjects:
        mine = columns.rows["kind"] == Kind.instrument
        if mine.any():
            yield columns._replace(rows=columns.rows[mine], seqs=columns.seqs[mine])
