"""The market events of a line, made again from its `raw` events: what `mesh rebuild` uses with a later parser."""

from collections.abc import Iterable, Iterator

from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import Event
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.streams import Source, topic_of
from tickmesh.nodes.venues.adapter import Adapter


def rebuild_line(
    raws: Iterable[Event], adapter: Adapter, instruments: Iterable[Instrument], settings: FeedSettings
) -> Iterator[list[bytearray]]:
    """The market events of one line, made again from its `raw` events in their order: one list for each of them.

    Equal to what the line published, byte for byte but for what an outbox and the sequencer stamp, unless the adapter is
    another by now. What was refused is refused again, silently: `raw` has their bytes.
    """
    instruments = list(instruments)
    reception = Reception("", adapter, instruments, settings)
    sources: dict[int, Source] = {}
    topics = {topic_of(key): key for key in reception.stream_keys()}
    for raw in raws:
        call = raw.map()
        number, channel, frames, now_ns = call["connection"], call["channel"], call["frames"], raw.recv_ns
        if channel == "open" and number == 1:  # a process began
            reception, sources = Reception("", adapter, instruments, settings), {}
        if channel == "open":
            sources[number], events = reception.open(number, now_ns, [topics[one.decode()] for one in frames])
        elif channel == "rest definitions":
            events, _ = reception.definitions_of([subject.decode() for subject in frames[1:]], now_ns, frames[0])
        elif channel.startswith("rest definition "):  # of a log from before several were asked for at once
            events, _ = reception.definitions_of([channel.split(" ", 2)[2]], now_ns, frames[0])
        elif channel.startswith("rest snapshot "):
            events = reception.snapshot(channel.split(" ", 2)[2], now_ns, frames[0]).events
        elif channel == "images":
            events = reception.images(now_ns)
        elif number not in sources:  # raw frames were left out until now
            reception = Reception("", adapter, instruments, settings)
            sources = {number: reception.open(number, now_ns)[0]}
            events = [] if channel == "restart" else reception.frames(sources[number], now_ns, frames).events
        elif channel == "ws":
            events = reception.frames(sources[number], now_ns, frames).events
        elif channel in ("handover", "lost"):
            events = reception.hand_over(now_ns, lost=channel == "lost")
        elif channel == "close":
            events = reception.close(sources.pop(number), now_ns)
        else:
            events = reception.begin_books_anew(now_ns)
        yield events
