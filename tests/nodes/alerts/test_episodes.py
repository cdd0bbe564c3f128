"""Alerts as `mesh status` lists them: each trouble once, with how often it was told of and when it was over."""

import pytest

from tests.support.told_alerts import SECOND, told
from tests.support.watched_world import World
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.alerts.episodes import HAPPENED, RULES, episodes, sentence
from tickmesh.nodes.sentinel.judge import Diagnosis, Process


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("disk", "disk"),
        ("unreachable", "reachable"),
        ("halted_instrument", "instrument_back"),
        ("clock_slew", "clock_slew_end"),
    ],
)
def test_a_trouble_is_listed_once_and_clears_with_the_time(what, end):
    [one] = episodes(told(("warning", what, "X"), ("critical", what, "X")), {})
    assert (one.times, one.content["why"], one.goes_on(10 * SECOND)) == (2, "reason 2", True)
    words = sentence(one.as_json(10 * SECOND))
    assert (
        words == f"X: {what.replace('_', ' ')} (critical). Reason 2. Nothing was done. Said 2 times, last 8 s ago. It goes on."
    )
    first, second = episodes(told(("warning", what, "X"), ("info", end, "X"), ("warning", what, "Y")), {})
    assert (first.cleared_ns, second.target, second.cleared_ns) == (2 * SECOND, "Y", 0)
    assert "Over since 1970-01-01 00:00:02 UTC." in sentence(first.as_json(10 * SECOND))
    again = episodes(told(("warning", what, "X"), ("info", end, "X"), ("warning", what, "X")), {})
    assert [one.goes_on(4 * SECOND) for one in again] == [False, True]


def test_a_verdict_on_a_process_is_over_when_it_works_again():
    verdict = ("warning", "heartbeat missing", "executor", {"at_ns": SECOND // 2, "pid": 7})
    [one] = episodes(told(verdict), {"executor": SECOND // 4})
    assert one.goes_on(2 * SECOND), "the life that was ready before is the one that is wrong"
    [one] = episodes(told(verdict), {"executor": 3 * SECOND // 4})
    assert one.cleared_ns == 3 * SECOND // 4


@pytest.mark.parametrize("what", ["log still", "heartbeat missing"])
def test_a_trouble_of_the_sequencer_is_not_over_while_nothing_comes_into_the_log(what):
    """Its next life logged for a second, and the log stands still again."""
    reports = [*told(("critical", what, "sequencer", {"at_ns": SECOND})), life("sequencer", 3, 4)]
    ready = {"sequencer": 4 * SECOND}
    [one] = episodes(reports, ready, still_since_ns=5 * SECOND)
    assert one.goes_on(80 * SECOND) and sentence(one.as_json(80 * SECOND)).endswith("It goes on.")
    [one] = episodes(reports, {**ready, "sequencer": 0}, still_since_ns=5 * SECOND)
    assert one.goes_on(80 * SECOND), "nor while the next one starts"
    [one] = episodes(reports, ready)
    assert one.cleared_ns == 4 * SECOND
    [one] = episodes(reports, ready, still_since_ns=500 * SECOND)
    assert one.cleared_ns == 4 * SECOND, "that one was over, whatever came later"
    other = told(("critical", what, "recorder", {"at_ns": SECOND}))
    [one] = episodes([*other, life("recorder", 3, 4)], {}, still_since_ns=5 * SECOND)
    assert one.cleared_ns == 4 * SECOND, "another process's"


def event(kind: Kind, subject: str, content: dict, second: int):
    raw = encode(kind, subject, content)
    stamp_sent(raw, b"x".ljust(32, b"\0"), 1, second, second * SECOND)
    stamp_sequenced(raw, second, 0, second * SECOND)
    return decode(raw)


def life(name: str, begun: int, ready: int):
    """The `run` event of a life that began, and was ready, at these seconds."""
    return event(Kind.run, name, {"node": name, "pid": begun, "begun_ns": begun * SECOND}, ready)


def test_what_an_earlier_life_told_of_is_over_when_all_that_told_of_it_work_again():
    gone = {"level": "warning", "what": "unreachable", "target": "binance", "why": "refused", "action": "tried again"}
    one, two = (event(Kind.alert, f"feed-binance-{number}", gone, 4 + number) for number in (1, 2))
    [trouble] = episodes([one, life("feed-binance-1", 3, 7)], {})
    assert trouble.goes_on(8 * SECOND), "the life that told of it, ready only now, is no later one"
    [trouble] = episodes([one, two, life("feed-binance-1", 7, 8)], {})
    assert trouble.goes_on(9 * SECOND), "the other line has not begun anew"
    [trouble] = episodes([one, two, life("feed-binance-1", 7, 8), life("feed-binance-2", 7, 9)], {})
    assert trouble.cleared_ns == 9 * SECOND
    again = event(Kind.alert, "feed-binance-1", gone, 12)
    before, now = episodes([one, life("feed-binance-1", 7, 8), again], {})
    assert (before.cleared_ns, now.times, now.first_ns) == (8 * SECOND, 1, 12 * SECOND) and now.goes_on(13 * SECOND)


def test_the_kill_switch_is_over_when_it_is_lifted_whoever_began_anew():
    targets = {"latched": "kill switch", "emergency cancel": "session"}
    said = [
        event(Kind.alert, "sentinel-1", {"level": "critical", "what": what, "target": target, "why": "w"}, second)
        for second, (what, target) in enumerate(targets.items(), 1)
    ]
    command = {"command": "kill_switch", "by": "operator", "why": ""}
    on = event(Kind.command, "sentinel-1", {**command, "on": True}, 3)
    lives = [life("sentinel-1", 4, 5), life("session", 4, 5)]
    assert all(one.goes_on(6 * SECOND) for one in episodes([*said, on, *lives], {"session": 5 * SECOND}, ["session"]))
    off = event(Kind.command, "operator", {**command, "on": False}, 7)
    assert [one.cleared_ns for one in episodes([*said, on, *lives, off], {})] == [7 * SECOND] * 2


def test_a_verdict_on_what_mesh_toml_has_no_more_and_a_wait_that_is_over_are_moot():
    alerts = told(
        ("warning", "heartbeat missing", "model-x", {"at_ns": 1, "action": "restart"}),
        ("critical", "supervisord silent", "supervisord", {}),
        ("warning", "told_to_wait", "a:1 (REST)"),
    )
    model, silent, wait = episodes(alerts, {}, ["feed-1"], [])
    assert not model.goes_on(4 * SECOND) and silent.goes_on(4 * SECOND) and not wait.goes_on(4 * SECOND)
    assert sentence(model.as_json(4 * SECOND)).endswith("Over: mesh.toml has no model-x any more.")
    assert all(one.goes_on(4 * SECOND) for one in episodes(alerts, {}, ["model-x", "supervisord"], ["a:1 (REST)"]))
    again = [*alerts, life("feed-binance-1", 4, 5)]
    assert episodes(again, {}, None, ["a:1 (REST)"])[2].goes_on(6 * SECOND), "a wait is obeyed over restarts"


def began(*seconds: int) -> list:
    """`run` events of model-spread, sent at these seconds."""
    out = []
    for number, second in enumerate(seconds, 1):
        raw = encode(Kind.run, "model-spread", {"node": "model-spread", "pid": number})
        stamp_sent(raw, b"x".ljust(32, b"\0"), 1, 100 + number, second * SECOND)
        stamp_sequenced(raw, 100 + number, 0, second * SECOND)
        out.append(decode(raw))
    return out


def gave_up(subject: str, what: str) -> list:
    """The alert by which a process says of itself that it stays stopped, sent at second 1."""
    content = {"level": "critical", "what": what, "target": "model-spread", "why": "no such kernel", "action": "mend it"}
    raw = encode(Kind.alert, subject, content)
    stamp_sent(raw, b"x".ljust(32, b"\0"), 1, 1, SECOND)
    stamp_sequenced(raw, 1, 0, SECOND)
    return [decode(raw)]


@pytest.mark.parametrize("what", ["stopped", "model stopped", "hosted step stopped"])
def test_what_a_process_gave_up_for_is_over_when_it_works_again(what):
    alerts = gave_up("model-spread", what)
    assert episodes(alerts, {})[0].goes_on(60 * SECOND) and episodes(alerts, {"model-spread": 0})[0].goes_on(60 * SECOND)
    [one] = episodes(alerts, {"model-spread": 9 * SECOND})
    assert one.cleared_ns == 9 * SECOND and not one.goes_on(10 * SECOND)
    [one] = episodes([*alerts, *began(9, 20)], {"model-spread": 20 * SECOND})
    assert one.cleared_ns == 9 * SECOND, "however soon it is killed"
    assert episodes(gave_up("executor", what), {"model-spread": 9 * SECOND})[0].goes_on(10 * SECOND), "another one said it"


def test_over_since_stays_what_it_was_when_the_process_is_killed_much_later():
    loop = told(("critical", "crash loop", "model-spread", {}))
    lives = began(2, 7, 600)  # the first still of the loop, the second lasted ten minutes
    [one] = episodes([*loop, *lives], {"model-spread": 600 * SECOND})
    assert one.cleared_ns == 7 * SECOND
    [one] = episodes([*loop, *lives], {"model-spread": 0})
    assert one.cleared_ns == 7 * SECOND, "nor does it go on while the next life starts"
    [one] = episodes([*loop, *began(2, 7)], {"model-spread": 0})
    assert not one.cleared_ns, "it dies and dies"


def test_what_only_happened_is_over_and_what_nobody_repeats_ends_in_an_hour():
    step, exponents = episodes(told(("warning", "clock_step", "sequencer"), ("critical", "exponents", "X")), {})
    assert not step.goes_on(3 * SECOND) and exponents.goes_on(3 * SECOND) and not exponents.goes_on(4000 * SECOND)


def test_a_sentinel_tells_that_a_verdict_without_a_restart_is_over():
    world = World()
    overloaded = Diagnosis("executor", "overloaded", "too much", curable=False)
    process = [Process("executor", 7, 0)]
    [decision] = world.restarts.decide([overloaded], process, frozenset(), 100 * SECOND)
    assert not decision.restart and world.restarts.cleared() == []
    world.restarts.decide([], process, frozenset(), 130 * SECOND)
    assert world.restarts.cleared() == [], "it may come back"
    world.restarts.decide([], process, frozenset(), 161 * SECOND)
    [alert] = world.restarts.cleared()
    assert (alert["level"], alert["what"], alert["target"]) == ("info", "overloaded", "executor")
    assert world.restarts.cleared() == []


@pytest.mark.parametrize(
    ("why", "action", "words"),
    [
        ("no health event", "restart", "No health event. It was restarted."),
        ("it holds 9 MiB.", "none: the budget is spent", "It holds 9 MiB. Nothing was done: the budget is spent."),
        ("feed-1 is late", "renewed; again", "feed-1 is late. Renewed; again."),
    ],
)
def test_an_alert_reads_as_sentences(why, action, words):
    [one] = episodes(told(("warning", "odd", "X", {"why": why, "action": action})), {})
    assert sentence(one.as_json(2 * SECOND)).startswith(f"X: odd (warning). {words} Said 1 s ago.")


def test_what_breaks_a_rule_is_over_when_a_sentinel_says_so_and_not_by_its_next_life():
    raised = told(("warning", "spread", "binance.BTCUSDT", {"pid": 3, "at_ns": SECOND}))
    assert raised[0].subject == "sentinel-1"
    (one,) = episodes([*raised, life("sentinel-1", 4, 5)], {"sentinel-1": 5 * SECOND}, {"sentinel-1"})
    assert one.goes_on(6 * SECOND)
    assert not RULES & HAPPENED, "what breaks a rule goes on"
