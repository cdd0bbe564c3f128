"""`mesh up`: checks what can be checked, starts supervisord, and returns when it has itself seen the mesh work.

Proof is the log beyond where it ended before, and what this configuration can show there: of the default market a trade, a
quote, a depth change, a signal, an intent and a fill, as far as models run and the executor can trade; of a capture what it
holds of trades, quotes and depth, however short it is.
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tickmesh.bus.config import Config, find_root, load
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader, Tail
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import free_of, refusal
from tickmesh.bus.wire import events
from tickmesh.nodes.exchange.market.survey import Survey
from tickmesh.nodes.runner.hosted import hosted_nodes, name_of
from tickmesh.nodes.sentinel.supervisord import Away, ProcessStates, ShuttingDown, Supervisord
from tickmesh.tools import sources
from tickmesh.tools.status import Process, read_window, silent_instruments
from tickmesh.tools.terminal import Failure, JsonObject, err, out

MARKET = (Kind.trade, Kind.quote, Kind.depth)
TRADING = (Kind.intent, Kind.fill)
SIZES = ("quantity", "notional", "price", "position")  # refusals by which the executor says that it can send no order at all
DEATHS_MAX = 3  # of the exchange within one `mesh up`, before that is the answer
FREE_BYTES_MIN = 256 << 20  # a log segment, an outbox segment each, and an archive file, with room to notice
FREE_INODES_MIN = 200  # each of these files takes one, and each instrument's of a cut
LOOK_S = 0.1
STREAMS_SHOWN = 12
RATES_S = 1.0  # rates are what comes in so long, once everything is there
AWAY_S_MAX = 10.0  # supervisord answers within a second of its start


def up(captures: list[Path], speed: float, timeout_s: float) -> JsonObject:
    """Starts the mesh and waits until it is seen working; gives what `--json` prints. Raises Failure with what is missing."""
    root = find_root()
    for folder in (root / "run", root / "run" / "logs"):
        _make(folder)
    with _alone(root / "run" / "up.lock"):
        if (running := is_running(root)) is not None:
            return _already(load(root), captures, running)
        if not (root / "supervisor.conf").is_file():
            raise Failure(f"{root} has no supervisor.conf; it belongs beside mesh.toml")
        survey = None
        if captures:
            config, survey = sources.use_captures(root, captures, speed)
            show_capture(survey.summary())
        else:
            config = sources.use_configured(root)
        check_before_start(config)
        after = _end_of_log(config)
        started = time.monotonic()
        _start(root)
        seen, seconds = _watch(config, survey, after, started + timeout_s)
    return {
        "running": True,
        "already": False,
        "source": config.source,
        "instruments": silent_instruments(config, read_window(config)),
        "seconds": round(time.monotonic() - started, 1),
        "rates": {kind.name: round(seen.counts[kind] / seconds, 1) for kind in required_kinds(config, survey)},
        "not_trading": seen.cannot_trade(),
        "capture": survey.summary() if survey else None,
    }


def is_running(root: Path) -> Sequence[Process] | None:
    """Asks supervisord for its processes; None when it does not run. Waits for one that is on its way out."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        client = Supervisord(root / "run")
        try:
            return client.processes()
        except Away:
            return None
        except ShuttingDown:
            time.sleep(0.1)
        finally:
            client.close()
    raise Failure("the mesh has been shutting down for a minute; see run/supervisord.log")


def _already(config: Config, captures: list[Path], processes: Sequence[Process]) -> JsonObject:
    wanted = [str(path.resolve()) for path in captures]
    if wanted and wanted != list(config.exchange.replay):
        raise Failure(f"the mesh is up with source {config.source!r}; `mesh down` first, then up on the capture")
    fine = (ProcessStates.RUNNING, ProcessStates.STARTING)
    down = [p["name"] for p in processes if p["state"] not in fine and not is_idle(p)]
    return {"running": True, "already": True, "source": config.source, "not_running": down}


def is_idle(process: Process) -> bool:
    """Whether a process ended because there is nothing to do for it: hosted by the sequencer, or switched off in mesh.toml."""
    return bool(process["state"] == ProcessStates.EXITED and process["exitstatus"] == 0)


def check_before_start(config: Config) -> None:
    """Checks everything that would stop every process: settings, the data folder, disk, the exchange's port. Raises Failure."""
    if config.run != "run":
        raise Failure(f"mesh.toml has run = {config.run!r}, but supervisor.conf keeps its files in run/; leave it out")
    table = (config.root / "supervisor.conf").read_text()
    guests = {name_of(*guest) for guest in hosted_nodes(config)}
    for name in [f"model-{model.name}" for model in config.models]:
        if name not in guests and f"[program:{name}]" not in table:
            raise Failure(f"mesh.toml has {name}, but supervisor.conf has no [program:{name}]; add it there")
    _make(config.source_dir)
    probe = config.source_dir / ".writable"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Failure(f"the data folder {config.source_dir} cannot be written: {refusal(error, config.source_dir)}") from None
    free = free_of(config.source_dir)
    if free.bytes < FREE_BYTES_MIN or free.inodes < FREE_INODES_MIN:
        raise Failure(
            f"the disk of {config.source_dir} has {free} free; at least {FREE_BYTES_MIN} bytes and {FREE_INODES_MIN} inodes "
            "are needed"
        )
    if port := config.exchange.port:
        with socket.socket() as probe_socket:
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe_socket.bind((config.exchange.host, port))
            except OSError as error:
                raise Failure(f"exchange.port {port}: {error.strerror}; 0 takes any free one") from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failure(f"the folder {folder} cannot be made: {refusal(error, folder)}") from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two `mesh up` at once: the second waits, and then finds the mesh up."""
    try:
        lock = FileLock(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {refusal(error, path)}") from None
    with lock:
        lock.acquire()
        yield


def _end_of_log(config: Config) -> int:
    try:
        return LogReader(config.log_dir).last
    except LogError as error:
        raise Failure(str(error)) from None


def _start(root: Path) -> None:
    """supervisord as a daemon, in a session of its own; it outlives this shell."""
    with open(root / "run" / "logs" / "supervisord-start.log", "wb") as log:
        code = subprocess.call(
            [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisor.conf"],
            cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, umask=0o077,
        )  # fmt: skip
    if code:
        lines_logged = (root / "run" / "logs" / "supervisord-start.log").read_text(errors="replace").strip().splitlines()
        raise Failure(f"supervisord did not start: {lines_logged[-1] if lines_logged else f'exit {code}'}")


@dataclass
class Observed:
    """The counts of events in the log by kind, and the newest health of executor and exchange."""

    executor: str
    counts: Counter[int] = field(default_factory=Counter)
    beats: dict[str, dict[str, Any]] = field(default_factory=dict)
    exchanges: set[int] = field(default_factory=set)  # pids that the exchange has had

    def take(self, tail: Tail) -> None:
        """Reads the log's new events."""
        try:
            while batches := tail.read():
                for batch in batches:
                    for event in events(batch.body):
                        self.counts[event.kind] += 1
                        if event.kind == Kind.health and event.subject in (self.executor, "exchange"):
                            self.beats[event.subject] = event.map()
        except LogError as error:
            raise Failure(str(error)) from None

    def cannot_trade(self) -> str:
        """Why the executor has sent nothing and will send nothing, by its refusals; "" if that is not so."""
        beat = self.beats.get(self.executor, {})
        refused = {reason: count for reason, count in beat.get("refused", {}).items() if reason in SIZES}
        if beat.get("intents") or not refused:
            return ""
        return ", ".join(f"{count} refused for {reason}" for reason, count in sorted(refused.items()))


def _watch(config: Config, survey: Survey | None, after: int, deadline: float) -> tuple[Observed, float]:
    """Reads the log beyond `after` until it has every required kind: (what RATES_S more have shown, how long they were)."""
    seen = Observed("executor")
    wanted = required_kinds(config, survey)
    tail = Tail(config.log_dir, after)
    client = Supervisord(config.root / "run")
    away_until = time.monotonic() + AWAY_S_MAX
    status = err.status("starting") if err.is_terminal else contextlib.nullcontext()
    with status as line, contextlib.closing(tail), contextlib.closing(client):
        while missing := _missing(seen, tail, wanted):
            now = time.monotonic()
            if now > deadline:
                raise Failure(_what_is_missing(config, missing, client))
            if now > away_until:
                away_until = now + 1
                _still_there(client)
            _exchange_lives(config, seen, missing, client)
            if survey and (config.exchange_dir / sources.ENDED).exists() and not _missing_in_all(config, wanted):
                break  # it was over before we looked, or an earlier run had all but its end
            if line is not None:
                line.update(f"waiting for {', '.join(missing)}")
            time.sleep(LOOK_S)
        seen.counts.clear()
        begun = time.monotonic()
        time.sleep(RATES_S)
        seen.take(tail)
        _exchange_lives(config, seen, [], client)
        return seen, time.monotonic() - begun


def required_kinds(config: Config, survey: Survey | None = None) -> tuple[Kind, ...]:
    """The kinds of events that have to flow in this configuration before the mesh is up."""
    if survey:
        return tuple(kind for kind in MARKET if kind.name in survey.kinds())
    if not config.models:
        return MARKET
    first = config.instrument("").subject
    models_trade = (config.executor.instrument or first) in {model.instrument or first for model in config.models}
    return (*MARKET, Kind.signal, *(TRADING if config.executor.enabled and models_trade else ()))


def _missing(seen: Observed, tail: Tail, wanted: tuple[Kind, ...]) -> list[str]:
    seen.take(tail)
    missing = [kind for kind in wanted if not seen.counts[kind]]
    if set(missing) <= set(TRADING) and seen.cannot_trade():
        return []
    return [kind.name for kind in missing]


def _missing_in_all(config: Config, wanted: tuple[Kind, ...]) -> list[str]:
    """Names of the wanted kinds of which the whole log of this source has no event."""
    found: set[int] = set()
    with contextlib.closing(Tail(config.log_dir, 0)) as tail:
        while len(found & set(wanted)) < len(wanted) and (batches := tail.read()):
            found.update(event.kind for batch in batches for event in events(batch.body))
    return [kind.name for kind in wanted if kind not in found]


def _exchange_lives(config: Config, seen: Observed, missing: list[str], client: Supervisord) -> None:
    """Raises Failure when the local exchange dies and begins again, over and over: what it has sent so far proves nothing."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        seen.exchanges.add(json.loads((config.root / "run" / "exchange.json").read_text())["pid"])
    if len(seen.exchanges) > DEATHS_MAX:
        what = f"the local exchange dies again and again ({len(seen.exchanges)} processes so far)"
        raise Failure(f"{what}: {_what_is_missing(config, missing or ['end of that'], client)}")


def _still_there(client: Supervisord) -> None:
    try:
        client.processes()
    except (Away, ShuttingDown):
        raise Failure("supervisord has ended again; see run/supervisord.log") from None


def _what_is_missing(config: Config, missing: list[str], client: Supervisord) -> str:
    lines = [f"no {', no '.join(missing)} in the log yet. What runs goes on; `mesh status` shows it."]
    with contextlib.suppress(Away, ShuttingDown):
        for process in client.processes():
            if process["state"] == ProcessStates.RUNNING and process["now"] - process["start"] > 5:
                continue
            log = config.root / "run" / "logs" / f"{process['name']}.log"
            lines_logged = log.read_text(errors="replace").strip().splitlines()[-1:] if log.is_file() else []
            lines.append(
                f"  {process['name']}: {process['statename']}, last said: {lines_logged[0] if lines_logged else 'nothing'}"
            )
    return "\n".join([*lines, f"  logs: {config.root / 'run' / 'logs'}"])


def show(result: JsonObject) -> None:
    """Prints for a person that the mesh is up, and what to do next."""
    if result["already"]:
        out.print(f"tickmesh is up already, source {result['source']}.")
        if result["not_running"]:
            out.print(f"Not running: {', '.join(result['not_running'])} (mesh status)")
        return
    rates = ", ".join(f"{rate:g} {kind}" for kind, rate in result["rates"].items())
    out.print(f"tickmesh is up after {result['seconds']} s, source {result['source']}.")
    out.print(f"In the log, per second: {rates}.")
    if result["not_trading"]:
        out.print(f"The executor cannot trade: {result['not_trading']} (executor.order_quantity, position_max)", style="bold")
    for one in result["instruments"]:
        out.print(f"{one['instrument']}: {one['why']}", style="bold", markup=False)
    out.print("Next:")
    for command, what in (
        (".venv/bin/tap trade", "trades as they come (tap quote, tap signal, tap fill …; --rate for rates)"),
        (".venv/bin/mesh status", "processes and topics"),
        (".venv/bin/supervisorctl -c supervisor.conf status", "start, stop, restart single processes"),
        (".venv/bin/mesh verify", "log, recent store and archive, checked against each other"),
        ("make down", "stop; `make up` goes on where it was"),
    ):
        out.print(f"  {command:<52} {what}")


def show_capture(summary: JsonObject) -> None:
    """Prints for a person what a capture holds, before its replay: on stderr, so that `--json` is alone on stdout."""
    bad = sum(summary["not_served"].values())
    words = f"{summary['dialect']}, receive times in {summary['unit']}, {summary['lines']} lines of {summary['seconds']:g} s"
    found = f"{len(summary['symbols'])} symbols, {summary['snapshots']} book snapshots"
    err.print(f"Capture: {words}, {found}, {bad} lines not served.", markup=False)
    for name, count in list(summary["streams"].items())[:STREAMS_SHOWN]:
        note = " (sent to who asks, not recorded)" if name in summary["not_recorded"] else ""
        err.print(f"  {count:>9} {name}{note}", markup=False)
    if len(summary["streams"]) > STREAMS_SHOWN:
        err.print(f"  and {len(summary['streams']) - STREAMS_SHOWN} streams more (--json has all)")
    for reason, count in summary["not_served"].items():
        err.print(f"  {count:>9} not served: {reason}; the first: {summary['first'][reason][:200]}", style="bold", markup=False)
    if summary["jumps"]:
        err.print(f"  {summary['jumps']} receive times go back, or jump by more than an hour", markup=False)
