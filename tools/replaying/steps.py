"""Fresh steps of models and executor over what was recorded, and what they publish of it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import FEATURE, Kind
from tickmesh.bus.wire import decode
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.nodes.model.features_given import bodies
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.runner.step import ColumnStep
from tickmesh.storage.columns.span import ColumnSpan

DERIVED = (*model.WRITES, *executor.WRITES)  # what is compared

Faults = dict[str, str]  # step → why it cannot go on
Key = tuple[int, int]  # (cause_seq, k): the place of what a derived producer publishes


class Published(NamedTuple):
    """One event that a step published. Sorted by (cause_seq, k), then by node."""

    cause_seq: int
    k: int
    node: str
    kind: Kind
    subject: str
    payload: bytes  # the record, without the header

    @property
    def key(self) -> Key:
        """(cause_seq, k)."""
        return self.cause_seq, self.k

    @property
    def content(self) -> tuple[Kind, str, bytes]:
        """What has to be equal: kind, subject and every byte of the record."""
        return self.kind, self.subject, self.payload


def steps(config: Config, with_executor: bool = True) -> dict[str, Any]:
    """Builds the steps that mesh.toml names, fresh: node name → step."""
    out: dict[str, Any] = {f"model-{one.name}": model.Step(config, one.name) for one in config.models}
    if with_executor and config.executor.enabled:
        out["executor"] = executor.Step(config, "")
    return out


def put_out(nodes: dict[str, Any], node: str, fault: ModelFault, faults: Faults | None) -> None:
    """Takes a step that has failed out of `nodes` and notes why in `faults`; raises `fault` where there are none."""
    if faults is None:
        raise fault
    faults[node] = str(fault)
    del nodes[node]


def run_steps(nodes: dict[str, Any], events: Iterable[Any], batch: int, faults: Faults | None = None) -> Iterator[Published]:
    """Hands events to the steps in lists of `batch`; gives everything that they publish. `faults`: as `put_out` takes them."""
    iterator = iter(events)
    while chunk := list(islice(iterator, batch)):
        for node, step in tuple(nodes.items()):
            try:
                given = step.step(chunk)
            except ModelFault as fault:
                put_out(nodes, node, fault, faults)
                continue
            for raw in given:
                event = decode(raw)
                yield Published(event.cause_seq, event.k, node, Kind(event.kind), event.subject, bytes(event.body))


def run_on_columns(nodes: dict[str, Any], spans: Iterable[ColumnSpan], faults: Faults | None = None) -> Iterator[Published]:
    """Hands spans to the steps, or their events to those that take no columns; gives everything that they publish.

    `faults`: as `put_out` takes them."""
    for span in spans:
        for node, step in tuple(nodes.items()):
            if isinstance(step, ColumnStep):
                try:
                    given = step.step_span(span)
                except ModelFault as fault:
                    put_out(nodes, node, fault, faults)
                    continue
                yield from _published(node, step, given)
            else:
                yield from run_steps({node: step}, span.events, max(len(span.events), 1))


def _published(node: str, step: Any, given: np.ndarray) -> Iterator[Published]:
    """What a model's `step_span` gave, event by event."""
    subjects = step.states.subjects
    if given.dtype["record"] == FEATURE:
        for cause_seq, place, body in bodies(given):
            yield Published(cause_seq, 0, node, Kind.feature, subjects[place], body)
        return
    size, records = given.dtype["record"].itemsize, given["record"].tobytes()
    places = zip(given["cause_seq"].tolist(), given["k"].tolist(), given["instrument"].tolist())
    for i, (cause_seq, k, place) in enumerate(places):
        yield Published(cause_seq, k, node, Kind.signal, subjects[place], records[i * size : (i + 1) * size])


def kinds_of(nodes: dict[str, Any]) -> tuple[set[Kind], set[Kind]]:
    """(kinds that these steps need as columns, kinds that they need as events)."""
    columns = {kind for step in nodes.values() if isinstance(step, ColumnStep) for kind in step.kinds}
    return columns, set() if all(isinstance(step, ColumnStep) for step in nodes.values()) else set(executor.READS)
