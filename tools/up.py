"""`mesh up`: checks what can be checked, starts supervisord, and returns when it has itself seen the mesh work.

Proof is the log beyond where it ended before, and what this configuration can show there: of the default market a trade, a
quote, a depth change, a signal, an intent and a fill, as far as models run and the executor can trade; of a capture what it
holds of trades, quotes and depth, however short it is; of real venues what tools/recording.py says.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from tickmesh.bus.clock import follow, now_ns
from tickmesh.bus.config import Config, find_root, load
from tickmesh.bus.log import LogReader, Tail
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.settings import Mode
from tickmesh.bus.space import refusal
from tickmesh.bus.wire import events
from tickmesh.nodes.exchange.market.survey import Survey
from tickmesh.nodes.net.exchange_address import ForeignExchange, exchange_pid
from tickmesh.nodes.process_table import processes
from tickmesh.nodes.sentinel.supervisord import Away, ProcessInfo, ProcessStates, ShuttingDown, Supervisord
from tickmesh.tools import laying, recording, reload, sources, started_with, table
from tickmesh.tools.before_start import check_cores, check_port, check_room, outboxes_in_small_ram
from tickmesh.tools.check_model import check_models
from tickmesh.tools.confirming import require_confirmation
from tickmesh.tools.gateway_address import await_gateway
from tickmesh.tools.log_window import read_window
from tickmesh.tools.own_events import OwnEvents
from tickmesh.tools.running import alone, await_end_of_others, check_still_there, last_line, living, running_processes
from tickmesh.tools.seen import show_capture
from tickmesh.tools.start import start_supervisord
from tickmesh.tools.status import silent_instruments
from tickmesh.tools.terminal import Failure, JsonObject, err, interrupted
from tickmesh.tools.up_shown import show_answers
from tickmesh.tools.wanted import Wanted

MARKET = (Kind.trade, Kind.quote, Kind.depth)
TRADING = (Kind.intent, Kind.fill)
SIZES = ("quantity", "notional", "price", "position")  # refusals by which the executor says that it can send no order at all
DEATHS_MAX = 3  # of the exchange within one `mesh up`, before that is the answer
LOOK_S = 0.1
RATES_S = 1.0  # rates are what comes in so long, once everything is there
GATEWAY_S = 30.0  # for its address, which is printed, once all else works; without it `mesh status` has it later
AWAY_S_MAX = 10.0  # supervisord answers within a second of its start


def up(
    captures: list[Path],
    speed: float,
    timeout_s: float,
    announce: Callable[[str], None],
    wanted: Wanted | None = None,
    source: str = "",
    mode: Mode = "capture",
    live: bool = False,
    confirm: str = "",
) -> JsonObject:
    """Starts the mesh and waits until it is seen working; gives what `--json` prints. Raises Failure with what is missing.

    Where it is up already, what has changed in mesh.toml is applied. `announce` is given what a person should know before.
    `wanted`: instruments of real venues to record, into `source` or, where that is "", into the folder of the venues' names;
    in mode paper orders are filled on their market. `live`, `confirm`: as tools/confirming.py has them.
    """
    root = find_root()
    make_run_folders(root)
    begun = time.monotonic()
    with alone(root, timeout_s):
        if (running := running_processes(root, timeout_s)) is not None:
            if wanted:
                return _record_others(load(root), wanted, source, mode, running, timeout_s, announce)
            require_confirmation(load(root), live, confirm, starts=False)
            return _already(load(root), captures, running, timeout_s, announce)
        if not (root / "supervisor.conf").is_file():
            raise Failure(f"{root} has no supervisor.conf; it belongs beside mesh.toml")
        laying.refresh(load(root), announce)
        survey = None
        if captures:
            config, survey = sources.use_captures(root, captures, speed)
            show_capture(survey.summary())
        elif wanted:
            choice, answers = sources.venues_choice(root, wanted, source, mode)
            show_answers(answers)
            config = sources.use_choice(root, choice)
        else:
            config = sources.use_configured(root)
        await_end_of_others(root, max(timeout_s - (time.monotonic() - begun), 1.0))
        bad_models = prepare(config, live, confirm, announce)
        required = required_kinds(config, survey, bad_models)
        after = _end_of_log(config)
        follow(config.log_dir)
        started, started_ns = time.monotonic(), now_ns()
        with interrupted("The mesh goes on starting: `mesh status` shows how far it is, `mesh down` ends it."):
            own = OwnEvents(start_supervisord(root, timeout_s), started_ns)
            if config.mode == "capture":
                recorded = recording.watch(config, own, after, started, timeout_s, partial(_silent, config))
                await_gateway(config, GATEWAY_S if "gateway" in living(root) else 0.0)
                return recorded
            seen, seconds = _watch(config, survey, own, after, started + timeout_s, required)
            await_gateway(config, GATEWAY_S if "gateway" in living(root) else 0.0)
    return {
        "running": True,
        "already": False,
        "mode": config.mode,
        "source": config.source,
        "instruments": silent_instruments(config, read_window(config), living(root)),
        "seconds": round(time.monotonic() - started, 1),
        "rates": {kind.name: round(seen.recent[kind] / seconds, 1) for kind in required},
        "counts": {kind.name: seen.counts[kind] for kind in required},
        "not_trading": seen.cannot_trade(),
        "models_stopped": bad_models,
        "capture": survey.summary() if survey else None,
    }


def prepare(config: Config, live: bool, confirm: str, announce: Callable[[str], None]) -> dict[str, str]:
    """Checks what can be, and writes what supervisord is to run; gives the models that cannot run, with why. Raises Failure."""
    check_before_start(config)
    if small := outboxes_in_small_ram(config):
        announce(small)
    sources.check_market(config)
    require_confirmation(config, live, confirm)
    check_table(config, announce)
    started_with.remember(config)
    reload.forget_interrupted(config.root)
    return check_models(config, announce)


def make_run_folders(root: Path) -> None:
    """Makes the folders that supervisord writes into. Raises Failure."""
    for folder in (root / "run", root / "run" / "logs"):
        _make(folder)


def _already(
    config: Config, captures: list[Path], running: Sequence[ProcessInfo], timeout_s: float, announce: Callable[[str], None]
) -> JsonObject:
    """Applies what has changed in mesh.toml to the mesh that is up; of a table written by hand, says what does not run."""
    wanted = [str(path.resolve()) for path in captures]
    if wanted and wanted != list(config.exchange.replay):
        raise Failure(f"the mesh is up with source {config.source!r}; `mesh down` first, then up on the capture")
    if table.hand_written(config.root) is None:
        return reload.apply(config, running, timeout_s, False, announce, starts_stopped=True)
    return reload.start_stopped(config, running, timeout_s, announce)


def _record_others(
    config: Config,
    wanted: Wanted,
    source: str,
    mode: Mode,
    running: Sequence[ProcessInfo],
    timeout_s: float,
    announce: Callable[[str], None],
) -> JsonObject:
    """Records these instruments from now on, instead of those that the running mesh records into the same source."""
    root = config.root
    choice, answers = sources.venues_choice(root, wanted, source, mode)
    if config.mode != mode or config.source != choice["source"]:
        raise Failure(
            f"the mesh is up with source {config.source!r}, and this would be {choice['source']!r}: `mesh down` first, "
            f"or give --source {config.source} where it is to go on there"
        )
    show_answers(answers)
    with sources.choice_kept(root):
        return reload.apply(sources.use_choice(root, choice), running, timeout_s, False, announce, starts_stopped=True)


def check_table(config: Config, announce: Callable[[str], None]) -> None:
    """Writes the table of processes; where supervisor.conf has one of its own, says what it lacks instead.

    Raises Failure for a model that it lacks.
    """
    programs = table.hand_written(config.root)
    if programs is None:
        table.write(config.root, processes(config))
        return
    missing = table.lacking(config, programs)
    if models := table.own_models(config, missing):
        raise Failure(f"mesh.toml has {models[0]}, but supervisor.conf has no [program:{models[0]}]; add it there")
    announce("supervisor.conf has a table of its own, which is used as it is.")
    if missing:
        announce(f"It does not run {', '.join(missing)}, which mesh.toml has.")


def check_before_start(config: Config) -> None:
    """Checks everything that would stop every process: settings, the data folder, disk, the exchange's port. Raises Failure.

    Raises ConfigError for cores that are not there.
    """
    if config.run != "run":
        raise Failure(f"mesh.toml has run = {config.run!r}, but supervisor.conf keeps its files in run/; leave it out")
    _make(config.source_dir)
    probe = config.source_dir / ".writable"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Failure(f"the data folder {config.source_dir} cannot be written: {refusal(error, config.source_dir)}") from None
    check_room(config)
    check_port(config)
    check_cores(config)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failure(f"the folder {folder} cannot be made: {refusal(error, folder)}") from None


def _end_of_log(config: Config) -> int:
    try:
        return LogReader(config.log_dir).last
    except LogError as error:
        raise Failure(str(error)) from None


@dataclass
class Observed:
    """The counts of events in the log by kind, and the newest health of executor and exchange."""

    executor: str
    own: OwnEvents = field(default_factory=lambda: OwnEvents("", 0))
    counts: Counter[int] = field(default_factory=Counter)
    earlier: Counter[int] = field(default_factory=Counter)  # what of them was there when everything had been seen
    beats: dict[str, dict[str, Any]] = field(default_factory=dict)
    exchanges: set[int] = field(default_factory=set)  # pids that the exchange has had

    def take(self, tail: Tail) -> None:
        """Reads the log's new events."""
        try:
            while batches := tail.read():
                for batch in batches:
                    for event in self.own.of(events(batch.body)):
                        self.counts[event.kind] += 1
                        if event.kind == Kind.health and event.subject in (self.executor, "exchange"):
                            self.beats[event.subject] = event.map()
        except LogError as error:
            raise Failure(str(error)) from None

    @property
    def recent(self) -> Counter[int]:
        """The counts since everything had been seen: rates are made of them."""
        return self.counts - self.earlier

    def cannot_trade(self) -> dict[str, str]:
        """Instruments on which the executor has sent nothing and will send nothing, each with why, by its refusals.

        Under "all" why that is so of each: the kill switch, or no strategy that is live.
        """
        out = {}
        beat = self.beats.get(self.executor, {})
        if beat.get("kill_switch", {}).get("on"):
            return {"all": f"the kill switch is on: {beat['kill_switch']['why']}; `mesh kill-switch off` lifts it"}
        states = {name: one["state"] for name, one in beat.get("strategies", {}).items() if one["state"]}
        if states and "live" not in states.values():
            return {"all": "no strategy is live: " + ", ".join(f"{name} is {state}" for name, state in states.items())}
        for subject, one in beat.get("positions", {}).items():
            refused = {reason: count for reason, count in one["refused"].items() if reason in SIZES}
            if refused and not one["intents"]:
                out[subject] = ", ".join(f"{count} refused for {reason}" for reason, count in sorted(refused.items()))
        return out

    @property
    def no_trading(self) -> bool:
        """Whether the executor can trade none of its instruments."""
        cannot = self.cannot_trade()
        return "all" in cannot or bool(cannot) and len(cannot) >= self.beats[self.executor]["instruments"]


def _watch(
    config: Config, survey: Survey | None, own: OwnEvents, after: int, deadline: float, wanted: tuple[Kind, ...]
) -> tuple[Observed, float]:
    """Reads the log beyond `after` until it has every wanted kind: (what RATES_S more have shown, how long they were)."""
    seen = Observed("executor", own)
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
                check_still_there(config.root, client)
            _exchange_lives(config, seen, missing, client)
            if survey and (config.exchange_dir / sources.ENDED).exists() and not _missing_in_all(config, wanted):
                break  # it was over before we looked, or an earlier run had all but its end
            if line is not None:
                line.update(f"waiting for {', '.join(missing)}")
            time.sleep(LOOK_S)
        seen.earlier = seen.counts.copy()
        begun = time.monotonic()
        time.sleep(RATES_S)
        seen.take(tail)
        _exchange_lives(config, seen, [], client)
        return seen, time.monotonic() - begun


def required_kinds(config: Config, survey: Survey | None = None, bad_models: Collection[str] = ()) -> tuple[Kind, ...]:
    """The kinds of events that have to flow in this configuration before the mesh is up; nothing of models that cannot run."""
    if survey:
        return tuple(kind for kind in MARKET if kind.name in survey.kinds())
    able = [model for model in config.models if model.name not in bad_models and not model.features]  # that give signals
    if not able or config.mode != "sim":
        return MARKET
    models_trade = any(
        {one.subject for one in config.traded_by(strategy)}.intersection(config.subjects(model.instruments))
        for strategy in config.strategies_resolved
        for model in able
        if any(fnmatchcase(model.name, pattern) for pattern in strategy.models)
    )
    return (*MARKET, Kind.signal, *(TRADING if config.executor.enabled and models_trade else ()))


def _missing(seen: Observed, tail: Tail, wanted: tuple[Kind, ...]) -> list[str]:
    seen.take(tail)
    missing = [kind for kind in wanted if not seen.counts[kind]]
    if set(missing) <= set(TRADING) and seen.no_trading:
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
    with contextlib.suppress(ForeignExchange):  # until this mesh's own has begun
        if pid := exchange_pid(config):
            seen.exchanges.add(pid)
    if len(seen.exchanges) > DEATHS_MAX:
        what = f"the local exchange dies again and again ({len(seen.exchanges)} processes so far)"
        raise Failure(f"{what}: {_what_is_missing(config, missing or ['end of that'], client)}")


def _silent(config: Config, missing: list[str]) -> Failure:
    """What a mesh that writes nothing is to be told of: its processes, and what they wrote last."""
    with contextlib.closing(Supervisord(config.root / "run")) as client:
        return Failure(_what_is_missing(config, missing, client))


def _what_is_missing(config: Config, missing: list[str], client: Supervisord) -> str:
    lines = [f"no {', no '.join(missing)} in the log yet. What runs goes on; `mesh status` shows it."]
    with contextlib.suppress(Away, ShuttingDown):
        for process in client.processes():
            if process["state"] == ProcessStates.RUNNING and process["now"] - process["start"] > 5:
                continue
            said = last_line(config.root, process["name"])
            lines.append(f"  {process['name']}: {process['statename']}, last said: {said}")
    return "\n".join([*lines, f"  logs: {config.root / 'run' / 'logs'}"])
