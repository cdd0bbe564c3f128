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
    symbols = (("BTCUSDT", "binance"), ("ETHUSDT", "binance"), ("BTCUSDT", "binance_usdm"))
    toml = "".join(f'[[instruments]]\nsymbol = "{symbol}"\nvenue = "{venue}"\n' for symbol, venue in symbols)
    (folder / "mesh.toml").write_text(toml + "[exchange]\nfunding_interval_s = 1\n")
    core = Core.synthetic(load(folder), [], lambda symbol: Tape(), 1_700_000_000_000)
    core.start(1_700_000_000_000)
    rand, digest = random.Random(7), hashlib.sha256()
    for now in range(1_700_000_000_000, 1_700_000_003_000, 10):
        for flow in core.flows:
            flow.run(now)
        if now % 100 == 0:
            for market in core.synthetic_markets.values():
                market.flush_depth(now)
            for derived in core.derived.values():
                for frame in derived.frames(now, ["depth5", "kline_1m", "ticker"]):
                    digest.update(repr(frame).encode())
            core.follow_marks(now)
        values = {"symbol": rand.choice(list(core.derived)), "side": rand.choice(("BUY", "SELL")), "type": "MARKET"}
        try:
            core.desk.place(Params({**values, "quantity": "0.1"}), now)
            core.margin.enter(core.margin.check(Params({**values, "symbol": "BTCUSDT", "quantity": "0.1"})), now)
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
