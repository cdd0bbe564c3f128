"""The local exchange as USD-M: read by our own adapter over real sockets, beside spot in one process; judged by its ledger."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import pytest

from tests.support.exchange_clients import SPOT_AND_USDM, listening, venue
from tests.support.scanner import BothWays
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues import binance_usdm as adapter
from tickmesh.nodes.venues.books.levels import Levels
from tickmesh.tools.judge import against_capture, against_ledger, eras, exchange_ledger
from tickmesh.tools.judge.book import BookChange
from tickmesh.tools.judge.capture import OFF_THE_BOOK
from tickmesh.tools.judge.findings import Findings

BTC, ETH = (Instrument(symbol=symbol, venue="binance_usdm") for symbol in ("BTCUSDT", "ETHUSDT"))
TOML = f"""{SPOT_AND_USDM}[exchange]
trades_per_s = 100
quotes_per_s = 200
lines = 1
[exchange.population."binance_usdm.BTCUSDT"]
off_book = 0.1
"""
BASE = "/binance_usdm"
CHANGES = 15  # of the book, in each start
BOTH_KINDS = "btcusdt@trade/btcusdt@aggTrade/ethusdt@trade/ethusdt@aggTrade"


async def asked(rest, path: str, **query) -> bytes:
    """The body of a successful answer of the USD-M venue, as the adapter gets it."""
    status, answer = await rest("GET", BASE + path, key="", **query)
    assert status == 200, answer
    return json.dumps(answer).encode()


async def until_brought(socket, wanted: set[str], answers: int = 0) -> list[dict]:
    """Reads frames until each of these streams has brought one, and so many answers have come; gives all of them."""
    frames: list[dict] = []
    while wanted - {frame.get("stream") for frame in frames} or sum("id" in frame for frame in frames) < answers:
        frames.append(json.loads(await asyncio.wait_for(socket.recv(), 10)))
    return frames


async def line(rest, ws: str, seen: SimpleNamespace) -> None:
    """Hears both instruments as a feed does, with a snapshot of one of them."""
    async with listening(f"{ws}{BASE}/public/stream") as socket:
        for message in adapter.subscribe([BTC, ETH], FeedSettings()):
            await socket.send(message)
        frames = [(await asyncio.wait_for(socket.recv(), 10)).encode() for _ in range(5)]
        request = adapter.snapshot(BTC, 1000)
        seen.snapshots.append(await asked(rest, request.path, **request.query))
        while sum(b'"btcusdt@depth' in frame[:40] for frame in frames) < CHANGES:
            frames.append((await asyncio.wait_for(socket.recv(), 10)).encode())
        seen.starts.append(frames)


async def look_around(rest, ws: str, seen: SimpleNamespace) -> None:
    """Tries the paths of both venues."""
    for path, kind in (("/public", "trade"), ("/market", "aggTrade"), ("", "trade")):
        async with listening(f"{ws}{BASE}{path}/stream?streams={BOTH_KINDS}") as socket:
            await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            seen.paths[path] = await until_brought(socket, {f"btcusdt@{kind}", f"ethusdt@{kind}"}, 1)
    async with listening(f"{ws}/stream?streams=btcusdt@trade") as socket:
        seen.spot = (await until_brought(socket, {"btcusdt@trade"}))[-1]["data"]
    first = next(event.first_id for event in events_of(seen.starts[0]) if event.kind == Kind.trade)
    page = adapter.history(BTC, first)
    seen.history = [event_of(one) for one in adapter.decode_history(await asked(rest, page.path, **page.query), 0, BTC)]
    info = await asked(rest, "/fapi/v1/exchangeInfo")
    seen.definition = event_of(adapter.decode_definition(info, 0, BTC)).records[0]
    seen.refused = [
        await rest("GET", f"{BASE}/fapi/v1/depth", symbol="BTCUSDT", limit=7),
        await rest("GET", f"{BASE}/fapi/v1/depth", symbol="NOPE", limit=5),
        await rest("GET", "/fapi/v1/time"),
        await rest("GET", f"{BASE}/api/v3/time"),
    ]


def events_of(frames: list[bytes]) -> list:
    """What the adapter makes of frames; answers to its requests bring none."""
    routes = adapter.routes([BTC, ETH])
    return [event_of(event) for frame in frames for event in adapter.decode(frame, 1, routes)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What clients of an exchange with both venues saw, over two starts of it."""
    seen = SimpleNamespace(folder=tmp_path_factory.mktemp("usdm"), starts=[], snapshots=[], paths={})

    async def scene() -> None:
        async with venue(seen.folder, TOML) as (rest, ws, _):
            await line(rest, ws, seen)
            await look_around(rest, ws, seen)
        async with venue(seen.folder, TOML) as (rest, ws, _):
            await line(rest, ws, seen)

    asyncio.run(scene())
    return seen


def test_every_frame_is_in_the_venue_s_own_spelling(seen):
    """As the compiled scanner knows it: of trades and best prices it recognises every one."""
    both, counts = BothWays("binance_usdm", [BTC, ETH]), Counter()
    for frame in (frame for frames in seen.starts for frame in frames):
        name = json.loads(frame).get("stream", "")
        if name.endswith(("@trade", "@bookTicker")):
            _, (recognised,) = both.read([frame])
            assert recognised or off_book(frame), frame
            counts[name] += 1
    assert len(counts) == 4 and min(counts.values()) > 5


def off_book(frame: bytes) -> bool:
    """Whether a frame is of a fill that never met the book."""
    return b'"X":"INSURANCE_FUND"' in frame or b'"X":"ADL"' in frame


def test_positions_are_closed_off_the_book_far_from_the_market_and_rest_does_not_know_of_it(seen):
    """Their ids are among those of trades; spot has none."""
    events = [e for e in events_of(seen.starts[0]) if e.kind == Kind.trade and e.subject == BTC.subject]
    ids = [event.last_id for event in events]
    away = [event for event in events if event.flags & Flag.OFF_BOOK]
    prices = [int(event.records["price_ticks"][0]) for event in events if not event.flags]
    assert ids == list(range(ids[0], ids[-1] + 1)) and away
    for event in away:
        price = int(event.records["price_ticks"][0])
        assert price < 0.99 * min(prices) or price > 1.01 * max(prices)
    known = {row[0] for event in seen.history for row in event.records.tolist()}
    inside = [event.last_id for event in away if min(known) < event.last_id < max(known)]
    assert inside and not known & {event.last_id for event in away}
    assert any(off_book(frame) for frame in seen.starts[1]), "and after a restart, with ids that go on"


def test_a_book_joined_by_pu_is_that_of_the_best_prices(seen):
    """Ids are counted over all symbols: those of one symbol have holes, which pu spans. They go on over a restart."""
    highest = equal = 0
    for frames, body in zip(seen.starts, seen.snapshots, strict=True):
        changes = [json.loads(frame)["data"] for frame in frames if b'"btcusdt@depth@100ms"' in frame[:60]]
        assert changes[0]["u"] > highest, "the first one may say again what was not surely heard"
        assert any(change["U"] > change["pu"] + 1 for change in changes)
        highest = changes[-1]["u"]
        last, snapshot = adapter.decode_snapshot(body, 1, BTC)
        sync, book = adapter.book(BTC, FeedSettings()), Levels()
        sync.snapshot(snapshot, last)
        book.apply(snapshot)
        routes, quotes, changed = adapter.routes([BTC]), {}, []
        for frame in (frame for frame in frames if b'"btcusdt@' in frame[:30]):
            for event in adapter.decode(frame, 1, routes):
                head = event_of(event)
                if head.kind == Kind.quote:
                    quotes[head.last_id] = list(head.records[0].tolist()[1:5])
                elif head.kind == Kind.depth:
                    sync.change(event, head.first_id, head.last_id)
                    changed.append((head.last_id, event))
        for update_id, event in changed:
            if update_id <= last:
                continue  # the snapshot has it
            book.apply(event)
            if (quote := quotes.get(update_id)) is not None:
                assert [*book.best_bids(1)[0], *book.best_asks(1)[0]] == quote
                equal += 1
        assert sync.synced and not sync.resyncs
    assert equal > 2


def test_streams_come_over_their_own_path_only(seen):
    for path, frames in seen.paths.items():
        kind = "aggTrade" if path == "/market" else "trade"
        assert {frame["stream"] for frame in frames if "stream" in frame} == {f"btcusdt@{kind}", f"ethusdt@{kind}"}, path
        (listed,) = [frame["result"] for frame in frames if frame.get("id") == 1]
        assert sorted(listed) == sorted(BOTH_KINDS.split("/")), "acknowledged, and silent"


def test_one_symbol_at_two_venues_is_two_markets(seen):
    """Each with its own ids, decimals, REST paths and refusals."""
    trade = next(json.loads(frame)["data"] for frame in seen.starts[0] if b'"btcusdt@trade"' in frame[:30])
    assert (len(trade["p"].partition(".")[2]), len(trade["q"].partition(".")[2])) == (2, 3)
    assert len(seen.spot["p"].partition(".")[2]) == 8
    printed = {event.last_id: event.records[0].tolist()[:3] for event in events_of(seen.starts[0]) if event.kind == Kind.trade
               and event.subject == BTC.subject}  # fmt: skip
    again = {row[0]: row[:3] for event in seen.history for row in event.records.tolist()}
    away = {event.last_id for event in events_of(seen.starts[0]) if event.flags & Flag.OFF_BOOK}
    # One page of the history: how many were printed until its book had changed so often is this machine's load.
    printed = {trade_id: row for trade_id, row in printed.items() if trade_id not in away and trade_id <= max(again)}
    assert len(printed) > 5 and printed.items() <= again.items(), "what was missed can be had over REST"
    assert (seen.definition["tick_size"], seen.definition["lot_size"]) == (10**7, 10**5)  # 0.10 and 0.001, at 10^−8
    assert [(status, body["code"]) for status, body in seen.refused] == [(400, -4021), (400, -1121), (404, -1020), (404, -1020)]


def judged(seen, frames: list[bytes]) -> tuple[int, Findings]:
    """(trades of BTC that were printed between the two starts, what the judge finds of BTC as stored from these frames)."""
    mine = against_capture.StoredMarket()
    for name, data in ((one["stream"], one["data"]) for one in map(json.loads, frames) if "stream" in one):
        if name == "btcusdt@trade":
            price, quantity = (int(Decimal(data[key]).scaleb(8)) for key in "pq")
            value = (price, quantity, data["T"] * 10**6, data["E"] * 10**6, -1 if data["m"] else 1)
            mine.trades.append((data["t"], value if data["X"] == "MARKET" else (*value, OFF_THE_BOOK)))
        elif name == "btcusdt@bookTicker":
            mine.quotes.append((data["u"], tuple(int(Decimal(data[key]).scaleb(8)) for key in "bBaA")))
        elif name == "btcusdt@depth@100ms":
            levels = [
                (*(int(Decimal(text).scaleb(8)) for text in row), side)
                for side, key in ((1, "b"), (-1, "a"))
                for row in data[key]
            ]
            mine.depth.append(BookChange(data["pu"] + 1, data["u"], False, levels))
    findings = Findings()
    truth = exchange_ledger.read_contents(seen.folder / "data/sim/exchange", findings)
    assert set(truth.eras) == {"BTCUSDT", "binance_usdm.BTCUSDT", "binance_usdm.ETHUSDT"}
    kinds = [(kind, 0) for kind in against_capture.COMPARED]
    pair = eras.EraPair(BTC.subject, truth.newest_eras[BTC.subject], mine, kinds)
    left_ms = max(value[2] for _, value in mine.trades) // 10**6  # what was printed after that is no loss
    against_ledger.compare(truth, [pair], findings, left_ms)
    ids = [trade_id for trade_id, _ in mine.trades]
    return len(set(range(ids[0], ids[-1])) - set(ids)), findings


def test_the_judge_knows_both_venues(seen):
    """A perfect record is found perfect but for what was printed between the starts; a trade that is left out is found."""
    frames = [frame for start in seen.starts for frame in start]
    between, findings = judged(seen, frames)
    assert findings.counts["lost"] == between and set(findings.faults) <= {"lost"}, findings.sentences
    assert findings.counts["off_book"] == sum(off_book(one) for one in frames if b'"btcusdt@trade"' in one[:30]) > 0
    assert findings.counts["quotes_checked"] > 100 and findings.counts["depth_checked"] > 5
    trades = [frame for frame in frames if b'"btcusdt@trade"' in frame[:30]]
    frames.remove(trades[3])
    assert judged(seen, frames)[1].counts["lost"] == between + 1
