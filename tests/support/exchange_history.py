"""What a whole local exchange does with random orders, as one hash."""

import hashlib
import random
from pathlib import Path

import msgspec

from tickmesh.bus.config import load
from tickmesh.nodes.exchange.core import Core
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.protocol import Params, VenueError


def history(folder: Path) -> str:
    """Runs a seeded exchange for three simulated seconds with random orders; gives a digest of all it sent and wrote."""
    (folder / "mesh.toml").write_text('[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\n')
    core = Core.synthetic(load(folder), [], lambda symbol: Tape(), 1_700_000_000_000)
    core.start(1_700_000_000_000)
    rand, digest = random.Random(7), hashlib.sha256()
    for now in range(1_700_000_000_000, 1_700_000_003_000, 10):
        for flow in core.flows:
            flow.run(now)
        if now % 100 == 0:
            for symbol, market in core.markets.items():
                market.flush_depth(now)
                for frame in core.derived[symbol].frames(now, ["depth5", "kline_1m", "ticker"]):
                    digest.update(repr(frame).encode())
        values = {"symbol": rand.choice(list(core.markets)), "side": rand.choice(("BUY", "SELL")), "type": "MARKET"}
        try:
            core.desk.place(Params({**values, "quantity": "0.1"}), now)
        except VenueError as error:
            digest.update(error.message.encode())
        done = core.take_uncommitted()
        for printed in done.trades:
            digest.update(repr(printed).encode())
        for line in done.state_lines:
            digest.update(msgspec.json.encode(line))
        digest.update(repr((done.outgoing, done.ledger_rows)).encode())
    digest.update(msgspec.json.encode(core.whole_state()))
    return digest.hexdigest()
