"""What a part's answer depends on, as hashes: the program, the models, the settings, the data. Another one is another part."""

import hashlib
import platform
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import tickmesh
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.research.sweep.parts import DataMark
from tickmesh.research.sweep.variation import kernels_of
from tickmesh.storage.archive.catalog import DAY_NS, File, day_of
from tickmesh.storage.archive.file import folder_of
from tickmesh.storage.archive.reader import ArchiveReader

PROGRAM = (
    "bus", "storage", "nodes/executor", "nodes/orders", "nodes/model", "nodes/models", "nodes/exchange/market",
    "research/backtest", "research/sweep/measuring.py",
)  # fmt: skip
Digest = Callable[[Path], str]  # of a file's content
Progress = Callable[[int, int], object]


@cache
def engine_hash() -> str:
    """16 hex digits over the code that a part runs, and the versions of what computes. Once a process: it is what is loaded."""
    from importlib.metadata import version

    digest = hashlib.sha256(f"numba {version('numba')} numpy {np.__version__} {platform.machine()}".encode())
    package = Path(tickmesh.__file__).resolve().parent
    for part in PROGRAM:
        place = package / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def kernel_codes(config: Config, kernels: Iterable[str]) -> dict[str, str]:
    """Kernel → hash of all that it computes with, or, where it cannot be loaded, of the reason and its file.

    It loads them: what is loaded stays as it is, so a process that is to see changed files must be a new one.
    """
    from tickmesh.nodes.models import cache as kept
    from tickmesh.nodes.models import loading

    found = {}
    for kernel in kernels:
        try:
            loading.use_folder(config)
            file = loading.file_of(kernel)
            kept.use(config, file)
            sources = kept.sources_hash(file)
            try:
                found[kernel] = kept.code_hash(file, loading.load(kernel).kernel)
            except ModelFault as error:
                found[kernel] = f"unusable {sources}: {error}"
        except (OSError, ValueError) as error:
            found[kernel] = f"unusable: {error}"
    return found


def settings_hash(config: Config, words: dict[str, Any]) -> str:
    """16 hex digits over all settings that a backtest reads, and the file of latencies where there is one."""
    mesh = config.mesh
    wanted = set(kernels_of(config))
    models = sorted((one.name, one) for one in mesh.models if one.kernel in wanted)
    chosen = [
        words, [one for _, one in models], sorted(one.subject for one in mesh.instruments), mesh.executor, mesh.strategies,
        mesh.risk, mesh.exchange,
    ]  # fmt: skip
    digest = hashlib.sha256(msgspec.json.encode(chosen, order="sorted"))
    for name in (words.get("latency") or "", mesh.exchange.latencies):
        if name and (path := Path(str(name))).is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class DataIdentity:
    """What is stored of a mesh at one moment: hashes of its files, each read once, and how far its log goes."""

    def __init__(self, config: Config, digest: Digest, shown: Progress = lambda done, of: None):
        """`digest`: of a file's content, perhaps remembered from before; `shown`: how many files are hashed, of how many."""
        self._archive = ArchiveReader(config.archive_dir)
        self._log = LogReader(config.log_dir)
        self._last_seq = self._log.last
        self._digest, self._shown = digest, shown
        self._digests: dict[Path, str] = {}
        self._known: dict[tuple[object, ...], str] = {}
        self._ends: dict[int, int] = {}
        self._marks: dict[str, DataMark] = {}

    def of(self, end_ns: int, bars_of: str = "", start_ns: int = 0) -> str:
        """16 hex digits over all that is stored before a time: files of the days up to it, and the log where it is needed.

        `bars_of`: only what bars of this instrument from `start_ns` on are made of, with trades that came late; a venue's days
        differ from ours by moments, so the neighbours are among them.
        """
        first, last = ("", day_of(end_ns - 1)) if not bars_of else (day_of(start_ns - DAY_NS), day_of(end_ns + DAY_NS))
        in_log = self._in_log(end_ns)
        if (found := self._known.get((first, last, bars_of, in_log))) is None:
            folder = folder_of(Kind.trade, bars_of) if bars_of else ""
            known = [*self._archive.files, *self._archive.overlays] if bars_of else self._archive.files
            files = sorted(one for one in known if first <= one.day <= last and folder in ("", one.folder))
            names = [f"{one.folder} {one.part} {one.path.name}" for one in files]
            lines = [f"{name} {self._of_file(one, len(files))}\n" for name, one in zip(names, files)]
            if in_log:
                lines.append(f"log {self._log.log_id:x} {self._archive.archived_seq} {in_log}\n")
            found = self._known[first, last, bars_of, in_log] = hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
        return found

    def _in_log(self, end_ns: int) -> int:
        """The last seq before a time, where the archive does not go so far; else 0."""
        if end_ns not in self._ends:
            until = min(self._log.seq_at(end_ns), self._last_seq) if self._last_seq > self._archive.archived_seq else 0
            self._ends[end_ns] = until if until > self._archive.archived_seq else 0
        return self._ends[end_ns]

    def _of_file(self, file: File, count: int) -> str:
        if file.path not in self._digests:
            self._digests[file.path] = self._digest(file.path)
            self._shown(len(self._digests), count)
        return self._digests[file.path]

    def mark(self, end_ns: int) -> DataMark:
        """How much sealed data there is up to a time."""
        day = day_of(end_ns - 1)
        if day not in self._marks:
            self._marks[day] = _mark(self._archive, self._archive.mark.sealed_seq, day)
        return self._marks[day]


def has_same_data(config: Config, mark: DataMark) -> str:
    """Why the data of a mesh are not those of a mark, a sentence; "" where they are."""
    own = _mark(ArchiveReader(config.archive_dir), mark.sealed_seq, mark.last_day)
    if own == mark or (own.files, own.bytes) == (mark.files, mark.bytes) == (0, 0):
        return ""
    return (
        f"this worker reads other data in {config.archive_dir} than the one who asked: {own.files} sealed files, {own.bytes} "
        f"bytes up to {mark.last_day}, log {own.log_id:x}; there {mark.files}, {mark.bytes}, log {mark.log_id:x}. Give both "
        "the same shared storage, or a URL"
    )


def _mark(archive: ArchiveReader, sealed_seq: int, day: str) -> DataMark:
    files = [one for one in archive.files if one.day <= day and one.last <= sealed_seq]
    return DataMark(archive.log_id, sealed_seq, day, len(files), sum(one.path.stat().st_size for one in files))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
