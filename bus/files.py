"""Small files that are whole or not there, whatever is killed or loses its power meanwhile."""

import contextlib
import os
from pathlib import Path


def boot_id() -> str:
    """What the kernel calls this boot: differs after a power cut or reboot; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def write_file(path: Path, data: bytes) -> None:
    """Writes a file atomically: aside, synced, renamed."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(fresh, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(folder: Path, mode: int = 0o755) -> None:
    """`mkdir -p` that survives a power cut: the entry of each new folder is synced. `mode` is that of the last one."""
    missing = []
    above = folder
    while not above.is_dir():
        missing.append(above)
        above = above.parent
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            new.mkdir(mode=mode if new == folder else 0o755)
        sync_folder(new.parent)
