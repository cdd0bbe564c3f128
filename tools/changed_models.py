"""Models of mesh.toml that differ from those that run: which have other files now, and which could not run as they are.

For `mesh reload`: a model that works is not stopped for one that cannot.
"""

from collections.abc import Collection, Mapping, Sequence

from tickmesh.bus.config import Config
from tickmesh.bus.settings import ModelSettings
from tickmesh.nodes.model.refused import why_refused
from tickmesh.nodes.models import loading
from tickmesh.nodes.process_table import hosted, name_of
from tickmesh.nodes.runner.put_out import read as read_put_out
from tickmesh.nodes.sentinel.supervisord import ProcessInfo, ProcessStates
from tickmesh.tools import started_with
from tickmesh.tools.check_model import faults_of, sources_of
from tickmesh.tools.running import ready_pid, ready_sources
from tickmesh.tools.terminal import Failure

RUNS = (ProcessStates.RUNNING, ProcessStates.STARTING)


def edited(config: Config, guests: Mapping[str, str], sequencer: int, bad: Collection[str]) -> dict[str, str]:
    """Process → why it has to begin anew: the files of a model are not those that it has loaded. `guests`: whom the sequencer
    hosts, whose pid is `sequencer`; `bad`: processes of models that cannot run, as `refuse_bad` gives them."""
    found: dict[str, list[str]] = {}
    for model in config.models:
        name = name_of("model", model.name)
        put_out = read_put_out(config.run_dir, name, sequencer) if name in guests else None
        if name in bad:
            is_edited = False
        elif put_out is not None and not put_out.sources:  # it could not be loaded
            is_edited = not faults_of(config, [model])
        else:
            is_edited = _is_edited(config, model, put_out.sources if put_out is not None else "")
        if is_edited:
            found.setdefault("sequencer" if name in guests else name, []).append(model.kernel)
    return {
        name: f"the code of {', '.join(dict.fromkeys(kernels))} changed (its file, its weights, or one that it imports)"
        for name, kernels in found.items()
    }


def _is_edited(config: Config, model: ModelSettings, put_out: str = "") -> bool:
    """`put_out`: the hash of what it had loaded before it was put out, "" where it was not."""
    loaded = put_out or ready_sources(config.root, name_of("model", model.name))
    return bool(loaded) and loaded != sources_of(config, model.kernel)


def refuse_bad(config: Config, running: Sequence[ProcessInfo]) -> dict[str, str]:
    """Tries the models that have changed since they were started, or do not run: name of the process → why it cannot run.

    Raises Failure where one of those works now, as it was: that one would be stopped.
    """
    before = started_with.recall(config.root)
    known = {model.name: model for model in before.models} if before is not None else {}
    sequencer = next((one["pid"] for one in running if one["name"] == "sequencer"), 0)
    guests = {name_of(*one) for one in hosted(config)}
    idle = {one["name"] for one in running if one["state"] not in RUNS}
    idle |= {name for name in guests if read_put_out(config.run_dir, name, sequencer) is not None}

    def is_to_be_tried(model: ModelSettings) -> bool:
        stopped = name_of("model", model.name) in idle
        return known.get(model.name) != model or stopped or _is_edited(config, model) or bool(why_refused(config, model))

    loading.use_folder(config)
    changed = [model for model in config.models if is_to_be_tried(model)]
    bad = {name_of("model", name): why for name, why in faults_of(config, changed).items()}
    alive = {one["pid"] for one in running if one["state"] == ProcessStates.RUNNING}
    works = [name for name in bad if ready_pid(config.root, name) in alive]
    if works:
        reasons = "; ".join(f"{name} could not run: {bad[name]}" for name in works)
        whose = "It goes" if len(works) == 1 else "They go"
        raise Failure(f"{reasons}. {whose} on as before, and nothing was changed: mend that, then `mesh reload`")
    return bad
