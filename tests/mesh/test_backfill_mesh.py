"""Gaps and their repair with real processes: the local exchange, two feeds, the sequencer, backfill; kills, 429, retention."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Flag, GapState, Kind, Reason
from tickmesh.tools.judge import exchange_ledger
from tickmesh.tools.judge.findings import Findings

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]
SETTINGS = """
[exchange]
trades_per_s = {rate}
quotes_per_s = 20
{exchange}
[backfill]
{backfill}
"""
FEEDS = ("feed-1", "feed-2")
ALL = ("exchange", "sequencer", *FEEDS, "backfill")


class Mesh:
    """Processes without a supervisor: what is killed stays dead until it is started."""

    def __init__(self, root, rate=100, exchange="", backfill=""):
        self.root = root
        (root / "mesh.toml").write_text(SETTINGS.format(rate=rate, exchange=exchange, backfill=backfill))
        self.config = load(root)
        self.processes = {}

    def start(self, *names):
        for name in names:
            (self.root / f"run/ready/{name}.json").unlink(missing_ok=True)
            words = name.split("-")
            self.processes[name] = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", *words], cwd=self.root)
        for name in names:
            self.until(lambda name=name: self.is_ready(name), f"{name} is ready")

    def is_ready(self, name):
        if name == "exchange":
            return (self.root / "run/exchange.json").exists()
        path = self.root / f"run/ready/{name}.json"
        return path.exists() and json.loads(path.read_text())["pid"] == self.processes[name].pid

    def kill(self, *names):
        for name in names:
            os.kill(self.processes[name].pid, signal.SIGKILL)
        for name in names:
            self.processes.pop(name).wait()

    def stop(self, *names):
        for name in names:
            self.processes[name].terminate()
        for name in names:
            assert self.processes.pop(name).wait(30) == 0, name

    def end(self):
        self.kill(*list(self.processes))

    def until(self, condition, what, seconds=40.0):
        deadline = time.monotonic() + seconds
        while not (got := condition()):
            assert time.monotonic() < deadline, what
            time.sleep(0.05)
        return got

    # -- what the log says

    def events(self, *kinds):
        return [e for e in LogReader(self.config.log_dir).events() if e.kind in kinds]

    def trades(self):
        """id → the event's flags, of every trade in the log; asserts that none is there twice."""
        found = {}
        for event in self.events(Kind.trade):
            for record in event.records.tolist():
                assert record[0] not in found, f"trade {record[0]} twice"
                found[record[0]] = (event.flags, record[1:4] + (record[5],))
        return found

    def gaps(self, state):
        """ids of trades → reason, as the gap records of this state have them."""
        out = {}
        for event in self.events(Kind.gap):
            for first, last, stream, what, reason, *_ in event.records.tolist():
                if stream == Kind.trade and what == state:
                    out.update(dict.fromkeys(range(first, last + 1), Reason(reason)))
        return out

    def decided(self):
        opened = self.gaps(GapState.open)
        return opened and set(opened) == set(self.gaps(GapState.repaired)) | set(self.gaps(GapState.unrecoverable))

    def flows(self, n=50):
        """Waits until so many more trades have come from the lines."""
        seen = max(self.trades(), default=0)
        self.until(lambda: max(self.trades(), default=0) >= seen + n, "trades flow")

    def health(self):
        return [e.map() for e in self.events(Kind.health) if e.subject == "backfill"]

    def printed(self):
        """The exchange's own word: id → (price, quantity, ms, side)."""
        findings = Findings()
        (truth,) = exchange_ledger.read_contents(self.config.exchange_dir, findings).newest_eras.values()
        return truth.trades

    def asked(self):
        """How many requests backfill has made, all its processes together."""
        most = {}
        for one in self.health():
            most[one["pid"]] = max(most.get(one["pid"], 0), one["requests"])
        return sum(most.values())

    def fault(self, **fault):
        where = json.loads((self.root / "run/exchange.json").read_text())["rest"] + "/tickmesh/v1/faults"
        body, head = json.dumps([fault]).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(where, body, head, method="POST")) as answer:
            assert len(json.loads(answer.read())["added"]) == 1

    def end_faults(self):
        where = json.loads((self.root / "run/exchange.json").read_text())["rest"] + "/tickmesh/v1/faults"
        urllib.request.urlopen(urllib.request.Request(where, method="DELETE")).close()

    def outage(self, trades=150, while_out=lambda: None):
        """Both feeds dead until the exchange has printed so many trades; returns when both lines are back."""
        self.kill(*FEEDS)
        printed = len(self.printed())
        while_out()
        self.until(lambda: len(self.printed()) >= printed + trades, "the exchange goes on")
        self.start(*FEEDS)
        self.until(lambda: self.gaps(GapState.open), "the gap is seen")

    def judge(self, lost=frozenset()):
        """Every trade printed between the first and the last of the log is in it, equal; but the lost."""
        stored, printed = self.trades(), self.printed()
        span = {i for i in printed if min(stored) <= i <= max(stored)}
        assert span - set(stored) == set(lost)
        for i in span - set(lost):
            price, quantity, venue_ns, side = stored[i][1]
            assert (price, quantity, venue_ns // 1_000_000, side) == printed[i], i
        seqs = [e.seq for e in LogReader(self.config.log_dir).events()]
        assert seqs == list(range(1, len(seqs) + 1))


@pytest.fixture
def make(tmp_path):
    made = []

    def mesh(**settings):
        made.append(Mesh(tmp_path, **settings))
        return made[-1]

    yield mesh
    for one in made:
        one.end()


def test_one_line_is_enough(make):
    mesh = make()
    mesh.start(*ALL)
    for name in FEEDS:
        mesh.flows()
        mesh.kill(name)
        mesh.flows(150)
        mesh.start(name)
    mesh.flows(150)
    mesh.until(lambda: len(mesh.health()) > 2, "backfill's health")
    assert mesh.events(Kind.gap) == []
    assert mesh.asked() == 0
    mesh.judge()
    assert not any(flags & Flag.REPAIRED for flags, _ in mesh.trades().values())


def test_both_lines_dead_and_every_trade_comes_over_rest_once_in_spite_of_kills_and_429(make):
    mesh = make(rate=600)
    mesh.start(*ALL)
    mesh.flows()
    mesh.fault(kind="answer", endpoint="GET /api/v3/historicalTrades", status=429, retry_after_s=1, length_s=0, probability=0.5)
    mesh.outage(trades=2500)
    for _ in range(2):  # between pages, and between what is said and what is in the log
        before = sum(flags & Flag.REPAIRED > 0 for flags, _ in mesh.trades().values())
        mesh.until(
            lambda before=before: mesh.decided() or sum(f & Flag.REPAIRED > 0 for f, _ in mesh.trades().values()) > before,
            "a page",
        )
        mesh.kill("backfill", "sequencer")
        mesh.start("sequencer", "backfill")
    mesh.until(mesh.decided, "the gap is closed", 90)
    mesh.flows()
    mesh.judge()
    opened = mesh.gaps(GapState.open)
    assert len(opened) >= 2500
    assert set(mesh.gaps(GapState.repaired)) == set(opened)
    repaired = {i for i, (flags, _) in mesh.trades().items() if flags & Flag.REPAIRED}
    assert repaired == set(opened), "flagged, and nothing else is"
    mesh.until(lambda: mesh.health()[-1]["open_gaps"] == 0, "health says so")


def test_retention_shorter_than_the_outage_loses_exactly_what_the_venue_forgot(make):
    mesh = make(exchange="trades_kept = 60")
    mesh.start(*ALL)
    mesh.flows()
    mesh.outage(trades=300)
    mesh.until(mesh.decided, "the gap is closed")
    opened, lost = mesh.gaps(GapState.open), mesh.gaps(GapState.unrecoverable)
    assert set(lost.values()) == {Reason.retention}
    assert sorted(lost) == list(range(min(opened), min(opened) + len(lost))) and len(lost) > 200
    mesh.judge(lost)
    assert set(mesh.gaps(GapState.repaired)) == set(opened) - set(lost)
    health = mesh.until(lambda: (h := mesh.health()[-1])["unrecoverable"] and h, "health")
    assert health["unrecoverable"] == len(lost)


def test_switched_off_a_gap_stays_open_until_it_is_switched_on(make, tmp_path):
    mesh = make(backfill="enabled = false")
    mesh.start("exchange", "sequencer", *FEEDS)
    off = subprocess.run(
        [sys.executable, "-m", "tickmesh.nodes", "backfill"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert off.returncode == 0 and "backfill.enabled is false" in off.stderr
    mesh.flows()
    mesh.outage()
    mesh.flows(150)
    opened = mesh.gaps(GapState.open)
    assert not mesh.gaps(GapState.repaired) and not mesh.gaps(GapState.unrecoverable)
    assert not set(opened) & set(mesh.trades())
    (tmp_path / "mesh.toml").write_text(SETTINGS.format(rate=100, exchange="", backfill=""))
    mesh.start("backfill")
    mesh.until(mesh.decided, "the gap is closed")
    mesh.judge()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_mesh_that_was_down_gets_what_it_missed(make, how):
    mesh = make()
    mesh.start(*ALL)
    mesh.flows()
    for name in ("backfill", *FEEDS, "sequencer"):
        getattr(mesh, how)(name)
    last = max(mesh.trades())  # killed, it may not have taken all that its feeds had said
    mesh.until(lambda: max(mesh.printed()) > last + 300, "the exchange goes on")
    mesh.fault(kind="answer", endpoint="GET /api/v3/historicalTrades", status=503, html=True, length_s=0)
    mesh.start("sequencer", *FEEDS, "backfill")
    mesh.until(lambda: mesh.gaps(GapState.open), "the first trade shows the gap")
    mesh.until(lambda: mesh.health() and mesh.health()[-1]["failures"] >= 3, "it is asked again and again")
    health = mesh.health()[-1]
    assert health["open_gaps"] and (health["repaired"], health["unrecoverable"]) == (0, 0) and "503" in health["last_error"]
    mesh.end_faults()
    mesh.until(mesh.decided, "the gap is closed")
    mesh.judge()
    first = min(mesh.gaps(GapState.open))
    assert first == last + 1 if how == "stop" else first > last, "from the first that no feed had heard"
    assert first - 1 in mesh.trades()
