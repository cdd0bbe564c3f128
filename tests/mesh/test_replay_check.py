"""`mesh replay --check` of a part, of one model, and where something was changed: the first divergence with its inputs."""

import json
import shutil

import msgpack
import numpy as np
import pytest

from tests.support import captures
from tests.support.event_fields import record_slice
from tests.support.live_mesh import SETTINGS, LiveMesh, changed
from tests.support.stored import batches, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import TRADE, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.venues.table import adapter_of
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import replay
from tickmesh.tools.replaying.shown import show

COUNT = 900
SUBJECT = "binance.BTCUSDT"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> tuple[Config, list[bytes]]:
    """A mesh that died once and was given other settings later."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(SETTINGS)
    config = load(root)
    slow = {"models": [{"name": "flow", "kernel": "trade_flow", "parameters": {"fast_ms": 900.0}}]}
    before = load(root, {**slow, "executor": {"signal_threshold": 0.3}})
    return config, LiveMesh(before, COUNT, {COUNT // 3: before, COUNT * 2 // 3: config}).live()


def laid(tmp_path, monkeypatch, raws: list[bytes], settings: str = SETTINGS, archived: bool = False) -> Config:
    """A folder of its own with these events in the log, or in the archive alone; it is the one that commands work in."""
    (tmp_path / "mesh.toml").write_text(settings)
    config = load(tmp_path)
    write_log(config.log_dir, raws)
    if archived:
        writer = ArchiveWriter(config.archive_dir)
        writer.archive(batches(raws), len(raws), 300, LogReader(config.log_dir).log_id)
        writer.close()
        shutil.rmtree(config.log_dir)
    monkeypatch.setenv("TICKMESH_ROOT", str(tmp_path))
    return config


def causes(raws: list[bytes], producer: str) -> list[int]:
    """The causes of what a node has published, in order."""
    return [event.cause_seq for event in map(decode, raws) if event.producer == producer and event.cause_seq]


def flipped(raws: list[bytes], seq: int, kind: Kind, field: str) -> list[bytes]:
    """The same events with the lowest bit of one mantissa of one event flipped."""
    raw = bytearray(raws[seq - 1])
    assert decode(raw).kind == kind
    raw[record_slice(kind, field).start] ^= 1
    return [*raws[: seq - 1], bytes(raw), *raws[seq:]]


def a_trade_that_told(raws: list[bytes]) -> int:
    """The seq of a trade that caused a signal of `flow` in the stretch of its present settings."""
    told = [seq for seq in causes(raws, "model-flow") if seq > COUNT * 3 // 4]
    return next(seq for seq in told if decode(raws[seq - 1]).kind == Kind.trade)


@pytest.mark.parametrize("archived", [False, True])
def test_one_bit_of_a_stored_trade_is_found_with_its_inputs(mesh, tmp_path, monkeypatch, capsys, archived):
    _, raws = mesh
    seq = a_trade_that_told(raws)
    laid(tmp_path, monkeypatch, flipped(raws, seq, Kind.trade, "quantity_lots"), archived=archived)
    result = replay.replay("archive" if archived else "log")
    assert not result["ok"] and result["models"]["imbalance"]["ok"] and not result["models"]["flow"]["ok"]
    first = json.loads(json.dumps(result["first_divergence"]))
    assert (first["node"], first["cause_seq"], first["k"], first["instrument"]) == ("model-flow", seq, 0, SUBJECT)
    lots = int(np.frombuffer(decode(raws[seq - 1]).body, TRADE)[0]["quantity_lots"]) ^ 1
    assert first["cause"]["topic"] == f"trade.{SUBJECT}" and f"{lots / 1e8:.8f}".rstrip("0") in first["cause"]["content"]
    assert [row["seq"] for row in first["rows_before"]] == sorted(row["seq"] for row in first["rows_before"])
    assert len(first["rows_before"]) == 8 and first["rows_before"][-1]["seq"] < seq
    (value,) = [field for field in first["fields"] if field["field"] == "value"]
    assert not value["same"] and value["live"] != value["replayed"]
    assert int(value["live_bits"], 16) ^ int(value["replayed_bits"], 16) < 1 << 52, "the same sign and size"
    assert [field["field"] for field in first["fields"] if not field["same"]] == ["value"]
    assert first["code_then"] == first["code_now"] and first["changes"] == []
    assert first["parameters_then"] == first["parameters_now"] and first["parameters_now"]["fast_ms"] == 500.0
    state = first["state_before"]
    assert state["time_ns"] == first["rows_before"][-1]["seq_ns"] and state["quantity_unit"] == 1e-8, "before the cause"
    show(result)
    shown = capsys.readouterr().out
    assert f"First divergence: model-flow at event {seq}" in shown and "≠ value" in shown and value["live_bits"] in shown


def test_one_changed_parameter_is_found_and_named(mesh, tmp_path, monkeypatch, capsys):
    _, raws = mesh
    parameters = '[[models]]\nname = "flow"\nkernel = "trade_flow"\nparameters = { fast_ms = 501.0 }\n'
    laid(tmp_path, monkeypatch, raws, SETTINGS + parameters)
    result = replay.replay("log")
    verdict, first = result["models"]["flow"], result["first_divergence"]
    assert not result["ok"] and not verdict["ok"] and not verdict["same_code"] and result["executor"]["ok"]
    assert first["changes"] == ["parameters.fast_ms: 500.0 then, 501.0 now"] and first["equal_with_those_of_then"] is True
    assert (first["parameters_then"]["fast_ms"], first["parameters_now"]["fast_ms"]) == (500.0, 501.0)
    assert first["code_then"] == first["code_now"] and any(not field["same"] for field in first["fields"])
    early, late = verdict["stretches"]
    assert early["equal"] == early["live"] > 5 and early["compared_with"] == "then", "that ran with others still"
    assert late["equal"] < late["equal_then"] == late["live"] and late["compared_with"] == "now"
    show(result)
    assert "the change is the reason" in capsys.readouterr().out


def test_an_executor_with_another_setting_diverges_in_an_intent(mesh, tmp_path, monkeypatch):
    _, raws = mesh
    laid(tmp_path, monkeypatch, raws, SETTINGS.replace("0.01", "0.02"))
    result = replay.replay("log", models=["executor"])
    first = result["first_divergence"]
    assert not result["ok"] and first["node"] == "executor" and first["kind"] in ("intent", "parent", "shadow")
    assert "parameters.strategies.target.target_quantity: 0.01 then, 0.02 now" in first["changes"]
    assert first["equal_with_those_of_then"] and first["state_before"]["position"] and not result["models"]


@pytest.mark.parametrize("batch", [None, 7])
def test_a_part_is_compared_by_itself(mesh, tmp_path, monkeypatch, batch):
    """What its events caused, wherever that stands in the log; what lies outside is not judged."""
    config, raws = mesh
    begin, end = COUNT // 2, COUNT * 3 // 4
    inside = {node: [cause for cause in causes(raws, node) if begin <= cause < end] for node in ("model-flow", "executor")}
    wrong = inside["model-flow"][-1]
    for number, (seq, ok) in enumerate(((a_trade_that_told(raws), True), (wrong, False), (None, True))):
        folder = tmp_path / str(number)
        folder.mkdir()
        signals = [event.seq for event in map(decode, raws) if event.producer == "model-flow" and event.cause_seq == seq]
        stored = flipped(raws, signals[0], Kind.signal, "value") if signals else raws
        laid(folder, monkeypatch, stored)
        times = [str(one) for one in (begin, end)]
        if number == 2:  # the same part by its times
            at = [decode(raws[seq - 1]).seq_ns for seq in (begin, end)]
            times = [str(np.datetime64(ns, "ns")) for ns in at]
        result = replay.replay("log", batch, *times, models=["flow", "executor"])
        assert result["ok"] is ok and (result["from_seq"], result["to_seq"]) == (begin, end - 1)
        assert "imbalance" not in result["models"]
        flow = result["models"]["flow"]
        assert flow["live"] == flow["replayed"] == len(inside["model-flow"]) > 0 and flow["unsaid"] == 0
        assert flow["equal"] == flow["live"] - (not ok)
        assert result["executor"]["live"] == result["executor"]["equal"] == len(inside["executor"]) > 0


def test_what_other_code_said_is_counted_and_not_judged(mesh, capsys):
    config, raws = mesh

    def other(raw: bytearray) -> list[Event]:
        event = decode(raw)
        content = msgpack.unpackb(event.body) | {"code": "0" * 16}
        assert event.producer == "model-flow"
        renamed = encode(Kind.run, event.subject, content)
        stamp_sent(renamed, producer_bytes(event.producer), event.epoch, event.number, event.sent_ns)
        stamp_sequenced(renamed, event.seq, event.link, event.seq_ns)
        return [decode(renamed)]

    runs = [event.producer for event in map(decode, raws) if event.kind == Kind.run]
    result = replay.compare(config, changed(raws, Kind.run, other, runs.index("model-flow") + 1))
    flow = result["models"]["flow"]
    assert result["ok"] and result["not_compared"] == flow["other"] == flow["stretches"][0]["live"] > 3
    assert [one["compared_with"] for one in flow["stretches"]] == [None, "then", "now"]
    assert flow["live"] == flow["equal"] == sum(one["live"] for one in flow["stretches"][1:]) > 5
    show(result)
    assert "not compared: its code was 0000000000000000, and is" in capsys.readouterr().out


@pytest.mark.data
@captures.needs(captures.SPOT_BTC, captures.USDM_BTC)
@pytest.mark.parametrize("path,venue", [(captures.SPOT_BTC, "binance"), (captures.USDM_BTC, "binance_usdm")])
def test_a_capture_is_replayed_to_the_bit(tmp_path, path, venue):
    """What real trades, quotes and books of BTCUSDT made the models and the executor say, from the archive alone."""
    named = f'[[instruments]]\nvenue = "{venue}"\nsymbol = "BTCUSDT"\n[executor]\ninstruments = ["{venue}.BTCUSDT"]\n'
    (tmp_path / "mesh.toml").write_text(named + SETTINGS.replace("[executor]\n", ""))
    config = load(tmp_path)
    adapter = adapter_of(venue)
    routes = adapter.routes([Instrument("BTCUSDT", venue)])
    frames = (one for one in captures.stamped(path) if one.direction == "received")
    market = (event for one in frames for event in adapter.decode(one.frame, one.recv_ns, routes))
    raws = LiveMesh(config, 3000, {1000: config}, market=market, subject=f"{venue}.BTCUSDT").live()
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive(batches(raws), len(raws), 1000, LogReader(config.log_dir).log_id)
    writer.close()
    shutil.rmtree(config.log_dir)
    for batch in (7, None):
        result = replay.compare_stored(config, "archive", batch)
        assert result["ok"] and result["not_compared"] == 0
        for verdict in (*result["models"].values(), result["executor"]):
            assert verdict["live"] == verdict["equal"] == verdict["replayed"] > 10


def test_wrong_parts_and_names_are_sentences(mesh, tmp_path, monkeypatch):
    _, raws = mesh
    laid(tmp_path, monkeypatch, raws[:50])
    for words, sentence in (
        ({"start": "51"}, "--start 51 is after the newest event, seq 50"),
        ({"start": "20", "end": "20"}, "between --start 20 and --end 20 there is no event"),
        ({"end": "1970-01-01"}, "between --start the beginning and --end 1970-01-01 there is no event"),
        ({"start": "noon"}, "--start 'noon' is neither a sequence number"),
        ({"models": ["flaw"]}, "'flaw' is no model of mesh.toml; there are imbalance, flow, executor"),
    ):
        with pytest.raises(replay.terminal.Failure, match=sentence):
            replay.replay("log", **words)
