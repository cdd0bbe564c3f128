"""Messages of a made-up USD-M capture, in that venue's own spelling; `replay_lines.line` makes a line of one."""

T0_MS = 1_700_000_000_000


def _levels(rows) -> list[list[str]]:
    return [[f"{price:.2f}", f"{quantity:.3f}"] for price, quantity in rows]


def depth(before: int, first: int, last: int, bids=(), asks=(), symbol: str = "BTCUSDT", speed: str = "@0ms") -> dict:
    """A message with a change of the book; `before` is the last id of the change before it."""
    data = {
        "e": "depthUpdate", "E": T0_MS, "T": T0_MS, "s": symbol, "U": first, "u": last, "pu": before, "b": _levels(bids),
        "a": _levels(asks),
    }  # fmt: skip
    return {"stream": f"{symbol.lower()}@depth{speed}", "data": data}


def ticker(update_id: int, bid: float, bid_quantity: float, ask: float, ask_quantity: float, symbol: str = "BTCUSDT") -> dict:
    """A message with a quote."""
    ((b, big_b),), ((a, big_a),) = _levels([(bid, bid_quantity)]), _levels([(ask, ask_quantity)])
    data = {
        "e": "bookTicker", "u": update_id, "s": symbol, "b": b, "B": big_b, "a": a, "A": big_a, "T": T0_MS, "E": T0_MS,
    }  # fmt: skip
    return {"stream": f"{symbol.lower()}@bookTicker", "data": data}


def trade(
    ident: int, price: float, quantity: float, buyer_is_maker: bool, kind: str = "MARKET", symbol: str = "BTCUSDT"
) -> dict:
    """A message with a trade; `kind` is its X."""
    ((p, q),) = _levels([(price, quantity)])
    data = {
        "e": "trade", "E": T0_MS, "T": T0_MS, "s": symbol, "t": ident, "p": p, "q": q, "X": kind, "m": buyer_is_maker,
    }  # fmt: skip
    return {"stream": f"{symbol.lower()}@trade", "data": data}


def mark(price: str, rate: str, next_ms: int, symbol: str = "BTCUSDT") -> dict:
    """A message with a mark price, its index one lower, and the next funding."""
    data = {
        "e": "markPriceUpdate", "E": T0_MS, "s": symbol, "p": price, "P": price, "i": str(float(price) - 1), "r": rate,
        "T": next_ms,
    }  # fmt: skip
    return {"stream": f"{symbol.lower()}@markPrice@1s", "data": data}


def snapshot(last: int, bids, asks) -> dict:
    """A REST snapshot, which names no symbol."""
    return {"lastUpdateId": last, "E": T0_MS, "T": T0_MS, "bids": _levels(bids), "asks": _levels(asks)}


SNAPSHOT = snapshot(1000, [(60_000, 1), (59_990, 2), (59_980, 5)], [(60_000.1, 1), (60_010, 2), (60_020, 5)])
# Ids are counted over all symbols: those of one have holes, and of a quiet one large ones
FEW = [
    depth(900, 950, 1010, bids=[(60_000, 1.5)]),
    SNAPSHOT,
    mark("60005.5", "0.00010000", T0_MS + 1000),
    ticker(1015, 60_000, 1.5, 60_000.1, 1),
    trade(1, 60_000.1, 0.5, False),
    depth(1010, 1012, 1020, asks=[(60_000.1, 0.5)]),
    trade(2, 51_000, 30, True, "INSURANCE_FUND"),
    trade(3, 0, 0, True, "NA"),
    trade(4, 59_985, 2, True),
    depth(1020, 30_001_000, 30_001_002, bids=[(60_000, 0), (59_990, 0)]),
    ticker(30_001_002, 59_980, 5, 60_000.1, 0.5),
    mark("59990.5", "-0.00020000", T0_MS + 2000),
]
