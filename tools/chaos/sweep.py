"""One sweep: start a mesh, strike it as planned, let it settle, end it, judge what it stored against the exchange's ledger."""

import json
import time
from pathlib import Path
from typing import Any

from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.nodes.process_table import name_of, nodes_of
from tickmesh.tools.chaos.course import describe, judged_by, kept_or_gone, place_of, progress
from tickmesh.tools.chaos.figures import Figures
from tickmesh.tools.chaos.market import instruments_of
from tickmesh.tools.chaos.market_settings import market_settings, standing_faults
from tickmesh.tools.chaos.plan import (
    USDM_FEEDS,
    VICTIMS,
    Strike,
    coda,
    is_hosting,
    length_s,
    on_host,
    plan,
    required_paths,
    without_eras,
)
from tickmesh.tools.chaos.recovery import recovery, show_recovery
from tickmesh.tools.chaos.sweep_mesh import SweepMesh
from tickmesh.tools.judge import exchange_ledger
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

SETTLE_S = 90.0  # for the last repairs, and snapshots that wait for the venue's next minute
SETTLE_OFF_S = 10.0  # when what would repair is switched off
QUIET_S = 2.0  # so long nothing is open before the sweep ends
KILLS_AN_ORDER = 10  # it orders about once a kill; a tenth of that is asked for

HOSTED = ["feed-1", "model", "executor", "session"]  # where the seed chooses that

# What can be switched off, to see that the sweep notices: name → settings of the mesh.
SWITCHES: dict[str, dict[str, Any]] = {
    "outbox": {"outbox_read": False},  # the sequencer does not read from a file what a ring has lost
    "spill": {"outbox_spill": False},  # an outbox stays in RAM, and takes nothing when that is full
    "log": {"log_read": False},  # nor do the readers of the log
    "numbers": {"check_numbers": False},  # the sequencer takes whatever comes
    "backfill": {"backfill": False},
    "resync": {"resync": False},
    "line": {"lines": 1},
    "renewal": {"renew": False},  # connections live until the venue ends them
    "respawn": {"respawns": 0},  # the dead wait for supervisord's second
    "contradiction": {"contradictions": False},  # an id is believed whatever comes after it
    "era": {"eras": False},  # lower ids are copies, for ever
    "unsynced": {"unsynced": False},  # changes of a book that has no snapshot are not published
    "clock": {"steady_clock": False},  # seq_ns is the larger of the wall clock and its last value
    "unknown": {"check_instruments": False},  # nobody asks the venue whether it knows an instrument
}

ERAS_UPTO = 2  # instruments of a sweep in which ids begin anew


def chaos(kills: int, seed: int, off: str = "", folder: Path | None = None, instruments: int = 2) -> JsonObject:
    """Runs one sweep; gives the result as `--json` prints it. Raises Failure when the mesh could not even be run."""
    if off and off not in SWITCHES:
        raise UsageFailure(f"--off {off}: there is {', '.join(SWITCHES)}")
    hosting = is_hosting(seed) and off != "line"  # without the other line there would be none to compare with
    place = place_of(folder)
    listed = instruments_of(instruments)
    settings = market_settings(seed, {**(SWITCHES[off] if off else {}), "host": HOSTED if hosting else []}, listed)
    mesh = SweepMesh(place, settings, standing_faults(), listed)
    there = {name_of(*one) for one in nodes_of(mesh.config)}  # without what is switched off
    victims = [name for name in (*VICTIMS, *USDM_FEEDS) if name in there]
    strikes, last = plan(kills, seed, victims), coda(victims)
    if hosting:
        strikes, last = on_host(strikes), on_host(last)
    if instruments > ERAS_UPTO:
        strikes, last = without_eras(strikes), without_eras(last)
    return kept_or_gone(mesh, folder, lambda: _run(mesh, strikes, last, seed, off))


def _run(mesh: SweepMesh, strikes: list[Strike], last: list[Strike], seed: int, off: str) -> JsonObject:
    begun = time.monotonic()
    settled, wrong, anew_seq = False, [], 0
    with progress(len(strikes) + len(last), length_s(strikes) + length_s(last)) as step:

        def note_strike(one: Strike) -> None:
            nonlocal anew_seq
            step(describe(one), 1)
            if one.fault.get("kind") == "anew":
                anew_seq = LogReader(mesh.config.log_dir).last

        try:
            step("up", 0)
            mesh.up()
            step("striking", 0)
            for some in (strikes, last):
                mesh.strike(some, note_strike)
            step("settling", 0)
            mesh.end_faults()
            mesh.set_tmpfs(full=False)
            settled = _settle(mesh, anew_seq, SETTLE_OFF_S if off else SETTLE_S)
        except Failure as error:  # a mesh that does not come up or back has failed; what it stored is judged all the same
            wrong.append(str(error))
        step("down", 0)
        mesh.down()
        step("judging", 0)
        figures = Figures(mesh.kills, mesh.full[-1:]).read(LogReader(mesh.config.log_dir).events())
        judged = {"alone": judged_by(mesh), "ledger": judged_by(mesh, "--against", str(mesh.config.exchange_dir))}
    shown = figures.as_dict() | recovery(mesh, figures)
    wanted = required_paths(strikes) - (set() if any(one.fault.get("kind") == "anew" for one in last) else {"era"})
    unused = [name for name in sorted(wanted) if not shown["paths"][name]]
    wrong += [f"{name}: {sentence}" for name, verdict in judged.items() for sentence in verdict["sentences"]]
    wrong += [f"recovery path {name} was never used" for name in unused]
    wrong += figures.pace.wrong
    wrong += [_stood_still(window) for window, events in figures.full.items() if not events]
    wrong += _ends(mesh)
    wrong += _looked_at(judged["alone"], judged["ledger"], len(strikes) // KILLS_AN_ORDER)
    if not settled:
        wrong.append(
            f"{figures.still_open} ids were neither repaired nor declared missing in the end, or a book was not in step"
        )
    return {
        "ok": not wrong and all(verdict["ok"] for verdict in judged.values()),
        "seed": seed,
        "off": off,
        "host": list(mesh.config.host),
        "faults": mesh.faults,
        "clock_faults": mesh.clock_faults,
        "seconds": round(time.monotonic() - begun, 1),
        **shown,
        "judged": judged,
        "wrong": wrong,
    }


def _stood_still(window: tuple[int, int]) -> str:
    seconds = (window[1] - window[0]) / 1e9
    return f"no event of the market was logged for {seconds:.1f} s, as long as the tmpfs of the outboxes was full"


def _looked_at(alone: JsonObject, ledger: JsonObject, least_orders: int) -> list[str]:
    """A verdict that looked at nothing is none, and a mesh that stopped trading soon has shown little."""
    wrong = []
    if ledger.get("orders_checked", 0) < least_orders:
        wrong.append(f"{ledger.get('orders_checked', 0)} orders were judged, of {least_orders} at least")
    if alone.get("archived_seq") != alone.get("last_seq"):
        wrong.append(f"the archive ends with seq {alone.get('archived_seq')}, the log with {alone.get('last_seq')}")
    if alone.get("coverage_not_judged"):
        wrong.append(f"{alone['coverage_not_judged']} instruments have archive files without a coverage ledger")
    by_ledger = (
        "trades", "quotes_checked", "depth_checked", "books_checked", "coverage_ids", "coverage_books", "orders_checked",
        "fills_checked",
    )  # fmt: skip
    for verdict, counts in (
        (alone, ("coverage_said", "coverage_checked", "recent_events", "compared_with_log")),
        (ledger, by_ledger),
    ):
        wrong += [f"nothing was judged: {what} is 0" for what in counts if not verdict.get(what)]
    return wrong


def _settle(mesh: SweepMesh, anew_seq: int, patience_s: float) -> bool:
    """Waits until no gap has been open for QUIET_S, and every book is in step: in the era that the venue began last, after
    `anew_seq` of the log. Until that is noticed, the old one looks whole."""
    reader = LogReader(mesh.config.log_dir)
    figures = Figures([])
    seq, quiet_since = 0, time.monotonic()
    traded = {one.subject for one in mesh.instruments if not one.silent}
    behind, out_of_step = set(traded) if anew_seq else set(), set(traded)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for event in reader.events(seq):
            figures.take(event)
            seq = event.seq
            if event.kind == Kind.depth:
                if event.flags & Flag.RESET and seq > anew_seq:
                    behind.discard(event.subject)
                (out_of_step.add if event.flags & Flag.UNSYNCED else out_of_step.discard)(event.subject)
        if figures.still_open or behind or out_of_step:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > QUIET_S and not _ends(mesh):
            return True
        time.sleep(0.2)
    return False


def _ends(mesh: SweepMesh) -> list[str]:
    """A mesh that has recovered ends with what it can prove: the ledger of trades without a hole, every book in step."""
    shown = json.loads(mesh.command("coverage", "--json", timeout_s=120))
    silent = [one.subject for one in mesh.instruments if one.silent]
    wrong = []
    if silent != shown["unheard"]:
        wrong.append(f"{silent} are halted and unknown; coverage names {shown['unheard']} as what was never heard")
    for stream in shown["streams"]:
        if stream["subject"] in silent:
            continue
        where = f"{stream['kind']}.{stream['subject']}"
        last = stream["intervals"][-1] if stream["intervals"] else {"state": "absent", "first_id": 0, "reason": "no snapshot"}
        lost = [one for one in stream["intervals"] if one["state"] == "missing" and one["reason"] != "reset"]
        if stream["kind"] == "trade" and lost:
            ids = sum(one["last_id"] - one["first_id"] + 1 for one in lost) - _off_book(mesh, stream["subject"], lost)
            if ids:
                wrong.append(f"{where}: {ids} ids are missing in the end, though the venue has them all")
        if stream["kind"] == "depth" and last["state"] != "complete":
            wrong.append(f"{where}: the book was not in step any more after id {last['first_id']}: {last['reason']}")
    return wrong


def _off_book(mesh: SweepMesh, subject: str, intervals: list[JsonObject]) -> int:
    """How many ids of the intervals are of trades off the book, which REST has not: who did not hear them cannot ask."""
    truth = exchange_ledger.read_contents(mesh.config.exchange_dir, Findings())
    ids = {
        number for name, eras in truth.eras.items() if exchange_ledger.subject_of(name) == subject
        for era in eras for number in era.off_book
    }  # fmt: skip
    return sum(one["first_id"] <= number <= one["last_id"] for one in intervals for number in ids)


def show(result: JsonObject) -> None:
    """Prints a sweep's result for a person."""
    killed = ", ".join(f"{name} {count}" for name, count in sorted(result["killed"].items()))
    out.print(
        f"{result['kills']} kills ({killed}), {result['faults']} venue faults, {result['clock_faults']} of the clock, "
        f"seed {result['seed']}, {result['seconds']} s"
    )
    if result["host"]:
        out.print(f"  one process runs the sequencer, {', '.join(result['host'])}")
    for name, what in (("next_event_s", "kill → next market event in the log"), ("ready_s", "kill → process ready")):
        times = "  ".join(f"{q} {s * 1000:.0f} ms" for q, s in result[name].items())
        out.print(f"  {what:<38} {times or 'no kill'}")
    show_recovery(result)
    for name, used in result["paths"].items():
        out.print(f"  recovery path {name:<24} used {used} times")
    ledger = result["judged"]["ledger"]
    out.print(f"  judged by the exchange's ledger: {ledger.get('trades', 0)} trades, {ledger.get('lost', 0)} lost, "
              f"{ledger.get('duplicated', 0)} doubled, {ledger.get('different', 0)} different")  # fmt: skip
    for sentence in result["wrong"]:
        out.print(f"  ! {sentence}")
    if "folder" in result:
        out.print(f"  the mesh's folder was kept: {result['folder']}")
    out.print("ok: all of it held." if result["ok"] else "NOT ok.")
