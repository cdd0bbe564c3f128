"""`mesh train`: from a recorded log to a model that runs with the weights that it has frozen, and is refused with others."""

import json
from pathlib import Path

import numpy as np
import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.feature_tape import SUBJECT, market_tape
from tests.support.stored import write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.schema import SIGNAL
from tickmesh.bus.settings import Mesh, ModelSettings
from tickmesh.bus.wire import Event, decode
from tickmesh.nodes import models
from tickmesh.nodes.model.node import Step
from tickmesh.nodes.models import cache, loading
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.learned import chance_of, score_of
from tickmesh.nodes.models.weights import Weights, WeightsError, packed, path_of, unpacked
from tickmesh.storage.columns import reading
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
    before = list(models.__path__)
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text("")
    write_log(load(root).log_dir, RAWS)
    yield root
    models.__path__[:] = before


@pytest.fixture(scope="module")
def trained(root) -> dict:
    done = mesh_here(root, "train", "trained", "--add", *FEATURES, *WORDS)
    assert done.returncode == 0, done.stderr
    result: dict = json.loads(done.stdout)
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
        (("--set", "sign_lag=99"), 1, "sign_lag = 99.0 is impossible for the features; allowed: 1 to 31"),
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
