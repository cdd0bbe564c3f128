"""Every node says what it reads and writes, as the table of topics has it. Which processes run: nodes/process_table.py."""

import importlib

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.schema import Kind
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
