"""Other people's clients against the local exchange, as docs/exchange.md shows them, and what each leaves to its user.

Needs the extra `bench` (`make peers`); a client that is not installed is skipped by name.
"""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import textwrap
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.exchange_books import Process
from tests.support.exchange_clients import configure
from tests.support.places import PROJECT

PAGE = (PROJECT / "docs" / "exchange.md").read_text()
CLIENTS = {"python-binance": "binance", "binance-sdk-spot 13": "binance_sdk_spot", "cryptofeed 3": "cryptofeed"}
WAIT_S = 40


def block(client: str) -> str:
    """The program of a client's ten lines."""
    found = re.search(rf"## {re.escape(client)} in ten lines\n.*?```python\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/exchange.md has no ten lines for {client}"
    return found[1]


@pytest.fixture(params=CLIENTS)
def client(request):
    if find_spec(CLIENTS[request.param]) is None:
        pytest.skip(f"{request.param} is not installed; the extra `bench` has it")
    return request.param


@pytest.fixture
def place(client, tmp_path):
    """A venue in a folder of its own; over TLS for the client that takes nothing else."""
    tls = "tls = true\n" if client == "cryptofeed 3" else ""
    configure(tmp_path, f"[exchange]\ntrades_per_s = 100\nlines = 0\n{tls}")
    venue = Process(tmp_path)
    yield tmp_path
    venue.end(signal.SIGTERM)


def program(folder: Path, text: str) -> subprocess.Popen:
    """A client's program in the venue's folder, which trusts the venue's certificate if it has one."""
    trusted = {"SSL_CERT_FILE": "run/exchange.crt"} if (folder / "run" / "exchange.crt").exists() else {}
    (folder / "client.py").write_text(text)
    return subprocess.Popen(
        [sys.executable, "-u", "client.py"], cwd=folder, env={**os.environ, **trusted}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def cut(folder: Path) -> None:
    """Cuts all connections to the venue, once."""
    rest = json.loads((folder / "run" / "exchange.json").read_text())["rest"]
    trust = ssl.create_default_context(cafile=folder / "run" / "exchange.crt") if rest.startswith("https") else None
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{rest}/tickmesh/v1/faults", b'{"kind": "cut"}', headers)
    with urllib.request.urlopen(request, context=trust) as answer:
        assert answer.status == 200


def numbers(child: subprocess.Popen, enough: int, patience_s: float = WAIT_S) -> list[int]:
    """The ids that a program prints as `id N`, up to so many, or as many as come in time."""
    os.set_blocking(child.stdout.fileno(), False)
    found, end = [], time.monotonic() + patience_s
    while len(found) < enough and time.monotonic() < end and child.poll() is None:
        line = child.stdout.readline()
        if line.startswith("id "):
            found.append(int(line.split()[1]))
        elif not line:
            time.sleep(0.02)
    return found


def test_the_ten_lines_of_the_page_work_as_they_stand(client, place):
    child = program(place, block(client))
    try:
        if client == "cryptofeed 3":  # it runs until it is stopped
            seen, end = "", time.monotonic() + WAIT_S
            while "trade BTC-USDT " not in seen and child.poll() is None and time.monotonic() < end:
                seen += child.stdout.readline()
            assert re.search(r"^trade BTC-USDT [0-9.]+$", seen, re.MULTILINE), seen
        else:
            seen, _ = child.communicate(timeout=WAIT_S)
            assert child.returncode == 0, seen
            assert re.search(r"^trade [0-9.]+$", seen, re.MULTILINE) and re.search(r"^FILLED [0-9.]+$", seen, re.MULTILINE), (
                seen
            )
    finally:
        child.kill()
        child.wait()


BY_ID = {  # the ten lines, changed to print every id
    "python-binance": (
        'print("trade", (await trades.recv())["p"])',
        'while True:\n    frame = await trades.recv()\n    print("id", frame["t"]) if "t" in frame else print(frame)',
    ),
    "binance-sdk-spot 13": (
        'print("trade", (await heard).p)',
        'trades.on("message", lambda trade: print("id", trade.t))\nawait asyncio.sleep(60)',
    ),
    "cryptofeed 3": ('print("trade", trade.symbol, trade.price, flush=True)', 'print("id", trade.id, flush=True)'),
}


def test_over_a_cut_each_client_loses_what_its_row_says(client, place):
    line, instead = BY_ID[client]
    found = re.search(rf"^( +){re.escape(line)}$", block(client), re.MULTILINE)
    child = program(place, block(client).replace(found[0], textwrap.indent(instead, found[1])))
    try:
        before = numbers(child, 30)
        assert len(before) == 30
        cut(place)
        after = numbers(child, 400, 12 if client == "binance-sdk-spot 13" else WAIT_S)
        if client == "binance-sdk-spot 13":
            assert len(after) < 200, "what was on its way, then nothing: it has not connected again"
            assert child.poll() is None
            assert numbers(child, 1, 5) == []
            return
        ids = [*before, *after]
        assert len(after) == 400 and ids == sorted(set(ids)), "it has connected again"
        assert ids[-1] - ids[0] + 1 > len(ids), "what was missed is missing"
    finally:
        child.kill()
        child.wait()
