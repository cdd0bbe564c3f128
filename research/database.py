"""`tickmesh.open()`: everything that a mesh has recorded, or a copy or an export of it, as one object."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.table_names import TABLES
from tickmesh.research.bar_selection import BarSelection, BarTerms
from tickmesh.research.sources import DataSource, MeshSource, TopicStock
from tickmesh.research.topics import Topics
from tickmesh.storage.query import bars as resample
from tickmesh.storage.query.coverage import COVERED, described
from tickmesh.storage.query.gaps import Gaps
from tickmesh.storage.query.names import Instruments, resolve, several
from tickmesh.storage.query.times import ReadError, Time, span_ns

if TYPE_CHECKING:
    import duckdb
    import pandas

    from tickmesh.research.selection import Selection
    from tickmesh.storage.query.durations import Every
    from tickmesh.storage.query.resampling import Rule, Size


class Database(Topics):
    """What was recorded in one place, up to this moment; `tickmesh.open()` makes it. Nothing is written."""

    def __init__(self, source: DataSource):
        super().__init__(source)
        self.source = source

    def __repr__(self) -> str:
        there = ", ".join(self.instruments) or "nothing yet"
        return f"tickmesh data in {self.place}: {there}\n{', '.join(TABLES)}, bars, books, features, coverage, sql"

    @property
    def place(self) -> Path:
        """The folder that is read."""
        return self.source.place

    @property
    def instruments(self) -> list[str]:
        """The `venue.symbol` of every instrument."""
        return self.source.instruments()

    @property
    def topics(self) -> list[str]:
        """The topics of which something is stored; those of processes as `health.*`."""
        return [one.topic for one in self.stock()]

    def stock(self) -> list[TopicStock]:
        """What is stored of each topic: days, rows, bytes. `mesh ls` prints it."""
        return self.source.stock()

    def topic(self, topic: str, start: Time = None, end: Time = None, gaps: Gaps = "warn") -> "Selection":
        """Chooses a topic, `kind.instrument` or `kind.process`. `db.topic("trade.binance.BTCUSDT").head()`"""
        name, _, subject = topic.partition(".")
        kind = TABLES.get(name) or Kind.__members__.get(name)
        if kind is None:
            kinds = ", ".join(kind.name for kind in Kind)
            raise ReadError(f"{topic!r} is no topic; it should be kind.subject like trade.binance.BTCUSDT, kind one of {kinds}")
        return self.select(kind, subject if subject not in ("", "*") else None, start, end, gaps)

    def bars(
        self, instruments: Instruments, every: resample.Every = "1m", start: Time = None, end: Time = None,
        source: resample.Source = "auto", fill: bool = False, gaps: Gaps = "warn", off_book: bool = False,
    ) -> BarSelection:  # fmt: skip
        """Bars of any length of whole seconds (docs/bars.md), by venue time. `db.bars("BTCUSDT", "1m").to_pandas()`"""
        config = self._config("bars")
        subjects = resolve(self.instruments, instruments, self.place)
        return BarSelection(config, subjects, BarTerms(every, start, end, source, fill, gaps, off_book))

    def resample(
        self, instruments: Instruments, rule: "Rule", size: "Size", start: Time = None, end: Time = None
    ) -> "pandas.DataFrame":
        """Bars by activity, by the log's time: `db.resample("BTCUSDT", "ticks", 100)`, one after the other of several.

        `rule`: "time" ("100ms" …), "ticks", "volume", "notional", "…_imbalance" (storage/query/resampling.py has the columns).
        """
        import pandas

        from tickmesh.storage.query.resampling import frame

        config = self._config("bars")
        frames = []
        for subject in resolve(self.instruments, instruments, self.place):
            venue, _, instrument = subject.partition(".")
            own = frame(config, subject, rule, size, start, end)
            own.insert(0, "venue", venue)
            own.insert(1, "instrument", instrument)
            frames.append(own)
        return frames[0] if len(frames) == 1 else pandas.concat(frames)

    def books(
        self, instrument: str, at: Time = None, every: "Every | None" = None, start: Time = None, end: Time = None,
        levels: int = 10,
    ) -> "pandas.DataFrame":  # fmt: skip
        """The book at a time, or now: side, price, quantity of each level. `db.books("BTCUSDT", at="2024-08-09T12:00")`

        With `every` ("1s", "100ms") samples of it instead, of start ≤ t < end, with the best `levels` of each side
        (research/book_frames.py names the columns). As arrays, and in a kernel of yours: docs/books.md.
        """
        from tickmesh.research.book_frames import book_frame, sampled_books

        config = self._config("books")
        subject = self._one(instrument, "a book is")
        if every is None:
            if start is not None or end is not None:
                raise ReadError('a start and an end are of samples: say every="1s" too, or at=… for one moment')
            return book_frame(config, subject, at)
        if at is not None:
            raise ReadError("a book is asked for at a time, or every so often from a start to an end; give one of them")
        return sampled_books(config, subject, every, start, end, levels)

    def features(
        self, instrument: str, names: str | Sequence[str], start: Time = None, end: Time = None, every: "Every | None" = "1s",
        parameters: Mapping[str, float] | None = None, warm: "Every | None" = None,
    ) -> "pandas.DataFrame":  # fmt: skip
        """Features of docs/features.md: `db.features("BTCUSDT", ["ofi", "microprice"], "2024-08-09", "2024-08-10", every="1s")`

        A row for each multiple of `every` (None: after each event that they are made of): what followed from all events up to
        that time, the last of them being `seq`. All that was recorded before `start` goes into it, or with `warm` ("1h") the
        archive's days from so long before. NaN: not known yet.
        """
        from tickmesh.research.feature_frames import feature_frame

        return feature_frame(
            self._config("features"),
            self._one(instrument, "features are"),
            several(names, "features"),
            start,
            end,
            every,
            parameters,
            warm,
        )

    def _one(self, instrument: str, what: str) -> str:
        """The one subject that is meant."""
        found = resolve(self.instruments, instrument, self.place)
        if len(found) != 1:
            raise ReadError(f"{instrument} are {len(found)} instruments; {what} of one: {', '.join(found)}")
        return found[0]

    def _config(self, what: str) -> Config:
        """The settings of what is read, for what an export has not."""
        if isinstance(self.source, MeshSource):
            return self.source.config
        raise ReadError(
            f"{self.place} is an export, which has ticks and no {what}; open the mesh or its data folder, or make them of its "
            "rows with polars"
        )

    def coverage(
        self, instruments: Instruments = None, kinds: str | Iterable[str] = (), start: Time = None, end: Time = None
    ) -> "pandas.DataFrame":
        """What is known of each stored interval: complete, repaired, missing or unproven, and why. `db.coverage("BTCUSDT")`

        `kinds`: of trade, quote, depth; else all. A row for each interval (docs/coverage.md); times are UTC.
        """
        import pandas

        kinds = several(kinds, "kinds")
        wanted = [Kind[one] for one in kinds if one in Kind.__members__] if kinds else list(COVERED)
        if not wanted or not set(wanted) <= set(COVERED):
            raise ReadError(f"{', '.join(kinds)}: coverage is of {', '.join(one.name for one in COVERED)}")
        rows, span = [], span_ns(start, end)
        for subject in resolve(self.instruments, instruments, self.place):
            for kind in wanted:
                ledger = self.source.ledger(kind, subject, *span)
                rows += [{"instrument": subject, **one} for one in described(ledger)]
        names = ["instrument", "kind", "state", "first_id", "last_id", "begin", "end", "evidence", "reason", "era"]
        frame = pandas.DataFrame(rows, columns=names)
        for name in ("begin", "end"):
            frame[name] = pandas.to_datetime(frame[name], utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
        return frame

    def sql(
        self, text: str, instruments: Instruments = None, start: Time = None, end: Time = None
    ) -> "duckdb.DuckDBPyRelation":
        """Runs SQL over tables trades, quotes, depth, … `db.sql("select side, count(*) from trades group by all").fetchall()`

        Of large data name instruments and a span: they bound what is read (research/sql.py).
        """
        from tickmesh.research.sql import query

        return query(self, text, instruments, start, end)

    def exponents(self, instrument: str) -> list[tuple[int, int, int]]:
        """(from this seq on, price exponent, quantity exponent) of an instrument's definitions. `db.exponents("BTCUSDT")`"""
        subject = self._one(instrument, "exponents are")
        if isinstance(self.source, MeshSource):
            from tickmesh.storage.query.reader import definitions

            return definitions(self.source.config, subject)
        seen: list[tuple[int, int, int]] = []
        for part in self.source.parts(Kind.trade, subject, None, None, 1 << 62, scaled=True):
            if not seen or seen[-1][1:] != part.exponents:
                seen.append((int(np.min(part.rows["seq"])), *part.exponents))
        return seen
