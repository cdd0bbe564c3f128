"""One sweep of orders: a mesh that trades is struck as planned, settles, is stopped in order, and judged by the exchange's
ledger."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tickmesh.bus.log import LogReader
from tickmesh.tools.chaos.course import describe, judged_by, kept_or_gone, place_of, progress
from tickmesh.tools.chaos.figures import quantiles
from tickmesh.tools.chaos.orders_coda import SHOWN_S, TIMES, Scene, coda, unhosted
from tickmesh.tools.chaos.orders_figures import PATHS, OrderFigures
from tickmesh.tools.chaos.orders_plan import guests_of, on_host, plan, sessions_of
from tickmesh.tools.chaos.orders_settings import STRATEGIES, SYMBOLS, VENUES, order_settings
from tickmesh.tools.chaos.plan import Strike, length_s
from tickmesh.tools.chaos.sweep_mesh import HOST, SweepMesh
from tickmesh.tools.terminal import Failure, JsonObject, out

SETTLE_S = 60.0  # for what is Unknown, orders beyond their time, and the executor's health about the last fill
LOOK_S = 0.2
QUIET_S = 2.5  # so long nothing is open and nothing was filled before the sweep's mesh is stopped
STOP_S = 5.0  # what the session may take to stop
STOPS = 5  # so often at most, until one found an order to cancel
# What the judge must have looked at: a verdict about nothing is none.
LOOKED_AT = (
    "orders_checked", "fills_checked", "balances_checked", "requests_checked", "lives_checked", "windows_checked",
    "limits_checked", "limits_in_all_checked", "strategies_checked", "parents_checked", "children_checked", "amends_checked",
)  # fmt: skip

NONE_LEFT = ("intents_without_end", "orders_working", "parents_not_compared")  # counts that are no faults elsewhere


def chaos_of_orders(kills: int, seed: int, folder: Path | None = None, venues: Sequence[str] = VENUES) -> JsonObject:
    """Runs one sweep; gives the result as `--json` prints it. Raises Failure when the mesh could not even be run."""
    guests = guests_of(seed, venues)
    mesh = SweepMesh(place_of(folder), order_settings(seed, venues, bool(guests)), guests=guests)
    return kept_or_gone(mesh, folder, lambda: _run(mesh, on_host(plan(kills, seed, venues), guests), seed, venues))


def _run(mesh: SweepMesh, strikes: list[Strike], seed: int, venues: Sequence[str]) -> JsonObject:
    begun, wrong, stopped_s, scenes = time.monotonic(), [], 0.0, coda(venues, mesh.guests)
    coda_strikes = [one for scene in scenes for one in scene.strikes]
    with progress(len(strikes) + len(coda_strikes), length_s(strikes) + sum(length_s(one.strikes) for one in scenes)) as step:
        try:
            step("up", 0)
            mesh.up()
            step("striking", 0)
            mesh.strike(strikes, lambda one: step(describe(one), 1))
            mesh.end_faults()
            _play(mesh, scenes, step)
            stopped_s = _stop_while_it_trades(mesh, (HOST,) if mesh.guests else sessions_of(venues), step)
            step("settling", 0)
            if left := _settle(mesh):
                wrong.append(
                    f"{len(left)} orders and parents were not over after {SETTLE_S:.0f} s under the kill switch: {left[:3]}"
                )
        except Failure as error:  # what it stored is judged all the same
            wrong.append(str(error))
        step("down", 0)
        mesh.down()
        step("judging", 0)
        figures = OrderFigures().read(LogReader(mesh.config.log_dir).events())
        against = ("--settled", "--against", str(mesh.config.exchange_dir))
        with ThreadPoolExecutor() as pool:  # each verdict is found in a process of its own
            alone, ledger = pool.submit(judged_by, mesh), pool.submit(judged_by, mesh, *against)
            judged = {"alone": alone.result(), "ledger": ledger.result()}
    used = {name: figures.paths[name] for name in unhosted(PATHS, mesh.guests)}
    wrong += _missed(judged, figures, used, venues)
    if stopped_s > STOP_S:
        wrong.append(f"the session took {stopped_s:.1f} s to stop; it may take {STOP_S:g} s")
    return {
        "ok": not wrong and all(verdict["ok"] for verdict in judged.values()),
        "seed": seed,
        "kills": len(mesh.kills),
        "killed": {name: sum(kill.name == name for kill in mesh.kills) for name in sorted({one.name for one in mesh.kills})},
        "faults": mesh.faults,
        "seconds": round(time.monotonic() - begun, 1),
        "ready_s": quantiles([kill.ready_s for kill in mesh.kills if kill.ready_s is not None]),
        "stopped_s": round(stopped_s, 2),
        "host": list(mesh.guests),
        "strategies": list(STRATEGIES),
        "paths": used,
        "styles": dict(figures.styles),
        "parents_ended": dict(figures.ends),
        "states": dict(figures.statuses),
        "fills": dict(figures.fills),
        "judged": judged,
        "wrong": wrong,
    }


def _missed(judged: dict[str, JsonObject], figures: OrderFigures, used: dict[str, int], venues: Sequence[str]) -> list[str]:
    """What the judge found, and what has to have happened in a sweep and did not."""
    ledger = judged["ledger"]
    return [
        *(f"{name}: {sentence}" for name, verdict in judged.items() for sentence in verdict["sentences"]),
        *(f"recovery path {name} was never used" for name, times in sorted(used.items()) if not times),
        *(f"nothing was judged: {what} is 0" for what in LOOKED_AT if not ledger.get(what)),
        *(f"{what} is {ledger[what]}" for what in NONE_LEFT if ledger.get(what)),
        *(f"nothing was traded on {venue}.{symbol}" for venue in venues for symbol in SYMBOLS
          if not figures.fills[f"{venue}.{symbol}"]),
        *(f"no parent of style {style} was filled" for style, parents in sorted(figures.styles.items()) if not parents),
    ]  # fmt: skip


def _play(mesh: SweepMesh, scenes: Sequence[Scene], step: Callable[[str, int], None]) -> None:
    """Plays the scenes of the coda one after the other, each on a mesh that is whole.

    A scene is played again where the log shows that the paths to which it leads were never used: on a machine that is busy a
    process may have needed all of its time to begin. So no sweep depends on its machine's speed, or on luck.
    """
    log = GrowingFigures(mesh)
    for scene in scenes:
        for _ in range(TIMES):
            mesh.strike(scene.strikes, lambda one: step(describe(one), 1))
            mesh.end_faults()
            deadline = time.monotonic() + SHOWN_S
            while (missing := log.unused(scene.paths)) and time.monotonic() < deadline:
                time.sleep(LOOK_S)
            if not missing:
                break


class GrowingFigures:
    """The figures of a log that grows."""

    def __init__(self, mesh: SweepMesh):
        self.figures = OrderFigures()
        self._reader = LogReader(mesh.config.log_dir)
        self._seq = 0

    def read(self) -> OrderFigures:
        """Takes in what has come, and gives the figures."""
        for event in self._reader.events(self._seq):
            self.figures.take(event)
            self._seq = event.seq
        return self.figures

    def unused(self, paths: Sequence[str]) -> list[str]:
        """Which of these recovery paths were not used yet."""
        used = self.read().paths if paths else {}
        return [name for name in paths if not used[name]]


def _stop_while_it_trades(mesh: SweepMesh, sessions: Sequence[str], step: Callable[[str, int], None]) -> float:
    """Stops all sessions, and starts them again, when an order is open; gives the seconds that the slowest stop took.

    Again where nothing was left to be cancelled at that moment: an order may fill before the stop arrives.
    """
    log, slowest_s = GrowingFigures(mesh), 0.0
    for _ in range(STOPS):
        deadline = time.monotonic() + SHOWN_S
        while not log.read().open and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        step("stop the sessions", 0)
        slowest_s = max(slowest_s, _stop_and_start(mesh, sessions))
        if not log.unused(("cancelled_at_stop",)):
            break
    return slowest_s


def _stop_and_start(mesh: SweepMesh, sessions: Sequence[str]) -> float:
    """Stops each session in order, and starts it again; gives the seconds that the slowest stop took."""

    def stop(name: str) -> float:
        before, begun = mesh.ready_pid(name), time.monotonic()
        mesh.supervisorctl("stop", name)
        took_s = time.monotonic() - begun
        mesh.supervisorctl("start", name)
        for one in (name, *(mesh.guests if name == HOST else ())):
            mesh.await_ready(one, before)
        return took_s

    with ThreadPoolExecutor() as pool:  # each of an account of its own
        return max(pool.map(stop, sessions))


def _settle(mesh: SweepMesh) -> list[str]:
    """Throws the kill switch, and waits until every order is over and the executor has said so; gives what is not."""
    mesh.command("kill-switch", "on", "--why", "the end of the sweep", timeout_s=60)
    log = GrowingFigures(mesh)
    deadline = time.monotonic() + SETTLE_S
    quiet_since, fills = time.monotonic(), -1
    while time.monotonic() < deadline:
        figures = log.read()
        total = sum(figures.fills.values())
        if figures.open or total != fills:
            quiet_since, fills = time.monotonic(), total
        elif time.monotonic() - quiet_since > QUIET_S:
            return []
        time.sleep(LOOK_S)
    return sorted(log.figures.open)


def show(result: JsonObject) -> None:
    """Prints a sweep's result for a person."""
    killed = ", ".join(f"{name} {count}" for name, count in result["killed"].items())
    out.print(
        f"{result['kills']} kills ({killed}), {result['faults']} venue faults, seed {result['seed']}, {result['seconds']} s"
    )
    if result["host"]:
        out.print(f"  one process runs the sequencer, {', '.join(result['host'])}")
    times = "  ".join(f"{q} {s * 1000:.0f} ms" for q, s in result["ready_s"].items())
    out.print(f"  kill → process ready: {times or 'no kill'}; the session stopped in {result['stopped_s']:.1f} s")
    for name, used in result["paths"].items():
        out.print(f"  recovery path {name:<24} used {used} times")
    out.print("  parents filled: " + ", ".join(f"{style} {count}" for style, count in result["styles"].items()))
    ledger = result["judged"]["ledger"]
    sent, balances = ledger.get("requests_checked", 0), ledger.get("balances_checked", 0)
    out.print(
        f"  judged by the exchange's ledger: {sent} orders sent, {ledger.get('sent_twice', 0)} twice, "
        f"{ledger.get('order_orphaned', 0) + ledger.get('order_unknown', 0)} orphaned, "
        f"{ledger.get('fills_checked', 0)} fills, {balances} balances"
    )
    for subject, one in ledger.get("account", {}).items():
        out.print(f"  position {subject} {json.dumps(one)}", markup=False)
    for sentence in result["wrong"]:
        out.print(f"  ! {sentence}", markup=False)
    if "folder" in result:
        out.print(f"  the mesh's folder was kept: {result['folder']}")
    out.print("ok: all of it held." if result["ok"] else "NOT ok.")
