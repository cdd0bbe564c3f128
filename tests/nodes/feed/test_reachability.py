"""When a venue that is not reached is named: once a series, then once an hour; a break is no news."""

from tickmesh.nodes.feed.reachability import AGAIN_S, GRACE_S, REST, STREAM, Reachability

NO_NAME = "its name cannot be resolved (…)"


def test_a_series_is_named_once_with_every_server_and_its_end_once():
    reach = Reachability("binance")
    news, now_s = [], 100.0
    for number in range(2000):  # as a line tries: after 0.1 s, then 0.2 … 10 s, in turn at three servers
        server = ("a", "b", "c")[number % 3]
        why = f"{server}: {'refused' if server == 'c' else NO_NAME}"
        begun_s, now_s = now_s, now_s + min(0.1 * 2 ** min(number, 10), 10.0)
        if (found := reach.failed(STREAM, why, begun_s, now_s)) is not None:
            news.append((now_s, found))
    assert [found.what for _, found in news] == ["unreachable"] * len(news)
    assert round(news[0][0], 6) == 103.1
    assert news[0][1].why == f"no market data for 3 s: a, b: {NO_NAME}; c: refused"
    assert len(news) == 1 + int((now_s - 100) // AGAIN_S), "of 2000 failures"
    (back, nothing) = reach.reached(STREAM, now_s + 1), reach.reached(STREAM, now_s + 2)
    assert back is not None and (back.level, back.what) == ("info", "reachable") and nothing is None


def test_a_break_is_no_news():
    reach = Reachability("binance")
    for at_s in range(0, 1000, 10):
        assert reach.failed(STREAM, "the server closed: 1001", at_s, at_s) is None
        assert reach.failed(STREAM, "a: refused", at_s, at_s + GRACE_S - 0.1) is None
        assert reach.reached(STREAM, at_s + GRACE_S) is None


def test_rest_alone_is_named_and_with_the_stream_it_is_not():
    reach = Reachability("okx")
    assert reach.failed(REST, "r: refused", 0.0, GRACE_S) is not None
    reach = Reachability("okx")
    assert reach.failed(STREAM, "s: refused", 0.0, 1.0) is None
    assert reach.failed(REST, "r: refused", 0.0, 60.0) is None
    assert reach.reached(STREAM, 61.0) is None
    found = reach.failed(REST, "r: refused", 62.0, 62.0)
    assert found is not None and found.why == "no answer over REST for 62 s: r: refused"


def test_an_attempt_that_takes_long_counts_from_its_beginning():
    assert Reachability("kraken").failed(STREAM, "s: it does not answer in time", 0.0, 10.0) is not None
