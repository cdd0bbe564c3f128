"""The instruments' definitions as a line knows them, and the marks that are made of them."""

from collections.abc import Iterable, Mapping, Sequence

from tickmesh.bus.layout import RECORDS
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import stamp_ids, stamp_k
from tickmesh.nodes.feed.streams import KINDS, Key, subject_of
from tickmesh.nodes.venues.adapter import Adapter
from tickmesh.nodes.venues.parsing.dialect import FrameError


class KnownDefinitions:
    """The newest definition of each instrument of a line: in `known`, subject → its `instrument` event."""

    def __init__(self, adapter: Adapter, instruments: Mapping[str, Instrument]):
        self.adapter = adapter
        self.instruments = instruments
        self.known: dict[str, bytearray] = {}

    def take(self, subjects: Sequence[str], recv_ns: int, body: bytes) -> tuple[list[bytearray], dict[str, FrameError | None]]:
        """Takes the answer to a `definitions` question; gives (events that are new, subject → why it has none, or None)."""
        news: list[bytearray] = []
        outcome: dict[str, FrameError | None] = dict.fromkeys(subjects)
        for subject in subjects:
            try:
                event = self.adapter.decode_definition(body, recv_ns, self.instruments[subject])
            except FrameError as error:
                outcome[subject] = error
                continue
            known = self.known.get(subject)
            if known is None or event[RECORDS] != known[RECORDS]:
                self.known[subject] = bytearray(event)
                news.append(event)
        return news, outcome

    def marks(self, subjects: Iterable[str], kind: int = 0) -> list[bytearray]:
        """Marks of a connection that may have missed something: each subject's definition with the id 1 (docs/messages.md)."""
        marks = [bytearray(self.known[s]) for s in sorted(subjects) if s in self.known]
        for mark in marks:
            stamp_ids(mark, 1, 1)
            stamp_k(mark, kind)
        return marks

    def marks_of(self, keys: Iterable[Key]) -> list[bytearray]:
        """Marks that these streams may have missed something; one for all streams of an instrument, where all are named."""
        kinds: dict[str, list[int]] = {}
        for kind, subject in sorted(keys):
            kinds.setdefault(subject_of((kind, subject)), []).append(kind)
        whole = {subject for subject, own in kinds.items() if len(own) == len(KINDS)}
        single = [
            mark for subject in sorted(kinds.keys() - whole) for kind in kinds[subject] for mark in self.marks({subject}, kind)
        ]
        return self.marks(whole) + single
