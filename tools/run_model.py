"""`mesh run-model`: one model over what is recorded, with any parameters; its signals as a table. Nothing is published.

In Python the same is `run_model(...)`, which gives a pandas frame.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.segments import LogError
from tickmesh.bus.settings import ModelSettings
from tickmesh.nodes.model.node import Step
from tickmesh.nodes.models import loading
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query.reader import ReadError
from tickmesh.tools.replay import source_spans
from tickmesh.tools.signal_frame import signal_frame
from tickmesh.tools.terminal import Failure, JsonObject, out

if TYPE_CHECKING:
    import pandas

ROWS_SHOWN = 10


def run_model(
    kernel: str,
    parameters: Mapping[str, float] | None = None,
    instruments: Sequence[str] = ("*",),
    source: str = "all",
    config: Config | None = None,
) -> "pandas.DataFrame":
    """Runs a model over what this folder has recorded; gives its signals, one a row, as `signal_frame` describes them.

    `kernel`: its name or its file; `parameters`: those that are not as in mesh.toml's model with this kernel, or, where there
    is none, as in its file; `instruments`: venue.symbol, or patterns; `source`: all (the archive, then the log), log, or
    archive. Raises ConfigError for settings that cannot be, ModelFault for a model that cannot run, ReadError, ArchiveError or
    LogError for what cannot be read.
    """
    config = config or load()
    step = step_of(config, kernel, parameters or {}, instruments)
    return signal_frame(step, source_spans(config, source, step.kinds, ()))


def step_of(config: Config, kernel: str, parameters: Mapping[str, float], instruments: Sequence[str]) -> Step:
    """Makes the step of a replay of a kernel, by name or file. Raises ConfigError where no instrument is as wanted."""
    loading.use_folder(config)
    if not config.subjects(tuple(instruments)):
        known = ", ".join(config.subjects(("*",)))
        raise ConfigError(f"no instrument of mesh.toml is as in {', '.join(instruments)}; there are {known}")
    file = loading.find(kernel)
    if loading.gives_features(file.stem):
        ways = f"`mesh check-model {file.stem}` tries it, and tickmesh.open().features(…) computes those of docs/features.md"
        raise ConfigError(f"{file.stem} gives features, no signals: {ways}")
    base = configured(config, file.stem)
    settings = ModelSettings("run", file.stem, tuple(instruments), {**(base.parameters if base else {}), **parameters})
    mesh = msgspec.structs.replace(config.mesh, models=(settings,))
    step = Step(Config(mesh, config.root), "run")
    step.careful = True
    return step


def configured(config: Config, kernel: str) -> ModelSettings | None:
    """The model of mesh.toml with this kernel, the first of several; None for none."""
    return next((model for model in config.models if model.kernel == kernel), None)


def check_writable(path: Path) -> None:
    """Raises Failure where a file could not be written there: before the work whose result it is to hold."""
    folder = path.parent
    if not folder.is_dir():
        raise Failure(f"{path} cannot be written: there is no folder {folder}")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise Failure(f"{path} cannot be written: {'it is a folder' if path.is_dir() else 'permission denied'}")


def command(
    kernel: str, parameters: Mapping[str, float], instruments: Sequence[str], source: str, csv: Path | None
) -> JsonObject:
    """Runs a model as the command does; gives what `--json` prints. `csv`: a file for the signals. Raises Failure."""
    config = load()
    if csv is not None:
        check_writable(csv)
    try:
        step = step_of(config, kernel, parameters, instruments or ("*",))
        signals = signal_frame(step, source_spans(config, source, step.kinds, ()))
    except (ModelFault, ReadError, ArchiveError, LogError) as error:
        raise Failure(str(error)) from None
    if csv is not None:
        try:
            signals.to_csv(csv)
        except OSError as error:
            raise Failure(f"{csv} cannot be written: {error.strerror or error}") from None
    counters, identity = step.counters(), step.identity()
    base = configured(config, identity["kernel"])
    return {
        "kernel": identity["kernel"], "parameters": identity["parameters"],
        "parameters_of": f"model {base.name} of mesh.toml" if base else "the file's defaults", "set": dict(parameters),
        "instruments": list(step.states.subjects),
        "source": source, "events": counters["events"], "signals": len(signals), "refused": counters["refused"],
        "why_refused": step.complaint(), "value_mean": float(signals["value"].mean()) if len(signals) else None,
        "value_abs_mean": float(signals["value"].abs().mean()) if len(signals) else None,
        "csv": str(csv) if csv else None,
        "last": [
            {"time": time.isoformat(), **{name: None if value != value else value for name, value in row.items()}}
            for time, row in zip(signals.index[-ROWS_SHOWN:], signals.tail(ROWS_SHOWN).to_dict("records"))
        ],
    }  # fmt: skip


def show(result: JsonObject) -> None:
    """Prints for a person what a model gave."""
    given = ", ".join(f"{name} = {value:g}" for name, value in result["parameters"].items())
    out.print(f"{result['kernel']} ({given}): {result['signals']} signals of {result['events']} events", markup=False)
    changed = f", but as said: {', '.join(result['set'])}" if result["set"] else ""
    out.print(f"Parameters: {result['parameters_of']}{changed}", markup=False)
    if result["refused"]:
        out.print(f"{result['refused']} were no signals: {result['why_refused']}", style="bold", markup=False)
    for row in result["last"]:
        price = "" if row["price"] is None else f"  price {row['price']:g}"
        out.print(f"  {row['time']}  {row['instrument']}  {row['value']:+.4f}{price}  (event {row['cause_seq']})", markup=False)
    if result["csv"]:
        out.print(f"All of them: {result['csv']}", markup=False)
