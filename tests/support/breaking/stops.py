"""Runs a writer again and again, each time stopped or failing at another of its calls, and then once more to the end.

`python -m tests.support.breaking.stops RUN kill|fail SEED MOST` prints one JSON object: see `Report`. Every trial is a fork of
a process that has imported everything (what a run imports on its way, too) and started nothing, so a trial costs milliseconds.
"""

import contextlib
import importlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.support.breaking.watch import KILLS, Call, Fate, Step, Watch
from tickmesh.bus.process import NodeFault
from tickmesh.bus.segments import LogError
from tickmesh.bus.sockets import OutboxFull

PATIENCE_S = 20.0
SENTENCES = (LogError, OutboxFull, NodeFault)
SENTENCE = 3  # a run that ended itself and said why
FAILS = tuple(
    Step("", 0, fate, lasting)
    for fate, lasting in ((Fate.full, 1), (Fate.broken, 1), (Fate.short, 1), (Fate.full, 7), (Fate.broken, 7))
)


class Acknowledged:
    """Numbers that a run has acknowledged to the world: they survive its end. Unknown names are 0."""

    def __init__(self, names: tuple[str, ...]):
        self._map = mmap.mmap(-1, 8 * len(names))
        self._at = {name: 8 * index for index, name in enumerate(names)}

    def __getitem__(self, name: str) -> int:
        return struct.unpack_from("<Q", self._map, self._at[name])[0]

    def __setitem__(self, name: str, number: int) -> None:
        struct.pack_into("<Q", self._map, self._at[name], number)

    def more(self, name: str, number: int) -> None:
        """Raises a number, never lowers it."""
        self[name] = max(self[name], number)


@dataclass
class Run:
    """A writer that is stopped and run again: what it writes, and what must be there afterwards.

    `work(root, acknowledged)` writes, from nothing to its end or on from where it was, and raises only SENTENCES.
    `check(root, acknowledged)` asserts that all that was acknowledged is there, and all that should be. `watch(watch)` may
    count what happens in C. `prepare(root)` makes what is there before. Sites with a word of `elsewhere` in their name are
    those of another run.
    """

    name: str
    work: Callable[[Path, Acknowledged], None]
    check: Callable[[Path, Acknowledged], None]
    acknowledged: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda root: None
    watch: Callable[[Watch], None] = lambda watch: None
    elsewhere: tuple[str, ...] = ()


@dataclass
class Report:
    """What became of a run's trials. `sites`: calls of each in a run left alone; `failures`: what went wrong, with its step."""

    run: str
    calls: int = 0
    sites: dict[str, int] = field(default_factory=dict)
    trials: int = 0
    killed: int = 0
    finished: int = 0  # runs that went on as if nothing had happened
    sentences: dict[str, int] = field(default_factory=dict)
    missed: int = 0  # steps that did not come in the trial
    failures: list[str] = field(default_factory=list)


def in_fork(work: Callable[[], None], errors: Path) -> int:
    """Runs `work` in a child; gives its exit status: 0, SENTENCE, 1 for any other end by itself, -9 when it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            fd = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(fd, 2)
            work()
            status = 0
        except SENTENCES as error:
            os.write(2, f"{type(error).__name__}: {error}".encode())
            status = SENTENCE
        except BaseException:  # noqa: BLE001 - reported by the parent
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            errors.write_text(f"it did not end within {PATIENCE_S} s; {errors.read_text()}")
            return 1
        time.sleep(0.001)


def dry(run: Run, root: Path) -> list[Call]:
    """Runs a writer that is left alone and must be good; gives its calls. What it has imported on its way is imported here."""
    run.prepare(root)
    acknowledged = Acknowledged((*run.acknowledged, "met"))
    found = root.parent / "calls"

    def work() -> None:
        watch = Watch(root)
        run.watch(watch)
        with watch:
            run.work(root, acknowledged)
        run.check(root, acknowledged)
        found.write_text(json.dumps([watch.calls, [name for name in sys.modules if name not in before]]))

    before = set(sys.modules)

    errors = root.parent / "errors"
    if in_fork(work, errors):
        raise AssertionError(f"{run.name} is not even right when it is left alone: {errors.read_text()}")
    calls, imported = json.loads(found.read_text())
    for name in imported:
        with contextlib.suppress(ImportError):  # a name that a package gives what is no module of its own
            importlib.import_module(name)
    return [Call(*row) for row in calls]


def trial(run: Run, step: Step, root: Path, report: Report) -> None:
    """Runs a writer with `step`, then again left alone: it must end with everything there. Adds to the report."""
    run.prepare(root)
    acknowledged = Acknowledged((*run.acknowledged, "met"))
    errors = root.parent / "errors"

    def work() -> None:
        watch = Watch(root, step)
        run.watch(watch)
        try:
            with watch:
                run.work(root, acknowledged)
        finally:
            acknowledged["met"] = watch.met

    status = in_fork(work, errors)
    errors_logged = errors.read_text()
    report.trials += 1
    if status == -signal.SIGKILL:
        report.killed += 1
    elif status == 0:
        report.finished += acknowledged["met"] > 0
    elif status == SENTENCE:
        kind = errors_logged.partition(":")[0]
        report.sentences[kind] = report.sentences.get(kind, 0) + 1
    else:
        report.failures.append(f"{step}: it ended with status {status}\n{errors_logged}")
        return
    report.missed += status != -signal.SIGKILL and not acknowledged["met"]

    def again() -> None:
        run.work(root, acknowledged)
        run.check(root, acknowledged)

    if in_fork(again, errors):
        report.failures.append(f"{step} (it ended with {status}: {errors_logged[:500]}); afterwards:\n{errors.read_text()}")


def steps_of(calls: list[Call], fails: bool, rng: random.Random, most: int) -> list[Step]:
    """Chooses the steps to try: each site once, in a turn of fates; then others by chance.

    `most` in all; 0: every fate of every call.
    """
    fates = FAILS if fails else tuple(Step("", 0, fate) for fate in KILLS)
    steps = [
        fate._replace(site=call.site, nth=call.nth)
        for call in calls
        for fate in fates
        if fate.fate not in (Fate.inside, Fate.short) or call.op == "write"
    ]
    if not most:
        return steps
    rng.shuffle(steps)
    of_site: dict[str, list[Step]] = {}
    for step in steps:
        of_site.setdefault(step.site, []).append(step)
    must = [min(many, key=lambda step: (turn + fates.index(step._replace(site="", nth=0))) % len(fates))
            for turn, many in enumerate(of_site.values())]  # fmt: skip
    return list(dict.fromkeys(must + steps))[: max(most, len(must))]


def every_step(run: Run, fails: bool, seed: int, most: int) -> Report:
    """Stops a run, or makes it fail, at every chosen step; gives the report."""
    report = Report(run.name)
    base = Path(tempfile.mkdtemp(prefix="tickmesh-stops-", dir=os.environ.get("TICKMESH_TMPFS")))
    try:
        calls = [call for call in dry(run, _fresh(base)) if not any(word in call.site for word in run.elsewhere)]
        report.calls = len(calls)
        for call in calls:
            report.sites[call.site] = report.sites.get(call.site, 0) + 1
        for step in steps_of(calls, fails, random.Random(seed), most):
            before = replace(report, sentences=dict(report.sentences))
            trial(run, step, _fresh(base), report)
            if report.missed > before.missed:  # it may come the next time; failures are kept, in one list
                report = before
                trial(run, step, _fresh(base), report)
            if len(report.failures) >= 5:
                break
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return report


def _fresh(base: Path) -> Path:
    shutil.rmtree(base / "root", ignore_errors=True)
    (base / "root").mkdir()
    return base / "root"


def main(name: str, mode: str, seed: str, most: str) -> None:
    """Prints the report of a run as one JSON object."""
    from tests.support.breaking.runs import RUNS

    print(json.dumps(asdict(every_step(RUNS[name], mode == "fail", int(seed), int(most)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
