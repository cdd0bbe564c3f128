"""Two pictures side by side, every trade with bid and ask: an efficient market, and one whose venue is unavailable."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.picture import MISSING, draw_prices, draw_spread, new_figure, save, time_axis

if TYPE_CHECKING:
    from matplotlib.artist import Artist

WINDOWS_MIN = 4  # of which two are chosen


class MarketWindow(NamedTuple):
    """A stretch of a market, ns of the log: its mean spread over time, trades in it, and the share of it without a market.

    Without a market: rows are missing, the book has an empty side, or no quote came for `SILENT_NS`.
    """

    begin_ns: int
    end_ns: int
    spread: float
    trades: int
    unavailable: float


SILENT_NS = 10 * 10**9


def windows(view: PlottedMarket, length_ns: int) -> list[MarketWindow]:
    """Cuts a market into stretches of `length_ns`, or of a quarter of it where it is shorter, and measures each."""
    length_ns = max(min(length_ns, (view.end_ns - view.start_ns) // WINDOWS_MIN), 1)
    edges = np.arange(view.start_ns, view.end_ns - length_ns + 2, length_ns)
    times, values = view.quotes.every_row()
    edges = np.append(edges, edges[-1] + length_ns)
    if not len(times):
        return []
    cuts = np.unique(np.concatenate((times, edges)))
    place = np.searchsorted(times, cuts[:-1], "right") - 1
    spread = np.where(place >= 0, values[2][place], np.nan)
    age = cuts[1:] - np.where(place >= 0, times[place], cuts[:-1])
    lasts = np.diff(cuts).astype(float)
    silent = np.where(place >= 0, np.clip(age - SILENT_NS, 0, lasts), lasts)
    gone = np.where(np.isnan(spread), lasts, silent)
    holes = [(one.begin_ns, one.end_ns) for one in view.coverage if one.state == "missing" and one.kind != "depth"]
    for begin, end in holes:
        inside = (cuts[:-1] >= begin) & (cuts[1:] <= end)
        gone[inside] = lasts[inside]
    which = np.searchsorted(edges, cuts[:-1], "right") - 1
    count = len(edges) - 1
    inside = (which >= 0) & (which < count)
    there = inside & ~np.isnan(spread)
    weight = np.bincount(which[there], lasts[there], count)
    worth = np.bincount(which[there], (spread * lasts)[there], count)
    lost = np.bincount(which[inside], gone[inside], count)
    trades = np.histogram(np.concatenate((view.bought.every_row()[0], view.sold.every_row()[0])), edges)[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = worth / weight
    return [
        MarketWindow(int(edges[n]), int(edges[n + 1]), float(mean[n]), int(trades[n]), float(lost[n] / length_ns))
        for n in range(count)
    ]


def chosen(measured: list[MarketWindow]) -> tuple[MarketWindow, MarketWindow] | None:
    """(the narrowest lively stretch, the worst: without a market for longest, else the widest); None of fewer than two."""
    quoted = [one for one in measured if one.spread == one.spread]
    if len(measured) < 2 or not quoted:
        return None
    usual = float(np.median([one.trades for one in quoted]))
    lively = [one for one in quoted if one.trades >= max(usual, 1)] or quoted
    calm = min(lively, key=lambda one: (one.unavailable, one.spread))
    others = [one for one in measured if one is not calm]
    return calm, max(others, key=lambda one: (round(one.unavailable, 2), one.spread if one.spread == one.spread else 0.0))


def write_two_markets(
    calm: PlottedMarket, worst: PlottedMarket, path: Path | str, titles: tuple[str, str],
    shaded: tuple[int, int, str] | None = None,
) -> None:  # fmt: skip
    """Draws both into one file: prices above, each on its own scale, and spreads below, on one. `shaded`: ns, of `worst`."""
    figure = new_figure(13.0, 6.2)
    panels = figure.subplots(2, 2, height_ratios=(3, 1))
    panels[1, 1].sharey(panels[1, 0])
    for column, (view, title) in enumerate(zip((calm, worst), titles)):
        price, spread = panels[0, column], panels[1, column]
        draw_prices(price, view)
        draw_spread(spread, view)
        for panel in (price, spread):
            if shaded is not None and view is worst:
                begin, end = ((ns - view.start_ns) / 1e9 for ns in shaded[:2])
                panel.axvspan(begin, end, color=MISSING, alpha=0.15, linewidth=0, label=shaded[2], zorder=0)
        price.set_title(title, fontsize=10, loc="left")
        time_axis(spread, view.start_ns, view.end_ns)
        price.set_xlim(spread.get_xlim())
        price.set_xticks(spread.get_xticks(), [])
    panels[0, 1].set_ylabel("")
    panels[1, 1].set_ylabel("")
    handles: dict[str, Artist] = {}
    for panel in panels[0]:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    save(figure, Path(path), 100)
