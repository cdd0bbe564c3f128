"""A sequencer goes on behind a log of schema version 1: with its state, and with what outboxes of then still hold."""

import numpy as np

from tests.support.schema_v1 import log_as_version_1
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import SCHEMA_VERSION, TRADE, Kind
from tickmesh.bus.segments import read_preamble, segments
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.sequencer.node import Sequencer

SUBJECT = "binance.BTCUSDT"


def trades(*ids: int) -> list[bytearray]:
    record = np.zeros(1, TRADE)
    record["price_ticks"] = 7
    return [encode(Kind.trade, SUBJECT, record, first_id=i, last_id=i) for i in ids]


def publish(config: Config, line: str, *ids: int) -> Producer:
    producer = Producer(config, line)
    producer.publish(trades(*ids))
    producer.close()
    return producer


def sequence(config: Config) -> None:
    """Takes what is in the outboxes, as a process does between its start and its end."""
    sequencer = Sequencer(config)
    sequencer.take_outboxes()
    sequencer.tick()
    sequencer.close()


def test_nothing_is_lost_or_taken_twice_where_the_version_changes(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path)
    publish(config, "feed-1", *range(1, 31))
    publish(config, "feed-2", *range(1, 21))
    sequence(config)
    for line in ("feed-1", "feed-2"):
        publish(config, line, *range(31, 36))  # in no log yet
    for folder in (config.log_dir, config.outbox_dir / "feed-1", config.outbox_dir / "feed-2"):
        assert log_as_version_1(folder)
    sequence(config)
    publish(config, "feed-2", *range(21, 31), *range(36, 41))  # copies of what the older log has, and news
    sequence(config)

    events = list(LogReader(config.log_dir).events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    taken = [event for event in events if event.kind == Kind.trade]
    assert [event.last_id for event in taken] == list(range(1, 41))
    assert {event.producer for event in taken} == {"feed-1", "feed-2"}
    links = {}
    for event in events:
        assert event.link == links.get(event.topic, 0)
        links[event.topic] = event.seq
    heads = [read_preamble(path) for _, path in segments(config.log_dir)]
    assert [head.schema_version for head in heads[:2]] == [1, SCHEMA_VERSION]
    assert heads[-1].state, "the segment that was begun at once has got the state of what is before it"
