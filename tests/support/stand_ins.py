"""supervisord with the real table and the real sentinels, over stand-ins that only sleep."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.support.places import PROJECT
from tickmesh.bus.config import load
from tickmesh.nodes.process_table import processes
from tickmesh.nodes.sentinel.supervisord import ProcessStates, Supervisord
from tickmesh.tools import started_with, table

UP = (ProcessStates.STARTING, ProcessStates.RUNNING)
# Stands where nodes/__main__.py is: the sentinels are real, the others sleep. A file of its name in slow/ or bad/ makes one
# slow to become ready and to end, or die; one in held/ keeps it from ending as long as it is there. With idle/model-flow the
# sequencer hosts that one, and has it ready a second after the process of its name has ended; with bad/ too it puts it out.
# A model that its trial refused ends as the real one does.
STAND_IN = f"""
import json, os, pathlib, runpy, signal, sys, time
if sys.argv[1] == "sentinel":
    runpy.run_path({str(PROJECT / "nodes/__main__.py")!r}, run_name="__main__")
from tickmesh.bus.process import die_with_parent
die_with_parent()
if os.path.exists("idle/" + "-".join(sys.argv[1:])):
    sys.exit(0)
name = "-".join(sys.argv[1:])
if os.path.exists("bad/" + name):
    sys.exit(name + " has no such kernel")
if sys.argv[1] == "model" and os.path.exists("run/refused_models.json"):
    from tickmesh.bus.config import load
    from tickmesh.nodes.model.refused import RefusedModel, check
    try:
        check(load(), name)
    except RefusedModel as refused:
        print(refused, flush=True)
        sys.exit(70)
slow_s = 0.5 if os.path.exists("slow/" + name) else 0.0
def end(*_):
    time.sleep(slow_s)
    while os.path.exists("held/" + name):
        time.sleep(0.02)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
def ready(name, hosted):
    said = dict(pid=os.getpid(), ready_ns=time.time_ns(), wall_ns=time.time_ns(), hosted=hosted)
    pathlib.Path("run/ready").mkdir(exist_ok=True)
    pathlib.Path("run/ready", name + ".json").write_text(json.dumps(said))
time.sleep(slow_s)
ready(name, False)
if sys.argv[1] == "sequencer" and os.path.exists("idle/model-flow"):
    time.sleep(1)
    if os.path.exists("bad/model-flow"):
        from tickmesh.nodes.runner.put_out import record
        record(pathlib.Path("run"), "model-flow", "flow.py:3: ValueError: boom")
    else:
        ready("model-flow", True)
while True:
    time.sleep(60)
"""


class StandIns:
    """A mesh of stand-ins under a real supervisord, without `mesh up`, which would wait for data."""

    def __init__(self, root: Path):
        self.root = root
        self.log = root / "run/supervisord.log"
        self.client = Supervisord(root / "run")
        for folder in ("slow", "bad", "idle", "held"):
            (root / folder).mkdir()
        for package in ("tickmesh", "tickmesh/nodes"):
            (root / package).mkdir()
            (root / package / "__init__.py").write_text(f"__path__.append({str(PROJECT / package)!r})\n")
        (root / "tickmesh/nodes/__main__.py").write_text(STAND_IN)

    def start(self) -> None:
        """Returns once the sentinels have seen everybody."""
        (self.root / "run/logs").mkdir(parents=True, exist_ok=True)
        config = load(self.root)
        table.write(self.root, processes(config))
        started_with.remember(config)  # as `mesh up` does
        subprocess.run([".venv/bin/supervisord", "-c", "supervisor.conf"], cwd=self.root, check=True)
        for name in ("sentinel-1", "sentinel-2"):
            path = self.root / f"run/ready/{name}.json"
            self.until(lambda path=path: path.exists() and self.is_ready(path.stem), f"{name} is ready", 60)
        time.sleep(0.7)

    def until(self, condition, what, seconds: float = 20.0):
        deadline = time.monotonic() + seconds
        while not (got := condition()):
            assert time.monotonic() < deadline, what() if callable(what) else what
            time.sleep(0.02)
        return got

    def info(self, name: str) -> dict:
        return next(p for p in self.client.processes() if p["name"] == name)

    def is_ready(self, name: str) -> bool:
        return json.loads((self.root / f"run/ready/{name}.json").read_text())["pid"] == self.info(name)["pid"]

    def kill(self, *names: str, how: signal.Signals = signal.SIGKILL) -> float:
        """Kills, and waits for the successors in supervisord's log: to ask it would wake it. Returns seconds."""
        pids = [self.info(name)["pid"] for name in names]
        size = self.log.stat().st_size
        begun = time.monotonic()
        for pid in pids:
            os.kill(pid, how)
        for name in names:
            spawned = re.compile(rf"spawned: '{name}' with pid".encode())
            while not spawned.search(self.log.read_bytes()[size:]):
                assert time.monotonic() - begun < 10, f"{name} did not come back"
                time.sleep(0.001)
        return time.monotonic() - begun

    def ctl(self, *words: str) -> str:
        done = subprocess.run([".venv/bin/supervisorctl", "-c", "supervisor.conf", *words], cwd=self.root,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout
