"""Files that another program is to load: there whole, or not there."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tickmesh.bus.files import make_folders, sync_folder
from tickmesh.tools.terminal import Failure


def write_checked(path: Path, write: Callable[[BinaryIO], object], is_right: Callable[[Path], bool]) -> None:
    """Writes a file aside, reads it back, syncs and renames it.

    `write` is given the open file; `is_right` the file that was written. Raises Failure where that is not what it was to be.
    """
    make_folders(path.parent)
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with open(aside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if not is_right(aside):
            raise Failure(f"{path} does not read back as it was written; this is a bug or a bad disk, nothing was kept")
        aside.rename(path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
