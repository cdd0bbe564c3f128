"""`mesh ls`, `info`, `head` and `sql` as a person calls them: tables, CSV, JSON, other places, sentences."""

import csv
import io
import json
import re

import h5py
import pytest

from tests.support.command_run import mesh_here
from tests.support.research_scene import DAYS, SUBJECT, export, recorded


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("mesh")
    recorded(root)
    export(root, "exported", "--decimals", "float")
    return root


def ok(root, *words):
    done = mesh_here(root, *words)
    assert done.returncode == 0, done.stderr
    return done


def test_ls_lists_what_there_is(root):
    shown = ok(root, "ls").stdout
    assert re.search(rf"trade\.{SUBJECT}\s+{DAYS[0]}\s+{DAYS[2]}\s+3\s+90\s", shown) and "health.*" in shown
    listed = json.loads(ok(root, "ls", "usdm", "--json").stdout)["topics"]
    assert {one["topic"] for one in listed} == {"instrument.binance_usdm.ETHUSDT", "trade.binance_usdm.ETHUSDT"}
    exported = json.loads(ok(root, "ls", f"trade.{SUBJECT}", "--at", "exported", "--json").stdout)["topics"]
    assert [one["rows"] for one in exported] == [90]
    none = mesh_here(root, "ls", "doge")
    assert none.returncode == 1 and "no topic of it has 'doge' in its name" in none.stderr


def test_info_says_what_is_known_of_a_topic(root):
    known = json.loads(ok(root, "info", "trade.BTCUSDT", "--json").stdout)
    assert known["topics"] == [f"trade.{SUBJECT}"] and known["rows"] == 90 and known["days"] == list(DAYS)
    assert known["first"]["seq_ns"] == "2024-08-09T00:00:00.002000007" and known["first"]["seq"] < known["last"]["seq"]
    assert known["definitions"] == [{"from_seq": 0, "price_exponent": -2, "quantity_exponent": -5}]
    assert known["coverage"]["lacking"] > 0 and 0 < known["coverage"]["proven_ids"] < 1
    shown = ok(root, "info", "trade.BTCUSDT").stdout
    assert "price × 10^-2" in shown and re.search(r"rows\s+90, .* on 3 days", shown)
    assert "9" in ok(root, "info", "health").stdout


def test_head_shows_the_first_rows_and_the_newest(root):
    first = json.loads(ok(root, "head", "trade.BTCUSDT", "-n", "3", "--json").stdout)
    newest = json.loads(ok(root, "head", "trade.BTCUSDT", "-n", "3", "--tail", "--json").stdout)
    seq = first["columns"].index("seq")
    assert len(first["rows"]) == len(newest["rows"]) == 3
    found = [row[seq] for result in (first, newest) for row in result["rows"]]
    assert found == sorted(found) and found[2] < found[3]
    text = ok(root, "head", "quote.BTCUSDT", "-n", "2", "--start", DAYS[1], "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 and rows[0]["seq_ns"].startswith(DAYS[1]) and rows[0]["venue_ns"] == "" and rows[0]["bid_price"]
    assert text == ok(root, "head", "quote.BTCUSDT", "-n", "2", "--start", DAYS[1], "--csv", "--at", "exported").stdout
    assert "restart" in ok(root, "head", "alert").stdout


def test_sql_answers_as_table_csv_and_json(root):
    query = "select instrument, count(*) as n from trades group by all order by all"
    assert json.loads(ok(root, "sql", query, "--json").stdout) == {
        "columns": ["instrument", "n"], "rows": [["BTCUSDT", 90], ["ETHUSDT", 30]],
    }  # fmt: skip
    of_a_day = ok(root, "sql", query, "--csv", "--start", DAYS[1], "--end", DAYS[2]).stdout
    assert of_a_day == "instrument,n\nBTCUSDT,30\nETHUSDT,10\n"
    times = json.loads(ok(root, "sql", "select min(seq_ns) from trades", "--json").stdout)["rows"]
    assert times == [["2024-08-09T00:00:00.002000007"]], "no nanosecond is lost"
    assert re.search(r"BTCUSDT\s+90", ok(root, "sql", query, "--instruments", "BTCUSDT", "--at", "data/sim").stdout)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["head", "trade.BTCUST"], "no instrument 'BTCUST'.*did you mean binance.BTCUSDT"),
        (["head", "trades"], None),
        (["info", "trdae.BTCUSDT"], "no topic; it should be kind.subject"),
        (["sql", "select * from tradez"], "The tables are definitions, trades"),
        (["sql", "create table x (i int)"], "Only SELECT.* A query is a select"),
        (["ls", "--at", "data"], "holds the data of sim: open data/sim"),
        (["head", "trade.BTCUSDT", "--start", "soon"], "'soon' is no time"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(root, words, sentence):
    done = mesh_here(root, *words)
    if sentence is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 1 and re.search(sentence, done.stderr), done.stderr
        assert "Traceback" not in done.stderr


def test_a_file_of_a_newer_program_is_said_with_what_to_do(tmp_path):
    config = recorded(tmp_path, rounds=3, archived=1.0)
    path = next(config.archive_dir.glob("binance/BTCUSDT/*/*.h5"))
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    done = mesh_here(tmp_path, "head", "trade.BTCUSDT")
    assert done.returncode == 1 and re.search(r"schema version 99.*Use the newer program", done.stderr), done.stderr
