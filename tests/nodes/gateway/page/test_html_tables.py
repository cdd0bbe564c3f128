"""The page's tables and bars: what comes from outside stays text, holes can be seen, buckets are counted once."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.gateway.page import html_tables as tables
from tickmesh.nodes.gateway.page.market_memory import ORDERS_KEPT, SECONDS_KEPT, MarketMemory

ODD = "<img src=x onerror=alert(1)>\"'&"
KNOWN = {"p", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "svg", "rect", "title"}


class Tags(HTMLParser):
    """The tags and attributes of a text."""

    def __init__(self, text: str):
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@given(st.text(max_size=60) | st.just(ODD))
def test_what_comes_from_outside_stays_text(word):
    order = {
        "begun_ns": 0, "status": word, "side": word, "order_type": word, "price": word, "filled_quantity": word,
        "quantity": word, "client_order_id": word,
    }  # fmt: skip
    alert = {name: word for name in ("what", "target", "level", "why", "action")} | {"goes_on": True, "age_s": 1.0, "times": 1}
    process = {
        "name": word,
        "state": word,
        "pid": 1,
        "uptime_s": 1,
        "heartbeat_age_s": 1,
        "lag": 0,
        "restarts": 0,
        "stale": False,
    }
    gap = {"seq_ns": 0, "stream": word, "state": word, "first_id": 1, "last_id": 2, "reason": word}
    interval = {
        "kind": word,
        "state": "missing",
        "begin": "1970-01-01T00:00:01Z",
        "end": "1970-01-01T00:00:01Z",
        **{"reason": word},
    }
    texts = (
        tables.orders_table([order]), tables.alerts_table([alert]), tables.processes_table([process], word),
        tables.gaps_table([gap]), tables.ladder({}, word or "x"),
        tables.coverage_bars([{**interval, "first_id": 1, "last_id": 2}], 0.0, 10.0),
        tables.latency_table([{"hop": word, "count": 1, "p50_ns": 1, "p99_ns": 1, "max_ns": 1, "buckets": [[10, 1]]}]),
    )  # fmt: skip
    for text in texts:
        tags = Tags(text)
        assert tags.seen <= KNOWN, text
        assert not {name for name in tags.attributes if name.startswith("on")}, text


def test_a_hole_of_a_millisecond_can_be_seen_and_lies_above_what_is_complete():
    whole = {"kind": "trade", "state": "complete", "first_id": 1, "last_id": 9, "reason": "none"}
    times = {"begin": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:15:00Z"}
    hole = {**whole, "state": "missing", "begin": "1970-01-01T00:05:00.001Z", "end": "1970-01-01T00:05:00.002Z"}
    text = tables.coverage_bars([hole, {**whole, **times}], 0.0, 900.0)
    found = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="0" width="([\d.]+)"', text)
    assert [one[0] for one in found] == ["complete", "missing"]
    assert float(found[1][1]) == 333.3 and float(found[1][2]) == tables.SEGMENT_MIN
    assert "trade: 1 complete, 1 missing" in text


def test_buckets_are_counted_once():
    """They come as how many took less than each edge."""
    hop = {"hop": "a", "count": 5, "p50_ns": 1, "p99_ns": 1, "max_ns": 1, "buckets": [[1000, 2], [2000, 5], [4000, 5]]}
    assert re.findall(r"<title>(\d+) below ([^<]+)</title>", tables.latency_table([hop])) == [("2", "1 µs"), ("3", "2 µs")]


def test_the_memory_of_a_market_is_bounded_and_keeps_what_is_newest():
    memory = MarketMemory("binance.BTCUSDT")
    for second in range(1000):
        memory.take_prices(second, 1.0, 2.0, 1.5)
        memory.take_prices(second, 1.1, 2.1, 1.6)
        for status in ("New", "Filled"):
            record = {"client_order_id": f"t{second}", "status": status}
            memory.take({"kind": "update", "seq": second, "seq_ns": second, "records": [record]})
    assert len(memory.seconds) == SECONDS_KEPT and memory.seconds[-1] == [999, 1.1, 2.1, 1.6]
    assert list(memory.orders)[-1] == "t999" and len(memory.orders) == ORDERS_KEPT
    assert {one["status"] for one in memory.orders.values()} == {"Filled"}


def test_prices_of_a_time_when_nobody_looked_are_taken_from_bars():
    memory = MarketMemory("binance.BTCUSDT")
    assert memory.is_behind(100)
    memory.take_prices(100, 1.0, 2.0, 1.5)
    assert not memory.is_behind(103) and memory.is_behind(200)
    bar = {"bid_price": "7", "ask_price": "8", "close": None}
    memory.begin([{**bar, "begin_ns": second * 10**9} for second in (198, 199)])
    memory.take_prices(200, 1.0, 2.0, 1.5)
    assert list(memory.seconds) == [[198, 7.0, 8.0, None], [199, 7.0, 8.0, None], [200, 1.0, 2.0, 1.5]]
