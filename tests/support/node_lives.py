"""Two lives of one node under a real supervisord: one that begins as a copy of it, and one that begins anew."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import load
from tickmesh.nodes.supervision.presence import processes_of
from tickmesh.tools.running import ready_pid

# PYTHONHASHSEED is read when an interpreter begins: a program with one of its own does.
PROGRAMS = """
[program:{name}]
command=.venv/bin/python -m tickmesh.nodes {words}
environment=TICKMESH_SETTINGS="{name}"{more}
autostart=false
autorestart=false
startsecs=0
redirect_stderr=true
stdout_logfile=/proc/self/cwd/run/logs/{name}.log
"""
BOUND_S = 60.0


class Life(NamedTuple):
    facts: dict[str, object]  # what the kernel shows of it, and how it ends
    private_kb: int  # pages that it alone has, and has written


def until(condition, what: str):
    deadline = time.monotonic() + BOUND_S
    while not (got := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return got


def lives(root: Path) -> tuple[Life, Life]:
    """(a copy, one that began anew) of a sequencer in this folder."""
    (root / "run/logs").mkdir(parents=True)
    table = ""
    for name, more in (("copy", ""), ("anew", ',PYTHONHASHSEED="0"')):
        table += PROGRAMS.format(name=name, words="sequencer", more=more)
        table += PROGRAMS.format(name=f"{name}-wrong", words="sequencer gateway", more=more)
    (root / "run/processes.conf").write_text(table)
    subprocess.run([".venv/bin/supervisord", "-c", "supervisor.conf"], cwd=root, check=True)
    return life(root, "copy"), life(root, "anew")


def life(root: Path, name: str) -> Life:
    """Starts a program, looks at it when it works, and ends it."""
    ctl(root, "start", name)
    pid = until(lambda: next((one for one in processes_of(root) if one == ready_pid(root, "sequencer")), 0), f"{name} is ready")
    proc = Path(f"/proc/{pid}")
    status = dict(re.findall(r"^(Sig\w+|Umask|Name|Uid|NoNewPrivs):\s*(.*)$", (proc / "status").read_text(), re.MULTILINE))
    words = (proc / "environ").read_bytes().split(b"\0")
    facts: dict[str, object] = {
        "cmdline": [word.decode() for word in (proc / "cmdline").read_bytes().split(b"\0") if word],
        "program": os.readlink(proc / "exe"),
        "folder": os.readlink(proc / "cwd"),
        "by supervisord": b"SUPERVISOR_ENABLED=1" in words,
        "leads its group": os.getpgid(pid) == pid,
        "session": os.getsid(pid) == os.getsid(int((root / "run/supervisord.pid").read_text())),
        "files": sorted({re.sub(r"\[\d+\]|\d+", "", os.readlink(one)) for one in (proc / "fd").iterdir()}),
        "threads": len(list((proc / "task").iterdir())),
        **{field: value for field, value in status.items() if not field.startswith(("SigQ", "SigPnd"))},
    }
    rollup = (proc / "smaps_rollup").read_text()
    private_kb = int(rollup.partition("Private_Dirty:")[2].split()[0])
    ctl(root, "stop", name)
    ctl(root, "start", f"{name}-wrong")
    exits = [until(lambda one=one: exit_code(root, one), f"{one} has ended") for one in (name, f"{name}-wrong")]
    said = (load(root).root / f"run/logs/{name}.log").read_text()
    facts["says"] = re.findall(r"^\S+ (\w+ sequencer: \w+)", said, re.MULTILINE)
    facts["usage"] = (root / f"run/logs/{name}-wrong.log").read_text()
    return Life(facts | {"exit codes": exits}, private_kb)


def ctl(root: Path, *words: str) -> str:
    done = subprocess.run(
        [".venv/bin/supervisorctl", "-c", "supervisor.conf", *words], cwd=root, capture_output=True, text=True
    )
    return done.stdout


def exit_code(root: Path, name: str) -> str:
    """The code with which a program has ended last; "" while it runs."""
    found = re.findall(rf"(?:exited|stopped): {name} \((?:exit status (\d+)|.*)\b", (root / "run/supervisord.log").read_text())
    return found[-1] if found else ""
