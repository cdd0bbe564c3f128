"""Self-trade prevention at the local venue: what each mode takes from whom, and what is remembered of it."""

import pytest

from tests.support.desk_scene import DeskScene
from tickmesh.nodes.exchange.protocol import UNIT

# mode; quantity of the maker, of the taker; then of each: status, prevented quantity
MODES = [
    ("EXPIRE_MAKER", 10, 3, ("EXPIRED_IN_MATCH", 10), ("NEW", 0)),
    ("EXPIRE_TAKER", 10, 3, ("NEW", 0), ("EXPIRED_IN_MATCH", 3)),
    ("EXPIRE_BOTH", 10, 3, ("EXPIRED_IN_MATCH", 10), ("EXPIRED_IN_MATCH", 3)),
    ("DECREMENT", 10, 3, ("NEW", 3), ("EXPIRED_IN_MATCH", 3)),
    ("DECREMENT", 3, 10, ("EXPIRED_IN_MATCH", 3), ("NEW", 3)),
    ("DECREMENT", 3, 3, ("EXPIRED_IN_MATCH", 3), ("EXPIRED_IN_MATCH", 3)),
    ("NONE", 10, 3, ("PARTIALLY_FILLED", 0), ("FILLED", 0)),
]


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("mode, maker_has, taker_has, maker_ends, taker_ends", MODES)
def test_a_mode_takes_from_maker_or_taker_what_the_venue_says(side, mode, maker_has, taker_has, maker_ends, taker_ends):
    scene = DeskScene()
    other = "SELL" if side == "BUY" else "BUY"
    maker = scene.place(other, "LIMIT", maker_has, price=100.0, selfTradePreventionMode="NONE")
    taker = scene.place(side, "LIMIT", taker_has, price=100.0, selfTradePreventionMode=mode)
    for order, (status, prevented) in ((maker, maker_ends), (taker, taker_ends)):
        assert (order.status, order.prevented) == (status, prevented * UNIT), order
    assert len(scene.desk.trades) == (2 if mode == "NONE" else 0), "both sides have a row of a trade with oneself"
    assert bool(scene.desk.prevented) == (mode != "NONE")
    scene.check()
    for order in (maker, taker):
        if order.open:
            scene.cancel(order)
    scene.check()
    assert [locked for _, locked in scene.balances().values()] == [0, 0]


def test_the_takers_mode_counts_and_others_are_filled_on_the_way():
    scene = DeskScene()
    scene.other(-1, 100.0, 1.0)
    maker = scene.place("SELL", "LIMIT", 2.0, price=101.0, selfTradePreventionMode="EXPIRE_BOTH")
    scene.other(-1, 102.0, 1.0)
    scene.reports()
    taker = scene.place("BUY", "LIMIT", 5.0, price=102.0, selfTradePreventionMode="DECREMENT")
    assert (maker.status, taker.status) == ("EXPIRED_IN_MATCH", "PARTIALLY_FILLED")
    assert (taker.filled, taker.prevented, taker.remaining) == (2 * UNIT, 2 * UNIT, UNIT)
    reports = scene.reports()
    assert [(r["i"], r["x"], r["X"]) for r in reports] == [
        (taker.id, "NEW", "NEW"), (maker.id, "TRADE_PREVENTION", "EXPIRED_IN_MATCH"),
        (taker.id, "TRADE_PREVENTION", "NEW"), (taker.id, "TRADE", "PARTIALLY_FILLED"),
        (taker.id, "TRADE", "PARTIALLY_FILLED"),
    ]  # fmt: skip
    said = reports[1]
    assert (said["v"], said["A"], said["B"], said["U"], said["Cs"], said["pL"]) == (
        0, "2.00000000", "2.00000000", taker.id, "BTCUSDT", "101.00000000",
    )  # fmt: skip
    scene.check()


@pytest.mark.parametrize("mode, status, filled", [("EXPIRE_TAKER", "EXPIRED_IN_MATCH", 1), ("EXPIRE_MAKER", "EXPIRED", 2)])
def test_a_market_order_pays_only_for_what_it_gets(mode, status, filled):
    scene = DeskScene()
    scene.other(-1, 100.0, 1.0)
    scene.place("SELL", "LIMIT", 2.0, price=101.0)
    scene.other(-1, 102.0, 1.0)
    taker = scene.place("BUY", "MARKET", 3.0, selfTradePreventionMode=mode)
    assert (taker.status, taker.filled) == (status, filled * UNIT)
    scene.check()


@pytest.mark.parametrize("mode, status", [("EXPIRE_MAKER", "FILLED"), ("EXPIRE_TAKER", "EXPIRED"), ("DECREMENT", "EXPIRED")])
def test_all_or_nothing_passes_our_own_order_only_where_that_gives_way(mode, status):
    scene = DeskScene()
    own = scene.place("SELL", "LIMIT", 1.0, price=100.0)
    scene.other(-1, 101.0, 2.0)
    taker = scene.place("BUY", "LIMIT", 2.0, price=101.0, timeInForce="FOK", selfTradePreventionMode=mode)
    assert taker.status == status and own.open == (status == "EXPIRED") and not taker.prevented
    scene.check()


def test_a_mode_that_does_not_exist_or_needs_other_accounts_is_refused():
    scene = DeskScene()
    words = "This symbol does not allow the specified self-trade prevention mode."
    assert scene.refusal("BUY", "MARKET", selfTradePreventionMode="TRANSFER") == (-1013, words)
    assert scene.refusal("BUY", "MARKET", selfTradePreventionMode="SOMETIMES")[0] == -1130
