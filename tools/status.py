"""`mesh status`: a verdict with reasons, processes by supervisord and by the log's tail, every topic, and troubles."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tickmesh.bus.clock import follow, now_ns
from tickmesh.bus.config import Config, ConfigError, find_root
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import OPERATOR
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import PLENTY, Room, free_of, judge, short
from tickmesh.bus.topics import TABLE
from tickmesh.bus.wire import Event
from tickmesh.nodes.alerts.episodes import episodes
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.standing import UNKNOWN
from tickmesh.nodes.net.waits import all_waits, as_json
from tickmesh.nodes.orders.accounts import is_session
from tickmesh.nodes.process_table import hosted, name_of
from tickmesh.nodes.sentinel.processes import age_ns
from tickmesh.nodes.sentinel.restarts import Restarts
from tickmesh.nodes.sentinel.supervisord import Away, ProcessStates, ShuttingDown, Silent, Supervisord
from tickmesh.nodes.supervision.presence import Presence, find
from tickmesh.storage.archive.reader import ArchiveError, read_watermark
from tickmesh.storage.recent.lately import lately
from tickmesh.tools import started_with, verdict
from tickmesh.tools.blocked import blocked
from tickmesh.tools.gateway_address import gateway_url, page_url
from tickmesh.tools.log_window import SECOND, LogWindow, Topic, read_window
from tickmesh.tools.memory import memory_of
from tickmesh.tools.paused import lost, paused_because
from tickmesh.tools.running import last_line, living, ready_ns
from tickmesh.tools.table import hand_written, process_names, wanted_names
from tickmesh.tools.terminal import Failure, JsonObject
from tickmesh.tools.verdict import Finding, Seen

Process = Mapping[str, Any]  # as supervisord describes it: name, state, statename, pid, exitstatus, start, now …
OVER_SHOWN = 5  # troubles that are over; those that go on are all shown
MARKET = (Kind.trade, Kind.quote, Kind.depth)
TRADING = (
    "instruments", "positions", "strategies", "kill_switch", "tightened", "unlisted_orders", "fees", "fundings", "profit",
    "fills", "open_orders", "signals", "intents", "cancels", "refused",
)  # fmt: skip
SEEN_BY_SESSION = ("foreign", "adopted", "contradictions", "unknowns", "clock_skew_ms")
HOUR_NS = 3600 * SECOND
ANSWER_S = 2.0  # supervisord answers in milliseconds, and a person waits for us


def status() -> JsonObject:
    """Looks at processes and log; gives what `--json` prints.

    Raises Failure for a log that cannot be read, and ConfigError for a wrong mesh.toml of a mesh that does not run.
    """
    config, wrong = started_with.in_force(find_root())
    if config is None:
        raise wrong or ConfigError("there are no settings")
    follow(config.log_dir)  # ages are in the log's time
    processes, restarts, silent = _ask_supervisord(config)
    if processes is None:
        if wrong is not None:
            raise wrong
        return _nothing(config)
    try:
        window = read_window(config)
        archived_seq = read_watermark(config.archive_dir).archived_seq
        guests = [name_of(*one) for one in hosted(config)]
        told = _reports(config, {*guests, OPERATOR, *(process["name"] for process in processes)})
    except (LogError, ArchiveError) as error:
        raise Failure(str(error)) from None
    now = now_ns()
    budget = Restarts(config.sentinel)
    budget.read_alerts(told)
    waits = all_waits(config)
    nodes = _nodes(config, processes, window, now)
    wanted = wanted_names(config)
    for node in nodes:
        name = node["name"]
        node["idle"] &= hand_written(config.root) is not None or name not in wanted
        node["restarts_left"] = budget.left(name, now)
        node["restarts_last_minute"] = restarts.get(name, 0)
        node["said"] = last_line(config.root, name) if node["restarts_last_minute"] else ""
    working = {node["name"]: ready_ns(config.root, node["name"], node["pid"]) for node in nodes}
    still_since_ns = window.last_ns if window.is_still(now) else 0
    troubles = episodes(told, working, {*wanted, *working}, {wait.server for wait in waits}, still_since_ns)
    absent = not_in_capture(window)
    troubles = [one for one in troubles if not (one.what == "never_heard" and one.target in absent)]
    alive = [process["name"] for process in processes if process["pid"]]
    over = [one for one in troubles if not one.goes_on(now)][-OVER_SHOWN:]
    seen = Seen(
        config=config, now_ns=now, window=window, silent=silent, nodes=nodes, wanted=wanted,
        instruments=silent_instruments(config, window, alive), disk=disk_room(config), episodes=troubles,
        blocked=blocked(config), waits=[as_json(wait) for wait in waits], wrong_settings=str(wrong or ""),
    )  # fmt: skip
    word, reasons = verdict.judge(seen)
    age_s = window.age_s(now)
    return {
        "running": True,
        "verdict": word,
        "reasons": [reason._asdict() for reason in reasons],
        "supervisord": f"does not answer: {silent.doing}" if silent else "answers",
        "mode": config.mode,
        "source": config.source,
        "nodes": nodes,
        "memory": memory(config, nodes),
        "instruments": seen.instruments,
        "replay": replay_progress(window),
        "trading": trading(window),
        "session": session_counts(window),
        "paused": paused_because(lost(config, window, now), config.risk.lost_latch_s),
        "told_to_wait": seen.waits,
        "alerts": [one.as_json(now) for one in troubles if one.goes_on(now) or one in over],
        "topics": [_topic(name, topic, window, now) for name, topic in sorted(window.topics.items())],
        "log": {
            "last_seq": window.last_seq,
            "durable_seq": LogReader(config.log_dir).durable,
            "archived_seq": archived_seq,
            "rate": round(window.rate(window.last_seq - window.first_seq, now), 1),
            "age_s": round(age_s, 3) if age_s is not None else None,
        },
        "disk": seen.disk,
        "blocked": seen.blocked,
        "gateway": gateway_url(config),
        "page": page_url(config),
    }


def _nothing(config: Config) -> JsonObject:
    """What is said of a mesh without a supervisord."""
    reasons = [Finding("mesh", "it is not running", "`mesh up` starts it")]
    if left := living(config.root):
        names = ", ".join(f"{name} (pid {pid})" for name, pid in sorted(left.items()))
        reasons.append(Finding("mesh", f"its supervisord is gone, and these live on: {names}", "`mesh down` ends them"))
    nothing: dict[str, list[JsonObject]] = {"nodes": [], "topics": [], "instruments": [], "told_to_wait": [], "alerts": []}
    return {
        "running": False, "verdict": verdict.DOWN, "reasons": [reason._asdict() for reason in reasons],
        "supervisord": "is not there", "memory": None, "mode": config.mode, "source": config.source, **nothing,
        "replay": None, "trading": None, "session": None, "paused": [], "log": {}, "disk": {}, "blocked": [], "gateway": "",
        "page": "",
    }  # fmt: skip


def silent_instruments(config: Config, window: LogWindow, alive: Collection[str]) -> list[JsonObject]:
    """Configured instruments of which something does not come, and `why`, by the health of their lines.

    `alive`: names of processes that live; a line of them has no health before its venue has answered.
    """
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
    absent = not_in_capture(window)
    begin = {verdict.venue_of_line(config, name) for name in alive}
    out = []
    for instrument in config.instruments:
        subject, lines = instrument.subject, silent.get(instrument.venue, [])
        word = standing.get(subject, "")
        topics = set.intersection(*lines) - absent if lines else set()
        kinds = sorted(one.partition(".")[0] for one in topics if one.partition(".")[2] == subject)
        if not lines and any(f"{kind.name}.{subject}" in window.topics for kind in MARKET):
            continue  # it is heard already, and its line has not said so yet
        if window.health and not lines:
            why = verdict.not_begun(instrument.venue) if instrument.venue in begin else verdict.no_line(instrument.venue)
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
        "not_in_capture": sorted(not_in_capture(window)),
    }


def not_in_capture(window: LogWindow) -> set[str]:
    """Topics of mesh.toml's instruments that the replayed capture has nothing of: they do not come, and nothing is wrong."""
    return set(window.health["exchange"].map().get("not_in_capture", ())) if "exchange" in window.health else set()


def trading(window: LogWindow) -> JsonObject | None:
    """What the executor counts: positions by instrument and in all; None where there is no executor."""
    if "executor" not in window.health:
        return None
    beat = window.health["executor"].map()
    return {name: beat[name] for name in TRADING if name in beat}


def strategy_state(name: str, state: str) -> str:
    """A strategy's state in words; of one that still has something and that mesh.toml has no more, that it has none."""
    return state or ("(no longer in mesh.toml)" if name else "-")


def session_counts(window: LogWindow) -> JsonObject | None:
    """What the sessions have seen at their venues beside what they did, by process; None where none has spoken lately."""
    beats = {name: beat.map() for name, beat in window.health.items() if is_session(name)}
    seen = {name: {what: beat[what] for what in SEEN_BY_SESSION if what in beat} for name, beat in sorted(beats.items())}
    return seen or None


def disk_room(config: Config) -> JsonObject:
    """Free bytes and inodes of the data folder, looked up here: with a full disk the log cannot state them."""
    try:
        free = free_of(config.source_dir)
    except OSError as error:
        return {"short": f"{config.source_dir} cannot be looked at: {error.strerror}"}
    inodes = free.inodes if free.inodes < PLENTY else None
    what = short(judge(Room(), free, config.disk), free, config.disk)
    return {"free_bytes": free.bytes, "free_inodes": inodes, "short": what}


def _ask_supervisord(config: Config) -> tuple[Sequence[Process] | None, Mapping[str, int], Presence | None]:
    """(its processes, restarts of the last minute, it itself where it does not answer); None for processes: there is none."""
    with contextlib.closing(Supervisord(config.root / "run", ANSWER_S)) as client:
        try:
            return client.processes(), client.restarts(), None
        except Silent as silent:
            return _alive(config), {}, silent.presence
        except (Away, ShuttingDown):
            return None, {}, None


def _alive(config: Config) -> Sequence[Process]:
    """The wanted processes as the machine shows them, where supervisord cannot be asked."""
    pids = living(config.root)
    out = []
    for name in wanted_names(config):
        pid = pids.get(name, 0)
        age_s = age_ns(pid) // SECOND if pid else 0
        out.append({"name": name, "statename": verdict.ALIVE if pid else verdict.DEAD, "pid": pid, "now": age_s, "start": 0})
    return out


def _nodes(config: Config, processes: Sequence[Process], window: LogWindow, now: int) -> list[JsonObject]:
    """One object a process and a guest of the sequencer, in the order in which data flows."""
    inside = {name_of(*one) for one in hosted(config)} - {process["name"] for process in processes if process["pid"]}
    guests: list[Process] = [{"name": name, "statename": "", "pid": 0} for name in inside]
    order = process_names(config)
    everyone = {process["name"]: process for process in [*guests, *processes]}
    names = sorted(everyone, key=lambda name: order.index(name) if name in order else len(order))
    return [_node(everyone[name], window, inside, now) for name in names]


def _node(process: Process, window: LogWindow, inside: set[str], now: int) -> JsonObject:
    name = process["name"]
    health = window.health.get(name)
    beat = health.map() if health is not None else {}
    state = verdict.HOSTED if name in inside else process["statename"]
    alive = bool(process["pid"])
    memory = memory_of(process["pid"]) if alive else None
    return {
        "name": name,
        "state": state,
        "pid": process["pid"] or (beat.get("pid", 0) if state == verdict.HOSTED else 0),
        "uptime_s": process["now"] - process["start"] if alive else None,
        "memory_bytes": memory.bytes if memory is not None else None,
        "memory_is": memory.measure if memory is not None else "",
        "heartbeat_age_s": round((now - health.sent_ns) / SECOND, 3) if health is not None else None,
        "lag": beat.get("lag"),
        "idle": process.get("state") == ProcessStates.EXITED and process.get("exitstatus") == 0,
    }


def memory(config: Config, nodes: Sequence[JsonObject]) -> JsonObject:
    """What all processes of the mesh take together, `bytes`, supervisord's part of it, and of which measure that is."""
    presence = find(config.root / "run")
    own = memory_of(presence.pid) if presence is not None and presence.pid else None
    supervisord = own.bytes if own is not None else 0
    measures = {node["memory_is"] for node in nodes if node["memory_is"]} | ({own.measure} if own is not None else set())
    total = supervisord + sum(node["memory_bytes"] or 0 for node in nodes)
    return {"bytes": total, "supervisord_bytes": supervisord, "is": "rss" if "rss" in measures else "pss"}


def _reports(config: Config, names: Collection[str]) -> list[Event]:
    """Alerts, beginnings of processes (`run`) and commands, of the hours that the recent store keeps, or of the last one."""
    since_ns = now_ns() - int(max(config.recorder.recent_hours, 1.0) * HOUR_NS)
    return lately(config, (Kind.alert, Kind.run, Kind.command), names, since_ns)


def _topic(name: str, topic: Topic, window: LogWindow, now: int) -> JsonObject:
    """`lag_ms`: from the frame's arrival here to its place in the log, of the newest event. `age_s`: since then."""
    stale_after = TABLE[topic.kind].stale_after_ns
    # A clock is published in silences only: what may not be old is the log.
    newest = window.last_ns if topic.kind == Kind.clock else topic.seq_ns
    return {
        "topic": name,
        "last_seq": topic.last_seq,
        "rate": round(window.rate(topic.events, now), 2),
        "lag_ms": round((topic.seq_ns - topic.recv_ns) / 1e6, 3) if topic.recv_ns else None,
        "age_s": round((now - topic.seq_ns) / SECOND, 3),
        "stale": bool(stale_after) and now - newest > stale_after,
    }
