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
        self._set(levels)

    def _set(self, levels: np.ndarray) -> None:
        """Of what several levels say of one price the last is true."""
        sides, prices, quantities = levels["side"], levels["price_ticks"], levels["quantity_lots"]
        for side, book in ((1, self.bids), (-1, self.asks)):
            chosen = sides == side
            for price, quantity in dict(zip(prices[chosen].tolist(), quantities[chosen].tolist())).items():
                if quantity:
                    book[price] = quantity
                else:
                    book.pop(price, None)

    def _changes(self, last_ids: np.ndarray, counts: np.ndarray, levels: np.ndarray) -> None:
        """Applies depth events without a snapshot, as `apply` would one after the other."""
        if not self.valid or not len(last_ids):
            return
        reached = np.maximum.accumulate(np.concatenate([[self.last_update_id], last_ids]))
        new = last_ids > reached[:-1]
        self.last_update_id = int(reached[-1])
        self._set(levels if new.all() else levels[np.repeat(new, counts)])

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
        counts, flags, last_ids = depth_headers["count"].astype("i8"), depth_headers["flags"], depth_headers["last_id"]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        before = np.searchsorted(depth_headers["seq"], gap_headers["seq"]).tolist()
        marks = [(at, i) for i, at in enumerate(before)] + [(at, None) for at in np.flatnonzero(flags & Flag.SNAPSHOT).tolist()]
        done = 0
        for at, gap in sorted(marks, key=lambda mark: (mark[0], mark[1] is None)):  # stable: gaps in order, before a snapshot
            self._changes(last_ids[done:at], counts[done:at], depth_records[bounds[done] : bounds[at]])
            done = at
            if gap is None:
                self.apply(int(flags[at]), int(last_ids[at]), depth_records[bounds[at] : bounds[at + 1]])
                done = at + 1
            else:
                start = int(gap_starts[gap])
                self.broken(gaps[start : start + int(gap_headers["count"][gap])])
        self._changes(last_ids[done:], counts[done:], depth_records[bounds[done] :])
