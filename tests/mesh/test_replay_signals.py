"""Replaying the log, or the archive alone, in a fresh process with a cold kernel cache gives what was said live."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.event_fields import record_slice
from tests.support.live_mesh import SETTINGS, LiveMesh, changed
from tests.support.odd_models import line_of, models_in, zero_at
from tests.support.odd_models import source as text_of
from tests.support.places import PROJECT
from tests.support.stored import batches, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.layout import event_size, header_slice
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event, decode
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import replay
from tickmesh.tools.replaying.shown import show

EVENTS = 2400


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> tuple[Config, list[bytes]]:
    """A folder with a log and an archive of the same events: everything died once, and settings were changed later."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(SETTINGS)
    config = load(root)
    slow = {"models": [{"name": "flow", "kernel": "trade_flow", "parameters": {"fast_ms": 900.0}}]}
    before = load(root, {**slow, "executor": {"signal_threshold": 0.3}})
    raws = LiveMesh(before, EVENTS, {EVENTS // 3: before, EVENTS * 2 // 3: config}).live()
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive(batches(raws), len(raws), 1000, LogReader(config.log_dir).log_id)
    writer.close()
    return config, raws


SCRIPT = """
import json, sys
from pathlib import Path
from tickmesh.bus.config import load
from tickmesh.tools import replay
config = load(Path(sys.argv[1]))
answers = []
for source in replay.SOURCES:
    answers += [replay.compare_stored(config, source, batch) for batch in (1, 7, 4096, None)]
print(json.dumps(answers))
"""


def test_a_fresh_process_with_a_cold_cache_says_the_same(mesh, tmp_path):
    """From the log, the archive, and both; in lists of any length, and by columns."""
    config, raws = mesh
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cold")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(config.root)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "cold").rglob("*.nbc")), "it compiled"
    answers = json.loads(done.stdout)
    assert [answer["batch"] for answer in answers] == [1, 7, 4096, None] * len(replay.SOURCES)
    for answer in answers:
        assert answer["ok"] and answer["events"] == len(raws), answer
        for verdict in (*answer["models"].values(), answer["executor"]):
            assert verdict["live"] == verdict["equal"] == verdict["replayed"] > 20, verdict
            assert verdict["first_difference"] is None and verdict["same_code"] and verdict["unsaid"] == 0
            assert verdict["other"] == 0 and all(stretch["live"] > 5 for stretch in verdict["stretches"])
        changes = {name: [one["changes"] for one in verdict["stretches"]] for name, verdict in answer["models"].items()}
        assert changes == {"flow": [["parameters.fast_ms: 900.0 then, 500.0 now"], []], "imbalance": [[]]}
        assert len(answer["executor"]["stretches"]) == 2 and answer["not_compared"] == 0


def flip(raw: bytearray) -> list[Event]:
    raw[record_slice(Kind.signal, "value").start] ^= 1  # the last bit of a signal's value
    return [decode(bytes(raw))]


def later(raw: bytearray) -> list[Event]:
    raw[header_slice("cause_seq").start] += 1
    return [decode(bytes(raw))]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (flip, {"equal": -1}),
        (later, {"equal": -1}),
        (lambda raw: [], {"equal": -1, "live": -1}),
        (lambda raw: [decode(bytes(raw)), decode(bytes(raw))], {"live": 1, "twice": 1}),
    ],
)
def test_every_difference_is_found(mesh, change, counts):
    config, raws = mesh
    whole = replay.compare(config, [decode(raw) for raw in raws])
    answer = replay.compare(config, changed(raws, Kind.signal, change))
    assert whole["ok"] and not answer["ok"]
    found = [name for name, verdict in answer["models"].items() if not verdict["ok"]]
    assert len(found) == 1
    before, after = whole["models"][found[0]], answer["models"][found[0]]
    for key in ("equal", "live", "twice"):
        assert after[key] - before[key] == counts.get(key, 0), key
    assert (after["first_difference"] is None) == ("twice" in counts)


def test_a_changed_market_changes_the_signals(mesh):
    config, raws = mesh

    def other(raw: bytearray) -> list[Event]:
        raw[record_slice(Kind.quote, "bid_lots")] = (10**12).to_bytes(8, "little")
        return [decode(bytes(raw))]

    assert not replay.compare(config, changed(raws, Kind.quote, other))["ok"]


def test_what_is_not_said_yet_is_no_difference_and_counted(mesh):
    config, raws = mesh
    last = max(i for i, raw in enumerate(raws) if decode(raw).kind == Kind.signal)
    answer = replay.compare(config, [decode(raw) for raw in raws[:last]])
    assert answer["ok"] and sum(verdict["unsaid"] for verdict in answer["models"].values()) == 1


def test_a_model_that_hangs_in_silence_is_a_difference_a_restart_is_none(mesh, capsys):
    """What model-imbalance published last is not there any more: for longer than is allowed, or not."""
    config, raws = mesh
    events = [decode(raw) for raw in raws]
    own = [event.seq for event in events if event.producer == "model-imbalance" and event.kind == Kind.signal]
    hung = [event for event in events if event.producer != "model-imbalance" or event.seq < own[-20] or event.kind == Kind.run]
    lacking = replay.compare(config, hung)["models"]["imbalance"]  # the executor differs: it had those signals
    assert lacking["unsaid"] == 20 and lacking["first_difference"] is None and lacking["ok"] and not lacking["silent"]
    answer = replay.compare(config, hung, silence_max_s=lacking["silent_s"] - 0.001)
    verdict = answer["models"]["imbalance"]
    assert verdict["silent"] and not verdict["ok"] and verdict["first_difference"] is None and lacking["silent_s"] > 0.1
    show(answer)
    assert "it hung, or was stopped; --silence-max" in capsys.readouterr().out.replace("\n", " ")


def test_a_model_that_never_spoke_is_a_difference(mesh):
    config, raws = mesh
    events = [event for event in map(decode, raws) if event.producer != "model-flow"]
    answer = replay.compare(config, events)
    assert not answer["ok"] and not answer["models"]["flow"]["ok"] and answer["models"]["imbalance"]["ok"]


def test_other_parameters_are_compared_as_they_were(tmp_path):
    """mesh.toml was changed in the middle: what the old parameters said is judged by the old ones."""
    (tmp_path / "mesh.toml").write_text('[[models]]\nname = "m"\nkernel = "trade_flow"\n[executor]\nenabled = false\n')
    config = load(tmp_path)
    old = load(tmp_path, {"models": [{"name": "m", "kernel": "trade_flow", "parameters": {"fast_ms": 100.0}}]})
    events = [decode(raw) for raw in LiveMesh(old, 2000, {1000: config}).live()]
    answer = replay.compare(config, events)
    verdict = answer["models"]["m"]
    assert answer["ok"] and verdict["equal"] == verdict["live"] > 20 and verdict["same_code"] and not verdict["other"]
    assert [one["compared_with"] for one in verdict["stretches"]] == ["then", "now"]
    other = replay.compare(old, events)["models"]["m"]
    assert not other["ok"] and not other["same_code"], "what would go on now is not what ran"


def test_signals_are_a_function_of_the_events_alone(mesh):
    config, raws = mesh
    changed_at = max(event.map().get("publishes_after", 0) for event in map(decode, raws) if event.kind == Kind.run)

    def of_now(row: tuple) -> bool:
        """Whether the model had its present settings then."""
        return row[2] != "flow" or row[0] > changed_at

    live = sorted(
        (event.cause_seq, event.k, event.producer.removeprefix("model-"), event.subject, float(event.records["value"][0]))
        for event in map(decode, raws)
        if event.kind == Kind.signal
    )
    for source in replay.SOURCES:
        frame = replay.signals(config, source)
        rows = frame[["cause_seq", "k", "model", "instrument", "value"]].itertuples(index=False)
        assert list(filter(of_now, map(tuple, rows))) == list(filter(of_now, live))
        times = {event.seq: event.seq_ns for event in map(decode, raws)}
        assert frame.index.astype("i8").tolist() == [times[cause] for cause in frame["cause_seq"]]
    assert any(decode(raw).kind == Kind.intent and len(raw) == event_size(Kind.intent, 1) for raw in raws)


@pytest.mark.parametrize("batch", [None, 100])
def test_a_model_that_fails_is_named_and_the_others_are_compared(mesh, tmp_path, batch, capsys):
    config, raws = mesh
    with models_in(tmp_path):
        (tmp_path / "divides.py").write_text(zero_at(30))
        (tmp_path / "broken.py").write_text(text_of("p.missing"))
        more = [{"name": "zero", "kernel": "divides"}, {"name": "gone", "kernel": "broken"}]
        with_odd = load(config.root, {"models": more})
        answer = replay.compare_stored(with_odd, "log", batch)
    assert not answer["ok"] and answer["models"]["flow"]["ok"] and answer["executor"]["ok"]
    seq = [event.seq for event in map(decode, raws) if event.kind == Kind.quote][29]
    assert f"ZeroDivisionError: integer division by zero, at event {seq} (quote of" in answer["models"]["zero"]["fault"]
    assert "no field 'missing'" in answer["models"]["gone"]["fault"]
    show(answer)
    assert f"it cannot run to the end: {tmp_path}/divides.py:{line_of(zero_at(30), 's.x = 1 //')}: " in capsys.readouterr().out


def test_a_history_without_its_beginning_is_refused(mesh):
    config, raws = mesh
    with pytest.raises(replay.terminal.Failure, match="seq 2; a replay needs the whole history"):
        replay.compare(config, map(decode, raws[1:]))


def test_the_command_speaks_in_sentences(mesh, tmp_path, monkeypatch, capsys):
    config, raws = mesh
    monkeypatch.setenv("TICKMESH_ROOT", str(config.root))
    for batch in (None, 500):
        result = replay.replay(source="log", batch=batch)
        assert result["ok"] and result["source"] == "log" and result["batch"] == batch and json.dumps(result)
    show(result)
    for source, batch in (("tape", 1), ("log", 0)):
        with pytest.raises(replay.terminal.UsageFailure):
            replay.replay(source, batch)
    (tmp_path / "mesh.toml").write_text("")
    monkeypatch.setenv("TICKMESH_ROOT", str(tmp_path))
    for source in replay.SOURCES:
        with pytest.raises(replay.terminal.Failure, match="there is no event in .*; (start|it is cut)"):
            replay.replay(source)
