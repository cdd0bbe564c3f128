"""A market as one picture (PNG, SVG, PDF), drawn by matplotlib."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tickmesh.research.libraries import library
from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.palette import DRAWN, LIGHT, STATES
from tickmesh.research.plot.series import Groups, TimeSeries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BID, ASK, BOUGHT, SOLD, OWN, MISSING = (LIGHT[name] for name in DRAWN)
KINDS = ("trade", "quote", "depth")
GROUPS_MAX = 200_000  # of one series: more rows are drawn as the extremes of groups of them
PIXELS = 4000  # across a picture: trades that would be on one of them are drawn once
BINS = 400  # of the volume
FINEST_NS = 1_000_000


def write_picture(view: PlottedMarket, path: Path | str, width: float = 12.0, height: float = 8.0, dpi: int = 110) -> None:
    """Draws a market into a file, which replaces one that is there; its ending names the format. `width`, `height`: inches."""
    figure = new_figure(width, height)
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(6, 1.5, 1.5, 0.55))
    price, spread, volume, coverage = panels
    draw_prices(price, view)
    draw_spread(spread, view)
    _volume(volume, view)
    _coverage(coverage, view)
    price.set_title(title_of(view), fontsize=10, loc="left")
    price.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False, markerscale=2)
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    time_axis(coverage, view.start_ns, view.end_ns)
    save(figure, Path(path), dpi)


def new_figure(width: float, height: float) -> "Figure":
    """Makes an empty figure that needs no display; inches. Raises ReadError without matplotlib."""
    library("matplotlib", "a picture", extra="plot")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: Path, dpi: int) -> None:
    """Writes a figure under a temporary name and renames it."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(temporary, dpi=dpi)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def title_of(view: PlottedMarket) -> str:
    """The heading of a market's picture: what it is of, and how much."""
    trades = view.bought.rows + view.sold.rows
    fills = view.fills_bought.rows + view.fills_sold.rows
    own = f", {fills:,} fill{'s' * (fills != 1)} of ours" if fills else ""
    return f"{view.instrument}: {trades:,} trades, {view.quotes.rows:,} quotes{own}"


def seconds(view: PlottedMarket, time_ns: np.ndarray) -> np.ndarray:
    """Times as the pictures' axis has them: seconds since the start of the view."""
    out: np.ndarray = (time_ns - view.start_ns) / 1e9
    return out


def draw_prices(axis: "Axes", view: PlottedMarket) -> None:
    """Draws the book's heat map, bid and ask, every trade, what is missing, our orders and fills."""
    if view.book is not None:
        from tickmesh.research.plot.page import shades

        book = view.book
        left = (book.start_ns - view.start_ns) / 1e9
        edges = (
            left,
            left + book.quantity.shape[1] * book.step_ns / 1e9,
            book.low,
            book.low + len(book.quantity) * book.height,
        )
        axis.imshow(
            shades(book.quantity), cmap="Greys", vmin=0, vmax=510, extent=edges, aspect="auto", origin="lower", zorder=0,
            interpolation="nearest",
        )  # fmt: skip
    quotes = view.quotes.envelope(GROUPS_MAX)
    at = seconds(view, quotes.time_ns)
    if len(at):
        step_range(axis, at, quotes, 0, (view.end_ns - view.start_ns) / 1e9, BID, "bid")
        step_range(axis, at, quotes, 1, (view.end_ns - view.start_ns) / 1e9, ASK, "ask")
    for series, colour, name in ((view.bought, BOUGHT, "taker bought"), (view.sold, SOLD, "taker sold")):
        _dots(axis, view, series, colour, name)
    shade_missing(axis, view)
    _own(axis, view)
    axis.set_ylabel("price")
    axis.ticklabel_format(axis="y", useOffset=False, style="plain")
    axis.set_ylim(*price_limits(view, quotes))
    axis.tick_params(labelsize=8)


def step_range(
    axis: "Axes", at: np.ndarray, groups: Groups, column: int, until: float, colour: str, name: str, thick: float = 0.9
) -> None:
    """Draws one column of a series as steps: each value until the next, of groups from their lowest to their highest."""
    low, high, last = groups.low[column], groups.high[column], groups.last[column]
    if np.array_equal(low, high, equal_nan=True):
        axis.step(np.append(at, until), np.append(last, last[-1]), where="post", color=colour, linewidth=thick, label=name)
        return
    axis.fill_between(at, low, high, step="post", color=colour, linewidth=thick, label=name)


def price_limits(view: PlottedMarket, quotes: Groups) -> tuple[float, float]:
    """The lowest and highest price drawn, with some room; what is three times off the median is left out, as in the page."""
    parts = [quotes.low[0], quotes.high[1]]
    for series in (view.bought, view.sold, view.fills_bought, view.fills_sold):
        groups = series.envelope(GROUPS_MAX)
        parts += [groups.low[0], groups.high[0]]
    every = np.concatenate(parts)
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    middle = float(np.median(every))
    inside = every[(every > middle / 3) & (every < middle * 3)] if middle > 0 else every
    low, high = float(inside.min()), float(inside.max())
    room = (high - low) * 0.06 or abs(high) * 1e-5 or 1.0
    return low - room, high + room


def _dots(axis: "Axes", view: PlottedMarket, series: TimeSeries, colour: str, name: str) -> None:
    groups = series.envelope(GROUPS_MAX)
    at = seconds(view, groups.time_ns)
    if series.rows > GROUPS_MAX:
        axis.vlines(at, groups.low[0], groups.high[0], color=colour, linewidth=0.8, label=name, zorder=3)
        return
    prices = groups.last[0]
    span = ((view.end_ns - view.start_ns) / 1e9 or 1.0) / PIXELS
    height = (float(np.ptp(prices)) or 1.0) / PIXELS if len(prices) else 1.0
    _, keep = np.unique(np.column_stack((at // span, prices // height)), axis=0, return_index=True)
    size = 8 if len(keep) < 500 else 3 if len(keep) < 5000 else 1.2
    axis.scatter(at[keep], prices[keep], s=size, color=colour, linewidths=0, label=name, zorder=3)


def shade_missing(axis: "Axes", view: PlottedMarket) -> None:
    """Shades, in colour and hatched, the time in which trades or quotes are missing."""
    holes = [one for one in view.coverage if one.state == "missing" and one.kind != "depth"]
    holes = [one for one in holes if one.end_ns >= view.start_ns and one.begin_ns <= view.end_ns]
    if not holes:
        return
    merged: list[tuple[int, int]] = []  # what misses both is shaded once
    for begin, end in sorted((one.begin_ns, one.end_ns) for one in holes):
        if merged and begin <= merged[-1][1]:
            begin, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((begin, end))
    spans = [((begin - view.start_ns) / 1e9, (end - begin) / 1e9) for begin, end in merged]
    axis.broken_barh(
        spans, (0, 1), transform=axis.get_xaxis_transform(), facecolor=MISSING, edgecolor=MISSING, alpha=0.3, hatch="//",
        linewidth=0.8, label="missing",
    )  # fmt: skip


def _own(axis: "Axes", view: PlottedMarket) -> None:
    orders = view.orders
    for side, style, name in ((1, "-", "our order to buy"), (-1, (0, (4, 2)), "our order to sell")):
        own = orders[orders["side"] == side]
        if len(own):
            begin, end = seconds(view, own["begin_ns"]), seconds(view, own["end_ns"])
            axis.hlines(own["price"], begin, end, color=OWN, linewidth=0.9, linestyle=style, label=name, zorder=4)
    for series, marker, name in ((view.fills_bought, "^", "our fill, bought"), (view.fills_sold, "v", "our fill, sold")):
        if series.rows:
            fills = series.envelope(GROUPS_MAX)
            at = seconds(view, fills.time_ns)
            axis.scatter(
                at, fills.last[0], s=34, marker=marker, color=OWN, edgecolors="white", linewidths=0.6, label=name, zorder=5
            )


def draw_spread(axis: "Axes", view: PlottedMarket) -> None:
    """Draws ask − bid on a logarithmic axis."""
    quotes = view.quotes.envelope(GROUPS_MAX)
    if np.nanmax(quotes.high[2], initial=0.0) > 0:
        low = np.where(quotes.low[2] > 0, quotes.low[2], np.nan)
        positive = quotes._replace(low=low, high=np.where(quotes.high[2] > 0, quotes.high[2], np.nan)[None].repeat(3, 0))
        positive = positive._replace(low=low[None].repeat(3, 0))
        step_range(
            axis, seconds(view, quotes.time_ns), positive, 2, (view.end_ns - view.start_ns) / 1e9, "black", "spread", 0.7
        )
        axis.set_yscale("log")
    shade_missing(axis, view)
    axis.set_ylabel("ask − bid")
    axis.tick_params(labelsize=8)


def _volume(axis: "Axes", view: PlottedMarket) -> None:
    edges = np.linspace(0.0, (view.end_ns - view.start_ns) / 1e9 or 1.0, BINS + 1)
    for series, side, colour in ((view.bought, 1, BOUGHT), (view.sold, -1, SOLD)):
        groups = series.envelope(GROUPS_MAX)
        if len(groups.time_ns):
            sums = np.histogram(seconds(view, groups.time_ns), edges, weights=groups.total[0])[0]
            axis.bar(edges[:-1], side * sums, width=edges[1], align="edge", color=colour, linewidth=0)
    axis.axhline(0, color="0.5", linewidth=0.5)
    shade_missing(axis, view)
    axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axis.set_ylabel("quantity\nbought / sold")
    axis.tick_params(labelsize=8)


def _coverage(axis: "Axes", view: PlottedMarket) -> None:
    for place, kind in enumerate(KINDS):
        for state in STATES:
            own = [one for one in view.coverage if one.kind == kind and one.state == state]
            spans = [((one.begin_ns - view.start_ns) / 1e9, (one.end_ns - one.begin_ns) / 1e9) for one in own]
            axis.broken_barh(spans, (-place - 0.8, 0.8), facecolors=LIGHT[state], linewidth=0)
    axis.set_ylim(-len(KINDS), 0.2)
    axis.set_yticks([-place - 0.4 for place in range(len(KINDS))], KINDS)
    axis.tick_params(labelsize=8)
    from matplotlib.patches import Patch

    there = [state for state in STATES if any(one.state == state for one in view.coverage)]
    patches = [Patch(color=LIGHT[state], label=state) for state in there]
    axis.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.6), fontsize=8, frameon=False)


def time_axis(axis: "Axes", start_ns: int, end_ns: int) -> None:
    """Labels an axis of seconds since `start_ns` with round UTC times."""
    from tickmesh.research.backtest.plots import time_ticks

    ticks = time_ticks(start_ns, max(end_ns, start_ns + FINEST_NS))
    axis.set_xticks([(at - start_ns) / 1e9 for at, _ in ticks], [label for _, label in ticks])
    axis.set_xlim(0, max(end_ns - start_ns, FINEST_NS) / 1e9)
    day = str(np.datetime64(start_ns, "ns").astype("datetime64[D]"))
    axis.set_xlabel(f"UTC, from {day} on")
    axis.tick_params(labelsize=8)
