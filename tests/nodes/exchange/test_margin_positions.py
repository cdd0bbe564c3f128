"""Positions, profit and funding of the futures account against a naive reference, and both sides of every contract."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as some

from tickmesh.nodes.exchange.market.fees import fee_of
from tickmesh.nodes.exchange.orders import margin
from tickmesh.nodes.exchange.orders.accounts import FEES, OUTSIDE
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.orders.margin_records import MarginOrder, MarginPosition
from tickmesh.nodes.exchange.orders.positions import MarginAccounts, apply_fill
from tickmesh.nodes.exchange.protocol import UNIT

TICK, LOT = UNIT // 10, UNIT // 1000
DEPOSIT = 100_000 * UNIT
fills = some.tuples(
    some.just("fill"), some.sampled_from((1, -1)), some.integers(500_000, 700_000), some.integers(1, 5000), some.booleans()
)
fundings = some.tuples(
    some.just("funding"), some.integers(500_000 * 10**7, 700_000 * 10**7), some.integers(-2_000_000, 2_000_000)
)


class Naive:
    """A position in fractions: average cost, as it is taught."""

    def __init__(self):
        self.amount, self.entry, self.realised = Fraction(0), Fraction(0), Fraction(0)

    def fill(self, side: int, price: Fraction, quantity: Fraction) -> None:
        if self.amount * side >= 0:
            whole = abs(self.amount) + quantity
            self.entry = (self.entry * abs(self.amount) + price * quantity) / whole
            self.amount += side * quantity
            return
        closed = min(quantity, abs(self.amount))
        self.realised += (price - self.entry) * closed * -side
        self.amount += side * quantity
        if self.amount * side > 0:
            self.entry = price
        elif not self.amount:
            self.entry = Fraction(0)


@settings(max_examples=300, deadline=None)
@given(some.lists(some.one_of(fills, fundings), max_size=60))
def test_both_sides_of_any_history_add_up_to_the_last_digit(history):
    accounts, naive = MarginAccounts(), Naive()
    accounts.deposit(OWNER, "USDT", DEPOSIT)
    realised = fees = received = paid_in = 0
    for what, *values in history:
        if what == "fill":
            side, ticks, lots, maker = values
            price, quantity = ticks * TICK, lots * LOT
            fee = fee_of(price * quantity // UNIT, 200 if maker else 500)
            booked = accounts.book_fill(OWNER, "BTCUSDT", "USDT", side, price, quantity, fee, 1)
            realised, fees = realised + booked.realised, fees + booked.fee
            paid_in += side * price * quantity // UNIT
            naive.fill(side, Fraction(price, UNIT), Fraction(quantity, UNIT))
        else:
            mark, rate = values
            before = accounts.position(OWNER, "BTCUSDT").amount
            got = accounts.book_funding(OWNER, "BTCUSDT", "USDT", mark, rate)
            received += got
            exact = -Fraction(before * mark * rate, UNIT**2)
            assert abs(got - exact) < 1, "rounded towards zero, by less than a unit"
            assert got == 0 or (got > 0) == (exact > 0)
        accounts.check_conserved()
    ours, theirs = (accounts.position(who, "BTCUSDT") for who in (OWNER, OUTSIDE))
    assert accounts.wallet(OWNER, "USDT") == DEPOSIT + realised + received - fees
    assert accounts.wallet(OUTSIDE, "USDT") == -realised - received
    assert accounts.wallet(FEES, "USDT") == fees
    assert (theirs.amount, theirs.cost, theirs.realised) == (-ours.amount, -ours.cost, -ours.realised)
    assert realised == ours.realised == ours.cost - paid_in, "what was realised is what was paid and is not in the position"
    assert ours.amount == naive.amount * UNIT
    assert abs(Fraction(ours.realised, UNIT) - naive.realised) <= Fraction(len(history), UNIT)
    assert abs(Fraction(ours.entry_price, UNIT) - naive.entry) < Fraction(1, 1000)


def test_closing_turning_and_reopening_a_position():
    position = MarginPosition()
    assert apply_fill(position, 1, 100 * UNIT, 3 * UNIT, 1) == 0
    assert apply_fill(position, 1, 110 * UNIT, 1 * UNIT, 2) == 0
    assert (position.amount, position.cost, position.entry_price) == (4 * UNIT, 410 * UNIT, 102 * UNIT + UNIT // 2)
    assert apply_fill(position, -1, 120 * UNIT, 2 * UNIT, 3) == 35 * UNIT
    assert apply_fill(position, -1, 90 * UNIT, 5 * UNIT, 4) == -25 * UNIT, "closes two, and sells three short"
    assert (position.amount, position.cost, position.entry_price) == (-3 * UNIT, -270 * UNIT, 90 * UNIT)
    assert apply_fill(position, 1, 80 * UNIT, 3 * UNIT, 5) == 30 * UNIT
    assert (position.amount, position.cost, position.entry_price, position.realised) == (0, 0, 0, 40 * UNIT)


def order(side: int, price: int, quantity: int, **more) -> MarginOrder:
    return MarginOrder(1, "c", "BTCUSDT", side, "LIMIT", "GTC", price * UNIT, quantity * UNIT, 1, 1, **more)


def test_bids_and_asks_do_not_both_take_margin():
    flat, mark = MarginPosition(), 100 * UNIT
    both = margin.margin_use(flat, [order(1, 90, 10), order(-1, 110, 10)], mark, 10)
    assert (both.order_margin, both.bid_notional, both.ask_notional) == (110 * UNIT, 900 * UNIT, 1100 * UNIT)
    long = MarginPosition(10 * UNIT, 1000 * UNIT)
    assert margin.margin_use(long, [order(-1, 100, 10)], mark, 10).order_margin == 0, "it only closes"
    assert margin.margin_use(long, [order(-1, 100, 30)], mark, 10).order_margin == 100 * UNIT, "it turns to 20 short"
    assert margin.margin_use(long, [order(-1, 100, 30, reduce_only=True)], mark, 10).order_margin == 0
    use = margin.margin_use(long, [], 101 * UNIT, 20)
    assert (use.unrealised, use.position_margin, use.maintenance) == (10 * UNIT, 50 * UNIT + UNIT // 2, 4 * UNIT + UNIT // 25)


def test_brackets_have_no_jump_and_fall_with_leverage():
    for lower, upper in zip(margin.BRACKETS, margin.BRACKETS[1:]):
        assert margin.maintenance_margin(lower.cap) == lower.cap * upper.maintenance_ppm // 10**6 - upper.deducted
        assert upper.leverage < lower.leverage and upper.cap > lower.cap
    assert [margin.notional_max(x) // UNIT for x in (125, 101, 100, 20, 1)] == [
        300_000, 300_000, 800_000, 12_000_000, 500_000_000,
    ]  # fmt: skip
