"""The executor's limit and state hold against a venue that reports late, twice and out of order."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.executor_tape import ALONE, LOT, Tape, make
from tests.support.odd_venue import SYMBOLS, drive, reported
from tickmesh.bus.layout import RECORDS
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import decode
from tickmesh.nodes.executor import node as executor

ACTIONS = st.lists(
    st.tuples(st.sampled_from("SSSAAAMMMTTTTDUQC"), st.integers(0, 1000)), min_size=20, max_size=150
)  # fmt: skip


STRATEGIES = (
    StrategySettings(name="a", models=("m", "a"), order_quantity="0.001", position_max="0.003"),
    StrategySettings(name="b", models=("b",), order_quantity="0.002", position_max="0.004", styles=("limit", "market")),
    StrategySettings(name="c", models=("m", "c"), target_quantity="0.002", styles=("limit_ioc", "limit")),
    StrategySettings(name="d", state="shadow", styles=("limit", "limit_ioc")),
)


def stepped(strategies=ALONE, limits=None, **changes) -> executor.Step:
    """An executor of three instruments."""
    return make(SYMBOLS, strategies, limits, instruments=("binance.*",), **changes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_the_position_limit_of_each_instrument_holds_whatever_the_order_of_reports(actions):
    limit = 3 * LOT

    def check(step, venue):
        least, most = venue.most()
        assert -limit <= least and most <= limit

    step, tape = stepped(position_max="0.003", orders_per_s=1000.0), Tape()
    venues = drive(step, actions, tape, check)
    for subject, venue in venues.items():
        for report in venue.reports:  # in the end all is reported
            step.step([reported(tape, subject, report)])
        instrument = step.state.instruments[subject]
        assert instrument.position.lots == venue.position
        for name, (_, _, filled, alive) in venue.orders.items():
            order = step.state.find_order(instrument, name.decode())
            assert order is not None and order.final == (not alive) and order.filled_lots == filled
    names = [name for venue in venues.values() for name in venue.orders]
    assert len(set(names)) == len(names), "an id is one order, whatever its instrument"


SWITCHED = st.lists(
    st.tuples(st.sampled_from("SSSSSAAAMMMTTTTDUQQCWK"), st.integers(0, 1000)), min_size=20, max_size=150
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SWITCHED)
def test_positions_of_strategies_add_up_and_each_stays_in_its_limits_however_they_are_switched(actions):
    account = {"position_max": "0.005"}

    def check(step, venue):
        least, most = venue.most()
        assert least >= -5 * LOT and most <= 5 * LOT

    step, tape = stepped(STRATEGIES, account, orders_per_s=1000.0), Tape()
    venues = drive(step, actions, tape, check)
    for subject, venue in venues.items():
        for report in venue.reports:
            step.step([reported(tape, subject, report)])
        instrument = step.state.instruments[subject]
        lots = {name: book.position.lots for name, book in instrument.books.items()}
        assert sum(lots.values()) == instrument.position.lots == venue.position
        assert abs(lots.get("a", 0)) <= 3 * LOT and abs(lots.get("b", 0)) <= 4 * LOT and abs(lots.get("c", 0)) <= 2 * LOT
        assert not lots.get("", 0), "each fill is of an order that the log has"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SWITCHED, st.data())
def test_a_checkpoint_anywhere_and_any_cut_into_lists_gives_the_same(actions, data):
    tape = Tape()

    def stepped() -> executor.Step:
        return make(SYMBOLS, STRATEGIES, {"on_kill": "flatten", "daily_loss_max": "0.01"}, instruments=("binance.*",))

    drive(stepped(), actions, tape, lambda step, venue: None)
    whole = stepped()
    published = [event for one in tape.events for event in whole.step([one])]
    assert whole.state.intents == sum(decode(event).kind == Kind.intent for event in published)
    cut = data.draw(st.integers(0, len(tape.events)))
    first, second = stepped(), stepped()
    again = first.step(tape.events[:cut])
    second.load(first.save())
    again = again + second.step(tape.events[cut:])
    assert [bytes(e) for e in again] == [bytes(e) for e in published]
    assert second.save() == whole.save()
    logged = [e.raw[RECORDS] for e in tape.events if e.producer == "executor"]
    assert [bytes(e[RECORDS]) for e in published] == [bytes(raw) for raw in logged]
