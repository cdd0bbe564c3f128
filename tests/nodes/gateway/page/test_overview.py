"""The table of all instruments in a real browser, with a hundred of them: complete, going on, little sent for it."""

import json

import numpy as np
import pytest

import tests.support.mesh_run as run
from tests.support.browser import needs_browser
from tests.support.browser_tab import BrowserTab
from tests.support.gateway_scene import GatewayProcess, LiveLog
from tests.support.stored import START, Market
from tickmesh.bus.schema import DTYPES, Kind

pytestmark = [pytest.mark.timeout(300), needs_browser]

COUNT = 100
ONE = 10**8  # ticks: of instruments whose exponents are not decided
NAMES = [f"binance.M{number:02d}USDT" for number in range(COUNT)]
ROWS = """(() => { const rows = []; const table = document.querySelector('.overview');
if (!table) return '[]';
getElement(Number(table.id.slice(1))).api.forEachNode((node) => rows.push(node.data)); return JSON.stringify(rows); })()"""
FIRST_S = 120.0  # for a gateway that gives way to all others, and a browser that has just begun


class Scene:
    """A gateway on a log of a hundred instruments that the test writes, and a browser tab on its page."""

    def __init__(self, root, profile):
        tables = "".join(f'[[instruments]]\nsymbol = "{name.partition(".")[2]}"\n' for name in NAMES)
        (root / "mesh.toml").write_text(f"{tables}[executor]\nenabled = false\n")
        self.market, self.log = Market(seq_ns=START), LiveLog(root)
        self.bids = dict.fromkeys(NAMES, 0)
        self.quote({name: number + 1 for number, name in enumerate(NAMES)})
        self.gateway = GatewayProcess(root)
        self.tab = BrowserTab(profile)
        self.tab.look("desktop", "light")
        self.tab.open(self.gateway.url)

    def quote(self, bids: dict[str, int]) -> None:
        """Writes a quote of each: its bid, a whole number, and the next one as ask."""
        self.log.publish([self.market.event(Kind.quote, name, quote_of(bid)) for name, bid in bids.items()])
        self.bids |= bids

    def shown(self) -> dict[str, dict]:
        """The table's rows by instrument, those too that would have to be scrolled to."""
        return {row["instrument"]: row for row in json.loads(self.tab.value(ROWS) or "[]")}

    def is_right(self) -> bool:
        """Whether every row has the newest quote."""
        rows = self.shown()
        return list(rows) == NAMES and all(
            (rows[name].get("bid"), rows[name].get("ask")) == (bid, bid + 1) for name, bid in self.bids.items()
        )

    def end(self) -> None:
        self.tab.end()
        self.gateway.end()
        self.log.close()


def quote_of(bid: int) -> np.ndarray:
    """The record of a quote with this bid."""
    record = np.zeros(1, DTYPES[Kind.quote])
    record["bid_ticks"], record["ask_ticks"], record["bid_lots"], record["ask_lots"] = bid * ONE, (bid + 1) * ONE, 5, 5
    return record


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("overview"), tmp_path_factory.mktemp("profile"))
    yield scene
    scene.end()


def test_every_instrument_is_there_with_its_newest_quote_and_goes_on(scene):
    run.until(scene.is_right, lambda: f"all rows are right: {scene.shown()}\n{scene.tab.complaints}", FIRST_S)
    for step in range(1, 4):
        scene.quote({name: bid + step for name, bid in scene.bids.items()})
        run.until(scene.is_right, lambda: f"all rows have moved: {scene.shown()}", 30)
    assert not scene.tab.complaints


def test_only_rows_that_have_changed_are_sent(scene):
    run.until(scene.is_right, "the table stands still", FIRST_S)
    tab, some = scene.tab, NAMES[10:40:10]
    tab.keeps_messages = True
    scene.quote({name: 7_000 for name in some})
    run.until(scene.is_right, lambda: f"three rows have moved: {scene.shown()}", 30)
    sent = [message for message in tab.received if "applyTransaction" in message]
    assert sent and all(name in "".join(sent) for name in some)
    others = [name for name in NAMES if name not in some and any(name in message for message in sent)]
    assert not others, (others, [len(one) for one in sent])
