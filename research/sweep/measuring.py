"""One part computed: a backtest and its measures as a row of numbers, or one file of bars. Runs in a worker's process."""

import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.segments import LogError
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.research.backtest.measures.equity import equity_at, no_curve_why
from tickmesh.research.backtest.measures.measure import Measure
from tickmesh.research.backtest.report import BacktestReport, all_mids, summarize
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.running import backtest
from tickmesh.research.opening import settings_of
from tickmesh.research.sweep.fetching import is_url, local_place
from tickmesh.research.sweep.identity import engine_hash, has_same_data, kernel_codes
from tickmesh.research.sweep.parts import PartAnswer, SweepPart, failed
from tickmesh.research.sweep.variation import traded_alone, varied

if TYPE_CHECKING:
    import pyarrow as pa

MARKOUT_NS = 1_000_000_000
_codes: dict[tuple[str, str], str] = {}  # (place, kernel) → code, as it was when this process loaded it


def compute(part: SweepPart) -> PartAnswer:
    """Computes one part. What goes wrong is its answer, a sentence: one part is never the end of a sweep."""
    begun = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is missing stands in the answer
            answer = _bars(part) if part.work == "bars" else _backtest(part)
    except (LogError, ConfigError, ModelFault) as error:  # sentences already
        return failed(part, str(error), time.perf_counter() - begun)
    except MemoryError:
        return failed(part, "there is not enough memory; take shorter periods or fewer workers", time.perf_counter() - begun)
    except Exception as error:  # noqa: BLE001 - a person's kernel may raise anything; the next part may be well
        return failed(part, f"{type(error).__name__}: {error}", time.perf_counter() - begun)
    answer.seconds = time.perf_counter() - begun
    return answer


def _checked(part: SweepPart, config: Config) -> str:
    """Why this process must not compute the part; "" where it may."""
    if part.engine != engine_hash():
        return "this worker runs another version of tickmesh's code than the one who asked; install the same on all machines"
    for kernel in part.kernels:
        if (part.place, kernel) not in _codes:
            _codes[part.place, kernel] = kernel_codes(config, [kernel])[kernel]
        if (own := _codes[part.place, kernel]) != part.kernels[kernel]:
            if own.startswith("unusable"):
                return own.partition(": ")[2]
            return f"kernel {kernel} was changed while the sweep ran, or is another one on this machine; run the sweep again"
    return has_same_data(config, part.data)


def _backtest(part: SweepPart) -> PartAnswer:
    config, words = varied(local_place(part.place), part.parameters)
    config = traded_alone(config, part.instrument, part.strategies)
    if why := _checked(part, config):
        return failed(part, why)
    result = backtest(config, part.start_ns, part.end_ns, **words)
    report = summarize(result, seed=None)
    measures, why_not = row_of(report)
    measures |= {"events": int(str(result.settings["events"])), "signals": int(str(result.settings["signals"]))}
    currencies = {_currency(subject) for subject in {result.instruments[place] for place in result.fills["instrument"]}}
    return PartAnswer(
        key=part.key, measures=measures, why=why_not, coverage=result.coverage, currency=" ".join(sorted(currencies)),
        gains=gains_of(result, part).astype("<f8").tobytes(),
    )  # fmt: skip


def _currency(subject: str) -> str:
    symbol = subject.partition(".")[2]
    return symbol.rpartition("/")[2] if "/" in symbol else spec(symbol).quote


def gains_of(result: BacktestResult, part: SweepPart) -> np.ndarray:
    """What each whole interval of a part's period gained, float64, from its start on; empty where there is no equity curve.

    Before the first and after the last thing that was recorded nothing is gained: parts of one period have as many.
    """
    mids = all_mids(result)
    count = (part.end_ns - part.start_ns) // part.interval_ns
    if no_curve_why(result, mids):
        return np.zeros(0)
    times = part.start_ns + np.arange(count + 1) * part.interval_ns
    equity = equity_at(result, mids, np.clip(times, result.start_ns, result.end_ns)).equity
    found: np.ndarray = np.diff(equity)
    return found


def row_of(report: BacktestReport) -> tuple[dict[str, float | int | None], dict[str, str]]:
    """(measures by name, why those that are None are not defined) of a report; docs/scale.md has their names."""
    own, held, dealt, rates = report.performance, report.exposure, report.turnover, report.fill_rates[0]
    trips = report.trips[0]
    markout = next(one.mean for one in report.markouts[0].points if one.horizon_ns == MARKOUT_NS)
    measures: dict[str, Measure | int] = {
        "net": report.in_all.net, "realised": report.in_all.realised, "unrealised": report.in_all.unrealised,
        "fees": report.in_all.fees, "gained_a_day": own.gained_a_day, "sharpe": own.sharpe, "sortino": own.sortino,
        "calmar": own.calmar, "probabilistic": own.probabilistic, "drawdown": own.drawdown.depth, "orders": rates.orders,
        "rejected": rates.rejected, "fills": report.in_all.fills, "any_fill": rates.any_fill, "complete": rates.complete,
        "quantity": rates.quantity, "maker": rates.maker, "trips": trips.trips, "hit_rate": trips.hit_rate,
        "profit_factor": trips.profit_factor, "markout": markout, "shortfall": report.shortfall.total_bps,
        "dealt": dealt.dealt, "times_held": dealt.times_held, "mean_gross": held.mean_gross, "in_market": held.in_market,
    }  # fmt: skip
    numbers = {name: one.value if isinstance(one, Measure) else one for name, one in measures.items()}
    why = {name: one.why for name, one in measures.items() if isinstance(one, Measure) and one.value is None}
    return numbers, why


def _bars(part: SweepPart) -> PartAnswer:
    from tickmesh.research.bar_selection import BarSelection, BarTerms

    config = settings_of(local_place(part.place), "a sweep")
    if why := _checked(part, config):
        return failed(part, why)

    terms = BarTerms(part.every_s, part.start_ns, part.end_ns, gaps="ignore")
    table = BarSelection(config, [part.instrument], terms).to_arrow()
    size = write_bars(table, part.to)
    return PartAnswer(key=part.key, measures={"bars": table.num_rows, "bytes": size})


def write_bars(table: "pa.Table", to: str) -> int:
    """Writes a table as Parquet to a path or URL, whole or not at all; gives its bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    buffer = pa.BufferOutputStream()
    parquet.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    if is_url(to):
        import fsspec

        with fsspec.open(to, "wb") as file:
            file.write(data)
    else:
        path = Path(to)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        fresh.write_bytes(data)
        fresh.replace(path)
    return int(data.size)
