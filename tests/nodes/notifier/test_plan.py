"""Who is told of which trouble and when: once, again, at its end; not in quiet hours, and never more than per_hour."""

from datetime import datetime

import pytest

from tests.support.told_alerts import SECOND, told
from tickmesh.bus.settings_alerts import NotifySettings
from tickmesh.nodes.alerts.episodes import episodes
from tickmesh.nodes.notifier.plan import ReceiverPlan, ReceiverState, is_quiet, pack, unpack

NOON = datetime(2026, 11, 30, 12)
NIGHT = datetime(2026, 11, 30, 23, 30)
SPREAD = ("warning", "spread", "binance.BTCUSDT")
OVER = ("info", "spread", "binance.BTCUSDT")
GAP = ("critical", "gap_unrepaired", "backfill")


class Receiver:
    """A receiver to whom everything is delivered, unless a test says otherwise; alerts come one a second."""

    def __init__(self, **settings):
        self.plan = ReceiverPlan(
            NotifySettings(name="phone", to="webhook", url="http://x", **settings), "mine", ReceiverState()
        )

    def given(self, *alerts, at_s=0.0, local=NOON, arrives=True):
        """(phase, what) of what it is told after these alerts."""
        now_ns = int(at_s * SECOND) or len(alerts) * SECOND
        out = []
        for key, message in self.plan.due(episodes(told(*alerts), {}), now_ns, local):
            out.append((message.phase, message.what))
            self.message = message
            if arrives:
                self.plan.sent(key, message, now_ns)
        return out


def test_a_trouble_is_told_once_and_its_end_once():
    it = Receiver()
    assert it.given(SPREAD) == [("begins", "spread")]
    assert it.message.text.startswith("mine: binance.BTCUSDT: spread (warning). Reason 1. Nothing was done. Said 0 s ago.")
    assert it.given(SPREAD, SPREAD) == [] and it.given(SPREAD, SPREAD, OVER) == [("is over", "spread")]
    assert it.message.at == "1970-01-01T00:00:03Z" and it.message.text.startswith("mine: Over: binance.BTCUSDT")
    assert it.given(SPREAD, SPREAD, OVER) == []
    assert it.given(SPREAD, SPREAD, OVER, SPREAD) == [("begins", "spread")], "another one"
    assert it.given(SPREAD, SPREAD, OVER, SPREAD) == [], "the end of the one before is not its end"
    assert it.given(SPREAD, SPREAD, OVER, SPREAD, OVER) == [("is over", "spread")]
    assert it.given(SPREAD, SPREAD, OVER, SPREAD, OVER) == []


def test_without_recoveries_ends_are_no_news_and_the_next_trouble_is():
    it = Receiver(recoveries=False)
    assert it.given(SPREAD) == [("begins", "spread")] and it.given(SPREAD, OVER) == []
    assert it.given(SPREAD, OVER, SPREAD) == [("begins", "spread")]


def test_what_goes_on_is_told_again_after_repeat_s():
    it = Receiver(repeat_s=60.0)
    assert it.given(SPREAD) and it.given(SPREAD, at_s=60) == []
    assert it.given(SPREAD, at_s=61) == [("goes on", "spread")] and it.given(SPREAD, at_s=120) == []


def test_level_and_patterns_choose():
    assert Receiver(level="critical").given(SPREAD, GAP) == [("begins", "gap_unrepaired")]
    assert Receiver(of=("spread.binance.*",)).given(SPREAD, GAP) == [("begins", "spread")]


def test_quiet_hours_hold_what_is_not_critical():
    it = Receiver(quiet="22:00-07:00")
    assert it.given(SPREAD, GAP, local=NIGHT) == [("begins", "gap_unrepaired")]
    assert it.given(SPREAD, GAP) == [("begins", "spread")], "it still goes on in the morning"
    late = Receiver(quiet="22:00-07:00")
    assert late.given(SPREAD, local=NIGHT) == [] and late.given(SPREAD, OVER, local=NIGHT) == []
    assert late.given(SPREAD, OVER, GAP) == [("begins", "gap_unrepaired")]
    assert "1 more were over before this receiver could be told" in late.message.text and late.message.left_out == 1
    assert late.given(SPREAD, OVER, GAP, SPREAD) == [("begins", "spread")] and late.message.left_out == 0


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [("22:00-07:00", (22, 23, 0, 6), (7, 12, 21)), ("09:00-17:00", (9, 16), (8, 17)), ("", (), (0, 12, 23))],
)
def test_hours_may_go_over_midnight(hours, quiet, loud):
    assert all(is_quiet(hours, datetime(2026, 1, 1, hour).time()) for hour in quiet)
    assert not any(is_quiet(hours, datetime(2026, 1, 1, hour).time()) for hour in loud)


def test_no_more_than_per_hour_and_the_rest_when_there_is_room():
    it = Receiver(per_hour=2)
    many = [("warning", "spread", f"binance.{name}") for name in "abcd"]
    assert len(it.given(*many)) == 2 and it.given(*many, at_s=3000) == []
    still = [*many, *many]
    assert len(it.given(*still, at_s=3605)) == 2 and it.given(*still, at_s=3606) == []


def test_what_came_and_went_while_it_could_not_be_reached_is_told_at_last():
    it = Receiver()
    assert it.given(SPREAD, arrives=False) == [("begins", "spread")]
    assert it.given(SPREAD, OVER) == [("is over", "spread")] and it.given(SPREAD, OVER) == []


def test_what_merely_happens_is_told_each_time_and_what_was_over_before_never():
    step = ("warning", "clock_step", "sequencer")
    it = Receiver()
    assert it.given(step) == [("begins", "clock_step")] and it.given(step) == []
    assert it.given(step, step) == [("begins", "clock_step")] and it.given(step, step) == []
    fresh = Receiver()
    fresh.plan.state.since_ns = 10 * SECOND
    assert fresh.given(step, SPREAD, OVER, GAP) == [("begins", "gap_unrepaired")]


def test_another_life_goes_on_where_this_one_was():
    it = Receiver()
    it.given(SPREAD, GAP)
    other = Receiver()
    other.plan.state = unpack(pack([it.plan]))["phone"]
    assert other.given(SPREAD, GAP) == [] and other.given(SPREAD, GAP, OVER) == [("is over", "spread")]
    lately = told(SPREAD, GAP, SPREAD, SPREAD)[3:]  # its first alert is out of sight
    assert other.plan.due(episodes(lately, {}), 4 * SECOND, NOON)[0][1].phase == "begins", "that one was over"
    third = Receiver()
    third.plan.state = unpack(pack([it.plan]))["phone"]
    assert third.plan.due(episodes(lately, {}), 4 * SECOND, NOON) == []
    with pytest.raises(ValueError, match="what receivers were told cannot be read"):
        unpack(b"{")


def test_what_is_out_of_sight_is_held_no_more_and_what_does_not_count_leaves_room():
    it = Receiver(quiet="22:00-07:00", per_hour=1)
    assert it.given(SPREAD, local=NIGHT) == [] and it.plan.state.held
    assert it.plan.due([], SECOND, NIGHT) == [] and not it.plan.state.held
    (one,) = it.plan.due(episodes(told(GAP), {}), SECOND, NOON)
    it.plan.sent(*one, SECOND, counts=False)
    assert it.given(GAP, SPREAD) == [("begins", "spread")] and it.given(GAP, SPREAD, ("warning", "spread", "b")) == []
