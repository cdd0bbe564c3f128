"""SQL over what was recorded: DuckDB, with the tables that a query names read into it when it names them."""

import atexit
import json
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

from tickmesh.bus.table_names import TABLES
from tickmesh.research.libraries import library
from tickmesh.research.topics import Topics
from tickmesh.storage.query.times import ReadError, Time

if TYPE_CHECKING:
    import duckdb

    from tickmesh.storage.query.names import Instruments


@cache
def _spill_folder() -> str:
    """Where DuckDB puts what is beyond its memory limit; removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="tickmesh-sql-")
    atexit.register(folder.cleanup)
    return folder.name


def query(
    topics: Topics, text: str, instruments: "Instruments" = None, start: Time = None, end: Time = None
) -> "duckdb.DuckDBPyRelation":
    """Runs a query; gives DuckDB's relation (`.df()`, `.pl()`, `.arrow()`, `.fetchall()`).

    Its tables are those of TABLES (trades, quotes, depth, orders, fills, health …), with the columns of selections, up to
    this moment. Each that is named is read once, chunk by chunk, of these instruments and this span only, into tables of the
    connection; DuckDB spills to disk what is beyond its memory. Raises ReadError with what DuckDB says.
    """
    engine = library("duckdb", "SQL")
    connection = engine.connect(config={"temp_directory": _spill_folder()})
    for name in sorted(_tables_named(connection, text) & TABLES.keys()):
        kind = TABLES[name]
        of_processes = name in ("health", "alerts", "runs", "commands", "refusals", "balances")
        topics.select(kind, None if of_processes else instruments, start, end).to_duckdb(connection, name)
    try:
        relation: duckdb.DuckDBPyRelation | None = connection.sql(text)
        if relation is not None:
            _ = relation.columns  # binds it
    except engine.Error as error:
        raise ReadError(_sentence(error)) from None
    if relation is None:
        raise ReadError(_sentence(f"{text!r} asks for nothing. A query is a select, like: select count(*) from trades"))
    return relation


def _tables_named(connection: "duckdb.DuckDBPyConnection", text: str) -> set[str]:
    """The names of the tables in a query, by its syntax: binding it needs their columns. Raises ReadError for no select."""
    ((serialized,),) = connection.execute("select json_serialize_sql(?::varchar)", [text]).fetchall()
    tree = json.loads(serialized)
    if tree.get("error"):
        raise ReadError(_sentence(f"{tree['error_message']}. A query is a select, like: select count(*) from trades"))
    found: set[str] = set()
    left: list[Any] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            if node.get("type") == "BASE_TABLE":
                found.add(str(node["table_name"]).lower())
            left += node.values()
        elif isinstance(node, list):
            left += node
    return found


def _sentence(error: object) -> str:
    return f"{str(error).strip()}\nThe tables are {', '.join(TABLES)}"
