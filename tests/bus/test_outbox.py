"""Outboxes on a tmpfs that is small, or full: they share it, go on on disk, go back, and say what they cannot do."""

import pytest

from tests.support.places import PROJECT
from tests.support.small_tmpfs import run_in_small_tmpfs
from tickmesh.bus.blocked import BlockedFile, read_blocked
from tickmesh.bus.config import load
from tickmesh.bus.outbox_room import OutboxRoom


@pytest.mark.parametrize(
    ("scene", "options"),
    [
        ("full_tmpfs", "size=2m"),
        ("full_tmpfs_and_disk", "size=1m"),
        ("small_for_many", "size=8m"),
        ("full_run_folder", "size=1m"),
    ],
)
def test_on_a_tmpfs_that_is_really_full(tmp_path, monkeypatch, scene, options):
    monkeypatch.chdir(PROJECT)
    (tmp_path / "mesh.toml").write_text("")
    place = tmp_path / ("run" if scene == "full_run_folder" else "tmpfs")
    code = f"from pathlib import Path; from tests.support.outbox_scene import {scene}; {scene}(Path({str(tmp_path)!r}))"
    assert run_in_small_tmpfs(place, options, code) == "held\n"


@pytest.mark.parametrize(("total", "segment"), [(64 << 20, 699_050), (1 << 30, 4 << 20), (1 << 20, 64 << 10)])
def test_segments_are_as_large_as_the_tmpfs_allows(tmp_path, monkeypatch, total, segment):
    """All outboxes' newest two fill a fourth of it at most, where it is not tiny."""
    (tmp_path / "mesh.toml").write_text("")
    monkeypatch.setattr("tickmesh.bus.outbox_room.room_of", lambda _folder: (total, total))
    room = OutboxRoom(load(tmp_path), "feed-1")
    assert room.segment_bytes == segment and room.budget_bytes == total // 2 and room.kept_bytes <= total // 4


def test_the_budget_is_of_all_outboxes_together(tmp_path, monkeypatch):
    (tmp_path / "mesh.toml").write_text("[log]\noutbox_ram_bytes = 1000000\n")
    monkeypatch.setenv("TICKMESH_TMPFS", str(tmp_path))
    config = load(tmp_path)
    ram, disk = config.outbox("feed-1")
    room = OutboxRoom(config, "feed-1")
    assert room.places() == (ram, disk)
    (config.outbox_dir / "session").mkdir(parents=True)
    other = config.outbox_dir / "session/1.seg"
    other.write_bytes(bytes(950_000))
    assert room.places() == (disk, ram), "another one's segments fill the budget"
    other.write_bytes(bytes(900_000))
    assert room.places() == (disk, ram), "it does not flap"
    other.unlink()
    assert room.places() == (ram, disk)
    (tmp_path / "mesh.toml").write_text("[log]\noutbox_spill = false\n")
    assert len(load(tmp_path).outbox("feed-1")) == 1


def test_who_is_blocked_writes_over_what_it_has(tmp_path):
    one = BlockedFile(tmp_path, "feed-1")
    blocks = (tmp_path / "blocked/feed-1").stat().st_blocks
    assert read_blocked(tmp_path) == []
    one.write("no room " * 500)
    assert [entry.node for entry in read_blocked(tmp_path)] == ["feed-1"]
    assert (tmp_path / "blocked/feed-1").stat().st_blocks == blocks > 0, "no new block is needed"
    one.clear()
    assert read_blocked(tmp_path) == []
