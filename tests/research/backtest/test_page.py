"""The page: whole, small, safe with any name, in need of nothing; and its plots lose no extreme."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.report_scene import SECOND, START, quotes, random_result, result
from tickmesh.research.backtest import page, plots
from tickmesh.research.backtest.report import summarize
from tickmesh.research.backtest.result import QUOTE_MARK
from tickmesh.research.backtest.sections import sections

VOID = {"meta", "path", "circle", "polyline", "rect"}


class Reading(HTMLParser):
    """Checks that every tag is closed in turn, and collects tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reading = Reading()
    reading.feed(text)
    reading.close()
    assert reading.open == []
    return reading


def made_page(made):
    return page.html(made, summarize(made, seed=1))


def test_the_page_has_every_table_and_plot_and_needs_nothing_else():
    made = random_result(3)
    text = made_page(made)
    reading = read(text)
    assert not {"script", "link", "img", "iframe"} & set(reading.tags)
    assert not {"src", "href", "onload", "onclick"} & {name for name, _ in reading.attributes} and "http" not in text.replace(
        "http-equiv", ""
    )
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text
    assert reading.tags.count("svg") == 2 + 2 * 2 + 2, "equity, drawdown; position and price of both; markouts; hours"
    said = "".join(reading.text)
    for section in sections(summarize(made)):
        assert section.title in said and section.terms
        for part in (
            *section.headers,
            *(cell for row in section.rows for cell in row),
            *(one for term in section.terms for one in term),
        ):
            assert part in said


def test_missing_data_is_said_before_anything_else():
    reading = read(made_page(result(coverage=("trades are missing",))))
    body = "".join(reading.text).partition("pre{")[2].partition("}\n")[2]
    assert body.startswith("Missing data: trades are missing") and ("class", "missing") in reading.attributes


def test_names_are_text_and_nothing_else():
    bad = '<script>alert("1")</script>&amp;'
    made = result([(1, 1, 100.0, 1.0, 0.0)], marks={bad: quotes([(0, 99, 101)])}, instruments=(bad,), strategies=(bad,),
                  coverage=(bad,), settings={bad: bad})  # fmt: skip
    text = made_page(made)
    reading = read(text)
    assert "script" not in reading.tags and "<script" not in text
    assert ("aria-label", f"Position of {bad}") in reading.attributes and f"Missing data: {bad}" in reading.text


def test_a_page_of_a_million_quotes_and_many_fills_is_small(tmp_path):
    rng = np.random.default_rng(2)
    marks = np.zeros(1_000_000, QUOTE_MARK)
    marks["time_ns"] = START + np.arange(1_000_000) * 86_400_000
    mid = 100 + np.cumsum(rng.normal(0, 0.001, 1_000_000))
    marks["bid"], marks["ask"] = mid - 0.01, mid + 0.01
    small = random_result(1, instruments=1, strategies=1)
    fills = np.repeat(small.fills, 20_000 // len(small.fills) + 1)
    fills["time_ns"] = START + np.sort(rng.integers(0, 86_400, len(fills))) * SECOND
    fills["price"] = mid[(fills["time_ns"] - START) // 86_400_000] + rng.normal(0, 0.01, len(fills))
    made = result(seconds=86_400, instruments=small.instruments, marks={small.instruments[0]: marks})
    made = made.__class__(**{**vars(made), "fills": fills, "orders": small.orders})
    page.write(made, summarize(made, seed=None), tmp_path / "page.html")
    assert 50_000 < (tmp_path / "page.html").stat().st_size < 2_000_000 / 2
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    (drawn, of) = map(int, re.search(r"(\d+) of (\d+) fills have a place", (tmp_path / "page.html").read_text()).groups())
    assert of == len(fills) and 500 < drawn <= 2 * plots.MARKERS_MAX


@pytest.mark.parametrize(
    "made", [result(), result(seconds=0), result([(1, 1, 100.0, 1.0, 0.0)])], ids=["nothing", "no time", "no quotes"]
)
def test_a_page_of_hardly_anything_is_whole(made):
    text = made_page(made)
    read(text)
    assert not re.search(r"\bnan\b|\bNone\b", text)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(100, 3000))
def test_a_thinned_series_keeps_its_extremes_and_its_ends(seed, count):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.integers(0, 10**6, count)).astype(float)
    y = rng.normal(size=count)
    columns = 20
    thin_x, thin_y = plots.thinned(x, y, columns)
    assert len(thin_x) == len(thin_y) <= 4 * columns or count <= 4 * columns
    assert (np.diff(thin_x) >= 0).all() and set(thin_y) <= set(y)
    assert (thin_y.min(), thin_y.max(), thin_y[0], thin_y[-1]) == (y.min(), y.max(), y[0], y[-1])
    edges = [x[0] + (x[-1] - x[0]) * place / columns for place in range(columns)] + [np.inf]
    for begin, end in zip(edges, edges[1:]):
        inside, drawn = y[(x >= begin) & (x < end)], thin_y[(thin_x >= begin) & (thin_x < end)]
        assert len(inside) == len(drawn) == 0 or (inside.min(), inside.max()) == (drawn.min(), drawn.max())


def test_steps_keep_a_value_until_the_next_one():
    frame = plots.Frame(0.0, 10.0, 0.0, 1.0, plots.TOP + plots.BOTTOM + 100)
    wide = plots.WIDTH - plots.LEFT - plots.RIGHT
    drawn = plots.steps(frame, np.array([0.0, 5.0, 10.0]), np.array([0.0, 1.0, 0.5]), "curve")
    assert drawn == (
        f'<path class="curve" d="M{plots.LEFT:.1f} {plots.TOP + 100:.1f}H{plots.LEFT + wide / 2:.1f}V{plots.TOP:.1f}'
        f'H{plots.LEFT + wide:.1f}V{plots.TOP + 50:.1f}"/>'
    )


@settings(max_examples=60)
@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9))
def test_ticks_are_few_and_inside(low, span):
    ticks = plots.nice_ticks(low, low + span)
    assert len(ticks) <= 7 and all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


@pytest.mark.parametrize("seconds", [0, 0.005, 1, 59, 3600, 86_400, 30 * 86_400, 4000 * 86_400])
def test_labels_of_time_are_few_and_round(seconds):
    ticks = plots.time_ticks(START, START + round(seconds * SECOND))
    assert 1 <= len(ticks) <= 9 and len({label for _, label in ticks}) == len(ticks)
    assert all(START <= ns <= START + seconds * SECOND for ns, _ in ticks)


def test_midnight_has_the_name_of_the_day():
    labels = [label for _, label in plots.time_ticks(START, START + 86_400 * SECOND)]
    assert "08-10" in labels and "12:00" in labels and not any(label == "00:00" for label in labels)
