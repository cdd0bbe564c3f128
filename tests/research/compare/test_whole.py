"""A backtest of a live run, which decides anew, beside what the run did: all of it again, and what differs is found."""

import json

import msgspec
import pytest

from tests.support.lived_scene import TAKES, LivedRun
from tickmesh.bus.schema import Status
from tickmesh.research.backtest.live_orders import LiveFill
from tickmesh.research.compare.agreement import NEAR_NS, OrderAgreement, VenueState
from tickmesh.research.compare.numbering import recorded_id, roomy_id
from tickmesh.research.compare.running import compare
from tickmesh.storage.query.times import ReadError
from tickmesh.tools import compare as command


def lived(root, signals: int = 12, **planted) -> LivedRun:
    """Buys until its position is full, sells until it is short, and so on."""
    run = LivedRun(root, **planted)
    for number in range(signals):
        run.signal_now(1.0 if number % 6 < 3 else -1.0)
    return run


def test_a_run_comes_again_with_every_decision_and_fill(tmp_path):
    run = lived(tmp_path)
    found = compare(run.write(), fitted=False, whole=True)
    assert len(run.orders) >= 8 and found.filled_live == len(run.orders)
    assert found.share == 1.0 and found.outcomes == {"same": len(run.orders)} and not found.reasons
    whole = found.whole
    assert (whole.intents, whole.equal, whole.orders, whole.filled) == (len(run.orders),) * 4 and whole.parting is None


def test_a_fill_at_another_price_is_found_with_what_follows_from_it(tmp_path, capsys):
    """The live venue reports one fill at another price: the two part at that order; what does not hang on it comes again."""
    run = lived(tmp_path, wrong={2: 3})
    config = run.write()
    found = compare(config, fitted=False, whole=True)
    first = found.whole.parting
    assert first is not None and first.about == f"order {run.orders[2]}"
    assert first.backtest.startswith("a fill of 0.03 at 60000.1") and first.live == "nothing"
    rows = {one.client_order_id: one for one in found.orders}
    assert (rows[run.orders[2]].outcome, rows[run.orders[2]].reason) == ("other", "price_moved")
    assert found.share == pytest.approx(1 - 1 / len(run.orders)), "the order itself alone: positions are as they were"
    result = json.loads(json.dumps(command.summary(found), allow_nan=False))
    assert result["whole"]["first_difference"]["about"] == first.about and result["whole"]["intents_equal"] == found.whole.equal
    command.show(found)
    shown = capsys.readouterr().out
    assert f"First difference: event {first.seq}" in shown and "price_moved" in shown


def test_one_that_ran_with_other_settings_decides_by_those(tmp_path):
    run = lived(tmp_path, 6)
    before = len(run.orders)
    run.change(msgspec.structs.replace(TAKES, order_quantity="0.02"))
    for _ in range(3):
        run.signal_now(1.0)
    found = compare(run.write(), fitted=False, whole=True)
    assert len(run.orders) > before and found.share == 1.0 and found.whole.equal == found.whole.intents == len(run.orders)
    assert {round(one.quantity, 3) for one in found.orders} == {0.03, 0.02} and not found.whole.notes


def test_what_the_live_venue_alone_filled_is_not_given_to_it(tmp_path):
    """Live, one order is filled by more than it wanted, so its position is full earlier: the backtest orders once more."""
    run = lived(tmp_path, 18, more={1: 30})
    config = run.write()
    found = compare(config, fitted=False, whole=True)
    assert (found.whole.orders, found.whole.intents) == (len(run.orders) + 1, len(run.orders))
    with pytest.raises(ReadError, match="no length of time"):
        compare(config, whole=True, every="soon")


def test_one_that_begins_anew_at_the_live_state_agrees_again_from_there_on(tmp_path):
    """Styles are taken in turn, so one order more shifts the style of every later one: the two stay apart for good, unless the
    backtest begins anew at the live state. It does so here between a signal and its order, which was decided live, not here."""
    in_turn = msgspec.structs.replace(TAKES, styles=("market", "limit_ioc"))
    run = lived(tmp_path, 18, strategy=in_turn, more={1: 30})
    config = run.write()
    causes = [int(name.split("-")[1], 16) for name in run.orders]
    cut = causes[8]  # events are 1 ms apart, from the first on
    whole, begun = (compare(config, fitted=False, whole=True, every=every).whole for every in ("", f"{cut}ms"))
    apart = whole.parting.seq
    assert begun.parting == whole.parting and (whole.every_ns, begun.every_ns) == (0, cut * 1_000_000)
    assert whole.equal == sum(cause < apart for cause in causes) == 2
    assert begun.equal == whole.equal + sum(cause > cut for cause in causes) == 2 + 8
    assert compare(config, fitted=False, whole=True).whole == whole, "it is not begun anew unless it is asked for"


def test_names_follow_their_events_to_other_numbers_and_back():
    name = b"t00ba0000000000e5-1f-2"
    assert roomy_id(name) == b"t00ba0000000000e5-1f0000-2" and recorded_id(roomy_id(name)) == name
    assert recorded_id(b"t00ba0000000000e5-1f0001-0") == b"t00ba0000000000e5-1f0001-0", "of an event that is in no recording"
    assert roomy_id(b"another's") == b"another's"


def fill(trade: int, at_ns: int, lots: int) -> LiveFill:
    return LiveFill(trade, at_ns, at_ns, 100, lots, True)


def test_what_both_venues_fill_is_known_when_it_was_live_and_the_rest_when_it_is_here():
    full, done = VenueState(Status.PartiallyFilled, 30), VenueState(Status.Filled, 50)
    both = OrderAgreement([fill(1, 1000, 30), fill(2, 2000, 20)], [full, done])
    assert not both.fill_here(100, 50, True, 900) and not both.state_here(done), "in one piece here, in two live"
    assert both.fill_live(1, 100, 30, True) and both.state_live(full)
    assert both.fill_live(2, 100, 20, True) and both.state_live(done) and not both.is_apart
    early = OrderAgreement([fill(1, 1000 + 2 * NEAR_NS, 30)], [])
    assert early.fill_here(100, 30, True, 1000) and early.is_apart, "the live one is too late to be the same"
    assert not early.fill_live(1, 100, 30, True)
    other = OrderAgreement([fill(1, 1000, 30), fill(2, 2000, 20)], [full, done])
    assert not other.fill_here(100, 40, True, 900) and other.fill_live(1, 100, 30, True)
    assert not other.fill_live(2, 100, 20, True) and other.left_over(100, True) == 10, "what no live fill will tell of"
