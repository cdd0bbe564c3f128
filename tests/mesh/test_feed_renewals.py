"""Lines whose connections are replaced all the time, in real processes: downstream nothing shows of it."""

import contextlib
import shutil
import subprocess
import sys
import time

import pytest

from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind

SETTINGS = """
[feed]
lines = {lines}
renew_s = 1.0

[exchange]
trades_per_s = 300
quotes_per_s = 600
lines = {lines}
life_s = {life_s}
notice_s = 2.0
"""


@contextlib.contextmanager
def processes(root, lines):
    named = [["exchange"], ["sequencer"], *(["feed", str(n + 1)] for n in range(lines))]
    running = []
    try:
        for words in named:
            out = open(root / f"{'-'.join(words)}.txt", "w")  # noqa: SIM115
            running.append(subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", *words], cwd=root, stdout=out, stderr=out))
        yield running
        assert all(process.poll() is None for process in running), [p.read_text()[-2000:] for p in root.glob("*.txt")]
    finally:
        for process in (running[0], *reversed(running[1:])):
            process.terminate()
        for process in running:
            process.wait(20)


@pytest.mark.parametrize("lines, life_s", [(1, 600), (2, 4)], ids=["one", "shutdown"])
def test_renewals_under_load_leave_no_trace_in_the_log(tmp_path, monkeypatch, lines, life_s):
    (tmp_path / "mesh.toml").write_text(SETTINGS.format(lines=lines, life_s=life_s))
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    config = load(tmp_path)
    health: dict[str, dict] = {}
    events: list = []

    def read():
        for event in LogReader(config.log_dir).events(events[-1].seq if events else 0):
            events.append(event)
            if event.kind == Kind.health:
                health[event.subject] = event.map()

    try:
        with processes(tmp_path, lines):
            deadline = time.monotonic() + 120
            while min(health.get(f"feed-{n + 1}", {}).get("renewals", 0) for n in range(lines)) < 3:
                assert time.monotonic() < deadline, f"{health}"
                time.sleep(0.2)
                read()
        read()
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
    assert [health[f"feed-{n + 1}"]["reconnects"] for n in range(lines)] == [0] * lines
    assert [event for event in events if event.kind == Kind.gap] == []
    trades = [event.last_id for event in events if event.kind == Kind.trade]
    assert len(trades) > 300 and trades == list(range(trades[0], trades[0] + len(trades)))
    chain = [(event.first_id, event.last_id) for event in events if event.kind == Kind.depth and not event.flags]
    assert all(one[1] + 1 == after[0] for one, after in zip(chain, chain[1:], strict=False))
    quotes = [event.last_id for event in events if event.kind == Kind.quote]
    assert quotes == sorted(set(quotes)) and len(quotes) > 300
