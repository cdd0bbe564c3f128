"""Some nodes of a mesh, each a process that a test starts and kills itself: no supervisord, no sentinel."""

import os
import shutil
import signal
import subprocess
import sys
import time

from tests.support.mesh_run import until
from tickmesh.bus.clock import SECOND
from tickmesh.bus.clock_faults import ClockFaults
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind


class NodeProcesses:
    """Nodes of a mesh in a folder, each a process, with clocks that the test falsifies."""

    def __init__(self, root, settings):
        (root / "mesh.toml").write_text(settings)
        (root / ".venv").symlink_to(sys.prefix)  # for commands
        self.root, self.config = root, load(root)
        self.faults = ClockFaults(root / "clock-faults.json")
        self.processes = {}

    def configure(self, settings):
        """Writes other settings: for what is started from now on."""
        (self.root / "mesh.toml").write_text(settings)
        self.config = load(self.root)

    def start(self, *names):
        """Starts nodes one after the other, each when the one before is ready."""
        for name in names:
            ready = self.config.run_dir / f"ready/{name}.json"
            ready.unlink(missing_ok=True)
            node, _, instance = name.partition("-")
            words = [sys.executable, "-m", "tickmesh.nodes", node, *([instance] if instance else [])]
            environment = {**os.environ, **self.faults.environment}
            self.processes[name] = subprocess.Popen(words, cwd=self.root, env=environment)
            until(ready.exists, f"{name} ready", 180)  # a model's kernel may have to be compiled

    def kill(self, name):
        """Ends a node with SIGKILL."""
        process = self.processes.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def end(self):
        """Kills what runs, and leaves nothing in RAM."""
        for name in tuple(self.processes):
            self.kill(name)
        shutil.rmtree(self.config.outbox_dir, ignore_errors=True)

    def events(self, *kinds, after=0):
        """Reads the events of these kinds after a seq."""
        return [event for event in LogReader(self.config.log_dir).events(after) if event.kind in kinds]

    def last(self):
        """The last seq of the log."""
        return LogReader(self.config.log_dir).last

    def alerts(self, what, after=0):
        """The contents of the alerts of this name."""
        return [said for said in (event.map() for event in self.events(Kind.alert, after=after)) if said["what"] == what]

    def beats(self, name, after=0):
        """The contents of a node's heartbeats after a seq."""
        return [event.map() for event in self.events(Kind.health, after=after) if event.subject == name]

    def newest(self, name):
        """A node's newest heartbeat; {} where there is none."""
        return (self.beats(name) or [{}])[-1]

    def keeps_pace(self, seconds):
        """Waits until the log's time has gone as ours has, to a tenth, over so many seconds or more, all from now on.

        An event may be written or read late on a busy machine: the longer it takes, the less that weighs.
        """
        before, began = self._newest()
        time.sleep(seconds)
        paces = []

        def as_ours():
            after, ended = self._newest()
            paces.append((after - before) / SECOND / (ended - began))
            return 0.9 < paces[-1] < 1.1

        until(as_ours, lambda: f"the log's time went at {paces} of ours", 20 * seconds)

    def _newest(self):
        """(seq_ns, our time) of the log's next event: one that is there may be a tenth of a second old."""
        log = LogReader(self.config.log_dir)
        there = log.last
        until(lambda: log.last > there, "an event")
        return next(log.events(log.last - 1)).seq_ns, time.monotonic()

    def judge(self):
        """Never back; and no leap that is not said by a clock event which comes with it."""
        before = 0
        for event in LogReader(self.config.log_dir).events():
            assert event.seq_ns >= before
            if before and event.seq_ns - before > 60 * SECOND and not self.alerts("clock_suspend"):
                assert event.kind == Kind.clock and event.records["correction_ns"][0] > 60 * SECOND
            before = event.seq_ns
