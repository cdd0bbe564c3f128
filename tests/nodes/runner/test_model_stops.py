"""A model that fails ends stopped, alone or hosted, with one alert that names file, line and event; all else goes on."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.mesh_run import until
from tests.support.model_steps import log, quote
from tests.support.odd_models import line_of, models_in, source, zero_at
from tests.support.stored import write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.exits import STOPPED_EXIT
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import QUOTE, Kind
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.__main__ import main
from tickmesh.nodes.model import node as model
from tickmesh.nodes.model import refused
from tickmesh.nodes.models.cache import sources_hash
from tickmesh.nodes.models.loading import file_of
from tickmesh.nodes.runner.hosted_steps import host_step
from tickmesh.nodes.runner.put_out import read as read_put_out

NAMES = itertools.count()
MODEL = '[[models]]\nname = "{name}"\nkernel = "{kernel}"\n'


@pytest.fixture
def model_of(tmp_path, monkeypatch):
    """Lays a mesh with one model of this text; gives its settings and the model's file."""
    configs = []

    def of(text: str, more: str = "") -> tuple[Config, str]:
        path = tmp_path / f"stops_{next(NAMES)}.py"
        path.write_text(text)
        (tmp_path / "mesh.toml").write_text(MODEL.format(name="m", kernel=path.stem) + more)
        configs.append(load(tmp_path))
        return configs[-1], str(path)

    monkeypatch.setenv("TICKMESH_ROOT", str(tmp_path))
    with models_in(tmp_path):
        yield of
    for config in configs:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)


def alerts(folder, name: str = "model-m") -> list[dict]:
    """The alerts about a process in a log or an outbox."""
    found = [event.map() for event in LogReader(folder).events() if event.kind == Kind.alert]
    return [one for one in found if one["target"] == name]


@pytest.mark.parametrize(
    ("text", "part", "what"),
    [
        (zero_at(20), "s.x = 1 //", ["at event 21 (quote of binance.BTCUSDT)"]),
        (source("p.missing"), "p.missing", ["no field 'missing'"]),
        (source(before="if s.n\n    pass"), "if s.n", ["it is no Python"]),
    ],
)
def test_alone_it_ends_for_good_with_one_alert(model_of, text, part, what):
    config, path = model_of(text)
    write_log(config.log_dir, [bytes(event.raw) for event in log([quote(1, 5 + i, 5) for i in range(40)])])
    assert main(["model", "m"]) == STOPPED_EXIT
    (alert,) = alerts(config.outbox_dir / "model-m")
    assert alert["level"] == "critical" and alert["what"] == "model stopped"
    for words in (f"{path}:{line_of(text, part)}", *what):
        assert words in alert["why"], alert
    assert f"mesh check-model {path}" in alert["action"] and not (config.run_dir / "ready/model-m.json").exists()


def test_a_model_that_mesh_toml_names_and_nobody_has(model_of):
    config, _ = model_of(source(), MODEL.format(name="lost", kernel="nowhere"))
    assert main(["model", "lost"]) == STOPPED_EXIT
    (alert,) = alerts(config.outbox_dir / "model-lost", "model-lost")
    assert "kernel 'nowhere' is no file of nodes/models" in alert["why"] and "mesh reload" in alert["action"]


def test_one_that_its_trial_refused_is_not_called_alone_or_hosted_until_it_is_edited(model_of, tmp_path):
    config, path = model_of(source(before="while s.n >= 0:\n    s.x += 1.0"))
    why = f"{path}:23: it does not come back within 10 s of processor time: this loop may have no end"
    refused.keep(config, [], {refused.key_of(config.model("m")): why})
    assert main(["model", "m"]) == STOPPED_EXIT, "it ends at all"
    (alert,) = alerts(config.outbox_dir / "model-m")
    assert (alert["what"], alert["why"]) == ("model stopped", why) and f"mesh check-model {path}" in alert["action"]

    class Hosted:
        config, name, instance, raised, closed = load(tmp_path), "model-m", "m", [], False

        def alert(self, *words: str) -> None:
            self.raised.append(words)

        async def close(self) -> None:
            self.closed = True

    ctx = Hosted()
    asyncio.run(host_step(ctx, model))
    ((level, what, given, _),) = ctx.raised
    assert (level, what, given, ctx.closed) == ("critical", "model stopped", why, True)
    assert read_put_out(config.run_dir, "model-m", os.getpid()).why == why
    refused.check(config, "executor")
    Path(path).write_text(source())
    refused.check(config, "model-m")


LIFE = """
import sys
from tickmesh.nodes import models
from tickmesh.nodes.__main__ import main
from tickmesh.nodes.runner import stalls
models.__path__.append(sys.argv[1])
stalls.STALL_S = 0.5
sys.exit(main(["model", "m"]))
"""


def test_one_that_does_not_come_back_ends_stopped_with_the_event(model_of, tmp_path):
    """Two lives are ended by the timer, the third one knows at which event; the same event is said as the log has it."""
    config, path = model_of(source(before="while s.n > 20:\n    s.x += 1.0"))
    write_log(config.log_dir, [bytes(event.raw) for event in log([quote(1, 5 + i, 5) for i in range(40)])])
    codes = []
    for _ in range(3):
        codes.append(subprocess.run([sys.executable, "-c", LIFE, str(tmp_path)], cwd=tmp_path, timeout=120).returncode)
    assert codes == [-signal.SIGVTALRM, -signal.SIGVTALRM, STOPPED_EXIT]
    (alert,) = alerts(config.outbox_dir / "model-m")
    assert f"{path}:" in alert["why"] and "it does not come back" in alert["why"]
    assert "at event 22 (quote of binance.BTCUSDT)" in alert["why"] and "check-model" in alert["action"]


HOST = """
import sys
from tickmesh.nodes import models
from tickmesh.nodes.__main__ import main
models.__path__.append(sys.argv[1])
sys.exit(main(["sequencer", "model", "m", "model", "good"]))
"""


def quotes(first: int, count: int) -> list[bytearray]:
    return [
        encode(Kind.quote, "binance.BTCUSDT", np.array([(i, 100, 5 + i % 9, 103, 5, 0)], QUOTE), first_id=i, last_id=i)
        for i in range(first, first + count)
    ]


@pytest.mark.mesh
def test_hosted_it_is_put_out_and_the_rest_goes_on(model_of, tmp_path):
    """Two models in the sequencer's process: one divides by zero at its 50th quote."""
    text = zero_at(50)
    good = MODEL.format(name="good", kernel="book_imbalance")
    config, path = model_of(text, f"{good}[models.parameters]\ninterval_ms = 0.0\nstep = 0.0\nhalf_life_ms = 0.0\n")
    host = subprocess.Popen([sys.executable, "-c", HOST, str(tmp_path)], cwd=tmp_path)
    try:
        for name in ("sequencer", "model-m", "model-good"):
            until((config.run_dir / f"ready/{name}.json").exists, f"{name} ready", 90)
        loaded = json.loads((config.run_dir / "ready/model-good.json").read_text())["sources"]
        assert loaded == sources_hash(file_of("book_imbalance")), "by which a reload sees an edit"
        feed = Producer(config, "feed-binance-1")
        feed.publish(quotes(1, 100))
        until(lambda: alerts(config.log_dir), "the alert", 60)
        feed.publish(quotes(101, 100))

        def signals(producer: str) -> int:
            return sum(event.producer == producer for event in LogReader(config.log_dir).events() if event.kind == Kind.signal)

        until(lambda: signals("model-good") > 150, lambda: f"{signals('model-good')} signals")
        (alert,) = alerts(config.log_dir)
        seq = [event.seq for event in LogReader(config.log_dir).events() if event.kind == Kind.quote][49]
        assert f"{path}:{line_of(text, 's.x = 1 //')}" in alert["why"] and f"at event {seq} (quote of" in alert["why"]
        assert signals("model-m") <= 49 and host.poll() is None, "and the sequencer has never died"
        runs = [event.map() for event in LogReader(config.log_dir).events() if event.kind == Kind.run]
        assert [run["node"] for run in runs].count("sequencer") == 1
        assert not (config.run_dir / "ready/model-m.json").exists()
        put_out = read_put_out(config.run_dir, "model-m", host.pid)
        assert (put_out.why, put_out.sources) == (alert["why"], sources_hash(Path(path))), "what a reload goes by"
        assert read_put_out(config.run_dir, "model-m", host.pid + 1) is None, "the next sequencer tries it again"
        assert json.loads((config.run_dir / "ready/model-good.json").read_text())["pid"] == host.pid
        feed.close()
    finally:
        host.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.wait(20)
        host.kill()


def test_what_is_no_signal_is_alerted_of_once_a_second(model_of):
    """By the heartbeat: nothing is added to what is done for an event."""
    from tickmesh.nodes.model import node as model
    from tickmesh.nodes.runner.alone import complaints

    config, path = model_of(source("np.nan"))
    step, raised = model.Step(config, "m"), []

    class Listening:
        def alert(self, *words: str) -> None:
            raised.append(words)

    for event in log([quote(1, 5, 5)] * 3):
        step.step([event])
    assert complaints(Listening(), step)["refused"] == 3 and complaints(Listening(), step)["refused"] == 3
    ((level, what, why, action),) = raised
    assert (level, what) == ("warning", "signals refused") and path in why and "value nan at event 2" in why
    assert "not published" in action
