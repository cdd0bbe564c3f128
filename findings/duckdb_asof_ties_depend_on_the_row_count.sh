#!/usr/bin/env bash
# DuckDB 1.5.6 and 2.0.1: which of several equal right rows an ASOF JOIN takes depends on how many rows the left side has.
#
# Trades joined with the quotes of the same millisecond: with fewer than 64 trades every one gets the first of the equal quotes, from 64 on
# the last. The query is the same; a sample is answered otherwise than the day. A forward join (<=) of 64 takes first, middle and last in
# one result. pandas 3.1.1 and polars 2.1.0 always take the last (forward: the first). The boundary is the setting asof_loop_join_threshold:
# below it the join is done by another operator, which chooses otherwise.
#
# Needs the package index only. Fails when one of them does something else.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }; }

cat >"$folder/look.py" <<'PYTHON'
import duckdb
import pandas as pd
import polars as pl

NAMES = {1: "first", 2: "middle", 3: "last"}
con = duckdb.connect()


def joined(rows, operator):
    con.sql(f"create or replace table trades as select range as t from range({rows})")
    con.sql(f"create or replace table quotes as select range // 3 as t, range % 3 + 1 as v from range({3 * rows})")
    found = con.sql(f"select distinct v from trades asof join quotes on trades.t {operator} quotes.t order by v").fetchall()
    return ", ".join(NAMES[v] for v, in found)


print("duckdb", duckdb.__version__)
for operator, rows in ((">=", 1), (">=", 63), (">=", 64), (">=", 1000), ("<=", 63), ("<=", 64)):
    print(f"  {operator} {rows:>4} rows:", joined(rows, operator))
con.sql("set asof_loop_join_threshold = 0")
print("  >=   63 rows, asof_loop_join_threshold = 0:", joined(63, ">="))
trades, quotes = pd.DataFrame({"t": [0]}), pd.DataFrame({"t": [0] * 3, "v": [1, 2, 3]})
for direction in ("backward", "forward"):
    ours = pd.merge_asof(trades, quotes, on="t", direction=direction)["v"][0]
    theirs = pl.from_pandas(trades).join_asof(pl.from_pandas(quotes), on="t", strategy=direction)["v"][0]
    print(f"pandas {pd.__version__}, polars {pl.__version__}, {direction}:", NAMES[ours], NAMES[theirs])
PYTHON

install pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1
for version in 1.5.6 2.0.1; do
	install "duckdb==$version"
	"$folder/venv/bin/python" "$folder/look.py"
done | tee "$folder/seen"

for version in 1.5.6 2.0.1; do
	cat <<SEEN
duckdb $version
  >=    1 rows: first
  >=   63 rows: first
  >=   64 rows: last
  >= 1000 rows: last
  <=   63 rows: first
  <=   64 rows: first, middle, last
  >=   63 rows, asof_loop_join_threshold = 0: last
pandas 3.1.1, polars 2.1.0, backward: last last
pandas 3.1.1, polars 2.1.0, forward: first first
SEEN
done | diff - "$folder/seen" && echo "as described: the same join takes the first row of a sample's ties, and the last of a day's"
