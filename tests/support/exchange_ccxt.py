"""ccxt as a stranger uses it, and an exchange process of its own for it."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.places import PROJECT

ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed; the dev extra has it")
importlib.import_module("ccxt.async_support")
importlib.import_module("ccxt.pro")

SYMBOL = "BTC/USDT"


def start(folder: Path, settings: str = ""):
    """A venue in a folder of its own: (process, base URL)."""
    (folder / "mesh.toml").write_text("[exchange]\ntrades_per_s = 100\nquotes_per_s = 300\n" + settings)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TICKMESH_ROOT": str(folder)}
    child = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "exchange"], cwd=folder, env=environment)
    where = folder / "run" / "exchange.json"
    deadline = time.monotonic() + 30
    while not where.exists():
        assert child.poll() is None and time.monotonic() < deadline, "the exchange has not opened its doors"
        time.sleep(0.05)
    return child, json.loads(where.read_text())["rest"]


def stop(child: subprocess.Popen) -> None:
    child.send_signal(signal.SIGTERM)
    assert child.wait(15) == 0


def settings(base: str, **more) -> dict:
    """What a stranger writes: the ten lines of docs/exchange.md."""
    ws = base.replace("http", "ws")
    return {
        "apiKey": "local-key",
        "secret": "local-secret",
        "enableRateLimit": False,
        "options": {
            "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False,
        },
        "urls": {
            "api": {
                "public": base + "/api/v3", "private": base + "/api/v3", "v1": base + "/api/v1", "sapi": base + "/sapi/v1",
                "ws": {"spot": ws + "/ws", "margin": ws + "/ws", "ws-api": {"spot": ws + "/ws-api/v3"}},
            }
        },
        **more,
    }  # fmt: skip


class AsInProduction(ccxt.binance):
    """ccxt chooses the spot venue's own error map by the address https://api.binance.com: here for any."""

    def get_exceptions_by_url(self, url, exactOrBroad):
        return self.exceptions["spot"].get(exactOrBroad, {})
