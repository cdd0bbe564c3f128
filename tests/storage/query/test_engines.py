"""What other programs make of exported columns: each engine is run, and docs/engines.md has to say what came out."""

import re
from collections.abc import Callable
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.support.places import PROJECT

START = 1_723_161_600_000_000_007  # 2024-08-09 00:00 UTC and 7 ns
TIMES = START + np.arange(4) * 1_001
BIG = 2**62
SMALL, SHARE = Decimal("0.00000123"), Decimal("0.12345678")
VERSIONS = {"pandas": pd.__version__, "polars": pl.__version__, "DuckDB": duckdb.__version__, "pyarrow": pa.__version__}


def connection() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.sql("set timezone = 'UTC'")
    return found


def kept(values: object) -> str:
    """Of four times, read back as integers."""
    numbers = np.array(list(values), "i8")  # type: ignore[call-overload]
    return "kept" if (numbers == TIMES).all() else "microseconds" if (numbers == TIMES // 1000 * 1000).all() else "other"


def times_file(zone: str | None) -> str:
    pq.write_table(pa.table({"t": pa.array(TIMES.view("M8[ns]"), pa.timestamp("ns", zone))}), "times.parquet")
    return "times.parquet"


def by_pandas(zone: str | None) -> str:
    return kept(pd.read_parquet(times_file(zone))["t"].astype("i8"))


def by_polars(zone: str | None) -> str:
    return kept(pl.read_parquet(times_file(zone))["t"].to_physical())


def by_pyarrow(zone: str | None) -> str:
    return kept(pq.read_table(times_file(zone))["t"].cast(pa.int64()).to_pylist())


def by_duckdb(source: str) -> str:
    return kept(row[0] for row in connection().sql(f"select epoch_ns(t) from {source}").fetchall())


def zoned_frame() -> str:
    frame = pd.DataFrame({"t": pd.DatetimeIndex(TIMES.view("M8[ns]"), tz="UTC")})  # noqa: F841 (DuckDB finds it by its name)
    return kept(row[0] for row in duckdb.sql("select epoch_ns(t) from frame").fetchall())


def zoned_arrow() -> str:
    table = pq.read_table(times_file("UTC"))  # noqa: F841
    return kept(row[0] for row in duckdb.sql("select epoch_ns(t) from table_".replace("table_", '"table"')).fetchall())


def zone_out() -> str:
    return str(connection().sql(f"select t from '{times_file('UTC')}'").df()["t"].dtype)


def said(number: object) -> str:
    return {3 * BIG: "exact", 3 * BIG - 2**64: "wraps", 2 * BIG: "exact", -2 * BIG: "wraps"}.get(number, str(number))  # type: ignore[call-overload]


def duckdb_sum(how: str) -> str:
    found = duckdb.sql(f"select sum({BIG}::bigint + 1) as s from range(3)")
    if how == "df":
        return str(found.df()["s"].dtype)
    return str(found.pl()["s"].dtype).partition("(")[0] if how == "pl" else said(found.fetchall()[0][0] - 3)


def raised(work: Callable[[], object]) -> str:
    try:
        return said(work())
    except (duckdb.Error, pa.ArrowException, pl.exceptions.PolarsError):
        return "refused"


def first_bin(engine: str) -> str:
    """Where the 7 second bin of 00:00:30 begins, and how many bins there are from 00:00:00 to it."""
    times = pd.DataFrame({"t": pd.DatetimeIndex(["2024-08-09T00:00:00", "2024-08-09T00:00:30"]), "v": [1, 1]})
    if engine == "pandas":
        bins = times.set_index("t").v.resample("7s").sum()
        begins, count = bins.index[-1], len(bins)
    elif engine == "polars":
        frame = pl.DataFrame({"t": times.t.to_list(), "v": [1, 1]})
        found = frame.group_by_dynamic("t", every="7s").agg(pl.col("v").sum())["t"].to_list()
        begins, count = found[-1], len(found)
    else:
        found = duckdb.sql("select distinct time_bucket(interval 7 seconds, t::timestamp) from times order by 1").fetchall()
        begins, count = found[-1][0], len(found)
    return f":{begins.second:02d}, {'left out' if count == 2 else 'there'}"


def empty_bins() -> str:
    times = pd.DatetimeIndex(["2024-08-09T00:00:00", "2024-08-09T00:00:30"])
    bins = pd.Series([1.0, 1.0], times).resample("7s")
    return f"sum {bins.sum().iloc[1]:g}, mean {bins.mean().iloc[1]:g}"


def asof_duckdb(rows: int, operator: str) -> str:
    """Which of three equal right rows a join takes: 1 the first, 3 the last."""
    con = connection()
    con.sql(f"create table a as select range * 10 as t from range({rows})")
    con.sql(f"create table b as select (range // 3) * 10 as t, range % 3 + 1 as v from range({3 * rows})")
    found = con.sql(f"select distinct v from a asof join b on a.t {operator} b.t order by v").fetchall()
    return " and ".join({1: "first", 2: "middle", 3: "last"}[row[0]] for row in found)


def asof(engine: str, forward: bool) -> str:
    left, right = pd.DataFrame({"t": [100]}), pd.DataFrame({"t": [100] * 3, "v": [1, 2, 3]})
    if engine == "pandas":
        value = pd.merge_asof(left, right, on="t", direction="forward" if forward else "backward").v[0]
    else:
        value = pl.from_pandas(left).join_asof(
            pl.from_pandas(right), on="t", strategy="forward" if forward else "backward"
        )["v"][0]  # fmt: skip
    return {1: "first", 3: "last"}[int(value)]


def decimals() -> pa.Table:
    wide = pa.decimal128(19, 8)
    return pa.table({"p": pa.array([SMALL], wide), "q": pa.array([SHARE], wide)})


def product(engine: str) -> str:
    table = decimals()
    if engine == "polars":
        value = pl.from_arrow(table).select(pl.col("p") * pl.col("q")).item()
    elif engine == "pyarrow":
        return raised(lambda: pc.multiply(table["p"], table["q"])[0].as_py())
    elif engine == "pandas":
        frame = table.to_pandas()
        value = (frame.p * frame.q)[0]
    else:
        value = duckdb.from_arrow(table).project("p * q").fetchall()[0][0]
    return "exact" if value == SMALL * SHARE else f"rounded to {value:f}".rstrip("0")


def scales(engine: str) -> str:
    """Files of two instruments, whose decimals have 2 and 8 digits after the point, read as one."""
    for name, value, digits in (("a", Decimal("1.25"), 2), ("b", SMALL, 8)):
        pq.write_table(pa.table({"p": pa.array([value], pa.decimal128(19, digits))}), f"scale-{name}.parquet")
    readers = {
        "pandas": lambda: pd.read_parquet(["scale-a.parquet", "scale-b.parquet"])["p"].iloc[1],
        "polars": lambda: pl.read_parquet("scale-*.parquet")["p"][1],
        "pyarrow": lambda: pq.read_table(["scale-a.parquet", "scale-b.parquet"])["p"][1].as_py(),
        "DuckDB": lambda: duckdb.sql("select p from 'scale-*.parquet' order by p").fetchall()[0][0],
    }
    try:
        value = readers[engine]()
    except (pa.ArrowException, pl.exceptions.PolarsError):
        return "refused"
    return "exact" if value == SMALL else f"rounded to {value:f}"


def texts() -> str:
    return f"{pd.to_datetime(['2024-08-09T00:00:00.5']).unit}, {pd.to_datetime([1], unit='us').unit}"


# The first cell of a row of the page → engine → what it does.
ROWS: dict[str, dict[str, Callable[[], str]]] = {
    "nanoseconds of our exports (no zone)": {
        "pandas": lambda: by_pandas(None),
        "polars": lambda: by_polars(None),
        "pyarrow": lambda: by_pyarrow(None),
        "DuckDB": lambda: by_duckdb(f"'{times_file(None)}'"),
    },
    "nanoseconds of a Parquet column with a zone": {
        "pandas": lambda: by_pandas("UTC"),
        "polars": lambda: by_polars("UTC"),
        "pyarrow": lambda: by_pyarrow("UTC"),
        "DuckDB": lambda: by_duckdb(f"'{times_file('UTC')}'"),
    },
    "a DataFrame's `datetime64[ns, UTC]` handed over": {"DuckDB": zoned_frame},
    "an Arrow table's `timestamp[ns, UTC]` handed over": {"DuckDB": zoned_arrow},
    "the type of a zoned column in `.df()`": {"DuckDB": zone_out},
    "`to_datetime` of a text; of `unit=\"us\"`": {"pandas": texts},
    "a sum of mantissas beyond 2^63": {
        "pandas": lambda: said(int(pd.Series([BIG] * 3).sum())),
        "polars": lambda: said(pl.Series([BIG] * 3).sum()),
        "pyarrow": lambda: said(pc.sum(pa.array([BIG] * 3)).as_py()),
        "DuckDB": lambda: duckdb_sum("fetchall"),
    },
    "what such a sum arrives as in pandas": {"DuckDB": lambda: duckdb_sum("df")},
    "what such a sum arrives as in polars": {"DuckDB": lambda: duckdb_sum("pl")},
    "price_ticks × quantity_lots beyond 2^63": {
        "pandas": lambda: said(int((pd.Series([BIG]) * 2)[0])),
        "polars": lambda: said((pl.Series([BIG]) * 2)[0]),
        "pyarrow": lambda: raised(lambda: pc.multiply(pa.array([BIG]), 2)[0].as_py()),
        "DuckDB": lambda: raised(lambda: duckdb.sql(f"select {BIG}::bigint * 2::bigint").fetchall()[0][0]),
    },
    "decimal(19, 8) × decimal(19, 8)": {name: lambda name=name: product(name) for name in VERSIONS},  # type: ignore[misc]
    "`--decimals exact` of several instruments read by one glob": {
        name: lambda name=name: scales(name) for name in VERSIONS  # type: ignore[misc]
    },
    "where the 7 second bin of 2024-08-09 00:00:30 begins; empty bins before it": {
        name: lambda name=name: first_bin(name) for name in ("pandas", "polars", "DuckDB")  # type: ignore[misc]
    },
    "an empty bin's values": {"pandas": empty_bins},
    "ties of a backward as-of join, fewer than 64 rows": {
        "pandas": lambda: asof("pandas", False),
        "polars": lambda: asof("polars", False),
        "DuckDB": lambda: asof_duckdb(63, ">="),
    },
    "ties of a backward as-of join, 64 rows or more": {"DuckDB": lambda: asof_duckdb(64, ">=")},
    "ties of a forward as-of join, fewer than 64 rows": {
        "pandas": lambda: asof("pandas", True),
        "polars": lambda: asof("polars", True),
        "DuckDB": lambda: asof_duckdb(63, "<="),
    },
    "ties of a forward as-of join, 64 rows": {"DuckDB": lambda: asof_duckdb(64, "<=")},
}  # fmt: skip


def stated() -> tuple[list[str], dict[str, list[str]]]:
    """The page's table: its columns, and the cells of each row by the first one."""
    lines = [line for line in (PROJECT / "docs" / "engines.md").read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines if "---" not in line]
    first = next(index for index, row in enumerate(cells) if row[0] == "question")
    table = cells[first : first + len(ROWS) + 1]
    return table[0], {row[0]: row for row in table[1:]}


def column_of(columns: list[str], engine: str) -> int:
    """The column of the installed version of an engine: the longest that its version begins with."""
    named = f"{engine} {VERSIONS[engine]}"
    fitting = [column for column in columns if named == column or named.startswith(f"{column}.")]
    assert fitting, f"docs/engines.md has no column for {named}; run this test with it, and state what it does"
    return columns.index(max(fitting, key=len))


CASES = [(question, engine) for question, by in ROWS.items() for engine in by]


@pytest.mark.parametrize("question, engine", CASES, ids=lambda value: value)
def test_an_engine_does_what_the_page_says(question, engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns, rows = stated()
    assert rows[question][column_of(columns, engine)] == ROWS[question][engine]()


def test_the_page_answers_every_question_and_no_other():
    columns, rows = stated()
    assert set(rows) == set(ROWS)
    for question, cells in rows.items():
        asked = {column for column in columns if column.split(" ")[0] in ROWS[question]}
        filled = {column for column, cell in zip(columns[1:-1], cells[1:-1]) if cell != "–"}
        assert filled == asked, question
        assert cells[-1], f"what to do about {question}"
