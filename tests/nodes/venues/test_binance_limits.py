"""Order counts: a window that is used up, or a refusal, is waited for to the end of the venue's window."""

import msgspec
import pytest

from tests.support.session_scene import LOCAL, SPOT
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.venues.binance_limits import RateLimit, asked_pause_ms, orders_pause_ms
from tickmesh.nodes.venues.binance_ws_api import read_message

NOW_MS = 1_700_000_003_000  # 3 s into a window of 10 s


def rows(ten_s: int, day: int) -> list[dict]:
    kinds = (
        ("REQUEST_WEIGHT", "MINUTE", 1, 6000, 6000),
        ("ORDERS", "SECOND", 10, 100, ten_s),
        ("ORDERS", "DAY", 1, 200_000, day),
    )
    names = ("rateLimitType", "interval", "intervalNum", "limit", "count")
    return [dict(zip(names, kind)) for kind in kinds]


@pytest.mark.parametrize(
    ("ten_s", "day", "wait_ms"), [(99, 7, 0), (100, 7, 7000), (101, 200_000, 86_400_000 - NOW_MS % 86_400_000)]
)
def test_orders_wait_for_the_next_window_of_a_count_that_is_used_up(ten_s, day, wait_ms):
    """Weight that is used up is not the account's count: it stops no order."""
    limits = [RateLimit(**row) for row in rows(ten_s, day)]
    assert orders_pause_ms(limits, NOW_MS) == wait_ms


def test_no_more_orders_are_under_way_than_the_account_has_left():
    answer = msgspec.json.encode({"id": "1", "status": 200, "result": {}, "rateLimits": rows(98, 7)})
    requests, sent = OrderRequests(SPOT.orders, LOCAL, 1000, 1.0, VenueTime()), []
    requests.trading, requests.rest = True, sent.append
    requests.note_orders_left(read_message(answer, NOW_MS).orders_left)
    for number, places in enumerate((True, False, True)):
        assert requests.may_place
        requests.send(requests.build(SPOT.orders.cancel("BTCUSDT", "a"), f"id-{number}", places=places))
    assert not requests.may_place
    requests.note_orders_left(read_message(b'{"id": "2", "status": 200, "result": {}}', NOW_MS).orders_left)
    assert not requests.may_place, "it does not say"
    requests.take_answered(sent[0].number)
    assert requests.may_place


def test_a_refusal_without_a_time_waits_for_the_window_s_end():
    assert asked_pause_ms(-1015, NOW_MS + 2500, NOW_MS) == 2500
    assert asked_pause_ms(-1015, 0, NOW_MS) == 7000
    assert asked_pause_ms(-1003, 0, NOW_MS) == 1000


def test_an_answer_s_counts_are_read_and_a_shorter_wait_ends_no_longer_one():
    answer = {"id": "1", "status": 200, "result": {}, "rateLimits": rows(100, 7)}
    requests = OrderRequests(SPOT.orders, LOCAL, 1000, 1.0, VenueTime())
    requests.trading = True
    assert read_message(msgspec.json.encode({**answer, "rateLimits": rows(99, 7)}), NOW_MS).orders_pause_ms == 0
    assert requests.may_place
    requests.pause_orders(read_message(msgspec.json.encode(answer), NOW_MS).orders_pause_ms / 1000)
    assert not requests.may_place
    until = requests._paused_until
    requests.pause_orders(0.0)
    assert requests._paused_until == until and not requests.may_place
