"""Against the exchange's ledger the judge finds a perfect record perfect, and every damage to one."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.exchange_clients import limit, listening, venue
from tickmesh.nodes.exchange.ledger import ExchangeLedger
from tickmesh.tools.judge import against_capture, against_ledger, eras, exchange_ledger
from tickmesh.tools.judge.book import BookChange
from tickmesh.tools.judge.findings import Findings


def stored_of(frames: list[dict], snapshot: dict | None) -> dict[str, against_capture.StoredMarket]:
    """What a perfect mesh would have stored of these frames."""
    from decimal import Decimal

    def units(text: str) -> int:
        return int(Decimal(text).scaleb(8))

    def levels(data: dict, bids: str, asks: str) -> list[tuple]:
        return [(units(p), units(q), side) for side, key in ((1, bids), (-1, asks)) for p, q in data[key]]

    mine = against_capture.StoredMarket()
    if snapshot:
        last = snapshot["lastUpdateId"]
        mine.depth.append(BookChange(last, last, True, levels(snapshot, "bids", "asks")))
    for frame in frames:
        data = frame["data"]
        if frame["stream"].endswith("@trade"):
            side = -1 if data["m"] else 1
            ns = data["T"] * 1_000_000
            mine.trades.append((data["t"], (units(data["p"]), units(data["q"]), ns, data["E"] * 1_000_000, side)))
        elif frame["stream"].endswith("@bookTicker"):
            mine.quotes.append((data["u"], tuple(units(data[k]) for k in ("b", "B", "a", "A"))))
        else:
            mine.depth.append(BookChange(data["U"], data["u"], False, levels(data, "b", "a")))
    return {"binance.BTCUSDT": mine}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(ledger folder, frames, snapshot) of a live exchange, with two starts and trading of our own."""
    folder = tmp_path_factory.mktemp("recorded")
    frames: list[dict] = []
    snapshots = []

    async def scene():
        toml = "[exchange]\ntrades_per_s = 200\nquotes_per_s = 300\nlines = 1\n"
        for _ in range(2):
            async with venue(folder, toml) as (rest, ws, ctx):
                async with listening(ws + "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms") as s:
                    snapshots.append((await rest("GET", "/api/v3/depth", symbol="BTCUSDT", limit=5000))[1])
                    for n in range(600):
                        frames.append(json.loads(await asyncio.wait_for(s.recv(), 10)))
                        if n % 100 == 50:
                            await rest.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.3")
                            await rest.order(**limit("BUY", "59000"))

    asyncio.run(scene())
    return folder / "data/sim/exchange", frames, snapshots[0]


def pairs_of(truth: exchange_ledger.LedgerContents, stored: dict[str, against_capture.StoredMarket]) -> list[eras.EraPair]:
    """Where ids never began anew."""
    kinds = [(kind, 0) for kind in against_capture.COMPARED]
    return [eras.EraPair(name, truth.newest_eras[name.partition(".")[2]], mine, kinds) for name, mine in stored.items()]


def left_ms(stored: dict[str, against_capture.StoredMarket]) -> int:
    """When the client left, by the last trade that it heard: what was printed after that, however much, is no loss."""
    return max(value[2] for mine in stored.values() for _, value in mine.trades) // 10**6


def judged(folder: Path, stored: dict) -> Findings:
    findings = Findings()
    truth = exchange_ledger.read_contents(folder, findings)
    against_ledger.compare(truth, pairs_of(truth, stored), findings, left_ms(stored))
    return findings


def test_a_perfect_record_is_found_perfect(recorded):
    folder, frames, snapshot = recorded
    trades = [f["data"]["t"] for f in frames if f["stream"].endswith("@trade")]
    missing = set(range(trades[0], trades[-1])) - set(trades)
    findings = judged(folder, stored_of(frames, snapshot))
    # between the two starts the client was away: those trades, and no others, were not heard
    assert findings.counts["lost"] == len(missing)
    assert set(findings.faults) <= {"lost"}, findings.sentences
    assert findings.counts["trades"] == len(trades) and findings.counts["books_checked"] == 1
    assert findings.counts["quotes_checked"] > 300 and findings.counts["depth_checked"] > 10


def damage(name: str, frames: list[dict]) -> list[dict]:
    frames = json.loads(json.dumps(frames))
    trades = [f for f in frames if f["stream"].endswith("@trade")]
    quotes = [f for f in frames if f["stream"].endswith("@bookTicker")]
    depth = [f for f in frames if "@depth" in f["stream"]]
    if name == "a trade is missing":
        frames.remove(trades[5])
    elif name == "a trade is there twice":
        frames.append(trades[5])
    elif name == "a trade has another price":
        trades[5]["data"]["p"] = "1.00000000"
    elif name == "a trade has another side":
        trades[5]["data"]["m"] = not trades[5]["data"]["m"]
    elif name == "a trade has another time":
        trades[5]["data"]["T"] += 1
    elif name == "a trade never was":
        trades[-1]["data"]["t"] += 10**6
    elif name == "a quote differs":
        quotes[50]["data"]["B"] = "7.77000000"
    elif name == "a quote never was":
        quotes[50]["data"]["u"] += 10**9
    elif name == "a level is there twice":
        change = next(f for f in depth if f["data"]["b"])["data"]
        change["b"].insert(0, [change["b"][0][0], "7.77000000"])
    elif name == "a level is missing":
        next(f for f in depth if f["data"]["b"])["data"]["b"].pop()
    elif name == "a level differs":
        next(f for f in depth if f["data"]["a"])["data"]["a"][0][1] = "7.77000000"
    else:
        depth[3]["data"]["u"] += 10**9
    return frames


@pytest.mark.parametrize(
    "name, fault",
    [
        ("a trade is missing", "lost"), ("a trade is there twice", "duplicated"), ("a trade has another price", "different"),
        ("a trade has another side", "different"), ("a trade has another time", "different"), ("a trade never was", "invented"),
        ("a quote differs", "different"), ("a quote never was", "invented"), ("a level is missing", "different"),
        ("a level differs", "different"), ("a change never was", "invented"), ("a level is there twice", "different"),
    ],
)  # fmt: skip
def test_every_damage_is_found(recorded, name, fault):
    folder, frames, snapshot = recorded
    before = judged(folder, stored_of(frames, snapshot)).faults
    after = judged(folder, stored_of(damage(name, frames), snapshot)).faults
    assert after[fault] > before[fault], (name, dict(after))


def test_a_wrong_snapshot_is_found(recorded):
    folder, frames, snapshot = recorded
    wrong = json.loads(json.dumps(snapshot))
    wrong["bids"][3][1] = "9.99000000"
    assert judged(folder, stored_of(frames, wrong)).faults["different"] == 1
    short = {**snapshot, "bids": snapshot["bids"][:10]}
    assert judged(folder, stored_of(frames, short)).faults["different"] == 1, "a book that ends too soon"
    stored, findings = stored_of(frames, {**short, "asks": snapshot["asks"][:10]}), Findings()
    truth = exchange_ledger.read_contents(folder, findings)
    against_ledger.compare(truth, pairs_of(truth, stored), findings, left_ms(stored), 10)
    assert not findings.faults["different"], "no more were asked for"
    elsewhere = {**snapshot, "lastUpdateId": 10**12}
    assert judged(folder, stored_of(frames, elsewhere)).faults["invented"] == 1, "a book of an id that never was"


def test_headers_and_times_of_trades_are_compared_to_the_last_digit(recorded):
    folder, frames, snapshot = recorded
    before = judged(folder, stored_of(frames, snapshot)).faults["different"]
    for change in (lambda v: (*v, "header ids 1, 2"), lambda v: (*v[:2], v[2] + 1, *v[3:])):
        stored = stored_of(frames, snapshot)
        trades = stored["binance.BTCUSDT"].trades
        trades[7] = (trades[7][0], change(trades[7][1]))
        assert judged(folder, stored).faults["different"] == before + 1


def written(folder: Path) -> tuple[Path, against_capture.StoredMarket]:
    """A ledger of 50 s, and what a perfect mesh stored of it."""
    book = ExchangeLedger("synthetic")
    book.add_head({}, 1)
    book.add("start", 1, "BTCUSDT", 0, 0)
    stored = against_capture.StoredMarket()
    for n in range(1, 2001):
        ms = 25 * n
        book.add("trade", ms, "BTCUSDT", n, 100, 5, 1, ms)
        book.add("depth", ms, "BTCUSDT", n, n, [(1, 90, n)])
        stored.trades.append((n, (100, 5, ms * 1_000_000, 0, 1)))
        stored.depth.append(BookChange(n, n, False, [(90, n, 1)]))
    folder.mkdir(exist_ok=True)
    (folder / "ledger-00000000000000000001.bin").write_bytes(book.take_batch())
    return folder, stored


def test_what_is_missing_at_the_end_is_found_when_the_mesh_is_down(tmp_path):
    def verdict(stored, begun_ms=0.0):
        findings = Findings()
        truth = exchange_ledger.read_contents(folder, findings)
        against_ledger.compare(truth, pairs_of(truth, {"binance.BTCUSDT": stored}), findings, begun_ms)
        return findings

    folder, whole = written(tmp_path / "ledger")
    assert verdict(whole).ok, verdict(whole).sentences
    _, short = written(tmp_path / "ledger")
    del short.trades[-100:]  # 2.5 s
    assert verdict(short).faults["lost"] == 80 and verdict(short).counts["on_its_way"] == 20
    assert verdict(short, 1e9).ok and verdict(short, 1e9).counts["on_its_way"] == 100, "of a mesh that runs"
    _, silent = written(tmp_path / "ledger")
    del silent.depth[-200:]
    assert verdict(silent).faults["lost"] == 1 and "had gone on to" in verdict(silent).sentences[0]


def test_trades_that_a_crash_left_only_in_the_ledger_are_void(tmp_path):
    book = ExchangeLedger("synthetic")
    book.add_head({}, 1)
    book.add("start", 1, "BTCUSDT", 0, 0)
    for n in (1, 2, 3):
        book.add("trade", 1, "BTCUSDT", n, 100, 5, 1, 1)
    book.add("start", 2, "BTCUSDT", 1000, 2)
    book.add("trade", 2, "BTCUSDT", 3, 200, 6, -1, 2)
    (tmp_path / "ledger-00000000000000000001.bin").write_bytes(book.take_batch())
    findings = Findings()
    truth = exchange_ledger.read_contents(tmp_path, findings).newest_eras["BTCUSDT"]
    assert truth.trades[3] == (200, 6, 2, -1) and truth.void == 1 and findings.ok


def test_a_trade_off_the_book_has_to_be_flagged_and_may_be_given_up_for_rest_has_it_not(tmp_path):
    """And no other may: neither flagged nor given up."""
    book = ExchangeLedger("synthetic")
    book.add_head({}, 1)
    book.add("start", 1, "binance_usdm.BTCUSDT", 0, 0)
    book.add("trade", 1, "binance_usdm.BTCUSDT", 1, 100, 5, 1, 1)
    book.add("off_book", 1, "binance_usdm.BTCUSDT", 2, 90, 50, 1, 1, "ADL")
    book.add("trade", 1, "binance_usdm.BTCUSDT", 3, 100, 5, 1, 1)
    book.add("trade", 99_000, "binance_usdm.BTCUSDT", 4, 100, 5, 1, 99_000)
    (tmp_path / "ledger-00000000000000000001.bin").write_bytes(book.take_batch())

    def judged(given_up: list[tuple[int, int]], **words: tuple[str, ...]) -> Findings:
        mine = against_capture.StoredMarket()
        for trade_id, quantity in ((1, 5), (2, 50), (3, 5)):
            if (more := words.get(f"t{trade_id}")) is not None:
                price = 90 if trade_id == 2 else 100
                mine.trades.append((trade_id, (price, quantity, 1_000_000, 0, 1, *more)))
        mine.given_up = given_up
        findings = Findings()
        truth = exchange_ledger.read_contents(tmp_path, findings)
        pair = eras.EraPair("binance_usdm.BTCUSDT", truth.newest_eras["binance_usdm.BTCUSDT"], mine, [("trade", 0)])
        against_ledger.compare(truth, [pair], findings)
        return findings

    flagged = ("off the book",)
    right = judged([], t1=(), t2=flagged, t3=())
    assert right.ok and right.counts["off_book"] == 1, right.sentences
    assert judged([], t1=(), t2=(), t3=()).faults == {"different": 1}
    assert judged([], t1=(), t2=flagged, t3=flagged).faults == {"different": 1}
    assert judged([], t1=(), t3=()).faults == {"lost": 1}, "it was not said to be missing"
    given_up = judged([(2, 2)], t1=(), t3=())
    assert given_up.ok and given_up.counts["off_book_given_up"] == 1
    assert judged([(2, 3)], t1=()).faults == {"lost": 1}, "the venue has the other one over REST"


def test_a_replayed_capture_is_judged_too(tmp_path):
    """Trades, quotes and changes as they were recorded, with gaps of several ids per change as real captures have."""
    messages: list[dict] = [
        {"lastUpdateId": 10, "bids": [["99.00000000", "5.00000000"]], "asks": [["101.00000000", "5.00000000"]]}
    ]
    for n in range(30):
        first, last = 11 + 4 * n, 14 + 4 * n
        bid = ["98.00000000", f"{n + 1}.00000000"]
        data = {"e": "depthUpdate", "E": n, "s": "BTCUSDT", "U": first, "u": last, "b": [bid], "a": []}
        messages.append({"stream": "btcusdt@depth@100ms", "data": data})
        trade = {"e": "trade", "E": n, "s": "BTCUSDT", "t": 100 + n, "p": "99.00000000", "q": "1.00000000", "T": n, "m": True}
        messages.append({"stream": "btcusdt@trade", "data": trade})
        best = {"u": last, "s": "BTCUSDT", "b": "99.00000000", "B": "5.00000000", "a": "101.00000000", "A": "5.00000000"}
        messages.append({"stream": "btcusdt@bookTicker", "data": best})
    lines = (
        f"{1_700_000_000_000_000 + n} {json.dumps(message, separators=(',', ':'))}\n" for n, message in enumerate(messages)
    )
    (tmp_path / "capture").write_text("".join(lines))
    frames: list[dict] = []
    snapshots: list[dict] = []

    async def scene():
        async with venue(tmp_path, '[exchange]\nreplay = ["capture"]\nlines = 1\nspeed = 0\n') as (rest, ws, _):
            async with listening(ws + "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms") as socket:
                snapshots.append((await rest("GET", "/api/v3/depth", symbol="BTCUSDT"))[1])
                while len(frames) < 90:
                    frames.append(json.loads(await asyncio.wait_for(socket.recv(), 10)))

    asyncio.run(scene())
    folder = tmp_path / "data/sim/exchange"
    stored = stored_of(frames, snapshots[0] if snapshots[0]["lastUpdateId"] == 10 else None)
    findings = judged(folder, stored)
    assert findings.ok, findings.sentences
    assert (findings.counts["trades"], findings.counts["quotes_checked"], findings.counts["depth_checked"]) == (30, 30, 30)
    frames[0]["data"]["b"][0][1] = "9.00000000"
    assert judged(folder, stored_of(frames, None)).faults["different"] == 1
