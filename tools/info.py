"""`mesh info`: one topic: its span, rows, size, coverage, definitions and columns."""

from pathlib import Path
from typing import Any

import numpy as np

from tickmesh.bus.schema import Kind
from tickmesh.research.database import Database
from tickmesh.research.sources import with_exponents
from tickmesh.storage.query.coverage import COVERED, lacking, share
from tickmesh.storage.query.map_rows import is_map
from tickmesh.tools.opened import plain, reading
from tickmesh.tools.terminal import JsonObject, out


def info(topic: str, place: Path | None) -> JsonObject:
    """Gives what `--json` prints of a topic. Raises Failure with a sentence."""
    return reading(place, lambda db: _info(db, topic), ["pyarrow"])


def _info(db: Database, topic: str) -> JsonObject:
    chosen = db.topic(topic, gaps="ignore")
    first, last = chosen.head(1), chosen.tail(1)
    stored = [one for one in db.stock() if one.topic in chosen.topics]
    result: JsonObject = {
        "place": str(db.place),
        "topics": chosen.topics,
        "rows": len(chosen),
        "bytes": sum(one.bytes for one in stored),
        "days": sorted({day for one in stored for day in one.days}),
        "first": {name: plain(first[name].iloc[0]) for name in ("seq", "seq_ns")} if len(first) else None,
        "last": {name: plain(last[name].iloc[0]) for name in ("seq", "seq_ns")} if len(last) else None,
        "columns": chosen.columns,
    }
    kind, _, subject = chosen.topics[0].partition(".")
    if Kind[kind] in COVERED:
        result["coverage"] = _coverage(db.source.ledger(Kind[kind], subject, None, None))
    if not is_map(Kind[kind]) and with_exponents(Kind[kind]):
        names = ("from_seq", "price_exponent", "quantity_exponent")
        result["definitions"] = [dict(zip(names, one)) for one in db.exponents(subject)]
    return result


def _coverage(ledger: np.ndarray) -> dict[str, Any]:
    of_ids, of_time = share(ledger)
    return {"intervals": len(ledger), "lacking": len(lacking(ledger)), "proven_ids": of_ids, "proven_time": of_time}


def show(result: JsonObject) -> None:
    """Prints it for a person."""
    out.print(f"{', '.join(result['topics'])} in {result['place']}", markup=False)
    first, last = result["first"], result["last"]
    if first is None or last is None:
        out.print("nothing of it was recorded")
    else:
        out.print(f"rows        {result['rows']:,}, {result['bytes'] / 1e6:,.2f} MB stored, on {len(result['days'])} days")
        out.print(f"first       {first['seq_ns']}, seq {first['seq']}")
        out.print(f"last        {last['seq_ns']}, seq {last['seq']}")
    if (known := result.get("coverage")) is not None:
        out.print(
            f"coverage    {known['proven_ids']:.4%} of ids, {known['proven_time']:.4%} of time; {known['lacking']} of "
            f"{known['intervals']} intervals lack something (mesh coverage)"
        )
    for one in result.get("definitions", ()):
        out.print(
            f"definition  from seq {one['from_seq']} on: price × 10^{one['price_exponent']}, quantity × "
            f"10^{one['quantity_exponent']}"
        )
    out.print(f"columns     {', '.join(result['columns'])}", markup=False)
