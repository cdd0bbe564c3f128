"""Recorded liquidity is consumed once, and whichever stream shows a quote, our orders are filled alike."""

import asyncio
import gzip
import json
import random
from collections import Counter

import aiohttp
import pytest

from tests.support.exchange_clients import Rest, configure, limit, listening, served
from tests.support.places import DATA
from tests.support.replay_lines import SNAPSHOT, depth, line, market_of, snapshot, ticker, trade, write
from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Execution
from tickmesh.nodes.exchange.market.matching import ExchangeOrder
from tickmesh.nodes.exchange.market.queue import power
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.replay import Replay
from tickmesh.nodes.exchange.protocol import UNIT, mantissa

SPOT = DATA / "hftbacktest" / "spot" / "btcusdt_20240808.gz"


def order(ident: int, side: int, price: float, quantity: float) -> ExchangeOrder:
    return ExchangeOrder(ident, 1, side, units(price), units(quantity))


def units(number: float) -> int:
    return mantissa(f"{number:.8f}")


def quantities(fills: list[tuple[int, Execution]]) -> list[float]:
    return [execution.quantity / UNIT for _, execution in fills]


QUOTE = (100, 3, 101, 5)  # bid, quantity, ask, quantity


def test_the_rest_of_a_taker_waits_as_maker_and_an_identical_quote_fills_nothing():
    market, replay, fills = market_of(snapshot(10, [(100, 3)], [(101, 5), (102, 9)]), ticker(11, *QUOTE))
    status, taken = market.submit(order(1, 1, 101, 50), "LIMIT", "GTC", 0)
    assert status == "PARTIALLY_FILLED" and [e.quantity for e in taken] == [units(5)]
    for update_id in (11, 12, 13):
        replay.pass_line(line(ticker(update_id, *QUOTE)), 0)
    replay.pass_line(line(depth(11, 14, asks=[(101, 5)])), 0)
    assert fills == [], "the same 5 are not for sale twice"
    status, taken = market.submit(order(2, 1, 101, 50), "LIMIT", "IOC", 0)
    assert (status, taken) == ("EXPIRED", []), "neither to another order"
    assert market.submit(order(3, 1, 101, 1), "LIMIT_MAKER", "GTC", 0)[0] == "NEW", "nor is there anything to take"
    replay.pass_line(line(ticker(15, 100, 3, 101, 7)), 0)
    assert [(i, e.price, e.quantity, e.maker) for i, e in fills] == [(1, units(101), units(2), True)], "2 are new"
    replay.pass_line(line(trade(1, 100.5, 4, True)), 0)
    assert quantities(fills) == [2, 4], "a seller that comes down to 100.5 would have met the bid at 101 first"


def test_what_a_level_loses_frees_nothing_and_what_it_gains_is_new():
    market, replay, fills = market_of(snapshot(10, [(99, 1)], [(101, 5)]))
    market.submit(order(1, 1, 101, 5), "LIMIT", "IOC", 0)

    def left(after: float, update_id: int) -> float:
        replay.pass_line(line(depth(update_id, update_id, asks=[(101, after)])), 0)
        return next((quantity / UNIT for _, quantity in market.levels(-1, 1)), 0)

    assert [left(3, 11), left(4, 12), left(6, 13), left(0, 14), left(2, 15)] == [0, 1, 3, 0, 2]
    assert market.best(-1) == (units(101), units(2)), "what others are told is the recording"


def test_a_resting_order_gets_no_more_than_the_other_side_shows():
    market, replay, fills = market_of(SNAPSHOT)
    market.submit(order(1, 1, 100.5, 50), "LIMIT", "GTC", 0)
    for update_id in (11, 12):
        replay.pass_line(line(ticker(update_id, 99, 1, 100.5, 0.001)), 0)
    assert quantities(fills) == [0.001] and market.own_orders[1].remaining == units(49.999)
    replay.pass_line(line(ticker(13, 99, 1, 100, 2)), 0)
    assert fills[-1][1].price == units(100.5) and quantities(fills) == [0.001, 2], "at our price: we stood there first"


def test_a_depth_change_that_crosses_a_resting_order_fills_it_as_a_quote_would():
    market, replay, fills = market_of(SNAPSHOT)
    market.submit(order(1, 1, 100.5, 1), "LIMIT", "GTC", 0)
    market.submit(order(2, 1, 100.4, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(depth(11, 11, asks=[(100.4, 1.25)])), 0)
    assert [(i, e.quantity / UNIT, e.price / UNIT) for i, e in fills] == [(1, 1, 100.5), (2, 0.25, 100.4)]
    assert not market.crosses(1, units(100.4)), "nothing is left that could be taken there"


def test_a_snapshot_that_crosses_a_resting_order_fills_it_too():
    market, replay, fills = market_of(SNAPSHOT, depth(11, 11))
    market.submit(order(1, 1, 100.5, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(depth(20, 21)), 0)  # a hole: the book is lost
    assert fills == []
    replay.pass_line(line(snapshot(30, [(99, 1)], [(100.2, 0.5)])), 0)
    assert quantities(fills) == [0.5]


def test_one_trade_is_shared_by_our_orders_in_price_time_priority():
    market, replay, fills = market_of(SNAPSHOT)
    for ident, price in ((1, 99.5), (2, 100.5), (3, 100.5)):
        market.submit(order(ident, 1, price, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(trade(1, 99.5, 1.5, True)), 0)
    assert [(i, e.quantity / UNIT) for i, e in fills] == [(2, 1), (3, 0.5)]
    replay.pass_line(line(trade(2, 99.5, 0.75, True)), 0)
    assert [(i, e.quantity / UNIT) for i, e in fills[2:]] == [(3, 0.5), (1, 0.25)]
    replay.pass_line(line(trade(3, 99, 5, False)), 0)
    assert len(fills) == 4, "a buyer's trade meets no bid"


def test_our_orders_never_meet_each_other_and_the_resting_one_gives_way():
    market, replay, fills = market_of(SNAPSHOT)
    gone = []
    market.on_prevented = lambda taker, match, _: gone.append(match.maker.id)
    for ident, price in ((1, 100.5), (2, 100.2), (3, 98.5)):
        market.submit(order(ident, 1, price, 1), "LIMIT", "GTC", 0)
    assert market.submit(order(4, -1, 100.5, 1), "LIMIT_MAKER", "GTC", 0)[0] == "REJECTED"
    assert market.submit(order(5, -1, 100.4, 9), "LIMIT", "FOK", 0) == ("EXPIRED", []) and gone == []
    assert market.submit(order(6, -1, 100.4, 1), "LIMIT", "GTC", 0) == ("NEW", []) and gone == [1]
    status, taken = market.submit(order(7, -1, 0, 2), "MARKET", "GTC", 0)
    assert status == "FILLED" and [e.price for e in taken] == [units(100), units(99)] and gone == [1, 2], "it came to 99"
    assert fills == [] and sorted(market.own_orders) == [3, 6] == sorted(market.places)


def test_an_order_is_placed_by_the_quote_that_is_ahead_of_the_depth_stream_and_older_depth_does_not_move_it():
    market, replay, fills = market_of(snapshot(10, [(100, 10)], [(101, 5)]), ticker(14, 100, 4, 101, 5))
    market.queue = power(1)
    market.submit(order(1, 1, 100, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(depth(11, 12, bids=[(100, 7)])), 0)
    replay.pass_line(line(depth(13, 14, bids=[(100, 4)])), 0)
    replay.pass_line(line(trade(1, 100, 4, True)), 0)
    assert fills == [], "4 stood ahead, whatever had left before"
    replay.pass_line(line(trade(2, 100, 1, True)), 0)
    assert quantities(fills) == [1]


def test_an_order_that_waits_for_a_book_stands_behind_all_that_the_book_then_shows():
    market, replay, fills = market_of(depth(9, 10))
    market.submit(order(1, 1, 100, 1), "LIMIT", "GTC", 0)
    replay.pass_line(line(trade(1, 100, 5, True)), 0)
    replay.pass_line(line(SNAPSHOT), 0)
    replay.pass_line(line(trade(2, 100, 1, True)), 0)
    assert fills == []
    replay.pass_line(line(trade(3, 100, 1, True)), 0)
    assert quantities(fills) == [1]


# ---- any capture


def scene(seed: int) -> list[tuple[str, object]]:
    """A made-up market and our orders in it: ("line", message), ("quote", message of the touch by itself), ("order", …)."""
    rng, steps = random.Random(seed), []
    book = {1: {100 - n: rng.randint(1, 9) for n in range(4)}, -1: {101 + n: rng.randint(1, 9) for n in range(4)}}
    steps.append(("line", snapshot(10, sorted(book[1].items()), sorted(book[-1].items()))))
    middle = 100
    for update_id in range(11, 90):
        middle = min(max(middle + rng.choice((-1, 0, 0, 0, 1)), 96), 105)
        changed = {1: {}, -1: {}}
        for side in (1, -1):
            for price in [p for p in book[side] if (p - middle) * side > 0 or side < 0 and p <= middle]:
                changed[side][price] = 0
            price = middle - rng.randint(0, 3) if side > 0 else middle + 1 + rng.randint(0, 3)
            changed[side][price] = rng.randint(0, 9)
            changed[side].setdefault(middle if side > 0 else middle + 1, rng.randint(1, 9))
            book[side] = {p: q for p, q in (book[side] | changed[side]).items() if q}
        if rng.random() < 0.4:
            buyer = rng.random() < 0.5
            steps.append(("line", trade(update_id, min(book[-1]) if buyer else max(book[1]), rng.randint(1, 6), not buyer)))
        bid, ask = max(book[1]), min(book[-1])
        steps.append(("line", depth(update_id, update_id, list(changed[1].items()), list(changed[-1].items()))))
        steps.append(("quote", ticker(update_id, bid, book[1][bid], ask, book[-1][ask])))
        if rng.random() < 0.3:
            kind = rng.choice((("LIMIT", "GTC"), ("LIMIT", "GTC"), ("LIMIT", "IOC"), ("MARKET", "GTC"), ("LIMIT", "FOK")))
            steps.append(("order", (rng.choice((1, -1)), middle + rng.randint(-2, 3), rng.randint(1, 12), *kind)))
    return steps


def run(steps: list[tuple[str, object]], quotes: str) -> list[tuple]:
    """All executions of our orders: (order, price, quantity, maker). `quotes`: "none", "before" or "after" the depth change."""
    market = RecordedMarket(spec("BTCUSDT"))
    replay, done, ident = Replay({"BTCUSDT": market}), [], 0
    market.on_fill = lambda i, e, _: done.append((i, e.price, e.quantity, e.maker))
    steps = list(steps)
    if quotes == "before":
        for n in [n for n, (what, _) in enumerate(steps) if what == "quote"]:
            steps[n - 1], steps[n] = steps[n], steps[n - 1]
    for what, step in steps:
        if what == "order":
            ident += 1
            side, price, quantity, kind, tif = step
            _, fills = market.submit(order(ident, side, price, quantity), kind, tif, 0)
            done += [(ident, e.price, e.quantity, e.maker) for e in fills]
        elif what == "line" or quotes != "none":
            assert replay.pass_line(line(step), 0) is not None, replay.error
    return done


def test_a_capture_gives_the_same_fills_with_and_without_book_ticker():
    fills = Counter()
    for seed in range(40):
        steps = scene(seed)
        alone = run(steps, "none")
        assert run(steps, "after") == alone and run(steps, "before") == alone, seed
        fills.update(maker for *_, maker in alone)
    assert fills[True] > 100 and fills[False] > 100


@pytest.mark.parametrize("seed", range(40))
def test_our_orders_get_no_more_than_the_recording_ever_offered(seed):
    """Naive bound: what all levels of a side came to show, added up, and the trades that would have met the other side."""
    offered, last = Counter(), {}
    side_of: dict[int, int] = {}
    for what, step in scene(seed):
        if what == "order":
            side_of[len(side_of) + 1] = step[0]
            continue
        if what == "quote":
            continue
        data = step.get("data", step)
        if "t" in data:
            offered[1 if data["m"] else -1] += mantissa(data["q"])
        for side, key in ((1, "a"), (-1, "b")):
            for price, quantity in data.get(key, data.get({"a": "asks", "b": "bids"}[key], ())) if "t" not in data else ():
                before = last.get((side, price), 0)
                last[side, price] = mantissa(quantity)
                offered[side] += max(last[side, price] - before, 0)
    got = Counter()
    for ident, _, quantity, _ in run(scene(seed), "after"):
        got[side_of[ident]] += quantity
    assert got[1] <= offered[1] and got[-1] <= offered[-1] and got.total() > 0


# ---- over a restart, served


def test_what_was_taken_stays_taken_over_a_restart_and_the_rest_goes_on_waiting(tmp_path):
    messages = [SNAPSHOT, ticker(10, 100, 1, 101, 1), *(ticker(11 + n, 100, 1, 101, 1) for n in range(400))]
    write(tmp_path / "few.gz", messages, gap_ns=20_000_000)
    text = f'[exchange]\nreplay = ["{tmp_path / "few.gz"}"]\nspeed = 1\nlines = 1\n'

    async def scene_of(first: bool) -> None:
        async with served(configure(tmp_path, text)) as (base, ws, _), aiohttp.ClientSession() as session:
            rest = Rest(base, session)
            async with listening(ws + "/ws/btcusdt@bookTicker") as socket:
                await socket.recv()
                if first:
                    _, made = await rest.order(**limit("BUY", "101", "5"))
                    assert (made["status"], made["executedQty"]) == ("PARTIALLY_FILLED", "1.00000000")
                for _ in range(3):
                    await socket.recv()
                _, seen = await rest.order("GET", symbol="BTCUSDT", orderId=1)
                assert (seen["status"], seen["executedQty"]) == ("PARTIALLY_FILLED", "1.00000000")
                _, again = await rest.order(**limit("BUY", "101", "5", timeInForce="IOC"))
                assert again["executedQty"] == "0.00000000"
                _, mine = await rest.order("GET", "/api/v3/myTrades", symbol="BTCUSDT")
                assert [(t["qty"], t["isMaker"]) for t in mine] == [("1.00000000", False)]

    asyncio.run(scene_of(True))
    asyncio.run(scene_of(False))


# ---- a real capture


@pytest.mark.data
@pytest.mark.skipif(not SPOT.exists(), reason="TICKMESH_DATA: no captures here")
def test_a_real_capture_gives_the_same_fills_without_the_quotes_that_depth_proves():
    """Of the bookTickers those at an id where a depth change ends, each after that change. Our orders are at the touch."""
    depths, quotes = {}, {}
    with gzip.open(SPOT, "rt") as file:
        lines = [text.rstrip("\n") for text in file]
    for text in lines:
        data = json.loads(text.partition(" ")[2])
        data = data.get("data", data)
        if "U" in data:
            depths[data["u"]] = text
        elif "A" in data:
            quotes[data["u"]] = text

    def fills(with_quotes: bool) -> list[tuple]:
        market = RecordedMarket(spec("BTCUSDT"))
        replay, done, ident = Replay({"BTCUSDT": market}), [], 0
        market.on_fill = lambda i, e, _: done.append((i, e.price, e.quantity, e.maker))
        for text in lines:
            if '"A":' in text:
                continue
            replay.pass_line(text, 0)
            update_id = market.book_id
            if with_quotes and depths.get(update_id) is text and update_id in quotes:
                replay.pass_line(quotes[update_id], 0)
            if depths.get(update_id) is text and update_id % 7 == 0 and market.book_id > 0:
                ident += 1
                side = 1 if ident % 2 else -1
                price = market.best(side if ident % 3 else -side)[0]
                _, made = market.submit(ExchangeOrder(ident, 1, side, price, UNIT // 10), "LIMIT", "GTC", 0)
                done += [(ident, e.price, e.quantity, e.maker) for e in made]
        return done

    alone = fills(False)
    assert len(depths.keys() & quotes.keys()) > 500
    assert fills(True) == alone
    makers = sum(maker for *_, maker in alone)
    assert makers > 100 and len(alone) - makers > 100
