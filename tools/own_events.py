"""Which events of a log are of the mesh that was just started: nobody is called up by another's."""

from collections.abc import Iterable, Iterator

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event


class OwnEvents:
    """Picks the events of one life of a mesh out of its log, which is read in order from before it began.

    They begin with the `run` event of its own sequencer, since a log has one writer; of what that logs, those count that were
    published since `begun_ns` (the mesh's time): what an earlier life left in outboxes does not. `mesh`: the identity, as
    supervisord gives it to its processes; "" of a table written by hand that has none: then time alone decides.
    """

    def __init__(self, mesh: str, begun_ns: int):
        self.mesh = mesh
        self.begun_ns = begun_ns
        self._begun = not mesh

    def of(self, found: Iterable[Event]) -> Iterator[Event]:
        """The events among these that are of this life."""
        for event in found:
            if not self._begun and event.kind == Kind.run and event.subject == "sequencer":
                self._begun = event.map().get("mesh") == self.mesh
            if self._begun and event.sent_ns >= self.begun_ns:
                yield event
