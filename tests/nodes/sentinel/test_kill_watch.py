"""The kill switch as a sentinel sees it: when its file becomes a command, and when orders are cancelled without the session."""

from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.sentinel.kill_watch import AGAIN_NS, BEHIND_NS, CANCEL_AGAIN_NS, CANCEL_AGAIN_NS_MAX, SECOND, KillWatch

T = 10**18
PATIENCE = 2 * SECOND


def health(on: bool, open_orders: int = 0) -> dict:
    return {"kill_switch": {"on": on}, "open_orders": open_orders}


def heard(watch: KillWatch, content: dict, at: int) -> None:
    watch.read_health(content, at)
    watch.read_time(at)


def test_the_file_becomes_a_command_while_the_log_has_no_switch_that_is_on():
    watch = KillWatch(PATIENCE)
    assert not watch.publishes(True, T), "nobody knows yet whether it is on"
    heard(watch, health(False), T)
    assert not watch.publishes(False, T)
    assert watch.publishes(True, T + 1) and not watch.publishes(True, T + 4), "once"
    heard(watch, health(False), T + 1 + AGAIN_NS)
    assert watch.publishes(True, T + 2 + AGAIN_NS), "again when the executor still does not know"
    watch.read_command(True, T + 2 * AGAIN_NS)
    assert not watch.publishes(True, T + 9 * AGAIN_NS)
    watch.read_command(False, T + 10 * AGAIN_NS)
    watch.read_time(T + 10 * AGAIN_NS)
    assert watch.publishes(True, T + 10 * AGAIN_NS), "lifted by a command, with the file still there"


def test_into_a_log_that_stands_still_it_is_published_once():
    watch = KillWatch(PATIENCE)
    heard(watch, health(False), T)
    published = [watch.publishes(True, T + i * SECOND) for i in range(60)]
    assert published.count(True) == 1


def test_without_an_executor_it_is_published_when_the_patience_is_over():
    watch = KillWatch(PATIENCE)
    watch.read_health({"positions": {}}, T)  # of another version: it says nothing
    assert [watch.publishes(True, T + i * SECOND) for i in range(4)] == [False, False, True, False]


def test_orders_are_cancelled_when_nobody_says_in_time_that_none_is_open():
    watch = KillWatch(PATIENCE)
    assert not watch.cancels(False, T)
    watch.read_command(True, T)
    assert not watch.cancels(False, T) and not watch.cancels(False, T + PATIENCE - 1)
    heard(watch, health(True, 3), T + SECOND)
    assert watch.cancels(False, T + PATIENCE) and not watch.cancels(False, T + PATIENCE + 1)
    heard(watch, health(True, 0), T + 3 * SECOND)
    assert not watch.cancels(False, T + 99 * SECOND), "the executor says that it is done"
    heard(watch, health(True, 1), T + 100 * SECOND)
    assert watch.cancels(False, T + 101 * SECOND), "an order came to light"


def test_what_the_executor_said_before_the_command_proves_nothing():
    watch = KillWatch(PATIENCE)
    heard(watch, health(True, 0), T)
    watch.read_command(True, T + 1)
    heard(watch, health(True, 0), T)
    watch.cancels(False, T + 1)
    assert watch.cancels(False, T + 1 + PATIENCE)
    heard(watch, health(False, 5), T + 2)  # published before it had read the command
    assert watch.since_ns and watch.cancels(False, T + 1 + PATIENCE + CANCEL_AGAIN_NS)
    heard(watch, health(False, 5), T + 1 + BEHIND_NS)
    assert not watch.cancels(False, T + 99 * SECOND) and not watch.since_ns, "it was lifted"


@given(st.lists(st.integers(SECOND // 10, 3 * SECOND), min_size=1, max_size=300))
def test_cancels_are_at_a_bounded_rate_and_never_end_while_it_is_needed(pauses):
    watch, now, done = KillWatch(PATIENCE), T, []
    watch.cancels(True, now)
    for pause in pauses:
        now += pause
        if watch.cancels(True, now):
            done.append(now)
    gaps = [later - before for before, later in zip(done, done[1:])]
    assert all(gap >= min(CANCEL_AGAIN_NS * 2**i, CANCEL_AGAIN_NS_MAX) for i, gap in enumerate(gaps))
    assert now < T + PATIENCE or now - max(done, default=0) <= CANCEL_AGAIN_NS_MAX + 3 * SECOND
