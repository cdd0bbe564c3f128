"""A part of an event of several trades: what is new in it, or what fills a gap. No I/O."""

import numpy as np

from tickmesh.bus.layout import RECORDS
from tickmesh.bus.schema import TRADE
from tickmesh.bus.wire import ids_of, stamp_ids, stamp_venue_ns, venue_ns_of, with_records


def ranges(event: bytearray) -> list[tuple[int, int]]:
    """The ids that each record stands for: from the one after its predecessor's up to its own."""
    first_id, last_id = ids_of(event)
    own = np.frombuffer(memoryview(event)[RECORDS], TRADE)["trade_id"].tolist()
    if len(own) == 1:
        return [(first_id, last_id)]
    return list(zip([first_id, *(last + 1 for last in own[:-1])], own))


def clip(event: bytearray, low: int, high: int) -> bytearray | None:
    """The trades whose ids all lie in `low` to `high`, as an event with the same stamps; None where there is none.

    A record that stands for several ids cannot be divided: where it juts out it is left out. An event whose time is that of
    its last trade (a page of history) gives a part with the time of its own last: a gap's neighbours are compared with it.
    """
    spans = ranges(event)
    inside = [i for i, (first, last) in enumerate(spans) if low <= first and last <= high]
    if not inside:
        return None
    if len(inside) == len(spans):
        return event
    start, stop = inside[0], inside[-1] + 1
    out = with_records(event, event[RECORDS][start * TRADE.itemsize : stop * TRADE.itemsize])
    times = np.frombuffer(memoryview(event)[RECORDS], TRADE)["venue_ns"]
    if venue_ns_of(event) == times[-1]:
        stamp_venue_ns(out, int(times[stop - 1]))
    stamp_ids(out, spans[start][0], spans[stop - 1][1])
    return out
