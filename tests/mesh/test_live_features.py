"""Features that the kernel live_features publishes: what db.features computes of the recording, to the bit; never traded."""

import numpy as np
import pytest

import tickmesh as tm
from tests.support.event_fields import record_slice
from tests.support.live_mesh import SETTINGS, SUBJECT, LiveMesh
from tests.support.odd_models import HEAD, KERNEL, models_in
from tests.support.stored import batches, write_log
from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import FEATURE, Kind
from tickmesh.bus.settings import Mesh, ModelSettings
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes.model import made_events
from tickmesh.nodes.model.node import Step
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.features import table
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import replay

EVERY_MS = 50
MODELS = f"""
[[models]]
name = "features"
kernel = "live_features"
features = ["*"]
parameters = {{ interval_ms = {EVERY_MS}.0, half_life_ms = 300.0, sample_ms = 20.0, bar_ms = 40.0, refit_quotes = 100.0 }}
"""
COUNT = 900


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Config, list[bytes]]:
    """A mesh that died once, with a log, of which half is in the archive too."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(SETTINGS + MODELS)
    config = load(root)
    market = (bytearray(event.raw) for event in made_events.events(2 * COUNT, 11))
    raws = LiveMesh(config, COUNT, {COUNT // 2: config}, market=market).live()
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive(batches(raws), len(raws) // 2, 300, LogReader(config.log_dir).log_id)
    writer.close()
    return config, raws


def model(config: Config, kernel: str, features: tuple[str, ...], **parameters: float) -> Step:
    """Builds a model's step of a mesh that has no other."""
    settings = ModelSettings("m", kernel, parameters=parameters, features=features)
    return Step(Config(Mesh(models=(settings,)), config.root), "m")


def published(raws: list[bytes]) -> list[Event]:
    return [event for event in map(decode, raws) if event.kind == Kind.feature]


def test_each_value_is_that_of_db_features_at_its_moment(recorded):
    config, raws = recorded
    db = tm.open(config.root)
    parameters = config.model("features").parameters
    given = {name: value for name, value in parameters.items() if name != "interval_ms"}
    offline = db.features(SUBJECT, table.NAMES, every=f"{EVERY_MS}ms", parameters=given)
    rows = db.live_features(SUBJECT).to_numpy()
    events = published(raws)
    assert len(events) > 100 and len(rows) == len(events) * len(table.NAMES), "all values of a moment are one event"
    at_ns = offline.index.as_unit("ns").asi8
    causes, seen = {event.seq: event.cause_seq for event in events}, {}
    for event, values in zip(events, rows.reshape(len(events), -1)):
        assert values["feature"].tolist() == [name.encode() for name in table.NAMES]
        moment = int(values["at_ns"][0])
        row = offline.iloc[int(np.searchsorted(at_ns, moment))]
        assert values["value"].tobytes() == row[list(table.NAMES)].to_numpy("f8").tobytes(), f"event {event.seq}"
        assert row["seq"] < causes[event.seq] and values["cause_seq"][0] == causes[event.seq]
        seen[moment] = event.seq
    known = offline[offline.index.as_unit("ns").asi8 <= max(seen)]
    silent = known[[ns not in seen for ns in known.index.as_unit("ns").asi8]]
    following = set(known["seq"].shift(-1)[silent.index])
    assert set(silent["seq"]) <= following, "of several moments in a silence the last one is published, no other is left out"
    unknown = [name for name in table.NAMES if known[name].isna().all()]
    assert set(unknown) <= {"microprice"}, "each feature was known at some, but what is fitted to more quotes"


def test_a_replay_says_the_same_from_log_and_archive_and_sees_one_bit(recorded, tmp_path):
    config, raws = recorded
    for batch in (7, None):
        result = replay.compare_stored(config, "all", batch)
        verdict = result["models"]["features"]
        assert result["ok"] and verdict["live"] == verdict["equal"] == len(published(raws)) > 100, verdict
    wrong = published(raws)[50].seq
    raw = bytearray(raws[wrong - 1])
    raw[record_slice(Kind.feature, "value").start] ^= 1
    (tmp_path / "mesh.toml").write_text(SETTINGS + MODELS)
    other = load(tmp_path)
    write_log(other.log_dir, [*raws[: wrong - 1], bytes(raw), *raws[wrong:]])
    result = replay.compare_stored(other, "log", None)
    first = result["first_divergence"]
    assert not result["ok"] and first["node"] == "model-features" and first["kind"] == "feature"


def test_no_feature_is_traded(recorded):
    config, raws = recorded
    events = {event.seq: event for event in map(decode, raws)}
    traded = [one for one in events.values() if one.kind in (Kind.intent, Kind.shadow, Kind.parent)]
    assert len(traded) > 10 and not [one for one in traded if events[one.cause_seq].kind == Kind.feature]
    signals = replay.signals(config, "log")
    assert len(signals) and "features" not in set(signals["model"])
    with pytest.raises(ConfigError, match=r"strategies\[0\].models.*what matches one of"):
        load(config.root, {"strategies": [{"name": "wrong", "models": ["features"]}]})


def test_after_each_event_and_of_what_is_wanted_alone(recorded):
    """A model of quotes is given no depth; its state goes on over a checkpoint."""
    config, raws = recorded
    step, again = (model(config, "live_features", ("ofi", "mid"), interval_ms=0.0) for _ in range(2))
    assert step.kinds == (Kind.quote, Kind.gap, Kind.instrument)
    market = [Event(raw) for raw in raws if Event(raw).kind in (Kind.quote, Kind.trade, Kind.gap, Kind.instrument)]
    out = [decode(bytes(raw)) for raw in step.step(market[:300])]
    again.load(step.save())
    out += [decode(bytes(raw)) for raw in again.step(market[300:])]
    offline = tm.open(config.root).features(SUBJECT, ["mid", "ofi"], every=None)
    assert [event.cause_seq for event in out] == offline["seq"].tolist() and len(out) > 100
    values = [np.frombuffer(event.body, FEATURE) for event in out]
    assert b"".join(one["value"].tobytes() for one in values) == offline[["mid", "ofi"]].to_numpy().tobytes()


@pytest.mark.parametrize(
    ("kernel", "features", "sentence"),
    [
        ("live_features", (), 'say which, like features = \\["mid"\\], or "\\*" for all'),
        ("live_features", ("micro",), "'micro' is no feature of kernel live_features; there are mid, "),
        ("trade_flow", ("mid",), "kernel trade_flow publishes signals: features = .* is impossible"),
    ],
)
def test_a_choice_that_cannot_be_is_a_sentence(recorded, kernel, features, sentence):
    with pytest.raises(ConfigError, match=sentence):
        model(recorded[0], kernel, features)


GIVEN = """
        out[n].row = r
        out[n].feature = int(p.scale)
        out[n].value = s.n
        out[n].at_ns = rows[r].seq_ns
        n += 1"""


def test_a_kernel_of_ones_own_publishes_its_features_and_no_others(recorded, tmp_path):
    """Numbered beyond its FEATURES it is stopped with the event: no value goes out under another feature's name."""
    config, raws = recorded
    text = HEAD.replace("HORIZON_NS = 0", 'FEATURES = ("first", "second")') + KERNEL.format(body=GIVEN.lstrip("\n"))
    (tmp_path / "two_features.py").write_text(text)
    quotes = [event for event in map(Event, raws) if event.kind == Kind.quote][:20]

    with models_in(tmp_path):
        given = [decode(bytes(raw)) for raw in model(config, "two_features", ("*",), scale=1.0).step(quotes)]
        assert [(event.kind, event.cause_seq) for event in given] == [(Kind.feature, quote.seq) for quote in quotes]
        (value,) = np.frombuffer(given[4].body, FEATURE)
        assert value.item() == (b"second", 5.0, quotes[4].seq_ns)
        assert model(config, "two_features", ("first",), scale=1.0).step(quotes) == [], "it is not wanted"
        wrong = model(config, "two_features", ("first",), scale=2.0)
        wrong.careful = True
        with pytest.raises(ModelFault, match="a value is of feature 2; there are 0 to 1"):
            wrong.step(quotes)
