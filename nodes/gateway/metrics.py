"""The figures of /v1 as Prometheus reads them: one scrape, in the text format or as OpenMetrics."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tickmesh.bus.schema import Kind
from tickmesh.nodes.gateway import figures
from tickmesh.nodes.gateway import metric_table as table
from tickmesh.nodes.gateway.encoding import EncodedAnswer
from tickmesh.nodes.gateway.hop_latency import EDGES_NS, HopTotal
from tickmesh.nodes.gateway.metric_table import HEALTH, METRICS, Metric, group_of
from tickmesh.nodes.gateway.problems import RequestProblem
from tickmesh.nodes.gateway.queries import MeshQueries
from tickmesh.nodes.gateway.recent_events import CountedEvents

JsonObject = dict[str, Any]
SECOND_NS = 1_000_000_000
INFINITY = "+Inf"


def scrape(queries: MeshQueries, accept: str) -> EncodedAnswer:
    """Encodes all metrics in the format that the Accept header of a scrape prefers."""
    encode, media_type = choose_encoder(accept)
    return EncodedAnswer(encode(_Scrape(queries)), media_type)


class _Scrape(Collector):
    """The metrics of one moment. It is its own registry: an encoder asks it to collect, once."""

    def __init__(self, queries: MeshQueries):
        self._queries = queries
        self._families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}

    def collect(self) -> Iterator[Family]:
        """Gives each metric that has a value now."""
        queries = self._queries
        status = queries.status()
        processes = figures.processes(queries.recent, queries.now_ns())
        self._put(table.LOG, (), status["log"]["last_seq"])
        self._put(table.DURABLE, (), status["log"]["durable_seq"])
        named = queries.named.names()
        self._processes([one for one in processes if one["name"] in named or not one["stale"]])
        self._streams(status["topics"])
        self._counted(queries.recent.counted)
        try:
            self._trading(figures.trading(queries.config, queries.recent))
        except RequestProblem:
            pass  # nobody trades here
        for metric in METRICS:
            if metric is table.HOPS:
                yield _hops(queries.latency.totals())
            elif metric.name in self._families:
                yield self._families[metric.name]

    def _put(self, metric: Metric, labels: Iterable[str], value: float | None) -> None:
        if value is None:
            return
        family = self._families.get(metric.name)
        if family is None:
            kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = self._families[metric.name] = kind(metric.name, metric.help, labels=metric.labels)
        family.add_metric(list(labels), float(value))

    def _processes(self, processes: list[JsonObject]) -> None:
        for one in processes:
            name, health = one["name"], one["health"]
            self._put(table.UP, (name,), not one["stale"])
            self._put(table.BEAT_AGE, (name,), one["heartbeat_age_s"])
            self._put(table.READY, (name,), None if one["ready_ns"] is None else one["ready_ns"] / SECOND_NS)
            for row in HEALTH:
                if row.group in ("", group_of(name)) and row.key in health:
                    self._health(row.metric, name, health[row.key], row.scale)

    def _health(self, metric: Metric, process: str, value: Any, scale: float) -> None:
        """Takes a figure of a heartbeat; what another version of a process has otherwise is left out."""
        by_label: dict[tuple[str, ...], Any] = {(process,): len(value) if isinstance(value, list) else value}
        if len(metric.labels) == 2:
            by_label = {(process, name): one for name, one in value.items()} if isinstance(value, dict) else {}
        for labels, figure in by_label.items():
            if isinstance(figure, int | float):
                self._put(metric, labels, figure * scale)

    def _streams(self, topics: list[JsonObject]) -> None:
        for one in topics:
            kind, _, instrument = one["topic"].partition(".")
            self._put(table.AGE, (kind, instrument), one["age_s"])

    def _counted(self, counted: CountedEvents) -> None:
        for kind, count in counted.kinds.items():
            self._put(table.KINDS, (Kind(kind).name,), count)
        for process, count in counted.starts.items():
            self._put(table.STARTS, (process,), count)
        for (what, level), count in counted.alerts.items():
            self._put(table.ALERTS, (what, level), count)

    def _trading(self, found: JsonObject) -> None:
        money = figures.profit_and_loss(found)
        held = figures.positions(found)
        self._put(table.PROFIT, (money["currency"],), money["profit"])
        self._put(table.KILL_SWITCH, (), bool((money["kill_switch"] or {}).get("on")))
        for instrument, one in held["positions"].items():
            self._put(table.POSITION, (instrument,), one.get("position"))
            self._put(table.PRICE, (instrument,), one.get("average_price"))
        for instrument, one in money["instruments"].items():
            for metric, key in _MONEY:
                self._put(metric, (instrument,), one.get(key))
        for strategy, profit in money["strategies"].items():
            self._put(table.STRATEGY_PROFIT, (strategy,), profit)
        for strategy, positions in held["strategies"].items():
            for instrument, one in positions.items():
                self._put(table.STRATEGY_POSITION, (strategy, instrument), one.get("position"))
        for name, share in found.get("position_share", {}).items():
            self._put(table.SHARE, name.split(" ", 1), share)
        for instrument, spread_bp in found.get("spread_bp", {}).items():
            self._put(table.SPREAD, (instrument,), spread_bp * table.BASIS_POINT)


_MONEY: tuple[tuple[Metric, str], ...] = (
    (table.REALISED, "realised"), (table.UNREALISED, "unrealised"), (table.FEES, "fee_cost"), (table.FUNDING, "funding"),
)  # fmt: skip


def _hops(totals: Iterable[HopTotal]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(table.HOPS.name, table.HOPS.help, labels=table.HOPS.labels)
    for one in totals:
        buckets = [(str(edge / SECOND_NS), float(count)) for edge, count in zip(EDGES_NS, one.buckets, strict=True)]
        family.add_metric([one.hop], [*buckets, (INFINITY, float(one.count))], one.sum_ns / SECOND_NS)
    return family
