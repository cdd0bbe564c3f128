#!/usr/bin/env bash
# DuckDB 1.5.6 and 2.0.1: one glob over Parquet files whose decimals have other scales rounds to the first file's, without a word.
#
# Instruments have other tick sizes, so their exact prices are DECIMAL(19, 2) in one file and DECIMAL(19, 8) in the next. Read by one glob
# every file is cast to the types of the first one: a price of 0.00000123 becomes 0.00. With the other file first, or with
# union_by_name = true, all digits stay. polars 2.1.0 and pyarrow 26.0.1 refuse the same files, because digits would be lost.
#
# Needs the package index only. Fails when one of them does something else.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 2; }; }

cat >"$folder/look.py" <<'PYTHON'
import os
import sys
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

os.chdir(sys.argv[1])
for name, price, scale in (("a", "61837.63", 2), ("b", "0.00000123", 8)):
    pq.write_table(pa.table({"price": pa.array([Decimal(price)], pa.decimal128(19, scale))}), f"{name}.parquet")


def prices(source):
    return [f"{price:f}" for price, in duckdb.sql(f"select price from {source} order by price").fetchall()]


def refused(work):
    try:
        return work()
    except (pl.exceptions.SchemaError, pa.ArrowInvalid) as error:
        return f"refused: {error}".split(",")[0]


print("duckdb", duckdb.__version__)
print("  '*.parquet':                         ", *prices("'*.parquet'"))
print("  ['b.parquet', 'a.parquet']:          ", *prices("read_parquet(['b.parquet', 'a.parquet'])"))
print("  '*.parquet', union_by_name = true:   ", *prices("read_parquet('*.parquet', union_by_name = true)"))
print("polars", pl.__version__, refused(lambda: pl.read_parquet("*.parquet")))
print("pyarrow", pa.__version__, refused(lambda: pq.read_table(["a.parquet", "b.parquet"])))
PYTHON

install polars==2.1.0 pyarrow==26.0.1
for version in 1.5.6 2.0.1; do
	install "duckdb==$version"
	"$folder/venv/bin/python" "$folder/look.py" "$folder"
done | tee "$folder/seen"

diff - "$folder/seen" <<'SEEN' && echo "as described: the glob rounds 0.00000123 to 0.00"
duckdb 1.5.6
  '*.parquet':                          0.00 61837.63
  ['b.parquet', 'a.parquet']:           0.00000123 61837.63000000
  '*.parquet', union_by_name = true:    0.00000123 61837.63000000
polars 2.1.0 refused: data type mismatch for column price: incoming: Decimal(19
pyarrow 26.0.1 refused: Rescaling Decimal value would cause data loss
duckdb 2.0.1
  '*.parquet':                          0.00 61837.63
  ['b.parquet', 'a.parquet']:           0.00000123 61837.63000000
  '*.parquet', union_by_name = true:    0.00000123 61837.63000000
polars 2.1.0 refused: data type mismatch for column price: incoming: Decimal(19
pyarrow 26.0.1 refused: Rescaling Decimal value would cause data loss
SEEN
