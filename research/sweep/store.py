"""Where a sweep's answers are kept: one SQLite file. What is in it is not computed again; several sweeps may share it."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tickmesh.bus.clock import now_ns
from tickmesh.research.sweep.identity import sha256_of
from tickmesh.research.sweep.parts import PartAnswer, SweepPart
from tickmesh.storage.query.times import ReadError

SCHEMA_VERSION = 1
# An answer is in the file when its process is killed; a power cut may cost the last ones, and never the file.
AT_EASE = "pragma journal_mode = wal; pragma synchronous = normal;"
TABLES = """
create table if not exists format (schema integer not null);
create table if not exists parts (
    key text primary key, work text, family text, trial text, parameters text, instrument text, start_ns integer,
    end_ns integer, interval_ns integer, done_ns integer, seconds real, error text, coverage text, currency text, measures text,
    why text, gains blob);
create index if not exists of_family on parts (family, trial);
create table if not exists files (path text primary key, size integer, mtime_ns integer, digest text);
"""


class StoredPart(NamedTuple):
    """One row: a part and what became of it. `gains`: float64, one a whole interval; `error` "": it is done."""

    parameters: dict[str, Any]
    instrument: str
    start_ns: int
    end_ns: int
    error: str
    measures: dict[str, float | int | None]
    why: dict[str, str]
    coverage: tuple[str, ...]
    currency: str
    gains: np.ndarray
    seconds: float


class SweepStore:
    """One open store. Every answer is in it when `put` returns. All methods raise ReadError for a file that is none."""

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=60.0)
            self._file.executescript(AT_EASE + TABLES)
            row = self._file.execute("select schema from format").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise ReadError(
                f"{path} cannot be used to keep a sweep: {error}; allowed is a new file, or one of mesh sweep"
            ) from None
        if row is None:
            self._write("insert into format values (?)", (SCHEMA_VERSION,))
        elif row[0] != SCHEMA_VERSION:
            self._file.close()
            raise ReadError(
                f"{path} has schema {row[0]} of sweeps, this version of tickmesh reads {SCHEMA_VERSION}; name another file"
            )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "SweepStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, text: str, values: tuple[Any, ...]) -> None:
        try:
            with self._file:
                self._file.execute(text, values)
        except sqlite3.Error as error:
            raise ReadError(
                f"{self.path} cannot be written: {error}; what it has stays, the same sweep goes on later"
            ) from None

    def put(self, part: SweepPart, family: str, trial: str, answer: PartAnswer) -> None:
        """Keeps an answer, in place of an earlier one of its key."""
        values = (
            part.key, part.work, family, trial, _text(part.parameters), part.instrument, part.start_ns, part.end_ns,
            part.interval_ns, now_ns(), answer.seconds, answer.error, _text(answer.coverage), answer.currency,
            _text(answer.measures), _text(answer.why), answer.gains,
        )  # fmt: skip
        self._write(f"insert or replace into parts values ({', '.join('?' * len(values))})", values)

    def done(self, keys: Iterable[str]) -> set[str]:
        """Chooses the keys that are computed, without an error."""
        found = set()
        with closing(self._file.cursor()) as cursor:
            for key in keys:
                row = cursor.execute("select error from parts where key = ?", (key,)).fetchone()
                if row is not None and not row[0]:
                    found.add(key)
        return found

    def rows(self, keys: Iterable[str]) -> Iterator[StoredPart]:
        """The rows of these keys, in their order; one after the other, so that no more than one is held."""
        text = (
            "select parameters, instrument, start_ns, end_ns, error, measures, why, coverage, currency, gains, seconds "
            "from parts where key = ?"
        )
        for key in keys:
            if (row := self._file.execute(text, (key,)).fetchone()) is not None:
                parameters, instrument, start_ns, end_ns, error, measures, why, coverage, currency, gains, seconds = row
                decode = msgspec.json.decode
                yield StoredPart(
                    decode(parameters), instrument, start_ns, end_ns, error, decode(measures), decode(why),
                    tuple(decode(coverage)), currency, np.frombuffer(gains, "<f8"), seconds,
                )  # fmt: skip

    def trials(self, family: str) -> int:
        """How many trials of a family (the same strategies on the same mesh) were ever made, thrown away or not."""
        text = "select count(distinct trial) from parts where family = ? and error = ''"
        return int(self._file.execute(text, (family,)).fetchone()[0])

    def digest(self, path: Path, compute: Callable[[Path], str] = sha256_of) -> str:
        """The hash of a file's content; of one of the same size and time as before it is not read again."""
        stat = path.stat()
        known = self._file.execute(
            "select digest from files where path = ? and size = ? and mtime_ns = ?", (str(path), stat.st_size, stat.st_mtime_ns)
        ).fetchone()
        if known is not None:
            return str(known[0])
        found = compute(path)
        self._write("insert or replace into files values (?, ?, ?, ?)", (str(path), stat.st_size, stat.st_mtime_ns, found))
        return found


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
