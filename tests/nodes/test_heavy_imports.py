"""What each kind of process loads as it begins, of what is large: a library that only some need stays out of all others."""

import subprocess
import sys

import pytest

from tickmesh.nodes.process_table import NODES

# 2 to 60 MB each. numpy is in all of them, for records are its dtypes; numba is loaded by who computes, with its first kernel.
LARGE = (
    "aiohttp", "cryptography", "duckdb", "fastapi", "h5py", "hdf5plugin", "llvmlite", "lmdb", "nicegui", "numba", "pandas",
    "polars", "prometheus_client", "pyarrow", "pydantic", "rich", "scipy", "sklearn", "textual", "typer", "uvicorn",
    "websockets",
)  # fmt: skip
ALLOWED = {
    "exchange": {"aiohttp"},
    "sequencer": set(),
    "recorder": {"h5py", "hdf5plugin", "lmdb"},
    "feed": {"websockets"},
    "backfill": set(),
    "model": set(),
    "executor": set(),
    "session": {"websockets"},
    "gateway": {"fastapi", "pydantic", "uvicorn", "websockets"},
    "notifier": {"aiohttp", "lmdb"},
    "sentinel": {"lmdb"},
}


@pytest.mark.parametrize("node", NODES)
def test_a_process_loads_no_library_that_it_does_not_need(node):
    code = f"import sys, uvloop, tickmesh.nodes.__main__, tickmesh.nodes.{node}.node\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(LARGE) & {name.partition(".")[0] for name in loaded} == ALLOWED[node]
