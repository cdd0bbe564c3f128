"""Eras: where a venue began the ids of a stream anew, lower than before. What one id names is (era, id), never the id alone.

An era is named by the `seq` of the event flagged RESET with which it began, 0 before the first. docs/coverage.md explains.
"""

from typing import Any

import numpy as np

from tickmesh.bus.schema import Flag
from tickmesh.storage.coverage.ledger import read_ledger

I8 = np.dtype("<i8")
NONE = np.zeros(1, I8)  # the era before the first reset, alone


def eras_in(ledger: np.ndarray, kind: int) -> np.ndarray:
    """The eras that rows of a ledger name for one stream, in order, at least one; int64."""
    found = np.unique(ledger["era"][ledger["stream"] == kind]).astype(I8)
    return found if len(found) else NONE


def eras_of_file(file: Any, kind: int) -> np.ndarray:
    """The eras in an archive file that is open in h5py, int64; a file that was written without a ledger has none."""
    ledger = read_ledger(file)
    return NONE if ledger is None else eras_in(ledger.rows, kind)


def eras_of_events(headers: np.ndarray, before: int) -> np.ndarray:
    """The eras of one topic's events in memory: the one `before` them, and each that begins among them; int64."""
    resets = headers["seq"][headers["flags"] & Flag.RESET != 0].astype(I8)
    return np.concatenate([np.array([before], I8), resets])


def era_of(eras: np.ndarray, seqs: np.ndarray | int) -> np.ndarray:
    """The era of each seq: the newest that had begun; the first of `eras` for a seq before all of them."""
    return eras[np.maximum(np.searchsorted(eras, np.asarray(seqs).astype(I8), "right") - 1, 0)]
