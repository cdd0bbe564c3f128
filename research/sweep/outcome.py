"""What came of a sweep: its rows from the store, its trials with the best first, and which parts failed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickmesh.research.backtest.measures.measure import Measure
from tickmesh.research.backtest.report import plain
from tickmesh.research.sweep.store import StoredPart, SweepStore
from tickmesh.research.sweep.trials import TrialSummary, summaries
from tickmesh.storage.query.coverage import iso

if TYPE_CHECKING:
    import pandas

FEW = 10  # trials: how much Sharpe ratios vary is hardly known from fewer


@dataclass(frozen=True)
class SweepOutcome:
    """A sweep of backtests. `computed`: how many parts were computed now, the others were kept from before.

    `made`: trials of the same strategies that the store has of all sweeps. Rows are read from it when they are asked for.
    """

    store: Path
    keys: list[str] = field(repr=False)
    parameters: list[dict[str, Any]] = field(repr=False)  # of each key
    interval_ns: int
    made: int
    computed: int

    def rows(self) -> Iterator[StoredPart]:
        """A row for each (parameters, period, instrument), one trial after the other."""
        with SweepStore(self.store) as kept:
            for parameters, key in zip(self.parameters, self.keys):  # as they were said now: 1 and "1.0" may be the same part
                yield from (row._replace(parameters=parameters) for row in kept.rows([key]))

    @cached_property
    def _summed(self) -> tuple[list[TrialSummary], Measure, int]:
        alive = {(row.instrument, row.start_ns) for row in self.rows() if not row.error}
        hopeless = {(row.instrument, row.start_ns) for row in self.rows() if row.error} - alive
        return summaries(self.rows(), self.interval_ns, self.made, hopeless)

    @property
    def trials(self) -> list[TrialSummary]:
        """Each combination of parameters over all its parts: the highest Sharpe ratio first, those without one last."""
        return self._summed[0]

    @property
    def by_luck(self) -> Measure:
        """The annualised Sharpe ratio to be expected of the best of so many trials without skill."""
        return self._summed[1]

    @property
    def trials_counted(self) -> int:
        """How many trials that counts: also those of earlier sweeps of the same strategies, in this store."""
        return self._summed[2]

    @cached_property
    def failures(self) -> list[dict[str, Any]]:
        """The parts that failed: parameters, instrument, start, end, error."""
        return [_named(row) | {"error": row.error} for row in self.rows() if row.error]

    @cached_property
    def notes(self) -> list[str]:
        """What a reader has to know beside the figures."""
        found = []
        rows = list(self._coverage())
        if incomplete := sum(1 for one in rows if one):
            found.append(f"Of {incomplete} of {len(rows)} parts data are missing; their rows say which.")
        if self.failures:
            found.append(f"{len(self.failures)} of {len(self.keys)} parts failed; they are tried again the next time.")
        known = sum(1 for one in self.trials if one.sharpe.value is not None)
        if 2 <= known < FEW:
            found.append(f"How much the Sharpe ratios vary is known from {known} alone: the deflated ones are rough.")
        return found

    def _coverage(self) -> Iterator[tuple[str, ...]]:
        return (row.coverage for row in self.rows() if not row.error)

    def to_pandas(self) -> "pandas.DataFrame":
        """A frame with a row for each part: parameters, instrument, start, end (UTC), measures, error, coverage."""
        import pandas

        frame = pandas.DataFrame([flat(row) for row in self.rows()])
        for name in ("start", "end"):
            frame[name] = pandas.to_datetime(frame[name], utc=True, format="ISO8601")
        return frame

    def as_dict(self) -> dict[str, Any]:
        """The outcome as `mesh sweep --json` prints it (docs/scale.md)."""
        return {
            "store": str(self.store), "parts": len(self.keys), "computed": self.computed, "interval_ns": self.interval_ns,
            "trials_counted": self.trials_counted, "by_luck": self.by_luck.as_dict(), "notes": self.notes,
            "trials": [plain(one._asdict()) for one in self.trials], "failures": self.failures,
            "rows": [plain(flat(row)) for row in self.rows()],
        }  # fmt: skip


@dataclass(frozen=True)
class BarsOutcome:
    """Bars of days × instruments. `files`: all of them, in order; `computed`: how many were made now."""

    store: Path
    keys: list[str] = field(repr=False)
    files: list[str] = field(repr=False)
    computed: int

    @cached_property
    def failures(self) -> list[dict[str, Any]]:
        """The parts that failed: instrument, start, end, error."""
        with SweepStore(self.store) as kept:
            return [_named(row) | {"error": row.error} for row in kept.rows(self.keys) if row.error]

    @cached_property
    def bars(self) -> int:
        """How many bars the files have."""
        with SweepStore(self.store) as kept:
            return sum(int(row.measures["bars"] or 0) for row in kept.rows(self.keys) if not row.error)

    def as_dict(self) -> dict[str, Any]:
        """The outcome as `mesh sweep --bars --json` prints it."""
        return {
            "store": str(self.store), "files": self.files, "computed": self.computed, "bars": self.bars,
            "failures": self.failures,
        }  # fmt: skip


def _named(row: StoredPart) -> dict[str, Any]:
    return {**row.parameters, "instrument": row.instrument, "start": iso(row.start_ns), "end": iso(row.end_ns)}


def flat(row: StoredPart) -> dict[str, Any]:
    """A row as one map: parameters, instrument, start, end, measures, error, coverage as one text."""
    return {**_named(row), **row.measures, "error": row.error, "coverage": "; ".join(row.coverage)}
