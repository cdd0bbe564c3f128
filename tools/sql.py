"""`mesh sql`: SQL over what was recorded (research/sql.py)."""

from pathlib import Path

from tickmesh.research.database import Database
from tickmesh.tools.opened import ShownRows, reading, show_rows


def sql(query: str, instruments: list[str] | None, start: str | None, end: str | None, place: Path | None) -> ShownRows:
    """Runs a query; gives its rows. Raises Failure with what DuckDB says and which tables there are."""

    def asked(db: Database) -> ShownRows:
        table = db.sql(query, instruments or None, start, end).to_arrow_table()  # rows of Python lose nanoseconds
        columns = [column.to_pylist() for column in table.columns]
        return ShownRows(list(table.column_names), list(zip(*columns)))

    return reading(place, asked, ["pyarrow", "duckdb"])


def show(result: ShownRows, csv: bool, json: bool) -> None:
    """Prints the rows."""
    show_rows(result, csv, json)
