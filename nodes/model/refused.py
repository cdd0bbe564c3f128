"""Models that their trial has found unable to run, so that no process of the mesh runs them: run/refused_models.json.

A model that goes wrong only on its first events, like one that never comes back, would take whom it lives with along. What is
refused is a file with its parameters: edited, it is another, and each `mesh up` and `mesh reload` tries it again.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.files import write_file
from tickmesh.bus.settings import ModelSettings
from tickmesh.nodes.models.faults import ModelFault

FILE = "refused_models.json"  # in the run folder
PROCESS = "model-"  # and a model's name is that of its process
KEPT = 100  # the newest; more where one `keep` brings more


class RefusedModel(ModelFault):
    """Raised in place of running a model that its trial found unable to. `why`: the trial's sentence; `file`: the model's."""

    def __init__(self, why: str, file: str):
        super().__init__(why, file)
        self.args = (why,)


def key_of(model: ModelSettings) -> str:
    """What a model's trial depends on, as a hash of 16 hex digits; "" where there is no such kernel."""
    from tickmesh.nodes.models import cache, loading  # numba takes 0.4 s to import: only who has models pays for it

    try:
        made_of = cache.sources_hash(loading.file_of(model.kernel))
    except ConfigError:
        return ""
    given = f"{sorted(model.parameters.items())}{sorted(model.features) or ''}"
    return hashlib.sha256(f"{made_of} {cache.versions()} {given}".encode()).hexdigest()[:16]


def keep(config: Config, good: Collection[str], bad: Mapping[str, str]) -> None:
    """Writes what a trial has found: keys that can run, and those that cannot → why."""
    before = {key: why for key, why in _read(config).items() if key not in good and key not in bad}
    after = dict(list((dict(bad) | before).items())[: max(KEPT, len(bad))])
    if after != _read(config):
        _file(config).parent.mkdir(parents=True, exist_ok=True)
        write_file(_file(config), json.dumps(after).encode())


def why_refused(config: Config, model: ModelSettings) -> str:
    """Why a model as it is now was found unable to run; "" where that was not found."""
    known = _read(config)
    return known.get(key_of(model), "") if known else ""


def check(config: Config, name: str) -> None:
    """Raises RefusedModel where `name` is the process of a model that its trial, as it is now, has found unable to run."""
    if not name.startswith(PROCESS) or not _read(config):
        return
    model = config.model(name.removeprefix(PROCESS))
    from tickmesh.nodes.models import loading

    loading.use_folder(config)
    if why := why_refused(config, model):
        raise RefusedModel(why, loading.short(str(loading.file_of(model.kernel))))


def _file(config: Config) -> Path:
    return config.run_dir / FILE


def _read(config: Config) -> dict[str, str]:
    try:
        return {str(key): str(why) for key, why in json.loads(_file(config).read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return {}
