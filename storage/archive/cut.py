"""One cut of the log while it is made: its events sorted into kinds and folders, and what they prove. No I/O."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.file import folder_of, subject_of
from tickmesh.storage.coverage.intervals import merge
from tickmesh.storage.hdf5.columns import Table, from_bytes

Part = tuple[list[memoryview], list[int]]  # events of one kind and subject, and the bytes of each
_read_topic, _read_seq = header_reader("kind", "subject"), header_reader("seq")


class CutCoverage(NamedTuple):
    """The coverage that files of a finished cut, seq `first` to `last`, prove: COVERAGE rows in order, by subject."""

    first: int
    last: int
    rows: dict[str, np.ndarray]


class Cut:
    """Sorts one day's events, added one after the other, into kinds and folders, in memory.

    `held`: bytes in memory. `pieces`: by folder, files in which its earlier events were laid aside. `proven`: by folder, the
    COVERAGE rows of each part of its file, as they were computed.
    """

    def __init__(self, first: int, day: int):
        self.first, self.last, self.day = first, first - 1, day
        self.bytes = self.held = 0
        self.parts: dict[tuple[int, bytes], Part] = {}
        self.pieces: dict[str, list[Path]] = {}
        self.proven: dict[str, list[np.ndarray]] = {}

    def add(self, seq: int, raw: memoryview) -> None:
        """Takes the next event; `raw` is not copied."""
        key = _read_topic(raw)
        part = self.parts.get(key)
        if part is None:
            part = self.parts[key] = ([], [])
        part[0].append(raw)
        part[1].append(len(raw))
        self.last = seq
        self.bytes += len(raw)
        self.held += len(raw)

    def folders(self) -> dict[str, dict[Kind, list[Part]]]:
        """The events in memory, by folder and kind."""
        grouped: dict[str, dict[Kind, list[Part]]] = {}
        for (kind, subject), part in self.parts.items():
            folder = folder_of(kind, subject.rstrip(b"\0").decode())
            grouped.setdefault(folder, {}).setdefault(Kind(kind), []).append(part)
        return grouped

    def largest(self, bytes_max: int) -> list[str]:
        """The folders that have to leave memory for the rest to be at most `bytes_max`."""
        held = {
            folder: sum(sum(lengths) for parts in kinds.values() for _, lengths in parts)
            for folder, kinds in self.folders().items()
        }
        chosen, rest = [], self.held
        for folder in sorted(held, key=held.__getitem__, reverse=True):
            if rest <= bytes_max:
                break
            chosen.append(folder)
            rest -= held[folder]
        return chosen

    def forget(self, folders: set[str]) -> None:
        """Drops the events of folders that were laid aside; the rest is copied, or it would keep the log's blocks in memory."""
        kept = {
            key: part for key, part in self.parts.items() if folder_of(key[0], key[1].rstrip(b"\0").decode()) not in folders
        }
        self.parts = {key: ([memoryview(bytes(raw)) for raw in raws], lengths) for key, (raws, lengths) in kept.items()}
        self.held = sum(sum(lengths) for _, lengths in self.parts.values())

    def coverage(self) -> CutCoverage:
        """The coverage that all files of the cut prove."""
        rows = {subject_of(folder): merge(parts) for folder, parts in self.proven.items()}
        return CutCoverage(self.first, self.last, {subject: own for subject, own in sorted(rows.items()) if len(own)})


def table_of(kind: Kind, parts: list[Part]) -> Table:
    """Builds one kind's table in order of seq; several nodes' events are merged."""
    blobs = [blob for part in parts for blob in part[0]]
    if len(parts) > 1:
        blobs.sort(key=_read_seq)
    return from_bytes(kind, b"".join(blobs), np.array([len(blob) for blob in blobs], "i8"))


def coverage_of(cuts: Iterable[CutCoverage], after: int, until: int) -> dict[str, np.ndarray] | None:
    """The coverage of seq `after` + 1 to `until` that the cuts prove, by subject; None where one of those between is not there.

    `cuts`: in order. One that lies partly before `after` counts as a whole: coverage is a union.
    """
    parts: dict[str, list[np.ndarray]] = {}
    reached = after
    for cut in cuts:
        if cut.last <= after:
            continue
        if cut.first > reached + 1:
            return None
        reached = cut.last
        for subject, rows in cut.rows.items():
            parts.setdefault(subject, []).append(rows)
    return {subject: merge(own) for subject, own in sorted(parts.items())} if reached >= until else None
