"""Three days of a made-up market, cut and ready to be sealed."""

from pathlib import Path

import numpy as np

from tests.support.stored import DAY, START, Market, batches
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.storage.archive.writer import ArchiveWriter

SUBJECT = "binance.BTCUSDT"


DAYS = ["2024-08-09", "2024-08-10", "2024-08-11"]


def three_days(seed: int = 1, count: int = 150) -> list[bytes]:
    """Builds a log over three UTC days and a bit of a fourth: books, gaps, late and early trades, two definitions."""
    rng = np.random.default_rng(seed)
    market = Market(seq_ns=START)
    out = [market.instrument((-2, -5))]
    step = 3 * DAY // count
    while market.seq_ns < START + 3 * DAY:
        what = int(rng.integers(0, 12))
        if what < 2:
            levels = [(int(rng.integers(90, 110)), int(rng.integers(0, 5)), 1 if rng.random() < 0.5 else -1) for _ in range(3)]
            out.append(market.depth(levels, market.seq, rng.random() < 0.1, step_ns=step))
        elif what == 2:
            out.append(market.gap(Kind.depth if rng.random() < 0.3 else Kind.trade))
        elif what == 3:
            out.append(market.health(f"feed-{1 + market.seq % 2}"))
        elif what == 4:
            out.append(market.trade(subject="binance.ETHUSDT", step_ns=step))
        elif what == 5 and rng.random() < 0.5:
            out.append(strayed(market, int(rng.integers(-2, 2)) * DAY))
        elif what == 6:
            out.append(market.clock(step))
        elif what == 7 and rng.random() < 0.1:
            out.append(market.instrument((-2, -6)))
        elif what == 8:
            records = np.zeros(1, DTYPES[Kind.line if rng.random() < 0.5 else Kind.coverage])
            out.append(market.event(Kind.line if "line" in records.dtype.names else Kind.coverage, SUBJECT, records))
        elif what == 9:
            out.append(market.event(Kind.raw, "feed-1", {"frames": [rng.bytes(40)]}))
        else:
            out.append(market.trade(int(rng.integers(6_000, 6_100)) * 10**6, step_ns=step))
    return out + [market.trade(), market.clock()]


def strayed(market: Market, by_ns: int) -> bytes:
    """Builds a trade whose venue time is in another day, flagged REPAIRED."""
    record = np.zeros(1, DTYPES[Kind.trade])
    number = market.seq + 1000
    record["trade_id"], record["venue_ns"] = number, market.seq_ns + by_ns
    return market.event(
        Kind.trade, SUBJECT, record, first_id=number, last_id=number, flags=Flag.REPAIRED, venue_ns=market.seq_ns + by_ns
    )


def archive(folder: Path, raws: list[bytes], cut_events: int = 100, upto: int = 1 << 60) -> None:
    """Archives these events in cuts of `cut_events`."""
    writer = ArchiveWriter(folder)
    writer.archive(batches(raws), upto, cut_events, 5)
    writer.close()
