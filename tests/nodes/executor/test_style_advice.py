"""What each style says of a parent, a book and its orders: at every bound, and of both sides alike."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus.schema import OrderType, Status, TimeInForce
from tickmesh.bus.settings_trading import ExecutionSettings
from tickmesh.nodes.executor.drafts import Draft, Quote
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.styles.interface import (
    NEVER_NS,
    NO_LEAST,
    NO_MOST,
    Advice,
    Trigger,
    View,
    any_change,
    any_quote,
    missing_lots,
    worst_price,
)
from tickmesh.nodes.executor.styles.resting import patient, post_only, post_price, take_reprice
from tickmesh.nodes.executor.styles.schedules import least_lots, twap
from tickmesh.nodes.executor.styles.taking import sweep, take

RULES = InstrumentRules(0, 0, 5, 10, 20, 0)
SECOND = 1_000_000_000
LATE_NS = 1000 * SECOND
BOUND = {"slippage_max_bp": 500.0}  # 5 % beyond a mid of 500: 525 to buy, 475 to sell


class Side:
    """A scene as a buyer sees it; of a seller every price is mirrored at 500, where arrival was."""

    def __init__(self, side: int):
        self.side = side

    def price(self, ticks: int) -> int:
        return ticks if self.side > 0 else 1000 - ticks

    def parent(self, **changes) -> Parent:
        return Parent(1, "post_only", self.side, 100, **{
            "due_lots": 100, "due_ns": 0, "bid_ticks": 495, "ask_ticks": 505, "begun_ns": 0, "deadline_ns": LATE_NS, **changes
        })  # fmt: skip

    def view(self, near: int, far: int, *children: Order, now_ns: int = 0, far_lots: int = 7, **execution) -> View:
        bid, ask = (near, far) if self.side > 0 else (1000 - far, 1000 - near)
        lots = (7, far_lots) if self.side > 0 else (far_lots, 7)
        return View(Quote(bid, lots[0], ask, lots[1]), now_ns, RULES, ExecutionSettings(**execution), children, 0)

    def order(self, ticks: int = 495, lots: int = 100, **changes) -> Order:
        order = Order("t", self.side, int(OrderType.LIMIT_MAKER), int(TimeInForce.GTC), self.price(ticks), lots, 0)
        order.status, order.confirmed, order.cancel_ns = int(Status.New), True, LATE_NS
        for name, value in changes.items():
            setattr(order, name, value)
        return order

    def taking(self, lots: int = 100) -> Order:
        return self.order(0, lots, order_type=int(OrderType.MARKET), price_ticks=0)

    def draft(self, kind: OrderType, ticks: int, lots: int) -> Draft:
        force = TimeInForce.IOC if kind == OrderType.LIMIT else TimeInForce.GTC
        worst = self.price(ticks)
        return Draft(self.side, int(kind), int(force), 0 if kind == OrderType.MARKET else worst, lots, worst)

    def until(self, near_high: int | None = None, far_low: int | None = None) -> Trigger:
        """Waits for a near price as high as that for a buyer, or a far price as low as that."""
        if self.side > 0:
            return Trigger(bid_high=near_high or NO_MOST, ask_low=far_low or NO_LEAST)
        return Trigger(ask_low=1000 - near_high if near_high else NO_LEAST, bid_high=1000 - far_low if far_low else NO_MOST)


both = pytest.fixture(params=[1, -1], ids=["buys", "sells"])(lambda request: Side(request.param))


# Triggers

WATCHED = {
    "time_ns": 0,
    "bid_low": 1,
    "bid_high": 1,
    "ask_low": 2,
    "ask_high": 2,
    "trade_low": 3,
    "trade_high": 3,
    "volume_lots": 4,
    "lag_low_ns": 5,
    "lag_high_ns": 5,
}  # of a point: time, bid, ask, price of a trade, volume, lag
NOTHING_SEEN = (0, 0, 0, 0, 0, 0)


def fires(one: Trigger, point: tuple[int, ...]) -> bool:
    time_ns, bid, ask, trade, volume, lag_ns = point
    levels = (one.bid_low, bid, one.bid_high), (one.ask_low, ask, one.ask_high), (one.trade_low, trade, one.trade_high)
    beyond = any(not low < price < high for low, price, high in (*levels, (one.lag_low_ns, lag_ns, one.lag_high_ns)))
    return time_ns >= one.time_ns or volume >= one.volume_lots or beyond


def at(name: str, value: int) -> tuple[int, ...]:
    """A point where what a field watches is `value`, and nothing else fires."""
    return tuple(value if number == WATCHED[name] else seen for number, seen in enumerate(NOTHING_SEEN))


@pytest.mark.parametrize("name", WATCHED)
def test_one_of_two_triggers_fires_when_either_does(name):
    """Each field beside itself, lower and higher, and beside every other."""
    assert not any(fires(Trigger(), at(name, value)) for value in (0, NEVER_NS - 1)), "nothing is waited for"
    for other, low, high in [(other, *values) for other in WATCHED for values in ((-5, -3), (-3, -5), (3, 5), (5, 3))]:
        one, another = Trigger(**{name: low}), Trigger(**{other: high})
        for point in (*(at(name, value) for value in range(-7, 8)), *(at(other, value) for value in range(-7, 8))):
            assert fires(one.either(another), point) == (fires(one, point) or fires(another, point))
            assert fires(one.no_later(high), point) == (fires(one, point) or point[0] >= high)


def test_any_change_is_one_of_either_price_and_any_quote_is_any():
    for before, bid, ask in itertools.product(range(1, 4), range(6), range(6)):
        point = 0, bid, ask, 0, 0, 0
        assert fires(any_change(Quote(before, 1, before + 1, 1)), point) == ((bid, ask) != (before, before + 1))
        assert fires(any_quote(), point)


# How much, and at which price at worst


@given(
    st.integers(0, 200), st.integers(0, 60), st.lists(st.integers(1, 60), max_size=3), st.integers(1, 9),
    st.integers(0, 40), st.integers(0, 15_000),
)  # fmt: skip
def test_what_is_missing_is_whole_and_never_more_than_what_is_due(due, filled, under_way, lot, least, worth):
    rules = InstrumentRules(0, 0, 1, lot, least, worth)
    parent = Side(1).parent(due_lots=due, filled_lots=filled, bid_ticks=50, ask_ticks=500)
    view = Side(1).view(495, 505, *(Side(1).taking(lots) for lots in under_way))._replace(rules=rules)
    left, lots = due - filled - sum(under_way), missing_lots(parent, view)
    whole = max(left, 0) // lot * lot
    takes = whole >= max(least, 1) and whole * 50 >= worth
    assert lots == (whole if takes else 0)


@given(st.integers(1, 10**13), st.integers(1, 1000), st.integers(1, 100), st.integers(1, 1_000_000), st.sampled_from([1, -1]))
def test_the_worst_price_is_the_last_of_the_grid_within_the_bound(steps, spread, tick, thousandths, side):
    bid, ask = steps * tick, (steps + spread) * tick
    parent = Side(side).parent(bid_ticks=bid, ask_ticks=ask)
    view = Side(side).view(495, 505, slippage_max_bp=thousandths / 1000)._replace(rules=InstrumentRules(0, 0, tick, 1, 1, 0))
    worst = worst_price(parent, view)
    beyond = 20_000_000 * worst * side - (bid + ask) * (10_000_000 + side * thousandths) * side
    assert type(worst) is int and worst % tick == 0 and -20_000_000 * tick < beyond <= 0


def test_a_bound_that_rounds_to_nothing_is_a_bound(both):
    """Without one a market order would be sent."""
    view = both.view(495, 505, slippage_max_bp=0.0004)
    assert worst_price(both.parent(), view) == 500
    assert sweep(both.parent(), view) == take(both.parent(), view) == Advice(wait=both.until(far_low=500))
    assert sweep(both.parent(), both.view(495, 500, slippage_max_bp=0.0004)).place == both.draft(OrderType.LIMIT, 500, 100)
    assert sweep(both.parent(), both.view(495, 505)) == Advice(), "and without any nothing is swept"


@given(st.integers(1, 10**13), st.integers(-8, 0), st.integers(0, 50), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_least_order_is_the_smallest_that_the_venue_takes(bid, exponent, lot, least, worth):
    rules = InstrumentRules(-2, exponent, 1, lot, least, worth)
    lots, step = least_lots(Side(1).parent(bid_ticks=bid), Side(1).view(1, 2)._replace(rules=rules)), max(lot, 1)
    assert lots % step == 0 and rules.takes(lots, bid) and not rules.takes(lots - step, bid)


# Schedules


@given(st.integers(1, 500), st.integers(1, 12), st.integers(1, 5000), st.integers(0, 10**9), st.integers(1, 7))
def test_twap_has_a_part_due_at_the_beginning_of_each_slice_and_is_asked_then(wanted, slices, horizon, begun, lot):
    wanted *= lot
    horizon = max(horizon, slices)
    parent = Parent(1, "twap", 1, wanted, 0, begun, 100, 101, begun, begun + horizon)
    rules = InstrumentRules(0, 0, 1, lot, 1, 0)

    def ask(now_ns: int) -> tuple[int, Trigger]:
        return twap(parent, View(Quote(1, 1, 2, 1), now_ns, rules, ExecutionSettings(slices=slices), (), 0))

    now_ns, steps = begun, 0
    while True:
        due, wait = ask(now_ns)
        steps += 1
        assert (now_ns - begun) * slices >= (steps - 1) * horizon > (now_ns - 1 - begun) * slices or steps == 1
        part = wanted * steps
        assert due % lot == 0 and due * slices <= part < (due + lot) * slices
        if steps == slices:
            break
        assert wait == Trigger(time_ns=wait.time_ns) and ask(wait.time_ns - 1) == (due, wait)
        now_ns = wait.time_ns
    assert (due, wait) == (wanted, Trigger()) == ask(begun + horizon) == ask(begun + 3 * horizon)


# Taking


@pytest.mark.parametrize(("children", "filled", "lots"), [(0, 0, 100), (0, 30, 70), (0, 85, 0), (0, 100, 0), (10, 0, 0)])
def test_what_is_missing_is_taken_by_one_order_at_a_time(both, children, filled, lots):
    parent, orders = both.parent(filled_lots=filled), [both.taking(children)] if children else []
    market, limit = both.draft(OrderType.MARKET, 505, lots), both.draft(OrderType.LIMIT, 525, lots)
    assert take(parent, both.view(495, 505, *orders)) == Advice(place=market if lots else None)
    for style in (take, sweep):
        assert style(parent, both.view(495, 505, *orders, **BOUND)) == Advice(place=limit if lots else None)


@pytest.mark.parametrize(("far", "far_lots", "taken"), [(525, 7, True), (526, 7, False), (525, 0, False), (490, 7, False)])
def test_nothing_is_swept_beyond_the_bound_or_from_a_book_without_a_side(both, far, far_lots, taken):
    said = sweep(both.parent(), both.view(495, far, far_lots=far_lots, **BOUND))
    draft = both.draft(OrderType.LIMIT, 525, 100)
    assert said == (Advice(place=draft) if taken else Advice(wait=both.until(far_low=525)))


# Resting


@given(
    st.sampled_from([1, -1]), st.integers(90, 105), st.integers(1, 12), st.integers(0, 14), st.sampled_from([0.0, 100.0, 500.0])
)
def test_a_post_only_order_is_as_good_as_it_may_be(side, near, spread, improve, bound):
    """Better than its own side by so many steps, unless the other side or the bound (500 ± 5 or 25) is nearer."""
    one, near = Side(side), near * 5
    far = near + spread * 5
    view = one.view(near, far, improve_ticks=improve, slippage_max_bp=bound)
    best = min(near + improve * 5, far - 5, *([500 + int(bound) // 100 * 5] if bound else []))
    assert one.price(post_price(one.parent(), view)) == best
    draft = one.draft(OrderType.LIMIT_MAKER, best, 100)._replace(time_in_force=int(TimeInForce.GTC))
    assert post_only(one.parent(), view) == Advice(place=draft)


@pytest.mark.parametrize(("changes", "near", "far", "execution"), [
    ({"status": int(Status.Canceled), "filled_lots": 100}, 515, 520, {}),  # it is over, and its fills are to come
    ({"cancels": 1}, 515, 520, {}), ({"cancel_ns": 0}, 515, 520, {}),
])  # fmt: skip
def test_an_order_whose_end_is_on_its_way_is_left_alone(both, changes, near, far, execution):
    assert post_only(both.parent(), both.view(near, far, both.order(**changes), **execution)) == Advice()


def test_an_order_stays_while_nobody_is_better_and_follows_who_is(both):
    order = both.order(495)
    for near in (490, 495):
        assert post_only(both.parent(), both.view(near, 520, order)) == Advice(wait=both.until(near_high=496))
    assert post_only(both.parent(), both.view(500, 520, order)) == Advice(cancel=(order,), then="reprice")
    assert post_only(both.parent(), both.view(500, 520, order, far_lots=0)) == Advice(wait=any_quote())


def test_an_order_that_may_not_be_better_stays_until_the_book_changes(both):
    at_bound = both.order(525)
    for order, view in (
        (at_bound, both.view(530, 540, at_bound, **BOUND)),
        (both.order(495), both.view(496, 500, both.order(495))),  # one step before the other side is where it is
    ):
        assert post_only(both.parent(), view) == Advice(wait=any_change(view.quote)), order


@pytest.mark.parametrize(("per_min", "burst"), [(12.0, 2), (6.0, 1), (3.0, 1), (17.9, 2), (18.0, 3)])
def test_reprices_are_those_of_ten_seconds_at_once_and_then_one_in_time(both, per_min, burst):
    parent, order, settings = both.parent(), both.order(495), {"reprices_per_min": per_min}
    for _ in range(burst):
        view = both.view(500, 520, order, **settings)
        assert post_only(parent, view).then == "reprice"
        take_reprice(parent, view)
    at_ns = round(60 * SECOND / per_min)
    assert post_only(parent, view) == Advice(wait=any_change(view.quote).no_later(at_ns))
    assert post_only(parent, both.view(500, 520, order, now_ns=at_ns - 1, **settings)).then == ""
    assert post_only(parent, both.view(500, 520, order, now_ns=at_ns, **settings)).then == "reprice"


@pytest.mark.parametrize(("due", "filled", "cancelled"), [
    (100, 0, []), (99, 0, [2]), (60, 0, [2]), (59, 0, [1, 2]), (100, 1, [2]), (20, 0, [1, 2]), (19, 0, [0, 1, 2]),
    (0, 0, [0, 1, 2]), (50, 60, [0, 1, 2]),
])  # fmt: skip
def test_orders_that_together_are_for_more_than_is_due_make_way_the_newest_first(both, due, filled, cancelled):
    """Each alone may be within it."""
    orders = both.order(495, 20), both.order(495, 40), both.order(495, 40)
    parent, given_up, children = both.parent(due_lots=due, filled_lots=filled), [], orders
    while (said := post_only(parent, both.view(495, 505, *children))).cancel:
        (one,) = said.cancel
        assert said.then == ""
        given_up += [number for number, order in enumerate(orders) if order is one]
        one.cancels = 1
    assert given_up == cancelled


def test_what_nobody_can_call_back_comes_before_what_rests(both):
    resting, taking = both.order(495, 40), both.taking(30)
    view = both.view(495, 505, resting, taking)
    assert post_only(both.parent(due_lots=70), view).cancel == ()
    assert post_only(both.parent(due_lots=69), view) == Advice(cancel=(resting,))
    reduced = both.order(495, 40, amend_lots=39)
    assert post_only(both.parent(due_lots=69), both.view(495, 505, reduced, taking)).cancel == (), "it makes way already"


def test_what_is_missing_beside_its_orders_rests_too_and_waits_for_all_of_them(both):
    order, draft = both.order(495, 60), both.draft(OrderType.LIMIT_MAKER, 490, 40)._replace(time_in_force=1)
    wait = both.until(near_high=496)
    assert post_only(both.parent(), both.view(490, 505, order)) == Advice(place=draft, wait=wait)
    nothing = both.view(490, 505, order, far_lots=0)
    assert post_only(both.parent(), nothing) == Advice(wait=any_quote())
    better = both.order(500, 30)
    assert post_only(both.parent(due_lots=90), both.view(490, 505, order, better)) == Advice(wait=wait)


def test_patience_is_counted_from_when_its_part_is_due_and_ends_at_once(both):
    settings, parent, order = {"patience_ms": 3000}, both.parent(due_ns=5 * SECOND), both.order(495, 60)
    end_ns = 8 * SECOND
    waits = patient(parent, both.view(495, 505, order, both.order(495, 40), now_ns=end_ns - 1, **settings))
    assert waits == Advice(wait=both.until(near_high=496).no_later(end_ns))
    going = both.order(495, 10, cancels=1), both.order(495, 10, cancel_ns=end_ns), both.taking(10)
    view = both.view(495, 505, order, *going, now_ns=end_ns, **settings)
    assert patient(parent, view) == Advice(cancel=(order,), then="take")
    assert patient(parent, view._replace(children=going)) == Advice(), "they are on their way"
    assert patient(parent, view._replace(children=())).place == both.draft(OrderType.MARKET, 505, 100)
