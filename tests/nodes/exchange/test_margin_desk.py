"""The futures account without sockets: random histories, reducing orders, amends, margin, and what a restart restores."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.support.usdm_talk import MARK, Population, account, limit, market, place
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.orders.listen_key import ListenKey
from tickmesh.nodes.exchange.orders.orders import StateLine
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError, decimal_text

LOT = UNIT // 1000
PRICES = some.integers(-20, 20).map(lambda steps: MARK + steps * UNIT)
QUANTITIES = some.integers(1, 40).map(lambda lots: lots * LOT)
SIDES = some.sampled_from((1, -1))
STEPS = some.one_of(
    some.tuples(some.just("theirs"), SIDES, PRICES, QUANTITIES, some.sampled_from(("LIMIT", "MARKET"))),
    some.tuples(
        some.just("ours"), SIDES, PRICES, QUANTITIES, some.sampled_from(("GTC", "IOC", "FOK", "GTX", "MARKET")), some.booleans()
    ),
    some.tuples(some.just("amend"), some.integers(0, 5), PRICES, QUANTITIES),
    some.tuples(some.just("cancel"), some.integers(0, 5)),
    some.tuples(some.just("funding"), some.integers(-2_000_000, 2_000_000)),
)


def ours(desk, side: int, price: int, quantity: int, kind: str, reduce_only: bool, now_ms: int) -> None:
    terms = {
        "side": "BUY" if side > 0 else "SELL", "quantity": decimal_text(quantity), "reduceOnly": str(reduce_only).lower(),
        "type": "MARKET" if kind == "MARKET" else "LIMIT",
    }  # fmt: skip
    if kind != "MARKET":
        terms |= {"timeInForce": kind, "price": decimal_text(price)}
    place(desk, now_ms, **terms)


def take(desk, others, step, now_ms: int) -> None:
    """One step of a history; a refusal is one, too."""
    what, *values = step
    standing = list(desk.orders.open.values())
    try:
        if what == "theirs":
            others.send(*values, now_ms=now_ms)
        elif what == "ours":
            ours(desk, *values, now_ms)
        elif what == "funding":
            desk.settle_funding("BTCUSDT", MARK, values[0], now_ms)
        elif standing:
            order = standing[values[0] % len(standing)]
            asked = {"symbol": "BTCUSDT", "orderId": order.id}
            if what == "cancel":
                desk.cancel(Params(asked), now_ms)
            else:
                more = {"price": decimal_text(values[1]), "quantity": decimal_text(values[2])}
                desk.amend(Params({**asked, **more, "side": "BUY" if order.side > 0 else "SELL"}), now_ms)
    except VenueError as error:
        assert error.code < 0


@settings(max_examples=200, deadline=None)
@given(some.lists(STEPS, max_size=50))
def test_any_history_adds_up_reduces_only_where_it_says_so_and_is_restored(history):
    desk, markets = account()
    others, lines = Population(markets["BTCUSDT"]), [written(desk)]
    position = desk.accounts.position(OWNER, "BTCUSDT")
    trades = 0
    for now_ms, step in enumerate(history, 1):
        before = position.amount
        take(desk, others, step, now_ms)
        desk.accounts.check_conserved()
        for trade in desk.state.trades[trades:]:
            if desk.orders.by_id[trade.order_id].reduce_only:
                assert before * trade.side < 0 and trade.quantity <= abs(before), "an order that only reduces has opened"
            before += trade.side * trade.quantity
        trades = len(desk.state.trades)
        assert before == position.amount
        for order in desk.orders.open.values():
            assert markets["BTCUSDT"].book.orders[order.id].remaining == order.remaining
        lines.append(written(desk))
    assert len(desk.orders.open) == sum(order.owner == OWNER for order in markets["BTCUSDT"].book.orders.values())
    incomes = sum(income.amount for income in desk.state.incomes)
    assert desk.accounts.wallet(OWNER, "USDT") == 100_000 * UNIT + incomes

    again, _ = account(0)
    again.accounts.deposited.clear()
    for stored in lines:
        if (line := msgspec.json.decode(stored, type=StateLine).margin) is not None:
            again.state.apply_line(line)
    assert state_of(again) == state_of(desk)


def written(desk) -> bytes:
    """What the state file gets after a step."""
    return msgspec.json.encode(StateLine(margin=desk.state.take_line()))


def state_of(desk) -> dict:
    whole = msgspec.to_builtins(desk.state.whole())
    whole["orders"] = sorted(whole.get("orders", []), key=lambda order: order["id"])
    for name in ("wallets", "positions"):
        whole[name] = {key: {who: v for who, v in one.items() if v not in (0, {})} for key, one in whole.get(name, {}).items()}
    return {key: value for key, value in whole.items() if value not in ({}, [], {"BTCUSDT": {}})}


def quoted(desk, markets, quantity: int = 10 * UNIT) -> Population:
    """Others on both sides of the mark price, one unit away."""
    others = Population(markets["BTCUSDT"])
    others.send(1, MARK - UNIT, quantity)
    others.send(-1, MARK + UNIT, quantity)
    return others


def events_of(desk) -> list[dict]:
    events, desk.events = [json.loads(event) for event in desk.events], []
    return events


def refused(desk, code: int, **params) -> None:
    desk.state.take_line()
    before = msgspec.json.encode(desk.state.whole())
    with pytest.raises(VenueError) as error:
        place(desk, **params)
    assert error.value.code == code, error.value.message
    assert msgspec.json.encode(desk.state.whole()) == before and not desk.state.take_line(), "a refusal changes nothing"


def test_an_order_without_a_margin_is_refused_and_one_that_closes_is_not():
    desk, markets = account(1000)
    quoted(desk, markets)
    refused(desk, -2019, **limit("BUY", "60000", "0.334"))
    placed = place(desk, **limit("BUY", "60000", "0.333"))
    assert desk.available("USDT") == UNIT, "999 of 1000 at leverage 20"
    refused(desk, -2019, **limit("BUY", "59000", "0.001"))
    assert place(desk, **limit("SELL", "61000", "0.3")).order.status == "NEW", "either fills first, they do not add up"
    desk.cancel(Params({"symbol": "BTCUSDT", "orderId": placed.order.id}), 1)
    place(desk, **market("BUY", "0.3"))
    refused(desk, -2019, **market("BUY", "0.1"))
    assert place(desk, **market("SELL", "0.3")).order.status == "FILLED"
    desk.set_leverage("BTCUSDT", 125, 1)
    refused(desk, -2027, **limit("BUY", "60000", "5.001"))


def test_reduce_only_is_refused_cut_and_knocked_out():
    desk, markets = account()
    others = quoted(desk, markets)
    refused(desk, -2022, **market("SELL", reduceOnly="true"))
    place(desk, **market("BUY", "0.050"))
    desk.events.clear()
    refused(desk, -2022, **market("BUY", reduceOnly="true"))
    refused(desk, -2022, **limit("SELL", "60100", "0.051", reduceOnly="true"))
    standing = place(desk, **limit("SELL", "60100", "0.040", reduceOnly="true")).order
    desk.events.clear()
    refused(desk, -2022, **limit("SELL", "60200", "0.020", reduceOnly="true"))
    cut = place(desk, **market("SELL", "0.080", reduceOnly="true")).order
    assert (cut.status, cut.filled, cut.expiry) == ("EXPIRED", 50 * LOT, 4)
    assert (standing.status, standing.expiry) == ("EXPIRED", 4), "nothing is left that it could reduce"
    assert desk.accounts.position(OWNER, "BTCUSDT").amount == 0
    updates = [e["o"] for e in events_of(desk) if e["e"] == "ORDER_TRADE_UPDATE"]
    assert [(o["i"], o["x"], o["X"], o["er"]) for o in updates][-2:] == [
        (cut.id, "EXPIRED", "EXPIRED", "4"), (standing.id, "EXPIRED", "EXPIRED", "4"),
    ]  # fmt: skip
    place(desk, **market("SELL", "0.050"))
    reducing = place(desk, **limit("BUY", "59900", "0.050", reduceOnly="true")).order
    place(desk, **limit("BUY", "59950", "0.010"))
    assert reducing.status == "EXPIRED", "an order before it in the queue would leave it too large"
    assert not any(o.reduce_only for o in desk.orders.open.values()) and others.market.book.quantity(1, 59_900 * UNIT) == 0


def test_an_amend_keeps_the_order_loses_its_place_and_may_take_or_cancel():
    desk, markets = account()
    others = quoted(desk, markets)
    first, second = (place(desk, **limit("BUY", "59990", "0.010")).order for _ in range(2))
    amend = {"symbol": "BTCUSDT", "side": "BUY", "price": "59990", "quantity": "0.020"}
    assert desk.amend(Params({**amend, "orderId": first.id}), 2) is first
    with pytest.raises(VenueError) as same:
        desk.amend(Params({**amend, "orderId": first.id}), 2)
    assert same.value.code == -5027
    desk.events.clear()
    others.send(-1, 59_990 * UNIT, 10 * UNIT + 15 * LOT)  # takes what stands before, then ten of one and five of the other
    assert (second.status, first.status, first.filled) == ("FILLED", "PARTIALLY_FILLED", 5 * LOT)
    with pytest.raises(VenueError):
        desk.amend(Params({**amend, "price": "59990.05", "orderId": first.id}), 3)
    desk.amend(Params({**amend, "quantity": "0.030", "orderId": first.id}), 3)
    assert (first.status, first.remaining, first.id) == ("PARTIALLY_FILLED", 25 * LOT, 1)
    desk.amend(Params({**amend, "quantity": "0.004", "orderId": first.id}), 4)
    assert (first.status, first.quantity) == ("CANCELED", 30 * LOT), "so much is filled already"
    others.send(1, 59_980 * UNIT, UNIT)
    maker = place(desk, **limit("BUY", "59985", timeInForce="GTX")).order
    desk.amend(Params({**amend, "price": "60001", "orderId": maker.id}), 5)
    assert (maker.status, maker.filled) == ("CANCELED", 0), "a post-only order never takes"
    taker = place(desk, **limit("BUY", "59985")).order
    desk.amend(Params({**amend, "price": "60001", "quantity": "0.010", "orderId": taker.id}), 6)
    assert (taker.status, taker.filled) == ("FILLED", 10 * LOT)
    whats = [e["o"]["x"] for e in events_of(desk) if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["i"] == taker.id]
    assert whats == ["NEW", "AMENDMENT", "TRADE"]


def test_restored_orders_stand_in_the_order_in_which_they_were_queued():
    desk, _ = account()
    first, second = (place(desk, **limit("BUY", "59990", "0.010")).order for _ in range(2))
    desk.amend(Params({"symbol": "BTCUSDT", "side": "BUY", "price": "59990", "quantity": "0.011", "orderId": first.id}), 2)
    again, markets = account(0)
    again.state.apply_line(msgspec.json.decode(msgspec.json.encode(desk.state.whole()), type=type(desk.state.whole())))
    again.restore(3)
    Population(markets["BTCUSDT"]).send(-1, 59_990 * UNIT, 10 * LOT)
    assert {order.id for order in again.orders.open.values()} == {first.id} and second.id not in again.orders.open


def test_fills_fees_and_funding_are_incomes_and_events():
    desk, markets = account()
    quoted(desk, markets)
    place(desk, **market("BUY", "0.100"))
    place(desk, 2, **market("SELL", "0.050"))
    desk.settle_funding("BTCUSDT", MARK, 10_000, 3)
    rows = [(one.kind, decimal_text(one.amount)) for one in desk.state.incomes]
    assert rows == [
        ("COMMISSION", "-3.00005000"), ("REALIZED_PNL", "-0.10000000"), ("COMMISSION", "-1.49997500"),
        ("FUNDING_FEE", "-0.30000000"),
    ]  # fmt: skip
    updates = [event["a"] for event in events_of(desk) if event["e"] == "ACCOUNT_UPDATE"]
    assert [(u["m"], u["B"][0]["wb"], u["B"][0]["bc"]) for u in updates] == [
        ("ORDER", "99996.99995000", "0.00000000"), ("ORDER", "99995.39997500", "0.00000000"),
        ("FUNDING_FEE", "99995.09997500", "-0.30000000"),
    ]  # fmt: skip
    position = {"s": "BTCUSDT", "pa": "0.050", "ep": "60001.00000000", "cr": "-0.10000000", "up": "-0.05000000"}
    assert {key: updates[1]["P"][0][key] for key in position} == position and updates[2]["P"] == []
    assert [row for row in desk.ledger_rows if row[0] == "funding"] == [
        ("funding", "binance_usdm.BTCUSDT", 10_000, MARK, -30_000_000)
    ]


def test_what_is_not_filled_expires_and_says_why():
    desk, markets = account()
    quoted(desk, markets, 20 * LOT)
    ioc = place(desk, **limit("BUY", "60001", "0.030", timeInForce="IOC")).order
    gone = place(desk, **market("BUY", "0.010")).order
    resting = place(desk, **limit("SELL", "60100", "0.010")).order
    taker = place(desk, **limit("BUY", "60100", "0.010")).order
    assert [(o.status, o.filled, o.expiry) for o in (ioc, gone, resting, taker)] == [
        ("EXPIRED", 20 * LOT, 2), ("EXPIRED", 0, 9), ("EXPIRED_IN_MATCH", 0, 1), ("NEW", 0, 0),
    ]  # fmt: skip
    said = [(o["i"], o["x"], o["X"], o["er"]) for e in events_of(desk) if e["e"] == "ORDER_TRADE_UPDATE" for o in [e["o"]]]
    assert said[-4:] == [
        (gone.id, "EXPIRED", "EXPIRED", "9"), (resting.id, "NEW", "NEW", "0"), (taker.id, "NEW", "NEW", "0"),
        (resting.id, "EXPIRED", "EXPIRED_IN_MATCH", "1"),
    ]  # fmt: skip
    refused(desk, -5021, **limit("SELL", "59999", "0.021", timeInForce="FOK"))
    assert place(desk, **limit("SELL", "59999", "0.020", timeInForce="FOK")).order.status == "FILLED"


def test_a_key_that_ended_is_told_once_also_when_a_new_one_came_first():
    key = ListenKey("secret", 1.0)
    first = key.ask(0)
    assert key.keep_alive(999) == first and key.take_expired(1998) == []
    second = key.ask(2000)
    assert second != first and key.take_expired(2000) == [first] and key.take_expired(2999) == []
    assert key.take_expired(3000) == [second] and key.take_expired(4000) == [] and not key.is_valid(3000)
    with pytest.raises(VenueError):
        key.keep_alive(3001)
