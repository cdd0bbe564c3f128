"""A seeded tape of several instruments for models: every kind that they read, gaps, redefinitions, what other nodes publish."""

import random

import numpy as np

from tests.support.stored import Market
from tickmesh.bus.schema import DTYPES, SIGNAL, Flag, GapState, Kind

SUBJECTS = ("binance.BTCUSDT", "binance.ETHUSDT", "kraken.BTC/USD", "okx.BTC-USDT")
STREAMS = (Kind.trade, Kind.quote, Kind.depth)


def tape(seed: int, count: int, subjects: tuple[str, ...] = SUBJECTS) -> list[bytes]:
    """Builds `count` events and a definition of each subject before them; one instrument is silent for the first half."""
    pick, market = random.Random(seed), Market()
    out = [market.instrument((-8, -5), subject) for subject in subjects[:-1]]
    while len(out) < count + len(subjects) - 1:
        late = len(out) > count // 2
        subject = pick.choice(subjects if late else subjects[:-1])
        step_ns = pick.choice((0, 1_000, 3_000_000, 40_000_000))
        deed = pick.random()
        if deed < 0.5:
            out.append(_quotes(pick, market, subject, step_ns))
        elif deed < 0.8:
            out.append(_trades(pick, market, subject, step_ns))
        elif deed < 0.9:
            levels = [(pick.randrange(1, 99), pick.randrange(9), pick.choice((-1, 1))) for _ in range(pick.randrange(1, 40))]
            out.append(market.depth(levels, market.seq, pick.random() < 0.1, subject=subject, step_ns=step_ns))
        elif deed < 0.94:
            record = np.zeros(1, DTYPES[Kind.gap])
            record["stream"], record["state"] = pick.choice(STREAMS), pick.choice(list(GapState))
            out.append(market.event(Kind.gap, subject, record, producer=b"sequencer", step_ns=step_ns))
        elif deed < 0.95:
            out.append(market.instrument((pick.randrange(-9, 0), -8), subject))
        elif deed < 0.97:
            record = np.zeros(1, SIGNAL)
            record["value"] = pick.random()
            out.append(
                market.event(Kind.signal, subject, record, producer=b"model-x", cause_seq=market.seq, k=pick.randrange(3))
            )
        else:
            out.append(market.clock() if pick.random() < 0.5 else market.health())
    return out


def _quotes(pick: random.Random, market: Market, subject: str, step_ns: int) -> bytes:
    records = np.zeros(1 if pick.random() < 0.95 else 3, DTYPES[Kind.quote])
    for record in records:
        bid = 6_000_000 + pick.randrange(5)
        record["bid_ticks"], record["bid_lots"] = (bid, pick.randrange(1, 10**8)) if pick.random() < 0.97 else (0, 0)
        record["ask_ticks"], record["ask_lots"] = (bid + 1, pick.randrange(1, 10**8)) if pick.random() < 0.97 else (0, 0)
        record["update_id"] = market.seq
    return market.event(Kind.quote, subject, records, step_ns=step_ns, last_id=market.seq)


def _trades(pick: random.Random, market: Market, subject: str, step_ns: int) -> bytes:
    records = np.zeros(1 if pick.random() < 0.9 else 4, DTYPES[Kind.trade])
    for record in records:
        record["price_ticks"], record["quantity_lots"] = 6_000_000, pick.randrange(1, 10**7)
        record["side"], record["trade_id"] = pick.choice((-1, 1)), market.seq
    flags = (Flag.REPAIRED if pick.random() < 0.1 else 0) | (Flag.OFF_BOOK if pick.random() < 0.1 else 0)
    return market.event(Kind.trade, subject, records, flags=flags, step_ns=step_ns, last_id=market.seq)
