"""An executor that was away: what it makes up for is judged by the time at which it can act, and is no burst."""

import contextlib
import random
import threading

import numpy as np
import pytest

from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tickmesh.bus.clock import SECOND
from tickmesh.bus.schema import SIGNAL, Action, Kind, Status
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode

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


class Signals(threading.Thread):
    """Publishes a strong signal about the newest event three times a second."""

    def __init__(self, mesh: NodeProcesses):
        super().__init__(daemon=True)
        self.mesh, self.over = mesh, threading.Event()

    def run(self):
        chance = random.Random(7)
        with contextlib.closing(Producer(self.mesh.config, "model-m")) as model:
            while not self.over.wait(1 / 3):
                row = np.array([(b"m", chance.choice([-0.9, 0.9]), np.nan, 0, 0)], SIGNAL)
                model.publish([encode(Kind.signal, SUBJECT, row, cause_seq=self.mesh.last())])


@pytest.fixture(scope="module")
def absence(tmp_path_factory):
    """(mesh, seq at which the executor died, seq at which it was back): signals went on meanwhile."""
    mesh = NodeProcesses(tmp_path_factory.mktemp("absent"), SETTINGS)
    try:
        mesh.start("sequencer", "exchange", "feed-1", "session", "executor")
        signals = Signals(mesh)
        signals.start()
        until(lambda: len(mesh.events(Kind.fill)) > 2, "it trades")
        mesh.kill("executor")
        died = mesh.last()
        gone_ns = mesh.events(Kind.quote, Kind.clock)[-1].seq_ns
        until(lambda: mesh.events(Kind.quote, Kind.clock)[-1].seq_ns - gone_ns > AWAY_NS, "3.5 s of the log")
        until(lambda: len(mesh.events(Kind.signal, after=died)) >= MISSED, "signals go on")
        back = mesh.last()
        mesh.start("executor")
        until(lambda: len(mesh.events(Kind.fill, after=back)) > 3, "it trades again")
        signals.over.set()
        signals.join()
        yield mesh, died, back
    finally:
        mesh.end()


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
