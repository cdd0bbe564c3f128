"""Of two captures of the same day the clean one has no fault, and the other exactly those that were put in."""

import json

import numpy as np
import pytest

from tests.support import captures
from tests.support.captures import needs
from tickmesh.bus.schema import GAP, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.parsing.dialect import OddRows
from tickmesh.nodes.venues.parsing.times import doubt

pytestmark = pytest.mark.data

DAY = (1_741_046_400 * 10**9, 1_741_132_800 * 10**9)  # 2025-03-04, of which the files are


def faults(name, twin):
    """What decoder, clocks and arbiter find in a file: (what, id or time)."""
    routes = binance.routes([Instrument(symbol="TRXUSDT")])
    arbiter, found, now = Arbiter(hold_ns=1), [], 0
    for message in captures.lasota(name, twin):
        now += 10
        if not DAY[0] <= message.recv_ns < DAY[1]:
            found.append(("received on another day", message.recv_ns))
        try:
            (event,) = binance.decode(message.frame, message.recv_ns, routes)
        except OddRows as error:
            found.append(("odd", str(error)))
            (event,) = error.readable
        head = event_of(event)
        # The recorder's clock was the venue's to within a millisecond; nothing came later than a minute.
        if sentence := doubt(head.venue_ns, message.recv_ns, ahead_ns=10**6, behind_ns=60 * 10**9):
            found.append((sentence, head.last_id))
        before = arbiter.copies.duplicates.get("one", 0)
        said = arbiter.offer(Kind(head.kind), head.subject, "one", now, event, now) + arbiter.due(now + 5)
        refused = [event_of(one).map()["raw"] for one in said if event_of(one).kind == Kind.refusal]
        found += [("said otherwise", event_of(raw).last_id) for raw in refused]
        if arbiter.copies.duplicates.get("one", 0) > before + len(refused):
            found.append(("repeated", head.last_id))
        for one in said:
            gap = event_of(one)
            if gap.kind == Kind.gap:
                (record,) = np.frombuffer(one[-GAP.itemsize :], GAP)
                found.append(("skipped", (int(record["first_id"]), int(record["last_id"]))))
    return found


@needs(captures.LASOTA)
@pytest.mark.parametrize("name", ["difference_depth", "trade"])
def test_the_clean_twin_has_no_fault(name):
    assert faults(name, "positive") == []


@needs(captures.LASOTA)
def test_the_faulty_twin_has_exactly_the_faults_that_were_injected_into_its_trades():
    """The diff of the twins: trade …872 is called …871, and the last one was received 23 hours late."""
    assert faults("trade", "negative") == [
        ("said otherwise", 348656871),
        ("skipped", (348656872, 348656872)),
        ("the venue's time is 83454.837808 s before the receipt; 60.000000 s are allowed", 348666869),
    ]


@needs(captures.LASOTA)
def test_the_faulty_twin_has_exactly_the_faults_that_were_injected_into_its_depth():
    """The diff: one level with price −1 and time 0, one message with U + 1 and an event time after its receipt, the
    last one on the next day. The odd price costs its level only."""
    assert faults("difference_depth", "negative") == [
        ("odd", "a level's price '-1' is below 0"),
        ("the venue's time is 0", 5434434566),
        ("the venue's time is 0.001001 s after the receipt; 0.001000 s are allowed", 5434434571),
        ("skipped", (5434434570, 5434434570)),
        ("received on another day", 1_741_132_800 * 10**9),
    ]
    first = next(captures.lasota("difference_depth", "negative"))
    assert json.loads(first.frame)["data"]["E"] == 0 and doubt(0, first.recv_ns, 0, 60 * 10**9) == "the venue's time is 0"
