"""A seeded market of one instrument for features: prices that move, aggressors, a book, gaps, late and odd records."""

import random

import numpy as np

from tests.support.stored import Market
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind

SUBJECT = "binance.BTCUSDT"
EXPONENTS = (-2, -5)
STEP = 10  # ticks between two prices


def market_tape(
    seed: int, count: int, gaps: float = 0.004, subject: str = SUBJECT, exponents: tuple[int, int] = EXPONENTS
) -> list[bytes]:
    """Builds `count` events of an instrument; its definition is the second of them. `gaps`: how many of them are gaps."""
    pick, market = random.Random(seed), Market()
    out = [market.trade(6_000_000, subject), market.instrument(exponents, subject)]
    middle = 600_000
    while len(out) < count:
        step_ns = pick.choice((0, 1_000, 700_000, 30_000_000, 250_000_000)) if pick.random() < 0.995 else 4_000_000_000
        middle += pick.choice((-1, 0, 0, 0, 0, 1))
        bid, ask = (middle - pick.choice((0, 0, 1))) * STEP, (middle + pick.choice((1, 1, 2))) * STEP
        deed = pick.random()
        if deed < gaps:
            record = np.zeros(1, DTYPES[Kind.gap])
            record["stream"], record["state"] = pick.choice((Kind.trade, Kind.quote, Kind.depth)), pick.choice(list(GapState))
            out.append(market.event(Kind.gap, subject, record, producer=b"sequencer", step_ns=step_ns))
        elif deed < 0.5:
            out.append(_quotes(pick, market, subject, bid, ask, step_ns))
        elif deed < 0.8:
            out.append(_trades(pick, market, subject, bid, ask, step_ns))
        else:
            snapshot = pick.random() < 0.1
            many = pick.randrange(30, 60) if snapshot else pick.randrange(1, 6)
            sides = [pick.choice((1, -1)) for _ in range(many)]
            levels = [
                ((bid if s > 0 else ask) - s * STEP * pick.randrange(25), pick.choice((0, 1, 5, 70, 900)), s) for s in sides
            ]
            out.append(market.depth(levels, market.seq, snapshot, subject=subject, step_ns=step_ns))
    return out


def _quotes(pick: random.Random, market: Market, subject: str, bid: int, ask: int, step_ns: int) -> bytes:
    records = np.zeros(1 if pick.random() < 0.95 else 2, DTYPES[Kind.quote])
    for record in records:
        record["bid_ticks"], record["bid_lots"] = (bid, pick.randrange(1, 10**6)) if pick.random() < 0.996 else (0, 0)
        record["ask_ticks"], record["ask_lots"] = (ask, pick.randrange(1, 10**6)) if pick.random() < 0.996 else (0, 0)
    return market.event(Kind.quote, subject, records, step_ns=step_ns, last_id=market.seq)


def _trades(pick: random.Random, market: Market, subject: str, bid: int, ask: int, step_ns: int) -> bytes:
    records = np.zeros(1 if pick.random() < 0.9 else 3, DTYPES[Kind.trade])
    for record in records:
        side = pick.choice((-1, 1))
        record["side"], record["price_ticks"] = side, ask if side > 0 else bid
        record["quantity_lots"] = pick.randrange(1, 2000) if pick.random() < 0.995 else 200_000
        record["trade_id"] = market.seq
    flags = (Flag.REPAIRED if pick.random() < 0.03 else 0) | (Flag.OFF_BOOK if pick.random() < 0.03 else 0)
    return market.event(Kind.trade, subject, records, flags=flags, step_ns=step_ns, last_id=market.seq)
