"""The commands from outside: a fault is one sentence on stderr and an exit code, and never a traceback."""

import gzip
import json
import os
import signal
import socket
import struct
import subprocess
import zlib

import msgpack
import pytest

from tests.support.command_run import run_here
from tests.support.places import HAND_WRITTEN
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.schema import SCHEMA_VERSION
from tickmesh.tools import sources

LINE = (
    '1723161253000000000 {"stream":"nexousdt@trade","data":{"e":"trade","E":1,"s":"NEXOUSDT","t":1,"p":"1.25000000",'
    '"q":"1.0","T":1,"m":true}}\n'
)


def refused(root, code, *words, program="mesh"):
    """The sentence."""
    done = run_here(root, program, *words)
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert done.stderr.startswith(f"{program}: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_wrong_calls(make_root):
    root = make_root()
    assert "No such command" in refused(root, 2, "frobnicate")
    assert "No such option" in refused(root, 2, "up", "--frobnicate")
    assert "--capture FILE" in refused(root, 2, "up", "some.gz")
    assert "--speed" in refused(root, 2, "up", "--speed", "3")
    assert "there is no topic 'frob'" in refused(root, 2, "frob", program="tap")
    assert "binance.BTCUSDT" in refused(root, 2, "trade.kraken.XBTUSD", program="tap")
    assert "there is no topic 'health.nobody'" in refused(root, 2, "health.nobody", program="tap")
    assert "Near to it: BTCUSDT." in refused(root, 2, "btcusdt", program="tap")
    assert "Near to it: update, intent" in refused(root, 2, "order", program="tap")
    assert "--form (did you mean --from?); see tap --help" in refused(root, 2, "trade", "--form", program="tap")
    assert "arguments: --xyzzy; see tap --help" in refused(root, 2, "trade", "--xyzzy", program="tap")
    assert "'-1' is no number of events" in refused(root, 2, "trade", "--count=-1", program="tap")
    assert "--from 'yesterday' is neither a sequence number" in refused(root, 2, "trade", "--from", "yesterday", program="tap")
    assert "--until '25:00' is neither a sequence number" in refused(root, 2, "trade", "--until", "25:00", program="tap")


def test_no_running_mesh(make_root):
    root = make_root()
    assert "not running" in refused(root, 1, "trade", program="tap")
    status = run_here(root, "mesh", "status")
    assert (status.returncode, "not running" in status.stdout) == (2, True)
    status = run_here(root, "mesh", "status", "--json")
    assert status.returncode == 2 and json.loads(status.stdout)["running"] is False
    down = run_here(root, "mesh", "down", "--json")
    assert down.returncode == 0 and json.loads(down.stdout)["was_running"] is False


def test_outside_of_any_mesh(make_root, tmp_path):
    root = make_root()
    done = subprocess.run([root / ".venv/bin/mesh", "status"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "no mesh.toml" in done.stderr


def refused_up(root, *words):
    sentence = refused(root, 1, "up", *words)
    assert not (root / "run/supervisord.pid").exists(), "nothing has been started"
    return sentence


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("frob = 1", "unknown field `frob`"),
        ("[log]\nsync_mms = 5", "sync_mms"),
        ("[log]\nsync_ms = 0", "allowed: 1 to 10000"),
        ('mode = "live"', "allowed: an amount, in mode live"),
        ("not toml", "not TOML"),
        ('[[models]]\nname = "x y"\nkernel = "trade_flow"', "models[0].name = 'x y' is impossible"),
        ('[[instruments]]\nsymbol = "X"\nvenue = "krakn"', "instruments.venue = 'krakn' is impossible"),
        ('run = "elsewhere"', "supervisor.conf keeps its files in run/"),
    ],
)
def test_up_refuses_impossible_settings(make_root, settings, sentence):
    assert sentence in refused_up(make_root(settings))


def test_up_refuses_a_model_that_a_table_written_by_hand_lacks(make_root):
    root = make_root('[[models]]\nname = "x"\nkernel = "trade_flow"', HAND_WRITTEN)
    assert "no [program:model-x]" in refused_up(root)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no capture"),
        (b"", "is empty"),
        (b"hello\n", "not `<receive time> <json>`"),
        (b'123 {"a":1}\n', "neither 13 digits (ms), 16 (µs) nor 19 (ns): '123' has 3"),
        (b'1723161253000 {"a":1}\n', "neither a frame of a combined stream nor a depth snapshot"),
        (LINE.replace("nexousdt", "nexousd_perp").replace("NEXOUSDT", "NEXOUSD_PERP").encode(), "a frame of COIN-M futures"),
        (LINE.encode().replace(b"@trade", b"@aggTrade"), "@aggTrade only (1 frames)"),
        (LINE.encode() * 3 + b"172", "middle of its last line"),
        (gzip.compress(LINE.encode() * 5000)[:-60], "is cut off"),
        (b"\x1f\x8bnonsense, but called gzip", "damaged"),
    ],
)
def test_up_refuses_unfit_captures(make_root, content, sentence):
    root = make_root()
    name = "capture.gz" if content is not None and content[:2] == b"\x1f\x8b" else "capture.txt"
    if content is not None:
        (root / name).write_bytes(content)
    assert sentence in refused_up(root, "--capture", name)
    assert not (root / "run/overrides.json").exists() and not list((root / "data").glob("replay-*"))


def test_up_refuses_a_port_in_use(make_root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "already in use" in refused_up(make_root(f"[exchange]\nport = {port}")).lower()


def test_up_refuses_a_log_of_a_newer_schema(make_root):
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(10))
    path = next(load(root).log_dir.glob("*.seg"))
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 8)[0]
    packed = msgpack.packb({**msgpack.unpackb(data[16 : 16 + size]), "schema_version": SCHEMA_VERSION + 1})
    path.write_bytes(b"tickmesh" + struct.pack("<II", len(packed), zlib.crc32(packed)) + packed + data[16 + size :])
    assert f"schema version {SCHEMA_VERSION + 1}" in refused_up(root)


def test_up_refuses_a_data_folder_that_is_a_file(make_root):
    root = make_root()
    (root / "data").write_text("")
    assert "cannot be made" in refused_up(root)
    assert run_here(root, "mesh", "down").returncode == 0, "what is not running can be ended wherever its data should be"


def test_ctrl_c_is_no_traceback(make_root):
    root = make_root()
    (root / "capture.txt").write_text(LINE)
    os.mkfifo(root / "fifo.txt")  # a capture that never comes
    with subprocess.Popen([root / ".venv/bin/mesh", "up", "--capture", "fifo.txt"], cwd=root, stderr=subprocess.PIPE) as up:
        with open(root / "fifo.txt", "w"):
            up.send_signal(signal.SIGINT)
            assert up.wait(20) == 130
        assert b"Traceback" not in up.stderr.read()


def test_a_capture_has_a_folder_of_its_own_until_it_has_ended(make_root):
    root = make_root("[executor]\ninstruments = ['binance.BTC*']\n")
    for name in ("one.gz", "two.gz"):
        (root / name).write_bytes(gzip.compress(LINE.encode()))
    one, two = root / "one.gz", root / "two.gz"

    def source(*files):
        return sources.use_captures(root, list(files), 5.0)[0].source

    assert source(one) == source(one) == "replay-one", "an unfinished one goes on"
    assert source(one, two) == "replay-one-two"
    (root / "data/replay-one/exchange/ended").touch()
    assert source(one) == source(one) == "replay-one-2"
    (root / "elsewhere").mkdir()
    (root / "elsewhere/two.gz").write_bytes(gzip.compress(LINE.encode()))
    assert source(two) == "replay-two" and source(root / "elsewhere/two.gz") == "replay-two-2", "another file of that name"
    config = load(root)
    assert config.exchange.speed == 5.0 and config.instruments[0].symbol == "NEXOUSDT"
    assert config.traded == config.instruments[:1], "what is listed is not in it"
    assert sources.use_configured(root).source == "sim" and load(root).exchange.replay == ()
