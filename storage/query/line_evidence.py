"""What speaks for a stream that no id can prove: how much each line brought of it, and how long nobody brought anything."""

from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.storage.query import reader


class LineEvidence(NamedTuple):
    """The sequencer's reports of one stream, summed.

    `events`: line → events that it brought. `silence_ns`: the longest time between two reports of any; `report_ns`: how long a
    report takes, a shorter silence does not show.
    """

    events: dict[str, int]
    silence_ns: int
    report_ns: int


def line_evidence(config: Config, subject: str) -> dict[Kind, LineEvidence]:
    """Reads what lines brought of the streams of `venue.instrument`, from archive and log; not those without a report."""
    rows = reader.arrays(config, f"{Kind.line.name}.{subject}", gaps="ignore")
    out = {}
    for kind in (Kind.trade, Kind.quote, Kind.depth):
        own = rows[(rows["stream"] == kind) & (rows["joined"] == 0)]
        if not len(own):
            continue
        names, places = np.unique(own["line"], return_inverse=True)
        counts = np.bincount(places, own["events"].astype("f8")).astype("i8").tolist()
        own = own[np.argsort(own["begin_ns"], kind="stable")]
        between = own["begin_ns"][1:] - np.maximum.accumulate(own["end_ns"])[:-1]
        events = {name.decode(): count for name, count in zip(names.tolist(), counts)}
        out[kind] = LineEvidence(events, int(between.max(initial=0)), int((own["end_ns"] - own["begin_ns"]).max()))
    return out
