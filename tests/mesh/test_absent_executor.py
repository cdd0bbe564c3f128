"""An executor that was away: what it makes up for is judged by the time at which it can act, and is no burst."""

import pytest

from tests.support.mesh_run import until
from tests.support.trading_mesh import Signals, trading_mesh
from tickmesh.bus.clock import SECOND
from tickmesh.bus.schema import Action, Kind, Status

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(200)]

SUBJECT = "binance.BTCUSDT"
STALE_NS = 2 * SECOND  # the default stale_ms
AWAY_NS = int(3.5 * SECOND)
MISSED = 8  # signals at least, meanwhile
SETTINGS = """
[executor]
styles = ["market"]
[feed]
lines = 1
[exchange]
lines = 1
quotes_per_s = 30.0
"""


def filled(mesh, after):
    """The client ids of the orders that have fills after a seq: one order may have several."""
    return {record["client_order_id"] for event in mesh.events(Kind.fill, after=after) for record in event.records}


@pytest.fixture(scope="module")
def absence(tmp_path_factory):
    """(mesh, seq at which the executor died, seq at which it was back): signals went on meanwhile."""
    nodes = ("sequencer", "exchange", "feed-1", "session", "executor")
    with trading_mesh(tmp_path_factory.mktemp("absent"), SETTINGS, nodes, base="") as mesh:
        signals = Signals(mesh, (SUBJECT,), 3)
        until(lambda: len(filled(mesh, 0)) > 2, "it trades")
        mesh.kill("executor")
        died = mesh.last()
        gone_ns = mesh.events(Kind.quote, Kind.clock)[-1].seq_ns
        until(lambda: mesh.events(Kind.quote, Kind.clock)[-1].seq_ns - gone_ns > AWAY_NS, "3.5 s of the log")
        until(lambda: len(mesh.events(Kind.signal, after=died)) >= MISSED, "signals go on")
        back = mesh.last()
        mesh.start("executor")
        until(lambda: len(filled(mesh, back)) > 3, "it trades again")
        signals.end()
        yield mesh, died, back


def test_nothing_is_sent_on_a_cause_that_is_older_than_stale_ms_when_it_can_act(absence):
    mesh, died, back = absence
    times = {event.seq: event.seq_ns for event in mesh.events(*Kind)}
    causes = {event.seq: event.cause_seq for event in mesh.events(Kind.signal)}
    sent = {
        record["client_order_id"].decode(): event.sent_ns
        for event in mesh.events(Kind.update) for record in event.records if record["status"] == Status.PendingNew
    }  # fmt: skip
    ages = {}
    for event in mesh.events(Kind.intent):
        name = event.records["client_order_id"][0].decode()
        if event.records["action"][0] == Action.NEW and name in sent:
            ages[name] = sent[name] - times[causes[event.cause_seq]]
    assert len(ages) > 5 and max(ages.values()) <= STALE_NS, "sent on a cause that is too old"


def test_what_was_missed_is_no_burst_of_orders(absence):
    mesh, died, back = absence
    missed = [event for event in mesh.events(Kind.signal, after=died) if event.seq <= back]
    assert len(missed) >= MISSED, "signals went on while it was away"
    late = [event for event in mesh.events(Kind.intent, after=back) if died < event.cause_seq <= back]
    orders = [event for event in late if event.records["action"][0] == Action.NEW]
    assert len(orders) <= 1, "one strategy has one order at a time under way to the log"
