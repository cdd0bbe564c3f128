"""The executor's identity is over all the sources that decide: whichever of them changes, it is another executor."""

import shutil

from tests.support.places import PROJECT
from tickmesh.nodes.executor import node as executor


def test_a_change_of_any_source_that_decides_is_another_hash(tmp_path, monkeypatch):
    for folder in ("executor", "orders"):
        shutil.copytree(PROJECT / "nodes" / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    whole = executor.code_hash()
    monkeypatch.setattr(executor, "__file__", str(tmp_path / "executor/node.py"))
    assert executor.code_hash() == whole, "it is of the sources, not of where they lie"
    sources = sorted(tmp_path.rglob("*.py"))
    assert {path.name for path in sources} >= {"node.py", "risk.py", "sizes.py", "orders.py", "fills.py"}
    seen = {whole}
    for path in sources:
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(executor.code_hash())
    assert len(seen) == len(sources) + 1
