"""Made events to try a model on: seeded, of every kind that a model reads, the odd ones that markets have among them."""

import random
from collections.abc import Iterator

import numpy as np

from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind
from tickmesh.bus.wire import Event, encode, stamp_sequenced

SUBJECT = "binance.BTCUSDT"
START_NS = 1_700_000_000 * 1_000_000_000
STREAMS = (Kind.trade, Kind.quote, Kind.depth)
SILENCES_NS = (0, 0, 1_000, 3_000_000, 40_000_000, 400_000_000)
LONG_NS = 3_600 * 1_000_000_000


def events(count: int, seed: int = 1) -> list[Event]:
    """Makes `count` events of one instrument: some come before its definition, sides of quotes are empty, trades and depth have
    many records or none of a size, a second may be silent or full, and once an hour passes."""
    pick, now_ns, out = random.Random(seed), START_NS, []
    for seq, (kind, records, flags) in enumerate(_rows(pick, count), 1):
        now_ns += LONG_NS if seq == count // 2 else pick.choice(SILENCES_NS)
        raw = encode(kind, SUBJECT, records, flags=flags)
        stamp_sequenced(raw, seq, 0, now_ns)
        out.append(Event(bytes(raw)))
    return out


def _rows(pick: random.Random, count: int) -> Iterator[tuple[Kind, np.ndarray, int]]:
    mid = 6_000_000_000_000
    for at in range(count):
        mid += pick.randrange(-3, 4) * 1_000_000
        deed = pick.random()
        if at == 8 or deed > 0.995:
            yield Kind.instrument, np.array([(-8, -8, 1_000_000, 1000, 1000, 0, 0)], DTYPES[Kind.instrument]), 0
        elif deed < 0.55:
            yield Kind.quote, _quotes(pick, mid), 0
        elif deed < 0.85:
            flags = Flag.REPAIRED if pick.random() < 0.05 else 0
            yield Kind.trade, _trades(pick, mid), flags
        elif deed < 0.97:
            yield Kind.depth, _levels(pick, mid), Flag.SNAPSHOT if pick.random() < 0.1 else 0
        else:
            gap = np.zeros(1, DTYPES[Kind.gap])
            gap["stream"], gap["state"] = pick.choice(STREAMS), pick.choice(list(GapState))
            yield Kind.gap, gap, 0


def _size(pick: random.Random) -> int:
    return pick.choice((0, 1, pick.randrange(1, 10**6), pick.randrange(1, 10**9), pick.randrange(1, 10**13)))


def _quotes(pick: random.Random, mid: int) -> np.ndarray:
    records = np.zeros(1 if pick.random() < 0.95 else 3, DTYPES[Kind.quote])
    for record in records:
        bid, ask = _size(pick), _size(pick)
        record["bid_ticks"], record["bid_lots"] = (mid, bid) if bid else (0, 0)
        record["ask_ticks"], record["ask_lots"] = (mid + 1_000_000, ask) if ask else (0, 0)
    return records


def _trades(pick: random.Random, mid: int) -> np.ndarray:
    records = np.zeros(1 if pick.random() < 0.9 else 40, DTYPES[Kind.trade])
    for record in records:
        record["price_ticks"], record["quantity_lots"] = mid, max(_size(pick), 1)
        record["side"] = pick.choice((-1, 1))
    return records


def _levels(pick: random.Random, mid: int) -> np.ndarray:
    records = np.zeros(pick.choice((1, 3, 40)), DTYPES[Kind.depth])
    for record in records:
        side = pick.choice((-1, 1))
        record["price_ticks"], record["quantity_lots"], record["side"] = mid - side * pick.randrange(10**9), _size(pick), side
    return records
