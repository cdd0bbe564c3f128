"""Bars by activity, by the log's time and by your own function: always those of a plain loop over the events, and of polars."""

import random
from math import log

import numpy as np
import polars as pl
import pytest
from numba import njit

from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.bars import activity
from tickmesh.storage.bars.bar import whole
from tickmesh.storage.columns import archive
from tickmesh.storage.columns import log as log_columns
from tickmesh.storage.query import resampling
from tickmesh.storage.query.times import ReadError

SUBJECT, OTHER = "binance.BTCUSDT", "binance.ETHUSDT"
PRICE, QUANTITY = -2, -3  # exponents
RULES = [
    ("ticks", 7), ("volume", "4.5"), ("notional", 1_000_000), ("tick_imbalance", 5), ("volume_imbalance", 2.5),
    ("notional_imbalance", "400000.12345"), ("time", "100ms"), ("time", 2),
]  # fmt: skip


def tape(count: int) -> list[bytes]:
    """Trades, also some at once and off the book, quotes, also of one side, gaps; of two instruments."""
    pick, market = random.Random(3), Market()
    out = [market.instrument((PRICE, QUANTITY), subject) for subject in (SUBJECT, OTHER)]
    while len(out) < count:
        subject, deed = pick.choice((SUBJECT, SUBJECT, OTHER)), pick.random()
        step_ns = pick.choice((1_000, 3_000_000, 40_000_000, 700_000_000))
        records = np.zeros(pick.choice((1, 1, 1, 3)), DTYPES[Kind.trade if deed < 0.5 else Kind.quote])
        for record in records:
            price = 6_000_000 + pick.randrange(-500, 500)
            if deed < 0.5:
                record["trade_id"], record["price_ticks"], record["side"] = market.seq, price, pick.choice((1, -1))
                record["quantity_lots"] = pick.randrange(1, 2000)
            else:
                record["bid_ticks"], record["bid_lots"] = price, pick.randrange(0, 9)
                record["ask_ticks"], record["ask_lots"] = price + pick.randrange(1, 9), pick.randrange(0, 9)
        if deed < 0.03:
            out.append(market.gap(pick.choice((Kind.trade, Kind.quote, Kind.depth)), subject))
        else:
            flags = Flag.OFF_BOOK if 0.03 < deed < 0.05 else 0
            kind = Kind.trade if deed < 0.5 else Kind.quote
            out.append(market.event(kind, subject, records, flags=flags, step_ns=step_ns, last_id=market.seq))
    return out


RAWS = tape(4000)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> Config:
    """Two thirds in an archive, the rest in the log."""
    config = Config(Mesh(), tmp_path_factory.mktemp("mesh"))
    write_log(config.log_dir, RAWS, segment_bytes=1 << 15)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(RAWS) * 2 // 3, 300)
    writer.close()
    return config


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch):
    monkeypatch.setattr(log_columns, "SPAN_EVENTS", 400)
    monkeypatch.setattr(archive, "SPAN_SEQS", 111)
    monkeypatch.setattr(resampling, "ROWS_OUT", 5)


def measure(rule: str, trade) -> int:
    """What a trade counts for a rule, in mantissas."""
    price, lots, sign = int(trade["price_ticks"]), int(trade["quantity_lots"]), int(trade["side"])
    size = {"tick": 1, "ticks": 1, "volume": lots, "notional": price * lots}[rule.removesuffix("_imbalance")]
    return size * (sign if rule.endswith("imbalance") else 1)


def naive(rule: str, least: int, start: int = 0, end: int = 1 << 62) -> list[dict]:
    """Bars by their definition, in Python integers. `least`: of the measure, or ns."""
    bars, total, bucket, gaps = [], 0, None, 0
    touch = dict(bid_ticks=0, bid_lots=0, ask_ticks=0, ask_lots=0)
    bar = None
    for event in map(Event, RAWS):
        if event.subject != SUBJECT or event.flags & Flag.OFF_BOOK or not start <= event.seq_ns < end:
            continue
        if event.kind == Kind.gap:
            if int(event.records["stream"][0]) in (Kind.trade, Kind.quote):
                if bar is None:
                    gaps += 1
                else:
                    bar["gaps"] += 1
            continue
        if event.kind not in (Kind.trade, Kind.quote):
            continue
        if rule == "time" and bar is not None and event.seq_ns // least != bucket:
            bar["complete"], bar = 1, None
        for record in event.records:
            if bar is None:
                bar = dict.fromkeys(activity.STANDARD.names, 0) | touch
                bar |= dict(begin_ns=event.seq_ns, first_seq=event.seq, complete=0, gaps=gaps)
                bars.append(bar)
                total, bucket, gaps = 0, event.seq_ns // least, 0
            bar |= dict(end_ns=event.seq_ns, last_seq=event.seq)
            if event.kind == Kind.trade:
                price, lots = int(record["price_ticks"]), int(record["quantity_lots"])
                prices = [price, *([bar["low_ticks"], bar["high_ticks"]] if bar["count"] else [])]
                if not bar["count"]:
                    bar |= dict(open_ticks=price, first_id=int(record["trade_id"]))
                bar |= dict(low_ticks=min(prices), high_ticks=max(prices), close_ticks=price, last_id=int(record["trade_id"]))
                bar["count"] += 1
                bar["volume_lots"] += lots
                bar["buy_volume_lots"] += lots * (record["side"] > 0)
                bar["notional"] += price * lots
                total += measure(rule, record) if rule != "time" else 0
                if rule != "time" and (abs(total) >= least if rule.endswith("imbalance") else total >= least):
                    bar["complete"], bar = 1, None
                continue
            then, touch = touch, {name: int(record[name]) for name in touch}
            bar |= touch
            bar["quotes"] += 1
            if touch["bid_lots"] and touch["ask_lots"]:
                spread = touch["ask_ticks"] - touch["bid_ticks"]
                spreads = [spread, *([bar["spread_min_ticks"], bar["spread_max_ticks"]] if bar["spreads"] else [])]
                bar |= dict(spread_min_ticks=min(spreads), spread_max_ticks=max(spreads), spreads=bar["spreads"] + 1)
                bar["spread_sum_ticks"] += spread
                if then["bid_lots"] and then["ask_lots"]:
                    move = (touch["bid_ticks"] + touch["ask_ticks"]) / (then["bid_ticks"] + then["ask_ticks"])
                    bar["mid_variance"] += log(move) ** 2
    return bars


def least_of(rule: str, size) -> int:
    if rule == "time":
        return {"100ms": 100_000_000, 2: 2_000_000_000}[size]
    exponent = {"tick": 0, "ticks": 0, "volume": -QUANTITY, "notional": -PRICE - QUANTITY}[rule.removesuffix("_imbalance")]
    return round(float(size) * 10**exponent)


@pytest.mark.parametrize("rule, size", RULES)
@pytest.mark.parametrize("start, end", [(None, None), (START + 100 * 10**9, START + 400 * 10**9)])
def test_bars_are_those_of_a_plain_loop(mesh, rule, size, start, end):
    rows = resampling.resample(mesh, SUBJECT, rule, size, start, end)
    expected = naive(rule, least_of(rule, size), start or 0, end or 1 << 62)
    assert len(rows) == len(expected) > 20
    for name in (*activity.BOUNDS.names, *activity.STANDARD.names):
        if name == "mid_variance":
            assert rows[name] == pytest.approx([bar[name] for bar in expected], rel=1e-9)
        elif not name.endswith("_high"):
            values = whole(rows, name) if f"{name}_high" in rows.dtype.names else rows[name]
            assert values.tolist() == [bar[name] for bar in expected], name
    assert rows["gaps"].sum() > 0 and rows["complete"][:-1].all()


def test_the_frame_is_what_polars_makes_of_the_trades(mesh):
    """Tick bars: a group of polars' for each seven trades."""
    frame = resampling.frame(mesh, SUBJECT, "ticks", 7)
    trades = [
        (int(t["price_ticks"]) / 100, int(t["quantity_lots"]) / 1000, int(t["side"]))
        for event in map(Event, RAWS)
        if event.kind == Kind.trade and event.subject == SUBJECT and not event.flags & Flag.OFF_BOOK
        for t in event.records
    ]
    price, quantity = pl.col("price"), pl.col("quantity")
    bars = (
        pl.DataFrame(trades, schema=["price", "quantity", "side"], orient="row")
        .with_row_index()
        .group_by(pl.col("index") // 7, maintain_order=True)
        .agg(
            price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
            quantity.sum().alias("volume"), quantity.filter(pl.col("side") < 0).sum().alias("sell_volume"),
            (price * quantity).sum().alias("notional"), ((price * quantity).sum() / quantity.sum()).alias("vwap"),
        )
    )  # fmt: skip
    assert len(frame) in (len(bars), len(bars) + 1), "quotes after the last trade begin a bar"
    for name in bars.columns[1:]:
        assert frame[name][: len(bars)].to_numpy() == pytest.approx(bars[name].to_numpy(), rel=1e-12), name
    last = frame.dropna().iloc[-1]
    weighted = last.bid_price * last.ask_quantity + last.ask_price * last.bid_quantity
    assert last.microprice == pytest.approx(weighted / (last.bid_quantity + last.ask_quantity), rel=1e-12)
    assert (frame["realised_volatility"] > 0).any() and frame.index.tz is not None


def test_a_reducer_of_ones_own_sees_every_record_and_the_bar_before(mesh):
    dtype = np.dtype([("signed_lots", "<i8"), ("all_lots", "<i8"), ("quotes", "<i8")])

    @njit
    def flow(bar, before, row, record, quotes, trades):
        if row.kind == 3:
            bar.quotes += 1
        else:
            bar.signed_lots += trades[record].quantity_lots * trades[record].side
            bar.all_lots = (bar.all_lots or before.all_lots) + trades[record].quantity_lots

    rows = resampling.resample(mesh, SUBJECT, "ticks", 7, reducer=flow, dtype=dtype)
    bars = naive("ticks", 7)
    assert rows["signed_lots"].tolist() == [2 * bar["buy_volume_lots"] - bar["volume_lots"] for bar in bars]
    assert rows["quotes"].tolist() == [bar["quotes"] for bar in bars]
    traded = [number for number, bar in enumerate(bars) if bar["count"]]
    assert rows["all_lots"][traded].tolist() == np.cumsum([bars[number]["volume_lots"] for number in traded]).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_sums_in_two_words_are_exact(seed):
    pick, total, high, low = random.Random(seed), 0, 0, 0
    for _ in range(2000):
        a, b = (pick.randrange(-(1 << pick.randrange(1, 63)), 1 << pick.randrange(1, 63)) for _ in range(2))
        if abs(total + a * b) < 1 << 125:
            total += a * b
            high, low = activity.plus_product(high, low, a, b)
            assert (high, low) == (total >> 63, total % (1 << 63))


def bad(bar, before, row, record, quotes, trades):
    bar.nothing += 1


def test_what_cannot_be_is_a_sentence(mesh):
    one = np.dtype([("count", "<i8")])
    for ask, sentence in (
        (lambda: resampling.resample(mesh, SUBJECT, "hours", 1), "rule = 'hours' is unknown; allowed are time, ticks, volume"),
        (lambda: resampling.resample(mesh, SUBJECT, "ticks", 0), "size = 0 is no size for ticks; it is a multiple of 10\\^0"),
        (lambda: resampling.resample(mesh, SUBJECT, "volume", "0.0005"), "no size for volume; it is a multiple of 10\\^-3"),
        (lambda: resampling.resample(mesh, SUBJECT, "volume", "many"), "size = 'many' is no number; volume wants one above 0"),
        (lambda: resampling.resample(mesh, SUBJECT, "time", 0.5), "size = 0.5 is no length of time; allowed are whole"),
        (lambda: resampling.resample(mesh, "binance.BTC", "ticks", 5), "no topic trade.binance.BTC; the subjects of trade are"),
        (
            lambda: resampling.resample(mesh, SUBJECT, "ticks", 5, reducer=bad, dtype=one),
            "bad does not compile: it uses the field",
        ),
        (lambda: resampling.resample(mesh, SUBJECT, "ticks", 5, dtype=activity.BOUNDS), "none of them begin_ns, end_ns"),
    ):
        with pytest.raises(ReadError, match=sentence):
            ask()
