"""`mesh status`: processes by supervisord and by the log's tail, every topic, and alerts."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tickmesh.bus.clock import follow, now_ns
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import PLENTY, Room, free_of, judge, short
from tickmesh.bus.topics import TABLE, Lane
from tickmesh.bus.wire import Event
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.standing import UNKNOWN
from tickmesh.nodes.process_table import hosted, name_of
from tickmesh.nodes.sentinel.restarts import Restarts
from tickmesh.nodes.sentinel.supervisord import Away, ShuttingDown, Supervisord
from tickmesh.storage.archive.reader import ArchiveError, read_watermark
from tickmesh.storage.recent.lately import lately
from tickmesh.tools.table import process_names
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, out

SECOND = 1_000_000_000
Process = Mapping[str, Any]  # as supervisord describes it: name, state, statename, pid, exitstatus, start, now …
WINDOW_S = 10  # rates and the freshest health are read from the log's last so many seconds
ALERTS_SHOWN = 5
TRADING = (
    "instruments", "positions", "unlisted_orders", "fees", "fills", "open_orders", "signals", "intents", "cancels", "refused",
)  # fmt: skip
HOUR_NS = 3600 * SECOND
LOOK_BACK_EVENTS = 50_000  # bounds the reading of a log that is written very fast


@dataclass
class Topic:
    """The last seconds of one topic in the log: how many events, and the newest."""

    kind: Kind
    last_seq: int = 0
    seq_ns: int = 0
    recv_ns: int = 0
    events: int = 0


@dataclass
class LogWindow:
    """The last WINDOW_S seconds of the log: topics, and each process's newest health event."""

    first_seq: int = 0
    last_seq: int = 0
    first_ns: int = 0
    last_ns: int = 0
    topics: dict[str, Topic] = field(default_factory=dict)
    health: dict[str, Event] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Adds one event; they come in order."""
        if not self.first_seq:
            self.first_seq, self.first_ns = event.seq, event.seq_ns
        self.last_seq, self.last_ns = event.seq, event.seq_ns
        topic = self.topics.setdefault(event.topic, Topic(Kind(event.kind)))
        topic.last_seq, topic.seq_ns, topic.recv_ns = event.seq, event.seq_ns, event.recv_ns
        topic.events += 1
        if event.kind == Kind.health:
            self.health[event.subject] = event


def status() -> JsonObject:
    """Looks at processes and log; gives what `--json` prints. Raises Failure for a log that cannot be read."""
    config = load()
    follow(config.log_dir)  # ages are in the log's time
    processes = _processes(config)
    if processes is None:
        nothing: dict[str, list[JsonObject]] = {"nodes": [], "topics": [], "instruments": [], "alerts": []}
        return {
            "running": False,
            "mode": config.mode,
            "source": config.source,
            **nothing,
            "replay": None,
            "trading": None,
            "log": {},
            "disk": {},
        }
    try:
        window = read_window(config)
        archived_seq = read_watermark(config.archive_dir).archived_seq
        alerts = _alerts(config, [process["name"] for process in processes])
    except (LogError, ArchiveError) as error:
        raise Failure(str(error)) from None
    now = now_ns()
    inside = {name_of(*one) for one in hosted(config)} - {process["name"] for process in processes if process["pid"]}
    restarts = Restarts(config.sentinel)
    restarts.read_alerts(alerts)
    guests: list[Process] = [{"name": name, "statename": "", "pid": 0} for name in inside]
    order = process_names(config)
    everyone = {process["name"]: process for process in [*guests, *processes]}
    names = sorted(everyone, key=lambda name: order.index(name) if name in order else len(order))
    nodes = [_node(everyone[name], window, inside, now) for name in names]
    for node in nodes:
        node["restarts_left"] = restarts.left(node["name"], now)
    return {
        "running": True,
        "mode": config.mode,
        "source": config.source,
        "nodes": nodes,
        "instruments": silent_instruments(config, window),
        "replay": replay_progress(window),
        "trading": trading(window),
        "alerts": [_alert(event, now) for event in alerts[-ALERTS_SHOWN:]],
        "topics": [_topic(name, topic, window, now) for name, topic in sorted(window.topics.items())],
        "log": {
            "last_seq": window.last_seq,
            "durable_seq": LogReader(config.log_dir).durable,
            "archived_seq": archived_seq,
            "rate": round(_rate(window.last_seq - window.first_seq, window), 1),
            "age_s": round((now - window.last_ns) / SECOND, 3) if window.last_ns else None,
        },
        "disk": disk_room(config),
    }


def silent_instruments(config: Config, window: LogWindow) -> list[JsonObject]:
    """Configured instruments of which something does not come, and `why`, by the health of their lines."""
    standing: dict[str, str] = {}
    given_up: dict[str, str] = {}
    undecided: set[str] = set()
    silent: dict[str, list[set[str]]] = {}  # of each venue: topics that each of its lines has never heard
    for event in window.health.values():
        if event.subject.startswith("feed-"):
            beat = event.map()
            standing.update(beat.get("not_trading", {}))
            given_up.update(beat.get("given_up", {}))
            undecided.update(beat.get("undecided", ()))
            venue, _ = line_of(config, event.subject.removeprefix("feed-"))
            silent.setdefault(venue, []).append(set(beat.get("never_heard", ())))
    out = []
    for instrument in config.instruments:
        subject, lines = instrument.subject, silent.get(instrument.venue, [])
        word = standing.get(subject, "")
        topics = set.intersection(*lines) if lines else set()
        kinds = sorted(one.partition(".")[0] for one in topics if one.partition(".")[2] == subject)
        if window.health and not lines:
            why = f"no line of {instrument.venue} runs: `mesh reload` starts its feeds, `mesh status` has them"
        elif word == UNKNOWN:
            why = "the venue does not know it"
        elif word:
            why = f"the venue does not trade it: {word}"
        elif subject in given_up:
            why = given_up[subject]
        elif kinds and subject in undecided:
            why = "not subscribed: its exponents are not decided, for want of a definition from the venue"
        elif kinds:
            why = f"never heard since the feed began: {', '.join(kinds)}"
        else:
            continue
        out.append({"instrument": subject, "standing": word, "never_heard": kinds, "why": why})
    return out


def replay_progress(window: LogWindow) -> JsonObject | None:
    """How far the local exchange is in its capture, and what it left out, by reason; None without a capture."""
    beat = window.health["exchange"].map() if "exchange" in window.health else {}
    if "replay_lines" not in beat:
        return None
    return {
        "position": beat["replay_position"],
        "lines": beat["replay_lines"],
        "ended": bool(beat["replay_ended"]),
        "not_served": beat.get("not_served", {}),
    }


def trading(window: LogWindow) -> JsonObject | None:
    """What the executor counts: positions by instrument and in all; None where there is no executor."""
    if "executor" not in window.health:
        return None
    beat = window.health["executor"].map()
    return {name: beat[name] for name in TRADING if name in beat}


def disk_room(config: Config) -> JsonObject:
    """Free bytes and inodes of the data folder, looked up here: with a full disk the log cannot state them."""
    try:
        free = free_of(config.source_dir)
    except OSError as error:
        return {"short": f"{config.source_dir} cannot be looked at: {error.strerror}"}
    inodes = free.inodes if free.inodes < PLENTY else None
    what = short(judge(Room(), free, config.disk), free, config.disk)
    return {"free_bytes": free.bytes, "free_inodes": inodes, "short": what}


def _processes(config: Config) -> Sequence[Process] | None:
    """What supervisord says of its processes; None when the mesh is not running."""
    with contextlib.closing(Supervisord(config.root / "run")) as client:
        try:
            return client.processes()
        except (Away, ShuttingDown):
            return None


def read_window(config: Config) -> LogWindow:
    """Reads the last WINDOW_S seconds of the log."""
    log = LogReader(config.log_dir)
    window = LogWindow()
    last = log.last
    since = now_ns() - WINDOW_S * SECOND
    for event in log.events(max(last - LOOK_BACK_EVENTS, log.first - 1)):
        if event.seq_ns >= since:
            window.add(event)
        else:
            window.last_seq, window.last_ns = event.seq, event.seq_ns
    return window


def _rate(events: int, window: LogWindow) -> float:
    seconds = (window.last_ns - window.first_ns) / SECOND
    return events / seconds if seconds > 0 and window.first_seq else 0.0


def _node(process: Process, window: LogWindow, inside: set[str], now: int) -> JsonObject:
    name = process["name"]
    health = window.health.get(name)
    beat = health.map() if health is not None else {}
    state = "HOSTED" if name in inside else process["statename"]
    alive = bool(process["pid"])
    return {
        "name": name,
        "state": state,
        "pid": process["pid"] or (beat.get("pid", 0) if state == "HOSTED" else 0),
        "uptime_s": process["now"] - process["start"] if alive else None,
        "heartbeat_age_s": round((now - health.sent_ns) / SECOND, 3) if health is not None else None,
        "lag": beat.get("lag"),
    }


def _alerts(config: Config, names: list[str]) -> list[Event]:
    """Of the hours that the recent store keeps, or of the last one."""
    return lately(config, Kind.alert, names, now_ns() - int(max(config.recorder.recent_hours, 1.0) * HOUR_NS))


def _alert(event: Event, now: int) -> JsonObject:
    content = event.map()
    words = {key: content.get(key, "") for key in ("level", "what", "target", "why", "action")}
    return {"seq": event.seq, "by": event.subject, "age_s": round((now - event.seq_ns) / SECOND, 1), **words}


def _topic(name: str, topic: Topic, window: LogWindow, now: int) -> JsonObject:
    """`lag_ms`: from the frame's arrival here to its place in the log, of the newest event. `age_s`: since then."""
    stale_after = TABLE[topic.kind].stale_after_ns
    # A clock is published in silences only: what may not be old is the log.
    newest = window.last_ns if topic.kind == Kind.clock else topic.seq_ns
    return {
        "topic": name,
        "last_seq": topic.last_seq,
        "rate": round(_rate(topic.events, window), 2),
        "lag_ms": round((topic.seq_ns - topic.recv_ns) / 1e6, 3) if topic.recv_ns else None,
        "age_s": round((now - topic.seq_ns) / SECOND, 3),
        "stale": bool(stale_after) and now - newest > stale_after,
    }


def _show_trading(counted: JsonObject) -> None:
    if counted.get("positions"):
        table = TerminalTable(box=None, header_style="bold")
        for name in ("traded", "position", "at", "realised", "unrealised", "fills", "open"):
            table.add_column(name, no_wrap=name == "traded")
        for subject, one in sorted(counted["positions"].items()):
            table.add_row(
                subject, f"{one['position']:.8g}", f"{one['average_price']:.8g}", f"{one['realised']:.4f}",
                f"{one['unrealised']:.4f}", str(one["fills"]), str(one["open_orders"]),
            )  # fmt: skip
        out.print()
        out.print(table)
        fees = ", ".join(f"{amount:.8f} {asset}" for asset, amount in sorted(counted["fees"].items())) or "none"
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counted["refused"].items())) or "none"
        out.print(f"fees: {fees}; of {counted['signals']} strong signals refused: {refused}", markup=False)
    for subject, orders in counted.get("unlisted_orders", {}).items():
        what = f"{orders} open order{'s' if orders > 1 else ''} of ours, and executor.instruments does not list it (any more)"
        out.print(f"\n{subject}: {what}; the executor cancels them, and keeps its position", style="bold", markup=False)


def show(result: JsonObject) -> None:
    """Prints the status for a person."""
    if not result["running"]:
        out.print("tickmesh is not running; `mesh up` starts it.")
        return
    table = TerminalTable(
        "node",
        "state",
        "pid",
        "uptime",
        "heartbeat",
        "behind",
        "restarts left",
        box=None,
        header_style="bold",
        least=("pid", "uptime"),
    )
    for node in result["nodes"]:
        beat, uptime, lag = node["heartbeat_age_s"], node["uptime_s"], node["lag"]
        table.add_row(
            node["name"], node["state"], str(node["pid"] or "-"),
            f"{uptime} s" if uptime is not None else "-",
            f"{beat:.1f} s ago" if beat is not None else "-",
            f"{lag} events" if lag is not None else "-",
            str(node["restarts_left"]),
        )  # fmt: skip
    out.print(table)
    out.print()
    table = TerminalTable("topic", "last seq", "per s", "lag", "age", box=None, header_style="bold", least=("last seq",))
    for topic in result["topics"]:
        if TABLE[Kind[topic["topic"].partition(".")[0]]].lane is Lane.system:
            continue  # what processes say of themselves is in the table above
        lag = topic["lag_ms"]
        table.add_row(
            topic["topic"], str(topic["last_seq"]), f"{topic['rate']:.1f}",
            f"{lag:.2f} ms" if lag is not None else "-",
            f"{topic['age_s']:.1f} s" + (" STALE" if topic["stale"] else ""),
        )  # fmt: skip
    out.print(table)
    if result["trading"]:
        _show_trading(result["trading"])
    for one in result["instruments"]:
        out.print(f"\n{one['instrument']}: {one['why']}", style="bold", markup=False)
    if at := result["replay"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in at["not_served"].items())
        left_out = f"{sum(at['not_served'].values())} not served: {reasons}" if reasons else "all served"
        ended = "; ended" if at["ended"] else ""
        out.print(f"\nreplay: at {at['position']} of {at['lines']} lines, {left_out}{ended}", markup=False)
    for alert in result["alerts"]:
        out.print()
        out.print("{level}, {age_s:.0f} s ago: {target}: {what}: {why}; {action}".format(**alert), markup=False)
    if result["disk"]["short"]:
        out.print(f"\nDISK: {result['disk']['short']}", markup=False)
    log = result["log"]
    out.print(
        f"\nlog: {log['last_seq']} events, {log['rate']:g}/s, on disk up to {log['durable_seq']}, "
        f"archived up to {log['archived_seq']}; mode {result['mode']}, source {result['source']}"
    )
