"""`tap` by rows: chosen columns, filters, files that are whole after a Ctrl-C, and a line of values."""

import csv
import json
import os
import signal
from decimal import Decimal

import numpy as np
import pytest
from pyarrow import parquet

from tests.support.command_run import run_here
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.wire import decode
from tickmesh.tools import extras, row_files, tap_rows, terminal
from tickmesh.tools.event_rows import rows_of
from tickmesh.tools.line_picture import picture
from tickmesh.tools.row_files import RowFile

MESH = "".join(
    f'[[instruments]]\nsymbol = "{one}"\nprice_exponent = -8\nquantity_exponent = -8\n' for one in ("BTCUSDT", "ETHUSDT")
)


@pytest.fixture
def recorded(root):
    """60 BTC trades at five prices, 10 of ETH, and other events."""
    (root / "mesh.toml").write_text(MESH)
    write_log(load(root).log_dir, Market().mixed(100))
    return root


def tap(root, *words):
    done = run_here(root, "tap", "--until", "now", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_columns_are_a_line_a_record_with_the_values_of_json(recorded):
    whole = [json.loads(line) for line in tap(recorded, "trade", "--json")]
    names, *lines = (line.split() for line in tap(recorded, "trade", "--columns", "seq,price,side,link"))
    assert names == ["seq", "price", "side", "link"] and len(lines) == 70
    values = [(one["seq"], one["records"][0]["price"], one["records"][0]["side"], one["link"]) for one in whole]
    assert lines == [["-" if value is None else str(value) for value in row] for row in values]
    assert json.loads(tap(recorded, "trade", "--columns", "price,seq", "--json", "-n", "1")[0]) == {
        "price": "61837.63",
        "seq": 4,
    }
    levels = tap(recorded, "depth", "--columns", "seq,side,quantity_lots")[1:]
    assert len(levels) == 20 and levels[0].split() == ["2", "bid", "5"], "a row for each level of a book"


def test_where_event_and_record_have_a_name_the_record_counts(recorded):
    record = np.zeros(1, DTYPES[Kind.trade])
    record["venue_ns"], record["trade_id"] = 7, 9
    event = decode(Market().event(Kind.trade, "binance.BTCUSDT", record, venue_ns=5))
    (row,) = rows_of(load(recorded), event)
    assert (row["venue_ns"], row["trade_id"], row["topic"]) == (7, 9, "trade.binance.BTCUSDT")


def test_a_filter_chooses_events_and_in_columns_records(recorded):
    prices = [Decimal(line) for line in tap(recorded, "BTCUSDT", "--columns", "price", "--where", "price > 61837.70")[1:]]
    assert len(prices) == 20 and all(price > Decimal("61837.70") for price in prices)
    assert len(tap(recorded, "trade", "--where", "price = 61837.68 and subject ~ '*BTC*'", "-n", "4")) == 4
    assert len(tap(recorded, "depth", "--where", "side = ask")) == 10, "an event of which a level fulfils it"
    assert len(tap(recorded, "depth", "--where", "side = ask", "--columns", "side")) == 1 + 10
    assert "trade.binance.ETHUSDT 10/s" in tap(recorded, "trade", "--rate", "--where", "subject = binance.ETHUSDT")[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trade", "--columns", "prize"], "no column 'prize' (did you mean price?); there are: "),
        (["trade", "--where", "bid_price > 1"], "--where: there is no column 'bid_price'"),
        (["trade", "--out", "x.xlsx"], "ends with '.xlsx'; a file of rows ends with .csv or .parquet"),
        (["trade", "--plot", "price"], "--plot draws on a terminal"),
        (["trade", "--plot", "price", "--out", "x.csv"], "one of them at a time"),
        (["trade", "--rate", "--columns", "seq"], "--rate counts events"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(recorded, words, sentence):
    done = run_here(recorded, "tap", *words)
    assert done.returncode == 2 and sentence in done.stderr


def test_files_have_what_json_shows(recorded, tmp_path):
    whole = [json.loads(line) for line in tap(recorded, "trade", "--json")]
    tap(recorded, "trade", "--out", "t.csv", "--columns", "seq,price,venue_ns")
    with open("t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seq"], row["price"]) for row in rows] == [(str(one["seq"]), one["records"][0]["price"]) for one in whole]
    tap(recorded, "trade", "depth", "--out", "t.parquet")
    table = parquet.read_table("t.parquet")
    assert table.num_rows == 90 and table.column_names[:4] == ["seq", "seq_ns", "topic", "trade_id"]
    stored = [(row["seq"], row["price"], row["side"]) for row in table.to_pylist() if row["topic"].startswith("trade")]
    assert stored == [(one["seq"], float(one["records"][0]["price"]), one["records"][0]["side"]) for one in whole]
    assert table.schema.field("seq_ns").type.tz == "UTC" and table.schema.field("price").type == "double"


def test_a_file_is_whole_after_a_ctrl_c_in_the_middle_and_not_there_before(root, monkeypatch, capsys):
    """Three pieces of 4 rows, the signal in the second: what was read until then is kept, nothing twice."""
    monkeypatch.setattr(row_files, "PIECE_ROWS", 4)
    path = root / "rows.parquet"

    def rows():
        for number in range(6):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
                assert not path.exists()
            yield [{"seq": 2 * number, "price": "1.5"}, {"seq": 2 * number + 1}]

    with pytest.raises(KeyboardInterrupt):
        tap_rows._write(rows(), RowFile(path, {"seq": "int", "price": "float"}))
    file = parquet.ParquetFile(path)
    assert file.read()["seq"].to_pylist() == list(range(8)) and file.num_row_groups == 2
    assert "8 rows in" in capsys.readouterr().err and [one.name for one in root.glob("*rows*")] == ["rows.parquet"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_pyarrow_it_is_said_what_installs_it(recorded, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    done = run_here(recorded, "tap", "--until", "now", "trade", "--out", "x.parquet")
    assert (
        done.returncode == 1
        and "--out FILE.csv needs nothing, and it needs pyarrow" in done.stderr
        and "pip install" in done.stderr
    )


def test_a_line_of_values_is_drawn_to_scale():
    assert picture(range(8), 6, 2) == ["  ⣠⠞ 7", "⣠⠞⠁  0"]
    assert picture([0, 0, 9, 9], 6, 3) == [" ⡏   9", " ⡇", "⣀⡇   0"], "a jump is a line through all rows"
    assert picture([5.0, 5.0], 6, 3) == ["", "⠤    5", ""] and picture([], 6, 2) == ["", ""]
    many = picture(range(1000), 10, 2)
    assert many[0].endswith(" 999") and many[1].endswith(" 988") and max(map(len, many)) == 10, "the newest that have room"


def test_a_plot_is_drawn_again_and_ends_with_what_was_seen(recorded, monkeypatch):
    monkeypatch.setattr(terminal.out, "_force_terminal", True)
    shown = run_here(recorded, "tap", "--until", "now", "ETHUSDT", "--plot", "price").stdout
    assert "price: 61837.63 (10 values)" in shown and "⠉⠉⠉⠉⠉" in shown
    assert tap_rows.number_of("x") is None and tap_rows.number_of(None) is None and tap_rows.number_of("1.5") == 1.5
