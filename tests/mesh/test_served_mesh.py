"""A mesh as people and programs look at it and act on it: `mesh top` on a terminal, and whatever clients ask of its API."""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

import tests.support.mesh_run as run
from tests.support.command_run import mesh_here
from tests.support.places import PROJECT
from tests.support.terminal_run import TerminalRun
from tickmesh.bus.schema import Kind
from tickmesh.bus.table_names import TABLES
from tickmesh.tools.top.picture import TerminalPicture
from tickmesh.tools.top.screen import ConfirmScreen, TopScreen

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(400)]

SETTINGS = """
default_models = false
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[feed]
lines = 1
[gateway]
requests_per_s = 100000.0
core_share = 1.0
nice = 0
[[strategies]]
name = "fast"
[[strategies]]
name = "tried"
state = "shadow"
"""
PROCESSES = 11


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    (root / "mesh.toml").write_text(SETTINGS)
    shutil.copy(PROJECT / "supervisor.conf", root / "supervisor.conf")
    (root / ".venv").symlink_to(sys.prefix)
    run.ok(root, "mesh", "up")
    yield root
    mesh_here(root, "down")


@pytest.fixture
def here(mesh, monkeypatch):
    """The mesh's folder, which is the working one."""
    monkeypatch.chdir(mesh)
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    return mesh


def answer(root, path: str, seconds: float = 30) -> dict:
    url = json.loads((root / "run/gateway.json").read_bytes())["url"]
    with urllib.request.urlopen(f"{url}{path}", timeout=seconds) as reply:
        return json.loads(reply.read())


CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method",
)  # fmt: skip
ALIKE = [name for name in TABLES if name not in ("trades", "health", "balances")]  # tables are of three forms


def attack(root, *options: object) -> None:
    """schemathesis over the description of this mesh's gateway: every answer is as described, in time, and none is a fault."""
    url = json.loads((root / "run/gateway.json").read_bytes())["url"]
    for path in ("/v1/books?instrument=BTCUSDT&at=1s", "/v1/bars?instrument=BTCUSDT"):
        answer(root, path, 150)  # the first of them compiles, or loads what was compiled
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--phases", "examples,coverage,fuzzing",
        "--checks", ",".join(CHECKS), "--request-timeout", 60, "--generation-database", "none",
        "--no-shrink", "--warnings", "off", "--suppress-health-check", "all", *options,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-1000:]}"
    assert "Tested:" in done.stdout


def test_whatever_is_asked_is_answered_as_openapi_describes_it(here):
    excluded = [word for name in ALIKE for word in ("--exclude-path", f"/v1/{name}")]
    pid = run.ready(here, "gateway")["pid"]
    attack(here, "--seed", 15, "--max-examples", 1, *excluded)
    assert run.ready(here, "gateway")["pid"] == pid, "the gateway lives on"
    assert resident_bytes(pid) < 450 << 20


@pytest.mark.long
def test_whatever_is_asked_for_long_is_answered_as_openapi_describes_it(here):
    attack(here, "--seed", random.randrange(10**6), "--max-examples", 200)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watched:
    """The screen under Textual's Pilot, and what it shows."""

    def __init__(self, pilot: Pilot):
        self.pilot, self.app = pilot, pilot.app
        assert isinstance(self.app, TopScreen)

    async def until(self, condition, what: str, seconds: float = 90.0):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what} did not happen; shown: {self.text('head')} / {self.text('result')}"
            await self.pilot.pause(0.05)
        return found

    def text(self, name: str) -> str:
        return str(self.app.screen_stack[0].query_one(f"#{name}", Static).content)

    def table(self) -> DataTable:
        return self.app.screen_stack[0].query_one(f"#{self.app.panel.lower()}-table", DataTable)

    def rows(self) -> dict[str, list[str]]:
        """Key → cells of the panel that is shown."""
        table = self.table()
        return {str(key.value): [str(cell) for cell in table.get_row(key)] for key in table.rows}

    async def choose(self, key: str) -> None:
        """Moves the cursor to the row of a key, by the arrow keys."""
        keys = [str(one.value) for one in self.table().rows]
        away = keys.index(key) - self.table().cursor_row
        await self.pilot.press(*["down" if away > 0 else "up"] * abs(away))

    async def act(self, key: str, question: str, answered: str, result: str) -> None:
        """Presses a key, answers what it asks, and waits for the sentence that says what was done."""
        await self.pilot.press(key)
        await self.until(lambda: isinstance(self.app.screen, ConfirmScreen), "a question")
        assert question in self.app.screen.question
        await self.pilot.press(answered)
        await self.until(lambda: result in self.text("result"), result)


def commands_in_log(root, after: int) -> list[dict]:
    return [event.map() for event in run.events(root, Kind.command, after=after)]


def test_top_shows_the_mesh_and_acts_on_it_when_a_person_confirms(here):
    """At 80 × 24: processes, strategies and the kill switch; its figures are those of the gateway and of `mesh orders`."""

    async def watch() -> None:
        picture = TerminalPicture()
        async with TopScreen(picture.look).run_test(size=(80, 24)) as pilot:
            seen = Watched(pilot)
            await seen.until(lambda: len(seen.rows()) == PROCESSES, "every process is shown")
            await seen.until(lambda: all(cells[1] == "RUNNING" for cells in seen.rows().values()), "all run")
            table = seen.table()
            assert table.virtual_size.width <= 80 and table.virtual_size.height <= table.size.height, "all of it is seen"
            model, feed = "model-imbalance", "feed-binance-1"
            pid = seen.rows()[model][2]
            await seen.choose(model)
            await seen.act("r", f"Restart {model}?", "n", "nothing was done")
            await seen.act("r", f"Restart {model}?", "enter", "nothing was done")
            assert seen.rows()[model][2] == pid and seen.table().cursor_row == list(seen.rows()).index(model)
            await seen.act("r", f"Restart {model}?", "y", f"{model} was restarted")
            await seen.until(lambda: seen.rows()[model][1:3] not in ([s, pid] for s in ("RUNNING", "STOPPING")), "another pid")
            await seen.choose(feed)
            await seen.act("s", f"Stop {feed}", "y", "is being stopped")
            await seen.until(lambda: seen.rows()[feed][1] == "STOPPED", "it is shown stopped")
            assert feed in seen.text("head"), "why the mesh is not healthy"
            await seen.act("s", f"Stop {feed}", "y", f"not done: {feed} does not run")
            await seen.act("t", f"Start {feed}", "y", f"{feed} was started")
            await seen.until(lambda: seen.rows()[feed][1] == "RUNNING", "it runs again")

            after = run.status(here)["log"]["last_seq"]
            await pilot.press("3")
            row = await seen.until(lambda: next((k for k in seen.rows() if k.startswith("fast ")), ""), "the strategy's row")
            await seen.choose(row)
            await seen.act("w", "Switch strategy fast shadow", "y", "strategy fast is shadow")
            await seen.until(lambda: seen.rows().get(row, ["", ""])[1] == "shadow", "it is shown as shadow")
            await seen.act("o", "Switch strategy fast on", "y", "strategy fast is live")
            await seen.act("k", "Throw the kill switch", "n", "nothing was done")
            await seen.act("k", "Throw the kill switch", "y", "the kill switch is on")
            await seen.until(lambda: "KILL SWITCH ON" in seen.text("head"), "it is shown on")
            said = [(one["command"], one.get("state", one.get("on"))) for one in commands_in_log(here, after)]
            assert said == [("strategy", "shadow"), ("strategy", "live"), ("kill_switch", True)]

            await seen.until(lambda: ", 0 open orders" in seen.text("head"), "all orders are over")
            wanted = json.loads(mesh_here(here, "orders", "--json").stdout)["orders"]
            shown = seen.app.picture["orders"]
            assert len(wanted) > 2 and {one["seq"]: one for one in shown} == {one["seq"]: one for one in wanted}
            await pilot.press("4")
            await seen.until(lambda: set(seen.rows()) == {one["client_order_id"] for one in wanted}, "the orders are shown")

            def same_beat() -> bool:
                pages = answer(here, "/v1/positions"), answer(here, "/v1/pnl")
                mine = seen.app.picture
                if pages[0]["seq"] != mine["positions"]["seq"] or pages[1]["seq"] != mine["pnl"]["seq"]:
                    return False
                assert (mine["positions"], mine["pnl"]) == pages
                return True

            await seen.until(same_beat, "both have the same heartbeat")
            await seen.act("k", "Lift the kill switch", "y", "the kill switch is off")
            await seen.until(lambda: "kill switch off" in seen.text("head"), "it is shown off")
            await pilot.press("q")
        assert seen.app.return_code == 0

    asyncio.run(watch())


def test_top_prints_one_look(here):
    text = mesh_here(here, "top", "--once").stdout
    assert all(name in text for name in ("Processes", "Topics", "Positions", "Orders", "Alerts", "trade.binance.BTCUSDT"))
    found = json.loads(mesh_here(here, "top", "--json").stdout)
    assert len(found["processes"]) == len(found["status"]["nodes"]) == PROCESSES and found["orders"]
    assert mesh_here(here, "top").returncode == 1, "there is no terminal here"


@pytest.mark.parametrize(
    ("end", "environment", "colour"),
    [
        ("ctrl-c", {"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ("q", {"TERM": "vt100"}, False),
        ("sigterm", {"TERM": "xterm-256color"}, True),
    ],
)
def test_top_leaves_the_terminal_as_it_was(here, end, environment, colour):
    """On a terminal of 80 × 24; without a colour where NO_COLOR asks for that, or the terminal has none."""
    terminal = TerminalRun(here, "mesh", "top", **environment)
    with contextlib.closing(terminal):
        terminal.read_until(b"RUNNING")
        if end == "sigterm":
            terminal.process.send_signal(signal.SIGTERM)
        else:
            terminal.press(b"\x03" if end == "ctrl-c" else b"q")
        assert terminal.end() == 0, terminal.shown[-3000:]
        assert b"\x1b[?1049h" in terminal.shown and b"\x1b[?1049l" in terminal.shown and b"Traceback" not in terminal.shown
        chosen = re.findall(rb"\x1b\[(?:[\d;]*;)?(?:[34][0-8]|9\d|10\d)[;m]", terminal.shown)
        assert bool(chosen) == colour, chosen[:5]
        assert terminal.modes() == terminal.before


def test_top_follows_a_mesh_that_goes_down_and_comes_up(here):
    """The last test of this mesh."""

    async def watch() -> None:
        async with TopScreen(TerminalPicture().look).run_test(size=(80, 24)) as pilot:
            seen = Watched(pilot)
            await seen.until(lambda: len(seen.rows()) == PROCESSES, "every process is shown")
            await asyncio.to_thread(run.process, here, "mesh", "down")
            await seen.until(lambda: "NOT RUNNING" in seen.text("head"), "it is seen down")
            await seen.until(lambda: seen.rows()[""] == ["No process of this mesh runs."], "no process is shown")
            last = seen.app.picture["status"]["log"].get("last_seq", 0)
            await seen.act("k", "Throw the kill switch", "n", "nothing was done")
            await asyncio.to_thread(run.process, here, "mesh", "up")
            await seen.until(lambda: len(seen.rows()) == PROCESSES and "log " in seen.text("head"), "it is seen up again")
            await seen.until(lambda: seen.app.picture["status"]["log"]["last_seq"] > last, "the log is followed")
            await pilot.press("ctrl+c")
        assert seen.app.return_code == 0

    asyncio.run(watch())
