"""Over a stop or a kill of the exchange no id is left out: trades, orders, update ids and `pu`; and books stay right."""

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import pytest
import websockets

from tests.support.exchange_books import Process
from tests.support.exchange_clients import SPOT_AND_USDM, Rest, configure, limit, listening
from tickmesh.nodes.exchange.last_books import read_last_books
from tickmesh.nodes.exchange.server.ledger import LedgerFiles
from tickmesh.tools.judge.exchange_ledger import read_contents
from tickmesh.tools.judge.findings import Findings

TRADES_PER_S = 60
TOML = f"""{SPOT_AND_USDM}[exchange]
trades_per_s = {TRADES_PER_S}
quotes_per_s = 120
"""
PATHS = {
    "spot": "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@depth",
    "usdm": "/binance_usdm/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@depth@500ms",
}


async def heard(where: dict, end: int = 0, pid_of: Process | None = None, trades: int = 40) -> dict[str, list[dict]]:
    """Hears both dialects until some trades are there and, with a signal to end the exchange by, until it is gone."""
    frames: dict[str, list[dict]] = {name: [] for name in PATHS}
    enough = {name: asyncio.Event() for name in PATHS}

    async def listen(name: str, socket) -> None:
        try:
            async for text in socket:
                frames[name].append(json.loads(text))
                if sum(frame["stream"].endswith("@trade") for frame in frames[name]) >= trades:
                    slow = [frame for frame in frames[name] if frame["stream"].endswith(("@depth", "@depth@500ms"))]
                    if len(slow) > 2:
                        enough[name].set()
        except websockets.ConnectionClosed:
            pass

    async with listening(where["ws"] + PATHS["spot"]) as spot, listening(where["ws"] + PATHS["usdm"]) as usdm:
        tasks = [asyncio.create_task(listen(name, socket)) for name, socket in (("spot", spot), ("usdm", usdm))]
        await asyncio.wait_for(asyncio.gather(*(one.wait() for one in enough.values())), 60)
        if pid_of is not None:
            await asyncio.to_thread(pid_of.end, end)
            await asyncio.wait_for(asyncio.gather(*tasks), 20)
        else:
            for task in tasks:
                task.cancel()
    return frames


async def order_id(where: dict) -> int:
    """Places an order that rests; gives its id."""
    async with aiohttp.ClientSession() as session:
        _, placed = await Rest(where["rest"], session).order(**limit("BUY", "50000"))
        return placed["orderId"]


def of(frames: list[dict], part: str) -> list[dict]:
    return [frame["data"] for frame in frames if frame["stream"].partition("@")[2] == part]


def right_quotes(frames: list[dict], gone: int) -> int:
    """Applies every change to a book from nothing on, and compares it with each quote of its ids beyond `gone`."""
    sides: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    quotes = {quote["u"]: quote for quote in of(frames, "bookTicker")}
    equal = 0
    for change in of(frames, "depth@100ms"):
        for side, levels in sides.items():
            levels.update((float(price), float(quantity)) for price, quantity in change[side])
        if change["u"] > gone and (quote := quotes.get(change["u"])) is not None:
            bid = max(price for price, quantity in sides["b"].items() if quantity)
            ask = min(price for price, quantity in sides["a"].items() if quantity)
            best = (bid, sides["b"][bid], ask, sides["a"][ask])
            assert best == tuple(float(quote[key]) for key in "bBaA"), change["u"]
            equal += 1
    return equal


@pytest.fixture(scope="module", params=[signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
def lives(request, tmp_path_factory):
    """(how it ended, folder, frames before, frames after, order ids) of an exchange that was ended while it was heard."""
    folder = tmp_path_factory.mktemp("lives")
    configure(folder, TOML)
    process = Process(folder)
    orders = [asyncio.run(order_id(process.where))]
    before = asyncio.run(heard(process.where, request.param, process))
    again = Process(folder)
    orders.append(asyncio.run(order_id(again.where)))
    after = asyncio.run(heard(again.where))
    again.end(signal.SIGTERM)
    return request.param, folder, before, after, orders


@pytest.mark.parametrize("venue", list(PATHS))
def test_no_id_is_left_out_and_the_book_goes_on(lives, venue):
    how, _, before, after, _ = lives
    was, now = before[venue], after[venue]
    trades = [trade["t"] for trade in of(was, "trade")]
    assert trades == list(range(trades[0], trades[-1] + 1))
    on_their_way = of(now, "trade")[0]["t"] - trades[-1] - 1
    assert 0 <= on_their_way < TRADES_PER_S, "what was sent last goes with the connections; the ledger has it (below)"
    for stream in ("depth@100ms", "depth" if venue == "spot" else "depth@500ms"):
        last, first = of(was, stream)[-1], of(now, stream)[0]
        before_it = first["U"] - 1 if venue == "spot" else first["pu"]
        assert before_it <= last["u"] < first["u"], "what may have gone with the connections is said again"
        if how == signal.SIGTERM:
            quotes = of(was, "bookTicker")
            assert last["u"] >= quotes[-1]["u"], "a clean stop says all that the book was"
    assert right_quotes(was + now, of(was, "depth@100ms")[-1]["u"]) > 2, "levels that stood before are gone from the book"


def test_order_ids_go_on_and_the_ledger_has_no_hole_in_any_id(lives):
    _, folder, _, _, orders = lives
    assert orders[1] == orders[0] + 1
    findings = Findings()
    ledger = read_contents(folder / "data/sim/exchange", findings)
    assert findings.ok, findings.sentences
    ids = []
    for symbol, (truth,) in ledger.eras.items():
        changes = [(step.first, step.last) for step in truth.steps if step.kind == "depth"]
        ids += changes if symbol.startswith("binance_usdm.") else []
        if symbol == "BTCUSDT":
            assert all(after[0] == before[1] + 1 for before, after in zip(changes, changes[1:]))
        assert list(truth.trades) == list(range(1, len(truth.trades) + 1))
    ids.sort()
    assert all(after[0] == before[1] + 1 for before, after in zip(ids, ids[1:])), "USD-M counts over all symbols"


def test_books_are_found_again_in_the_newest_file_alone(lives):
    _, folder, _, _, _ = lives
    exchange = folder / "data/sim/exchange"
    newest = sorted(exchange.glob("ledger-*.bin"))[-1]
    whole = read_last_books(newest.read_bytes())
    assert set(whole.books) == {"BTCUSDT", "binance_usdm.BTCUSDT", "binance_usdm.ETHUSDT"}
    assert all(book.sent_id < book.update_id and book.unsent for book in whole.books.values())
    files = LedgerFiles(exchange, "synthetic", 1 << 30, lambda: 0)
    assert files.last_books() == whole, "a file that a start has begun says the same"
    files.close()


def test_a_kill_before_anything_was_sent_keeps_what_the_process_before_had_not_sent(tmp_path: Path):
    configure(tmp_path, TOML + "lines = 2\n")  # it waits for both clients before it goes on
    process = Process(tmp_path)
    frames = asyncio.run(heard(process.where, signal.SIGKILL, process, trades=10))
    for _ in range(2):
        Process(tmp_path).end(signal.SIGKILL)
    again = Process(tmp_path)
    after = asyncio.run(heard(again.where, trades=5))
    again.end(signal.SIGTERM)
    for venue in PATHS:
        last, first = of(frames[venue], "depth@100ms")[-1], of(after[venue], "depth@100ms")[0]
        assert (first["U"] - 1 if venue == "spot" else first["pu"]) <= last["u"]
        assert right_quotes(frames[venue] + after[venue], last["u"]) > 0
