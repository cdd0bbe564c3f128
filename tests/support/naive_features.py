"""The features by their definitions: from all of the past each time, with lists, dicts, fractions and numpy's own solver."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.bus.wire import Event

LATE = Flag.REPAIRED | Flag.OFF_BOOK | Flag.UNSYNCED


class Row(NamedTuple):
    """One event. `records`: a dict each."""

    seq: int
    seq_ns: int
    kind: Kind
    flags: int
    records: list[dict]


def parsed(events: Iterable[Event]) -> list[Row]:
    """The events, read once."""
    out = []
    for event in events:
        names = event.records.dtype.names
        records = [dict(zip(names, row)) for row in event.records.tolist()]
        out.append(Row(event.seq, event.seq_ns, Kind(event.kind), event.flags, records))
    return out


class Past:
    """What an instrument's events up to a moment say. `p`: all parameters; `tick`, `lot`: of its one definition."""

    def __init__(self, rows: list[Row], p: dict[str, float], tick: float, lot: float):
        self.p, self.tick, self.lot = p, tick, lot
        self.stream: list[tuple] = []  # (ns, kind, record or None for a gap of that kind)
        self.depth: list[tuple[int, list]] = []  # (flags, records) since the last gap
        for row in rows:
            if row.kind == Kind.gap:
                missing, state = Kind(row.records[0]["stream"]), row.records[0]["state"]
                if state == GapState.open or (state == GapState.unrecoverable and missing != Kind.trade):
                    self.stream.append((row.seq_ns, missing, None))
                    if missing == Kind.depth:
                        self.depth = []
            elif row.flags & LATE:
                continue
            elif row.kind in (Kind.quote, Kind.trade):
                self.stream += [(row.seq_ns, row.kind, record) for record in row.records]
            elif row.kind == Kind.depth:
                self.depth.append((row.flags, row.records))
        self.quotes = [one for one in self.stream if one[1] == Kind.quote]
        self.trades = [one for one in self.stream if one[1] == Kind.trade]
        self.top = self.quotes[-1][2] if self.quotes and whole(self.quotes[-1][2]) else None

    def values(self, now_ns: int) -> dict[str, float]:
        """Every feature as of `now_ns`."""
        top, tick = self.top, self.tick
        half = 1e6 * self.p["half_life_ms"]
        out = {}
        if top:
            bid, b, ask, a = (top[name] for name in ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots"))
            out |= {"mid": (bid + ask) / 2 * tick, "quoted_spread": (ask - bid) * tick, "queue_imbalance": (b - a) / (b + a)}
            out["weighted_mid"] = (bid * a + ask * b) / (a + b) * tick
            out["since_quote_s"] = (now_ns - self.stood_since()) / 1e9
        flows = self.flows()
        if flows:
            out["ofi"] = sum(e * 2 ** (-(now_ns - ns) / half) for ns, e in flows) * self.lot
        since = after_gaps(self.trades)
        if since:
            out["trade_intensity"] = sum(2 ** (-(now_ns - ns) / half) for ns, *_ in since) * math.log(2) / half * 1e9
            out["since_trade_s"] = (now_ns - since[-1][0]) / 1e9
        return out | self.volatilities() | self.costs() | self.impacts() | self.vpin() | self.micro() | self.book()

    def stood_since(self) -> int:
        names = ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
        since = self.quotes[-1][0]
        for ns, _, one in reversed(self.quotes):
            if one is None or any(one[name] != self.top[name] for name in names):
                break
            since = ns
        return since

    def flows(self) -> list[tuple[int, float]]:
        out, before = [], None
        for ns, _, q in self.quotes:
            if q is None:
                out, before = [], None
                continue
            if not whole(q):
                before = None
                continue
            if before:
                e = (q["bid_ticks"] >= before["bid_ticks"]) * q["bid_lots"]
                e -= (q["bid_ticks"] <= before["bid_ticks"]) * before["bid_lots"]
                e -= (q["ask_ticks"] <= before["ask_ticks"]) * q["ask_lots"]
                e += (q["ask_ticks"] >= before["ask_ticks"]) * before["ask_lots"]
                out.append((ns, e))
            before = q
        return out

    def stretches(self) -> Iterator[list[tuple[int, dict]]]:
        """The whole quotes between gaps and empty sides."""
        run: list[tuple[int, dict]] = []
        for ns, _, q in self.quotes:
            if q is not None and whole(q):
                run.append((ns, q))
            elif run:
                yield run
                run = []
        if run:
            yield run

    def volatilities(self) -> dict[str, float]:
        every, half = int(self.p["sample_ms"] * 1e6), self.p["half_life_returns"]
        returns, products = [], []
        for run in self.stretches():
            times = [ns for ns, _ in run]
            grid = range(-(-times[0] // every) * every, times[-1], every)
            mids = [mid2(run[bisect_left(times, at + 1) - 1][1]) for at in grid]
            own = [math.log(b / a) for a, b in zip(mids, mids[1:])]
            returns += own
            products += [abs(a) * abs(b) for a, b in zip(own, own[1:])]
        if len(returns) < 10:
            return {}
        out = {"realised_volatility": math.sqrt(faded([r * r for r in returns], half) / every * 1e9)}
        if products:
            out["bipower_volatility"] = math.sqrt(math.pi / 2 * faded(products, half) / every * 1e9)
        return out

    def costs(self) -> dict[str, float]:
        half, lag = self.p["half_life_trades"], int(self.p["sign_lag"])
        top, paid, changes, signs = None, [], [], []
        prices: list[int] = []
        sides: list[int] = []
        for _, kind, one in self.stream:
            if kind == Kind.quote:
                top = one if one is not None and whole(one) else None
            elif kind == Kind.trade and one is None:
                prices, sides = [], []
            elif kind == Kind.trade:
                if top:
                    paid.append(2 * one["side"] * (one["price_ticks"] - mid2(top) / 2))
                prices.append(one["price_ticks"])
                sides.append(one["side"])
                if len(prices) >= 3:
                    changes.append((prices[-1] - prices[-2], prices[-2] - prices[-3]))
                if len(sides) > lag:
                    signs.append((sides[-1], sides[-1 - lag]))
        out = {"effective_spread": faded(paid, half) * self.tick} if paid else {}
        if len(changes) >= 30:
            out["roll_spread"] = 2 * math.sqrt(max(0.0, -covariance(changes, half)[0])) * self.tick
        if len(signs) >= 30:
            xy, xx, yy = covariance(signs, half)
            out["sign_autocorrelation"] = xy / math.sqrt(xx * yy) if xx * yy > 0 else math.nan
        return out

    def impacts(self) -> dict[str, float]:
        every, half = int(self.p["bar_ms"] * 1e6), self.p["half_life_bars"]
        bars: list[dict] = []  # the running one is the last
        top, missing = 0, False
        for ns, kind, one in self.stream:
            if kind == Kind.depth:
                continue
            if one is None:
                if bars:
                    bars[-1]["whole"] = False
                missing = True
                top = 0 if kind == Kind.quote else top
                continue
            if not bars or bars[-1]["number"] != (ns - 1) // every:
                if bars:
                    bars[-1]["end"] = top
                bars.append({"number": (ns - 1) // every, "whole": bool(bars) and not missing, "begin": top, "trades": []})
                missing = False
            if kind == Kind.quote:
                top = mid2(one) if whole(one) else 0
            else:
                bars[-1]["trades"].append(one)
        good = [bar for bar in bars[:-1] if bar["whole"] and bar["trades"] and bar["begin"] and bar["end"]]
        if len(good) < 10:
            return {}
        pairs = [(sum(t["side"] * t["quantity_lots"] for t in b["trades"]), (b["end"] - b["begin"]) / 2) for b in good]
        ratios = [
            abs(b["end"] / b["begin"] - 1) / sum(t["price_ticks"] * t["quantity_lots"] for t in b["trades"]) for b in good
        ]
        xy, xx, _ = covariance(pairs, half)
        return {
            "kyle_lambda": xy / xx * self.tick / self.lot if xx > 0 else math.nan,
            "amihud": faded(ratios, half) / (self.tick * self.lot),
        }

    def vpin(self) -> dict[str, float]:
        bucket = max(round(self.p["vpin_bucket"] / self.lot), 1)
        edges, signed = [0], [0]  # volume traded, and bought less sold, after each trade
        for _, _, t in after_gaps(self.trades):
            edges.append(edges[-1] + t["quantity_lots"])
            signed.append(signed[-1] + t["side"] * t["quantity_lots"])
        full = edges[-1] // bucket
        if full < 50:
            return {}
        at = []
        for volume in range((full - 50) * bucket, full * bucket + 1, bucket):
            k = bisect_left(edges, volume)
            slope = (signed[k] - signed[k - 1]) // (edges[k] - edges[k - 1]) if k else 0
            at.append(signed[k] - slope * (edges[k] - volume))
        return {"vpin": sum(abs(b - a) for a, b in zip(at, at[1:])) / (50 * bucket)}

    def micro(self) -> dict[str, float]:
        refit, step, seen = int(self.p["refit_quotes"]), 0, []
        fitted, before = None, None
        for _, _, q in self.quotes:
            if q is None or not whole(q):
                before = None
                continue
            finer = math.gcd(step, q["bid_ticks"], q["ask_ticks"])
            if finer != step:
                step, seen, before, fitted = finer, [], None, None
            width = min(max((q["ask_ticks"] - q["bid_ticks"]) // step, 1), 3)
            now = (width, min(int(q["bid_lots"] / (q["bid_lots"] + q["ask_lots"]) * 10), 9), mid2(q))
            if before:
                seen.append((before, now))
                if len(seen) % refit == 0:
                    fitted = adjustments(seen)
            before = now
        if before is None or fitted is None:
            return {}
        return {"microprice": (before[2] / 2 + fitted[before[:2]]) * self.tick}

    def book(self) -> dict[str, float]:
        sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        valid = False
        for flags, levels in self.depth:
            if flags & Flag.SNAPSHOT:
                valid, sides = True, {1: {}, -1: {}}
            for one in levels if valid else ():
                side, price, lots = sides[one["side"]], one["price_ticks"], one["quantity_lots"]
                side.pop(price, None)
                if lots > 0:
                    side[price] = lots
        if not valid or not sides[1] or not sides[-1]:
            return {}
        best = int(self.p["depth_levels"])
        bids = sorted(sides[1].items(), reverse=True)[:best]
        asks = sorted(sides[-1].items())[:best]
        b, a = (sum(lots for _, lots in levels) for levels in (bids, asks))
        middle = (bids[0][0] + asks[0][0]) / 2
        return {"depth_imbalance": (b - a) / (b + a), "depth_slope": (slope(bids, middle) + slope(asks, middle)) / 2}


def slope(levels: list[tuple[int, int]], middle: float) -> float:
    volumes = [math.log(total) for total in np.cumsum([lots for _, lots in levels]).tolist()]
    prices = [middle, *(price for price, _ in levels)]
    away = [abs(b / a - 1) for a, b in zip(prices, prices[1:])]
    if volumes[0] <= 0 or away[0] == 0:
        return math.nan
    return (volumes[0] / away[0] + sum((b / a - 1) / d for a, b, d in zip(volumes, volumes[1:], away[1:]))) / len(levels)


def adjustments(seen: list[tuple]) -> dict[tuple[int, int], float]:
    """Stoikov's G* of each (spread, band), in ticks of the mid, by matrices."""
    states = [(width, band) for width in (1, 2, 3) for band in range(10)]
    place = {state: i for i, state in enumerate(states)}
    stays, moves, change = np.zeros((30, 30)), np.zeros((30, 30)), np.zeros(30)
    for (w0, b0, m0), (w1, b1, m1) in seen:
        for x, y, sign in (((w0, b0), (w1, b1), 1), ((w0, 9 - b0), (w1, 9 - b1), -1)):
            (stays if m0 == m1 else moves)[place[x], place[y]] += 1
            change[place[x]] += sign * (m1 - m0) / 2
    count = stays.sum(1) + moves.sum(1) + 1
    inverse = np.linalg.inv(np.eye(30) - stays / count[:, None])
    first, onward = inverse @ (change / count), inverse @ (moves / count[:, None])
    total = sum(np.linalg.matrix_power(onward, k) @ first for k in range(6))
    return dict(zip(states, total.tolist()))


def whole(q: dict) -> bool:
    return min(q["bid_ticks"], q["bid_lots"], q["ask_ticks"], q["ask_lots"]) > 0


def mid2(q: dict) -> int:
    return q["bid_ticks"] + q["ask_ticks"]


def after_gaps(rows: list[tuple]) -> list[tuple]:
    last = max((i for i, one in enumerate(rows) if one[2] is None), default=-1)
    return rows[last + 1 :]


def weights(count: int, half: float) -> np.ndarray:
    return 0.5 ** (np.arange(count)[::-1] / half)


def faded(values: list[float], half: float) -> float:
    return float(np.average(values, weights=weights(len(values), half)))


def covariance(pairs: list[tuple[float, float]], half: float) -> tuple[float, float, float]:
    """(of x and y, of x, of y), weighted."""
    table = np.array(pairs, "f8")
    (xx, xy), (_, yy) = np.cov(table.T, aweights=weights(len(table), half), ddof=0)
    return float(xy), float(xx), float(yy)
