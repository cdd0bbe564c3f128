"""What bars are told of the coverage ledger: which of them an interval touches that is missing or in doubt."""

import warnings
from typing import get_args

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.query import coverage
from tickmesh.storage.query.gaps import CoverageError, CoverageWarning, Gaps, Rows, check_recorded, outside, sentence
from tickmesh.storage.query.times import ReadError

STREAMS = {Kind.trade: 1, Kind.quote: 2}  # bit of a stream in the field `missing`
FOREVER = np.iinfo("i8").max


def bars_with_coverage(config: Config, subject: str, window: Window, bars: np.ndarray, gaps: Gaps) -> Rows:
    """Adds `coverage` to `bars`: the ledger's rows of trades and quotes that touch the window, by venue time.

    Where something is missing: "warn" (CoverageWarning), "raise" (CoverageError), "mask" (one more field `missing`, u1: 1 where
    trades of the bar may be missing, 2 quotes, 3 both), "ignore" (the ledger is not even read).
    """
    if gaps not in get_args(Gaps):
        raise ReadError(f"gaps={gaps!r} is unknown; it should be one of {', '.join(map(repr, get_args(Gaps)))}")
    out = bars.view(Rows)
    if gaps == "ignore":
        return out
    whole = coverage.look(config, subject).rows
    check_recorded(config, Kind.trade, subject, (window.start_ns, window.end_ns), gaps, whole)
    ledger = coverage.chosen(whole, list(STREAMS), window.start_ns, window.end_ns)
    lost = coverage.lacking(ledger)
    for kind in STREAMS:
        own = lost[lost["stream"] == kind]
        if len(own) and gaps == "raise":
            raise CoverageError(sentence(kind, subject, own), own)
        if len(own) and gaps == "warn":
            warnings.warn(sentence(kind, subject, own), CoverageWarning, stacklevel=outside())
    if gaps == "mask":
        out = with_missing(bars, lost, window.every_ns).view(Rows)
    out.coverage = ledger
    return out


def with_missing(bars: np.ndarray, lost: np.ndarray, every_ns: int) -> np.ndarray:
    """Adds a field `missing` to `bars`. `lost`: COVERAGE rows; the missing ids lie between their begin_ns and end_ns."""
    out = np.zeros(len(bars), np.dtype([*bars.dtype.descr, ("missing", "u1")]))
    for name in bars.dtype.names or ():
        out[name] = bars[name]
    for row in lost:
        last = int(row["end_ns"]) or FOREVER
        touched = (bars["begin_ns"] > int(row["begin_ns"]) - every_ns) & (bars["begin_ns"] <= last)
        out["missing"][touched] |= STREAMS[Kind(row["stream"])]
    return out
