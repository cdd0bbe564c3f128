"""The group `ledger` of an archive file: what its events prove. docs/archive.md has the layout."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.schema import COVERAGE
from tickmesh.storage.coverage.position import BEGINNING, LedgerPosition
from tickmesh.storage.hdf5.packing import get, put

GROUP = "ledger"


class CoverageLedger(NamedTuple):
    """A coverage ledger: COVERAGE rows in canonical order, and how far each stream is after them."""

    rows: np.ndarray
    after: LedgerPosition

    @property
    def sha256(self) -> str:
        """The checksum of the rows."""
        return hashlib.sha256(self.rows.tobytes()).hexdigest()


def write_ledger(file: Any, ledger: CoverageLedger) -> None:
    """Writes the ledger into an HDF5 file (or group) that has none."""
    group = file.create_group(GROUP)
    for name in COVERAGE.names or ():
        if ledger.rows[name].any():
            put(group, name, np.ascontiguousarray(ledger.rows[name]))
    group.attrs["rows"] = len(ledger.rows)
    for name, value in ledger.after._asdict().items():
        if value is not None:
            group.attrs[f"after_{name}"] = np.int64(value)


def read_ledger(file: Any) -> CoverageLedger | None:
    """Reads the ledger; None from a file without one. Raises KeyError, ValueError, OSError or RuntimeError for damage."""
    if GROUP not in file:
        return None
    group = file[GROUP]
    rows = np.zeros(int(group.attrs["rows"]), COVERAGE)
    for name in COVERAGE.names or ():
        rows[name] = get(group, name, len(rows), COVERAGE[name])
    names = [name for name in LedgerPosition._fields if f"after_{name}" in group.attrs]
    after: dict[str, Any] = {name: int(group.attrs[f"after_{name}"]) for name in names}
    return CoverageLedger(rows, BEGINNING._replace(**after))
