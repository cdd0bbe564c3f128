"""Coverage of one stretch of the log: what its events prove of the ids of trades, quotes and depth. No I/O.

`of_tables` is told how far the stretch before came, and says how far this one does; storage/coverage/intervals.py joins
what several stretches state.
"""

from collections.abc import Mapping

import numpy as np

from tickmesh.bus.id_rules import rule
from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.storage.coverage.books import BookCoverage
from tickmesh.storage.coverage.intervals import COVERED, array_of, merge
from tickmesh.storage.coverage.position import BEGINNING, LedgerPosition
from tickmesh.storage.coverage.ticks import by_era, of_conflated, of_trades, of_unnumbered
from tickmesh.storage.hdf5.columns import Table


def of_tables(
    tables: Mapping[Kind, Table], subject: str, state: LedgerPosition = BEGINNING
) -> tuple[np.ndarray, LedgerPosition]:
    """Computes the coverage that a stretch's events prove: COVERAGE rows in canonical order, and the position after it.

    `tables`: events of one instrument by kind, each in order of seq; others than trade, quote, depth and gap are ignored.
    `state`: what the stretch before came to; the default is that of a log's beginning.
    """
    trades, quotes, depth, gaps = (_table(tables, kind) for kind in (*COVERED, Kind.gap))
    numbered = {kind: rule(kind, subject) != "exclusive" for kind in COVERED}  # else a feed counts the ids itself
    traded, trade_id, trade_era = by_era(
        of_trades if numbered[Kind.trade] else of_unnumbered, trades, gaps, Kind.trade, state.trade_id, state.trade_era
    )
    quoted, quote_id, quote_era = by_era(
        of_conflated if numbered[Kind.quote] else of_unnumbered, quotes, gaps, Kind.quote, state.quote_id, state.quote_era
    )
    book = BookCoverage(state, numbered[Kind.depth])
    book.follow(depth.headers, gaps)
    parts = (array_of(kind, rows) for kind, rows in zip(COVERED, (traded, quoted, book.rows)))
    pending = (book.head, book.head_ns) if book.head != book.id else (None, 0)
    return merge(parts), LedgerPosition(trade_id, quote_id, book.id, book.valid, book.era, trade_era, quote_era, *pending)


def _table(tables: Mapping[Kind, Table], kind: Kind) -> Table:
    return tables.get(kind, Table(np.zeros(0, HEADER), np.zeros(0, DTYPES[kind])))
