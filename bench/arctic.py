"""One-minute bars by ArcticDB, where it is installed (extra `bench`): a library in LMDB, and its own resampling."""

from collections.abc import Iterable
from importlib import import_module, util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

INSTALLED = util.find_spec("arcticdb") is not None
SYMBOL = "trades"
AGGREGATES = {
    "open_ticks": ("price_ticks", "first"), "high_ticks": ("price_ticks", "max"), "low_ticks": ("price_ticks", "min"),
    "close_ticks": ("price_ticks", "last"), "volume_lots": ("quantity_lots", "sum"), "count": ("quantity_lots", "count"),
}  # fmt: skip


def stored(folder: Path, trades: Iterable[np.ndarray]) -> Any:
    """Stores TRADE records, in order of venue time, in a new library; gives it."""
    library = import_module("arcticdb").Arctic(f"lmdb://{folder}/arctic").create_library("bench")
    for records in trades:
        index = pd.DatetimeIndex(records["venue_ns"].astype("M8[ns]"))
        library.append(SYMBOL, pd.DataFrame({name: records[name] for name in ("price_ticks", "quantity_lots")}, index))
    return library


def minutes(library: Any) -> pd.DataFrame:
    """One-minute bars of all trades: AGGREGATES' columns, by the minute's begin."""
    query = import_module("arcticdb").QueryBuilder().resample("1min").agg(AGGREGATES)
    frame: pd.DataFrame = library.read(SYMBOL, query_builder=query).data
    return frame


def check(frame: pd.DataFrame, bars: np.ndarray) -> None:
    """Raises AssertionError where the bars are not those of BAR rows."""
    assert (frame.index.astype("M8[ns]").astype("i8") == bars["begin_ns"]).all(), "the minutes of ArcticDB differ"
    for name in AGGREGATES:
        assert (frame[name].to_numpy() == bars[name]).all(), f"{name} of ArcticDB differs"
