"""A hosted node that acts outside, on others' events in the very call that logs them."""

import asyncio

import numpy as np
import pytest

from tests.support.waiting import until
from tickmesh.bus.config import Config, load
from tickmesh.bus.schema import INTENT, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.runner.hosting import Guest, Host, HostedContext
from tickmesh.nodes.sequencer.node import Sequencer, SequencerContext
from tickmesh.nodes.sequencer.open_log import SequencerLog


@pytest.mark.parametrize("error", [OSError("no room"), ValueError("a bug")])
def test_what_it_raises_ends_the_process_and_not_the_call_of_who_logged(tmp_path, error):
    """The loop, and who reads a socket, let some errors pass: it would go on without what it had not come to."""
    (tmp_path / "mesh.toml").write_text("")
    asyncio.run(failing(load(tmp_path), error))


async def failing(config: Config, error: Exception) -> None:
    owner = SequencerContext(config, "sequencer")
    owner.sequencer = sequencer = Sequencer(config)
    host = Host(SequencerLog(sequencer))
    stop = asyncio.Event()
    session, executor = (
        HostedContext(config, Guest(name, "", None, ()), host, stop, owner) for name in ("session", "executor")
    )
    given: list[int] = []

    def act_on(events: list[Event]) -> None:
        given.extend(event.seq for event in events)
        raise error

    steps: list[int] = []
    host.handlers.append(lambda events: steps.extend(event.seq for event in events))
    following = asyncio.create_task(session.subscribe((Kind.intent,), 0).follow(act_on))
    try:
        await until(lambda: host.first, what="the session's place")
        await asyncio.sleep(0)
        executor.publish([encode(Kind.intent, "binance.BTCUSDT", np.zeros(1, INTENT)) for _ in range(2)])
        assert given == steps == [1, 2], "it was given them in the call that logged them, and so were the steps"
        assert owner.failure is error and owner.stop.is_set()
    finally:
        stop.set()
        await asyncio.gather(following, return_exceptions=True)
        sequencer.close()
