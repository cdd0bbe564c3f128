"""Rules of mesh.toml on what the log has: each is broken and kept again, and nothing is told twice."""

from pathlib import Path

import numpy as np
import pytest

from tickmesh.bus.config import Config
from tickmesh.bus.schema import LINE, Kind
from tickmesh.bus.settings import ExchangeSettings, Mesh
from tickmesh.bus.settings_alerts import DEFAULT_ALERTS, AlertRule
from tickmesh.bus.wire import decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.sentinel.rules import AGAIN_NS, rules_of

SECOND = 10**9
BTC = "binance.BTCUSDT"
BEGAN = 1_790_000_000 * SECOND


class Log:
    """Events as the log has them, a second apart unless a test says otherwise, given to one sentinel's rules."""

    def __init__(self, *rules: AlertRule, replay: tuple[str, ...] = ()):
        mesh = Mesh(alerts=rules, exchange=ExchangeSettings(replay=replay))
        self.rules, self.now_ns, self.seq = rules_of(Config(mesh, Path())), BEGAN, 0

    def give(self, kind, subject, content, after_s=1.0):
        self.now_ns, self.seq = self.now_ns + int(after_s * SECOND), self.seq + 1
        raw = encode(kind, subject, content)
        stamp_sent(raw, subject.encode()[:32].ljust(32, b"\0"), 1, self.seq, self.now_ns)
        stamp_sequenced(raw, self.seq, 0, self.now_ns)
        self.rules.take([decode(raw)])
        return self.look()

    def look(self):
        return [(one["level"], one["what"], one["target"]) for one in self.rules.look()]

    def health(self, node, after_s=1.0, **values):
        return self.give(Kind.health, node, {"node": node, **values}, after_s)

    def line(self, stream, after_s=1.0, events=3):
        rows = np.zeros(1, LINE)
        rows["line"], rows["stream"], rows["events"] = b"feed-binance-1", stream, events
        rows["end_ns"] = self.now_ns + int(after_s * SECOND)
        return self.give(Kind.line, BTC, rows, after_s)


def held(log: Log, seconds: int, node: str, **values) -> list:
    return [alert for _ in range(seconds) for alert in log.health(node, **values)]


CASES = {
    "clock_offset": ("feed-binance-1", {"clock_offset_ms": -7.5}, {"clock_offset_ms": 1.0}, 5.0, "feed-binance-1"),
    "gap_unrepaired": ("backfill", {"oldest_gap_s": 200.0}, {"oldest_gap_s": 0.0}, 120.0, "backfill"),
    "kill_switch": (
        "executor",
        {"kill_switch": {"on": True, "since_ns": BEGAN}},
        {"kill_switch": {"on": False}},
        0.5,
        "executor",
    ),
    "latency": ("gateway", {"hop_p99_ms": {"tick → order": 80.0}}, {"hop_p99_ms": {"tick → order": 2.0}}, 50.0, "tick → order"),
    "position": ("executor", {"position_share": {f"a {BTC}": 0.95}}, {"position_share": {f"a {BTC}": 0.1}}, 0.9, f"a {BTC}"),
    "spread": ("executor", {"spread_bp": {BTC: 12.0}}, {"spread_bp": {BTC: 1.0}}, 5.0, BTC),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_value_beyond_its_bound_is_told_once_and_its_end_too(rule):
    node, wrong, right, above, target = CASES[rule]
    log = Log(AlertRule(rule=rule, above=above, for_s=3.0))
    assert held(log, 3, node, **right) == [] and held(log, 3, node, **wrong) == [], "it has to last for_s"
    assert held(log, 4, node, **wrong) == [("warning", rule, target)]
    assert held(log, 3, node, **right) == [] and held(log, 1, node, **wrong) == [], "it is not over yet"
    assert held(log, 7, node, **right) == [("info", rule, target)]
    assert held(log, 7, node, **right) == []


def test_a_hop_that_is_not_seen_any_more_is_not_slow():
    log = Log(AlertRule(rule="latency", above=50.0))
    assert log.health("gateway", hop_p99_ms={"tick → order": 80.0}) == [("warning", "latency", "tick → order")]
    assert held(log, 7, "gateway", hop_p99_ms={}) == [("info", "latency", "tick → order")]


def test_a_process_that_begins_again_and_again_is_told_until_it_stays():
    """Of the last ten minutes; also by a sentinel that knows from the log's alerts alone that it is so."""
    log = Log(AlertRule(rule="process_flapping", above=3.0))
    starts = [log.give(Kind.run, "model-flow", {"node": "model-flow"}, 60.0) for _ in range(4)]
    assert starts == [[], [], [], [("warning", "process_flapping", "model-flow")]]
    assert log.give(Kind.run, "model-imbalance", {"node": "model-imbalance"}) == []
    assert held(log, 600 - 4 * 60, "recorder") == [] and log.health("recorder", 200.0) == []
    assert held(log, 7, "recorder") == [("info", "process_flapping", "model-flow")]
    other = Log(AlertRule(rule="process_flapping", above=3.0))
    other.give(Kind.alert, "sentinel-2", {"level": "warning", "what": "process_flapping", "target": "model-flow"})
    assert held(other, 7, "recorder") == [("info", "process_flapping", "model-flow")]


def test_drawdown_is_counted_from_the_highest_profit_of_the_day():
    log = Log(AlertRule(rule="drawdown", above=10.0))
    for profit in (0.0, 50.0, 45.0, 40.0):
        assert log.health("executor", strategies={"a": {"profit": profit}}) == []
    assert log.health("executor", strategies={"a": {"profit": 39.0}}) == [("warning", "drawdown", "a")]
    days = log.health("executor", after_s=86_400, strategies={"a": {"profit": 39.0}})
    assert days == [] and held(log, 6, "executor", strategies={"a": {"profit": 39.0}}) == [("info", "drawdown", "a")]


def test_a_stream_that_brings_nothing_is_stale_and_one_that_is_not_traded_is_not():
    log = Log(*DEFAULT_ALERTS)
    assert log.line(Kind.quote) == log.line(Kind.trade) == []
    for _ in range(298):
        assert log.health("recorder") == [] and log.line(Kind.quote, 0.0, events=0) == []
    assert held(log, 3, "recorder") == [("warning", "silent_stream", f"quote.{BTC}")], "trades may be rare: no default rule"
    assert log.line(Kind.quote) == [] and held(log, 5, "recorder") == [("info", "silent_stream", f"quote.{BTC}")]
    assert log.health("feed-binance-1", not_trading={BTC: "halted"}) == [] and held(log, 600, "recorder") == []


def test_a_capture_that_has_been_replayed_to_its_end_is_no_trouble():
    log = Log(*DEFAULT_ALERTS, replay=("capture.gz",))
    assert log.line(Kind.quote) == [] and held(log, 400, "recorder") == []


def test_a_log_that_stood_still_makes_nothing_late():
    log = Log(*DEFAULT_ALERTS, AlertRule(rule="spread", above=1.0, for_s=100.0))
    log.line(Kind.quote)
    log.health("executor", spread_bp={BTC: 2.0})
    assert log.health("executor", after_s=4000.0, spread_bp={BTC: 2.0}) == []
    assert held(log, 99, "executor", spread_bp={BTC: 2.0}) == []
    assert held(log, 2, "executor", spread_bp={BTC: 2.0}) == [("warning", "spread", BTC)]


def test_of_two_levels_the_worse_one_is_told_when_it_comes_and_patterns_choose():
    rules = AlertRule(rule="spread", above=5.0), AlertRule(rule="spread", above=20.0, level="critical", of=("binance.BTC*",))
    log = Log(*rules)
    assert log.health("executor", spread_bp={BTC: 6.0, "binance.ETHUSDT": 30.0}) == [
        ("warning", "spread", BTC), ("warning", "spread", "binance.ETHUSDT"),
    ]  # fmt: skip
    assert log.health("executor", spread_bp={BTC: 21.0}) == [("critical", "spread", BTC)]
    assert log.health("executor", spread_bp={BTC: 6.0}) == [], "less bad is no news"


def test_what_goes_on_is_told_again_before_it_would_count_as_over():
    log = Log(AlertRule(rule="spread", above=5.0))
    told = held(log, AGAIN_NS // SECOND + 10, "executor", spread_bp={BTC: 6.0})
    assert told == [("warning", "spread", BTC)] * 2


def test_the_other_sentinel_knows_what_was_told_and_tells_the_end():
    log = Log(AlertRule(rule="spread", above=5.0))
    alert = {"level": "warning", "what": "spread", "target": BTC, "why": "", "action": ""}
    log.give(Kind.alert, "sentinel-2", alert)
    assert held(log, 5, "executor", spread_bp={BTC: 6.0}) == []
    assert log.give(Kind.alert, "sentinel-2", {**alert, "level": "info"}) == [("warning", "spread", BTC)], "it said too much"
    assert held(log, 30, "recorder") == [], "of whom nothing comes nothing is known"


def test_a_rule_that_is_off_says_nothing_and_replaces_the_default():
    log = Log(AlertRule(rule="gap_unrepaired", above=1.0, enabled=False))
    assert held(log, 20, "backfill", oldest_gap_s=500.0) == []


def test_a_trouble_of_a_rule_that_mesh_toml_has_no_more_is_over():
    log = Log(AlertRule(rule="spread", above=5.0, enabled=False))
    raised = {"level": "warning", "what": "spread", "target": BTC, "why": "", "action": ""}
    assert log.give(Kind.alert, "sentinel-1", raised) == [("info", "spread", BTC)] and log.look() == []


def test_a_value_of_which_nothing_comes_any_more_is_not_judged():
    log = Log(AlertRule(rule="spread", above=5.0, for_s=30.0))
    assert log.health("executor", spread_bp={BTC: 9.0}) == [] and held(log, 60, "recorder") == []
