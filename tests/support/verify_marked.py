"""Events flagged as a sequencer flags them."""

from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.wire import Event


def marked(raws: list[bytes]) -> list[bytes]:
    """Flags events as a sequencer does: changes without a book are UNSYNCED."""
    out, book = [], False
    for raw in raws:
        event = Event(raw)
        if event.kind == Kind.gap and event.records["stream"][0] == Kind.depth:
            book = False
        elif event.kind == Kind.depth:
            book = bool(event.flags & Flag.SNAPSHOT) or (book and not event.flags & Flag.RESET)
            raw = raw[:10] + bytes([event.flags | (0 if book else Flag.UNSYNCED)]) + raw[11:]
        out.append(raw)
    return out
