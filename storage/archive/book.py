"""The running book of one instrument: what the archive writes at the head of a segment."""

import numpy as np

from tickmesh.bus.schema import DEPTH, GAP, Flag, Kind


class ArchivedBook:
    """A book as the archive holds it: quantities by price mantissa, per side; valid from a SNAPSHOT to the next depth gap."""

    def __init__(self) -> None:
        self.valid = False
        self.last_update_id = 0
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def apply(self, flags: int, last_id: int, levels: np.ndarray) -> None:
        """Applies one depth event. `levels`: shape (n,), dtype schema.DEPTH. Outside a valid stretch only a snapshot counts."""
        if flags & Flag.SNAPSHOT:
            self.valid, self.bids, self.asks = True, {}, {}
        elif not self.valid or last_id <= self.last_update_id:
            return
        self.last_update_id = last_id
        sides = levels["side"]
        for side, book in ((1, self.bids), (-1, self.asks)):
            chosen = levels[sides == side]
            for price, quantity in zip(chosen["price_ticks"].tolist(), chosen["quantity_lots"].tolist()):
                if quantity:
                    book[price] = quantity
                else:
                    book.pop(price, None)

    def broken(self, gap: np.ndarray) -> None:
        """Ends the valid stretch if one of a gap event's records (dtype schema.GAP) is about depth."""
        if (gap["stream"] == Kind.depth).any():
            self.valid, self.bids, self.asks = False, {}, {}

    def levels(self) -> np.ndarray:
        """The levels, shape (n,), dtype schema.DEPTH: bids from the best, then asks from the best. Empty when not valid."""
        out = np.zeros(len(self.bids) + len(self.asks), DEPTH)
        rows = [(p, q, 1) for p, q in sorted(self.bids.items(), reverse=True)]
        rows += [(p, q, -1) for p, q in sorted(self.asks.items())]
        if rows:
            table = np.array(rows, "<i8")
            out["price_ticks"], out["quantity_lots"], out["side"] = table[:, 0], table[:, 1], table[:, 2]
        return out

    def load(self, valid: bool, last_update_id: int, levels: np.ndarray) -> None:
        """Restores the book from the `levels` that another one gave."""
        self.valid, self.last_update_id = valid, last_update_id
        for side in (1, -1):
            chosen = levels[levels["side"] == side]
            book = dict(zip(chosen["price_ticks"].tolist(), chosen["quantity_lots"].tolist()))
            if side == 1:
                self.bids = book
            else:
                self.asks = book

    def follow(self, depth_headers: np.ndarray, depth_records: np.ndarray, gap_headers: np.ndarray, gaps: np.ndarray) -> None:
        """Applies a segment's depth events and gaps in order of `seq`. Headers: schema.HEADER; gaps: schema.GAP."""
        if depth_headers.dtype.names is None or gaps.dtype != GAP:
            raise TypeError("headers and gap records are wanted as their structured arrays")
        gap_starts = np.cumsum(gap_headers["count"]) - gap_headers["count"]
        steps = [(int(seq), 1, i) for i, seq in enumerate(gap_headers["seq"])]
        steps += [(int(seq), 0, i) for i, seq in enumerate(depth_headers["seq"])]
        counts = depth_headers["count"].astype("i8")
        starts = np.cumsum(counts) - counts
        for _, is_gap, i in sorted(steps):
            if is_gap:
                start = int(gap_starts[i])
                self.broken(gaps[start : start + int(gap_headers["count"][i])])
            else:
                levels = depth_records[starts[i] : starts[i] + counts[i]]
                self.apply(int(depth_headers["flags"][i]), int(depth_headers["last_id"][i]), levels)
