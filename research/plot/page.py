"""A market as one page that needs nothing else: its rows packed inside, drawn by a script that reads only what a view needs."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import IO, Any

import numpy as np

from tickmesh.research.plot import palette
from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.series import BLOCK_ROWS, Groups, PackedBlock, TimeSeries, pack
from tickmesh.storage.query.coverage import iso

SERIES = ("quotes", "bought", "sold", "fills_bought", "fills_sold")
EVERY_ROW_MAX = 20_000_000  # rows that are put into a page; of more only groups of 64
ORDERS_MAX = 200_000
COVERAGE_MAX = 20_000


def write_page(view: PlottedMarket, path: Path | str, every_row_max: int = EVERY_ROW_MAX) -> int:
    """Writes the page of a market into a file, which replaces one that is there; gives its bytes."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            _write(view, file, view.rows <= every_row_max)
        size = temporary.stat().st_size
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return size


def _write(view: PlottedMarket, file: IO[str], whole: bool) -> None:
    script, style = _asset("rows.js") + _asset("page.js"), palette.style() + _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    span = f"{iso(view.start_ns)} … {iso(view.end_ns)}"
    notes = [*view.notes]
    if not whole:
        notes.append(f"{view.rows:,} rows are too many for a page: it has the extremes of every 64 of them.")
    for name, count, most in (("orders", len(view.orders), ORDERS_MAX), ("intervals", len(view.coverage), COVERAGE_MAX)):
        if count > most:
            notes.append(f"Only the first {most:,} of {count:,} {name} are drawn; ask for a shorter span.")
    file.write(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(view.instrument)} {escape(span)}</title>'
        f"<style>{style}</style></head><body><h1>{escape(view.instrument)}</h1>"
        f'<p class="span">{escape(span)} · {view.quotes.rows:,} quotes · {view.bought.rows + view.sold.rows:,} trades · '
        f"{(fills := view.fills_bought.rows + view.fills_sold.rows):,} fill{'s' * (fills != 1)} of ours</p>"
        + "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
        + '<div id="bar" role="toolbar"></div><canvas id="chart" tabindex="0" role="img" '
        f'aria-label="Trades with bid and ask, spread, volume and coverage of {escape(view.instrument, quote=True)}"></canvas>'
        '<p id="read" aria-live="polite"></p><p class="help">Drag to move, wheel or pinch to zoom, double click for all; keys: '
        "arrows, + and −, 0. Prices in the instrument's unit, times in UTC, of the log (seq_ns).</p>"
        "<noscript><p>The page draws with its own script, which this browser does not run; a PNG needs none.</p></noscript>\n"
    )
    described = {name: _series(file, name, getattr(view, name), view.start_ns, whole) for name in SERIES}
    data = {
        "start_ns": str(view.start_ns),
        "length_ns": view.end_ns - view.start_ns,
        "series": described,
        "orders": [
            [int(one["begin_ns"]) - view.start_ns, int(one["end_ns"]) - view.start_ns, float(one["price"]), int(one["side"])]
            for one in view.orders[:ORDERS_MAX]
        ],
        "coverage": [
            [one.kind, one.state, one.begin_ns - view.start_ns, one.end_ns - view.start_ns, one.reason]
            for one in view.coverage[:COVERAGE_MAX]
        ],
        "book": _book(view),
    }
    file.write(f'<script type="application/json" id="data">{_json(data)}</script>\n<script>{script}</script></body></html>\n')


def _asset(name: str) -> str:
    return (Path(__file__).with_name(name)).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that ends no script element, whatever stands in it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


def _series(file: IO[str], name: str, series: TimeSeries, start_ns: int, whole: bool) -> dict[str, Any]:
    """Writes the packed rows of a series; gives what the script has to know of them."""
    levels = series.levels()
    groups = list(_packed_groups(series, levels[0])) if levels else []
    for kind, blocks in (("rows", series.blocks if whole else []), ("groups", groups)):
        for number, block in enumerate(blocks):
            text = base64.b64encode(block.packed).decode()
            file.write(f'<script type="text/plain" id="{name}.{kind}.{number}">{text}</script>\n')
    return {
        "names": series.names,
        "optional": [name in series.optional for name in series.names],
        "added": [series.names.index(name) for name in series.added],
        "count": series.rows,
        "end": series.last_ns - start_ns,
        "rows": [_described(block, start_ns) for block in (series.blocks if whole else [])],
        "groups": [_described(block, start_ns) for block in groups],
    }


def _described(block: PackedBlock, start_ns: int) -> dict[str, Any]:
    firsts = (block.firsts[0] - start_ns, *block.firsts[1:])
    return {"rows": block.rows, "firsts": firsts, "decimals": block.decimals, "planes": block.planes}


def _packed_groups(series: TimeSeries, groups: Groups) -> Iterator[PackedBlock]:
    """The finest level in blocks of columns time, then low, high, last of each column, then the totals; 0 is no value."""
    decimals = tuple(max(block.decimals[1 + place] for block in series.blocks) for place in range(len(series.names)))
    added = tuple(decimals[series.names.index(name)] for name in series.added)
    of_columns = (*decimals, *decimals, *decimals, *added)
    values = np.concatenate((groups.low, groups.high, groups.last, groups.total))
    whole = [np.nan_to_num(np.round(row * 10.0**places)).astype("i8") for row, places in zip(values, of_columns)]
    for begin in range(0, len(groups.time_ns), BLOCK_ROWS):
        part = slice(begin, begin + BLOCK_ROWS)
        yield pack([groups.time_ns[part], *(column[part] for column in whole)], (0, *of_columns))


def _book(view: PlottedMarket) -> dict[str, Any] | None:
    """The heat map as bytes: 0 is nothing, 255 the most, by the logarithm of the quantity."""
    if view.book is None:
        return None
    book = view.book
    shade = shades(book.quantity)
    return {
        "start": book.start_ns - view.start_ns,
        "step": book.step_ns,
        "low": book.low,
        "height": book.height,
        "rows": shade.shape[0],
        "columns": shade.shape[1],
        "cells": base64.b64encode(shade.tobytes()).decode(),
    }


def shades(quantity: np.ndarray) -> np.ndarray:
    """Quantities as u1: 0 where nothing is, else 1 … 255 by the logarithm, between the 5th and the 99.5th percentile."""
    there = quantity > 0
    out = np.zeros(quantity.shape, "u1")
    if there.any():
        logs = np.log(quantity[there])
        low, high = np.quantile(logs, (0.05, 0.995))
        out[there] = np.clip(1 + np.round((logs - low) / ((high - low) or 1.0) * 254), 1, 255)
    return out
