"""Small files that are whole or not there, whatever is killed or loses its power meanwhile."""

import contextlib
import errno
import os
from pathlib import Path


def boot_id() -> str:
    """The kernel's name for this boot: it differs after a power cut or reboot; empty where the kernel gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_stat(pid: int) -> list[str]:
    """State, parent and so on of a process: what /proc/<pid>/stat has after the name; [] of one that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def process_start(pid: int) -> str:
    """When a process began, by boot and ticks: what tells it from a later one of the same pid; "" of one that is gone."""
    stat = process_stat(pid)
    return f"{boot_id()} {stat[19]}" if len(stat) > 19 and stat[0] != "Z" else ""


def write_file(path: Path, data: bytes) -> None:
    """Writes a file atomically: under another name, synced, then renamed."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, path)
    sync_folder(path.parent)


def write_over(path: Path, data: bytes) -> None:
    """Writes over a file in place, padded with spaces to the length that it has: a full disk takes that.

    Not atomic: for what a reader reads again when it is torn. Raises OSError where there is no such file, or a shorter one.
    """
    fd = os.open(path, os.O_WRONLY)
    try:
        size = os.fstat(fd).st_size
        if size < len(data):
            raise OSError(errno.ENOSPC, f"it has only {size} bytes of {len(data)}")
        os.pwrite(fd, data.ljust(size), 0)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Syncs a folder, so that new names in it survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(folder: Path, mode: int = 0o755) -> None:
    """Makes a folder and its parents, each new entry synced to survive a power cut. `mode` is that of the last one."""
    missing = []
    above = folder
    while not above.is_dir():
        missing.append(above)
        above = above.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            new.mkdir(mode=mode if new == folder else 0o755)
        sync_folder(new.parent)
