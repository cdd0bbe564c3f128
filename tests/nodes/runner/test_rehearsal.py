"""Rehearsals go the whole way of an order, and nothing of the mesh is another one for it."""

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.mesh_run import until
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config, load
from tickmesh.bus.schema import INTENT, QUOTE, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.__main__ import build_rehearsal, step_module
from tickmesh.nodes.runner import rehearsal as rehearsal_module
from tickmesh.nodes.runner.hosting import Guest, Host, HostedContext, HostedProducer
from tickmesh.nodes.runner.rehearsal import Rehearsal, rehearse
from tickmesh.nodes.runner.step import StepRunner
from tickmesh.nodes.sequencer.node import Sequencer, SequencerContext
from tickmesh.nodes.sequencer.open_log import SequencerLog
from tickmesh.nodes.session.paper_sender import PaperSender

SUBJECT = "binance.BTCUSDT"
NAMED = [("model", "imbalance"), ("executor", ""), ("session", "")]
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "mesh.toml").write_text("default_models = false\n[[models]]\nname = 'imbalance'\nkernel = 'book_imbalance'\n")
    config = load(tmp_path)
    config.source_dir.mkdir(parents=True)
    decided = {SUBJECT: {"price_exponent": -8, "quantity_exponent": -8}}
    (config.source_dir / "instruments.json").write_bytes(msgspec.json.encode(decided))
    return config


def quote(update_id: int = 1) -> bytearray:
    row = np.array([(update_id, 6_000_000_000_000, 500_000_000, 6_000_001_000_000, 100_000_000, 0)], QUOTE)
    return encode(Kind.quote, SUBJECT, row, first_id=update_id, last_id=update_id)


def sent_by(rehearsal: Rehearsal) -> dict[str, int]:
    (sender,) = rehearsal._senders
    assert isinstance(sender, PaperSender)
    return sender.count


def test_each_goes_from_a_quote_to_a_signed_order_whatever_time_has_gone_by(config):
    rehearsal = build_rehearsal(config, NAMED)
    rehearsal.run(1)
    assert rehearsal.orders == 0, "of an instrument without a quote nothing can be made up"
    rehearsal.note([Event(quote())])
    messages = []
    (sender,) = rehearsal._senders
    take = sender._requests.take_answered
    sender._requests.take_answered = lambda number: messages.append(take(number).message)
    for at in range(20):
        rehearsal.run(now_ns() + at * HOUR_NS * (at > 10))
    assert rehearsal.orders == 20 and sent_by(rehearsal)["orders_sent"] == 20
    assert sent_by(rehearsal)["refused_intents"] == 0
    placed = [msgspec.json.decode(message) for message in messages]
    assert {one["method"] for one in placed} == {"order.place"} and all(one["params"]["signature"] for one in placed)
    assert {one["params"]["side"] for one in placed} == {"BUY", "SELL"}, "one order closes what the one before has opened"
    counters = rehearsal._executor.counters()
    assert counters["open_orders"] == 0 and counters["profit"] == 0 and not counters["refused"]


def test_what_it_remembers_is_bounded(config, monkeypatch):
    monkeypatch.setattr(rehearsal_module, "ORDERS_KEPT", 10)
    rehearsal = build_rehearsal(config, NAMED)
    rehearsal.note([Event(quote())])
    sizes = []
    for _ in range(35):
        rehearsal.run(now_ns())
        sizes.append(len(rehearsal._executor.save()))
    (sender,) = rehearsal._senders
    assert sizes[9] == sizes[19] == sizes[29] < sizes[8], "it begins anew after ten orders"
    assert rehearsal.orders == sender.count["orders_sent"] == 35, "and goes on as before"
    assert not (sender.account.state.orders or sender.account.state.waiting or sender._requests._pending)


def test_after_a_real_order_none_is_made_up_the_next_time(config):
    rehearsal = build_rehearsal(config, NAMED)
    rehearsal.note([Event(quote())])
    for noted, orders in ((False, 1), (True, 1), (False, 2)):
        if noted:
            rehearsal.note([Event(encode(Kind.intent, SUBJECT, np.zeros(1, INTENT)))])
        rehearsal.run(1)
        assert rehearsal.orders == orders


def test_the_mesh_beside_it_is_as_it_was(config):
    """Log, cursors, files and the hosted steps' own states: all bytes are those of before."""
    sequencer = Sequencer(config)
    try:
        host = Host(SequencerLog(sequencer))
        runners = [StepRunner(step_module(node), config, node, instance) for node, instance in NAMED[:2]]
        for runner in runners:
            runner.unpublished()
            host.handlers.append(lambda events, runner=runner: runner.live(events))
        rehearsal = build_rehearsal(config, NAMED)
        host.handlers.append(rehearsal.note)
        HostedProducer(host.log, "feed-1", arbitrated=True).publish([quote()])

        def all_of_it() -> tuple:
            files = {path: path.read_bytes() for path in config.root.rglob("*") if path.is_file() and path.name != "clock"}
            position = sequencer.position
            return files, sequencer.log.last, position.pack(), [runner.step.save() for runner in runners]

        until(lambda: sequencer.log.durable == sequencer.log.last, "the log on disk")  # a thread notes that in a file
        rehearsal.run(now_ns())  # what is compiled for the first one is in the cache folder then
        before = all_of_it()
        for _ in range(50):
            rehearsal.run(now_ns())
        assert rehearsal.orders == sent_by(rehearsal)["orders_sent"] == 51
        assert all_of_it() == before
    finally:
        sequencer.close()


def test_what_fails_in_one_ends_rehearsals_alone(config):
    asyncio.run(failing_rehearsals(config))


async def failing_rehearsals(config: Config) -> None:
    ctx = SequencerContext(config, "sequencer")
    ctx.sequencer = sequencer = Sequencer(config)
    try:
        host = Host(SequencerLog(sequencer))
        logged: list[Event] = []
        host.handlers.append(logged.extend)
        guest = HostedContext(config, Guest("rehearsal", "", None, ()), host, asyncio.Event(), ctx)
        runs = []

        def broken() -> Rehearsal:
            rehearsal = build_rehearsal(config, NAMED)
            rehearsal.run = lambda now_ns: runs.append(now_ns) if len(runs) < 3 else 1 // 0
            return rehearsal

        await rehearse(guest, broken, 0.001)
        assert len(runs) == 3 and host.handlers == [logged.extend], "it is given nothing more"
        (alert,) = (event.map() for event in logged if event.kind == Kind.alert)
        assert alert["what"] == "rehearsals stopped" and "ZeroDivisionError" in alert["why"]
        assert ctx.failure is None, "the process goes on"
    finally:
        sequencer.close()
