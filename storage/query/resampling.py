"""Bars closed by trades, volume, notional, imbalance or the log's time, and aggregates by a function of your own.

In order of `seq`, as the mesh had the events and a model sees them: a trade that was repaired late is where it came, and time
is `seq_ns`. Bars of venue time, with every trade in its place, are those of storage/query/bars.py.
"""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.catalog import day_of
from tickmesh.storage.archive.file import folder_of
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.bars.activity import BOUNDS, PROGRESS, RULES, STANDARD, TIME, Reducer, compiled, standard
from tickmesh.storage.bars.bar import WORD, as_float
from tickmesh.storage.columns import reading
from tickmesh.storage.columns.span import SubjectColumns
from tickmesh.storage.query import reader
from tickmesh.storage.query.durations import Every, nanoseconds
from tickmesh.storage.query.gaps import check_recorded
from tickmesh.storage.query.known import check_known
from tickmesh.storage.query.own_functions import FAILURES, failure
from tickmesh.storage.query.scales import scaled
from tickmesh.storage.query.times import ReadError, Time, span_ns, to_ns

if TYPE_CHECKING:
    import pandas

Rule = Literal["time", "ticks", "volume", "notional", "tick_imbalance", "volume_imbalance", "notional_imbalance"]
Size = Every | Decimal | float
KINDS = (Kind.trade, Kind.quote, Kind.gap)
ROWS_OUT = 1 << 14  # bars that are handed out at once
BARS_MAX = 20_000_000
FOREVER_NS = (1 << 63) - 1
NOTHING = {kind: np.zeros(0, DTYPES[kind]) for kind in (Kind.trade, Kind.quote)}

assert get_args(Rule) == RULES


def resample(
    config: Config, subject: str, rule: Rule, size: Size, start: Time = None, end: Time = None,
    reducer: Reducer = standard, dtype: np.dtype = STANDARD,
) -> np.ndarray:  # fmt: skip
    """Reduces trades and quotes of start ≤ seq_ns < end to one row a bar: (n,) of BOUNDS' fields, then `dtype`'s.

    `rule` and `size` end a bar (storage/bars/activity.py): "time" with "100ms", "1m" …; "ticks" with trades; "volume" with a
    quantity, "notional" with an amount of the quote currency, both in decimals; "…_imbalance" alike. The last bar may not be
    `complete`; `gaps` counts where trades or quotes are missing.

    reducer(bar, before, row, record, quotes, trades) is a function for numba that adds one record to `bar`: quotes[record] or
    trades[record], as row.kind says. `bar` is zeros at its first record, `before` the bar before it. Sums are mantissas.
    Raises ReadError for what cannot be, and for a reducer that does not compile or raises.
    """
    parts: list[np.ndarray] = []
    total = 0
    for part in resample_chunks(config, subject, rule, size, start, end, reducer, dtype):
        total += len(part)
        if total > BARS_MAX:
            raise ReadError(f"more than {BARS_MAX} bars; take a larger size or a shorter range, or resample_chunks")
        parts.append(part)
    return np.concatenate([np.zeros(0, row_dtype(dtype)), *parts])


def row_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of a bar that a reducer of `dtype` makes. Raises ReadError where both have a field of one name."""
    twice = set(BOUNDS.names or ()) & set(dtype.names or ())
    if twice or not dtype.names:
        raise ReadError(f"a reducer's dtype has named fields, none of them {', '.join(BOUNDS.names or ())}; this is {dtype}")
    return np.dtype([*BOUNDS.descr, *dtype.descr])


def resample_chunks(
    config: Config, subject: str, rule: Rule, size: Size, start: Time = None, end: Time = None,
    reducer: Reducer = standard, dtype: np.dtype = STANDARD,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Reduces as `resample` does, in parts of bounded size: no more than a span of columns is in memory."""
    every, limits = _measure(config, subject, rule, size, start, end)
    start_ns, end_ns = span_ns(start, end)
    within = np.array([start_ns or 0, FOREVER_NS if end_ns is None else end_ns], "i8")
    joined, run = row_dtype(dtype), compiled(reducer)
    bounds, bars, progress = np.zeros(ROWS_OUT + 2, BOUNDS), np.zeros(ROWS_OUT + 2, dtype), np.zeros(1, PROGRESS)
    n, known = 1, False
    for columns in _columns(config, subject, start):
        known, row = True, 0
        quotes, trades = (columns.records.get(kind, NOTHING[kind]) for kind in (Kind.quote, Kind.trade))
        seqs = columns.seqs.astype("i8")
        while row < len(seqs):
            try:
                row, n = run(
                    columns.rows, seqs, quotes, trades, row, within, RULES.index(rule), every, limits, progress, bounds, bars, n
                )
            except FAILURES as error:
                raise failure(reducer, error, subject) from error
            if n > ROWS_OUT:
                yield _joined(bounds[1:n], bars[1:n], joined)
                n = _begin_again(bounds, bars, n)
        if len(columns.rows) and columns.rows["seq_ns"][-1] >= within[1]:
            break
    n += int(progress["open"][0])
    if n > 1:
        yield _joined(bounds[1:n], bars[1:n], joined)
    if not known:
        check_known(config, Kind.trade, subject)


def _begin_again(bounds: np.ndarray, bars: np.ndarray, n: int) -> int:
    """Keeps the last closed bar as row 0, and the one that is open or next, which may be begun, as row 1."""
    bars[0], following = bars[n - 1].copy(), n < len(bars)
    for table in (bounds, bars):
        kept = table[n].copy() if following else np.zeros((), table.dtype)
        table[1:] = np.zeros((), table.dtype)
        table[1] = kept
    return 1


def _joined(bounds: np.ndarray, bars: np.ndarray, dtype: np.dtype) -> np.ndarray:
    out = np.zeros(len(bars), dtype)
    for table in (bounds, bars):
        for name in table.dtype.names or ():
            out[name] = table[name]
    return out


def _columns(config: Config, subject: str, start: Time) -> Iterator[SubjectColumns]:
    """The columns of `subject`, from the beginning of the archive's day of `start` on."""
    after, start_ns = 0, to_ns(start)
    if start_ns is not None:
        folder = folder_of(Kind.trade, subject)
        days = [f.last for f in ArchiveReader(config.archive_dir).files if f.folder == folder and f.day < day_of(start_ns)]
        after = max(days, default=0)
    for span in reading.spans(config, KINDS, after=after, subject=subject):
        yield from (columns for columns in span.subjects if columns.subject == subject)


def _measure(config: Config, subject: str, rule: Rule, size: Size, start: Time, end: Time) -> tuple[int, np.ndarray]:
    """(ns of a bar by time, the numbers that end one by activity: at least, at most; in two words each)."""
    if rule not in RULES:
        raise ReadError(f"rule = {rule!r} is unknown; allowed are {', '.join(RULES)}")
    if rule == RULES[TIME]:
        if isinstance(size, (Decimal, float)):
            raise ReadError(f"size = {size!r} is no length of time; allowed are whole seconds, or like 100ms, 1m, 4h")
        return nanoseconds(size), np.zeros((2, 2), "i8")
    exponent = 0
    if not rule.startswith("tick"):
        definitions = reader.definitions(config, subject, start, end)
        if len(definitions) > 1:
            raise ReadError(f"{subject}: the venue's definition changes at seq {definitions[1][0]} of this range; ask for less")
        _, price, quantity = definitions[0]
        exponent = quantity + (price if rule.startswith("notional") else 0)
    try:
        mantissa = Decimal(str(size)).scaleb(-exponent)
        whole = int(mantissa)
    except (InvalidOperation, ValueError, OverflowError):
        raise ReadError(f"size = {size!r} is no number; {rule} wants one above 0") from None
    if whole != mantissa or not 0 < whole < WORD * WORD:
        raise ReadError(f"size = {size!r} is no size for {rule}; it is a multiple of 10^{exponent} above 0")
    least = [whole // WORD, whole % WORD]
    most = [-whole // WORD, -whole % WORD] if rule.endswith("imbalance") else [-(1 << 63), 0]
    return 0, np.array([least, most], "i8")


def frame(config: Config, subject: str, rule: Rule, size: Size, start: Time = None, end: Time = None) -> "pandas.DataFrame":
    """Reduces as `resample` does, to a DataFrame with decimal columns and a UTC index `time`, the first event of each bar.

    Columns: end, open high low close volume buy_volume sell_volume notional vwap count first_id last_id; bid_price bid_quantity
    ask_price ask_quantity (the last quote), quotes, spread_mean spread_min spread_max; microprice (the mid weighted by the
    other side's quantity); realised_volatility (√ of the sum of squared log returns of the mid, in the bar); complete, gaps.
    What is not known is NaN.
    """
    import pandas as pd

    check_recorded(config, Kind.trade, subject, span_ns(start, end))
    rows = resample(config, subject, rule, size, start, end)
    definitions = reader.definitions(config, subject, start, end)
    if len(definitions) > 1:
        raise ReadError(f"{subject}: the venue's definition changes at seq {definitions[1][0]} of this range; ask for less")
    _, price, quantity = definitions[0]
    out: dict[str, Any] = {"end": pd.to_datetime(rows["end_ns"], unit="ns", utc=True), **_decimals(rows, price, quantity)}
    out |= {name: rows[name] for name in ("count", "first_id", "last_id", "quotes", "gaps")}
    out["complete"] = rows["complete"] > 0
    return pd.DataFrame(out, index=pd.DatetimeIndex(pd.to_datetime(rows["begin_ns"], unit="ns", utc=True), name="time"))


def _decimals(rows: np.ndarray, price: int, quantity: int) -> dict[str, np.ndarray]:
    """The columns of STANDARD rows as decimals, by the exponents of price and quantity."""
    traded, spreads = rows["count"] > 0, rows["spreads"] > 0
    sides = (rows["bid_lots"] > 0) & (rows["ask_lots"] > 0)
    out = {name: np.where(traded, scaled(rows[f"{name}_ticks"], price), np.nan) for name in ("open", "high", "low", "close")}
    volume, bought, notional = (as_float(rows, name) for name in ("volume_lots", "buy_volume_lots", "notional"))
    out["volume"], out["buy_volume"] = scaled(volume, quantity), scaled(bought, quantity)
    out["sell_volume"], out["notional"] = scaled(volume - bought, quantity), scaled(notional, price + quantity)
    with np.errstate(invalid="ignore", divide="ignore"):
        out["vwap"] = np.where(traded & (volume > 0), scaled(notional / volume, price), np.nan)
        mean = as_float(rows, "spread_sum_ticks") / rows["spreads"]
        bid, ask, bid_lots, ask_lots = (rows[name].astype("f8") for name in ("bid_ticks", "ask_ticks", "bid_lots", "ask_lots"))
        micro = (bid * ask_lots + ask * bid_lots) / (bid_lots + ask_lots)
    for side in ("bid", "ask"):
        out[f"{side}_price"] = np.where(rows[f"{side}_lots"] > 0, scaled(rows[f"{side}_ticks"], price), np.nan)
        out[f"{side}_quantity"] = scaled(rows[f"{side}_lots"], quantity)
    for name, values in (("mean", mean), ("min", rows["spread_min_ticks"]), ("max", rows["spread_max_ticks"])):
        out[f"spread_{name}"] = np.where(spreads, scaled(values, price), np.nan)
    out["microprice"] = np.where(sides, scaled(micro, price), np.nan)
    out["realised_volatility"] = np.sqrt(rows["mid_variance"])
    return out
