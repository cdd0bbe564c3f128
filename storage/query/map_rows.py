"""Kinds whose records are maps (health, run, refusal, raw, alert) as rows: one for each event, one column for each key."""

from typing import Any

import msgpack
import numpy as np

from tickmesh.bus.fields import header_looks
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.query.columns_shown import columns_shown

HEADER = ("seq", "seq_ns", "recv_ns", "flags")


def is_map(kind: Kind) -> bool:
    """Whether a kind's records are a msgpack map."""
    return DTYPES[kind].names is None


def map_columns(kind: Kind, rows: np.ndarray) -> dict[str, Any]:
    """Builds columns, one value for each event, of rows of single bytes (as an archive holds a map, field `msgpack`).

    The event's seq, seq_ns, recv_ns, event_flags, then a column for each key, in the order in which they first appear; of a map
    in a map the keys are joined by a point (`queue.behind`). None where an event has no such key. A key that is called like
    one of the event's columns gets `map.` before it.
    """
    firsts = np.flatnonzero(np.diff(rows["seq"], prepend=rows["seq"][:1] - 1)) if len(rows) else np.zeros(0, "i8")
    parts = np.split(rows["msgpack"], firsts[1:]) if len(rows) else []
    maps = [msgpack.unpackb(part.tobytes(), strict_map_key=False) for part in parts]
    return columns_of_maps(kind, rows[list(HEADER)][firsts], maps)


def columns_of_maps(kind: Kind, headers: np.ndarray, maps: list[dict[Any, Any]]) -> dict[str, Any]:
    """Builds the columns of `map_columns` from events' maps. `headers`: with the fields HEADER, one for each."""
    columns: dict[str, Any] = columns_shown(kind, headers, (0, 0))
    flat = [_flat(one) for one in maps]
    taken = {look.name for look in header_looks().values()}
    for key in dict.fromkeys(key for one in flat for key in one):
        columns[f"map.{key}" if key in taken else key] = [one.get(key) for one in flat]
    return columns


def _flat(tree: dict[Any, Any], before: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{name}.")
        else:
            out[name] = value
    return out
