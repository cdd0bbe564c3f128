"""Balances, margin, reduce-only and order limits at the simulated venues, by themselves and in a session."""

import pytest

from tests.support.backtest_scene import DEFINITION
from tickmesh.bus.schema import OrderType, TimeInForce
from tickmesh.bus.settings import ExchangeLimits, ExchangeSettings
from tickmesh.nodes.exchange.market.fees import Fees
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.research.backtest.account import INSUFFICIENT, BacktestAccounts, NewOrder
from tickmesh.research.backtest.margin_account import INSUFFICIENT as NO_MARGIN
from tickmesh.research.backtest.terms import (
    VenueTerms,
    assets_of,
    balances_of,
    fees_of,
    latency_of,
    order_limits_of,
    usdm_fees_of,
)
from tickmesh.storage.query.times import ReadError

SPOT, USDM = ("binance.BTCUSDT",), ("binance_usdm.BTCUSDT",)
RULES = InstrumentRules(*DEFINITION[:6])  # prices in tenths, quantities in thousandths
BID = 600_000  # 60,000 USDT
UNIT = 10**8
LIMIT, MARKET, GTC, IOC = int(OrderType.LIMIT), int(OrderType.MARKET), int(TimeInForce.GTC), int(TimeInForce.IOC)


class Book:
    """A venue with a book of one level a side."""

    def __init__(self, bid: int = BID, ask: int = BID + 10, lots: int = 10_000):
        self.bid, self.ask, self.lots = bid, ask, lots

    def touch(self, slot):
        """Its best prices."""
        return self.bid, self.ask

    def reachable(self, slot, side, lots):
        """What a market order gets."""
        return [(self.ask if side > 0 else self.bid, min(lots, self.lots))]


def accounts(subjects, book=None, **terms) -> BacktestAccounts:
    """Accounts of one instrument."""
    made = BacktestAccounts(VenueTerms(**terms), subjects, book or Book())
    made.define(0, RULES)
    return made


def order(number, side, lots, kind=LIMIT, price=BID, force=GTC, reduce_only=False) -> NewOrder:
    """An order on the one instrument."""
    return NewOrder(number, 0, side, kind, force, 0 if kind == MARKET else price, lots, reduce_only)


def test_on_spot_nothing_is_sold_that_is_not_there_and_open_orders_lock_what_they_may_need():
    own = accounts(SPOT, fees=Fees(1000, 1000), balances={"binance": {"USDT": 3000 * UNIT}})
    assert own.admit(order(1, -1, 10), 0) == INSUFFICIENT
    assert own.admit(order(2, 1, 30), 0) == "" and own.admit(order(3, 1, 30), 0) == INSUFFICIENT, "0.03 at 60,000 are 1,800"
    cost = own.fill(2, BID, 20, True, 0)
    assert (cost.fee, cost.asset, cost.worth) == (2000, "BTC", pytest.approx(1.2)), "of what is received"
    own.end(2)
    spot = own.spot["binance"]
    assert spot.balances == {"USDT": [1800 * UNIT, 0], "BTC": [2_000_000 - 2000, 0]}, "what was not needed is free again"
    assert own.admit(order(4, -1, 20), 0) == INSUFFICIENT, "the fee is not there any more"
    assert own.admit(order(5, -1, 19), 0) == ""
    own.fill(5, BID + 100, 19, False, 0)
    assert spot.balances["USDT"] == [1800 * UNIT + 60_010 * UNIT * 19 // 1000 * 999 // 1000, 0]


def test_a_market_order_to_buy_locks_what_the_book_asks_for_and_a_reduced_one_frees_the_rest():
    own = accounts(SPOT, balances={"binance": {"USDT": 600 * UNIT}})
    assert own.admit(order(1, 1, 10, MARKET), 0) == INSUFFICIENT, "at 60,001 it is 600.01"
    assert own.admit(order(2, 1, 10), 0) == "" and own.spot["binance"].free("USDT") == 0
    own.reduce(2, 4)
    assert own.spot["binance"].free("USDT") == 360 * UNIT
    assert own.admit(order(3, 1, 5, MARKET), 0) == ""
    own.fill(3, BID + 10, 5, False, 0)
    own.end(3)
    assert own.spot["binance"].balances["USDT"] == [360 * UNIT - 300_005 * UNIT // 1000, 240 * UNIT]


def test_a_contract_needs_margin_by_its_leverage_and_profit_gives_some():
    book = Book()
    own = accounts(USDM, book, usdm_fees=Fees(0, 0), balances={"binance_usdm": {"USDT": 600 * UNIT}}, leverage=10)
    assert own.admit(order(1, -1, 101), 0) == NO_MARGIN and own.admit(order(2, -1, 99), 0) == "", (
        "0.1 are 6,000, of which a tenth"
    )
    own.fill(2, BID, 99, True, 0)
    own.end(2)
    assert own.admit(order(3, -1, 5), 0) == NO_MARGIN
    assert own.admit(order(4, 1, 150), 0) == "", "it closes first"
    own.end(4)
    book.bid, book.ask = BID + 6000, BID + 6010
    assert own.margin.available("USDT") < 0 and own.admit(order(6, 1, 99, MARKET), 0) == "", "what closes needs none"
    own.end(6)
    book.bid, book.ask = BID - 6000, BID - 5990
    assert own.admit(order(5, -1, 5, price=BID - 6000), 0) == "", "1 % is gained of 5,940"


def test_an_order_that_only_reduces_opens_nothing():
    own = accounts(USDM, balances={"binance_usdm": {"USDT": 10_000 * UNIT}})
    assert own.admit(order(1, -1, 10, reduce_only=True), 0) == "ReduceOnly Order is rejected."
    assert own.admit(order(2, 1, 10), 0) == ""
    own.fill(2, BID, 10, True, 0)
    own.end(2)
    taker = order(3, -1, 30, MARKET, reduce_only=True)
    assert own.admit(taker, 0) == "" and own.reach(taker) == 10
    own.end(3)
    assert own.admit(order(4, -1, 10, price=BID + 100, reduce_only=True), 0) == ""
    assert own.beyond(0) == []
    assert own.admit(order(5, -1, 6), 0) == ""
    own.fill(5, BID, 6, True, 0)
    own.end(5)
    assert own.beyond(0) == [4], "of 10 there are 4 left"


def test_without_balances_only_what_opens_by_mistake_is_refused():
    own = accounts(USDM)
    assert own.admit(order(1, -1, 10, reduce_only=True), 0) != "" and own.admit(order(2, -1, 10**9), 0) == ""
    assert accounts(SPOT).admit(order(1, -1, 10**9), 0) == ""


def test_a_venue_takes_so_many_orders_in_ten_seconds_and_gives_some_back_for_a_fill():
    limits = {"binance": ExchangeLimits(orders_per_10_s=2)}
    own = accounts(SPOT, order_limits=limits)
    ms = 1_000_000
    answers = [own.admit(order(number, 1, 10), 0) for number in range(3)]
    assert answers[:2] == ["", ""] and answers[2].startswith("Too many new orders; current limit is 2 orders per 10 SECOND")
    own.fill(0, BID, 10, False, 5 * ms)
    assert own.admit(order(3, 1, 10), 6 * ms) == "" and own.admit(order(4, 1, 10), 6 * ms) != ""
    assert own.admit(order(5, 1, 10), 10_000 * ms) == ""
    contracts = accounts(
        USDM, order_limits={"binance_usdm": ExchangeLimits(orders_per_10_s=1)}, balances={"binance_usdm": {"USDT": 10**15}}
    )
    assert contracts.admit(order(0, 1, 10), 0) == ""
    contracts.fill(0, BID, 10, True, 0)
    assert contracts.admit(order(1, 1, 10), 0) != "", "of contracts none is given back"


@pytest.mark.parametrize(
    "subject, assets",
    [("binance.BTCUSDT", ("BTC", "USDT")), ("kraken.BTC/USD", ("BTC", "USD")), ("okx.BTC-USDT-SWAP", ("BTC", "USDT")),
     ("binance_usdm.BTCUSDT_240927", ("BTC", "USDT"))],
)  # fmt: skip
def test_the_assets_of_an_instrument(subject, assets):
    assert assets_of(subject) == assets


def test_contracts_have_fees_and_a_wallet_of_their_own():
    exchange = ExchangeSettings(usdm_wallet="77", balances={"USDT": "5"})
    assert (
        fees_of("", exchange) == (1000, 1000)
        and usdm_fees_of("", exchange) == (200, 500)
        and usdm_fees_of("2,5", exchange) == (200, 500)
    )
    given = balances_of("", exchange, SPOT + USDM)
    assert given == {"binance": {"BTC": 100 * UNIT, "USDT": 5 * UNIT}, "binance_usdm": {"USDT": 77 * UNIT}}
    assert balances_of("USDT=9,binance.BTC=0.5", exchange, SPOT + USDM) == {
        "binance": {"USDT": 9 * UNIT, "BTC": UNIT // 2}, "binance_usdm": {"USDT": 9 * UNIT},
    }  # fmt: skip
    assert balances_of("unchecked", exchange, SPOT) is None and order_limits_of("unchecked", exchange) == {}


@pytest.mark.parametrize(
    "read",
    [lambda: balances_of("USDT", ExchangeSettings(), SPOT), lambda: balances_of("USDT=-1", ExchangeSettings(), SPOT),
     lambda: balances_of("kraken.USDT=1", ExchangeSettings(), SPOT), lambda: order_limits_of("few", ExchangeSettings()),
     lambda: latency_of("inf", ExchangeSettings(), 1), lambda: fees_of("nan,1", ExchangeSettings()),
     lambda: VenueTerms(leverage=0).checked()],
)  # fmt: skip
def test_what_is_no_term_is_refused_in_a_sentence(read):
    with pytest.raises(ReadError, match="allowed"):
        read()


def test_a_latency_before_the_order_was_sent_is_refused(tmp_path):
    for rows in ("5,-3", "1000,5,inf", "nan,1"):
        (tmp_path / "ms.csv").write_text(rows)
        with pytest.raises(ReadError, match="0 or more is allowed"):
            latency_of(str(tmp_path / "ms.csv"), ExchangeSettings(), 1)
