"""What a model is made of: the features that it imports, and its weights; and the records within its state."""

from pathlib import Path

import numpy as np
import pytest

from tickmesh.bus.config import ConfigError, load
from tickmesh.nodes.models import cache, loading
from tickmesh.nodes.models.interpreted import Record


def test_features_and_weights_are_sources_of_the_model_that_uses_them(root):
    (root / "models").mkdir()
    loading.use_folder(load(root))
    path = root / "models/mine.py"
    path.write_bytes((Path(loading.__file__).parent / "templates/features.py").read_bytes())
    found = {one.name for one in cache.sources(path)}
    assert {"mine.py", "touch.py", "order_flow.py", "decay.py", "signal_rule.py"} <= found
    assert not {"vector.py", "depth.py", "mine.weights.npz"} & found
    before = cache.sources_hash(path)
    (root / "models/mine.weights.npz").write_bytes(b"1")
    assert "mine.weights.npz" in {one.name for one in cache.sources(path)} and cache.sources_hash(path) != before


def test_a_file_with_the_name_of_a_shipped_folder_is_refused(root):
    (root / "models").mkdir()
    (root / "models/features.py").write_text("")
    with pytest.raises(ConfigError, match=r"features.py has the name of a shipped file"):
        loading.use_folder(load(root))


def test_a_record_within_a_record_is_read_and_written_by_its_fields():
    inner = np.dtype([("x", "<f8")])
    state = np.zeros(1, np.dtype([("part", inner), ("n", "<i8")]))
    Record(state[0]).part.x = 2.5
    assert state[0]["part"]["x"] == 2.5 and Record(state[0]).part.x == 2.5
    with pytest.raises(AttributeError, match="there is no field 'y'; there are x"):
        _ = Record(state[0]).part.y
