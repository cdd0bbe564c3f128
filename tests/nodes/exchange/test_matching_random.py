"""Hundreds of thousands of random orders against a naive reference, and the whole exchange twice with the same inputs.

`TICKMESH_ORDERS` says how many orders (default 200000, about 20 s), `TICKMESH_SEED` which ones.
"""

import os
import random
import subprocess
import sys
from bisect import insort

import pytest

from tests.support.exchange_history import history
from tests.support.places import PROJECT
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, OrderBook, UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError, decimal_text

ORDERS = int(os.environ.get("TICKMESH_ORDERS", "200000"))
SEED = int(os.environ.get("TICKMESH_SEED", "0"))
KINDS = [("LIMIT", "GTC")] * 6 + [("LIMIT", "IOC"), ("LIMIT", "FOK"), ("MARKET", "GTC"), ("LIMIT_MAKER", "GTC")]


class Naive:
    """Two sorted lists of orders, best first; nothing else is remembered."""

    def __init__(self):
        self.sides: dict[int, list[list]] = {1: [], -1: []}  # [−side × price, arrival, id, owner, remaining]
        self.arrivals = 0

    def submit(self, ident, owner, side, price, quantity, kind, tif):
        against = self.sides[-side]
        limit = None if kind == "MARKET" else -side * price * -1 if side > 0 else price * -1
        reach = [r for r in against if limit is None or r[0] <= limit]
        if kind == "LIMIT_MAKER" and reach:
            return "REJECTED", [], []
        if tif == "FOK" and sum(r[4] for r in reach if not owner or r[3] != owner) < quantity:
            return "EXPIRED", [], []
        fills, expired, left = [], [], quantity
        for row in reach:
            if not left:
                break
            if owner and row[3] == owner:
                expired.append(row[2])
                against.remove(row)
                continue
            took = min(left, row[4])
            left -= took
            row[4] -= took
            fills.append((row[2], abs(row[0]), took))
            if not row[4]:
                against.remove(row)
        if not left:
            return "FILLED", fills, expired
        if kind == "MARKET" or tif != "GTC":
            return "EXPIRED", fills, expired
        self.arrivals += 1
        insort(self.sides[side], [-side * price, self.arrivals, ident, owner, left])
        return "PARTIALLY_FILLED" if fills else "NEW", fills, expired

    def cancel(self, ident):
        for rows in self.sides.values():
            for row in rows:
                if row[2] == ident:
                    rows.remove(row)
                    return True
        return False

    def best(self, side):
        rows = self.sides[side]
        if not rows:
            return 0, 0
        return abs(rows[0][0]), sum(r[4] for r in rows if r[0] == rows[0][0])


def test_the_book_does_what_the_naive_reference_does_order_for_order():
    rand = random.Random(SEED)
    book, naive = OrderBook(), Naive()
    standing: list[int] = []
    filled = 0
    for ident in range(1, ORDERS + 1):
        if standing and (rand.random() < 0.35 or len(standing) > 120):
            gone = standing.pop(rand.randrange(len(standing)))
            assert (book.cancel(gone) is not None) == naive.cancel(gone), ident
        owner, side = rand.randrange(4), rand.choice((1, -1))
        price, quantity = 1000 - side * 3 + rand.randrange(-8, 9), rand.randrange(1, 40)
        kind, tif = rand.choice(KINDS)
        result = book.submit(ExchangeOrder(ident, owner, side, price, quantity), kind, tif)
        fills = [(f.maker.id, f.price, f.quantity) for f in result.fills]
        assert (result.status, fills, [p.maker.id for p in result.prevented]) == naive.submit(
            ident, owner, side, price, quantity, kind, tif
        ), ident
        filled += len(fills)
        if result.status in ("NEW", "PARTIALLY_FILLED"):
            standing.append(ident)
        bid, ask = book.best(1), book.best(-1)
        assert (bid, ask) == (naive.best(1), naive.best(-1)), ident
        assert not bid[0] or not ask[0] or bid[0] < ask[0], "the book is crossed"
        book.touched.clear()
        if ident % 1000 == 0:
            for side_ in (1, -1):
                assert [o.id for level in book.sides[side_].values() for o in level.orders.values()] == [
                    r[2] for r in naive.sides[side_]
                ], "price, then time"
    assert filled > ORDERS / 4


def test_money_is_conserved_through_all_order_types_and_cancel_replace():
    """One account among a population, fees and all, by requests as a client makes them; a tenth as many orders."""
    rand = random.Random(SEED + 1)
    market = Market(spec("BTCUSDT"), UpdateIds(), Tape(1000))
    desk = Desk({"BTCUSDT": market}, 1000, 1500)
    desk.deposit("BTC", 5 * UNIT)
    desk.deposit("USDT", 300_000 * UNIT)
    outcomes: dict[str, int] = {}
    for n in range(1, ORDERS // 10 + 1):
        side, price = rand.choice((1, -1)), 60_000 + rand.randrange(-300, 300)
        if rand.random() < 0.5:
            tif = rand.choice(("GTC", "IOC", "FOK"))
            kind = rand.choice(("LIMIT", "MARKET", "LIMIT_MAKER"))
            market.submit(ExchangeOrder(-n, 0, side, price * UNIT, rand.randrange(1, 50) * UNIT // 100), kind, tif, n)
        elif rand.random() < 0.3 and desk.open:
            desk.cancel(Params({"symbol": "BTCUSDT", "orderId": rand.choice(list(desk.open))}), n)
        else:
            kind = rand.choice(("LIMIT", "LIMIT", "LIMIT_MAKER", "MARKET", "SPEND"))
            values: dict = {"symbol": "BTCUSDT", "side": "BUY" if side > 0 else "SELL", "type": kind.replace("SPEND", "MARKET")}
            if kind == "SPEND":
                values["quoteOrderQty"] = str(rand.randrange(1, 50_000))
            else:
                values["quantity"] = decimal_text(rand.randrange(1, 200_000) * 1000)
            if kind in ("LIMIT", "LIMIT_MAKER"):
                values["price"] = str(price)
            if kind == "LIMIT":
                values["timeInForce"] = rand.choice(("GTC", "IOC", "FOK"))
            try:
                placed = desk.place(Params(values), n)
                outcomes[placed.order.status] = outcomes.get(placed.order.status, 0) + 1
            except VenueError as error:
                assert error.code in (-2010, -1013), error
                outcomes[error.message] = outcomes.get(error.message, 0) + 1
        if len(market.book.orders) > 300:
            for ident in [i for i, o in market.book.orders.items() if not o.owner][:100]:
                market.cancel(ident, n)
        desk.accounts.check_conserved()  # every asset conserved, nothing negative
        locked = {"BTC": 0, "USDT": 0}
        for order in desk.open.values():
            locked["USDT" if order.side > 0 else "BTC"] += order.locked
        assert locked == {asset: desk.accounts.balance_of(OWNER, asset)[1] for asset in locked}, n
        bid, ask = market.best(1)[0], market.best(-1)[0]
        assert not bid or not ask or bid < ask
        market.drain()
        market.ledger_rows.clear()
        desk.take_line()
        desk.events.clear()
    assert set(desk.open) == {i for i, o in market.book.orders.items() if o.owner == OWNER}
    assert {"FILLED", "PARTIALLY_FILLED", "NEW", "EXPIRED"} <= set(outcomes), outcomes


@pytest.mark.parametrize("hash_seed", ["0", "1", "12345"])
def test_the_same_seed_and_inputs_make_the_same_bytes_in_any_process(tmp_path, hash_seed):
    program = "from pathlib import Path; from tests.support.exchange_history import history; print(history(Path(sys.argv[1])))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(PROJECT)}
    (tmp_path / "other").mkdir()
    there = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}", str(tmp_path / "other")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert there.stdout.strip() == history(tmp_path)
