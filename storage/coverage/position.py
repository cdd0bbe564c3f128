"""How far an instrument's coverage has been stated: what a stretch is told of the one before it."""

from typing import NamedTuple


class LedgerPosition(NamedTuple):
    """How far each stream's ledger is, before or after a stretch. None: the ledger states nothing of the stream yet."""

    trade_id: int | None = None
    quote_id: int | None = None
    depth_id: int | None = None
    book: bool = False  # whether the book at `depth_id` is known
    era: int = 0  # seq of the event with which the depth ids last began anew
    trade_era: int = 0  # likewise
    quote_era: int = 0
    depth_head: int | None = None  # the newest change's last id, if no neighbour has confirmed it yet: above `depth_id`
    depth_head_ns: int = 0  # its time


BEGINNING = LedgerPosition()
