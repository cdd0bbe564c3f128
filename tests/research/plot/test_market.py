"""A market as it is read from a log: every row, our orders' lives, the book; as a page, as a picture, by the command."""

import json

import numpy as np
import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.research_scene import record
from tests.support.stored import START, Market, write_log
from tickmesh.bus.schema import DTYPES, Flag, Kind, OrderType, Status
from tickmesh.research.plot.book_map import gridded
from tickmesh.research.plot.market import PlotTerms, own_orders, read_market
from tickmesh.storage.query.times import ReadError

SUBJECT = "binance.BTCUSDT"
STEP = 1_000_000  # ns between events


def events() -> list[bytes]:
    market = Market()
    raws = [
        market.instrument((-2, -3)),
        market.depth([(995 - n, 10, 1) for n in range(3)] + [(1005, 20, -1)], 1, snapshot=True),
    ]
    for number in range(40):
        bid, ask = 995 + number % 5, (1005 if number % 9 else 0)
        quote = record(Kind.quote, update_id=number + 2, bid_ticks=bid, bid_lots=5, ask_ticks=ask, ask_lots=7 if ask else 0)
        raws.append(market.event(Kind.quote, SUBJECT, quote, first_id=number + 2, last_id=number + 2))
        raws.append(market.depth([(995, 10 + number, 1)], number + 2))
        if number not in (20, 21, 22):
            trade = np.zeros(1, DTYPES[Kind.trade])
            trade["trade_id"], trade["side"] = number + 1, 1 if number % 3 else -1
            trade["price_ticks"], trade["quantity_lots"], trade["venue_ns"] = 1000 + number, number + 1, market.seq_ns
            flags = Flag.OFF_BOOK if number == 7 else 0
            raws.append(market.event(Kind.trade, SUBJECT, trade, first_id=number + 1, last_id=number + 1, flags=flags))
        if number == 10:
            raws += [market.event(Kind.update, SUBJECT, update(Status.New))]
            fill = record(Kind.fill, side=1, maker=1, trade_id=5, price_ticks=998, quantity_lots=3, client_order_id=b"a")
            raws.append(market.event(Kind.fill, SUBJECT, fill))
        if number == 30:
            raws.append(market.event(Kind.update, SUBJECT, update(Status.Canceled)))
    return raws


def update(status: Status, name: bytes = b"a", price: int = 998, order_type: OrderType = OrderType.LIMIT) -> np.ndarray:
    return record(Kind.update, status=status, side=1, order_type=order_type, client_order_id=name, price_ticks=price)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text('[[instruments]]\nsymbol = "BTCUSDT"\n')
    write_log(root / "data/sim/log", events())
    return root


@pytest.mark.filterwarnings("ignore::tickmesh.storage.query.gaps.CoverageWarning")
def test_every_row_is_there_with_what_is_missing_between(root):
    view = read_market(tm.open(root), PlotTerms("BTCUSDT"))
    times, (bid, ask, spread) = view.quotes.every_row()
    assert view.quotes.rows == 40 and bid.tolist() == [(995 + number % 5) / 100 for number in range(40)]
    assert np.isnan(ask[::9]).all() and np.isnan(spread[::9]).all() and ask[1] == 10.05 and spread[1] == pytest.approx(0.09)
    assert view.bought.rows + view.sold.rows == 36, "one trade is off the book, three are missing"
    (price, quantity) = view.bought.every_row()[1]
    assert (price[0], quantity[0]) == (10.01, 0.002) and view.start_ns == times[0] and view.end_ns >= times[-1]
    (fill_price, fill_quantity) = view.fills_bought.every_row()[1]
    assert (fill_price.tolist(), fill_quantity.tolist(), view.fills_sold.rows) == ([9.98], [0.003], 0)
    (order,) = view.orders
    assert order["price"] == pytest.approx(9.98) and START < order["begin_ns"] < order["end_ns"] < view.end_ns
    (hole,) = [one for one in view.coverage if one.state == "missing"]
    sold_ns = np.concatenate([view.bought.every_row()[0], view.sold.every_row()[0]])
    assert (hole.kind, hole.begin_ns in sold_ns, hole.end_ns in sold_ns) == ("trade", True, True)
    assert not ((sold_ns > hole.begin_ns) & (sold_ns < hole.end_ns)).any() and hole.end_ns - hole.begin_ns > 6 * STEP
    assert view.book is not None and view.book.low == pytest.approx(9.93) and view.book.quantity.sum() > 0


def test_a_span_bounds_what_is_read(root):
    whole = read_market(tm.open(root), PlotTerms("BTCUSDT", book=False))
    middle = whole.quotes.every_row()[0][20]
    part = read_market(tm.open(root), PlotTerms(SUBJECT, int(middle), None, False))
    assert part.quotes.rows == 20 and part.start_ns == middle and part.book is None
    with pytest.raises(ReadError, match="neither a quote nor a trade"):
        read_market(tm.open(root), PlotTerms("BTCUSDT", "2020-01-01", "2020-01-02"))


def test_an_order_lives_from_its_first_update_to_its_first_final_one():
    rows = np.concatenate([update(Status.New, name) for name in (b"b", b"a", b"b", b"a")])
    rows["status"] = [Status.New, Status.New, Status.Filled, Status.PartiallyFilled]
    timed = np.zeros(4, [(name, rows.dtype[name]) for name in ("client_order_id", "status", "side")] + [("seq_ns", "i8")])
    for name in ("client_order_id", "status", "side"):
        timed[name] = rows[name]
    timed["seq_ns"] = [10, 20, 30, 40]
    lives = own_orders(timed, np.array([1.0, 2.0, 1.0, 2.0]), 99)
    assert lives[["begin_ns", "end_ns", "price"]].tolist() == [(10, 30, 1.0), (20, 99, 2.0)]


def test_a_map_adds_up_what_stands_in_a_cell():
    price = np.array([[[10.0, 11.0], [9.0, 12.0]], [[10.0, 11.0], [9.0, 0.0]]])
    quantity = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 0.0]]])
    found = gridded(np.array([1000, 1020]), price, quantity, 10)
    assert (found.start_ns, found.step_ns, found.low, found.quantity.shape[1]) == (1000, 10, 9.0, 3)
    assert found.quantity.sum(axis=0).tolist() == [10.0, 0.0, 18.0]
    assert found.quantity[0].tolist() == [3.0, 0.0, 7.0] and found.quantity[-1].tolist() == [4.0, 0.0, 0.0]


def test_the_command_draws_a_page_or_a_picture(root):
    done = mesh_here(root, "plot", "BTCUSDT", "--no-book", "--json")
    result = json.loads(done.stdout)
    assert (result["file"], result["quotes"], result["trades"], result["orders"]) == ("BTCUSDT.html", 40, 36, 1)
    assert len(result["missing"]) == 1 and (root / "BTCUSDT.html").read_text().startswith("<!doctype html>")
    pytest.importorskip("matplotlib")
    done = mesh_here(root, "plot", SUBJECT, "--to", "btc.png", "--no-book")
    assert done.returncode == 0 and "36 trades, 40 quotes, 1 orders, 1 fills" in done.stdout, done.stderr
    assert "missing: trades, 2024-08-09T00:00:00.0" in done.stdout
    assert (root / "btc.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in root.iterdir()) == ["BTCUSDT.html", "btc.png", "data", "mesh.toml"]


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (("BTCUSDT", "--to", "a.gif"), 2, "ends with '.gif'; a plot is a file that ends with one of .html"),
        (("BTCUSDT", "--to", "none/a.png"), 2, "there is no folder"),
        (("DOGEUSDT",), 1, "DOGEUSDT"),
        (("BTCUSDT", "--start", "1h"), 1, "neither a quote nor a trade"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(root, words, code, sentence):
    done = mesh_here(root, "plot", *words)
    assert done.returncode == code and sentence in done.stderr, done.stderr
