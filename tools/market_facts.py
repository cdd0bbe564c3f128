"""How believable the default market is: its stylised facts beside those of a real capture, as numbers and as plots.

`python -m tickmesh.tools.market_facts [--seconds N] [--folder docs]` reads the capture from TICKMESH_DATA and
writes the plots that docs/exchange-market.md shows, and the table on stdout. Facts as in R. Cont, "Empirical properties of
asset returns: stylized facts and statistical issues", Quantitative Finance 1 (2001), and for the signs of trades F. Lillo and
J. D. Farmer, "The long memory of the efficient market", Studies in Nonlinear Dynamics & Econometrics 8:3 (2004).
"""

import argparse
import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tickmesh.bus.settings import PopulationSettings
from tickmesh.research.plot.palette import LIGHT
from tickmesh.tools.extras import use_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTURE = "hftbacktest/spot/btcusdt_20240808.gz"
LAGS = 50
OF_MARKETS = ("bid", "ask", "bought")  # the colours of the markets, one over the other
Row = tuple[float, ...]  # a trade: s, price, size, sign; a quote: s, bid, ask, and their sizes


@dataclass
class ObservedMarket:
    """The trades and quotes seen of one market. Times in seconds from its beginning; signs +1 for a taker who bought."""

    name: str
    trade_s: np.ndarray
    prices: np.ndarray
    sizes: np.ndarray
    signs: np.ndarray
    quote_s: np.ndarray
    bids: np.ndarray
    asks: np.ndarray
    bid_sizes: np.ndarray
    ask_sizes: np.ndarray


def observe_capture(path: Path) -> ObservedMarket:
    """Reads a capture of combined streams in the Binance spot dialect.

    Quotes have no time but the recorder's; trades have their own, moved by the median difference of the two clocks.
    """
    trades: list[Row] = []
    quotes: list[Row] = []
    behind: list[float] = []
    with gzip.open(path, "rt") as file:
        for line in file:
            stamp, _, text = line.partition(" ")
            message = json.loads(text)
            recv = int(stamp) / (1e9 if len(stamp) == 19 else 1e6)
            kind = message.get("stream", "").partition("@")[2]
            data = message.get("data", {})
            if kind == "trade":
                behind.append(recv - data["T"] / 1e3)
                trades.append((data["T"] / 1e3, float(data["p"]), float(data["q"]), -1 if data["m"] else 1))
            elif kind == "bookTicker":
                quotes.append((recv, *(float(data[k]) for k in ("b", "a", "B", "A"))))
    clock_s = float(np.median(behind))
    return _market(f"real: {path.name}", [(t + clock_s, *more) for t, *more in trades], quotes)


def observe_simulation(
    seconds: int, seed: int = 1, symbol: str = "BTCUSDT", preset: Literal["liquid", "quiet"] = "liquid"
) -> ObservedMarket:
    """Runs the exchange's own market for so many seconds of a fake clock."""
    from tickmesh.nodes.exchange.market.flow import Flow
    from tickmesh.nodes.exchange.market.instruments import spec
    from tickmesh.nodes.exchange.market.market import Market as Book
    from tickmesh.nodes.exchange.market.matching import UpdateIds
    from tickmesh.nodes.exchange.market.population import shape
    from tickmesh.nodes.exchange.market.tape import Tape

    start = 1_700_000_000_000
    book = Book(spec(symbol), UpdateIds(), Tape())
    flow = Flow(book, shape(PopulationSettings(preset=preset), 20.0, 60.0), seed, start)
    trades: list[Row] = []
    quotes: list[Row] = []
    best: tuple[int, ...] = ()
    for step in range(1, seconds * 1000 + 1):
        if flow.due_ms > start + step:
            continue
        flow.run(start + step)
        printed, _ = book.drain()[:2]
        book.ledger_rows.clear()
        trades += [(t.time / 1e3, t.price / 1e8, t.quantity / 1e8, 1 - 2 * t.buyer_is_maker) for t in printed]
        (bid, bids), (ask, asks) = book.best(1), book.best(-1)
        if (bid, bids, ask, asks) != best:
            best = (bid, bids, ask, asks)
            quotes.append(((start + step) / 1e3, bid / 1e8, ask / 1e8, bids / 1e8, asks / 1e8))
    return _market(f"tickmesh: {preset}", trades, quotes)


def _market(name: str, trades: list[Row], quotes: list[Row]) -> ObservedMarket:
    t, q = np.array(trades, float).T, np.array(quotes, float).T
    begin = min(t[0].min(), q[0].min())
    return ObservedMarket(name, t[0] - begin, t[1], t[2], t[3], q[0] - begin, q[1], q[2], q[3], q[4])


def returns(market: ObservedMarket, step_s: float = 1.0) -> np.ndarray:
    """Log returns of the mid price over steps of `step_s`, in ppm."""
    grid = np.arange(market.quote_s[0], market.quote_s[-1], step_s)
    mids = (market.bids + market.asks) / 2
    at = np.searchsorted(market.quote_s, grid, side="right") - 1
    out: np.ndarray = np.diff(np.log(mids[at])) * 1e6
    return out


def autocorrelation(values: np.ndarray, lags: int = LAGS) -> np.ndarray:
    """The autocorrelation of values at lags 1 to `lags`."""
    centred = values - values.mean()
    variance = float(centred @ centred)
    if not variance:
        return np.zeros(lags)
    return np.array([centred[:-lag] @ centred[lag:] / variance for lag in range(1, lags + 1)])


def first_trades(market: ObservedMarket) -> np.ndarray:
    """Indexes of the first trade of each taker: several fills of one order share time and sign."""
    new = np.ones(len(market.trade_s), bool)
    new[1:] = (np.diff(market.trade_s) > 1e-9) | (np.diff(market.signs) != 0)
    return np.flatnonzero(new)


def predictability(market: ObservedMarket, horizon_s: float = 1.0) -> float:
    """Correlation of the best levels' imbalance with the mid's move over the horizon after it, every 100 ms."""
    grid = np.arange(market.quote_s[0], market.quote_s[-1] - horizon_s, 0.1)
    mids = (market.bids + market.asks) / 2
    now = np.searchsorted(market.quote_s, grid, side="right") - 1
    then = np.searchsorted(market.quote_s, grid + horizon_s, side="right") - 1
    imbalance = (market.bid_sizes - market.ask_sizes) / (market.bid_sizes + market.ask_sizes)
    moves = mids[then] - mids[now]
    return float(np.corrcoef(imbalance[now], moves)[0, 1]) if moves.std() else 0.0


def stylised_facts(market: ObservedMarket) -> dict[str, float]:
    """Computes one column of the table: fact → figure."""
    spread_ppm = (market.asks - market.bids) / market.bids * 1e6
    stay = np.diff(market.quote_s, append=market.quote_s[-1])
    ones = first_trades(market)
    gaps = np.diff(market.trade_s[ones])
    one_second = returns(market)
    signs = autocorrelation(market.signs[ones])
    absolute = autocorrelation(np.abs(one_second))
    counts = np.histogram(market.trade_s[ones], np.arange(0, market.trade_s[-1], 1.0))[0]
    value = market.sizes * market.prices
    return {
        "seconds": float(market.quote_s[-1]),
        "trades per s": len(market.trade_s) / market.trade_s[-1],
        "takers per s": len(ones) / market.trade_s[-1],
        "quotes per s": len(market.quote_s) / market.quote_s[-1],
        "spread, time-weighted mean, ppm": float(np.average(spread_ppm, weights=stay)) if stay.sum() else 0.0,
        "spread, median, ppm": float(np.median(spread_ppm)),
        "best level, median, quote units": float(
            np.median(np.concatenate([market.bid_sizes, market.ask_sizes]) * market.bids[0])
        ),
        "trade, median, quote units": float(np.median(value)),
        "trade, mean ÷ median": float(value.mean() / np.median(value)),
        "gap between takers, median, ms": float(np.median(gaps) * 1e3),
        "gaps: standard deviation ÷ mean (Poisson 1)": float(gaps.std() / gaps.mean()),
        "takers per s: variance ÷ mean (Poisson 1)": float(counts.var() / counts.mean()),
        "sign autocorrelation, lag 1": float(signs[0]),
        "sign autocorrelation, lag 10": float(signs[9]),
        "1 s returns, standard deviation, ppm": float(one_second.std()),
        "1 s returns, excess kurtosis": float(((one_second - one_second.mean()) ** 4).mean() / one_second.var() ** 2 - 3),
        "1 s returns, autocorrelation, lag 1": float(autocorrelation(one_second)[0]),
        "absolute 1 s returns, autocorrelation, mean of lags 1-10": float(absolute[:10].mean()),
        "imbalance → move in 1 s, correlation": predictability(market),
    }


def facts_table(markets: list[ObservedMarket]) -> list[str]:
    """Formats the facts of several markets as a Markdown table, one row a fact."""
    columns = [stylised_facts(market) for market in markets]
    lines = ["| | " + " | ".join(market.name for market in markets) + " |", "|---" * (len(markets) + 1) + "|"]
    for name in columns[0]:
        lines.append(f"| {name} | " + " | ".join(f"{column[name]:.3g}" for column in columns) + " |")
    return lines


def draw(markets: list[ObservedMarket], folder: Path) -> None:
    """Draws two pictures into a folder: a minute of each market; distributions and autocorrelations over each other."""
    use_matplotlib("a picture of a market")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(markets), 1, figsize=(9, 2.3 * len(markets)), layout="constrained")
    for axis, market in zip(axes, markets):
        begin = market.quote_s[-1] / 2
        _tape(axis, market, begin, begin + 60)
    figure.savefig(folder / "exchange-market-minute.png", dpi=90)
    pyplot.close(figure)

    figure, axes = pyplot.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    for axis in axes.flat:
        axis.set_prop_cycle(color=[LIGHT[name] for name in OF_MARKETS])
    for market in markets:
        spread = (market.asks - market.bids) / market.bids * 1e6
        _tail(axes[0, 0], spread, market.name)
        _tail(axes[0, 1], market.sizes * market.prices, market.name)
        _tail(axes[0, 2], np.diff(market.trade_s[first_trades(market)]) * 1e3, market.name)
        lags = np.arange(1, LAGS + 1)
        axes[1, 0].plot(lags, autocorrelation(market.signs[first_trades(market)]), label=market.name)
        axes[1, 1].plot(lags[:20], autocorrelation(np.abs(returns(market)), 20), label=market.name)
        moves = returns(market)
        _tail(axes[1, 2], np.abs(moves) / moves.std(), market.name)
    names = (
        "spread, ppm",
        "trade, quote units",
        "gap between takers, ms",
        "lag, takers",
        "lag, s",
        "|1 s return| ÷ σ",
    )
    titles = ("spread: share above", "trade value: share above", "gaps: share above", "autocorrelation of signs",
              "autocorrelation of |1 s returns|", "returns: share above")  # fmt: skip
    for axis, name, title in zip(axes.flat, names, titles):
        axis.set_xlabel(name, fontsize=8)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.axhline(0, color="0.8", linewidth=0.5)
    axes[0, 0].legend(fontsize=7)
    figure.savefig(folder / "exchange-market-facts.png", dpi=90)
    pyplot.close(figure)


def _tape(axis: "Axes", market: ObservedMarket, begin: float, end: float) -> None:
    quotes = (market.quote_s >= begin) & (market.quote_s < end)
    trades = (market.trade_s >= begin) & (market.trade_s < end)
    axis.step(market.quote_s[quotes] - begin, market.bids[quotes], where="post", color=LIGHT["bid"], linewidth=0.7)
    axis.step(market.quote_s[quotes] - begin, market.asks[quotes], where="post", color=LIGHT["ask"], linewidth=0.7)
    colours = np.where(market.signs[trades] > 0, LIGHT["bought"], LIGHT["sold"])
    area = np.clip(np.sqrt(market.sizes[trades] * market.prices[trades]) / 4, 4, 50)
    axis.scatter(market.trade_s[trades] - begin, market.prices[trades], s=area, c=colours, linewidths=0, alpha=0.6)
    axis.set_title(f"{market.name}: a minute of bid, ask and trades", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.ticklabel_format(useOffset=False)


def _tail(axis: "Axes", values: np.ndarray, name: str) -> None:
    """Share of the values above each value, both logarithmic."""
    ordered = np.sort(values[values > 0])
    share = 1 - np.arange(len(ordered)) / max(len(ordered), 1)
    keep = np.unique(np.geomspace(1, max(len(ordered), 1), 400).astype(int)) - 1
    axis.loglog(ordered[::-1][keep], share[::-1][keep], label=name)


def main() -> None:
    """Reads the capture, simulates, draws, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=1800, help="of the simulated markets")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where the pictures go")
    chosen = parser.parse_args()
    path = Path(os.environ.get("TICKMESH_DATA") or Path(__file__).resolve().parents[2] / "shared/data") / CAPTURE
    if not path.exists():
        raise SystemExit(f"market_facts: there is no capture {path}; TICKMESH_DATA names the folder of captures")
    markets = [observe_capture(path), observe_simulation(chosen.seconds), observe_simulation(chosen.seconds, preset="quiet")]
    draw(markets, chosen.folder)
    print("\n".join(facts_table(markets)))


if __name__ == "__main__":
    main()
