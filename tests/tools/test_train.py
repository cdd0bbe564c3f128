"""`mesh train`: from a recorded log to a model that runs with the weights that it has frozen, and is refused with others."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.feature_tape import EXPONENTS, SUBJECT, market_tape
from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.stored import write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, SIGNAL, Kind
from tickmesh.bus.settings import Mesh, ModelSettings
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import Event, decode, encode
from tickmesh.nodes.model.node import Step
from tickmesh.nodes.models import cache, loading
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.learned import chance_of, score_of
from tickmesh.nodes.models.weights import Weights, WeightsError, packed, path_of, unpacked
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns import reading
from tickmesh.tools import replay
from tickmesh.tools.check_model import sources_of

RAWS = market_tape(5, 3000, gaps=0.002)
WORDS = ("--instrument", "BTCUSDT", "--every", "100ms", "--horizon", "500ms", "--beyond", "0.2", "--folds", "2", "--json")
NAMES = ("ofi", "queue_imbalance", "sign_autocorrelation")
FEATURES = (*(word for name in NAMES for word in ("--feature", name)), "--set", "half_life_ms=250")
EAGER = {"interval_ms": 0.0, "step": 0.0, "threshold": 0.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A mesh with a recorded market, and a model `trained` of it."""
    pytest.importorskip("sklearn")
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text("")
    write_log(load(root).log_dir, RAWS)
    return root


@pytest.fixture(scope="module")
def trained(root) -> dict:
    done = mesh_here(root, "train", "trained", "--add", *FEATURES, *WORDS)
    assert done.returncode == 0, done.stderr
    result: dict = json.loads(done.stdout)
    loading.use_folder(load(root))
    return result


def test_it_is_judged_on_what_it_had_not_seen_and_put_into_the_mesh(root, trained):
    assert trained["features"] == ["queue_imbalance", "ofi", "sign_autocorrelation"], "in the order of the table"
    assert trained["moments"] > trained["decided"] > trained["judged"] > 300 and min(trained["purged"]) > 0
    assert sum(band["count"] for band in trained["reliability"]) == trained["judged"]
    assert trained["added"] and load(root).models[0].kernel == "trained"
    weights = unpacked(Path(trained["weights"]).read_bytes(), "trained.weights.npz")
    assert weights.facts["horizon_ns"] == 500_000_000 and weights.parameters["half_life_ms"] == 250.0
    assert packed(weights) == Path(trained["weights"]).read_bytes(), "the same weights are the same bytes"
    data = Path(trained["weights"]).read_bytes()
    again = mesh_here(root, "train", "trained", *FEATURES, *WORDS)
    assert again.returncode == 0 and Path(trained["weights"]).read_bytes() == data, "and so is the same training"


def test_the_live_model_says_the_chances_of_its_weights_by_events_as_by_columns(root, trained):
    config = load(root)
    settings = ModelSettings("m", "trained", parameters=EAGER)
    step = Step(Config(Mesh(models=(settings,), paths=config.mesh.paths), root), "m")
    live = [decode(bytes(raw)) for event in map(Event, RAWS) for raw in step.step([event])]
    assert len(live) > 500
    step.reset()
    by_columns = [bytes(raw) for span in reading.spans(config, step.kinds) for raw in step.encoded(step.step_span(span))]
    assert by_columns == [bytes(event.raw) for event in live]
    weights = unpacked(Path(trained["weights"]).read_bytes(), "")
    frame = tm.open(root).features(SUBJECT, weights.names, every=None, parameters=weights.parameters)
    rows = frame.set_index("seq")[list(weights.names)]
    for event in live[100:600:50]:
        values = rows.loc[event.cause_seq].to_numpy("f8")
        score = score_of(values, weights.linear, weights.bias, weights.roots, weights.links, weights.numbers)
        assert np.frombuffer(event.body, SIGNAL)[0]["value"] == 2.0 * chance_of(score, weights.curve) - 1.0
    with pytest.raises(Exception, match="half_life_ms = 100.0 is impossible for kernel trained; allowed: 250 to 250"):
        loading.parameters(loading.load("trained"), {"half_life_ms": 100.0})


def test_other_weights_are_another_identity_and_an_edit_that_a_reload_sees(root, trained):
    config, path = load(root), Path(trained["weights"])
    file, module, data = loading.file_of("trained"), loading.load("trained"), path.read_bytes()
    seen = sources_of(config, "trained"), cache.code_hash(file, module.kernel), cache.folder_name(file)
    weights = unpacked(data, "")
    path.write_bytes(packed(weights._replace(bias=weights.bias + 1e-9)))
    other = sources_of(config, "trained"), cache.code_hash(file, module.kernel), cache.folder_name(file)
    path.write_bytes(data)
    assert all(a != b for a, b in zip(seen, other))
    assert seen == (sources_of(config, "trained"), cache.code_hash(file, module.kernel), cache.folder_name(file))


LIVE = """
default_models = false
[paths]
models = "{models}"
[[models]]
name = "learned"
kernel = "trained"
parameters = {{ interval_ms = 0.0, step = 0.0, threshold = 0.0 }}
[[models]]
name = "features"
kernel = "live_features"
features = ["ofi", "queue_imbalance", "sign_autocorrelation", "mid"]
parameters = {{ interval_ms = 0.0, half_life_ms = 250.0 }}
[executor]
enabled = false
"""


def quoted(first: int, count: int) -> list[bytearray]:
    """Quotes and trades as a feed publishes them, with ids from `first` on."""
    pick, out = random.Random(first), []
    for i in range(first, first + count):
        bid = 6_000_000 + 10 * pick.randrange(5)
        quote = np.array([(i, bid, pick.randrange(1, 10**6), bid + 10, pick.randrange(1, 10**6), 0)], DTYPES[Kind.quote])
        trade = np.array([(i, bid, pick.randrange(1, 2000), 0, 0, pick.choice((-1, 1)), b"")], DTYPES[Kind.trade])
        out += [encode(kind, SUBJECT, row, first_id=i, last_id=i) for kind, row in ((Kind.quote, quote), (Kind.trade, trade))]
    return out


@pytest.mark.mesh
def test_new_weights_go_live_by_a_restart_and_their_hash_is_in_the_log(root, trained, deep):
    """Its own process beside a real sequencer, and features that are published beside it: what each says is what a replay says,
    with the weights of its time; from the restart on with others."""
    path = Path(trained["weights"])
    first = path.read_bytes()
    assert mesh_here(root, "train", "trained", *FEATURES, *WORDS, "--horizon", "300ms").returncode == 0
    second = path.read_bytes()
    path.write_bytes(first)
    nodes = NodeProcesses(deep, LIVE.format(models=root / "models"))
    loading.use_folder(nodes.config)
    codes = []
    try:
        nodes.start("sequencer", "model-learned", "model-features")
        feed = Producer(nodes.config, "feed-binance-1")
        definition = np.zeros(1, DTYPES[Kind.instrument])
        definition["price_exponent"], definition["quantity_exponent"] = EXPONENTS
        feed.publish([encode(Kind.instrument, SUBJECT, definition)])

        def given(kind: Kind) -> int:
            return len(nodes.events(kind))

        def wait_for(kind: Kind, count: int) -> None:
            until(lambda: given(kind) >= count, lambda: f"{given(kind)} of {count} {kind.name}s")

        for begin, weights in ((1, first), (201, second)):
            path.write_bytes(weights)
            if begin > 1:
                boundary = nodes.last()
                restarted = nodes.processes.pop("model-learned")
                restarted.terminate()
                assert restarted.wait(30) == 0
                nodes.start("model-learned")
            before = given(Kind.signal)
            for i in range(begin, begin + 200, 20):
                feed.publish(quoted(i, 20))
            wait_for(Kind.signal, before + 50)
            wait_for(Kind.feature, 2 * (begin + 199))
            codes.append(cache.code_hash(loading.file_of("trained"), loading.load("trained").kernel))
        feed.close()
        runs = [event for event in nodes.events(Kind.run) if event.subject == "model-learned"]
        assert [run.map()["code"] for run in runs] == codes and codes[0] != codes[1], "the hash of the weights is in the log"
    finally:
        path.write_bytes(first)
        nodes.end()
    config = nodes.config
    with_old = replay.compare_stored(config, "log", None)
    path.write_bytes(second)
    try:
        with_new = replay.compare_stored(config, "log", None)
    finally:
        path.write_bytes(first)
    old, new = with_new["models"]["learned"]["stretches"]
    assert with_new["ok"] and new["equal"] == new["live"] >= 50 and not old["equal"], with_new
    assert old["changes"] == [f"code: {codes[0]} then, {codes[1]} now"]
    old, new = with_old["models"]["learned"]["stretches"]
    assert not with_old["ok"] and old["equal"] == old["live"] >= 50 and new["equal"] < new["live"], with_old
    assert with_old["first_divergence"]["cause_seq"] > boundary, "its signals change from there on"
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), LogReader(config.log_dir).last, 300)
    writer.close()
    names = ["mid", "queue_imbalance", "ofi", "sign_autocorrelation"]
    offline = tm.open(config.root).features(SUBJECT, names, every=None, parameters={"half_life_ms": 250.0})
    live = tm.open(config.root).live_features(SUBJECT).to_numpy()
    assert live["value"].tobytes() == offline[names].to_numpy().tobytes() and len(live) == 4 * len(offline)
    assert live["cause_seq"].reshape(-1, 4)[:, 0].tolist() == offline["seq"].tolist()


def small() -> Weights:
    """Weights of one tree of three nodes."""
    from tickmesh.nodes.models.features.table import PARAMETERS

    links = np.array([(0, 1, 2, 1), (-1, 0, 0, 0), (-1, 0, 0, 0)], "i4")
    numbers = np.array([(0.5, 0.0), (0.0, -1.0), (0.0, 1.0)])
    given = {name: one.default for name, one in PARAMETERS.items()}
    linear, curve = np.array([(0.0, 1.0, 0.0)]), np.array([(-1.0, 1.0), (0.2, 0.8)])
    return Weights(("ofi",), given, linear, 0.25, np.array([0], "i4"), links, numbers, curve, {"horizon_ns": 1})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"names": ("micro",)}, "its features are .'micro'.; they should be some of mid"),
        ({"parameters": {"x": 1.0}}, "its parameters are not those of the features of this version"),
        ({"parameters": {**small().parameters, "sign_lag": 0.0}}, "sign_lag = 0.0 is impossible; allowed: 1 to 31"),
        ({"linear": np.zeros((1, 3))}, "linear has the shape .1, 3.; it should have a finite mean, scale above 0"),
        ({"bias": float("nan")}, "bias is nan"),
        ({"roots": np.array([3], "i4")}, "a tree begins outside its 3 nodes"),
        ({"links": np.array([(0, 0, 2, 1), (-1, 0, 0, 0), (-1, 0, 0, 0)], "i4")}, "a node of a tree leads back"),
        ({"links": np.array([(1, 1, 2, 1), (-1, 0, 0, 0), (-1, 0, 0, 0)], "i4")}, "asks for a feature that is none of the 1"),
        ({"numbers": np.full((3, 2), np.inf)}, "a leaf's value is not finite"),
        ({"curve": np.array([(1.0, 1.0), (0.2, 0.8)])}, "curve is no curve"),
        ({"curve": np.array([(0.0, 1.0), (0.2, 1.8)])}, "chances outside 0 … 1"),
        ({"curve": np.zeros((2, 0))}, "curve is no curve"),
    ],
)
def test_weights_that_nothing_could_be_computed_with_are_a_sentence(changed, sentence):
    assert unpacked(packed(small()), "x.weights.npz").links.tolist() == small().links.tolist()
    with pytest.raises(WeightsError, match=sentence):
        unpacked(packed(small()._replace(**changed)), "x.weights.npz")


def test_a_file_that_is_broken_or_of_something_else_is_a_sentence(root, trained, tmp_path):
    data = packed(small())
    foreign = tmp_path / "other.npz"
    np.savez(foreign, x=np.zeros(3))
    for wrong in (b"", b"PK\x03\x04", data[: len(data) // 2], data[:200] + b"\0" * 40 + data[240:], foreign.read_bytes()):
        with pytest.raises(WeightsError, match="x.weights.npz is no file of weights, or is damaged .*`mesh train x`"):
            unpacked(wrong, "x.weights.npz")
    lonely = root / "models/lonely.py"
    lonely.write_bytes((root / "models/trained.py").read_bytes())
    loading.use_folder(load(root))
    with pytest.raises(ModelFault, match="there is no lonely.weights.npz beside it: `mesh train lonely` makes it"):
        loading.load("lonely")
    path_of(lonely).write_bytes(data[:100])
    with pytest.raises(ModelFault, match="lonely.weights.npz is no file of weights"):
        loading.load("lonely")
    lonely.unlink()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--horizon", "250ms"), 1, "horizon = '250ms' is no multiple of every = '100ms'"),
        (("--feature", "magic"), 1, "'magic' is no feature; there are mid"),
        (("--instrument", "DOGE"), 1, "there is no instrument 'DOGE'"),
        (("--end", "2024-08-09T00:00:02"), 1, "are too few for 2 folds"),
        (
            ("--start", "2030-01-01"),
            1,
            "BTCUSDT: nothing is recorded from 2030-01-01 to now that could be learned from",
        ),
        (("--horizon", "soon"), 1, "'soon' is no length of time; allowed are 1ns and more"),
        (("--set", "sign_lag=99"), 1, "sign_lag = 99.0 is impossible for the feature library; allowed: 1 to 31"),
    ],
)
def test_what_cannot_be_learned_is_a_sentence_and_writes_nothing(root, words, code, sentence):
    done = mesh_here(root, "train", "another", *WORDS, *words)
    assert done.returncode == code and sentence in " ".join(done.stderr.split()), done.stderr
    assert not list((root / "models").glob("another*"))


def test_a_file_of_yours_is_not_taken_for_a_learned_model(root):
    (root / "models").mkdir(exist_ok=True)
    (root / "models/mine.py").write_text("x = 1\n")
    done = mesh_here(root, "train", "mine", *WORDS)
    (root / "models/mine.py").unlink()
    assert done.returncode == 1 and "is no model of the template learned" in " ".join(done.stderr.split())
