"""The page: in need of nothing, safe with any name, every row in it; and what a browser makes of it."""

import base64
import hashlib
import json
import re
import zlib

import numpy as np
import pytest

from tests.support.browser import ask_page, needs_browser
from tickmesh.research.plot.book_map import BookMap
from tickmesh.research.plot.market import OWN_ORDER, PlottedMarket
from tickmesh.research.plot.page import shades, write_page
from tickmesh.research.plot.palette import LIGHT
from tickmesh.research.plot.series import BLOCK_ROWS, GROUP
from tickmesh.research.plot.shading import CoverageSpan

SECOND = 1_000_000_000
START = 1_723_161_600 * SECOND


def market(quotes: int = 300, trades: int = 60, name: str = "binance.BTCUSDT") -> PlottedMarket:
    rng = np.random.default_rng(3)
    view = PlottedMarket(name, START, START + 100 * SECOND)
    times = START + np.sort(rng.integers(0, 100 * SECOND, quotes))
    bid = 6_000_000 + np.cumsum(rng.integers(-1, 2, quotes))
    ask = bid + rng.integers(1, 4, quotes)
    ask[10] = 0
    spread = np.where(ask > 0, ask - bid, 0)
    view.quotes.add(times, {"bid": bid, "ask": ask, "spread": spread}, {"bid": 2, "ask": 2, "spread": 2})
    for series, price in ((view.bought, ask), (view.sold, bid)):
        at = np.sort(rng.integers(11, quotes, trades))
        series.add(times[at], {"price": price[at], "quantity": rng.integers(1, 99, trades)}, {"price": 2, "quantity": 3})
    view.orders = np.array([(START + SECOND, START + 9 * SECOND, 60_000.0, 1)], OWN_ORDER)
    view.coverage = [CoverageSpan("trade", "missing", START + 40 * SECOND, START + 50 * SECOND, "skipped")]
    view.book = BookMap(START, SECOND, 59_990.0, 0.5, rng.random((20, 100)))
    return view


def unpacked(block: dict, text: str) -> list[list[int]]:
    """What docs/looking.md says of a block, written anew."""
    stored = zlib.decompress(base64.b64decode(text))
    out, at, rows = [], 0, block["rows"]
    for first, planes in zip(block["firsts"], block["planes"]):
        value, column = first, []
        for row in range(rows):
            zigzag = sum(stored[at + plane * rows + row] << 8 * plane for plane in range(planes))
            value += -(zigzag + 1) // 2 if zigzag % 2 else zigzag // 2
            column.append(value)
        at += planes * rows
        out.append(column)
    return out


def read(path):
    text = path.read_text()
    return text, json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def blocks(text: str, name: str) -> dict[int, str]:
    return {int(n): packed for n, packed in re.findall(rf'<script type="text/plain" id="{name}\.(\d+)">(.*?)</script>', text)}


def test_every_row_is_in_the_page_and_it_needs_nothing_else(tmp_path):
    view = market()
    size = write_page(view, tmp_path / "page.html")
    text, data = read(tmp_path / "page.html")
    assert size == (tmp_path / "page.html").stat().st_size and [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert not re.search(r"https?:|\bsrc=|<link|@import|url\(", text.replace('http-equiv="', ""))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    for name in ("quotes", "bought", "sold"):
        series = getattr(view, name)
        (block,), packed = data["series"][name]["rows"], blocks(text, f"{name}.rows")
        times, values = series.every_row()
        columns = unpacked(block, packed[0])
        assert [START + one for one in columns[0]] == times.tolist()
        for column, places, wanted in zip(columns[1:], block["decimals"][1:], values):
            assert np.array_equal(np.array(column) / 10**places, np.nan_to_num(wanted))
        (groups,) = data["series"][name]["groups"]
        lowest = np.array(unpacked(groups, blocks(text, f"{name}.groups")[0])[1]) / 10 ** groups["decimals"][1]
        assert lowest.tolist() == series.levels()[0].low[0].tolist()
    assert data["coverage"] == [["trade", "missing", 40 * SECOND, 50 * SECOND, "skipped"]]
    assert data["orders"] == [[SECOND, 9 * SECOND, 60_000.0, 1]]


def test_a_page_of_too_many_rows_has_their_groups_and_states_it(tmp_path):
    view = market()
    write_page(view, tmp_path / "page.html", every_row_max=view.rows - 1)
    text, data = read(tmp_path / "page.html")
    assert (
        blocks(text, "quotes.rows") == {} and data["series"]["quotes"]["rows"] == [] and len(blocks(text, "quotes.groups")) == 1
    )
    assert data["series"]["quotes"]["groups"][0]["rows"] == -(-300 // GROUP) and "420 rows are too many" in text


def test_names_are_text_and_nothing_else(tmp_path):
    bad = '</script><script>alert("1")</script>&amp;'
    view = market(name=bad)
    view.notes.append(bad)
    view.coverage.append(CoverageSpan("trade", "missing", START, START + 1, bad))
    write_page(view, tmp_path / "page.html")
    text, data = read(tmp_path / "page.html")
    assert "<script>alert" not in text and data["coverage"][1][4] == bad and text.count("&lt;script&gt;") >= 3


def test_shades_are_by_the_logarithm():
    found = shades(np.array([[0.0, 1.0, 10.0, 100.0]]))
    assert found[0, 0] == 0 and found[0, 1] == 1 and abs(int(found[0, 2]) - 128) <= 12 and found[0, 3] == 255
    assert shades(np.zeros((2, 2))).max() == 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a browser answers of a page of 200,000 quotes, from afar and from near."""
    folder = tmp_path_factory.mktemp("browser")
    view = market(200_000, 3000)
    write_page(view, folder / "page.html")
    ready = "!!document.getElementById('chart').dataset.ms && !document.getElementById('chart').dataset.waiting"
    mode = "document.getElementById('chart').dataset.mode"
    near = (
        "(async () => { market.look(50e9, 50.2e9); do await new Promise(r => setTimeout(r, 20));"
        f"while (!({ready})); return {mode} }})()"
    )
    first = (
        "(async () => { const q = market.series.quotes; await q.block(0);"
        "return q.unpacked.get(0).map(c => [...c.slice(0, 64)].map(String)) })()"
    )
    painted = (
        "(() => { const c = document.getElementById('chart'), p = pen.getImageData(0, 0, c.width, c.height).data;"
        "const s = new Set(); for (let i = 0; i < p.length; i += 4) s.add([...p.slice(i, i + 3)].join()); return [...s] })()"
    )
    groups = "market.series.quotes.grouped.map(c => [c.length, String(Math.min(...c.filter(v => !isNaN(v))))])"
    within = (  # from within the group 3 to the beginning of the group 5, and after the last row
        "(() => { const s = market.series.bought, kept = [s.rows, s.starts, {...market.view}], t = s.grouped[0];"
        "s.rows = s.starts = [];"
        "const of = (from, to) => { Object.assign(market.view, {from, to});"
        "const f = folded(s.parts(from, to), 0, 100, false); return [[...f.seen], [...f.low].map(String)] };"
        "const out = [of(t[3] + 1, t[5]), of(s.end + 1, s.end + 2e9), [...t.slice(3, 6)]];"
        "[s.rows, s.starts] = kept; Object.assign(market.view, kept[2]); return out })()"
    )
    return view, ask_page(folder / "page.html", folder / "profile", ready, [mode, first, groups, near, painted, within])


@needs_browser
def test_a_browser_reads_the_rows_that_were_packed(seen):
    view, ((_, first, groups, *_), complaints) = seen
    assert complaints == []
    times, values = view.quotes.every_row()
    wanted = [times[:64] - START, *values[:, :64]]
    assert [[float(one) for one in column] for column in first] == pytest.approx(np.array(wanted), nan_ok=True, rel=0, abs=0)
    assert groups[0][0] == sum(-(-block.rows // GROUP) for block in view.quotes.blocks)
    assert float(groups[1][1]) == values[0].min()


@needs_browser
def test_a_browser_draws_groups_from_afar_and_rows_from_near(seen):
    view, ((far, _, _, near, painted, _), _) = seen
    assert (far, near) == ("groups", "rows") and view.quotes.rows > 6 * BLOCK_ROWS
    wanted = {",".join(str(int(LIGHT[name][place : place + 2], 16)) for place in (1, 3, 5)) for name in ("bid", "ask")}
    assert wanted <= set(painted), "bid and ask are drawn in their colours"


@needs_browser
def test_trades_of_a_group_that_begins_left_of_the_view_are_drawn(seen):
    view, ((*_, ((there, low), after, times)), _) = seen
    last = int((times[1] - times[0] - 1) * 100 / (times[2] - times[0] - 1))  # the column in which the next group begins
    assert 0 < last < 99 and there == [1] * (last + 1) + [0] * (98 - last) + [1]
    lows = view.bought.levels()[0].low[0]
    assert {float(one) for one in low[:last]} == {lows[3]} and float(low[last]) == min(lows[3], lows[4])
    assert not any(after[0]), "after the last row there is none"
