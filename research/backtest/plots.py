"""Plots as SVG text, thinned to what a screen shows: no library, no script, colours by the page's CSS."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 900, 220
LEFT, RIGHT, TOP, BOTTOM = 74, 10, 10, 24
LETTER = 7.5  # at most, of the width of the labels' letters
COLUMNS = 1200  # of a thinned series: more than there are pixels
MARKERS_MAX = 1500
DAY_NS = 86_400 * 10**9
STEPS_NS = tuple(
    round(s * 1e9)
    for s in (
        1e-3, 0.01, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
        604800, 2592000, 31536000,
    )
)  # fmt: skip


class Frame(NamedTuple):
    """What a plot shows: the values at its edges, and the height that it is drawn with."""

    left: float
    right: float
    low: float
    high: float
    height: int = HEIGHT

    def x(self, values: np.ndarray) -> np.ndarray:
        """Values of the horizontal axis as places."""
        found: np.ndarray = LEFT + (values - self.left) / ((self.right - self.left) or 1.0) * (WIDTH - LEFT - RIGHT)
        return found

    def y(self, values: np.ndarray) -> np.ndarray:
        """Values of the vertical axis as places; up is less."""
        found: np.ndarray = TOP + (self.high - values) / ((self.high - self.low) or 1.0) * (self.height - TOP - BOTTOM)
        return found


def frame_of(x: np.ndarray, values: Sequence[np.ndarray], zero: bool = False, height: int = HEIGHT) -> Frame:
    """The frame that holds all values (finite), and 0 where `zero`, with some room."""
    whole = np.concatenate([*values, np.zeros(1 if zero or not sum(map(len, values)) else 0)])
    low, high = float(whole.min()), float(whole.max())
    room = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    return Frame(float(x[0]), float(x[-1]), low - room, high + room, height)


def thinned(x: np.ndarray, y: np.ndarray, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """A series of steps (x rising) in at most 4 × `columns` points: first, lowest, highest, last of each column."""
    if len(x) <= 4 * columns:
        return x, y
    edges = x[0] + (x[-1] - x[0]) * np.arange(columns) / columns
    starts = np.unique(np.searchsorted(x, edges))
    ends = np.append(starts[1:], len(x)) - 1
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    return np.repeat(x[starts], 4), np.column_stack((y[starts], low, high, y[ends])).ravel()


def steps(frame: Frame, x: np.ndarray, y: np.ndarray, name: str, to_zero: bool = False) -> str:
    """A line that keeps each value until the next; `to_zero` fills what is between it and 0. `name`: its CSS class."""
    x, y = thinned(x, y)
    across, up = frame.x(x), frame.y(y)
    moves = [f"M{across[0]:.1f} {up[0]:.1f}", *(f"H{a:.1f}V{b:.1f}" for a, b in zip(across[1:], up[1:]))]
    if to_zero:
        ground = float(frame.y(np.zeros(1))[0])
        moves.append(f"V{ground:.1f}H{across[0]:.1f}Z")
    return f'<path class="{name}" d="{"".join(moves)}"/>'


def markers(frame: Frame, x: np.ndarray, y: np.ndarray, up: bool, name: str) -> tuple[str, int]:
    """(triangles at these points, how many are drawn): one for each place of the screen, MARKERS_MAX at most."""
    places = np.unique(np.column_stack((frame.x(x), frame.y(y))).round(), axis=0) if len(x) else np.zeros((0, 2))
    places = places[:: -(-len(places) // MARKERS_MAX) or 1]
    tip = -4 if up else 4
    shapes = "".join(f"M{a:.0f} {b + tip:.0f}l3.5 {-2 * tip}h-7Z" for a, b in places)
    return f'<path class="{name}" d="{shapes}"/>', len(places)


def whiskers(frame: Frame, points: Sequence[tuple[float, float, float, float]], name: str) -> str:
    """A line through (x, value, low, high) with the interval of each point."""
    across = [float(frame.x(np.array([point[0]]))[0]) for point in points]
    heights = [frame.y(np.array(point[1:])) for point in points]
    line = " ".join(f"{a:.1f},{h[0]:.1f}" for a, h in zip(across, heights))
    bars = "".join(f"M{a:.1f} {h[1]:.1f}V{h[2]:.1f}" for a, h in zip(across, heights))
    dots = "".join(f'<circle cx="{a:.1f}" cy="{h[0]:.1f}" r="3"/>' for a, h in zip(across, heights))
    return f'<g class="{name}"><polyline points="{line}"/><path d="{bars}"/>{dots}</g>'


def bars(frame: Frame, x: np.ndarray, values: np.ndarray, width: float, name: str) -> str:
    """Bars from 0 up to values, `width` wide in units of x."""
    across, up, ground = frame.x(x), frame.y(values), float(frame.y(np.zeros(1))[0])
    wide = float(frame.x(np.array([frame.left + width]))[0]) - LEFT
    shapes = (
        f'<rect x="{a:.1f}" y="{u:.1f}" width="{wide:.1f}" height="{max(ground - u, 0):.1f}"/>' for a, u in zip(across, up)
    )
    return f'<g class="{name}">{"".join(shapes)}</g>'


def svg(frame: Frame, title: str, drawn: Sequence[str], ticks_x: Sequence[tuple[float, str]]) -> str:
    """A whole plot: axes, the labels below, and what is drawn. `title` is read to those who cannot see it."""
    lines = []
    for value in nice_ticks(frame.low, frame.high):
        y = float(frame.y(np.array([value]))[0])
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.10g}</text>')
    for place, label in ticks_x:
        x = float(frame.x(np.array([place]))[0])
        half = len(label) * LETTER / 2  # a label at an edge stays whole
        x = min(max(x, half), WIDTH - half)
        lines.append(f'<text x="{x:.1f}" y="{frame.height - 6}" text-anchor="middle">{escape(label)}</text>')
    name = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {frame.height}" role="img" aria-label="{name}"><title>{name}</title>'
        f"{''.join(lines)}{''.join(drawn)}</svg>"
    )


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values between low and high, about `count` of them."""
    rough = (high - low) / count
    if not rough > 0.0 or not np.isfinite(rough):
        return [low]
    size = 10.0 ** np.floor(np.log10(rough))
    step = next((size * factor for factor in (1, 2, 2.5, 5) if size * factor >= 0.8 * rough), size * 10)
    first = np.ceil(low / step)
    return [float(round((first + k) * step, 12)) for k in range(int((high - first * step) / step + 1e-9) + 1)]


def time_ticks(start_ns: int, end_ns: int, count: int = 7) -> list[tuple[float, str]]:
    """(ns, label) of round moments (UTC) between two, at most `count` of them; midnight has the day's name (08-09)."""
    span = end_ns - start_ns
    step = next((one for one in STEPS_NS if span // one <= count), -(-span // count))
    first = -(-start_ns // step) * step
    unit, cut = ("ms", 11) if step < 1e9 else ("s", 11) if step < 60e9 else ("m", 11) if step < DAY_NS else ("D", 0)
    return [
        (float(ns), str(np.datetime64(ns, "ns").astype("datetime64[D]"))[5:] if cut and ns % DAY_NS == 0
         else str(np.datetime64(ns, "ns").astype(f"datetime64[{unit}]"))[cut:])
        for ns in range(first, end_ns + 1, step)
    ]  # fmt: skip
