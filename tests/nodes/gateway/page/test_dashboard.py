"""The dashboard in a real browser, on a real mesh: prices, an order, a dead feed, a gap, the kill switch, a gateway that dies.

Screenshots are kept in run/screenshots, at desktop and phone size, dark and light.
"""

import json
import os
import re
import signal
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

import tests.support.mesh_run as run
from tests.support.browser import needs_browser
from tests.support.browser_tab import SIZES, BrowserTab
from tests.support.places import PROJECT
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.schema import Kind
from tickmesh.tools.gateway_address import page_url

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300), needs_browser]

# A second instrument is only looked at; nothing trades so fast that what the page shows of one order is gone before it is read.
SETTINGS = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "ETHUSDT"
[gateway]
actions = true
nice = 0
[executor]
signal_threshold = 0.7
"""
SCREENSHOTS = PROJECT / "run/screenshots"
AXE = find_spec("axe_core_python")
LOOKED_THROUGH = (("desktop", "light"), ("phone", "dark"))
BTC = "binance.BTCUSDT"
FIRST_S = 120.0  # for the gateway, and for the browser that has just begun
GRAVE = ("serious", "critical")


class Scene:
    """A mesh that is up, and a browser tab on its page, opened by the address that `mesh status` prints."""

    def __init__(self, root: Path, profile: Path):
        self.root = root
        run.ok(root, "mesh", "init", ".")
        (root / "mesh.toml").write_text(SETTINGS)
        run.ok(root, "mesh", "up")
        self.tab: BrowserTab | None = None
        try:
            self._open(profile)
        except BaseException:
            self.end()
            raise

    def _open(self, profile: Path) -> None:
        self.config = run.config_of(self.root)
        self.address = run.status(self.root)["page"]
        self.url = self.address.partition("/?")[0]
        self.tab = BrowserTab(profile)
        self.tab.look("desktop", "light")
        urllib.request.urlopen(f"{self.url}/", timeout=FIRST_S).close()  # which loads the page into the gateway
        self.tab.open(self.address)
        self.tab.wait_text("seq", bool, "the page shows the log", FIRST_S)

    def end(self) -> None:
        if self.tab is not None:
            self.tab.end()
        run.ok(self.root, "mesh", "down")

    def row(self, part: str, beginning: str) -> str:
        """The row of a table that begins with a name; "" where it has none."""
        lines = self.tab.text(part).splitlines()
        return next((line for line in lines if line.split("\t")[0].strip() == beginning), "")

    def fault(self, **words) -> None:
        """Lets the local exchange misbehave."""
        rest = json.loads((self.root / "run/exchange.json").read_text())["rest"]
        body = json.dumps(words).encode()
        request = urllib.request.Request(f"{rest}/tickmesh/v1/faults", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()

    def pid(self, name: str) -> int:
        return run.ready(self.root, name).get("pid", 0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("dashboard"), tmp_path_factory.mktemp("profile"))
    yield scene
    scene.end()


def test_the_token_leaves_the_address_and_prices_move(scene):
    tab = scene.tab
    assert "token=" in scene.address and scene.address == page_url(scene.config)
    assert tab.value("location.href") == f"{scene.url}/" and tab.value("document.cookie") == "", "no script can read it"
    seq = int(tab.text("seq"))
    seen = {tab.wait_text("bid", lambda text: re.fullmatch(r"\d+(\.\d+)?", text), "there is a bid")}
    run.until(lambda: seen.add(tab.text("bid")) or len(seen) > 2, lambda: f"the bid moves: {seen}")
    assert int(tab.text("seq")) > seq
    tab.wait_text("depth", lambda text: len(text.splitlines()) >= 11, "the book has ten levels and its headings")
    tab.wait_text("trades", lambda text: "buy" in text or "sell" in text, "trades come")
    tab.wait_text("signals", lambda text: "model-imbalance" in text, "signals come")
    tab.wait("document.querySelectorAll('[data-panel=price] canvas').length > 0", "the chart is drawn")
    tab.wait("document.querySelectorAll('.ag-row').length == 2", "all instruments are in the table")
    tab.wait_text("race", lambda text: "feed-binance-1, trade" in text and "feed-binance-2, trade" in text, "the race", 40)
    tab.wait_text("latency", lambda text: "ms" in text, "latencies by hop")
    assert {name.split("\t")[0] for name in tab.text("processes").splitlines()} >= {"exchange", "gateway", "sentinel-2"}


def test_an_order_is_followed_to_its_fill(scene):
    """The page's newest filled order is one of the log, with the price and the quantity that it has there."""

    def filled() -> list[str]:
        rows = [line.split("\t") for line in scene.tab.text("orders").splitlines()]
        return next((row for row in rows if len(row) > 6 and row[1].strip() == "Filled"), [])

    row = run.until(filled, "an order is filled", 60)
    name = row[6].strip()
    assert row[5].strip() == "0.001 of 0.001" or row[5].split(" of ")[0] == row[5].split(" of ")[1]
    fills = [
        e for e in run.events(scene.root, Kind.fill) if bytes(e.records["client_order_id"][0]).rstrip(b"\0").decode() == name
    ]
    assert fills, f"{name} has a fill in the log"
    scene.tab.wait_text("strategies", lambda text: "default" in text and "live" in text, "the strategy and its profit")
    scene.tab.wait_text("positions", lambda text: "binance.BTCUSDT" in text, "the position")


def test_a_killed_feed_is_shown_dead_and_back(scene):
    """Stopped for good first, by the page's own button; then started by it; then killed, and back by itself."""
    tab, name = scene.tab, "feed-binance-2"

    def act(do: str) -> None:
        tab.click("[data-act=process]")
        tab.wait("!!document.querySelector('.q-menu .q-item')", "the list of processes is open")
        tab.value(f"[...document.querySelectorAll('.q-menu .q-item')].find(one => one.innerText.trim() == '{name}').click()")
        tab.click(f"[data-act={do}]")

    run.until(lambda: "RUNNING" in scene.row("processes", name), "the feed runs")
    act("stop")
    run.until(lambda: "STOPPED" in scene.row("processes", name), lambda: f"it is shown dead: {tab.text('processes')}")
    tab.screenshot(SCREENSHOTS / "dead-feed.png")
    act("start")
    run.until(lambda: "RUNNING" in scene.row("processes", name), lambda: f"it is shown back: {tab.text('processes')}")
    before = int(scene.row("processes", name).split("\t")[2])
    os.kill(before, signal.SIGKILL)
    run.until(
        lambda: scene.pid(name) not in (0, before) and str(scene.pid(name)) in scene.row("processes", name),
        lambda: f"its next life is shown: {scene.row('processes', name)}",
    )
    log = (scene.root / "run/logs/gateway.log").read_text()
    assert re.search(rf"127\.0\.0\.1 on the page asked: stop '{name}'", log), "who asked is in the log"


def test_a_gap_appears_and_is_repaired(scene):
    """Both lines are sent no trades for two seconds; backfill fetches them."""
    tab = scene.tab
    assert "repaired" not in tab.text("gaps")
    scene.fault(kind="skip", stream="btcusdt@trade", length_s=2)
    seen: set[str] = set()

    def repaired() -> bool:
        text = tab.text("gaps")
        seen.update(word for word in ("open", "repaired", "unrecoverable") if f"\t{word}\t" in text)
        return "repaired" in seen

    run.until(repaired, lambda: f"a gap is repaired: {tab.text('gaps')}")
    tab.wait("document.querySelectorAll('.coverage rect.repaired').length > 0", "the bar shows it in its colour", 60)
    assert any(e.records["state"][0] == 1 for e in run.events(scene.root, Kind.gap)), "it was open in the log"


def test_the_kill_switch_asks_once_more_and_is_lifted_by_keyboard(scene):
    tab, path = scene.tab, scene.config.run_dir / KILL_SWITCH_FILE
    tab.click("[data-act=kill]")
    tab.wait("!!document.querySelector('[data-act=confirm]')", "it asks once more")
    assert not path.exists(), "nothing was done yet"
    tab.settled()
    tab.click("[data-act=confirm]")
    tab.wait_text("kill", lambda text: text == "on", "it is on")
    assert "127.0.0.1 on the page" in path.read_text()
    tab.screenshot(SCREENSHOTS / "kill-switch.png")
    tab.wait("document.querySelector('[data-act=kill]').innerText.startsWith('Lift')", "the button lifts it now")
    tab.value("document.querySelector('[data-act=kill]').focus()")
    tab.press("Enter")
    tab.wait("!!document.querySelector('[data-act=confirm]')", "it asks once more")
    tab.settled()
    for _ in range(10):
        if tab.value("document.activeElement?.dataset?.act == 'confirm'"):
            break
        tab.press("Tab")
    assert tab.value("document.activeElement?.dataset?.act == 'confirm'"), "the keyboard reaches the answer"
    tab.press("Enter")
    tab.wait_text("kill", lambda text: text == "off", "it is lifted")
    assert not path.exists()


def test_figures_agree_on_the_page_in_metrics_in_mesh_top_and_in_the_log(scene):
    """While the kill switch is on, so that they stand still: what is held, at which price, what it brought, and fills."""
    names = ("position", "average_price", "realised", "fee_cost")
    run.ok(scene.root, "mesh", "kill-switch", "on", "--why", "figures stand still")

    def beat() -> dict:
        return next(e for e in reversed(run.events(scene.root, Kind.health)) if e.subject == "executor").map()

    run.until(lambda: beat()["kill_switch"]["on"] and not beat()["open_orders"], "nothing is open")
    scene.tab.wait_text("kill", lambda text: text == "on", "the page has it too")
    said = beat()
    held = said["positions"][BTC]
    logged = {**{name: held[name] for name in names}, "fills": said["fills"], "kill_switch": said["kill_switch"]["on"]}

    scrape = urllib.request.urlopen(f"{scene.url}/metrics").read().decode()
    samples = [one for family in text_string_to_metric_families(scrape) for one in family.samples]
    got = {(one.name, *one.labels.values()): one.value for one in samples}
    series = ("tickmesh_position", "tickmesh_position_average_price", "tickmesh_profit_realised", "tickmesh_fee_cost")
    metrics = {name: got[one, BTC] for name, one in zip(names, series, strict=True)}
    assert logged == {
        **metrics, "fills": got["tickmesh_executor_fills_total", "executor"], "kill_switch": got["tickmesh_kill_switch",] == 1,
    }  # fmt: skip
    top = run.ok_json(scene.root, "mesh", "top", "--json")
    money = top["pnl"]["instruments"][BTC]
    shown = {**top["positions"]["positions"][BTC], **money}
    assert logged == {
        **{name: shown[name] for name in names},
        "fills": money["fills"],
        "kill_switch": top["pnl"]["kill_switch"]["on"],
    }

    def on_page() -> list[str]:
        cells = [cell.strip() for cell in scene.row("positions", BTC).split("\t")]
        return [*cells[1:4], cells[5], scene.row("strategies", "default").split("\t")[4].strip()]

    texts = [f"{held['position']:.8g}", f"{held['average_price']:.8g}", *(f"{held[name]:+.4f}" for name in names[2:])]
    run.until(lambda: on_page() == [*texts, str(said["fills"])], lambda: f"the page shows {on_page()}, the log has {logged}")
    run.ok(scene.root, "mesh", "kill-switch", "off")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_every_screen(scene, size, scheme):
    """Nothing lies beyond the edge; axe, which takes its time, finds nothing serious on two of the four."""
    tab = scene.tab
    tab.look(size, scheme)
    tab.wait(f"document.body.classList.contains('body--dark') == {json.dumps(scheme == 'dark')}", "the page follows the system")
    tab.settled(0.5)
    tab.screenshot(SCREENSHOTS / f"{size}-{scheme}.png", whole=True)
    assert tab.value("document.documentElement.scrollWidth <= innerWidth"), "nothing has to be scrolled sideways"
    if (size, scheme) not in LOOKED_THROUGH:
        return
    if AXE is None or AXE.origin is None:
        pytest.skip("axe-core-python is not installed")
    tab.value(Path(AXE.origin).with_name("axe.min.js").read_text() + ";1")
    words = "one.nodes.map(node => [node.html, node.failureSummary])"
    found = tab.value(f"axe.run().then(found => found.violations.map(one => [one.impact, one.id, {words}]))")
    assert found is not None and [one for one in found if one[0] in GRAVE] == []


def test_the_page_asks_nobody_outside_and_has_no_fault(scene):
    here = urlsplit(scene.url).netloc
    asked = {urlsplit(one).netloc for one in scene.tab.requested if not one.startswith(("data:", "about:"))}
    assert asked == {here}
    assert [one for one in scene.tab.complaints if "WebSocket" not in one] == []


def test_a_gateway_that_is_gone_is_seen_and_the_page_goes_on(scene):
    """The last test: the page says that it has lost its connection, and shows what is new when the gateway is back."""
    tab = scene.tab
    tab.look("desktop", "light")
    seq = int(tab.text("seq"))
    os.kill(scene.pid("gateway"), signal.SIGKILL)
    popup = "getComputedStyle(document.getElementById('popup'))"
    tab.wait(f"{popup}.visibility == 'visible' && {popup}.opacity == '1'", "the loss is seen")
    tab.screenshot(SCREENSHOTS / "lost.png")
    tab.wait("document.getElementById('popup')?.ariaHidden == 'true'", "the connection is back", 60)
    tab.wait_text("seq", lambda text: text.isdigit() and int(text) > seq, "it has caught up", 40)
    tab.wait_text("orders", lambda text: "Filled" in text, "orders of before are there again")


def test_without_the_token_the_page_shows_and_changes_nothing(scene):
    """A tab without the cookie: no button that acts; and the API wants the token, on this machine too."""
    tab = scene.tab
    tab.command("Network.clearBrowserCookies")
    tab.open(f"{scene.url}/")
    tab.wait_text("seq", bool, "prices are shown")
    assert not tab.value("!!document.querySelector('[data-act]')")
    assert "mesh status" in tab.value("document.querySelector('[data-panel=processes]').innerText")
