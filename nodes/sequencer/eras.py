"""Where a venue begins its ids anew: which streams of an instrument begin again, and which lines are behind that. Pure.

Ids of a book are those of its quotes as well; trades have their own.
"""

from tickmesh.bus.schema import GapState, Kind, Reason
from tickmesh.nodes.sequencer import statements
from tickmesh.nodes.sequencer.offer import Offer
from tickmesh.nodes.sequencer.stream import ArbitratedStream

Streams = dict[tuple[int, str], ArbitratedStream]
OF_BOOK = (Kind.depth, Kind.quote)


def begin(streams: Streams, subject: str, line: str, number: int) -> None:
    """Begins a new era of an instrument's book: the venue's ids began anew, as this line was the first to show."""
    for kind in OF_BOOK:
        stream = streams.get((kind, subject))
        if stream is not None and stream.rule != "exclusive":
            stream.anew = kind == Kind.quote and stream.last is not None
            stream.reset(line, number)


def cross(streams: Streams, subject: str, line: str, number: int) -> None:
    """Takes a line into the new era of an instrument's book, from this number of its events on."""
    for kind in OF_BOOK:
        stream = streams.get((kind, subject))
        if stream is not None and stream.crossed is not None:
            stream.crossed[line] = number


def cross_line(streams: Streams, stream: ArbitratedStream, one: Offer, out: list[bytearray]) -> None:
    """Takes the line that offers this event into the new era, and appends a `line` event about it to `out`."""
    if stream.kind == Kind.depth:
        cross(streams, stream.subject, one.line, one.number)
    else:
        stream.cross(one.line, one.number)
        stream.joined.add(one.line)
    out.append(statements.joined(stream, one))


def forget_numbers(streams: Streams, line: str) -> None:
    """Notes that a line numbers its events anew: what is remembered by its numbers is of the time before all of them."""
    for stream in streams.values():
        stream.forget_numbers(line)


def disown(streams: Streams, stream: ArbitratedStream, out: list[bytearray]) -> int:
    """Before ids begin anew: forgets a last id that its own line took back, in the stream and in its book's quotes.
    Gives how many there were.
    """
    kinds = OF_BOOK if stream.kind == Kind.depth else (stream.kind,)
    found = [streams.get((int(kind), stream.subject)) for kind in kinds]
    wrong = [one for one in found if one is not None and one.disowned()]
    for one in wrong:
        assert one.sure is not None
        runs = [(one.sure + 1, one.sure)]
        out.append(statements.gap(one, runs, GapState.unrecoverable, Reason.contradiction, 0, before_ns=0))
        one.go_back(one.sure, one.sure)
    return len(wrong)


def may_have_begun(streams: Streams, subject: str, line: str) -> bool:
    """Whether the line brought lower ids of the instrument that are later than all that is known: those are no copies."""
    runs = [stream.doubts.runs.get(line) for (_, name), stream in streams.items() if name == subject]
    return any(run is not None and run.newer and run.count for run in runs)
