"""How much is ordered, and how far a position may go: from settings, the venue's rules and a price."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickmesh.bus.settings_trading import ExecutorSettings, StrategySettings, resolved
from tickmesh.nodes.executor import drafts, risk
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.profit import MONEY_EXPONENT
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.sizes import LOTS_MAX, Sizes


def sizes_of(rules: InstrumentRules, **settings) -> Sizes:
    """Sizes of the strategy of a mesh.toml that has [executor] alone."""
    return Sizes(resolved(StrategySettings(), ExecutorSettings(**settings)), rules)


@pytest.mark.parametrize(
    ("price", "lot_size", "min_quantity", "min_notional", "lots"),
    [
        (6_000_000_000_000, 1000, 1000, 5 * 10**8, 100_000),  # 60 at 60,000
        (6_183_763_000_000, 1000, 1000, 5 * 10**8, 97_000),  # the nearest lot
        (1_000_000, 100_000_000, 0, 5 * 10**8, 6000 * 10**8),  # 60 at 0.01, in whole coins
        (1, 1, 0, 5 * 10**8, 60 * 10**16),  # the cheapest there is
        (6_000_000_000_000, 1000, 1000, 100 * 10**8, 167_000),  # the venue takes no less than 100
        (6_000_000_000_000, 180_000, 0, 0, 180_000),  # nor less than a lot
        (6_000_000_000_000, 3000, 160_000, 0, 162_000),  # nor less than its least quantity, in whole lots
        (6_000_000_000_000, 10**7, 10**7, 0, 0),  # 6,000 is not what was asked for
        (6_000_000_000_000, 1, 0, 100 * 10**8, 166_667),  # to the lot above
        (6_000_000_000_000, 1000, 1000, 120 * 10**8, 200_000),  # at most twice as much
        (6_000_000_000_000, 1000, 1000, 121 * 10**8, 0),  # beyond it is not what was asked for
        (10_000_000_000, 0, 0, 0, 60_000_000),  # without rules
        (0, 1000, 1000, 0, 0),
    ],
)
def test_an_order_is_worth_what_the_settings_say_or_the_least_that_the_venue_takes(
    price, lot_size, min_quantity, min_notional, lots
):
    rules = InstrumentRules(-8, -8, 1, lot_size, min_quantity, min_notional)
    sizes = sizes_of(rules)
    assert sizes.order_lots(price) == lots and sizes.position_lots(price) == 10 * lots
    draft = drafts.build_draft("market", -1, Quote(price, 1, price + 1, 1), lots)
    scope = risk.Scope("", 0, 0, 0, 0, 0, sizes.position_lots(price))
    answer = risk.check(draft, risk.MarketView(Quote(price, 1, price + 1, 1), 0, 0, 1, rules), (scope,), (), "", ())
    assert isinstance(answer, risk.Approved) == (lots > 0)


def test_sizes_that_are_set_are_taken_as_they_are():
    rules = InstrumentRules(-8, -8, 1, 1000, 1000, 5 * 10**8)
    sizes = sizes_of(rules, order_quantity="0.5", position_max="2")
    assert (sizes.order_lots(7), sizes.position_lots(7)) == (50_000_000, 200_000_000)
    sizes = sizes_of(rules, order_quantity="0.000000001", position_max="0.000000001")
    assert (sizes.order_lots(7), sizes.position_lots(7)) == (0, 0), "below the smallest unit is nothing, not the default"
    sizes = sizes_of(rules, order_notional="120", position_notional="300")
    assert (sizes.order_lots(6_000_000_000_000), sizes.position_lots(6_000_000_000_000)) == (200_000, 500_000)
    assert 0 < sizes_of(rules, order_notional="9" * 12).order_lots(1) < 1 << 62, "what an intent can say"
    whole = InstrumentRules(-8, 0, 1, 1, 1, 0)
    assert sizes_of(whole, order_quantity=str(LOTS_MAX)).order_lots(7) == LOTS_MAX
    assert sizes_of(whole, order_quantity=str(LOTS_MAX + 1)).order_lots(7) == 0, "which risk refuses"


EXPONENTS = st.integers(-9, 0)


@given(
    st.builds(
        InstrumentRules, EXPONENTS, EXPONENTS, st.just(1), st.integers(0, 400), st.integers(0, 9000), st.integers(0, 10**6)
    ),
    st.integers(1, 10**12), st.integers(1, 10**9),
)  # fmt: skip
def test_an_order_of_so_much_money_is_of_the_nearest_lots_that_the_venue_takes_or_none(rules, price, cents):
    notional = Fraction(cents, 100) / Fraction(10) ** (rules.price_exponent + rules.quantity_exponent)
    lots, lot = sizes_of(rules, order_notional=f"{cents / 100:.2f}").order_lots(price), max(rules.lot_size, 1)
    if lots:
        assert lots % lot == 0 and rules.takes(lots, price) and lots * price <= 2 * notional
        near = abs(lots * price - int(notional)) * 2 <= price * lot
        assert near or lots > LOTS_MAX - lot or (lots * price > notional and not rules.takes(lots - lot, price))
        assert lots <= LOTS_MAX
    else:
        worth = rules.min_notional * 10**-rules.quantity_exponent
        least = rules.whole_up(max(rules.min_quantity, -(-worth // price), 1))
        assert least * price > 2 * int(notional), "the least is far more than was asked for"


@given(st.integers(1, 10**13), st.integers(-(10**9), 10**9), st.integers(1, 100), EXPONENTS, EXPONENTS)
def test_a_share_of_the_equity_is_worth_that_share_of_capital_and_profit(price, profit_cents, hundredths, ticks, quantity):
    rules, capital = InstrumentRules(ticks, quantity, 1, 1, 0, 0), 10**6
    settings = {"order_equity": hundredths / 100, "capital": str(capital)}
    profit = profit_cents * 10 ** (-2 - MONEY_EXPONENT)
    sizes = Sizes(resolved(StrategySettings(**settings), ExecutorSettings()), rules)
    worth = Fraction(hundredths / 100) * (capital + Fraction(profit_cents, 100)) * 10 ** -(ticks + quantity)
    lots = sizes.order_lots(price, profit)
    if lots == 0:
        assert 2 * worth < price + 2, "half a lot is rounded to one"
    else:
        assert abs(lots * price - worth) * 2 <= price + 2 or (lots == LOTS_MAX and worth > lots * price)


@example(value=0.0, price=0, lot=1, by_worth=True).via("closes, and needs no price for that")
@example(value=1.0, price=0, lot=1, by_worth=True).via("no price")
@example(value=1.0, price=1, lot=1, by_worth=True).via("the cheapest, more than an intent holds")
@example(value=0.1, price=1, lot=1, by_worth=True)
@given(st.floats(-3, 3), st.integers(-5, 10**13), st.integers(1, 900), st.booleans())
def test_a_target_is_the_signal_s_share_of_it_in_whole_lots_towards_zero(value, price, lot, by_worth):
    rules = InstrumentRules(-8, -8, 1, lot, 0, 0)
    stated = {"target_notional": "600"} if by_worth else {"target_quantity": "0.5"}
    lots = Sizes(resolved(StrategySettings(**stated), ExecutorSettings()), rules).target_lots(value, price)
    if price <= 0 and by_worth and value:
        assert lots is None
        return
    full = 600 * 10**16 // max(price, 1) if by_worth else 50_000_000
    assert lots is not None and lots % lot == 0 and lots * value >= 0
    asked = abs(Fraction(value)) * full
    assert abs(lots) <= min(asked, LOTS_MAX) < abs(lots) + lot


@pytest.mark.parametrize(("settings", "tight", "lots"), [
    ({"order_quantity": "2", "position_max": "5"}, None, 5), ({"order_quantity": "2", "position_max": "5"}, 4, 4),
    ({"order_quantity": "2", "position_max": "5"}, 6, 5), ({"order_quantity": "2", "position_notional": "29"}, None, 2),
    ({"order_quantity": "2"}, None, 20), ({"order_notional": "20"}, 7, 7), ({"order_notional": "20"}, None, 20),
    ({"target_quantity": "3"}, None, LOTS_MAX), ({"target_notional": "30"}, None, LOTS_MAX), ({"target_quantity": "3"}, 9, 9),
])  # fmt: skip
def test_a_position_may_go_as_far_as_the_tighter_of_what_is_set_and_tightened_says(settings, tight, lots):
    """At a price of 10; where nothing is set, ten orders, or as far as the target asks for."""
    one = resolved(StrategySettings(**settings), ExecutorSettings())
    sizes = Sizes(one, InstrumentRules(0, 0, 1, 1, 0, 0), lambda price: tight)
    assert sizes.position_lots(10) == lots
    if "position_notional" in settings:
        assert (sizes.position_lots(0), sizes.position_lots(1)) == (0, 29), "without a price it goes nowhere"
