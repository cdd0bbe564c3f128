"""The signals of a model as a pandas frame, for people and notebooks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tickmesh.nodes.model.node import Step
from tickmesh.storage.columns.span import ColumnSpan

if TYPE_CHECKING:
    import pandas


def signal_frame(step: Step, spans: Iterable[ColumnSpan]) -> "pandas.DataFrame":
    """Hands spans to a step; gives its signals in order: index `time` (seq_ns of the cause, UTC), columns cause_seq, k,
    instrument, value, price (float, NaN for none), reference_ticks (mantissa, 0 for none)."""
    import pandas

    found = [given for span in spans if len(given := step.step_span(span))]
    signals = np.concatenate(found) if found else np.zeros(0, _dtype())
    names = np.array(step.states.subjects, object)
    record = signals["record"]
    return pandas.DataFrame(
        {
            "cause_seq": signals["cause_seq"],
            "k": signals["k"],
            "instrument": names[signals["instrument"]] if len(names) else np.zeros(0, object),
            **{name: record[name] for name in ("value", "price", "reference_ticks")},
        },
        index=pandas.DatetimeIndex(signals["cause_ns"].view("M8[ns]"), tz="UTC", name="time"),
    )


def _dtype() -> np.dtype:
    from tickmesh.nodes.model.columns import CAUSED_SIGNAL

    return CAUSED_SIGNAL
