"""What Prometheus is given: the figures of /v1, under names that keep its rules; pages and deploy/ name what exists."""

import json
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.support.gateway_scene import LiveLog
from tests.support.hop_scene import HopScene
from tests.support.places import PROJECT
from tests.support.stored import START, Market
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.gateway import figures
from tickmesh.nodes.gateway.encoding import ARROW
from tickmesh.nodes.gateway.hop_latency import HopLatency
from tickmesh.nodes.gateway.metric_table import HEALTH, METRICS, Metric, series_of
from tickmesh.nodes.gateway.metrics import scrape
from tickmesh.nodes.gateway.queries import MeshQueries
from tickmesh.nodes.gateway.recent_events import RecentEvents
from tickmesh.nodes.hops.tracker import FEED, TICK_TO_ORDER

BTC = "binance.BTCUSDT"
EXECUTOR = {
    "node": "executor", "pid": 7, "lag": 3, "refused": {"own_order": 2, "stale": 5}, "profit": -1.25, "signals": 9,
    "kill_switch": {"on": True, "since_ns": 1}, "spread_bp": {BTC: 12.0}, "position_share": {f"two words {BTC}": 0.5},
    "positions": {BTC: {"position": 0.008, "average_price": None, "realised": 0.5, "unrealised": -0.25, "fee_cost": 0.125}},
    "strategies": {"two": {"profit": 2.5, "positions": {BTC: {"position": -0.001}}}},
}  # fmt: skip
FEED_1 = {"node": "feed-binance-1", "pid": 8, "clock_offset_ms": -26.5, "frames": 12, "free_bytes": 4096, "last_error": "x"}
ODD = {"node": "sequencer", "pid": 9, "duplicates": 5, "gaps": {"a": 1}, "batches": "many"}  # as another version might have it


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    """What a gateway has of a log with a market, an order, alerts, and heartbeats."""
    root = tmp_path_factory.mktemp("metrics")
    (root / "mesh.toml").write_text("")
    market, log = Market(seq_ns=START), LiveLog(root)
    raws = [*market.mixed(100), market.event(Kind.run, "executor", {"node": "executor"}, producer=b"executor")]
    for words in (
        {"what": 'a "step"\n', "level": "warning"},
        {"what": "disk", "level": "info"},
        {"what": "disk", "level": "info"},
    ):
        raws.append(market.event(Kind.alert, "sentinel-1", {**words, "target": "x"}, producer=b"sentinel-1"))
    for beat in (EXECUTOR, FEED_1, ODD):
        raws.append(market.event(Kind.health, beat["node"], beat, producer=beat["node"].encode()))
    log.publish(raws)
    log.close()
    config = load(root)
    recent, scene = RecentEvents(0, 1 << 20, counted_after=50), HopScene()
    recent.take(LogReader(config.log_dir).events(), market.seq)
    latency = HopLatency(300.0)
    quote = scene.add(Kind.quote, {}, 500_000)
    scene.order(1, scene.add(Kind.signal, {}, 200_000, cause_seq=quote.seq).seq)
    latency.take(scene.log)
    queries = MeshQueries(config, recent, latency, lambda: {})
    queries.now_ns = lambda: market.seq_ns + 7 * 10**9
    return queries


def values(queries, accept: str = "text/plain") -> dict[tuple, float]:
    """(series, labels …) → value, as a parser of that format reads a scrape."""
    answer = scrape(queries, accept)
    families = openmetrics_families if "openmetrics" in answer.media_type else text_families
    found = [sample for family in families(answer.body.decode()) for sample in family.samples]
    out = {(one.name, *sorted(one.labels.items())): one.value for one in found}
    assert len(out) == len(found), "no series twice"
    return out


def test_metrics_are_the_figures_of_v1(queries):
    got = values(queries)
    now_ns, recent = queries.now_ns(), queries.recent
    shown = [one for one in figures.processes(recent, now_ns) if one["name"] in queries.named.names()]
    assert len(shown) >= 3
    for one in shown:
        process = ("process", one["name"])
        assert got["tickmesh_process_up", process] == (not one["stale"])
        assert got["tickmesh_process_heartbeat_age_seconds", process] == one["heartbeat_age_s"] > 5
    assert got["tickmesh_process_lag_events", ("process", "executor")] == 3
    assert got["tickmesh_process_starts_total", ("process", "executor")] == 1
    assert got["tickmesh_log_events_total",] == recent.head == queries.status()["log"]["last_seq"]
    for one in queries.status()["topics"]:
        kind, _, instrument = one["topic"].partition(".")
        assert got["tickmesh_stream_age_seconds", ("instrument", instrument), ("kind", kind)] == one["age_s"]
    reasons = {labels[1][1]: value for (name, *labels), value in got.items() if name == "tickmesh_executor_refusals_total"}
    assert reasons == EXECUTOR["refused"]
    money, on = figures.profit_and_loss(figures.trading(queries.config, recent)), ("instrument", BTC)
    assert got["tickmesh_profit", ("currency", money["currency"])] == money["profit"] == -1.25
    assert (got["tickmesh_profit_realised", on], got["tickmesh_profit_unrealised", on], got["tickmesh_fee_cost", on]) == (
        0.5, -0.25, 0.125,
    )  # fmt: skip
    assert got["tickmesh_position", on] == 0.008 and ("tickmesh_position_average_price", on) not in got
    assert got["tickmesh_strategy_position", on, ("strategy", "two")] == -0.001
    assert got["tickmesh_kill_switch",] == 1 and got["tickmesh_strategy_profit", ("strategy", "two")] == 2.5


def test_a_process_that_mesh_toml_has_no_more_is_not_down(queries):
    """It has no metric once it is silent; one that mesh.toml names is down then, and one that still speaks is up."""
    path, up = queries.config.root / "mesh.toml", "tickmesh_process_up"

    def processes() -> set[str]:
        return {labels[0][1] for name, *labels in values(queries) if name == up}

    assert "feed-binance-1" in processes()
    text, now_ns = path.read_text(), queries.now_ns
    try:
        path.write_text("[executor]\nenabled = false\n")
        os.utime(path, ns=(1, 1))
        assert "executor" not in processes() and "feed-binance-1" in processes()
        path.write_text("not toml")
        os.utime(path, ns=(2, 2))
        assert "executor" not in processes(), "a file that is wrong changes nothing"
        queries.now_ns = lambda: now_ns() - 6 * 10**9
        assert "executor" in processes(), "it still speaks"
    finally:
        path.write_text(text)
        queries.now_ns = now_ns
    assert "executor" in processes()


def test_units_are_base_units(queries):
    got = values(queries)
    assert got["tickmesh_feed_clock_offset_seconds", ("process", "feed-binance-1")] == pytest.approx(-0.0265)
    assert got["tickmesh_feed_disk_free_bytes", ("process", "feed-binance-1")] == 4096
    assert got["tickmesh_spread_ratio", ("instrument", BTC)] == pytest.approx(0.0012)
    assert got["tickmesh_hop_latency_seconds_sum", ("hop", TICK_TO_ORDER)] == pytest.approx(0.00347)


def test_counted_is_what_came_since_the_gateway_began(queries):
    """It begins with what was in the log before: another life of it has counted that, and its successor is no jump."""
    got, recent = values(queries), queries.recent
    total = sum(value for (name, *_), value in got.items() if name == "tickmesh_events_total")
    assert total == recent.head - 50
    alerts = {dict(labels)["what"]: value for (name, *labels), value in got.items() if name == "tickmesh_alerts_total"}
    assert alerts == {'a "step"\n': 1, "disk": 2}, "whatever is in a label"


def test_a_hop_is_a_histogram(queries):
    got = values(queries)
    for total in queries.latency.totals():
        hop = ("hop", total.hop)
        buckets = [(float(dict(labels)["le"]), value) for (name, *labels), value in got.items()
                   if name == "tickmesh_hop_latency_seconds_bucket" and hop in labels]  # fmt: skip
        counts = [value for _, value in sorted(buckets)]
        assert counts == sorted(counts) and counts[-1] == total.count == got["tickmesh_hop_latency_seconds_count", hop]
        assert counts[:-1] == list(total.buckets)
    assert got["tickmesh_hop_latency_seconds_count", ("hop", FEED)] == 1


def test_both_formats_say_the_same(queries):
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    assert scrape(queries, accept).media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert scrape(queries, "").media_type.startswith("text/plain; version=0.0.4") and ARROW not in accept
    assert values(queries, accept) == values(queries) and len(values(queries)) > 300


def test_a_heartbeat_that_is_not_as_expected_costs_its_own_metric_alone(queries):
    names = {name for name, *_ in values(queries)}
    assert not names & {
        "tickmesh_sequencer_duplicate_events_total",
        "tickmesh_sequencer_gaps_total",
        "tickmesh_sequencer_batches_total",
    }
    assert "tickmesh_process_up" in names


UNITS = ("seconds", "bytes", "ratio", "timestamp_seconds")
OTHER_UNITS = re.compile(
    r"_(ms|us|ns|milliseconds|microseconds|nanoseconds|minutes|hours|days|kilobytes|mb|bits|percent|bp)(_|$)"
)
TYPES = ("counter", "gauge", "histogram", "summary", "info")


def faults(metric: Metric) -> list[str]:
    """What Prometheus' documented rules of naming have against a metric."""
    name, out = metric.name, []
    if not re.fullmatch(r"tickmesh(_[a-z0-9]+)+", name):
        out.append("a prefix, and words in lower case")
    if (metric.type == "counter") != name.endswith("_total"):
        out.append("a counter, and nothing else, ends with _total")
    if OTHER_UNITS.search(name):
        out.append("base units: seconds, bytes, ratios")
    if name.removesuffix("_total").rpartition("_")[2] in ("bucket", "count", "sum", "created"):
        out.append("an ending of histograms")
    if any(word in TYPES for word in name.split("_")):
        out.append("its type is no part of a name")
    if any(
        label in ("le", "quantile", "job", "instance") or not re.fullmatch("[a-z][a-z_]*", label) for label in metric.labels
    ):
        out.append("a label that is Prometheus' own")
    if not metric.help or metric.help.endswith("."):
        out.append("a help")
    return out


def test_names_keep_prometheus_s_rules():
    assert faults(Metric("tickmesh_Wait_ms", "counter", ("le",), "")) and faults(Metric("tickmesh_x_total", "gauge", (), "x"))
    assert {metric.name: found for metric in METRICS if (found := faults(metric))} == {}
    assert len({metric.name for metric in METRICS}) == len(METRICS) and len({row[:2] for row in HEALTH}) == len(HEALTH)
    units = [name for name in (m.name.removesuffix("_total") for m in METRICS) if name.endswith(UNITS)]
    assert len(units) > 15


def test_promtool_has_nothing_against_metrics_and_rules(queries):
    """Prometheus' own program, where it is installed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, of Prometheus, is not installed")
    body = scrape(queries, "text/plain").body
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    for words in (["check", "rules", "prometheus-alerts.yaml"], ["check", "config", "prometheus.yaml"]):
        done = subprocess.run([promtool, *words], cwd=PROJECT / "deploy", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_metric():
    page = (PROJECT / "docs/metrics.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `tickmesh_")]
    wanted = [f"| `{one.name}` | {one.type} | {' '.join(one.labels)} | {one.help} |" for one in METRICS]
    assert rows == wanted


def test_what_deploy_names_exists():
    """Every metric of the dashboard and of the alerts, with labels that it has."""
    known = {series: metric for metric in METRICS for series in series_of(metric)}
    for name in ("grafana-dashboard.json", "prometheus-alerts.yaml"):
        text = (PROJECT / "deploy" / name).read_text()
        used = re.findall(r"(tickmesh_\w+)(?:\{([^}]*)\})?", text.replace('\\"', '"'))
        assert len({series for series, _ in used}) > 10
        for series, labels in used:
            assert series in known, f"{name}: there is no {series}"
            given = {part.partition("=")[0].rstrip("!~ ") for part in labels.split(",") if part} - {"instance", "job"}
            assert given <= set(known[series].labels), f"{name}: {series} has no {given}"
    board = json.loads((PROJECT / "deploy/grafana-dashboard.json").read_text())
    places = [SimpleNamespace(**one["gridPos"]) for one in board["panels"]]
    assert all(one.x + one.w <= 24 for one in places) and len({one["id"] for one in board["panels"]}) == len(places) > 15
    taken = [(x, y) for one in places for x in range(one.x, one.x + one.w) for y in range(one.y, one.y + one.h)]
    assert len(taken) == len(set(taken)), "no panel lies on another"
