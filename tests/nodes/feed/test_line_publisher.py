"""A line publishes in order and without loss, also while its outbox is full; its alerts are in the operator's log as well."""

import asyncio

import pytest

from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import encode
from tickmesh.nodes.feed.publishing import LinePublisher


class Feed(Context):
    """A real one, whose outbox takes nothing while `full`."""

    full = False

    def publish(self, events: list[bytearray]) -> None:
        """Publishes the events, or raises OutboxFull."""
        if self.full:
            raise OutboxFull("the outbox holds all it may")
        super().publish(events)


@pytest.fixture
def ctx(tmp_path) -> Feed:
    (tmp_path / "mesh.toml").touch()
    ctx = Feed(load(tmp_path), "feed-1")
    ctx.counters.update(events=0, outbox_full=0)
    return ctx


def in_outbox(ctx: Context) -> list[dict]:
    """The contents of the alerts in the outbox."""
    return [event.map() for event in LogReader(ctx.config.outbox_dir / ctx.name).events() if event.kind == Kind.alert]


def test_an_alert_is_published_and_logged(ctx, caplog):
    LinePublisher(ctx, lambda: None, lambda: None).raise_alert(
        "warning", "stale_stream", "trade.binance.BTCUSDT", "no event for 60 s", "renewed"
    )
    (line,) = caplog.records
    assert (line.name, line.levelname) == ("feed-1", "WARNING")
    assert line.message == "trade.binance.BTCUSDT: stale_stream: no event for 60 s; renewed"
    assert [alert["what"] for alert in in_outbox(ctx)] == ["stale_stream"]


def test_what_a_full_outbox_does_not_take_is_published_later_in_its_order_and_the_sockets_wait(ctx):
    async def scene():
        calls: list[str] = []
        line = LinePublisher(ctx, lambda: calls.append("pause"), lambda: calls.append("resume"))
        alerts = [encode(Kind.alert, "feed-1", {"what": name}) for name in "abcd"]
        line.publish(alerts[:1])
        ctx.full = True
        line.publish(alerts[1:2])
        line.publish(alerts[2:3])
        assert line.waiting == alerts[1:3] and calls == ["pause"]
        await until(lambda: ctx.counters["outbox_full"] > 1)
        ctx.full = False
        await until(lambda: not line.waiting)
        line.publish(alerts[3:])
        assert [alert["what"] for alert in in_outbox(ctx)] == list("abcd")
        assert calls[-1] == "resume" and set(calls[:-1]) == {"pause"} and ctx.counters["events"] == 4
        await ctx.close()

    asyncio.run(scene())
