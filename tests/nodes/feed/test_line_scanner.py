"""A line takes up its scanner where its venue has usual forms and the switch is on; else it goes on without."""

import asyncio
import sys
from types import SimpleNamespace

from tests.support.scanner import scanner_address
from tickmesh.bus import compiling_objects
from tickmesh.nodes.feed.scanning import take_up_scanner
from tickmesh.nodes.venues.table import adapter_of


def taken_up(venue="binance", scan=True, run_dir=None):
    """What a line's reception was given."""
    given = []
    line = SimpleNamespace(
        adapter=adapter_of(venue), settings=SimpleNamespace(scan=scan), reception=SimpleNamespace(scan_with=given.append),
        ctx=SimpleNamespace(name="feed-1", config=SimpleNamespace(run_dir=run_dir)),
    )  # fmt: skip
    asyncio.run(take_up_scanner(line))
    return given


def test_a_line_takes_up_the_scanner_that_is_there():
    scanner_address()
    assert len(taken_up()) == 1
    assert taken_up(scan=False) == [] and taken_up("kraken") == []


def test_a_line_goes_on_without_a_scanner_that_cannot_be_made(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    command = [sys.executable, "-c", "import sys; sys.exit('there is no compiler')"]
    monkeypatch.setattr(compiling_objects, "command", lambda module, path: command)
    assert taken_up(run_dir=tmp_path) == []
    said = caplog.text
    assert "reads all frames the exact way: there is no compiler" in said


def test_a_torn_scanner_is_compiled_anew(tmp_path, monkeypatch):
    """By the command that makes it: here one that puts a whole file there."""
    from tickmesh.nodes.feed import scanning

    whole = scanning.scanner_path(scanning.base_folder(SimpleNamespace(run_dir=tmp_path)))
    scanner_address()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    torn = scanning.scanner_path(tmp_path)
    torn.write_bytes(whole.read_bytes()[:100])
    command = [sys.executable, "-c", f"import shutil; shutil.copy({str(whole)!r}, {str(torn)!r})"]
    monkeypatch.setattr(compiling_objects, "command", lambda module, path: command)
    assert len(taken_up()) == 1 and torn.read_bytes() == whole.read_bytes()
