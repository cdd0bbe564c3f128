"""One source's data as a whole, restorable copy: what depends on the log never runs ahead of it, and nothing is missing.

First the checkpoints, then what never changes (segments that are full, the archive by its manifest), then one moment at which
the log's newest segment, the archive's manifest and the local exchange's files are held together. So the copy is what a power
cut at that moment would have left, with all of the log on disk; a mesh that begins with it does what it does after a power cut.
"""

import contextlib
import os
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.instruments import FILE as INSTRUMENTS
from tickmesh.bus.segments import LogError, durable_bytes, identities, read_preamble, scan, segments
from tickmesh.storage.archive.catalog import MANIFEST, list_files, read_watermark, visible
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.tools.backing_up.backups import StoredSource
from tickmesh.tools.backing_up.mesh_files import CACHES, DATA
from tickmesh.tools.backing_up.moment import HeldFile, Moment, hold
from tickmesh.tools.backing_up.unfinished import UnfinishedBackup
from tickmesh.tools.sources import MARKET
from tickmesh.tools.terminal import Failure

ROUNDS = 20  # a recorder cuts once a minute, and seals once a day
BESIDE = (INSTRUMENTS, MARKET, "capture.json")  # small files of a source
NOT_EXCHANGE = ("lock", "exchange.key", "exchange.crt")  # the certificate is made anew where it is missing


def sources_of(config: Config) -> list[str]:
    """The sources that have data, sorted."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(
            path.name
            for path in (config.root / config.data).iterdir()
            if any((path / part).exists() for part in ("log", "archive", "exchange", INSTRUMENTS))
        )
    return []


class SourceCopy:
    """Copies one source's data into a backup that is being made. `config`: with this source."""

    def __init__(self, config: Config, staging: UnfinishedBackup):
        self.config, self.staging = config, staging
        self.base = f"{DATA}/{config.source}"
        self._manifest = b""  # of the archive that was taken
        self._live: list[Path] = []  # segments of the log and files of the exchange at the last look

    def take(self, left_out: dict[str, str]) -> StoredSource:
        """Takes everything; what is left out goes into `left_out` with the reason. Raises Failure."""
        self._take_checkpoints()
        for _ in range(ROUNDS):
            self._take_full_files()
            archived_seq = self._take_archive()
            with hold(self._growing) as moment:
                found = [path for path in self._live if path.parent == self.config.log_dir]
                if self._manifest != _manifest_of(moment) or found and int(found[0].stem) > archived_seq + 1:
                    continue  # the archive has gone on meanwhile: the log states so, and may have released what is in it
                last = self._take_moment(moment)
                break
        else:
            raise Failure(
                f"{self.config.archive_dir} went on faster than it could be copied, {ROUNDS} times in a row; try later"
            )
        for name in BESIDE:  # after the log: what it needs was decided before
            with contextlib.suppress(FileNotFoundError):
                self.staging.keep(self.config.source_dir / name, f"{self.base}/{name}")
        for path in sorted(self.config.source_dir.iterdir()):
            known = (*BESIDE, "log", "archive", "checkpoints", "exchange")
            if path.name not in known and not path.name.startswith(".") and path.suffix != ".lock":
                why = CACHES.get(path.name) or CACHES.get(path.name.partition("-")[0])
                left_out[f"{self.base}/{path.name}"] = why or "it is no part of a mesh that is known here"
        known_ids = identities(self.staging.path / self.base / "log") if found else []
        log_id = f"{known_ids[0].log_id:016x}" if known_ids else ""
        self._check_same_mesh(log_id)
        return StoredSource(log_id, int(found[0].stem) if found else 0, last, archived_seq)

    def _check_same_mesh(self, log_id: str) -> None:
        """Raises Failure where the backups in this folder are another log's."""
        before = self.staging.before.sources.get(self.config.source) if self.staging.before is not None else None
        if before is not None and before.log_id and log_id and before.log_id != log_id:
            raise Failure(
                f"{self.staging.folder} has backups of another log of {self.config.source!r} (it began as {before.log_id}, "
                f"this one as {log_id}); take another folder, or move those away"
            )

    def _take_checkpoints(self) -> None:
        folder = self.config.checkpoint_dir
        names = []
        with contextlib.suppress(FileNotFoundError):
            names = sorted(name for name in os.listdir(folder) if not name.endswith(".new") and not name.startswith("."))
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self.staging.keep(folder / name, f"{self.base}/checkpoints/{name}")

    def _take_full_files(self) -> None:
        """Takes segments of the log and files of the exchange's ledger that nobody appends to any more."""
        with contextlib.suppress(LogError):
            for _, path in segments(self.config.log_dir)[:-1]:
                with contextlib.suppress(FileNotFoundError):
                    self.staging.keep(path, f"{self.base}/log/{path.name}")
        for path in sorted(self.config.exchange_dir.glob("ledger-*.bin"))[:-1]:
            with contextlib.suppress(FileNotFoundError):
                self.staging.keep(path, f"{self.base}/exchange/{path.name}")

    def _take_archive(self) -> int:
        """Takes the archive as one manifest shows it; gives its watermark. A seal or a prune meanwhile: the next manifest."""
        folder, base = self.config.archive_dir, f"{self.base}/archive"
        for _ in range(ROUNDS):
            self.staging.drop_others(f"{base}/", set())
            try:
                self._manifest = raw = (folder / MANIFEST).read_bytes()
            except FileNotFoundError:
                self._manifest = b""
                return 0
            try:
                mark = read_watermark(folder)
                if (folder / MANIFEST).read_bytes() != raw:
                    continue
                for file in visible(list_files(folder), mark):
                    self.staging.keep(file.path, f"{base}/{file.path.relative_to(folder)}")
                with contextlib.suppress(FileNotFoundError):
                    self.staging.keep(folder / "exported.json", f"{base}/exported.json")
            except FileNotFoundError:
                continue
            except ArchiveError as error:
                raise Failure(f"{error}. Nothing was backed up") from None
            self.staging.write(f"{base}/{MANIFEST}", raw, (folder / MANIFEST).stat().st_mode & 0o777)
            return mark.archived_seq
        raise Failure(f"{folder} has changed {ROUNDS} times while it was read: seals and prunes follow one another; try later")

    def _growing(self) -> list[Path]:
        """The manifest, segments and files of the exchange that are not taken yet; `_live` has all segments and files then."""
        in_log = [path for _, path in segments(self.config.log_dir)]
        in_exchange: list[Path] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.config.exchange_dir) as entries:
            for entry in entries:
                if entry.name not in NOT_EXCHANGE and not entry.name.endswith(".new") and entry.is_file():
                    in_exchange.append(Path(entry.path))
        self._live = [*in_log, *sorted(in_exchange)]
        ledger = [path for path in sorted(in_exchange) if path.name.startswith("ledger-")]
        full = {self._name(path) for path in (*in_log[:-1], *ledger[:-1])}
        growing = [path for path in self._live if self._name(path) not in full & self.staging.files.keys()]
        manifest = self.config.archive_dir / MANIFEST
        return [manifest, *growing] if manifest.exists() else growing

    def _name(self, path: Path) -> str:
        """The name of a file of the log, or of the exchange, in the backup."""
        return f"{self.base}/{path.parent.name}/{path.name}"

    def _take_moment(self, moment: Moment) -> int:
        """Takes the files of the moment; gives the log's last number then."""
        in_log = [held for held in moment.held if held.path.parent == self.config.log_dir]
        for held in moment.held:
            if held not in in_log[-1:] and held.path.name != MANIFEST:
                self.staging.keep_open(held.fd, held.stat, self._name(held.path))
        for folder in ("log", "exchange"):
            self.staging.drop_others(f"{self.base}/{folder}/", set(map(self._name, self._live)))
        return self._take_newest(in_log[-1]) if in_log else 0

    def _take_newest(self, held: HeldFile) -> int:
        """Takes the newest segment up to its last whole batch, and says in `durable` that all of that is on disk."""
        data = os.pread(held.fd, held.stat.st_size, 0)
        try:
            head = read_preamble(Path(f"/proc/self/fd/{held.fd}"))
        except LogError as error:
            raise Failure(f"{held.path}: {error}. Nothing was backed up") from None
        end, last = head.size, head.first - 1
        for stop, batch in scan(data, head.size):
            end, last = stop, batch.last
        name = self._name(held.path)
        if end == len(data):
            self.staging.keep_open(held.fd, held.stat, name)
        else:
            self.staging.write(name, data[:end])
        self.staging.write(f"{self.base}/log/durable", durable_bytes(last, head.log_id))
        return last


def _manifest_of(moment: Moment) -> bytes:
    """The archive's manifest at the moment; b"" where there was none."""
    return b"".join(os.pread(held.fd, held.stat.st_size, 0) for held in moment.held if held.path.name == MANIFEST)
