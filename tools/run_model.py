"""`mesh run-model`: one model over what is recorded, with any parameters; its signals as a table. Nothing is published.

In Python the same is `run_model(...)`, which gives a pandas frame.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tickmesh.bus.config import Config, load
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

    `kernel`: its name or its file; `parameters`: those that are not as in its file; `instruments`: venue.symbol, or patterns;
    `source`: all (the archive, then the log), log, or archive. Raises ConfigError for settings that cannot be, ModelFault for a
    model that cannot run, ReadError, ArchiveError or LogError for what cannot be read.
    """
    config = config or load()
    step = step_of(config, kernel, parameters or {}, instruments)
    return signal_frame(step, source_spans(config, source, step.kinds, ()))


def step_of(config: Config, kernel: str, parameters: Mapping[str, float], instruments: Sequence[str]) -> Step:
    """Makes a step of a kernel, by name or file, that no mesh.toml names; it is that of a replay."""
    loading.use_folder(config)
    settings = ModelSettings("run", loading.find(kernel).stem, tuple(instruments), dict(parameters))
    mesh = msgspec.structs.replace(config.mesh, models=(settings,))
    step = Step(Config(mesh, config.root), "run")
    step.careful = True
    return step


def command(
    kernel: str, parameters: Mapping[str, float], instruments: Sequence[str], source: str, csv: Path | None
) -> JsonObject:
    """Runs a model as the command does; gives what `--json` prints. `csv`: a file for the signals. Raises Failure."""
    config = load()
    try:
        step = step_of(config, kernel, parameters, instruments or ("*",))
        signals = signal_frame(step, source_spans(config, source, step.kinds, ()))
    except (ModelFault, ReadError, ArchiveError, LogError) as error:
        raise Failure(str(error)) from None
    if csv is not None:
        signals.to_csv(csv)
    counters, identity = step.counters(), step.identity()
    return {
        "kernel": identity["kernel"], "parameters": identity["parameters"], "instruments": list(step.states.subjects),
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
    if result["refused"]:
        out.print(f"{result['refused']} were no signals: {result['why_refused']}", style="bold", markup=False)
    for row in result["last"]:
        price = "" if row["price"] is None else f"  price {row['price']:g}"
        out.print(f"  {row['time']}  {row['instrument']}  {row['value']:+.4f}{price}  (event {row['cause_seq']})", markup=False)
    if result["csv"]:
        out.print(f"All of them: {result['csv']}", markup=False)
