"""An alert of a line is published, and the operator reads it in the log."""

from types import SimpleNamespace
from typing import Any, cast

from tickmesh.bus.wire import decode
from tickmesh.nodes.feed import publishing


def test_an_alert_is_published_and_logged(monkeypatch):
    published: list[bytearray] = []
    logged: list[tuple[str, Any]] = []
    monkeypatch.setattr(publishing, "log_alert", lambda node, alert: logged.append((node, alert)))
    ctx = cast(Any, SimpleNamespace(name="feed-1", publish=published.extend, counters={"events": 0}))
    line = publishing.LinePublisher(ctx, lambda: None, lambda: None)
    line.raise_alert("warning", "stale_stream", "trade.binance.BTCUSDT", "no event for 60 s", "renewed")
    content = decode(published[0]).map()
    assert logged == [("feed-1", content)] and content["what"] == "stale_stream"
