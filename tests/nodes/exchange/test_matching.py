"""The matching book against a naive reference, and the money that moves with it."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.places import DATA
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, OrderBook, UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.accounts import FEES, OUTSIDE, Accounts, InsufficientBalance
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.orders.orders import StateLine
from tickmesh.nodes.exchange.protocol import (
    UNIT,
    Params,
    VenueError,
    check_receive_window,
    decimal_text,
    mantissa,
    parse_form,
    rest_payload,
    sign,
    ws_payload,
)

VECTORS = DATA / "vectors" / "signing_and_checksum_vectors.json"

KINDS = [("LIMIT", "GTC"), ("LIMIT", "IOC"), ("LIMIT", "FOK"), ("MARKET", "GTC"), ("LIMIT_MAKER", "GTC")]


class Naive:
    """A list of orders, sorted anew at every match: too slow, and easy to believe."""

    def __init__(self):
        self.resting: list[list] = []  # [arrival, id, owner, side, price, remaining]
        self.arrivals = 0

    def against(self, side: int, price: int | None) -> list[list]:
        rows = [r for r in self.resting if r[3] == -side and (price is None or (r[4] - price) * side <= 0)]
        return sorted(rows, key=lambda r: (r[4] * side, r[0]))

    def submit(self, ident, owner, side, price, quantity, kind, tif):
        limit = None if kind == "MARKET" else price
        against = self.against(side, limit)
        if kind == "LIMIT_MAKER" and against:
            return "REJECTED", [], []
        if tif == "FOK" and sum(r[5] for r in against if not owner or r[2] != owner) < quantity:
            return "EXPIRED", [], []
        fills, expired, left = [], [], quantity
        for row in against:
            if not left:
                break
            if owner and row[2] == owner:
                expired.append(row[1])
                self.resting.remove(row)
                continue
            took = min(left, row[5])
            left -= took
            row[5] -= took
            fills.append((row[1], row[4], took))
            if not row[5]:
                self.resting.remove(row)
        if not left:
            return "FILLED", fills, expired
        if kind == "MARKET" or tif != "GTC":
            return "EXPIRED", fills, expired
        self.arrivals += 1
        self.resting.append([self.arrivals, ident, owner, side, price, left])
        return "PARTIALLY_FILLED" if fills else "NEW", fills, expired

    def cancel(self, ident):
        found = [r for r in self.resting if r[1] == ident]
        self.resting = [r for r in self.resting if r[1] != ident]
        return bool(found)

    def levels(self, side):
        out: dict[int, int] = {}
        for row in self.resting:
            if row[3] == side:
                out[row[4]] = out.get(row[4], 0) + row[5]
        return sorted(out.items(), reverse=side > 0)


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("new"), st.integers(0, 2), st.sampled_from((1, -1)), st.integers(95, 105), st.integers(1, 30),
            st.sampled_from(KINDS),
        ),
        st.tuples(st.just("cancel"), st.integers(1, 80)),
    ),
    max_size=80,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(actions)
def test_the_book_does_what_the_naive_reference_does(script):
    book, naive = OrderBook(), Naive()
    for ident, action in enumerate(script, 1):
        if action[0] == "cancel":
            assert (book.cancel(action[1]) is not None) == naive.cancel(action[1])
        else:
            _, owner, side, price, quantity, (kind, tif) = action
            before = book.update_id
            order = ExchangeOrder(ident, owner, side, price, quantity)
            result = book.submit(order, kind, tif)
            fills = [(f.maker.id, f.price, f.quantity) for f in result.fills]
            assert (result.status, fills, [p.maker.id for p in result.prevented]) == naive.submit(
                ident, owner, side, price, quantity, kind, tif
            )
            assert order.remaining == quantity - sum(f.quantity for f in result.fills)
            assert book.update_id == before + len(book.touched)
        for side in (1, -1):
            assert list(book.levels(side)) == naive.levels(side)
            assert all(q == book.quantity(side, p) for p, q in naive.levels(side))
        bid, ask = book.best(1)[0], book.best(-1)[0]
        assert not bid or not ask or bid < ask, "the book is crossed"
        for side, price, quantity in book.touched:
            assert quantity == 0 or quantity > 0 and side in (1, -1) and price > 0
        book.touched.clear()


@settings(max_examples=100, deadline=None)
@given(actions, st.integers(0, 2000), st.integers(0, 2000))
def test_money_is_conserved_and_a_state_file_restores_all_of_it(script, maker_ppm, taker_ppm):
    known = spec("BTCUSDT")
    market = Market(known, UpdateIds(), Tape())
    desk = Desk({"BTCUSDT": market}, maker_ppm, taker_ppm)
    desk.deposit("BTC", 3 * UNIT)
    desk.deposit("USDT", 20_000 * UNIT)
    first = desk.take_line()
    assert first is not None
    lines = [msgspec.json.encode(first)]
    for ident, action in enumerate(script, 1):
        if action[0] == "cancel":
            try:
                desk.cancel(Params({"symbol": "BTCUSDT", "orderId": action[1]}), ident)
            except VenueError as error:
                assert error.code == -2011
        else:
            _, owner, side, price, quantity, (kind, tif) = action
            price, quantity = price * 100, quantity * 10_000_000  # 9500…10500 USDT, 0.1…3 BTC
            if owner == 0:
                market.submit(ExchangeOrder(-ident, 0, side, price * UNIT, quantity), kind, tif, ident)
            else:
                values = {"symbol": "BTCUSDT", "side": "BUY" if side > 0 else "SELL", "type": kind}
                values |= {"quantity": decimal_text(quantity)}
                if kind != "MARKET":
                    values["price"] = str(price)
                if kind == "LIMIT":
                    values["timeInForce"] = tif
                try:
                    desk.place(Params(values), ident)
                except VenueError as error:
                    assert error.code in (-2010, -1013), error
        desk.accounts.check_conserved()
        locked = {"BTC": 0, "USDT": 0}
        for order in desk.open.values():
            locked["USDT" if order.side > 0 else "BTC"] += order.locked
            left = order.quantity - order.filled
            assert order.locked == (order.price * left // UNIT if order.side > 0 else left)
        assert locked == {asset: desk.accounts.balance_of(OWNER, asset)[1] for asset in locked}
        assert set(desk.open) == {i for i, o in market.book.orders.items() if o.owner == OWNER}
        if (line := desk.take_line()) is not None:
            lines.append(msgspec.json.encode(line))
    again = Desk({"BTCUSDT": market}, maker_ppm, taker_ppm)
    for line in lines:
        again.apply_line(msgspec.json.decode(line, type=StateLine))
    again.accounts.check_conserved()
    assert held(again) == held(desk)
    assert again.open == desk.open and again.orders == desk.orders and again.trades == desk.trades
    assert again.next_order == desk.next_order


def held(desk: Desk) -> dict:
    accounts = desk.accounts.balances
    return {(a, asset): b for a, assets in accounts.items() for asset, b in assets.items() if any(b)}


def test_nothing_is_spent_that_is_not_there():
    accounts = Accounts()
    accounts.deposit(OWNER, "USDT", 100)
    with pytest.raises(InsufficientBalance):
        accounts.lock(OWNER, "USDT", 101)
    accounts.lock(OWNER, "USDT", 100)
    fee = accounts.settle_fill(OWNER, "USDT", 90, 10, "BTC", 3_000_000, 1000)
    assert fee == 3000 and accounts.balance_of(OWNER, "BTC") == [2_997_000, 0] and accounts.balance_of(FEES, "BTC") == [3000, 0]
    assert accounts.balance_of(OUTSIDE, "USDT") == [90, 0] and accounts.balance_of(OWNER, "USDT") == [10, 0]
    accounts.check_conserved()
    accounts.balance_of(OWNER, "USDT")[0] += 1
    with pytest.raises(AssertionError):
        accounts.check_conserved()


@given(st.integers(0, 1 << 62))
def test_decimals_are_exact_both_ways(number):
    assert mantissa(decimal_text(number)) == number


@pytest.mark.data
@pytest.mark.skipif(not VECTORS.exists(), reason="TICKMESH_DATA: no signing vectors here")
def test_the_published_signatures_are_recomputed():
    vectors = {v["name"]: v for v in json.loads(VECTORS.read_text())}
    names = [n for n in vectors if n.startswith("binance") and "hmac" in n]
    assert len(names) >= 4
    for name in names:
        assert sign(vectors[name]["secret"], vectors[name]["payload"]) == vectors[name]["expected"], name


def test_a_signature_covers_query_and_body_without_itself():
    assert rest_payload("a=1&signature=x", "b=2") == "a=1b=2"
    assert rest_payload("", "a=1&b=2&signature=ff") == "a=1&b=2"
    assert parse_form("a=1&a2=%C3%A9", "a=9&b=2") == {"a": "1", "a2": "é", "b": "2"}
    with pytest.raises(VenueError):
        parse_form("a=1&a=2", "")


def test_a_ws_api_signature_covers_all_parameters_sorted_with_lower_case_booleans():
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    values = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532, "apiKey": key, "signature": "…",
    }  # fmt: skip
    expected = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    assert sign(secret, ws_payload(values)) == expected
    values = {"apiKey": "key", "orderId": 28, "recvWindow": 10000, "returnRateLimits": False, "symbol": "BTCUSDT"}
    assert sign("secret", ws_payload({**values, "timestamp": 1795328476012})).startswith("477e830413c441a0e45b")


@pytest.mark.parametrize(
    ("stamp", "window", "code"),
    [(0, None, None), (-5000, None, None), (-5001, None, -1021), (-6000, "6000.5", None), (-6001, "6000.5", -1021),
     (999, None, None), (1000, None, -1021), (0, "60001", -1131), (0, "abc", -1100)],
)  # fmt: skip
def test_the_receive_window(stamp, window, code):
    now = 1_700_000_000_000
    params = Params({"recvWindow": window} if window else {})
    for scale in (1, 1000):
        try:
            check_receive_window(params, (now + stamp) * scale, now)
            assert code is None
        except VenueError as error:
            assert error.code == code
