"""Bars of one or several instruments, of which nothing is computed until it is asked for in some form."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.research.libraries import library
from tickmesh.storage.query import bars as resample
from tickmesh.storage.query.gaps import Gaps
from tickmesh.storage.query.times import ReadError, Time, span_ns

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa


class BarTerms(NamedTuple):
    """Which bars are wanted: arguments of `tickmesh.storage.query.bars.frame`."""

    every: resample.Every
    start: Time = None
    end: Time = None
    source: resample.Source = "auto"
    fill: bool = False
    gaps: Gaps = "warn"
    off_book: bool = False


class BarSelection:
    """Bars: OHLCV, buy volume, notional, VWAP, the last quote, spreads (docs/bars.md). Time is the venue's."""

    def __init__(self, config: Config, subjects: list[str], terms: BarTerms):
        self._config, self._subjects = config, subjects
        start_ns, end_ns = span_ns(terms.start, terms.end)
        self._terms = terms._replace(start=start_ns, end=end_ns, every=resample.seconds(terms.every))

    def __repr__(self) -> str:
        return f"bars of {self._terms.every} s of {', '.join(self._subjects)}; .to_pandas(), .to_polars() … compute them"

    def to_pandas(self) -> "pandas.DataFrame":
        """Computes a pandas frame: index `time` (the bar's beginning, UTC), `venue`, `instrument`, then the bar's columns.

        Several instruments come one after the other.
        """
        import pandas

        frames = []
        for subject in self._subjects:
            frame = resample.frame(self._config, subject, *self._terms[:3], **self._options())  # type: ignore[arg-type]
            venue, _, instrument = subject.partition(".")
            frame.insert(0, "venue", venue)
            frame.insert(1, "instrument", instrument)
            frames.append(frame)
        return frames[0] if len(frames) == 1 else pandas.concat(frames)

    def _options(self) -> dict[str, object]:
        return {name: getattr(self._terms, name) for name in ("source", "fill", "gaps", "off_book")}

    def to_arrow(self) -> "pa.Table":
        """Computes an Arrow table: `time` first, ns without a zone, which mean UTC."""
        arrow = library("pyarrow", "reading tables")
        frame = self.to_pandas().reset_index()
        frame["time"] = frame["time"].dt.tz_localize(None).astype("datetime64[ns]")
        frame.attrs = {}
        table: pa.Table = arrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        return table

    def to_polars(self) -> "polars.DataFrame":
        """Computes a polars frame, with the columns of `to_arrow`."""
        frame: polars.DataFrame = library("polars", "a polars frame").from_arrow(self.to_arrow())
        return frame

    def to_numpy(self) -> np.ndarray:
        """Computes bars as `tickmesh.storage.query.bars.bars` does: mantissas, dtype BAR. Of one instrument."""
        if len(self._subjects) != 1:
            raise ReadError(
                f"bars of {len(self._subjects)} instruments fit into no array: name one of {', '.join(self._subjects)}"
            )
        return resample.bars(self._config, self._subjects[0], *self._terms[:3], **self._options())  # type: ignore[arg-type]
