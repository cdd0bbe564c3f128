"""What the log's time was moved by stands in the log soon, also where something is logged all the time."""

import numpy as np

from tickmesh.bus import clock
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import QUOTE, Kind
from tickmesh.bus.wire import encode
from tickmesh.nodes.sequencer.node import UNPUBLISHED_NS, Sequencer

START, HOUR = 1_790_000_000 * clock.SECOND, 3600 * clock.SECOND


def test_a_slew_is_published_though_no_silence_gives_occasion(tmp_path, monkeypatch):
    (tmp_path / "mesh.toml").write_text("[log]\nclock_ms = 10000\n")
    config = load(tmp_path)
    elapsed = [10**12]
    wall_ahead = [START - 10**12]
    monkeypatch.setattr(clock, "elapsed_ns", lambda: elapsed[0])
    monkeypatch.setattr(clock, "wall_ns", lambda: elapsed[0] + wall_ahead[0])
    sequencer = Sequencer(config)
    wall_ahead[0] -= HOUR
    for _ in range(1500):
        elapsed[0] += clock.SECOND // 50
        sequencer.tick()
        sequencer.append([encode(Kind.quote, "sim.BTCUSDT", np.zeros(1, QUOTE), recv_ns=elapsed[0])])
    sequencer.close()
    published, behind = 0, []
    for event in LogReader(config.log_dir).events():
        if event.kind == Kind.clock:
            published += int(event.records["correction_ns"][0])
        elif event.kind == Kind.quote:
            behind.append(event.seq_ns - event.recv_ns - published)
    assert -0.31 * clock.SECOND < published < -0.28 * clock.SECOND, "30 s, a hundredth slower"
    assert max(behind) - min(behind) < 2 * UNPUBLISHED_NS
