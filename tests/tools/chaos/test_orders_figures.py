"""What the sweep of orders counts as the use of a recovery path, as a style that traded, and as not over yet."""

import msgpack
import numpy as np

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import DTYPES, Action, Kind, ParentState, Status
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.parents import Parent, parent_record
from tickmesh.tools.chaos.orders_figures import OrderFigures

BTC = "binance.BTCUSDT"
UPDATE = record_struct(Kind.update)


def parent(style: str, state: ParentState, filled: int = 0, reprices: int = 0, shadow: bool = False):
    """An event of a parent's record, with the name 7 among those of its strategy."""
    one = Parent(7, style, 1, 10, 10, 0, 99, 101, 0, 1, shadow, filled_lots=filled, reprices=reprices, why="filled")
    return decode(encode(Kind.parent, BTC, parent_record("maker", one, state, Quote(99, 1, 101, 1))))


def update(name: str, status: Status, lots: int):
    """An event of an order's update."""
    return decode(encode(Kind.update, BTC, UPDATE.pack(name.encode(), 5, status, 1, 1, 1, 0, 100, lots, 0, 0, b"stream", b"")))


def intent(name: str, parent_seq: int):
    """An event of an intent to send an order; without a parent it closes a position."""
    record = np.zeros(1, DTYPES[Kind.intent])
    record["client_order_id"], record["action"], record["parent_seq"] = name.encode(), Action.NEW, parent_seq
    return decode(encode(Kind.intent, BTC, record.tobytes()))


def packed(kind: Kind, subject: str, **content):
    """An event that holds a map."""
    return decode(encode(kind, subject, msgpack.packb(content)))


def test_a_style_has_traded_when_a_parent_of_it_was_filled_and_not_only_simulated():
    figures = OrderFigures().read([parent("pov", ParentState.begun), parent("twap", ParentState.ended, filled=5, shadow=True)])
    assert not any(figures.styles.values())
    figures.read([parent("pov", ParentState.ended, filled=5, reprices=3)])
    assert {style for style, parents in figures.styles.items() if parents} == {"pov"}
    assert figures.paths["repriced"] == 3 and figures.ends["filled"] == 2


def test_a_parent_is_open_from_its_beginning_to_its_end():
    figures = OrderFigures().read([parent("pov", ParentState.begun)])
    assert len(figures.open) == 1
    assert not figures.read([parent("pov", ParentState.ended)]).open


def test_an_order_is_amended_when_its_quantity_becomes_less():
    figures = OrderFigures().read([update("a", Status.New, 10), update("a", Status.PendingReplace, 10)])
    assert figures.paths["amended"] == 0
    assert figures.read([update("a", Status.New, 6), update("a", Status.Canceled, 6)]).paths["amended"] == 1


def test_that_a_strategy_is_switched_shows_in_parents_that_are_only_tried():
    figures = OrderFigures().read([packed(Kind.command, "operator", command="strategy", name="maker", state="shadow")])
    assert figures.paths["strategy_switched"] == 0, "it may not have been obeyed"
    assert figures.read([parent("pov", ParentState.begun, shadow=True)]).paths["strategy_switched"] == 1


def test_a_position_is_closed_when_an_order_of_no_parent_is_filled():
    said = [intent("a", 7), intent("b", 0), intent("c", 0), update("a", Status.Filled, 5), update("c", Status.Canceled, 5)]
    figures = OrderFigures().read(said)
    assert figures.paths["positions_closed"] == 0
    assert figures.read([update("b", Status.Filled, 5)]).paths["positions_closed"] == 1


def test_a_limit_that_is_lifted_is_none_that_is_tightened():
    said = [packed(Kind.command, "operator", command="limit", scope="maker", limit="x", value=value) for value in ("5", "")]
    assert OrderFigures().read(said).paths["limit_tightened"] == 1


def test_counters_of_a_process_are_counted_once_and_begin_anew_with_the_next_one():
    beats = [packed(Kind.health, "session", pid=pid, strays_cancelled=count) for pid, count in ((1, 2), (1, 2), (1, 3), (2, 1))]
    assert OrderFigures().read(beats).paths["strays_cancelled"] == 4
