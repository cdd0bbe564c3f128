"""How much stood in the book at each price, over time: a grid of quantities for a heat map."""

from typing import NamedTuple

import numpy as np

from tickmesh.research.database import Database
from tickmesh.research.sources import MeshSource

COLUMNS, ROWS, LEVELS = 600, 160, 60  # samples over time, prices, and levels of each side that are asked for
STEPS_NS = tuple(round(s * 1e9) for s in (0.01, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400))
TRIMMED = 0.02  # of the samples, at either end, may lie outside the prices of the map


class BookMap(NamedTuple):
    """`quantity` (prices, times): what stood in each cell at that moment, bids and asks alike; 0 where nothing or no book was.

    Column c is the book at `start_ns` + c × `step_ns`; row r has the prices from `low` + r × `height` on.
    """

    start_ns: int
    step_ns: int
    low: float
    height: float
    quantity: np.ndarray


def book_map(db: Database, subject: str, start_ns: int, end_ns: int) -> BookMap | None:
    """Samples the book of start ≤ t < end; None where none was recorded, and of an export."""
    if not isinstance(db.source, MeshSource):
        return None
    from tickmesh.storage.books.reading import snapshots
    from tickmesh.storage.query.reader import definitions

    step_ns = next((one for one in STEPS_NS if (end_ns - start_ns) // one <= COLUMNS), STEPS_NS[-1])
    samples = snapshots(db.source.config, subject, f"{step_ns // 10**6}ms", start_ns, end_ns, LEVELS)
    samples = samples[samples["valid"] & (samples["quantity_lots"][:, 0] > 0).all(axis=1)]
    if not len(samples):
        return None
    known = np.array(definitions(db.source.config, subject), "i8").reshape(-1, 3)
    place = np.searchsorted(known[:, 0], samples["seq"], "right") - 1
    price = samples["price_ticks"] * (10.0 ** known[place, 1])[:, None, None]
    quantity = samples["quantity_lots"] * (10.0 ** known[place, 2])[:, None, None]
    return gridded(samples["at_ns"], price, quantity, step_ns)


def gridded(at_ns: np.ndarray, price: np.ndarray, quantity: np.ndarray, step_ns: int) -> BookMap:
    """Adds up samples in cells. at_ns (n,), rising multiples of step_ns; price, quantity (n, levels, 2), 0 where no level is.

    The map holds the touch of nearly all samples and as much again around it, as far as there are levels.
    """
    touch = price[:, 0]
    low, high = float(np.quantile(touch[:, 0], TRIMMED)), float(np.quantile(touch[:, 1], 1 - TRIMMED))
    spread = float(np.median(touch[:, 1] - touch[:, 0]))
    room = max((high - low) * 0.25, 10 * spread)
    there = quantity > 0
    low, high = max(low - room, float(price[there].min())), min(high + room, float(price[there].max()))
    height = (high - low) / ROWS or 1.0
    columns = (at_ns - at_ns[0]) // step_ns
    grid = np.zeros((ROWS, int(columns[-1]) + 1))
    rows = np.floor((price - low) / height).astype(int)
    rows[(price == high) & there] = ROWS - 1
    inside = there & (rows >= 0) & (rows < ROWS)
    across = np.broadcast_to(columns[:, None, None], price.shape)
    np.add.at(grid, (rows[inside], across[inside]), quantity[inside])
    return BookMap(int(at_ns[0]), step_ns, low, height, grid)
