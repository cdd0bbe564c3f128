"""An export of ours, imported: every row as it was in the mesh, and the same coverage."""

import json

import pytest

from tests.support.command_run import mesh_here
from tests.support.research_scene import SUBJECT, export, recorded
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind
from tickmesh.research import exported
from tickmesh.storage.query import coverage, reader

KINDS = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    pytest.importorskip("pyarrow")
    root = tmp_path_factory.mktemp("mesh")
    recorded(root)
    export(root, "exported")
    return root


def here(root, source):
    return load(root, overrides={"source": source})


def test_every_row_is_as_it_was_but_for_its_seq(root, monkeypatch):
    monkeypatch.setattr(exported, "ROWS_EACH", 7)  # events of several levels go on in the next part that is read
    done = mesh_here(root, "import", root / "exported", "--source", "back", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert any(one.startswith("fill:") for one in result["left_out"]), "what refers to the log it was in is left out, and said"
    for subject in (SUBJECT, "binance_usdm.ETHUSDT"):
        for kind in KINDS:
            try:
                was = reader.arrays(load(root), f"{kind.name}.{subject}", gaps="ignore")
            except reader.ReadError:
                continue
            now = reader.arrays(here(root, "back"), f"{kind.name}.{subject}", gaps="ignore")
            names = [name for name in was.dtype.names if name != "seq"]
            assert now[names].tolist() == was[names].tolist(), kind
    both = [reader.arrays(here(root, source), f"depth.{SUBJECT}", gaps="ignore") for source in ("sim", "back")]
    events = [(rows["seq"][1:] != rows["seq"][:-1]).tolist() for rows in both]
    assert events[0] == events[1], "levels of one event stay together"
    was, now = (coverage.read(here(root, source), SUBJECT) for source in ("sim", "back"))
    names = ["first_id", "last_id", "stream", "state", "evidence", "reason"]
    assert now[names].tolist() == was[names].tolist()


def test_an_export_that_was_changed_is_refused(root):
    folder = root / "exported"
    path = next((folder / "trade/binance/BTCUSDT").glob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    try:
        done = mesh_here(root, "import", folder, "--source", "changed")
        assert (
            done.returncode == 1 and "is not the file that was exported" in done.stderr and not (root / "data/changed").exists()
        )
    finally:
        path.write_bytes(whole)
