"""A small mesh's data for the facade: two venues, three days, part of it archived, orders, health; and exports of it."""

from pathlib import Path

import numpy as np

from tests.support.command_run import mesh_here
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind, Status
from tickmesh.storage.archive.writer import ArchiveWriter

SUBJECT = "binance.BTCUSDT"
OTHER = "binance_usdm.ETHUSDT"  # of which there is one at both venues
DAYS = ("2024-08-09", "2024-08-10", "2024-08-11")
SETTINGS = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "ETHUSDT"
[[instruments]]
venue = "binance_usdm"
symbol = "ETHUSDT"
"""


def record(kind: Kind, **values: object) -> np.ndarray:
    """One record of a kind; what is not named is 0."""
    out = np.zeros(1, DTYPES[kind])
    for name, value in values.items():
        out[name] = value
    return out


def level_price(rng: np.random.Generator, side: int) -> int:
    """The price of a level far from the best: below all bids of a quote, above all its asks."""
    return 6_100_000 - side * int(rng.integers(200_000, 6_000_000))


def market_events(rounds: int, seed: int = 3) -> list[bytes]:
    """Three days of a market of two instruments, `rounds` on each day, with an order, health and an alert."""
    market = Market()
    rng = np.random.default_rng(seed)
    raws = [market.instrument((-2, -5))]
    definition = record(Kind.instrument, price_exponent=-3, quantity_exponent=-4, tick_size=1, lot_size=1)
    raws.append(market.event(Kind.instrument, OTHER, definition))
    for day in range(3):
        market.seq_ns = START + day * DAY + 1_000_007  # a time that microseconds cannot hold
        for number in range(rounds):
            price = 6_100_000 + int(rng.integers(0, 100_000))
            raws.append(market.trade(price=price))
            quote = record(Kind.quote, update_id=market.seq, bid_ticks=price, bid_lots=5, ask_ticks=price + 1)
            raws.append(market.event(Kind.quote, SUBJECT, quote, last_id=market.seq))
            levels = [(level_price(rng, side), int(rng.integers(0, 9)), side) for side in (1, -1, 1)]
            raws.append(market.depth(levels, market.seq))
            if number % 3 == 0:
                raws.append(market.trade(price=price // 20, subject=OTHER))
            if number % 10 == 0:
                raws.append(market.gap(Kind.trade))
                raws.append(market.health(f"feed-{1 + number % 20 // 10}"))
        update = record(Kind.update, status=Status.New, side=1, order_type=1, client_order_id=b"a1", price_ticks=6_000_000)
        raws.append(market.event(Kind.update, SUBJECT, update))
        fill = record(Kind.fill, side=1, trade_id=day + 1, price_ticks=6_000_000, quantity_lots=7, fee_asset=b"USDT", fee=5)
        raws.append(market.event(Kind.fill, SUBJECT, fill))
    raws.append(market.event(Kind.alert, "sentinel-1", {"level": "warning", "target": "feed-1", "what": "restart"}))
    return raws


def recorded(root: Path, rounds: int = 30, archived: float = 0.8) -> Config:
    """Lays a mesh into `root` that has archived this share of its events; the rest is in the log."""
    (root / "mesh.toml").write_text(SETTINGS)
    config = load(root)
    raws = market_events(rounds)
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), int(len(raws) * archived), 90)
    writer.close()
    return config


def export(root: Path, name: str, *words: str) -> Path:
    """Exports everything, with the day that is not over, into a folder of `root`."""
    topics = [word for kind in ("instrument", "trade", "quote", "depth", "gap", "update", "fill") for word in ("--topic", kind)]
    done = mesh_here(root, "export", "--partial", "--to", root / name, *topics, *words)
    assert done.returncode == 0, done.stderr
    return root / name
