"""Order states under any interleaving and duplication, exact positions, and what risk refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus.schema import OrderType, Status, TimeInForce
from tickmesh.nodes.executor import drafts, positions, risk
from tickmesh.nodes.executor.exposure import outstanding
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.positions import Position
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.nodes.orders.states import FINAL

SUBJECT = "binance.BTCUSDT"
QUANTITY = 10


def order() -> Order:
    return Order("t0-1-0", 1, int(OrderType.LIMIT), int(TimeInForce.GTC), 100, QUANTITY, 0)


@st.composite
def venue_histories(draw) -> list[tuple]:
    """What a venue can report of one order, in its order: updates with cumulative quantity, and a fill for each change."""
    reported: list[tuple] = [("update", Status.PendingNew, 0)]
    if draw(st.booleans()) and draw(st.booleans()):
        return [*reported, ("update", Status.Rejected, 0)]
    reported.append(("update", Status.New, 0))
    filled = 0
    for lots in draw(st.lists(st.integers(1, 4), max_size=6)):
        lots = min(lots, QUANTITY - filled)
        if lots == 0:
            break
        filled += lots
        reported.append(("fill", lots, 0))
        reported.append(("update", Status.Filled if filled == QUANTITY else Status.PartiallyFilled, filled))
        if draw(st.integers(0, 4)) == 0 and filled < QUANTITY:
            reported.append(("update", draw(st.sampled_from([Status.Unknown, Status.PendingCancel])), 0))
    if filled < QUANTITY:
        reported.append(("update", draw(st.sampled_from([Status.Canceled, Status.Expired])), filled))
    return reported


def remembered(one: Order) -> tuple[ExecutorState, InstrumentState]:
    state = ExecutorState()
    state.add_order(SUBJECT, one)
    return state, state.instruments[SUBJECT]


def apply(state: ExecutorState, instrument: InstrumentState, one: Order, reported: tuple, trade_id: int) -> None:
    if reported[0] == "fill":
        state.apply_fill(SUBJECT, one.client_order_id, trade_id, one.side, 100, reported[1], 0, "")
    else:
        state.apply_update(instrument, one, int(reported[1]), reported[2], 0)


@given(venue_histories(), st.data())
def test_any_order_and_any_copies_end_in_the_same_state(history, data):
    indices = list(range(len(history)))
    copies = data.draw(st.lists(st.sampled_from(indices), max_size=5))
    one = order()
    state, instrument = remembered(one)
    for i in data.draw(st.permutations(indices + copies)):
        was = (one.status, one.filled_lots)
        apply(state, instrument, one, history[i], i)
        assert one.filled_lots >= was[1], "cumulative quantity never goes back"
        assert was[0] not in FINAL or one.status == was[0], "a final state is final"
        assert 0 <= one.outstanding_lots <= QUANTITY
        if one.status not in FINAL:
            assert one.outstanding_lots == QUANTITY - instrument.position.bought_lots
    assert (one.status, one.filled_lots) == (history[-1][1], sum(t[1] for t in history if t[0] == "fill"))
    assert one.outstanding_lots == 0


def test_an_order_counts_whole_until_it_is_final_and_then_for_the_fills_that_are_missing():
    one = order()
    state, instrument = remembered(one)
    assert one.status == Status.PendingNew and one.outstanding_lots == QUANTITY
    state.apply_update(instrument, one, Status.Unknown, 0, 0)
    assert one.outstanding_lots == QUANTITY
    state.apply_update(instrument, one, Status.Canceled, 4, 7)
    assert one.outstanding_lots == 4, "its fills are still to come"
    state.apply_fill(SUBJECT, one.client_order_id, 1, 1, 100, 4, 0, "")
    assert one.outstanding_lots == 0 and one.final


def test_a_fill_beyond_a_final_state_is_kept():
    one = order()
    state, instrument = remembered(one)
    state.apply_update(instrument, one, Status.Canceled, 0, 0)
    state.apply_fill(SUBJECT, one.client_order_id, 1, 1, 100, 3, 0, "")
    assert (one.status, one.filled_lots, one.outstanding_lots) == (Status.Canceled, 3, 0)


FILLS = st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**13), st.integers(1, 10**12)), max_size=40)


@given(FILLS, st.integers(1, 10**13))
def test_money_is_exact(fills, mark):
    """Whatever the order of fills: profit = cash + position at the mark, with nothing lost to rounding."""
    position = Position()
    for side, price, lots in fills:
        positions.apply_fill(position, side, price, lots, fee=3, fee_asset="USDT")
        assert position.cash == position.realised - position.cost
        assert (position.lots == 0) <= (position.cost == 0)
        assert position.cost * position.lots >= 0, "an average price is never negative"
    assert position.lots == sum(side * lots for side, _, lots in fills)
    assert position.cash == -sum(side * price * lots for side, price, lots in fills)
    assert position.realised + position.unrealised(mark) == position.cash + position.lots * mark
    assert position.fees == ({"USDT": 3 * len(fills)} if fills else {})
    assert (position.bought_lots - position.sold_lots, position.fills) == (position.lots, len(fills))


def test_average_price_and_profit_through_zero():
    position = Position()
    positions.apply_fill(position, 1, 100, 10)
    positions.apply_fill(position, 1, 110, 10)
    assert position.average_ticks == 105.0
    positions.apply_fill(position, -1, 120, 5)
    assert (position.lots, position.realised, position.average_ticks) == (15, 75, 105.0)
    positions.apply_fill(position, -1, 100, 20)
    assert (position.lots, position.realised, position.average_ticks) == (-5, 0, 100.0)
    positions.apply_fill(position, 1, 90, 5)
    assert (position.lots, position.realised, position.cost) == (0, 50, 0)


def test_bucket_is_a_burst_and_then_a_rate():
    bucket, period = risk.Bucket(), 100
    taken = []
    for now in range(0, 1000, 10):
        if bucket.allows(now, period, 3):
            bucket.take(now, period)
            taken.append(now)
    assert taken[:3] == [0, 10, 20] and len(taken) == 3 + 9
    assert all(b - a >= 80 for a, b in zip(taken[3:], taken[4:]))


def test_a_rate_of_less_than_one_a_second_lets_one_pass_and_the_next_in_time():
    rate, second = risk.build_rate(risk.Bucket(), 0.5), 1_000_000_000
    assert rate.allows(0)
    rate.take(0)
    assert not rate.allows(2 * second - 1) and rate.allows(2 * second)


def test_styles_price_at_the_touch():
    quote = drafts.Quote(100, 1, 101, 1)
    for side, near, far in ((1, 100, 101), (-1, 101, 100)):
        assert drafts.build_draft("market", side, quote, 5)[1:6] == (OrderType.MARKET, TimeInForce.GTC, 0, 5, far)
        assert drafts.build_draft("limit", side, quote, 5)[1:6] == (OrderType.LIMIT, TimeInForce.GTC, near, 5, near)
        assert drafts.build_draft("limit_ioc", side, quote, 5)[1:6] == (OrderType.LIMIT, TimeInForce.IOC, far, 5, far)
        assert drafts.build_draft("limit_maker", side, quote, 5)[1:6] == (OrderType.LIMIT_MAKER, TimeInForce.GTC, near, 5, near)


RULES = InstrumentRules(-2, -3, 5, 10, 20, 300)  # prices in cents, quantities in thousandths, at least 3.00 a piece


def verdict(draft: drafts.Draft, quote=(100, 1, 105, 1), now_ns=0, position=0, open_orders=(), full_ns=0) -> str:
    """The reason of the refusal; empty for an approval. Only an approval costs a token."""
    bucket = risk.Bucket(full_ns)
    market = risk.MarketView(drafts.Quote(*quote), 0, now_ns, 1000, RULES)
    bought, sold, _ = outstanding(open_orders)
    scope = risk.Scope("", position, bought, sold, 0, 0, position_max_lots=10_000)
    answer = risk.check(draft, market, (scope,), open_orders, "", (risk.Rate(bucket, 10, 2, "rate"),))
    assert isinstance(answer, risk.Approved) == (bucket.full_ns != full_ns)
    return "" if isinstance(answer, risk.Approved) else answer.reason


def limit(lots=3000, side=1, price=100) -> drafts.Draft:
    return drafts.Draft(side, int(OrderType.LIMIT), int(TimeInForce.GTC), price, lots, price)


def test_every_refusal_has_its_reason():
    assert verdict(limit()) == ""
    assert verdict(limit(), now_ns=1001) == "stale_quote"
    assert verdict(limit(), quote=(100, 1, 100, 1)) == "quote"
    assert verdict(limit(), quote=(0, 0, 105, 1)) == "quote"
    assert verdict(limit(price=101)) == verdict(limit(price=0)) == verdict(limit(price=-5)) == "price"
    assert verdict(limit(lots=10)) == "quantity"
    assert verdict(limit(lots=3005)) == "quantity"
    assert verdict(limit(lots=0)) == "quantity"
    assert verdict(limit(lots=2990)) == "notional"
    assert verdict(limit(), position=7000) == ""
    assert verdict(limit(), position=7010) == "position"
    assert verdict(limit(side=-1), position=7010) == ""
    assert verdict(limit(side=-1), position=-7010) == "position"
    resting = Order("x", 1, 1, 1, 100, 5000, 0)
    assert verdict(limit(), position=2010, open_orders=[resting]) == "position"
    assert verdict(limit(side=-1), open_orders=[resting]) == "own_order"
    resting.status = int(Status.Canceled)
    assert verdict(limit(side=-1), open_orders=[resting]) == ""
    assert verdict(limit(), full_ns=10) == ""
    assert verdict(limit(), full_ns=11) == "rate"


@pytest.mark.parametrize(("least", "lots", "reason"), [
    (0, 1, ""), (0, 0, "quantity"), (0, -1, "quantity"), (20, 20, ""), (20, 19, "quantity"),
])  # fmt: skip
def test_where_the_venue_has_few_rules_an_order_is_for_something_and_not_below_its_least(least, lots, reason):
    market = risk.MarketView(drafts.Quote(100, 1, 105, 1), 0, 0, 1000, InstrumentRules(-2, -3, 0, 0, least, 0))
    answer = risk.check(limit(lots=lots, price=1), market, (), (), "", ())
    assert (answer.reason if isinstance(answer, risk.Refused) else "") == reason


@pytest.mark.parametrize(("have", "at_the_limit", "beyond", "reason"), [
    ({}, {"position_max_lots": 3000}, {"position_max_lots": 2999}, "position"),
    ({"position_lots": 500, "bought_lots": 700}, {"position_max_lots": 4200}, {"position_max_lots": 4199}, "position"),
    ({}, {"order_max_lots": 3000}, {"order_max_lots": 2999}, "order_size"),
    ({}, {"order_max_notional": 300_000}, {"order_max_notional": 299_999}, "order_size"),
    ({}, {"price_collar": 0.2}, {"price_collar": 0.19}, "price_collar"),  # 100 is 25 from the mid, 125
    ({"open_orders": 1}, {"open_orders_max": 2}, {"open_orders_max": 1}, "open_orders"),
    ({"elsewhere": 1000}, {"notional_max": 301_000}, {"notional_max": 300_999}, "notional_limit"),
    # 2000 short and 4000 more for sale are worth more than 1000 long
    ({"position_lots": -2000, "sold_lots": 4000}, {"notional_max": 600_000}, {"notional_max": 599_999}, "notional_limit"),
    ({"position_lots": -3000}, {"notional_max": 0}, {}, ""),  # what only closes
    ({"position_lots": -2999}, {"notional_max": 299_900}, {"notional_max": 299_899}, "notional_limit"),
])  # fmt: skip
@pytest.mark.parametrize("side", [1, -1])
def test_a_limit_refuses_beyond_it_and_not_at_it_on_either_side(side, have, at_the_limit, beyond, reason):
    names = {"bought_lots": "sold_lots", "sold_lots": "bought_lots"} if side < 0 else {}
    lots = {names.get(name, name): value * side if name == "position_lots" else value for name, value in have.items()}
    base = risk.Scope("", 0, 0, 0, 0, 0)._replace(**lots)
    market = risk.MarketView(drafts.Quote(100, 1, 150, 1), 500, 1500, 1000, RULES)
    for limits, expected in ((at_the_limit, ""), (beyond, reason)):
        answer = risk.check(limit(side=side), market, (base._replace(**limits),), (), "", ())
        assert (answer.reason if isinstance(answer, risk.Refused) else "") == expected


@pytest.mark.parametrize(("strategy", "price", "market", "meets"), [
    ("other", 500, False, True), ("other", 501, False, False), ("other", 499, False, True), ("other", 505, True, True),
    ("mine", 505, False, True),
])  # fmt: skip
@pytest.mark.parametrize("side", [1, -1])
def test_an_order_meets_another_strategy_s_at_its_price_and_none_of_its_own_is_let_stand(side, strategy, price, market, meets):
    """An order at 500; prices are a buyer's, a seller's are mirrored there."""
    price = price if side > 0 else 1000 - price
    rests = Order("x", -side, int(OrderType.LIMIT), int(TimeInForce.GTC), price, 3000, 0, strategy=strategy)
    draft = limit(side=side, price=500)
    draft = draft._replace(order_type=int(OrderType.MARKET), price_ticks=0) if market else draft
    view = risk.MarketView(drafts.Quote(495, 1, 550, 1), 0, 0, 1000, RULES)
    beside = Order("y", side, int(OrderType.LIMIT), int(TimeInForce.GTC), price, 3000, 0, strategy=strategy)
    assert isinstance(risk.check(draft, view, (), (beside,), "mine", ()), risk.Approved), "one of its own side is in no way"
    answer = risk.check(draft, view, (), (rests,), "mine", ())
    assert isinstance(answer, risk.Refused) == meets and (not meets or answer.reason == "own_order")
