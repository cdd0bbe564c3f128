"""Lines of a made-up capture, and the market that replays them."""

import gzip
import json
from pathlib import Path

from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Execution
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.replay import Replay

T0 = 1_700_000_000_000_000_000


def depth(first: int, last: int, bids=(), asks=()) -> dict:
    """A message with a change of the book."""
    levels = [[f"{p:.8f}", f"{q:.8f}"] for p, q in bids], [[f"{p:.8f}", f"{q:.8f}"] for p, q in asks]
    data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": first, "u": last, "b": levels[0], "a": levels[1]}
    return {"stream": "btcusdt@depth@100ms", "data": data}


def ticker(update_id: int, bid: float, bid_quantity: float, ask: float, ask_quantity: float) -> dict:
    """A message with a quote."""
    b, big_b, a, big_a = (f"{x:.8f}" for x in (bid, bid_quantity, ask, ask_quantity))
    data = {"u": update_id, "s": "BTCUSDT", "b": b, "B": big_b, "a": a, "A": big_a}
    return {"stream": "btcusdt@bookTicker", "data": data}


def trade(ident: int, price: float, quantity: float, buyer_is_maker: bool) -> dict:
    """A message with a trade."""
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": ident, "p": f"{price:.8f}", "q": f"{quantity:.8f}", "T": 1}
    return {"stream": "btcusdt@trade", "data": {**data, "m": buyer_is_maker, "M": True}}


def snapshot(last: int, bids, asks) -> dict:
    """A REST snapshot."""
    return {
        "lastUpdateId": last,
        "bids": [[f"{p:.8f}", f"{q:.8f}"] for p, q in bids],
        "asks": [[f"{p:.8f}", f"{q:.8f}"] for p, q in asks],
    }


def line(message: dict, at: int = 0) -> str:
    """A message as a line of a capture."""
    return f"{T0 + at} {json.dumps(message, separators=(',', ':'))}"


SNAPSHOT = snapshot(10, [(100, 1), (99, 2), (98, 5)], [(101, 1), (102, 2), (103, 5)])


def market_of(*messages: dict, snapshot_ahead: bool = False) -> tuple[RecordedMarket, Replay, list[tuple[int, Execution]]]:
    """Replays messages; gives market, replay and the fills of own orders."""
    market = RecordedMarket(spec("BTCUSDT"), lambda: snapshot_ahead)
    fills: list[tuple[int, Execution]] = []
    market.on_fill = lambda order_id, execution, _: fills.append((order_id, execution))
    replay = Replay({"BTCUSDT": market})
    for message in messages:
        assert replay.pass_line(line(message), 0) is not None, replay.error
    return market, replay, fills


FEW = [
    depth(9, 10), ticker(10, 100, 1, 101, 1), trade(1, 101, 0.5, False), SNAPSHOT, depth(11, 12, bids=[(100.5, 1)]),
    ticker(12, 100.5, 1, 101, 1), trade(2, 100.5, 0.25, True), depth(13, 13, bids=[(100.5, 0.75)]),
]  # fmt: skip


def write(path: Path, messages: list[dict], gap_ns: int = 10**6) -> list[str]:
    """Writes messages as a capture; gives those of streams as text."""
    lines = [line(m, n * gap_ns) for n, m in enumerate(messages)]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return [one.partition(" ")[2] for one, m in zip(lines, messages) if "stream" in m]
