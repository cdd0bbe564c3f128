"""Raw frames make the same market data again: what two lines heard, faults and kills included."""

import numpy as np
import pytest

import tests.support.mesh_run as run
from tests.support.stored import Market, write_log
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.reader import ArchiveReader

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

FAULTS = """{"faults": [
    {"kind": "cut", "start_s": 3, "connection": 1, "length_s": 0.1},
    {"kind": "skip", "start_s": 4, "length_s": 1, "stream": "*@trade"},
    {"kind": "garbage", "start_s": 6, "length_s": 1, "probability": 0.1},
    {"kind": "skip", "start_s": 8, "length_s": 0.5, "stream": "*@depth*"}]}"""
SETTINGS = run.MARKET_ALONE + '[feed]\nraw = true\n[exchange]\nfaults = "faults.json"\ntrades_per_s = 50\n'


def test_the_archive_is_made_again_from_raw_frames(make_root, tmp_path):
    root = make_root(SETTINGS)
    (root / "faults.json").write_text(FAULTS)
    run.ok(root, "mesh", "up")
    config = run.config_of(root)
    run.Killer(root, 1).kill("feed-binance-2")
    seen = run.events(root)[-1].seq
    run.until(lambda: run.events(root)[-1].seq > seen + 1500, "it goes on")
    run.ok(root, "mesh", "down")
    result = run.ok_json(root, "mesh", "rebuild", "--from", "raw", "--into", tmp_path / "again")
    assert result["ok"] and len(result["topics"]) == 5, result
    assert {row["topic"].partition(".")[0] for row in result["topics"]} == {"instrument", "trade", "quote", "depth", "gap"}
    for kind in (Kind.trade, Kind.depth):
        was, now = (ArchiveReader(f).columns(kind, "binance.BTCUSDT") for f in (config.archive_dir, tmp_path / "again"))
        assert len(was) > 100 and all(
            np.array_equal(was[n], now[n]) for n in ("first_id", "last_id", "price_ticks") if n in was.dtype.names
        )
    again = run.command(root, "mesh", "rebuild", "--from", "raw", "--into", tmp_path / "again")
    assert again.returncode == 1 and "is not empty" in again.stderr


def test_without_raw_frames_it_says_so(make_root):
    root = make_root("[executor]\nenabled = false\n")
    empty = run.command(root, "mesh", "rebuild", "--from", "raw")
    assert empty.returncode == 1 and "Traceback" not in empty.stderr, empty.stderr
    write_log(run.config_of(root).log_dir, Market().mixed(100))
    done = run.command(root, "mesh", "rebuild", "--from", "raw")
    assert done.returncode == 1 and "raw = true" in done.stderr
    assert run.command(root, "mesh", "rebuild", "--from", "raw", "--day", "2024-08-09").returncode == 2
    unsealed = run.command(root, "mesh", "rebuild")
    assert unsealed.returncode == 1 and "sealed" in unsealed.stderr
