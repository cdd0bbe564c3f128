"""The architecture, checked: imports run one way, every node says what it reads and writes, and every node is started."""

import ast
import configparser
import importlib
from pathlib import Path

import pytest

from bus.config import Mesh
from bus.schema import Kind
from bus.topics import TABLE
from tests.support.places import PROJECT

ORDER = ("bus", "storage", "nodes", "tools")
NODES = sorted(path.parent.name for path in (PROJECT / "nodes").glob("*/node.py"))
SAID_BY_ALL = {Kind.run, Kind.health, Kind.refusal, Kind.alert}


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            out.add(node.module.partition(".")[0])
    return out


@pytest.mark.parametrize("package", ORDER)
def test_imports_run_one_way(package):
    allowed = ORDER[: ORDER.index(package) + 1]
    for path in (PROJECT / package).rglob("*.py"):
        wrong = imports(path) & set(ORDER) - set(allowed)
        assert not wrong, f"{path.relative_to(PROJECT)} imports {wrong}; {package} may import {allowed}"


def test_no_node_imports_another():
    """But the runner and the sequencer, which host."""
    for name in set(NODES) - {"sequencer"}:
        for path in (PROJECT / "nodes" / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nodes."):
                    whole = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
                    others = {f"nodes.{other}.node" for other in NODES if other != name}
                    assert not whole & others, f"{path.relative_to(PROJECT)} imports another node"


@pytest.mark.parametrize("name", NODES)
def test_a_node_says_what_it_reads_and_writes(name):
    module = importlib.import_module(f"nodes.{name}.node")
    lines = (module.__doc__ or "").strip().splitlines()
    assert lines and lines[0].endswith("."), f"nodes/{name}/node.py needs a docstring whose first line is a sentence"
    for kind in set(module.WRITES) - SAID_BY_ALL:
        assert name in TABLE[kind].writers, f"{name} writes {kind.name}, bus/topics.py says {TABLE[kind].writers} do"
    for kind in set(module.READS) - SAID_BY_ALL:
        assert name in TABLE[kind].readers, f"{name} reads {kind.name}, bus/topics.py says {TABLE[kind].readers} do"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in SAID_BY_ALL], ids=lambda kind: kind.name)
def test_every_kind_has_the_writers_that_the_table_names(kind):
    for writer in set(TABLE[kind].writers) & set(NODES):
        assert kind in importlib.import_module(f"nodes.{writer}.node").WRITES, f"{writer} does not write {kind.name}"


@pytest.fixture(scope="module")
def table():
    parser = configparser.RawConfigParser()
    parser.read(PROJECT / "supervisor.conf")
    return {name.removeprefix("program:"): parser[name] for name in parser.sections() if name.startswith("program:")}


def test_supervisor_conf_has_every_process_in_data_flow_order(table):
    mesh = Mesh()
    expected = ["exchange", "sequencer", "recorder"]
    expected += [f"feed-{line}" for line in range(1, mesh.feed.lines + 1)]
    expected += ["backfill"]
    expected += [f"model-{model.name}" for model in mesh.models]
    expected += ["executor", "session", "sentinel-1", "sentinel-2"]
    assert list(table) == expected
    assert {name.partition("-")[0] for name in table} == set(NODES)


def test_every_program_runs_the_node_of_its_name(table):
    for name, program in table.items():
        assert program["command"] == f'"%(here)s/.venv/bin/python" -m nodes {name.replace("-", " ", 1)}'
        assert program["directory"] == "%(here)s"


def test_shutdown_goes_against_the_data(table):
    """supervisord stops the highest priority first."""
    first_to_last = sorted(table, key=lambda name: -int(table[name]["priority"]))
    kinds = list(dict.fromkeys(name.partition("-")[0] for name in first_to_last))
    assert kinds == ["sentinel", "exchange", "feed", "backfill", "model", "executor", "session", "sequencer", "recorder"]


def test_no_program_can_end_fatal(table):
    """startsecs=0: a quick death is no failed start; only a failed start counts against startretries."""
    for name, program in table.items():
        assert (program["startsecs"], program["autorestart"]) == ("0", "unexpected"), name
        assert int(program["startretries"]) >= 1_000_000, name


def test_every_test_that_the_page_of_coverage_names_is_there():
    """Its table says of each way in which data can be absent which test shows what the ledger says of it."""
    rows = [line.split("|")[4] for line in (PROJECT / "docs" / "coverage.md").read_text().splitlines() if line.count("|") == 5]
    cells = [part.strip() for row in rows for part in row.split(";")]
    named = [cell for cell in cells if cell not in ("", "shown by", "the sweep") and not cell.startswith("---")]
    assert len(named) > 30
    for cell in named:
        file, _, tests = cell.partition(":")
        (path,) = (PROJECT / "tests").rglob(f"test_{file.strip()}.py")
        text = path.read_text()
        for test in tests.split(",") if tests else ():
            assert f"def test_{test.strip()}(" in text, f"test_{file}.py has no test_{test.strip()}"
