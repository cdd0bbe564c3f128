"""The power goes at any moment: what was acknowledged as durable is there, the tail is cut cleanly, and the mesh goes on."""

import os
import random
from pathlib import Path

import pytest

from tests.support.breaking.disk import Change, Disk
from tests.support.breaking.power import Recording, booted, survived, went_on

LONG = bool(os.environ.get("TICKMESH_LONG"))
LOADS = 8 if LONG else 4
IMAGES = 400 if LONG else 50
GO_ON = 2 if LONG else 10  # every so many images the mesh works on for a while, and is cut off once more


@pytest.fixture
def folder(tmp_path: Path, tmpfs: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In RAM where there is some: thousands of small files are made, and outboxes belong to each image."""
    base = Path(os.environ.get("TICKMESH_TMPFS") or tmp_path) / tmp_path.name
    base.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("TICKMESH_TMPFS", str(base))
    return base


@pytest.mark.parametrize("seed", range(LOADS))
@pytest.mark.timeout(3600 if LONG else 180)
def test_what_was_durable_is_there_and_the_mesh_goes_on(folder, seed):
    rng = random.Random(seed)
    (folder / "run").mkdir()
    recording = Recording(folder / "run", rng, 300)
    lost = cut = again = 0
    for number, acknowledged in enumerate(recording.images(folder / "image", IMAGES, rng)):
        with booted(folder / "image", f"boot {number}") as mesh:
            survived(mesh, recording, acknowledged)
            lost += mesh.core.log.last < len(recording.logged)
            cut += mesh.core.log.cut_bytes > 0
            mesh.publish_trade()
            mesh.take()
            mesh.core.tick()
            mesh.sync()
            assert mesh.core.log.durable == mesh.core.log.last
            if number % GO_ON == 0:
                again += 1
                mesh.live(rng, 20)
                mesh.settle()
                went_on(mesh)
    assert lost and cut and again, "images without a torn tail would prove nothing"


def test_a_mesh_that_was_cut_off_twice(folder):
    """The second time before the new identity has been synced everywhere."""
    rng = random.Random(77)
    (folder / "run").mkdir()
    first = Recording(folder / "run", rng, 150)
    for acknowledged in first.images(folder / "first", 6, rng):
        second = Recording(folder / "first", rng, 20, "second boot", acknowledged)
        second.logged = first.logged | second.logged  # numbers that went back were given again
        for acknowledged in second.images(folder / "second", 3, rng):
            with booted(folder / "second", "third boot") as mesh:
                survived(mesh, second, acknowledged)
                mesh.settle()
                went_on(mesh)


def test_the_disk_keeps_what_was_synced_and_only_that(tmp_path):
    """The model of a disk itself: synced pages and names always, others sometimes."""
    disk = Disk("/d")  # a folder that is nowhere: nothing is in it
    file = (1, 1)
    for change in (
        Change("create", ("/d/old", file)), Change("write", (file, 0, b"a" * 6000)), Change("sync", (file,)),
        Change("sync_folder", ("/d",)), Change("write", (file, 6000, b"b" * 6000)), Change("write", (file, 0, b"c" * 5000)),
        Change("rename", ("/d/old", "/d/new")), Change("create", ("/d/other", (1, 2))), Change("mkdir", ("/d/sub",)),
    ):  # fmt: skip
        disk.apply(change)
    seen, sizes, names = set(), set(), set()
    rng = random.Random(5)
    for _ in range(200):
        disk.image(tmp_path / "image", rng)
        there = {path.name for path in (tmp_path / "image").iterdir()}
        assert len(there & {"old", "new"}) == 1, "a rename is there or not, the file is"
        data = (tmp_path / "image" / (there & {"old", "new"}).pop()).read_bytes()
        assert data[:4096] in (b"a" * 4096, b"c" * 4096), "a page is old or new"
        assert set(data[5000:6000]) == {ord("a")}, "what was synced and not written again is there"
        seen.add(data[:1] + data[4096:4097])
        sizes.add(len(data))
        names |= there
    assert seen == {b"aa", b"ac", b"ca", b"cc"}
    assert sizes == {6000, 12000} and names == {"old", "new", "other", "sub"}
