"""`mesh train`: learns a model from what was recorded, judges it on what it had not seen, and freezes it beside its file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.files import write_file
from tickmesh.bus.segments import LogError
from tickmesh.research.feature_frames import use_cache
from tickmesh.research.sources import MeshSource
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query.names import resolve
from tickmesh.storage.query.times import ReadError
from tickmesh.tools.new_model import Wish, checked, written
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

if TYPE_CHECKING:
    from tickmesh.research.learning.learners import Learner
    from tickmesh.research.learning.training import Training

USUAL = ("queue_imbalance", "ofi", "quoted_spread", "trade_intensity", "realised_volatility", "sign_autocorrelation")


class Wanted(NamedTuple):
    """What to learn from, as it was asked for."""

    instrument: str
    features: Sequence[str] = USUAL
    every: str = "1s"
    horizon: str = "10s"
    start: str | None = None
    end: str | None = None
    beyond: float = 1.0
    learner: "Learner" = "boosted"
    folds: int = 5
    embargo: str = "0"
    seed: int = 1


def train(config: Config, name: str, wanted: Wanted, parameters: dict[str, float], add: bool) -> JsonObject:
    """Trains models/NAME.py; gives what `--json` prints. The file is written where there is none, its weights are replaced.

    Raises Failure where there is too little to learn from, or something cannot be read or written: nothing was changed then.
    """
    use_cache(config)
    from tickmesh.nodes.models import weights
    from tickmesh.research.learning.samples import read_samples
    from tickmesh.research.learning.training import LearningTerms
    from tickmesh.research.learning.training import train as learn
    from tickmesh.storage.query.durations import nanoseconds

    model = Wish(config, name, "learned", add, replace=True)
    checked(model)  # before the work
    try:
        embargo_ns = 0 if wanted.embargo == "0" else nanoseconds(wanted.embargo)
        found = resolve(MeshSource(config).instruments(), wanted.instrument, config.source_dir)
        if len(found) != 1:
            raise UsageFailure(f"{wanted.instrument} are {len(found)} instruments; learn from one: {', '.join(found)}")
        with progress("reading") as shown:
            samples = read_samples(
                config, found[0], wanted.features, wanted.every, wanted.horizon, wanted.start, wanted.end, parameters,
                wanted.beyond, lambda count: shown(count, None),
            )  # fmt: skip
        terms = LearningTerms(wanted.learner, wanted.folds, embargo_ns, wanted.seed)
        facts = {"instrument": found[0], "every": wanted.every, "beyond": wanted.beyond}
        with progress("learning") as shown:
            training = learn(samples, terms, parameters, facts, shown)
        data = weights.packed(training.weights)
        weights.unpacked(data, f"{name}{weights.SUFFIX}")  # what a live model would refuse is not written
        made = written(model)
        path = weights.path_of(Path(made["file"]))
        write_file(path, data)
    except (ReadError, ArchiveError, LogError, ValueError, ConfigError) as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{error.filename or config.models_dir} cannot be written: {error.strerror or error}") from None
    return {**made, "weights": str(path), **_figures(training)}


def _figures(training: "Training") -> JsonObject:
    judgement, facts = training.judgement, training.weights.facts
    return {
        "instrument": facts["instrument"], "learner": facts["learner"], "features": list(training.weights.names),
        "moments": facts["moments"], "decided": facts["decided"], "judged": judgement.moments, "ups": judgement.ups,
        "brier": judgement.brier, "usual_brier": judgement.usual_brier, "log_loss": judgement.log_loss,
        "usual_log_loss": judgement.usual_log_loss, "purged": training.purged,
        "reliability": [{"chance": chance, "came": came, "count": count} for chance, came, count in judgement.reliability],
    }  # fmt: skip


def show(result: JsonObject) -> None:
    """Prints for a person how good the model is on what it had not seen, and what to do next."""
    out.print(
        f"{result['instrument']}: {result['moments']} moments, {result['decided']} of them moved beyond the costs; "
        f"{result['judged']} were judged by what came before them.", markup=False,
    )  # fmt: skip
    for name in ("brier", "log_loss"):
        ours, usual = result[name], result[f"usual_{name}"]
        out.print(f"  {name:9}{ours:.4f}, of always saying the usual share {usual:.4f}", markup=False)
    better = result["brier"] < result["usual_brier"] and result["log_loss"] < result["usual_log_loss"]
    out.print(f"  {'better' if better else 'no better'} than knowing nothing", style="" if better else "bold", markup=False)
    out.print("  chance   came   of", markup=False)
    for band in result["reliability"]:
        out.print(f"  {band['chance']:6.3f} {band['came']:6.3f} {band['count']:5d}", markup=False)
    out.print(f"Weights: {result['weights']}; model: {result['file']}", markup=False)
    if result["added"]:
        out.print(f"It is in {result['settings']}. `mesh reload` starts it, or restarts it with these weights.", markup=False)
    else:
        out.print(f"In {result['settings']} (or again with --add), then `mesh reload`:", markup=False)
        for line in result["table"].splitlines():
            out.print(f"  {line}", markup=False)
