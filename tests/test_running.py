"""How tests are run: what takes long begins early, machine code is kept in one folder, and a command leaves nothing behind."""

import logging
import os
import signal
import sys
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numba
import pytest

from tests.support.command_run import mesh_here
from tests.support.long_first import long_first
from tests.support.places import PROJECT
from tests.support.process_state import process_kept
from tests.support.source_trees import hash_of, sources
from tickmesh.bus import clock, operator_log
from tickmesh.bus.config import load

LONG = 36  # tests, in files of three, each with a short one


@pytest.mark.parametrize("workers", [1, 3, 4])
def test_every_worker_has_its_share_of_long_tests_early(workers):
    worksteal = pytest.importorskip("xdist.scheduler.worksteal")
    modules = [f"a{i // 7}" for i in range(300)] + [f"mesh{i // 4}" for i in range(48)] + [f"z{i // 9}" for i in range(602)]
    is_long = [module.startswith("mesh") and place % 4 != 1 for place, module in enumerate(modules)]
    assert sum(is_long) == LONG
    order = long_first(modules, is_long, workers)
    assert sorted(order) == list(range(len(modules))), "each test once"

    given: dict[int, list[int]] = {}
    scheduler = worksteal.WorkStealingScheduling(SimpleNamespace(getvalue=lambda _: ["popen"] * workers))
    for number in range(workers):
        node = Mock(gateway=SimpleNamespace(id=number), shutting_down=False)
        node.send_runtest_some = lambda places, number=number: given.setdefault(number, []).extend(places)
        scheduler.add_node(node)
        scheduler.add_node_collection(node, [str(place) for place in order])
    scheduler.schedule()
    assert len(given) == workers
    for worker, places in given.items():
        mine = [order[place] for place in places]
        early, late = mine[: len(mine) * 5 // 8], mine[len(mine) * 5 // 8 :]
        assert sum(is_long[place] for place in early) == LONG // workers, "its share of long ones"
        assert len({modules[place] for place in early if is_long[place]}) == 12 // workers, "whole files"
        assert not any(is_long[place] for place in late), "none is left at the end"
        assert modules[mine[0]].startswith("mesh") == (worker % 2 == 0), "not all at once"
        longest = max(len(list(same)) for long, same in groupby(mine, lambda place: modules[place].startswith("mesh")) if long)
        assert longest == 4, "short ones between one file and the next"
    runs = [module for module, _ in groupby(order, lambda place: modules[place])]
    assert len(runs) <= len(set(runs)) + workers, "files are whole, but where one worker's part ends"
    short = [place for place in order if not modules[place].startswith("mesh")]
    assert short == sorted(short), "the others as they were collected"


@pytest.mark.parametrize("few", range(0, 60, 7))
def test_any_choice_of_files_can_be_run(few):
    """Of files with long tests alone, or with few short ones beside them: no worker's share can be filled up with those."""
    files = {"mesh0": (1, 1), "mesh1": (10, 1), "mesh2": (9, 7), "mesh3": (4, 2), "mesh4": (6, 4), "a": (few, 0)}
    modules = [name for name, (size, _) in files.items() for _ in range(size)]
    is_long = [place < count for size, count in files.values() for place in range(size)]
    assert sorted(long_first(modules, is_long, 3)) == list(range(len(modules))), "each test once"


def test_a_command_that_was_run_here_leaves_no_mesh_s_time_behind(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    log = load(tmp_path).log_dir
    log.mkdir(parents=True)
    long_ago = clock.ClockSegment(clock.elapsed_ns(), 1_700_000_000 * clock.SECOND, 0)
    (log / clock.NAME).write_bytes(clock.pack(long_ago, clock.boot_bytes()))
    assert mesh_here(tmp_path, "status", "--json").stdout
    assert clock.now_ns() > 1_720_000_000 * clock.SECOND


def one_of_each() -> dict[str, object]:
    """What this process has one of, and a node that runs in it sets: bus/operator_log.py, uvloop, nodes/models/cache.py."""
    return {
        "Ctrl-C": signal.getsignal(signal.SIGINT), "a stop": signal.getsignal(signal.SIGTERM), "fault": sys.excepthook,
        "lines": [type(one).__name__ for one in logging.getLogger().handlers], "level": logging.getLogger().level,
        "warnings": logging._warnings_showwarning, "clock": clock._process.path, "code": numba.config.CACHE_DIR,
    }  # fmt: skip


def test_what_works_in_the_process_of_tests_leaves_it_as_it_was(tmp_path):
    """Else a Ctrl-C, or a worker's end, went to an event loop that is closed, and lines to a node's log."""
    before = one_of_each()
    with process_kept():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        operator_log.set_up(["a node"])
        clock.follow(tmp_path)
        numba.config.CACHE_DIR = str(tmp_path)
        within = one_of_each()
    assert not [what for what in before if within[what] == before[what] and what != "level"], "all of it was changed"
    assert one_of_each() == before | {"lines": one_of_each()["lines"]}
    assert "LineHandler" not in one_of_each()["lines"]


def test_machine_code_of_changed_sources_is_not_used(tmp_path):
    """Numba looks at the file of a function alone, and not at those of the functions that it calls."""
    assert Path(os.environ["NUMBA_CACHE_DIR"]).parent == PROJECT / ".pytest_cache/kernels" and len(list(sources())) > 300
    paths = [tmp_path / "caller.py", tmp_path / "callee.py"]
    hashes = set()
    for texts in (("a = 1\n", "b = 2\n"), ("a = 1\n", "b = 3\n"), ("a = 1\nb = 2\n", "")):
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        hashes.add(hash_of(paths))
    assert len(hashes) == 3
