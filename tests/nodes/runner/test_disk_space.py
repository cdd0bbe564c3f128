"""One machine judges the disk for recorder and feeds: what counts and what is done differ, the marks and steps do not."""

import pytest

from tickmesh.bus.settings import DiskSettings
from tickmesh.bus.space import Free, Space
from tickmesh.nodes.runner.disk_space import feed_watch, recorder_watch

DISK = DiskSettings(low_bytes=1000, critical_bytes=100, low_inodes=50, critical_inodes=5)


def test_inodes_are_the_recorders_to_tell():
    recorder, feed = recorder_watch("data", DISK), feed_watch("data")
    few = Free(10_000, 4)
    alert = recorder.look(few, DISK)
    assert alert is not None and (alert.level, alert.action) == ("critical", "everything is kept")
    assert "4 inodes are free, less than 5" in alert.why
    assert feed.look(few, DISK) is None and feed.room.worst is Space.enough


@pytest.mark.parametrize(
    ("watch", "low", "critical", "enough"),
    [
        (
            recorder_watch("data", DISK),
            "raw frames are no longer kept; nothing is pruned (disk.prune = never)",
            "raw frames and depth are no longer kept; nothing is pruned (disk.prune = never)",
            "everything is kept",
        ),
        (feed_watch("data"), "raw frames are left out", "raw frames and depth are left out", "everything is said"),
    ],
    ids=["recorder", "feed"],
)
def test_each_step_has_one_alert(watch, low, critical, enough):
    steps = [(999, low, "warning"), (99, critical, "critical"), (999, low, "warning"), (2000, enough, "info")]
    for free, action, level in steps:
        alert = watch.look(Free(free), DISK)
        assert (alert.level, alert.what, alert.target, alert.action) == (level, "disk", "data", action)
        assert watch.look(Free(free), DISK) is None
    assert alert.why == "2000 bytes are free again"
