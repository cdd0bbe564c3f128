"""`mesh ls`: what was recorded, by topic: days, rows, bytes."""

from pathlib import Path

from tickmesh.tools.opened import reading
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, out


def ls(part: str, place: Path | None) -> JsonObject:
    """Lists topics with `part` in their name; gives what `--json` prints. Raises Failure where there is none."""
    where, stock = reading(place, lambda db: (str(db.place), db.stock()))
    chosen = [one for one in stock if part.casefold() in one.topic.casefold()]
    if not chosen:
        there = f"no topic of it has {part!r} in its name; mesh ls shows all" if stock else "nothing was recorded yet"
        raise Failure(f"{where}: {there}")
    return {"place": where, "topics": [one._asdict() for one in chosen]}


def show(result: JsonObject) -> None:
    """Prints a table for a person."""
    table = TerminalTable(box=None, least=("days", "first day", "in the log", "last day"))
    for name in ("topic", "first day", "last day"):
        table.add_column(name)
    for name in ("days", "rows", "in the log", "MB"):
        table.add_column(name, justify="right")
    for one in result["topics"]:
        days = one["days"]
        table.add_row(
            one["topic"], days[0] if days else "", days[-1] if days else "", f"{len(days):,}",
            f"{one['rows'] + one['logged']:,}", f"{one['logged']:,}" if one["logged"] else "", f"{one['bytes'] / 1e6:,.2f}",
        )  # fmt: skip
    out.print(table)
    rows, size = sum(one["rows"] + one["logged"] for one in result["topics"]), sum(one["bytes"] for one in result["topics"])
    out.print(f"{len(result['topics'])} topics, {rows:,} rows, {size / 1e6:,.1f} MB in {result['place']}")
