"""The judge knows the marks of a mesh that names its troubles: what is there twice, without a book, deaf, or out of time."""

import struct

import numpy as np
import pytest

from tests.support.stored import DAY
from tests.support.verify_log import SECOND, SUBJECT, Log
from tickmesh.bus.layout import HEADER_SIZE
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind, Reason
from tickmesh.tools import verify as command


@pytest.mark.parametrize("archived", [False, True], ids=["log", "archive"])
@pytest.mark.parametrize("pause_ns", [0, DAY], ids=["same day", "next day"])
def test_a_trade_stored_twice_is_found_by_itself(root, archived, pause_ns):
    """Without a capture beside it: the second one is flagged REPAIRED, so its id may be lower than the last."""
    log = Log().trades(1, 2, 3).gap(Kind.trade, 4, 5, Reason.skipped, GapState.open).trades(6, 7)
    log.market.seq_ns += pause_ns
    log.trades(4, 5, flags=Flag.REPAIRED).trades(8)
    log.trades(2, flags=Flag.REPAIRED)
    assert log.faults(archived) == {"trade_twice": 1}


@pytest.mark.parametrize("archived", [False, True], ids=["log", "archive"])
def test_trades_repaired_once_are_no_doubles(root, archived):
    log = Log().trades(1, 2, 3).gap(Kind.trade, 4, 5, Reason.skipped, GapState.open).trades(6, 7)
    assert log.trades(5, 4, flags=Flag.REPAIRED).trades(8).faults(archived) == {}


def test_a_trade_that_stands_for_known_ids_is_a_double(root):
    log = Log().trades(1, 2, 3)
    log.publish(Kind.trade, np.zeros(1, DTYPES[Kind.trade]), first_id=3, last_id=6, flags=Flag.REPAIRED)
    assert log.faults() == {"trade_twice": 1}


def test_ids_that_come_again_are_no_doubles_where_the_log_says_why(root):
    log = Log().trades(100, 101).quotes(500).gap(Kind.trade, 102, 102, Reason.reset).trades(7, flags=Flag.RESET).trades(8)
    log.gap(Kind.quote, 501, 501, Reason.reset).quotes(50, flags=Flag.RESET).quotes(51)
    log.gap(Kind.trade, 9, 11, Reason.skipped, GapState.open).trades(12)  # its line takes that back: 12 comes again
    log.gap(Kind.trade, 9, 10, Reason.contradiction, GapState.open).trades(11, 12, 13).trades(10, 9, flags=Flag.REPAIRED)
    log.quotes(9000).gap(Kind.quote, 52, 54, Reason.contradiction).quotes(55, 56)
    assert log.faults() == {}


def test_ids_that_come_again_without_a_word_are_doubles(root):
    log = Log().trades(100, 101).gap(Kind.trade, 102, 102, Reason.reset).trades(100)
    assert log.faults() == {"id": 1, "trade_twice": 1}


def book(log: Log) -> Log:
    log.depth(1, 4, Flag.UNSYNCED).depth(5, 4, Flag.SNAPSHOT).depth(5, 9)
    return log


MARKS = {
    "rightly marked": (lambda log: book(log), {}),
    "again after a hole": (
        lambda log: book(log).gap(Kind.depth, 10, 12, Reason.no_history).depth(13, 15, Flag.UNSYNCED)
        .depth(16, 15, Flag.SNAPSHOT).depth(16, 17),
        {},
    ),
    "a new era begins with a change": (
        lambda log: book(log).depth(1, 2, Flag.RESET | Flag.UNSYNCED).depth(3, 2, Flag.SNAPSHOT).depth(3, 3), {},
    ),
    "a new era begins with a snapshot": (lambda log: book(log).depth(3, 2, Flag.RESET | Flag.SNAPSHOT).depth(3, 5), {}),
    "marked although there is a book": (lambda log: book(log).depth(10, 12, Flag.UNSYNCED), {"unsynced": 1}),
    "not marked before the first book": (lambda log: book(log.depth(0, 0)), {"unsynced": 1}),
    "not marked after a hole": (
        lambda log: book(log).gap(Kind.depth, 10, 12, Reason.no_history).depth(13, 15), {"unsynced": 1},
    ),
    "not marked after a contradiction": (
        lambda log: book(log).depth(10, 90).gap(Kind.depth, 11, 12, Reason.contradiction).depth(13, 15), {"unsynced": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MARKS)
def test_changes_are_marked_by_whether_there_is_a_book(root, name):
    plant, expected = MARKS[name]
    assert plant(Log()).faults() == expected


def deaf(log: Log) -> Log:
    log.quotes(1, 2).lines(Kind.quote, 2)
    for _ in range(7):
        log.lines(Kind.quote, 40)
    return log


def test_a_stream_that_took_nothing_while_its_lines_brought_events_is_found(root):
    assert deaf(Log()).faults() == {"deaf": 1}


@pytest.mark.parametrize("told", ["alert", "gap", "an event in between"])
def test_a_deaf_stream_that_was_told_of_is_no_fault(root, told):
    log = Log().quotes(1).lines(Kind.quote, 5).lines(Kind.quote, 5)
    for _ in range(3):
        log.lines(Kind.quote, 40)
    if told == "alert":
        log.alert("stream_deaf", f"quote.{SUBJECT}")
    elif told == "gap":
        log.gap(Kind.quote, 2, 9, Reason.contradiction)
    else:
        log.quotes(2)
    for _ in range(4):
        log.lines(Kind.quote, 40)
    assert log.faults() == {}


def test_an_alert_of_another_stream_says_nothing_of_this_one(root):
    log = Log().quotes(1).lines(Kind.quote, 5).lines(Kind.quote, 5).alert("stream_deaf", f"trade.{SUBJECT}")
    for _ in range(7):
        log.lines(Kind.quote, 40)
    assert log.faults() == {"deaf": 1}


def test_a_silent_venue_is_not_deaf(root):
    log = Log().quotes(1).lines(Kind.quote, 1)
    for _ in range(9):
        log.lines(Kind.quote, 0)
    assert log.faults() == {}


def receive(log: Log, recv_s: float, step_ns: int, number: int) -> None:
    log.quotes(number, recv_ns=log.begun_ns + int(recv_s * SECOND), step_ns=step_ns)


@pytest.mark.parametrize(
    "clock_each, step_ns, expected",
    [(1, 1, {"seq_ns_stands": 1}), (1, SECOND, {}), (100, 1, {})],
    ids=["stands still", "goes on", "a backlog is caught up with"],
)
def test_time_that_stands_still_is_found(root, clock_each, step_ns, expected):
    """The sequencer's own pace tells a clock that stands from a backlog, in which old events come at once."""
    log = Log()
    log.begun_ns = log.market.seq_ns
    for second in range(16):
        receive(log, second, step_ns, second + 1)
        if second % clock_each == 0:
            log.clock(step_ns)
    assert log.faults() == expected


def test_time_that_goes_back_is_found(root):
    log = Log().trades(1, 2)
    log.market.seq_ns -= 5 * SECOND
    assert log.trades(3).faults() == {"seq_ns": 1}


def test_what_is_configured_and_was_never_heard_is_named(root):
    (root / "mesh.toml").write_text('[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "FOOUSDT"\n')
    log = Log().trades(1, 2)
    assert log.faults() == {}
    verdict = command.verify([])
    assert verdict["ok"] and verdict["not_heard"] == ["binance.FOOUSDT"]


@pytest.mark.parametrize("body", [b"\xc1\xc1\xc1", b"\x83\xa1", b"\xa1\xff\x01"], ids=["no msgpack", "half a map", "too long"])
def test_a_packed_event_that_cannot_be_unpacked_is_a_finding(root, body):
    log = Log().trades(1)
    log.publish(Kind.alert, {"target": 7}, "sequencer")
    raw = log.events[-1]
    log.events[-1] = struct.pack("<II", HEADER_SIZE + len(body), len(body)) + raw[8:HEADER_SIZE] + body
    assert log.trades(2).faults() == {"msgpack": 1}
