"""A small recorded market that the judge finds nothing wrong with, to plant faults in."""

import json

import hdf5plugin  # noqa: F401
import numpy as np

from tests.support.stored import Market
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.wire import Event, stamp_sequenced

SUBJECT = "binance.BTCUSDT"


SCALE = 10**8


def frame(stamp: int, stream: str, data: dict) -> str:
    """A line of a capture."""
    return f"{stamp} " + json.dumps({"stream": f"btcusdt@{stream}", "data": data})


def price(mantissa: int) -> str:
    """A mantissa as the venue's text."""
    return f"{mantissa // SCALE}.{mantissa % SCALE:08d}"


class Scene:
    """Builds the same small market twice: as a capture's lines, and as events as a mesh would log them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.market = Market()
        self.events: list[bytes] = []
        self.update_id = 100
        self.book = False

    def trade(self, n: int) -> None:
        """Adds a trade."""
        ms = 1_723_161_600_000 + n
        p, q = 61_000 * SCALE + n * 1_000_000, (n + 1) * 10_000
        self.lines.append(
            frame(ms, "trade", {"e": "trade", "E": ms + 1, "s": "BTCUSDT", "t": 500 + n, "p": price(p), "q": price(q),
                                "T": ms, "m": n % 2 == 0})
        )  # fmt: skip
        record = np.zeros(1, DTYPES[Kind.trade])
        record[0] = (500 + n, p, q, ms * 10**6, (ms + 1) * 10**6, -1 if n % 2 == 0 else 1, b"")
        self._log(Kind.trade, record, first_id=500 + n, last_id=500 + n, venue_ns=(ms + 1) * 10**6)

    def depth(self, n: int) -> None:
        """Adds a change of the best bid, and the quote that states the same."""
        ms = 1_723_161_600_000 + n
        first, last = self.update_id + 1, self.update_id + 3
        bid, lots = (60_000 + n) * SCALE, (n + 1) * SCALE
        self.lines.append(
            frame(ms, "depth@100ms", {"e": "depthUpdate", "E": ms, "s": "BTCUSDT", "U": first, "u": last,
                                      "b": [[price(bid), price(lots)]], "a": []})
        )  # fmt: skip
        record = np.zeros(1, DTYPES[Kind.depth])
        record[0] = (bid, lots, 1, b"")
        flags = 0 if self.book else Flag.UNSYNCED
        self._log(Kind.depth, record, first_id=first, last_id=last, venue_ns=ms * 10**6, flags=flags)
        self.update_id = last
        self.lines.append(
            frame(ms, "bookTicker", {"u": last, "s": "BTCUSDT", "b": price(bid), "B": price(lots),
                                     "a": price(70_000 * SCALE), "A": price(SCALE)})
        )  # fmt: skip
        record = np.zeros(1, DTYPES[Kind.quote])
        record[0] = (last, bid, lots, 70_000 * SCALE, SCALE, 0)
        self._log(Kind.quote, record, last_id=last)

    def snapshot(self) -> None:
        """Adds a snapshot."""
        self.book = True
        levels = [(60_000 * SCALE, SCALE, 1), (70_000 * SCALE, SCALE, -1)]
        self.lines.append("1723161600000 " + json.dumps({
            "lastUpdateId": self.update_id, "bids": [[price(60_000 * SCALE), price(SCALE)]],
            "asks": [[price(70_000 * SCALE), price(SCALE)]],
        }))  # fmt: skip
        record = np.zeros(len(levels), DTYPES[Kind.depth])
        record["price_ticks"], record["quantity_lots"], record["side"] = zip(*levels)
        self._log(
            Kind.depth, record, flags=Flag.SNAPSHOT, first_id=self.update_id, last_id=self.update_id
        )  # fmt: skip

    def _log(self, kind: Kind, record: np.ndarray, **fields) -> None:
        self.events.append(self.market.event(kind, SUBJECT, record, **fields))


def scene(rows: int = 30) -> Scene:
    """Builds a market of so many rows."""
    out = Scene()
    out.depth(0)
    out.snapshot()
    for n in range(1, rows):
        out.trade(n)
        out.depth(n)
        if n % 7 == 0:
            out.events.append(out.market.health())
    return out


def renumbered(raws: list[bytes]) -> list[bytes]:
    """Gives events seq 1, 2, 3 … and right links: what a mesh would have logged that made the fault itself."""
    out, links = [], {}
    for seq, raw in enumerate(raws, 1):
        event = bytearray(raw)
        topic = Event(raw).topic
        stamp_sequenced(event, seq, links.get(topic, 0), 1_723_161_600_000_000_000 + seq)
        links[topic] = seq
        out.append(bytes(event))
    return out
