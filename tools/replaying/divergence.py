"""The first place where a replay and what was published live part, with all that it follows from."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgpack
import msgspec
import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.research.identities import EXECUTOR, Identity, StepMaker
from tickmesh.tools.event_text import content_of, time_text
from tickmesh.tools.replaying.recording import RecordedEvents, rows_before
from tickmesh.tools.replaying.steps import Published, kinds_of, run_on_columns, run_steps
from tickmesh.tools.replaying.stretches import Difference, StretchComparison
from tickmesh.tools.terminal import JsonObject

ROWS = 8  # of the instrument, before the cause
BATCH = 4096


class Diverged(NamedTuple):
    """A difference, the step that gave the other side, and what ran live. `changes`: what of it is not as now.

    `then`: how the stretch compares with the step that its `run` event names, where that is another one and can be made.
    """

    maker: StepMaker
    difference: Difference
    identity: Identity | None
    changes: list[str]
    then: StretchComparison | None


def inputs(config: Config, recording: RecordedEvents, batch: int | None, diverged: Diverged) -> JsonObject:
    """What the two sides were made of, as `--json` prints it: the cause in words, the instrument's last rows before it, the
    state that the replay had then, field by field what was published and what the replay gives, and what ran then and now."""
    maker, difference = diverged.maker, diverged.difference
    cause_seq, k = difference.key
    one = difference.live or difference.replayed
    subject = one.subject if one is not None else ""
    cause = next(iter(recording.events(cause_seq - 1, cause_seq)), None)
    kinds = executor.READS if maker.node == EXECUTOR else model.READS
    of = cause.subject if cause is not None and maker.node != EXECUTOR else subject
    before = rows_before(recording, cause_seq, of, kinds, ROWS)
    now, then = maker.identity, diverged.identity or {}
    return {
        "node": maker.node,
        "cause_seq": cause_seq,
        "k": k,
        "instrument": subject,
        "kind": one.kind.name if one is not None else None,
        "cause": None if cause is None else _words(config, cause),
        "rows_before": [_words(config, event) for event in before],
        "state_before": _state_before(recording, batch, maker, cause_seq, of),
        "fields": list(_fields(difference)),
        "code_then": then.get("code"),
        "code_now": now.get("code"),
        "parameters_then": then.get("parameters"),
        "parameters_now": now.get("parameters"),
        "changes": diverged.changes,
        "equal_with_those_of_then": diverged.then and diverged.then.is_equal,
    }


def _words(config: Config, event: Event) -> JsonObject:
    """An event: its place, its time, and its content in a few words."""
    return {
        "seq": event.seq,
        "seq_ns": event.seq_ns,
        "time": time_text(event.seq_ns),
        "topic": event.topic,
        "content": content_of(config, event),
    }


def _state_before(
    recording: RecordedEvents, batch: int | None, maker: StepMaker, cause_seq: int, subject: str
) -> JsonObject | None:
    """The state of a fresh step after all that came before the cause: field → value. None: it serves no such instrument."""
    step = maker.make()
    nodes = {maker.node: step}
    if batch is None:
        columns, objects = kinds_of(nodes)
        given = run_on_columns(nodes, recording.spans(columns, objects, 0, cause_seq - 1))
    else:
        given = run_steps(nodes, recording.events(0, cause_seq - 1), batch)
    for _ in given:
        pass
    if isinstance(step, model.Step):
        place = step.states.places.get(subject)
        if place is None:
            return None
        state, units = step.states.of[place]
        fields = {name: _value(state[name][0]) for name in state.dtype.names or ()}
        return fields | {"price_unit": _value(units[0]), "quantity_unit": _value(units[1])}
    built = step.state.instruments.get(subject)
    if built is None:
        return None
    plain: JsonObject = msgspec.json.decode(msgspec.json.encode(built))
    return plain


def _fields(difference: Difference) -> Iterator[JsonObject]:
    """Each field of the two records: its value on both sides, and its bits where it has a fixed width."""
    live, replayed = difference.live, difference.replayed
    one = live or replayed
    if one is None:
        return
    if live is not None and replayed is not None:
        for name, mine, theirs in (
            ("kind", live.kind.name, replayed.kind.name),
            ("instrument", live.subject, replayed.subject),
        ):
            if mine != theirs:
                yield {"field": name, "live": mine, "replayed": theirs, "live_bits": "", "replayed_bits": "", "same": False}
        if live.kind != replayed.kind:
            return
    dtype = DTYPES[one.kind]
    if dtype.names:
        sides = [None if each is None else np.frombuffer(each.payload, dtype, 1) for each in (live, replayed)]
        for name in dtype.names:
            values = [None if side is None else _value(side[name][0]) for side in sides]
            bits = ["" if side is None else side[name].tobytes()[::-1].hex() for side in sides]
            yield _field(name, values, bits)
        return
    maps: list[JsonObject | None] = [None if each is None else msgpack.unpackb(each.payload) for each in (live, replayed)]
    for name in sorted({name for one_map in maps for name in one_map or ()}):
        values = [None if one_map is None else one_map.get(name) for one_map in maps]
        yield _field(name, values, ["", ""])


def readable(one: Published | None) -> JsonObject | None:
    """What was published, field → value; None for nothing."""
    if one is None:
        return None
    dtype = DTYPES[one.kind]
    if not dtype.names:
        return dict(msgpack.unpackb(one.payload))
    row = np.frombuffer(one.payload, dtype, 1)
    return {name: _value(row[name][0]) for name in dtype.names}


def _field(name: str, values: list[Any], bits: list[str]) -> JsonObject:
    same = bits[0] == bits[1] if bits[0] or bits[1] else values[0] == values[1]
    return {
        "field": name, "live": values[0], "replayed": values[1], "live_bits": bits[0], "replayed_bits": bits[1], "same": same,
    }  # fmt: skip


def _value(value: Any) -> Any:
    """A field as JSON has it: text for bytes, null for NaN, lists for arrays."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bytes):
        return plain.rstrip(b"\0").decode("ascii", "backslashreplace")
    if isinstance(plain, float) and not math.isfinite(plain):
        return None if math.isnan(plain) else str(plain)
    if isinstance(plain, (np.ndarray, tuple, list)):
        return [_value(each) for each in plain]
    return plain
