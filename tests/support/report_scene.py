"""Results of backtests for tests: random ones from a seed, with everything that a real one may have, and small ones by hand."""

import numpy as np

from tickmesh.bus.schema import OrderType, Status
from tickmesh.research.backtest.result import FILL, ORDER, QUOTE_MARK, BacktestResult

SECOND = 1_000_000_000
NO_PARENT = (-1, 0.0, 0, 0)  # parent, parent_wanted, cause_seq, parent_seq
START = 1_723_200_000 * SECOND  # 2024-08-09, 10:40 UTC


def quotes(rows) -> np.ndarray:
    """(seconds after START, bid, ask) → QUOTE_MARK."""
    return np.array([(START + round(s * SECOND), bid, ask) for s, bid, ask in rows], QUOTE_MARK)


def result(fills=(), orders=None, marks=None, seconds=100.0, instruments=("binance.BTCUSDT",), strategies=("main",), **more):
    """A result by hand; fills: (s, side, price, quantity, fee[, instrument, strategy, maker]), an order of its own for each."""
    rows, own = [], []
    for number, (s, side, price, quantity, fee, *rest) in enumerate(fills, 1):
        instrument, strategy, maker = (*rest, *(0, 0, True)[len(rest) :])
        ns = START + round(s * SECOND)
        rows.append((ns, number, instrument, strategy, side, maker, price, quantity, fee))
        terms = number, instrument, strategy, side, OrderType.LIMIT, Status.Filled
        own.append((*terms, ns, ns, ns, price, quantity, quantity, price, *NO_PARENT))
    return BacktestResult(
        instruments, strategies, START, START + round(seconds * SECOND), np.array(rows, FILL),
        np.array(own if orders is None else orders, ORDER), {} if marks is None else marks,
        more.get("initial", {}), more.get("settings", {}), more.get("coverage", ()),
    )  # fmt: skip


def order(
    number, s, side, quantity, filled, mid, ended=None, arrived=None, status=None, price=100.0, instrument=0, strategy=0,
    parent=NO_PARENT,
):  # fmt: skip
    """A row of ORDER, times in seconds after START; `ended` None: it is open, `arrived` None: as it is sent."""
    known = status if status is not None else Status.Filled if filled >= quantity else Status.Canceled
    sent = START + round(s * SECOND)
    arrival = sent if arrived is None else START + round(arrived * SECOND)
    end = 0 if ended is None else START + round(ended * SECOND)
    terms = number, instrument, strategy, side, OrderType.LIMIT, known
    return *terms, sent, arrival, end, price, quantity, filled, mid, *parent


def random_result(seed: int, fills: int = 40, instruments: int = 2, strategies: int = 2, seconds: int = 600) -> BacktestResult:
    """A result whose orders are filled in parts, at once or late or never, with empty quotes and equal times in it."""
    rng = np.random.default_rng(seed)
    names = tuple(f"binance.COIN{place}USDT" for place in range(instruments))
    marks = {}
    for place, name in enumerate(names):
        count = int(rng.integers(5, 200))
        rows = np.zeros(count, QUOTE_MARK)
        rows["time_ns"] = START + np.sort(rng.integers(-5, seconds, count)) * SECOND  # some at one time, some before the start
        mid = 100.0 * (place + 1) + np.cumsum(rng.normal(0.0, 0.1, count))
        half = rng.integers(1, 5, count) * 0.01
        rows["bid"], rows["ask"] = mid - half, mid + half
        rows["bid"][1:][rng.random(count - 1) < 0.05] = 0.0  # an empty side
        marks[name] = rows
    orders, dealt = [], []
    for number in range(1, fills + 1):
        instrument, strategy = int(rng.integers(instruments)), int(rng.integers(strategies))
        side = int(rng.choice((-1, 1)))
        sent = int(rng.integers(0, seconds * 9 // 10)) * SECOND
        arrived = sent + int(rng.integers(0, SECOND))
        quantity = float(rng.integers(1, 20)) / 10
        base = 100.0 * (instrument + 1)
        kind = rng.integers(6)
        part = (0.0, 0.0, 0.5, 1.0, 1.0, 1.0)[kind]
        pieces = int(rng.integers(1, 4)) if part else 0
        ended = arrived
        for _ in range(pieces):
            ended += int(rng.integers(0, 20)) * SECOND // 2
            ended = min(ended, seconds * SECOND)
            price = base + round(float(rng.normal(0, 0.3)), 2)
            dealt.append(
                (START + ended, number, instrument, strategy, side, bool(rng.random() < 0.6), price, quantity * part / pieces,
                 round(float(rng.normal(0.001, 0.002)), 5))
            )  # fmt: skip
        status = Status.Rejected if kind == 0 else Status.Filled if part == 1.0 else Status.Canceled
        mid = base + round(float(rng.normal(0, 0.2)), 2) if rng.random() < 0.95 else np.nan
        end_ns = 0 if kind == 1 and rng.random() < 0.3 else START + ended + (SECOND if part < 1.0 else 0)
        orders.append(
            (number, instrument, strategy, side, OrderType.LIMIT, status, START + sent, START + arrived if kind else 0, end_ns,
             base, quantity, quantity * part, mid, *NO_PARENT)
        )  # fmt: skip
    rows = np.sort(np.array(orders, ORDER), order="sent_ns", kind="stable")
    number_parents(rows, rng)
    return BacktestResult(
        names, tuple(f"s{place}" for place in range(strategies)), START, START + seconds * SECOND,
        np.sort(np.array(dealt, FILL), order="time_ns", kind="stable"),
        rows, marks,
        {names[0]: float(rng.integers(-2, 3))}, {"seed": seed}, (),
    )  # fmt: skip


def number_parents(orders: np.ndarray, rng: np.random.Generator) -> None:
    """Makes most orders children of parents of one to three, with one arrival mid; the others have none."""
    parents: dict[tuple, list[int]] = {}
    for place, one in enumerate(orders):
        key = int(one["instrument"]), int(one["strategy"]), int(one["side"])
        own = parents.get(key)
        if own is None or rng.random() < 0.4:
            own = parents[key] = [2 * place, 0]
        if rng.random() < 0.7:
            one["parent"], own[1] = own[0], own[1] + 1
    for number in np.unique(orders["parent"]):
        own = orders["parent"] == number
        if number >= 0:
            orders["arrival_mid"][own] = orders["arrival_mid"][own][0]
            orders["parent_wanted"][own] = round(float(orders["quantity"][own].sum() * rng.choice((0.2, 1.0, 1.5))), 1)
