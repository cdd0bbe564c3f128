"""An answer's bytes, in the form that the request's Accept asks for: JSON, msgpack, or Arrow where pyarrow is installed."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.gateway.problems import RequestProblem
from tickmesh.storage.query.event_dict import as_dict, exponents_of

if TYPE_CHECKING:
    import pyarrow as pa

JSON, MSGPACK, ARROW = "application/json", "application/msgpack", "application/vnd.apache.arrow.stream"
ALIASES = {"application/x-msgpack": MSGPACK, "application/vnd.msgpack": MSGPACK}
RANGES_MAX = 20  # media ranges of one Accept


class EncodedAnswer(NamedTuple):
    """The bytes of an answer and their media type."""

    body: bytes
    media_type: str


def chosen_type(accept: str, offered: Sequence[str]) -> str:
    """The media type among `offered`, the first being usual, that an Accept header likes best. Raises RequestProblem (406)."""
    best, best_q = "", 0.0
    for part in (accept or "*/*").split(",")[:RANGES_MAX]:
        name, *parameters = (one.strip() for one in part.lower().split(";"))
        q = next((_quality(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
        wanted = ALIASES.get(name, name)
        found = next((one for one in offered if wanted in (one, "*/*", f"{one.partition('/')[0]}/*")), "")
        if found and q > best_q:
            best, best_q = found, q
    if not best:
        raise RequestProblem(406, f"Accept {accept[:100]!r} is not given here; allowed: {', '.join(offered)}")
    return best


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def encoded(content: Any, media_type: str) -> EncodedAnswer:
    """Encodes plain values as JSON or msgpack."""
    encode: Callable[[Any], bytes] = msgspec.msgpack.encode if media_type == MSGPACK else msgspec.json.encode
    return EncodedAnswer(encode(content), media_type)


def encoded_events(config: Config, kind: Kind, events: list[Event], more: dict[str, Any], media_type: str) -> EncodedAnswer:
    """Encodes events of a kind, as `tap --json` shows them, with what else the answer says; as Arrow a row for each record."""
    if media_type == ARROW:
        return EncodedAnswer(_arrow(config, kind, events), ARROW)
    bodies = [msgspec.Raw(encoded(as_dict(config, event), media_type).body) for event in events]  # not the whole page as dicts
    return encoded({"events": bodies, **more}, media_type)


def _arrow(config: Config, kind: Kind, events: list[Event]) -> bytes:
    """The stream of Arrow's IPC of a table with the columns of `mesh export`, in order of seq."""
    try:
        import pyarrow as pa
    except ImportError:
        raise RequestProblem(
            406,
            f"Arrow needs pyarrow, which is not here (pip install 'tickmesh[export]'); allowed: {JSON}, {MSGPACK}",
        ) from None
    table = _table(config, kind, events)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _table(config: Config, kind: Kind, events: list[Event]) -> "pa.Table":
    import pyarrow as pa

    from tickmesh.storage.archive.rows import row_dtype, rows_of
    from tickmesh.storage.hdf5.columns import from_bytes
    from tickmesh.storage.query.arrow import ExportColumns

    of_subject: dict[str, list[Event]] = {}
    for event in events:
        of_subject.setdefault(event.subject, []).append(event)
    tables = []
    for subject, own in of_subject.items():
        stored = from_bytes(kind, b"".join(bytes(one.raw) for one in own), np.array([one.size for one in own], "i8"))
        columns = ExportColumns(kind, subject, exponents_of(config, own[-1]))
        tables.append(columns.table(rows_of(kind, stored, subject, None, None, "seq"), columns.schema()))
    if not tables:
        columns = ExportColumns(kind, "")
        tables.append(columns.table(np.zeros(0, row_dtype(kind)), columns.schema()))
    plain = [pa.table({name: one.column(name) for name in one.schema.names}) for one in tables]  # exponents stand in the rows
    return pa.concat_tables(plain).sort_by("seq")
