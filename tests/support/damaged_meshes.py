"""Copies of a mesh's folder with something of what is recorded gone or damaged, and what has to be said of each."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import h5py

SENTENCES = {
    "gone": "is not there, with events of seq .*restore it",
    "newer": "schema version 99.*newer program",
    "cut": "cannot be read as HDF5: .*truncated",
    "log": "does not match its CRC",
}


def damaged_copies(root: Path, below: Path, faults: Iterable[str]) -> dict[str, tuple[Path, str]]:
    """By fault: a mesh's folder that has it, and the sentence about it, a regular expression."""
    return {fault: (_damaged(root, below / fault / "mesh", fault), SENTENCES[fault]) for fault in faults}


def _damaged(root: Path, folder: Path, fault: str) -> Path:
    shutil.copytree(root, folder)
    path = min(folder.glob("data/sim/archive/binance/BTCUSDT/*/*.h5"))
    path.chmod(0o644)
    if fault == "gone":
        path.unlink()
    elif fault == "newer":
        with h5py.File(path, "r+") as file:
            file.attrs["schema_version"] = 99
    elif fault == "cut":
        os.truncate(path, 3000)
    else:
        path = max(folder.glob("data/sim/log/*"), key=lambda one: one.stat().st_size)
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(data)
    return folder
