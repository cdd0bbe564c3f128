"""The table of what /metrics gives: names, types, labels, and which figure of a process's heartbeat each is (docs/metrics.md).

Names follow Prometheus' rules: prefix, base units (seconds, bytes, ratios), `_total` of what only grows.
"""

from typing import Literal, NamedTuple

Type = Literal["counter", "gauge", "histogram"]
MS, BASIS_POINT = 1e-3, 1e-4
PROCESS, INSTRUMENT, STRATEGY = "process", "instrument", "strategy"


class Metric(NamedTuple):
    """One metric. `help`: a sentence without a full stop."""

    name: str
    type: Type
    labels: tuple[str, ...]
    help: str


class HealthFigure(NamedTuple):
    """A figure of heartbeats: `key` of processes `group` or `group-…` ("": of all); times `scale` it is the metric's value.

    Where the value is an object, its keys are the metric's last label; of a list its length counts.
    """

    group: str
    key: str
    metric: Metric
    scale: float = 1.0


def _total(group: str, key: str, text: str, name: str = "", label: str = "", scale: float = 1.0) -> HealthFigure:
    labels = (PROCESS, label) if label else (PROCESS,)
    return HealthFigure(group, key, Metric(f"tickmesh_{group or PROCESS}_{name or key}_total", "counter", labels, text), scale)


def _gauge(group: str, key: str, text: str, name: str = "", scale: float = 1.0) -> HealthFigure:
    return HealthFigure(group, key, Metric(f"tickmesh_{group or PROCESS}_{name or key}", "gauge", (PROCESS,), text), scale)


HEALTH: tuple[HealthFigure, ...] = (
    _gauge("", "lag", "Events of the log that it has still to read", "lag_events"),
    _gauge("", "deaf_s", "For how long it has been busy with one piece of the log", "deaf_seconds"),
    _total("", "refusals", "Events and frames that it could not use", "refused_events"),
    _total("", "rings_lost", "Messages that its socket had no room for; what was in them was read from its outbox"),
    _total("", "outbox_spills", "Times that its outbox went on on the disk, for its memory was full"),
    _total("", "log_catch_ups", "Times that it read from the log's file what it had missed on the socket"),
    _total("", "log_caught_up", "Events that it read so", "log_caught_up_events"),
    _total("feed", "frames", "Frames that came from the venue"),
    _total("feed", "events", "Events that it published"),
    _total("feed", "reconnects", "Connections that were lost and made anew"),
    _total("feed", "renewals", "Connections that were replaced in time, before the venue ends them"),
    _total("feed", "shutdowns", "Connections whose end the venue announced"),
    _total("feed", "refused_frames", "Frames that could not be read"),
    _total("feed", "resyncs", "Books that were built anew"),
    _total("feed", "resubscriptions", "Subscriptions that were made anew"),
    _total("feed", "snapshots", "Snapshots of books that were taken"),
    _total("feed", "outbox_full", "Times that its outbox was full"),
    _total("feed", "rest_failures", "REST requests that failed"),
    _total("feed", "stale_streams", "Streams that brought nothing and were renewed"),
    _total("feed", "depth_left_out", "Depth events that were not published, for want of disk", "depth_left_out_events"),
    _total("feed", "raw_left_out", "Raw frames that were not published, for want of disk", "raw_left_out_frames"),
    _total("feed", "oversize", "Frames that were longer than allowed", "oversize_frames"),
    _total("feed", "limited", "Requests that the venue refused for their rate", "rate_limited_requests"),
    _total("feed", "budget_waited_s", "For how long requests have waited for the rate limit", "budget_waited_seconds"),
    _gauge("feed", "last_frame_age", "Since when no frame has come", "last_frame_age_seconds"),
    _gauge("feed", "free_bytes", "Free bytes of the disk that it writes to", "disk_free_bytes"),
    _gauge("feed", "clock_offset_ms", "This machine's clock minus the venue's", "clock_offset_seconds", MS),
    _gauge("feed", "clock_rtt_ms", "The round trip by which the venue's clock was measured", "clock_round_trip_seconds", MS),
    _gauge("feed", "ping_ms", "The round trip of its connection", "ping_seconds", MS),
    _gauge("feed", "used_weight", "Weight of this minute that the venue has counted", "used_request_weight"),
    _total("sequencer", "batches", "Batches that were appended to the log"),
    _total("sequencer", "repeated", "Events that came a second time from their producer", "repeated_events"),
    _total("sequencer", "duplicates", "Events of a line that another line had brought before", "duplicate_events", "line"),
    _total("sequencer", "gaps", "Gaps that were found"),
    _gauge("sequencer", "open_gaps", "Gaps that are not repaired yet"),
    _total("sequencer", "gaps_forgotten", "Gaps that were forgotten, for there were too many"),
    _total("sequencer", "late", "Events that came after their gap was stated", "late_events"),
    _total("sequencer", "taken_over", "Streams that another line went on with", "takeovers"),
    _total("sequencer", "stale_snapshots", "Snapshots that were older than the book"),
    _total("sequencer", "contradictions", "Events whose content differs from that of another line"),
    _total("sequencer", "eras", "Times that a venue's ids began anew"),
    _total("sequencer", "outbox_catch_ups", "Times that it read from an outbox what it had missed on the socket"),
    _total("sequencer", "outbox_caught_up", "Events that it read so", "outbox_caught_up_events"),
    _total("sequencer", "unreadable", "Events of outboxes that could not be read", "unreadable_events"),
    _total("sequencer", "clock_steps", "Times that the wall clock was set forward"),
    _total("sequencer", "clock_slews", "Times that the log's time began to be slewed"),
    _total("sequencer", "clock_suspends", "Times that the machine was suspended"),
    _gauge("sequencer", "clock_offset_ms", "The wall clock minus the log's time", "clock_offset_seconds", MS),
    _total("backfill", "requests", "Requests to repair gaps"),
    _total("backfill", "repaired", "Gaps that were repaired", "repaired_gaps"),
    _total("backfill", "unrecoverable", "Gaps that cannot be repaired", "unrecoverable_gaps"),
    _total("backfill", "refused_rows", "Answers that could not be read"),
    _total("backfill", "failures", "Requests that failed"),
    _total("backfill", "limited", "Requests that the venue refused for their rate", "rate_limited_requests"),
    _gauge("backfill", "open_gaps", "Gaps that it has to repair"),
    _gauge("backfill", "oldest_gap_s", "For how long the oldest gap has been open", "oldest_gap_seconds"),
    _gauge("backfill", "used_weight", "Weight of this minute that the venue has counted", "used_request_weight"),
    _total("recorder", "sealed_days", "Days that were sealed", "seals"),
    _total("recorder", "pruned_days", "Days that were removed for want of space", "prunings"),
    _total("recorder", "archive_failures", "Writes of the archive that the disk refused"),
    _total("recorder", "recent_failures", "Writes of the recent store that failed"),
    _total("recorder", "seal_failures", "Seals that failed"),
    _total("recorder", "prune_failures", "Removals of days that failed"),
    _total("recorder", "release_failures", "Removals of segments of the log that failed"),
    _gauge("recorder", "archived_seq", "The last event of the log that is archived"),
    _gauge("recorder", "recent_seq", "The last event of the log that is in the recent store"),
    _gauge("recorder", "archive_files", "Files of the archive"),
    _gauge("recorder", "archive_bytes", "Bytes of the archive"),
    _gauge("recorder", "waiting_bytes", "Bytes of the log that are not archived yet"),
    _gauge("recorder", "free_bytes", "Free bytes of the archive's disk", "disk_free_bytes"),
    _gauge("recorder", "free_inodes", "Free inodes of the archive's disk", "disk_free_inodes"),
    _total("model", "events", "Events that its kernel was given"),
    _total("model", "signals", "Signals that it gave"),
    _total("model", "refused", "Signals that were not published, as they were impossible", "refused_signals"),
    _total("executor", "signals", "Signals that it took"),
    _total("executor", "intents", "Orders that it wanted"),
    _total("executor", "cancels", "Cancels that it wanted"),
    _total("executor", "amends", "Amendments that it wanted"),
    _total("executor", "fills", "Fills of its orders"),
    _total("executor", "refused", "Signals that became no order, by the reason", "refusals", "reason"),
    _total("executor", "commands_refused", "Commands of operators that it refused"),
    _gauge("executor", "open_orders", "Orders that are open"),
    _total("session", "orders_sent", "Orders that were sent to the venue"),
    _total("session", "cancels_sent", "Cancels that were sent to the venue"),
    _total("session", "amends_sent", "Amendments that were sent to the venue"),
    _total("session", "rejects", "Orders that the venue refused"),
    _total("session", "refused_intents", "Orders of the executor that were not sent"),
    _total("session", "unknowns", "Orders whose fate was not known for a while"),
    _total("session", "resolved", "Orders whose fate was found out", "resolved_orders"),
    _total("session", "fills", "Fills that the venue reported"),
    _total("session", "reconnects", "Connections that were lost and made anew"),
    _total("session", "reconciles", "Times that orders and account were compared with the venue's"),
    _total("session", "contradictions", "Reports of the venue that contradict what was known"),
    _total("session", "foreign", "Orders at the venue that are somebody else's", "foreign_orders"),
    _total("session", "adopted", "Orders at the venue that were found to be ours", "adopted_orders"),
    _total("session", "strays_cancelled", "Orders of earlier lives that were cancelled"),
    _total("session", "outbox_full", "Times that its outbox was full"),
    _total("session", "order_pauses", "Pauses after refusals of the venue"),
    _total("session", "repeated", "Reports that came a second time", "repeated_reports"),
    _total("session", "budget_waited_s", "For how long requests have waited for the rate limit", "budget_waited_seconds"),
    _gauge("session", "paused", "What is paused after refusals of the venue", "paused_orders"),
    _gauge("session", "clock_skew_ms", "The venue's clock minus the log's time", "clock_skew_seconds", MS),
    _gauge("session", "used_weight", "Weight of this minute that the venue has counted", "used_request_weight"),
    _total("exchange", "frames", "Frames that the local exchange sent"),
    _total("exchange", "orders", "Orders that it was given"),
    _total("exchange", "own_trades", "Trades with our orders"),
    _total("exchange", "faults", "Faults of its plan that happened"),
    _total("exchange", "limited", "Requests that it refused for their rate", "rate_limited_requests"),
    _total("exchange", "cut_off", "Clients that it cut off, as they were too slow", "cut_off_clients"),
    _gauge("exchange", "clients", "Clients that are connected"),
    _gauge("exchange", "open_orders", "Orders that are open there"),
    _total("sentinel", "respawns", "Dead processes that it brought back"),
    _total("sentinel", "restarts", "Processes that lived and were wrong, and were restarted"),
    _total("sentinel", "beyond_budget", "Deaths that it left to supervisord, as there were too many", "beyond_budget_deaths"),
    _total("sentinel", "takeovers", "Times that it took over from the other one"),
    _total("sentinel", "supervisord_away", "Questions that supervisord did not answer", "unanswered_questions"),
    _total("sentinel", "emergency_cancels", "Emergency cancels past the session"),
    _gauge("sentinel", "leader", "1 where it is the one that acts"),
    _gauge("sentinel", "respawn_ms_max", "The longest that a dead process was away", "respawn_max_seconds", MS),
    _total("notifier", "delivered", "Messages that receivers took", "delivered_messages"),
    _total("notifier", "undelivered", "Attempts that failed", "failed_attempts"),
    _gauge("notifier", "going_on", "Troubles that go on", "troubles"),
    _total("gateway", "requests", "Requests to the gateway"),
    _total("gateway", "requests_refused", "Requests that it refused, by the answer's status", "refused_requests", "status"),
    _total("gateway", "streams_cut", "Streams whose client was too slow", "cut_streams"),
    _total("gateway", "stored_reads", "Reads of what is old"),
    _total("gateway", "actions", "Changes of the mesh that it carried out"),
    _gauge("gateway", "viewers", "Pages that are open"),
    _gauge("gateway", "streams", "Streams that are open"),
    _gauge("gateway", "connections", "Connections that are open"),
    _gauge("gateway", "kept_bytes", "Bytes of events that are kept in memory"),
)
NOT_GIVEN: dict[str, str] = {  # group.key of numbers in heartbeats that are no metric → why
    "*.node": "the label process", "*.pid": "no measure",
    "feed.connections": "in reconnects and renewals", "feed.hops": "addresses tried, in reconnects",
    "feed.undecided": "alerts say it", "feed.never_heard": "alerts say it",
    "feed.waiting": "the alert told_to_wait says it", "feed.given_up": "alerts say it", "feed.not_trading": "alerts say it",
    "sequencer.seq": "tickmesh_log_events_total", "sequencer.durable_seq": "tickmesh_log_durable_events_total",
    "sequencer.batch_max": "of one moment", "sequencer.clock_corrected_ms": "in clock_offset_seconds",
    "sequencer.brought_up": "of its start", "sequencer.unreleased": "of one moment",
    "recorder.overlays": "in archive_files", "recorder.pruned": "of the recent store",
    "recorder.strays_removed": "of its start",
    "recorder.sealed_seq": "in seals", "model.instruments": "mesh.toml", "executor.instruments": "mesh.toml",
    "session.connections": "in reconnects", "session.reconnected": "in reconnects", "session.outbox_tail": "of its start",
    "session.resumed_seq": "of its start", "session.wall_skew_ms": "in clock_skew_seconds",
    "sentinel.respawn_ms_last": "in respawn_max_seconds", "gateway.hop_p99_ms": "tickmesh_hop_latency_seconds",
    "executor.positions": "tickmesh_position and others", "executor.strategies": "tickmesh_strategy_…",
    "executor.kill_switch": "tickmesh_kill_switch", "executor.profit": "tickmesh_profit", "executor.fees": "by instrument",
    "executor.fundings": "by instrument", "executor.spread_bp": "tickmesh_spread_ratio",
    "executor.position_share": "tickmesh_position_limit_ratio", "executor.closing": "mesh positions",
    "executor.tightened": "mesh limit", "executor.unlisted_orders": "alerts say it",
}  # fmt: skip

UP = Metric("tickmesh_process_up", "gauge", (PROCESS,), "1 where its heartbeat is not older than the table of topics allows")
BEAT_AGE = Metric("tickmesh_process_heartbeat_age_seconds", "gauge", (PROCESS,), "Since when it has said nothing of itself")
READY = Metric("tickmesh_process_ready_timestamp_seconds", "gauge", (PROCESS,), "When this life of it became ready, Unix time")
STARTS = Metric("tickmesh_process_starts_total", "counter", (PROCESS,), "Lives of it that became ready since the gateway began")
LOG = Metric("tickmesh_log_events_total", "counter", (), "Events of the log since its beginning: its newest seq")
DURABLE = Metric("tickmesh_log_durable_events_total", "counter", (), "Events of the log that a power cut would not take")
KINDS = Metric("tickmesh_events_total", "counter", ("kind",), "Events of a kind that came since the gateway began")
AGE = Metric(
    "tickmesh_stream_age_seconds", "gauge", ("kind", INSTRUMENT), "Since when the newest trade or quote has been there"
)
ALERTS = Metric("tickmesh_alerts_total", "counter", ("what", "level"), "Alerts that came since the gateway began")
HOPS = Metric(
    "tickmesh_hop_latency_seconds", "histogram", ("hop",), "How long a hop between a venue's event and our order took"
)
POSITION = Metric("tickmesh_position", "gauge", (INSTRUMENT,), "The position, in base units, of futures in contracts' units")
PRICE = Metric("tickmesh_position_average_price", "gauge", (INSTRUMENT,), "The average price of the position")
REALISED = Metric("tickmesh_profit_realised", "gauge", (INSTRUMENT,), "Profit of what was closed, in the quote currency")
UNREALISED = Metric("tickmesh_profit_unrealised", "gauge", (INSTRUMENT,), "Profit of the position, in the quote currency")
FEES = Metric("tickmesh_fee_cost", "gauge", (INSTRUMENT,), "Fees that were paid, in the quote currency")
FUNDING = Metric("tickmesh_funding", "gauge", (INSTRUMENT,), "Fundings that were received, in the quote currency")
PROFIT = Metric("tickmesh_profit", "gauge", ("currency",), "Profit and loss in all, after fees and fundings")
STRATEGY_PROFIT = Metric(
    "tickmesh_strategy_profit", "gauge", (STRATEGY,), "Profit and loss of a strategy, after fees and fundings"
)
STRATEGY_POSITION = Metric("tickmesh_strategy_position", "gauge", (STRATEGY, INSTRUMENT), "A strategy's position")
SHARE = Metric(
    "tickmesh_position_limit_ratio", "gauge", (STRATEGY, INSTRUMENT), "A strategy's position as a share of its limit"
)
SPREAD = Metric("tickmesh_spread_ratio", "gauge", (INSTRUMENT,), "Ask minus bid as a share of the mid price")
KILL_SWITCH = Metric("tickmesh_kill_switch", "gauge", (), "1 where the kill switch is on")
METRICS = (
    UP, BEAT_AGE, READY, STARTS, LOG, DURABLE, KINDS, AGE, ALERTS, HOPS, POSITION, PRICE, REALISED, UNREALISED, FEES, FUNDING,
    PROFIT, STRATEGY_PROFIT, STRATEGY_POSITION, SHARE, SPREAD, KILL_SWITCH, *(one.metric for one in HEALTH),
)  # fmt: skip


def group_of(process: str) -> str:
    """Which rows of HEALTH a process's heartbeat has: feed-binance-1 is a `feed`."""
    return process.partition("-")[0]


def series_of(metric: Metric) -> tuple[str, ...]:
    """The names under which Prometheus has a metric."""
    return tuple(metric.name + end for end in ("_bucket", "_count", "_sum")) if metric.type == "histogram" else (metric.name,)
