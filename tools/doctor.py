"""`mesh doctor`: machine, installation and folder, each thing with how it is, what is allowed and what to do."""

import time
from pathlib import Path

from rich.table import Table

from tickmesh.bus.config import ConfigError
from tickmesh.tools.diagnosis import folder, installation, machine, machine_checks
from tickmesh.tools.diagnosis.check import FAIL, OK, WARN, Check, worst
from tickmesh.tools.diagnosis.folder_checks import CHECKS
from tickmesh.tools.diagnosis.hot_path import latency
from tickmesh.tools.diagnosis.left_over import left_over
from tickmesh.tools.terminal import JsonObject, out

EXIT_CODES = {OK: 0, WARN: 1, FAIL: 2}
COLOURS = {OK: "green", WARN: "yellow", FAIL: "bold red"}
TMPFS = Path("/dev/shm")


def doctor() -> JsonObject:
    """Looks at everything; gives what `--json` prints. Nothing is changed; takes a second or two."""
    begun = time.monotonic()
    try:
        mesh = folder.look_at()
    except ConfigError:
        mesh = None
    config = None if mesh is None else mesh.config
    needs = machine_checks.ANY
    checks: list[Check] = []
    if mesh is None:
        checks.append(Check("mesh", OK, "no mesh.toml here or above: machine and libraries alone are looked at", "any folder"))
    if config is not None:
        try:
            needs = machine_checks.needs_of(config)
        except ConfigError:
            pass  # `config` says it
    tmpfs = TMPFS if config is None else config.outbox_dir.parent
    checks += machine_checks.judged(machine.read_machine(tmpfs), needs)
    checks += installation.libraries()
    if mesh is not None:
        checks += [one for look in (*CHECKS, latency, left_over) for one in look(mesh)]
    return {
        "verdict": worst(checks),
        "folder": None if mesh is None else str(mesh.root),
        "checks": [one._asdict() for one in checks],
        "seconds": round(time.monotonic() - begun, 2),
    }


def show(result: JsonObject) -> None:
    """Prints what is not as it should be, each with what to do, above what is."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for one in result["checks"]:
        if one["grade"] == OK:
            table.add_row(f"[{COLOURS[OK]}]ok[/]", one["name"], one["seen"].replace("[", "\\["))
    out.print(table)
    troubles = [one for one in result["checks"] if one["grade"] != OK]
    for one in sorted(troubles, key=lambda one: one["grade"] == FAIL):
        out.print(f"{one['grade']}  {one['name']}: {one['seen']}", style=COLOURS[one["grade"]], markup=False)
        out.print(f"      allowed: {one['allowed']}", markup=False)
        out.print(f"      {one['do']}", markup=False)
    counts = {grade: sum(one["grade"] == grade for one in result["checks"]) for grade in EXIT_CODES}
    where = f" ({result['folder']})" if result["folder"] else ""
    out.print(f"{counts[OK]} ok, {counts[WARN]} warn, {counts[FAIL]} fail, in {result['seconds']} s{where}", markup=False)
