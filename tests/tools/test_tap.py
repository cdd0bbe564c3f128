"""`tap`: which topics, which part of the log, and how an event looks."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pytest

from tests.support.archived import archive
from tests.support.command_run import run_here
from tests.support.places import KNOWN
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Action, Flag, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.segments import release
from tickmesh.bus.topic_names import chooser
from tickmesh.bus.wire import decode
from tickmesh.storage.query import times
from tickmesh.storage.query.event_dict import as_dict
from tickmesh.tools import arguments, terminal
from tickmesh.tools.event_streams import span_of
from tickmesh.tools.event_text import age_text, event_line, time_text
from tickmesh.tools.tap import _seconds, announced
from tickmesh.tools.topics import resolve

OKX = ["trade.okx.BTC-USDT", "trade.okx.BTC-USDT-SWAP", "quote.okx.BTC-USDT", "health.feed-okx-1", "health.feed-okx-10"]


@pytest.mark.parametrize(
    ("wanted", "topics"),
    [
        (["trade"], OKX[:2]),
        (["trade.okx"], OKX[:2]),
        (["BTC-USDT"], [OKX[0], OKX[2]]),  # a whole name means that one alone
        (["trade.okx.BTC-USDT"], OKX[:1]),
        (["trade.okx.BTC-U"], OKX[:2]),  # else it is a beginning
        (["okx.BTC-USDT-S"], [OKX[1]]),
        (["*.BTC-USDT"], [OKX[0], OKX[2]]),
        (["*-SWAP", "quote"], OKX[1:3]),
        (["feed-okx-1"], [OKX[3]]),
        (["health.feed"], OKX[3:]),
        ([], OKX),
    ],
)
def test_a_topic_is_a_whole_name_a_beginning_or_a_pattern(wanted, topics):
    chosen = chooser(wanted, OKX)
    assert [topic for topic in OKX if chosen(topic)] == topics


def test_names_that_only_history_has(make_root):
    root = make_root()
    config = load(root)
    (config.archive_dir / "kraken" / "BTC%2FUSD").mkdir(parents=True)
    chosen, kinds = resolve(config, ["BTC/USD"], True)
    assert chosen("trade.kraken.BTC/USD") and not chosen("trade.binance.BTCUSDT") and Kind.trade in kinds
    with pytest.raises(terminal.UsageFailure, match="there is no topic 'BTC/USD'"):
        resolve(config, ["BTC/USD"], False)
    assert resolve(config, ["fill"], False)[1][0] is Kind.fill
    assert set(resolve(config, ["*"], False)[1]) == set(Kind)


def test_places_in_the_log(make_root, monkeypatch):
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(40))
    config = load(root)

    def after(text, local=False):
        return span_of(config, text, "", False, local).after

    assert (after("17"), after("0"), after("2024-08-09"), after("2024-08-09T00:00:00.0105")) == (16, 0, 0, 10)
    for module in (arguments, times):
        monkeypatch.setattr(module, "now_ns", lambda: START + 3600 * 10**9)
    assert after("5m") == 40, "long after"
    assert after("00:00:00.0105") == 10, "of today"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert arguments.place("--from", "2024-08-09T09:00", local=True).ns == START
        assert arguments.place("--from", "2024-08-09T00:00", local=False).ns == START
        assert time_text(START + DAY * 3 + 1, local=True).endswith(" 09:00:00.000000001")
    finally:
        monkeypatch.undo()
        time.tzset()


def shown(root, *words):
    done = run_here(root, "tap", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["seq"] for line in done.stdout.splitlines()], done.stderr


def test_it_ends_where_it_is_told(make_root):
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(40))
    everything = list(range(1, 41))
    assert shown(root, "--until", "now") == (everything, "")
    assert shown(root, "--from", "11", "--until", "20")[0] == everything[10:20]
    assert shown(root, "--until", "2024-08-09T00:00:00.0105")[0] == everything[:10]
    assert shown(root, "--from", "2024-08-09T00:00:00.0105", "-n", "3")[0] == [11, 12, 13]
    some, _ = shown(root, "fill", "--from", "1", "-c", "3")
    assert some == [], "a rare topic ends with what was recorded, too"
    assert shown(root, "fill", "--until", "now")[1] == "tap: nothing of fill was recorded there\n"


def test_it_goes_from_the_archive_to_the_log(make_root):
    config = load(make_root())
    raws = Market().mixed(60)
    archive(config.archive_dir, raws[:40], 10, log_id=0)
    write_log(config.log_dir, raws, segment_bytes=2000, size=10)
    release(config.log_dir, 40)
    assert LogReader(config.log_dir).first > 20
    everything = list(range(1, 61))
    assert shown(config.root, "--until", "now") == (everything, "")
    assert shown(config.root, "--from", "35")[0] == everything[34:]
    assert shown(config.root, "--from", "5", "--until", "50")[0] == everything[4:50]
    trades, _ = shown(config.root, "trade", "--from", "2024-08-09T00:00:00.0105")
    assert trades == [seq for seq in everything[10:] if decode(raws[seq - 1]).kind == Kind.trade]


def test_rates_are_of_the_logs_time(make_root):
    root = make_root()
    market = Market()
    early = [market.trade(step_ns=100_000_000) for _ in range(25)]
    market.seq_ns += 3600 * 10**9  # the mesh was down
    write_log(load(root).log_dir, [*early, *(market.trade(step_ns=100_000_000) for _ in range(10))])
    lines = run_here(root, "tap", "trade", "--rate", "--until", "now", "--json").stdout.splitlines()
    rates = [json.loads(line)["topics"][0]["rate"] for line in lines]
    assert rates == [10, 10, 5, 5, 5], "the hour in between has no reports"
    assert json.loads(lines[0])["topics"][0]["lag_ms"] == 100.09


def test_live_silence_is_an_empty_second(monkeypatch):
    now = iter(range(START, START + DAY, 400_000_000))
    monkeypatch.setattr("tickmesh.tools.tap.now_ns", lambda: next(now))
    event = decode(Market().trade())
    seconds = list(islice(_seconds(iter([[event], *[[]] * 20])), 4))
    assert [dict(second.counts) for second in seconds] == [{event.topic: 1}, {}, {}, {}]
    assert {b.end_ns - a.end_ns for a, b in zip(seconds, seconds[1:])} == {10**9}


def test_what_is_waited_for_is_said_once(monkeypatch, capsys):
    ticks = iter(range(100))
    monkeypatch.setattr("tickmesh.tools.tap.time.monotonic", lambda: next(ticks))
    event = decode(Market().trade())
    list(announced(iter([[], [], [], [], [event], [], [], [], []]), "fill", True))
    assert (
        capsys.readouterr().err.splitlines()
        == ["tap: waiting for fill … (what was recorded is shown; --until now ends there)"] * 2
    )


def test_age_and_lag_are_two_things(make_root):
    root = make_root(KNOWN)
    config, market = load(root), Market()
    event = decode(market.trade())
    tree = as_dict(config, event)
    assert tree["lag_ms"] == 1.09 and tree["age_ms"] > 1e9, "of 2024"
    assert event_line(config, event).delays.startswith("lag 1.09 ms  age ")
    silent = decode(market.event(Kind.clock, "sequencer", np.zeros(1, DTYPES[Kind.clock])))
    assert as_dict(config, silent)["lag_ms"] is None and event_line(config, silent).delays.startswith("age ")
    ages = [310_000, 12_300_000_000, 1_103_000_000_000, 7_200_000_000_000, 200_000_000_000_000]
    assert [age_text(ns) for ns in ages] == ["0.31 ms", "12.3 s", "18 min 23 s", "2 h 0 min", "2 d 7 h"]


def record(kind, **values):
    one = np.zeros(1, DTYPES[kind])
    for name, value in values.items():
        one[name] = value
    return one


def test_decimals_stand_beside_mantissas_and_codes_are_words(make_root):
    root = make_root('[[instruments]]\nsymbol = "BTCUSDT"\nprice_exponent = -2\nquantity_exponent = -5\n')
    config, market = load(root), Market()

    def both(kind, subject="binance.BTCUSDT", **values):
        event = decode(market.event(kind, subject, record(kind, **values)))
        return as_dict(config, event), event_line(config, event).content

    tree, line = both(Kind.intent, action=Action.NEW, side=1, order_type=OrderType.MARKET, time_in_force=0, quantity_lots=150)
    (row,) = tree["records"]
    assert line.startswith("buy 0.0015 at market  MARKET") and "@" not in line
    assert (tree["price_exponent"], tree["quantity_exponent"]) == (-2, -5)
    assert (row["price_ticks"], row["price"]) == (0, None) and (row["quantity_lots"], row["quantity"]) == (150, "0.0015")
    assert (row["action"], row["side"], row["order_type"], row["time_in_force"]) == ("NEW", "buy", "MARKET", None)
    values = dict(side=-1, order_type=OrderType.LIMIT, time_in_force=TimeInForce.IOC, price_ticks=6_000_041, quantity_lots=100)
    tree, line = both(Kind.update, status=Status.PartiallyFilled, filled_lots=50, **values)
    assert line == "PartiallyFilled 0.0005 of 0.001 @ 60000.41"
    assert tree["records"][0]["status"] == "PartiallyFilled" and tree["records"][0]["filled_quantity"] == "0.0005"
    tree, line = both(Kind.fill, side=-1, maker=1, price_ticks=6_000_041, quantity_lots=100, fee=6_000_041, fee_asset=b"USDT")
    assert "sell 0.001 @ 60000.41  maker, fee 0.06000041 USDT" in line
    assert (tree["records"][0]["fee"], tree["records"][0]["fee_mantissa"], tree["amount_exponent"]) == (
        "0.06000041",
        6_000_041,
        -8,
    )
    tree, line = both(Kind.balance, "binance.account", asset=b"BTC", free=123_456_789, locked=1)
    assert line == "BTC 1.23456789 free, 0.00000001 locked" and tree["records"][0]["free"] == "1.23456789"
    tree, line = both(Kind.balance, "binance.account", asset=b"PEPE", free=42069 * 10**14, scale=4)
    assert line == "PEPE 420690000000000 free, 0 locked" and tree["records"][0]["free"] == "420690000000000"
    tree, line = both(Kind.gap, first_id=3, last_id=5, stream=Kind.trade, state=1, reason=1)
    assert "stream=trade state=open reason=skipped" in line
    event = decode(market.trade(flags=Flag.REPAIRED))
    assert (as_dict(config, event)["flags"], as_dict(config, event)["event_flags"]) == (2, "REPAIRED")
    assert event_line(config, event).content.endswith("  repaired")
    definition = decode(
        market.event(Kind.instrument, "binance.ETHUSDT", record(Kind.instrument, price_exponent=-1, tick_size=5))
    )
    assert as_dict(config, definition)["records"][0]["tick_size"] == "0.5", "by its own exponents"


def test_every_kind_is_shown(make_root):
    """`tap` has words for whatever flows."""
    root = make_root()
    market = Market()
    for kind in Kind:
        dtype = DTYPES[kind]
        event = decode(market.event(kind, "binance.BTCUSDT", {"node": "x"} if dtype.names is None else np.zeros(1, dtype)))
        assert kind.name in event_line(load(root), event).topic
        assert json.loads(json.dumps(as_dict(load(root), event)))["kind"] == kind.name


def test_a_time_is_whole(make_root):
    now = int(datetime.now(UTC).timestamp()) // 86_400 * DAY
    assert time_text(now + 5) == "00:00:00.000000005"
    assert time_text(START + 123) == "2024-08-09 00:00:00.000000123", "not of today"


def test_a_log_that_is_read_from_the_archive_on(make_root):
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(40))
    done = run_here(root, "tap", "trade.binance", "--from", "1", "--count", "3", "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["topic"].split(".")[0] for row in rows] == ["trade"] * 3
    assert rows[1]["records"][0]["price_ticks"] == 6_183_767_000_000 and rows[0]["seq"] < rows[1]["seq"]
    assert rows[1]["records"][0]["price"] == "61837.67"
    human = run_here(root, "tap", "trade", "--from", "1")
    assert "0.02 @ 61837.68" in human.stdout


def test_it_ends_quietly_when_its_reader_does(make_root):
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(5000))
    for words in (["--json"], []):
        with subprocess.Popen(
            [root / ".venv/bin/tap", "--from", "1", *words], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as tap:
            assert tap.stdout.readline()
            tap.stdout.close()
            assert tap.wait(20) == 0 and tap.stderr.read() == b""


def test_help_and_version(make_root):
    root = make_root()
    assert "usage: tap" in run_here(root, "tap", "-h").stdout and "--until PLACE" in run_here(root, "tap", "--help").stdout
    assert run_here(root, "tap", "--version").stdout.startswith("tickmesh ")
    assert run_here(root, "mesh", "--version").stdout == run_here(root, "tap", "--version").stdout
    assert "Usage: mesh" in run_here(root, "mesh", "-h").stdout


# What takes long to import: tap's first line is to come after less than 0.3 s of CPU, of which numpy alone takes a third.
HEAVY = {
    "typer", "pydantic", "h5py", "hdf5plugin", "numba", "pandas", "aiohttp", "supervisor", "lmdb", "matplotlib", "rich.table",
    "tickmesh.nodes.venues.table",
}  # fmt: skip


def test_what_the_first_line_needs(make_root):
    root = make_root()
    market = Market()
    write_log(load(root).log_dir, [market.trade(), market.trade()])
    clock, soon_s = load(root).log_dir / "clock", time.time() + 3600
    clock.touch()  # as of a sequencer that looks, however slow this machine is: nobody else is asked
    os.utime(clock, (soon_s, soon_s))
    code = (
        "import sys; sys.argv = ['tap', 'trade', '--from', '1', '--count', '1']\n"
        "from tickmesh.tools import tap\ntry:\n    tap.main()\nfinally:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and "trade.binance" in done.stdout, done.stderr
    assert not HEAVY & set(done.stderr.split()), "imported for nothing"


def test_a_time_in_a_long_log_is_found_by_its_segments(tmp_path):
    market = Market()
    write_log(tmp_path, [market.trade() for _ in range(3000)], segment_bytes=4096)
    log = LogReader(tmp_path)
    for seq in (0, 1, 2, 1499, 1500, 2999, 3000):
        assert log.seq_at(START + seq * 1_000_000 + 1) == seq
