"""A small mesh that trades at the local exchange, with real processes: settings, nodes, and signals of a test's own."""

import contextlib
import itertools
import random
import threading

import numpy as np

from tests.support.node_processes import NodeProcesses
from tickmesh.bus.schema import SIGNAL, Kind
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode

NODES = ("sequencer", "exchange", "feed-1", "session", "model-imbalance", "executor")
ONE_MODEL = """
[[instruments]]
symbol = "BTCUSDT"
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[feed]
lines = 1
[exchange]
lines = 1
"""


@contextlib.contextmanager
def trading_mesh(root, settings, nodes=NODES, base=ONE_MODEL):
    """Gives the running nodes of a mesh under `root`, with the settings `base` and more; kills them at the end."""
    mesh = NodeProcesses(root, base + settings)
    try:
        mesh.start(*nodes)
        yield mesh
    finally:
        mesh.end()


class Signals(threading.Thread):
    """Publishes strong signals on the subjects in turn, so many a second, up and down at random."""

    def __init__(self, mesh: NodeProcesses, subjects: tuple[str, ...], per_s: float):
        super().__init__(daemon=True)
        self.mesh, self.subjects, self.per_s, self.over = mesh, subjects, per_s, threading.Event()
        self.start()

    def run(self):
        chance = random.Random(5)
        with contextlib.closing(Producer(self.mesh.config, "model-m")) as model:
            for subject in itertools.cycle(self.subjects):
                if self.over.wait(1 / self.per_s):
                    return
                row = np.array([(b"m", chance.choice([-0.9, 0.9]), np.nan, 0, 0)], SIGNAL)
                model.publish([encode(Kind.signal, subject, row, cause_seq=self.mesh.last())])

    def end(self):
        """Returns when nothing more comes."""
        self.over.set()
        self.join()


def statuses(mesh: NodeProcesses) -> dict[tuple[str, str], int]:
    """The newest status of every order in the log; of one that nothing is said about, PendingNew."""
    return {
        (event.subject, record["client_order_id"].decode()): int(record["status"] if event.kind == Kind.update else 1)
        for event in mesh.events(Kind.intent, Kind.update) for record in event.records if record["quantity_lots"]
    }  # fmt: skip
