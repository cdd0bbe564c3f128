"""Every node says what it reads and writes, as the table of topics has it, and every node is started by supervisord."""

import configparser
import importlib

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Mesh
from tickmesh.bus.topics import TABLE

NODES = sorted(path.parent.name for path in (PROJECT / "nodes").glob("*/node.py"))
SAID_BY_ALL = {Kind.run, Kind.health, Kind.refusal, Kind.alert}


@pytest.mark.parametrize("name", NODES)
def test_a_node_says_what_it_reads_and_writes(name):
    module = importlib.import_module(f"tickmesh.nodes.{name}.node")
    lines = (module.__doc__ or "").strip().splitlines()
    assert lines and lines[0].endswith("."), f"nodes/{name}/node.py needs a docstring whose first line is a sentence"
    for kind in set(module.WRITES) - SAID_BY_ALL:
        assert name in TABLE[kind].writers, f"{name} writes {kind.name}, bus/topics.py says {TABLE[kind].writers} do"
    for kind in set(module.READS) - SAID_BY_ALL:
        assert name in TABLE[kind].readers, f"{name} reads {kind.name}, bus/topics.py says {TABLE[kind].readers} do"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in SAID_BY_ALL], ids=lambda kind: kind.name)
def test_every_kind_has_the_writers_that_the_table_names(kind):
    for writer in set(TABLE[kind].writers) & set(NODES):
        assert kind in importlib.import_module(f"tickmesh.nodes.{writer}.node").WRITES, f"{writer} does not write {kind.name}"


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
        assert program["command"] == f'"%(here)s/.venv/bin/python" -m tickmesh.nodes {name.replace("-", " ", 1)}'
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
