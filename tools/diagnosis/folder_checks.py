"""What is judged of a mesh's folder: settings, permissions, mounts, room. One finding more is one more function in CHECKS."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.config import ConfigError
from tickmesh.bus.log import LogReader
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import Room, Space, free_of, judge
from tickmesh.nodes.process_table import processes
from tickmesh.storage.recent.environment import RecentError
from tickmesh.storage.recent.reader import RecentReader
from tickmesh.tools import sources, table
from tickmesh.tools.before_start import check_port, check_room
from tickmesh.tools.diagnosis.check import FAIL, OK, WARN, Check, check, size_text
from tickmesh.tools.diagnosis.folder import MeshFolder, disk_speed, holders, mount_of
from tickmesh.tools.terminal import Failure

NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
}
IN_MEMORY = {"tmpfs", "ramfs"}
RATE_MIN = 20.0  # MiB/s; the busiest recording writes a few
LOG_AHEAD_S = 1.0  # the newest event is later than now: the wall clock went back
STEPS = ("clock_step", "clock_suspend")
STEPS_S = 24 * 3600.0


def settings(folder: MeshFolder) -> Iterator[Check]:
    """mesh.toml and the table of processes, by what `mesh up` checks before it starts anything."""
    allowed = "what `mesh up` takes"
    if folder.wrong:
        yield Check("config", FAIL, folder.wrong, allowed, "mend it; what runs goes on as it was started")
        return
    if not (folder.root / table.COMMON).is_file():
        do = f"`mesh init {folder.root}` lays it there"
        yield Check("config", FAIL, f"there is no {table.COMMON} beside mesh.toml", "the one that comes with tickmesh", do)
        return
    assert folder.config is not None
    try:
        programs = table.hand_written(folder.root)
        missing = [] if programs is None else table.lacking(folder.config, programs)
        count = len(processes(folder.config))
        sources.market_found(folder.config)
    except (ConfigError, Failure, OSError) as error:
        yield Check("config", FAIL, str(error), allowed, "mend it in mesh.toml or supervisor.conf")
        return
    if folder.config.run != "run":
        do = "leave it out: supervisor.conf keeps its files in run/"
        yield Check("config", FAIL, f"run = {folder.config.run!r} in mesh.toml", "run", do)
    elif missing:
        do = "add them to supervisor.conf, or take the one that comes with tickmesh"
        yield Check("config", WARN, f"supervisor.conf does not run {', '.join(missing)}", "all that mesh.toml has", do)
    else:
        yield Check("config", OK, f"mesh.toml is right: mode {folder.config.mode}, {count} processes", allowed)


def supervision(folder: MeshFolder) -> Iterator[Check]:
    """Whether supervisord can be reached, and whether processes live without it."""
    allowed = "it answers, or nothing runs"
    if folder.supervisord == "is not there" and folder.pids:
        names = ", ".join(f"{name} (pid {pid})" for name, pid in sorted(folder.pids.items()))
        yield Check("supervisord", FAIL, f"it is gone, and these live on: {names}", allowed, "`mesh down` ends them")
    elif folder.supervisord in ("answers", "is not there", "is shutting down"):
        how = "the mesh is not running" if folder.supervisord == "is not there" else f"it {folder.supervisord}"
        yield Check("supervisord", OK, how, allowed)
    else:
        yield Check("supervisord", FAIL, folder.supervisord, allowed, "`mesh down --force` ends it and all of its processes")


def ports(folder: MeshFolder) -> Iterator[Check]:
    """The local exchange's port, where it is to have a certain one, and locks of programs that are not of this mesh."""
    if folder.config is None:
        return
    if not folder.is_up:
        try:
            check_port(folder.config)
        except (Failure, OSError) as error:
            do = "end who has it (`ss -ltnp`), or leave exchange.port out of mesh.toml"
            yield Check("ports", FAIL, str(error), "a free one", do)
        else:
            yield Check("ports", OK, "what is wanted is free", "a free one")
    mine = {*folder.pids.values(), os.getpid()}
    for path in [folder.config.log_dir / "lock", folder.config.archive_dir / "lock", folder.run / "session.lock"]:
        for pid in set(holders(path)) - mine:
            seen = f"process {pid} holds {path}, and is none of this mesh's"
            do = f"see what it is (`ps -fp {pid}`): a second mesh on the same data? End it, or give one of them another source"
            yield Check("locks", FAIL, seen, "this mesh's processes alone", do)


def permissions(folder: MeshFolder) -> Iterator[Check]:
    """Who may read keys and sockets, who owns what, and whether it can be written."""
    found = list(_permissions(folder))
    yield from found or [Check("permissions", OK, "keys and run/ are this user's alone, all folders can be written", "so")]


def _permissions(folder: MeshFolder) -> Iterator[Check]:
    for place in (folder.run, folder.run / "sockets"):
        if place.is_dir() and (mode := stat.S_IMODE(place.stat().st_mode)) & 0o077:
            do = f"chmod 700 {place}"
            yield Check(
                "permissions.run", FAIL, f"{place} has the mode {mode:04o}: others reach the mesh's sockets", "0700", do
            )
    for path in _secrets(folder):
        if path.is_file() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            seen = f"{path} has the mode {mode:04o}: others may read the key"
            yield Check("permissions.key", FAIL, seen, "0600", f"chmod 600 {path}; if others use this machine, make a new key")
    for place in folder.folders:
        if not place.is_dir():
            yield Check("permissions.folder", FAIL, f"{place} is no folder", "a folder", "move the file away")
        elif not os.access(place, os.W_OK | os.X_OK):
            do = "make it writable for who runs the mesh, or remount it (`mount -o remount,rw`)"
            yield Check("permissions.write", FAIL, f"{place} cannot be written", "writable", do)
        elif (owner := place.stat().st_uid) != os.getuid() and place != folder.root:
            do = f"chown -R {os.getuid()} {place}: it was made by another user (sudo?), whose files this one cannot replace"
            yield Check("permissions.owner", WARN, f"{place} belongs to uid {owner}", f"uid {os.getuid()}, who runs this", do)


def _secrets(folder: MeshFolder) -> list[Path]:
    """Files that hold a key or a token."""
    found = [folder.run / "exchange.json", *sorted(folder.run.glob("*token*"))]
    if folder.config is not None:
        session = folder.config.session
        named = [session.key_file, *(one.key_file for one in session.accounts.values())]
        found += [folder.root / name for name in named if name]
    return found


def mounts(folder: MeshFolder) -> Iterator[Check]:
    """The file systems of data and run/: no network's, and data not in memory."""
    allowed = "a local disk"
    for name, place in (("data", folder.data), ("run", folder.run if folder.run.is_dir() else folder.root)):
        mount = mount_of(place)
        seen = f"{place} is on {mount.type or 'an unknown file system'} ({mount.place})"
        if mount.type in NETWORK:
            do = "move it to a local disk: locks, memory maps and syncs cannot be relied on over a network"
            yield Check(f"mounts.{name}", FAIL, seen, allowed, do)
        elif name == "data" and mount.type in IN_MEMORY:
            do = "move it to a disk: what is recorded is gone with the machine's power"
            yield Check("mounts.data", WARN, seen, allowed, do)
        else:
            yield Check(f"mounts.{name}", OK, seen, allowed)


def disk(folder: MeshFolder) -> Iterator[Check]:
    """Room and speed of the data folder's disk, room of run/'s."""
    if folder.config is None:
        return
    marks = folder.config.disk
    free = free_of(folder.data)
    room = judge(Room(), free, marks).worst
    allowed = f"{size_text(marks.low_bytes)} and {marks.low_inodes} files"
    try:
        check_room(folder.config)
        grade = {Space.enough: OK, Space.low: WARN, Space.critical: FAIL}[room]
    except Failure:
        grade = FAIL
    do = "make room, or move data/ to a larger disk: below it raw frames, then depth, are not recorded"
    yield check("disk.space", grade, f"{size_text(free.bytes)} free at {folder.data}", allowed, do)
    if folder.run.is_dir() and folder.run.stat().st_dev != folder.data.stat().st_dev:
        here = free_of(folder.run)
        seen, small = f"{size_text(here.bytes)} free at {folder.run}", size_text(64 << 20)
        yield check("disk.run", OK if here.bytes > 64 << 20 else WARN, seen, small, "make room: logs for people stop there")
    try:
        speed = disk_speed(folder.data)
    except OSError as error:
        yield Check("disk.speed", FAIL, f"{folder.data} cannot be tried: {error.strerror}", "writable", "make it writable")
        return
    slow = speed.sync_ms > folder.config.log.sync_ms or speed.mib_per_s < RATE_MIN
    seen = f"a sync takes {speed.sync_ms:.2f} ms, writing goes at {speed.mib_per_s:.0f} MiB/s"
    allowed = f"{folder.config.log.sync_ms} ms (log.sync_ms) and {RATE_MIN:g} MiB/s"
    do = "a faster disk; until then a power cut costs more than log.sync_ms"
    yield check("disk.speed", WARN if slow else OK, seen, allowed, do)


def steps(folder: MeshFolder) -> Iterator[Check]:
    """The wall clock beside the log: events that are later than now, and steps of the last day."""
    if folder.config is None or not folder.config.log_dir.is_dir():
        return
    try:
        log = LogReader(folder.config.log_dir)
        newest = next((event.seq_ns for event in log.events(log.last - 1)), 0) if log.last else 0
    except LogError as error:
        yield Check("log", FAIL, str(error), "a log that can be read", "`mesh verify` has what is wrong")
        return
    ahead_s = (newest - machine_wall_ns()) / 1e9
    do = "see to NTP before `mesh up`: the log's time goes on from its newest event, and is slewed to the wall clock"
    grade = OK if ahead_s <= LOG_AHEAD_S else WARN
    seen = f"the log's newest event is {ahead_s:.1f} s later than now" if grade == WARN else "the log ends before now"
    yield check("clock.log", grade, seen, f"{LOG_AHEAD_S:g} s", do)
    found = _steps(folder)
    seen = f"{len(found)} steps or suspends within a day" + (f", the last: {found[-1]}" if found else "")
    do = "one after a start or a suspend is usual; several: two time services at once, or a virtual machine that is paused"
    yield check("clock.steps", WARN if found else OK, seen, "none", do)


def _steps(folder: MeshFolder) -> list[str]:
    """Why the clock's alerts of the last day were raised, as far as the recent store goes back."""
    assert folder.config is not None
    try:
        with RecentReader(folder.config.recent_dir) as recent:
            since = machine_wall_ns() - int(STEPS_S * 1e9)
            alerts = [event.map() for event in recent.read("alert.sequencer", since_ns=since, limit=1000)]
    except (RecentError, OSError):
        return []
    return [str(one.get("why", "")) for one in alerts if one.get("what") in STEPS and one.get("level") != "info"]


CHECKS: tuple[Callable[[MeshFolder], Iterator[Check]], ...] = (
    settings, supervision, ports, permissions, mounts, disk, steps,
)  # fmt: skip
