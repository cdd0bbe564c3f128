#!/usr/bin/env bash
# DuckDB 2.0.1 with pandas 3.1.1: a datetime64[ns, UTC] column loses its nanoseconds on the way in, and its zone on the way out.
#
# DuckDB 2.0 has TIMESTAMPTZ_NS and reads it from Parquet and Arrow with every nanosecond. A DataFrame with the same column becomes
# TIMESTAMP WITH TIME ZONE, which has microseconds: two ticks 400 ns apart are one. And .df() of a TIMESTAMPTZ_NS column is naive
# datetime64[ns], though that of a microsecond column has its zone: compared with what pandas itself has, every row differs.
# Through Arrow (to_arrow_table, Table.from_pandas) both ways keep both.
#
# Needs the package index only. Fails when one of them does something else.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pandas==3.1.1 pyarrow==26.0.1 2>"$folder/pip.log" ||
	{ cat "$folder/pip.log" >&2; exit 2; }

"$folder/venv/bin/python" - "$folder/ticks.parquet" <<'PYTHON' | tee "$folder/seen"
import sys

import duckdb
import pandas as pd
import pyarrow as pa

frame = pd.DataFrame({"t": pd.DatetimeIndex([1_723_161_600_000_000_100, 1_723_161_600_000_000_500], tz="UTC")})
arrow = pa.Table.from_pandas(frame)
frame.to_parquet(sys.argv[1])
con = duckdb.connect()
con.sql("set timezone = 'UTC'")
con.register("a", arrow)
con.register("f", frame)
print("duckdb", duckdb.__version__, "pandas", pd.__version__, "column", frame["t"].dtype)
for name, source in (("Parquet", f"'{sys.argv[1]}'"), ("Arrow", "a"), ("DataFrame", "f")):
    found = con.sql(f"select t from {source}")
    ticks = con.sql(f"select count(distinct t) from {source}").fetchall()[0][0]
    print(f"  {name}: {found.types[0]}, {ticks} distinct; .df() {found.df()['t'].dtype}; to_arrow_table() {found.to_arrow_table()['t'].type}")
print("  Parquet's .df() == frame:", (con.sql(f"select t from '{sys.argv[1]}'").df()["t"] == frame["t"]).tolist())
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: nanoseconds go on the way in, the zone on the way out"
duckdb 2.0.1 pandas 3.1.1 column datetime64[ns, UTC]
  Parquet: TIMESTAMPTZ_NS, 2 distinct; .df() datetime64[ns]; to_arrow_table() timestamp[ns, tz=UTC]
  Arrow: TIMESTAMPTZ_NS, 2 distinct; .df() datetime64[ns]; to_arrow_table() timestamp[ns, tz=UTC]
  DataFrame: TIMESTAMP WITH TIME ZONE, 1 distinct; .df() datetime64[us, UTC]; to_arrow_table() timestamp[us, tz=UTC]
  Parquet's .df() == frame: [False, False]
SEEN
