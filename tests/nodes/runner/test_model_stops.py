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
from types import SimpleNamespace

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
from tickmesh.nodes.runner.stalls import HostedStalls, StallRecord

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
from tickmesh.nodes.runner import hosting, stalls
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
from tickmesh.nodes.runner import hosting, stalls
models.__path__.append(sys.argv[1])
stalls.STALL_S = hosting.STALL_S = hosting.HOSTED_SHARE = float(sys.argv[2])
sys.exit(main(["sequencer", "model", "m", "model", "good"]))
"""


def hosting(folder: Path, stall_s: float = 10.0) -> subprocess.Popen[bytes]:
    """A sequencer that hosts two models, each with so much processor time for a list of events."""
    return subprocess.Popen([sys.executable, "-c", HOST, str(folder), str(stall_s)], cwd=folder)


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
    host = hosting(tmp_path)
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
        end(host)


def end(host: subprocess.Popen[bytes]) -> None:
    host.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        host.wait(20)
    host.kill()
    host.wait()


@pytest.mark.mesh
@pytest.mark.timeout(400)  # six sequencers, one after the other
def test_hosted_it_does_not_come_back_and_is_put_out(model_of, tmp_path):
    """A kill in its step is no strike. Then two sequencers end in it; the third goes on without it, until it is mended."""
    text = source(before="while s.n > 20:\n    s.x += 1.0")
    good = MODEL.format(name="good", kernel="book_imbalance")
    config, path = model_of(text, f"{good}[models.parameters]\ninterval_ms = 0.0\nstep = 0.0\nhalf_life_ms = 0.0\n")
    stalls = config.run_dir / "stalls"
    feed = Producer(config, "feed-binance-1")
    hosts = [hosting(tmp_path, 60.0)]

    def signals(producer: str) -> int:
        return sum(event.producer == producer for event in LogReader(config.log_dir).events() if event.kind == Kind.signal)

    try:
        for name in ("model-m", "model-good"):
            until((config.run_dir / f"ready/{name}.json").exists, f"{name} ready", 90)
        feed.publish(quotes(1, 40))
        until(lambda: (stalls / "sequencer.at").read_bytes()[:2] == b"\1\0", "it is at work, and notes that")
        hosts[0].kill()
        for _ in range(2):
            hosts.append(hosting(tmp_path, 0.5))
            assert hosts[-1].wait(90) == -signal.SIGVTALRM
            assert not alerts(config.log_dir), "and neither a kill nor one strike puts it out"
        hosts.append(hosting(tmp_path, 0.5))
        until(lambda: alerts(config.log_dir), "the alert", 90)
        (alert,) = alerts(config.log_dir)
        seq = [event.seq for event in LogReader(config.log_dir).events() if event.kind == Kind.quote][20]
        assert alert["level"] == "critical" and alert["what"] == "model stopped" and "`mesh reload`" in alert["action"]
        assert f"{path}:{line_of(text, 'while s.n')}: it does not come back: 0.5 s" in alert["why"]
        assert f"at event {seq} (quote of binance.BTCUSDT)" in alert["why"]
        put_out = until(lambda: read_put_out(config.run_dir, "model-m", hosts[-1].pid), "its file")
        assert put_out.sources == sources_hash(Path(path)), "what a reload goes by"
        feed.publish(quotes(41, 40))
        until(lambda: signals("model-good") >= 79, lambda: f"{signals('model-good')} signals of the other one", 90)
        seqs = [event.seq for event in LogReader(config.log_dir).events() if event.kind == Kind.quote]
        assert len(seqs) == 80 and hosts[-1].poll() is None

        hosts[-1].kill()
        hosts.append(hosting(tmp_path, 0.5))
        until(lambda: len(alerts(config.log_dir)) == 2, "it stays out at the next start, which it does not hold up", 90)
        assert hosts[-1].poll() is None
        hosts[-1].kill()
        Path(path).write_text(text.replace("while s.n > 20", "while s.n < 0"))
        hosts.append(hosting(tmp_path, 0.5))
        until((config.run_dir / "ready/model-m.json").exists, "ready", 90)
        assert not list(stalls.glob("model-m*")), "and nothing is left of it"
        before = signals("model-m")
        feed.publish(quotes(81, 1))
        until(lambda: signals("model-m") > before, "a signal of the mended one", 60)
    finally:
        feed.close()
        for host in hosts:
            end(host)


@pytest.mark.parametrize(
    ("at_work", "stack", "suspects", "kept"),
    [
        (["a"], b"", [], []),  # killed in its step
        ([], b"stack", [], []),
        (["a"], b"stack", ["a"], ["a.at"]),
        (["a", "b"], b"stack", ["a", "b"], []),  # which of them it was is not known, and not at which event
    ],
)
def test_whom_the_next_sequencer_suspects(tmp_path, at_work, stack, suspects, kept):
    def life() -> HostedStalls:
        return HostedStalls(tmp_path, ["a", "b", "c"], 60.0)

    before = life()
    try:
        for name in at_work:
            (tmp_path / f"stalls/{name}.at").write_bytes(b"12345678")
            before.enter(before.place(name))
        before.enter(before.place("c"))
        before.leave(before.place("c"))
    finally:
        before.end()
    (tmp_path / "stalls/sequencer").write_bytes(stack)
    after = life()
    after.enter(after.place("c"))
    after.end()
    assert [name for name in "abc" if StallRecord(tmp_path, name, "").suspect] == suspects
    assert [path.name for path in sorted((tmp_path / "stalls").glob("?.at"))] == kept
    life().end()
    assert [name for name in "abc" if StallRecord(tmp_path, name, "").suspect] == suspects, (
        "a stack counts once, whoever is killed then"
    )


def test_a_step_that_comes_back_one_by_one_is_innocent(model_of):
    """A stall of its own later on is its first one again, at no event that is known."""
    from tickmesh.nodes.model import node as model
    from tickmesh.nodes.runner.hosted_steps import one_by_one

    config, _ = model_of(source())
    write_log(config.log_dir, [bytes(event.raw) for event in log([quote(1, 5 + i, 5) for i in range(40)])])
    (config.run_dir / "stalls").mkdir(parents=True)
    dump = config.run_dir / "stalls/model-m"
    dump.write_bytes(b"stack")
    record = StallRecord(config.run_dir, "model-m", "key")
    assert record.suspect and not record.stalled and record.begin_noting()
    ctx = SimpleNamespace(config=config, name="model-m", instance="m", stop=asyncio.Event())
    assert one_by_one(ctx, model, record).seq == LogReader(config.log_dir).last
    dump.write_bytes(b"stack")
    later = StallRecord(config.run_dir, "model-m", "key")
    assert later.suspect and not later.stalled


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
