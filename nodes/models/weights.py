"""The frozen weights of a learned model, models/NAME.weights.npz: read and written, and checked as a stranger's file.

A model's module loads them as it is imported (`load(__file__)`) and keeps the arrays as globals, which numba freezes into the
machine code. The file is one of the model's sources (cache.py): other weights are another identity and another folder of code.
"""

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tickmesh.nodes.models.features.table import NAMES, PARAMETERS
from tickmesh.nodes.models.interface import Floats
from tickmesh.nodes.models.learned import LEAF

FORMAT = 1
SUFFIX = ".weights.npz"
BYTES_MAX = 64 << 20
NODES_MAX = 1 << 20
SHAPES = {  # dtype and dimensions
    "linear": ("<f8", 2), "bias": ("<f8", 0), "roots": ("<i4", 1), "links": ("<i4", 2), "numbers": ("<f8", 2),
    "curve": ("<f8", 2),
}  # fmt: skip
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class WeightsError(ValueError):
    """A file of weights that is missing, broken, or of something else: a sentence."""


class Weights(NamedTuple):
    """What a model has learned; the arrays are those of learned.score_of and learned.chance_of.

    `names`: its features, in the order of table.FEATURES; `parameters`: of all features, as it was trained with; `facts`:
    how it was trained, for people.
    """

    names: tuple[str, ...]
    parameters: dict[str, float]
    linear: Floats
    bias: float
    roots: np.ndarray
    links: np.ndarray
    numbers: Floats
    curve: Floats
    facts: dict[str, Any]


def path_of(model: Path) -> Path:
    """The file of weights of a model's file."""
    return model.with_name(model.stem + SUFFIX)


def load(model: str) -> Weights:
    """Reads the weights that lie beside the file of a model. Raises WeightsError."""
    path = path_of(Path(model))
    if not path.is_file():
        raise WeightsError(f"there is no {path.name} beside it: `mesh train {path.name.removesuffix(SUFFIX)}` makes it")
    if path.stat().st_size > BYTES_MAX:
        raise WeightsError(f"{path.name} has {path.stat().st_size} bytes; weights have at most {BYTES_MAX}")
    return unpacked(path.read_bytes(), path.name)


def packed(weights: Weights) -> bytes:
    """The bytes of a file of weights, the same for the same weights."""
    made = {"format": FORMAT, "names": list(weights.names), "parameters": weights.parameters, "facts": weights.facts}
    text = np.frombuffer(json.dumps(made, sort_keys=True).encode(), "u1")
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(getattr(weights, name), dtype) for name, (dtype, _) in SHAPES.items()}
    np.savez(file, made=text, **arrays)
    return file.getvalue()


def unpacked(data: bytes, name: str) -> Weights:
    """Reads what `packed` gave. Raises WeightsError with `name` for what is not, or could not be computed with."""
    again = f"`mesh train {name.removesuffix(SUFFIX)}` makes it anew"
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("made", *SHAPES)}
        made = json.loads(arrays.pop("made").tobytes())
    except _UNREADABLE as error:
        raise WeightsError(f"{name} is no file of weights, or is damaged ({error}): {again}") from None
    if not isinstance(made, dict) or made.get("format") != FORMAT:
        seen = made.get("format") if isinstance(made, dict) else made
        raise WeightsError(f"{name} has format {seen!r}; this version reads {FORMAT}: {again}")
    for key, (dtype, dimensions) in SHAPES.items():
        if arrays[key].dtype.str != dtype or arrays[key].ndim != dimensions:
            shown = f"{arrays[key].dtype} of {arrays[key].ndim} dimensions"
            raise WeightsError(f"{name}: {key} is {shown}; it should be {np.dtype(dtype)} of {dimensions}: {again}")
    if wrong := _impossible(made, arrays):
        raise WeightsError(f"{name}: {wrong}: {again}")
    return Weights(
        tuple(made["names"]), made["parameters"], arrays["linear"], float(arrays["bias"]), arrays["roots"], arrays["links"],
        arrays["numbers"], arrays["curve"], made["facts"],
    )  # fmt: skip


def _impossible(made: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """What of a file's content a kernel could not compute with, a sentence; "" for nothing."""
    names, given, facts = made.get("names"), made.get("parameters"), made.get("facts")
    if not isinstance(names, list) or not names or names != [name for name in NAMES if name in names]:
        return f"its features are {names!r}; they should be some of {', '.join(NAMES)}, in this order"
    if not isinstance(given, dict) or set(given) != set(PARAMETERS) or not isinstance(facts, dict):
        return "its parameters are not those of the features of this version"
    for name, value in given.items():
        least, most = PARAMETERS[name].least, PARAMETERS[name].most
        if not isinstance(value, (int, float)) or not least <= value <= most:
            return f"{name} = {value!r} is impossible; allowed: {least:g} to {most:g}"
    linear, roots, links, numbers, curve = (arrays[name] for name in ("linear", "roots", "links", "numbers", "curve"))
    if linear.shape != (len(names), 3) or not np.isfinite(linear).all() or not (linear[:, 1] > 0).all():
        return f"linear has the shape {linear.shape}; it should have a finite mean, scale above 0 and weight for each feature"
    if not np.isfinite(arrays["bias"]):
        return f"bias is {float(arrays['bias'])}; it should be finite"
    if curve.shape[0] != 2 or curve.shape[1] < 1 or not np.isfinite(curve).all() or not (np.diff(curve[0]) > 0).all():
        return "curve is no curve: it should have rising scores"
    if curve[1].min() < 0 or curve[1].max() > 1 or (np.diff(curve[1]) < 0).any():
        return "curve gives chances outside 0 … 1, or falling ones"
    return _impossible_trees(len(names), roots, links, numbers)


def _impossible_trees(features: int, roots: np.ndarray, links: np.ndarray, numbers: np.ndarray) -> str:
    """The same of the trees: every way leads down, to a leaf with a finite value."""
    count = len(links)
    if links.shape != (count, 4) or numbers.shape != (count, 2) or count > NODES_MAX:
        return f"links have the shape {links.shape}, numbers {numbers.shape}; they should be (n, 4), (n, 2), n ≤ {NODES_MAX}"
    if len(roots) and (roots.min() < 0 or roots.max() >= count):
        return f"a tree begins outside its {count} nodes"
    inner = links[:, 0] != LEAF
    place = np.flatnonzero(inner)
    for side in (1, 2):
        child = links[inner, side]
        if (child <= place).any() or (child >= count).any():
            return "a node of a tree leads back, or outside"
    if (links[inner, 0] < 0).any() or (links[inner, 0] >= features).any():
        return f"a tree asks for a feature that is none of the {features}"
    if not np.isfinite(numbers[:, 1]).all() or np.isnan(numbers[:, 0]).any():
        return "a leaf's value is not finite, or a threshold is no number"
    return ""
