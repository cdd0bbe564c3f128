"""`mesh bars` as a person calls it: table, CSV, picture, and sentences for what cannot be."""

import csv
import re

import pytest

from tests.support.command_run import mesh_here
from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.settings import Mesh
from tickmesh.storage.query import times
from tickmesh.tools import arguments

SECOND_NS = 1_000_000_000


def mesh(root, *words):
    return mesh_here(root, "bars", *words)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("command")
    (root / "mesh.toml").write_text(
        '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nvenue = "kraken"\nsymbol = "BTCUSDT"\n'
    )
    market = Market()
    raws = [market.trade(6_183_763_000_000 + i % 7 * 1_000_000, step_ns=20 * SECOND_NS) for i in range(300)]
    write_log(Config(Mesh(), root).log_dir, raws)
    return root


def test_a_table_of_the_last_bars(root):
    done = mesh(root, "binance.btcusdt", "--rows", 3)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.strip().startswith("2024-08-09")]
    assert [" ".join(row.split()[:2]) for row in rows] == [f"2024-08-09 01:{minute}:00" for minute in (37, 38, 39)]
    assert rows[0].split()[2:8] == ["61,837.67", "61,837.69", "61,837.67", "61,837.69", "0.06", "3"], rows[0]
    assert "100 bars from 2024-08-09 00:00:00 to 2024-08-09 01:39:00: 300 trades, volume 6" in done.stdout


def test_times_are_those_of_tap(root, monkeypatch):
    for module in (arguments, times):
        monkeypatch.setattr(module, "now_ns", lambda: START + 100 * 60 * SECOND_NS)
    for span in (("1h", "30m"), ("2024-08-09T00:40", "01:10:00"), ("00:40:00", "2024-08-09T03:10+02:00")):
        done = mesh(root, "binance.BTCUSDT", "--start", span[0], "--end", span[1])
        assert "30 bars from 2024-08-09 00:40:00 to 2024-08-09 01:09:00" in done.stdout, done
    assert "100 bars from" in mesh(root, "binance.BTCUSDT", "--start", "1w", "--end", "now").stdout


def test_all_bars_as_csv_and_candles(root, tmp_path):
    table, picture = tmp_path / "bars.csv", tmp_path / "bars.png"
    done = mesh(root, "binance.BTCUSDT", "--every", "5m", "--csv", table, "--plot", picture)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and {row["count"] for row in rows} == {"15"}
    assert rows[0]["time"] == "2024-08-09 00:00:00+00:00" and float(rows[0]["open"]) == 61837.63
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["BTCUSDT"], "BTCUSDT is known of 2 venues; say which: binance.BTCUSDT, kraken.BTCUSDT"),
        (["ETHUSDT"], "ETHUSDT was not recorded in .*; there is binance.BTCUSDT, kraken.BTCUSDT"),
        (["kraken.BTCUSDT"], "nothing is known of kraken.BTCUSDT at all; it has no archived day"),
        (["binance.BTCUSDT", "--every", "soon"], "'soon' is no length of a bar; allowed are whole seconds"),
        (["binance.BTCUSDT", "--start", "2025-01-01", "--end", "2024-01-01"], "the start 2025-01-01 is not before"),
        (["binance.BTCUSDT", "--start", "lately"], "--start 'lately' is neither a time .*, nor so long ago .30s, 5m, 1h."),
        (["binance.BTCUSDT", "--source", "air"], "'air' is no source of bars; allowed: auto, pyramid, ticks"),
        (["binance.BTCUSDT", "--gaps", "hide"], "gaps='hide' is unknown; it should be one of"),
        (["binance.BTCUSDT", "--csv", "/nowhere/bars.csv"], "/nowhere/bars.csv cannot be written: "),
        (["binance.BTCUSDT", "--plot", "bars.xyz"], "bars.xyz cannot be drawn: "),
    ],
)
def test_what_cannot_be_is_one_sentence(root, words, sentence):
    done = mesh(root, *words)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "Traceback" not in done.stderr and re.search(sentence, done.stderr.replace("\n", " ")), done.stderr
