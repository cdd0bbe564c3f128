"""Random histories of all order types: money and quantities are conserved at every step, and the state file restores all."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.desk_scene import DeskScene
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.amending import amend
from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.orders.orders import StateLine
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

KINDS = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
MODES = ("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT")

sides, prices, sizes = st.sampled_from(("BUY", "SELL")), st.integers(95, 105), st.integers(1, 9)
ours = st.tuples(
    st.just("ours"), sides, st.sampled_from(KINDS), sizes, prices, prices, st.sampled_from(("GTC", "IOC", "FOK")),
    st.sampled_from(MODES), st.integers(0, 9), st.sampled_from((0, 0, 50, 200)),
)  # fmt: skip
others = st.tuples(
    st.just("others"), sides, st.sampled_from(("LIMIT", "MARKET")), sizes, prices, st.sampled_from(("GTC", "IOC", "FOK"))
)
changes = st.tuples(st.sampled_from(("cancel", "amend")), st.integers(0, 20), sizes)
lists = st.tuples(
    st.sampled_from(("OCO", "OTO", "OTOCO")), sides, sizes, st.integers(101, 106), st.integers(94, 99),
    st.sampled_from(("LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")), st.sampled_from(("STOP_LOSS", "STOP_LOSS_LIMIT")),
    st.sampled_from(MODES),
)  # fmt: skip
histories = st.lists(st.one_of(ours, ours, others, others, changes, lists), min_size=15, max_size=60)


def bracket(prefix: str, side: str, above: int, below: int, profit: str, loss: str) -> dict:
    """Parameters of a pair of which one takes a profit and one stops a loss."""
    found = {}
    for name, kind, price in (
        ("Above", profit if side == "SELL" else loss, above),
        ("Below", loss if side == "SELL" else profit, below),
    ):
        leg = prefix + name if prefix else name.lower()
        found[f"{leg}Type"] = kind
        if kind != "LIMIT_MAKER":
            found[f"{leg}StopPrice"] = price
        if kind.endswith("_LIMIT"):
            found[f"{leg}TimeInForce"] = "GTC"
        if kind.endswith("_LIMIT") or kind == "LIMIT_MAKER":
            found[f"{leg}Price"] = price
    return found


def place_list(scene: DeskScene, step: tuple) -> None:
    """Places an order list of a history."""
    kind, side, size, above, below, profit, loss, mode = step
    more: dict = {"selfTradePreventionMode": mode}
    if kind == "OCO":
        scene.place_list(kind, side=side, quantity=size, **bracket("", side, above, below, profit, loss), **more)
        return
    more |= {"workingType": "LIMIT", "workingSide": side, "workingPrice": 100, "workingQuantity": size,
             "workingTimeInForce": "GTC", "pendingSide": {"BUY": "SELL", "SELL": "BUY"}[side],
             "pendingQuantity": size}  # fmt: skip
    if kind == "OTO":
        scene.place_list(kind, pendingType="MARKET", **more)
    else:
        scene.place_list(kind, **bracket("pending", more["pendingSide"], above, below, profit, loss), **more)


def act(scene: DeskScene, step: tuple) -> None:
    """Does one step of a history; what the venue refuses changes nothing."""
    before = scene.balances()
    try:
        if step[0] == "ours":
            _, side, kind, size, price, stop, tif, mode, iceberg, delta = step
            more: dict = {"selfTradePreventionMode": mode}
            if kind in ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
                more["price"] = str(price)
                if kind != "LIMIT_MAKER":
                    more["timeInForce"] = tif
                if iceberg and tif == "GTC":
                    more["icebergQty"] = str(iceberg)
            if kind.startswith(("STOP", "TAKE")):
                if delta:
                    more["trailingDelta"] = delta
                if not delta or stop % 2:
                    more["stopPrice"] = str(stop)
            scene.place(side, kind, size, **more)
        elif step[0] in ("OCO", "OTO", "OTOCO"):
            place_list(scene, step)
        elif step[0] == "others":
            _, side, kind, size, price, tif = step
            scene.other(1 if side == "BUY" else -1, price, size, kind, tif)
        elif scene.desk.open:
            order = list(scene.desk.open.values())[step[1] % len(scene.desk.open)]
            if step[0] == "cancel":
                scene.cancel(order)
            else:
                scene.now += 1
                given = {"symbol": "BTCUSDT", "orderId": order.id, "newQty": str(step[2])}
                amend(scene.lists, Params(given), scene.now)
    except VenueError as error:
        assert error.code in (-2010, -1013, -2038), error
        assert scene.balances() == before


@settings(max_examples=400, deadline=None)
@given(history=histories)
def test_money_and_quantities_are_conserved_and_restored(history):
    scene = DeskScene(maker_ppm=1000, taker_ppm=1500)
    lines = [msgspec.json.encode(scene.desk.take_line())]
    for step in history:
        act(scene, step)
        scene.check()
        for order in scene.desk.orders.values():
            assert min(order.filled, order.prevented, order.remaining) >= 0, order
            assert (order.status == "FILLED") <= (order.remaining == 0), order
            assert not order.open or order.remaining > 0, order
            traded = [t for t in scene.desk.trades if t.order_id == order.id]
            assert order.filled == sum(t.quantity for t in traded)
            assert order.filled_quote == sum(t.price * t.quantity // UNIT for t in traded)
        for made in scene.desk.lists.values():
            assert made.done == (not scene.lists.executing(made)), "the end of a list is said when it has come, once"
            filled = [ident for ident in made.pair if scene.desk.orders[ident].filled]
            assert len(filled) < 2, "only one of a pair is ever carried out"
        if (line := scene.desk.take_line()) is not None:
            lines.append(msgspec.json.encode(line))
    check_restored(scene, lines)


def test_a_stop_is_restored_where_it_was_when_it_was_triggered():
    scene = DeskScene()
    lines = [msgspec.json.encode(scene.desk.take_line())]
    stop = scene.place("BUY", "STOP_LOSS_LIMIT", 1.0, stopPrice="105", price="90")
    before = scene.place("BUY", "LIMIT", 1.0, price="90")
    scene.trade(105.0)
    after = scene.place("BUY", "LIMIT", 1.0, price="90")
    book = scene.market.book
    assert [o.id for o in book.sides[1].peekitem(0)[1].orders.values()] == [before.id, stop.id, after.id]
    lines.append(msgspec.json.encode(scene.desk.take_line()))
    check_restored(scene, lines)


def check_restored(scene: DeskScene, lines: list[bytes]) -> None:
    """Asserts that a desk made of these state lines is the scene's, but for what each iceberg shows."""
    market = Market(scene.market.spec, UpdateIds(), Tape(10))
    desk = Desk({"BTCUSDT": market}, 1000, 1500)
    for line in lines:
        desk.apply_line(msgspec.json.decode(line, type=StateLine))
    desk.restore(scene.now)
    was, now = scene.desk.whole_state(), desk.whole_state()
    by_id = [sorted(state.orders, key=lambda order: order.id) for state in (was, now)]
    assert by_id[0] == by_id[1] and was.trades == now.trades and was.balances == now.balances
    assert was.lists == now.lists and was.prevented == now.prevented and was.amendments == now.amendments
    assert desk.triggers.waiting == scene.desk.triggers.waiting
    queues = [
        [(o.id, o.remaining + o.hidden) for side in (1, -1) for level in book.sides[side].values()
         for o in level.orders.values() if o.owner and not o.iceberg]
        for book in (scene.market.book, market.book)
    ]  # fmt: skip
    assert queues[0] == queues[1], "our orders stand in their old order of time"
