"""`mesh init`: what it writes can be loaded, it replaces nothing that somebody wrote, and on a terminal it asks."""

import contextlib
import json
import os
import pty
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.server_thread import ServerThread
from tickmesh.bus.config import load
from tickmesh.bus.settings import InstrumentSettings
from tickmesh.nodes.session import confirmation
from tickmesh.tools import init, sources, wanted
from tickmesh.tools.terminal import Failure, UsageFailure

FILTERS = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"}]
NAMES = ("BTCUSDT", "ETHUSDT", "ETHUSDC", "币安人生USDT")


class Listing(ServerThread):
    """Binance's REST interface, as far as questions for names go: definitions by name, all names by their prices."""

    def __init__(self, halted: str = ""):
        super().__init__()
        self.halted = halted

    async def _answer(self, request):
        if not {"symbol", "symbols"} & request.query.keys():
            return web.json_response({"symbols": [{"symbol": name, "status": "TRADING", "filters": FILTERS} for name in NAMES]})
        asked = request.query["symbols"] if "symbols" in request.query else f'["{request.query["symbol"]}"]'
        found = [name for name in json.loads(asked) if name in NAMES]
        if len(found) < asked.count(",") + 1:
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        rows = [{"symbol": name, "status": "BREAK" if name == self.halted else "TRADING", "filters": FILTERS} for name in found]
        return web.json_response({"symbols": rows})


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def venue(folder: Path, halted: str = "") -> Iterator[None]:
    """A venue that can be asked, as the folder's mesh.toml has it."""
    with Listing(halted) as server:
        (folder / "mesh.toml").write_text(f'[venues.binance]\nrest = ["{server.rest}"]\n')
        yield


@pytest.mark.parametrize("mode", ["capture", "sim", "paper", "testnet", "live"])
def test_what_it_writes_says_what_the_flags_say_and_every_line_is_explained(folder, mode):
    done = init.init(["binance"], ["btcusdt,ETH/USDT"], mode, "", False)
    config = load(folder)
    source = {"sim": "sim", "capture": "binance"}.get(mode, f"binance-{mode}")
    assert (config.mode, config.source) == (mode, done["source"]) == (mode, source)
    assert [one.subject for one in config.instruments] == ["binance.BTCUSDT", "binance.ETHUSDT"] == done["instruments"]
    assert len(config.models) == (0 if mode == "capture" else 2)
    if mode == "capture":
        wanted_ = [InstrumentSettings("BTCUSDT"), InstrumentSettings("ETHUSDT")]
        (folder / "mesh.toml").write_text("")
        assert load(folder, overrides=sources.recording("binance", wanted_)).mesh == config.mesh, "as `up --venue` has it"
    text = init.text_of(mode, "x", config.instruments)
    active = [line for line in text.splitlines() if line and line[0] not in "#] "]
    assert all("#" in line or line == "instruments = [" for line in active), active
    assert len(text.splitlines()) < 50
    assert (folder / "supervisor.conf").read_bytes().startswith((PROJECT / "supervisor.conf").read_bytes())
    assert (folder / ".venv").resolve() == Path(sys.prefix).resolve()


@pytest.mark.parametrize("venues", [("binance_usdm",), ("binance", "binance_usdm"), ("kraken", "binance_usdm")])
def test_what_trades_for_real_names_the_venues_that_take_orders_and_small_limits(folder, venues):
    text = init.text_of("live", "x", [InstrumentSettings("BTCUSDT", venue) for venue in venues])
    (folder / "mesh.toml").write_text(text)
    config = load(folder)
    assert [one.venue for one in config.traded] == [venue for venue in venues if venue != "kraken"]
    assert 100 < int(config.executor.order_notional) < int(config.risk.order_notional_max), "USD-M's least is 100 of BTCUSDT"
    assert confirmation.text_to_type(config) == " ".join(one.venue for one in config.traded)


def test_what_stands_commented_out_can_stand_there(folder):
    for mode, one in (
        ("capture", InstrumentSettings("BTC/USD", "kraken")),
        ("sim", InstrumentSettings("BTCUSDT")),
        ("paper", InstrumentSettings("BTCUSDT")),
        ("paper", InstrumentSettings("BTCUSDT", "binance_usdm")),
    ):
        text = init.text_of(mode, "x", [one])
        (folder / "mesh.toml").write_text(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))
        config = load(folder)
        assert config.log.format == "human" and (config.venues or config.host or config.exchange.balances), (
            "comments became settings"
        )


def test_the_shipped_file_is_replaced_and_one_with_settings_only_by_force_and_both_are_kept(folder):
    shipped = (PROJECT / "mesh.toml").read_text()
    (folder / "mesh.toml").write_text(shipped)
    assert init.init(["okx"], ["btc-usdt"], "capture", "", False)["kept"] == "mesh.toml.old"
    written = (folder / "mesh.toml").read_text()
    assert (folder / "mesh.toml.old").read_text() == shipped and load(folder).source == "okx"
    assert init.init(["okx"], ["BTC-USDT"], "capture", "", False)["kept"] == "", "the same again is nothing new"
    with pytest.raises(Failure, match="settings of its own, which would be replaced: give --force"):
        init.init(["okx"], ["ETH-USDT"], "capture", "", False)
    assert (folder / "mesh.toml").read_text() == written
    assert init.init(["okx"], ["ETH-USDT"], "capture", "mine", True)["kept"] == "mesh.toml.old.2"
    assert (folder / "mesh.toml.old.2").read_text() == written and (folder / "mesh.toml.old").read_text() == shipped
    (folder / "mesh.toml").write_text("this is no TOML")
    with pytest.raises(Failure, match="give --force"):
        init.init(["okx"], ["ETH-USDT"], "capture", "", False)


def test_names_are_checked_by_the_venue_and_near_ones_are_named(folder):
    with venue(folder, halted="ETHUSDC"):
        with pytest.raises(Failure, match=r"no instrument 'eth-usd'; near it: ETHUSDC, ETHUSDT.*'QQ'\. Nothing was started"):
            init.init(["binance"], ["BTCUSDT,eth-usd,QQ"], "capture", "", True)
        assert "[venues.binance]" in (folder / "mesh.toml").read_text(), "nothing was written"
        done = init.init(["binance"], ["BTCUSDT,ethusdc,btcusdt,币安人生usdt"], "capture", "", True)
    assert done["instruments"] == ["binance.BTCUSDT", "binance.ETHUSDC", "binance.币安人生USDT"] and not done["unasked"]
    assert done["halted"] == {"binance.ETHUSDC": "BREAK"}


def test_wrong_calls_are_sentences(folder):
    for venues, lists, mode, words in (
        (["binance"], [], "capture", "1 × --venue and 0 × --instruments: each venue needs its list"),
        (["binnance"], ["A"], "capture", "no venue 'binnance'; there are .*did you mean binance?"),
        (["okx"], [" , "], "capture", "names none; give some of okx"),
        (["kraken"], ["BTC/USD"], "sim", "the local exchange speaks as"),
        ([], [], "capture", "which venue\\? Give --venue"),
    ):
        with pytest.raises(UsageFailure, match=words):
            init.init(venues, lists, mode, "", False)
    assert not list(folder.iterdir())
    pairs = wanted.paired(["binance", "kraken", "binance"], ["A,B", "C/USD", "B, D"])
    assert pairs == {"binance": ["A", "B", "D"], "kraken": ["C/USD"]}


def test_of_mode_sim_nothing_is_asked_where_nobody_can_answer(folder):
    done = mesh_here(folder, "init", "--mode", "sim")
    assert done.returncode == 0 and "mode sim, binance.BTCUSDT, into data/sim" in done.stdout, done.stderr
    assert load(folder).mode == "sim"


def test_on_a_terminal_it_asks_and_shows_the_names_near_a_wrong_one(folder):
    answers = ["capture", "binanc", "binance", "btcusdt,ethusd", "btcusdt,ethusdt", "n", "mine", "y"]
    with venue(folder):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(Path(sys.prefix) / "bin/mesh", ["mesh", "init"])
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while chunk := os.read(terminal, 4096):
                shown += chunk
                while answers and shown.rstrip().endswith(b"]:"):
                    os.write(terminal, answers.pop(0).encode() + b"\n")
                    shown += os.read(terminal, 4096)
        _, status = os.waitpid(pid, 0)
    words = shown.decode()
    assert os.waitstatus_to_exitcode(status) == 0 and not answers, words
    assert "'binanc' is none of" in words and "binance has no ETHUSD; there is ETHUSDC, ETHUSDT" in words
    config = load(folder)
    assert (config.source, [one.symbol for one in config.instruments]) == ("mine", ["BTCUSDT", "ETHUSDT"])
    assert (folder / "mesh.toml.old").exists()
