"""Ctrl-C, and supervisorctl's SIGTERM, to a session that trades: what works is cancelled, nothing new is placed, within 5 s.

A hosted one is told by END_TRADING to its host, as the end of a mesh begins.
"""

import signal
import time
from itertools import chain

import numpy as np
import pytest

from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.schema import SIGNAL, Kind, Status
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.supervision.sessions import END_TRADING
from tickmesh.tools.judge import exchange_ledger
from tickmesh.tools.judge.findings import Findings

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(240)]

SUBJECT = "binance.BTCUSDT"
OPEN = ("NEW", "PARTIALLY_FILLED")
SETTINGS = """
[executor]
styles = ["limit_maker"]
order_ttl_ms = 600000
orders_per_s = 50.0
[feed]
lines = 1
[session]
on_stop = "{on_stop}"
[exchange]
lines = 1
quotes_per_s = 30.0
"""


def ledger(mesh: NodeProcesses) -> exchange_ledger.LedgerContents:
    return exchange_ledger.read_contents(mesh.config.exchange_dir, Findings())


def working(mesh: NodeProcesses) -> list[str]:
    """The client ids of the orders that are open at the exchange, by its own ledger."""
    newest = {event.client_order_id: event.status for event in chain.from_iterable(ledger(mesh).orders.values())}
    return [name for name, status in newest.items() if status in OPEN]


def sent_before_the_stop(mesh: NodeProcesses) -> set[str]:
    """The client ids of the orders that the session put on file, to send them, before it said that it stops."""
    (stop,) = (event.seq for event in mesh.events(Kind.alert) if event.map()["what"] == "session_stopping")
    updates = [event for event in mesh.events(Kind.update) if event.seq < stop]
    rows = [row for event in updates for row in event.records if row["status"] == Status.PendingNew]
    return {row["client_order_id"].decode() for row in rows}


def is_over(mesh: NodeProcesses) -> bool:
    """Whether no process has the session's account."""
    with FileLock(mesh.config.run_dir / "session.lock") as lock:
        return lock.try_acquire()


@pytest.mark.parametrize(
    ("number", "on_stop"),
    [(signal.SIGINT, "cancel"), (signal.SIGTERM, "cancel"), (signal.SIGTERM, "keep"), (END_TRADING, "cancel")],
)
def test_a_session_that_is_stopped_while_it_trades(tmp_path, number, on_stop):
    hosted = number == END_TRADING
    mesh = NodeProcesses(tmp_path, ('host = ["session"]' if hosted else "") + SETTINGS.format(on_stop=on_stop))
    try:
        mesh.start("sequencer", "exchange", "feed-1", *(() if hosted else ("session",)), "executor")
        model = Producer(mesh.config, "model-m")

        def signals() -> None:
            """One more strong signal, always to buy: makers rest."""
            row = np.array([(b"m", 0.9, np.nan, 0, 0)], SIGNAL)
            model.publish([encode(Kind.signal, SUBJECT, row, cause_seq=mesh.last())])

        until(lambda: signals() or len(working(mesh)) >= 2, "two orders rest at the exchange", 90)
        session = mesh.processes["sequencer"] if hosted else mesh.processes.pop("session")
        stopped = time.monotonic()
        session.send_signal(number)
        while not is_over(mesh):
            signals()  # the executor goes on ordering
            time.sleep(0.02)
            assert time.monotonic() - stopped < 20, "it does not end"
        took_s = time.monotonic() - stopped
        asked = len(ledger(mesh).asked)
        for _ in range(20):
            signals()
        assert took_s < 5 and (session.poll() is None if hosted else session.wait(5) == 0), "its host goes on"
        if on_stop == "keep":  # those that stood may have been filled since
            assert "CANCELED" not in {event.what for event in chain.from_iterable(ledger(mesh).orders.values())}
        else:
            assert working(mesh) == []
        told = {one.order for one in ledger(mesh).asked if one.places}
        assert not [one for one in ledger(mesh).asked[asked:] if one.places], "nothing comes once it is over"
        until(lambda: mesh.alerts("session_stopping"), "it said that it stops")
        assert told and told <= sent_before_the_stop(mesh), "nothing was sent once the stop had begun"
        model.close()
    finally:
        mesh.end()
