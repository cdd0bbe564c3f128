"""A replayed capture of USD-M: a market of the local exchange, over its sockets, read by our own adapter; our orders in it."""

import asyncio
import gzip
import json
from decimal import Decimal
from itertools import islice
from types import SimpleNamespace

import pytest

from tests.support import replay_lines
from tests.support.captures import USDM_BTC, USDM_BTC_2023, needs
from tests.support.exchange_clients import listening, venue
from tests.support.replay_lines import line
from tests.support.usdm_lines import FEW, SNAPSHOT, T0_MS, depth, mark, snapshot, ticker, trade
from tests.support.usdm_talk import Futures, market
from tickmesh.bus.config import ConfigError
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.exchange.market.captures import Unserved, read_line
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM, spec
from tickmesh.nodes.exchange.market.mark_price import MarkPrice
from tickmesh.nodes.exchange.market.matching import ExchangeOrder
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.replay import Replay
from tickmesh.nodes.exchange.market.survey import Survey, Surveyor
from tickmesh.nodes.exchange.protocol import UNIT, VenueError, mantissa
from tickmesh.nodes.venues import binance_usdm as adapter
from tickmesh.tools.judge import against_capture, against_ledger, eras, exchange_ledger
from tickmesh.tools.judge.book import BookChange
from tickmesh.tools.judge.findings import Findings

BTC = Instrument(symbol="BTCUSDT", venue=USDM)
BASE = "/binance_usdm"
USDM_TOML = '[[instruments]]\nsymbol = "BTCUSDT"\nvenue = "binance_usdm"\n'


def written(path, messages) -> str:
    """Writes messages as a capture, a millisecond apart."""
    path.write_text("".join(f"{line(message, n * 10**6)}\n" for n, message in enumerate(messages)))
    return str(path)


def toml(capture, lines: int = 1, instruments: str = USDM_TOML) -> str:
    return f'{instruments}[exchange]\nreplay = ["{capture}"]\nspeed = 0\nlines = {lines}\n'


def surveyed(*messages: dict) -> Survey:
    surveyor = Surveyor()
    surveyor.read_file("one", [line(message) for message in messages])
    return surveyor.finish()


def market_of(*messages: dict) -> tuple[RecordedMarket, Replay, list]:
    one = RecordedMarket(spec("BTCUSDT", USDM))
    fills: list = []
    one.on_fill = lambda order_id, execution, _: fills.append((order_id, execution.price, execution.quantity))
    replay = Replay({one.spec.name: one})
    for message in messages:
        assert replay.pass_line(line(message), 0) is not None, replay.error
    return one, replay, fills


# ---- what a line is of


def other(kind: str, **data) -> dict:
    return {"stream": f"btcusdt@{kind}", "data": {"s": "BTCUSDT", **data}}


@pytest.mark.parametrize(
    ("message", "is_of"),
    [
        *[(message, USDM) for message in FEW],
        *[(message, SPOT) for message in replay_lines.FEW],
        (other("aggTrade", a=1, M=True), SPOT), (other("aggTrade", a=1), USDM), (other("forceOrder"), USDM),
    ],
)  # fmt: skip
def test_a_line_shows_of_which_venue_it_is(message, is_of):
    for usual in (SPOT, USDM):
        assert read_line(line(message), usual).venue == is_of


def test_a_line_that_does_not_show_its_venue_is_of_that_of_the_line_before():
    kline = other("kline_1m", e="kline", E=1)
    assert surveyed(*FEW, kline).streams["binance_usdm.btcusdt@kline_1m"] == 1
    assert surveyed(*replay_lines.FEW, kline).streams["btcusdt@kline_1m"] == 1


@pytest.mark.parametrize("message", [{**SNAPSHOT, "pair": "BTCUSD"}, trade(1, 9, 9, True, symbol="BTCUSD_PERP"),
                                     other("bookTicker", **ticker(1, 1, 1, 2, 2)["data"], ps="BTCUSD")])  # fmt: skip
def test_what_is_of_coin_m_is_of_no_venue_here(message):
    with pytest.raises(Unserved, match="a frame of COIN-M futures"):
        read_line(line(message))


def test_the_speeds_of_depth_are_those_of_the_venue():
    spot_at_0ms = {**replay_lines.depth(1, 2), "stream": "btcusdt@depth@0ms"}
    for message in (spot_at_0ms, depth(0, 1, 2, speed="@1000ms")):
        with pytest.raises(Unserved, match="a depth stream that"):
            read_line(line(message))
    survey = surveyed(depth(0, 1, 9, speed=""), depth(0, 1, 3), depth(3, 4, 9))
    assert survey.streams == {"binance_usdm.btcusdt@depth@0ms": 2} and survey.unserved == 1


def test_one_symbol_of_both_venues_in_one_capture_is_two_markets():
    survey = surveyed(*(message for pair in zip(FEW, replay_lines.FEW) for message in pair), *FEW[len(replay_lines.FEW) :])
    assert sorted(survey.symbols) == ["BTCUSDT", "binance_usdm.BTCUSDT"] and survey.venues == [SPOT, USDM]
    assert survey.summary()["snapshots"] == 2 and survey.dialect == "Binance spot and USD-M futures" and not survey.refusal()


# ---- the book, and what reaches our orders


def test_changes_go_on_from_the_one_before_them_however_many_ids_others_had_meanwhile():
    one, replay, _ = market_of(*FEW)
    assert one.book_id == 30_001_002 and one.best(1) == (mantissa("59980"), mantissa("5"))
    assert json.loads(one.snapshot(1)) == {
        "lastUpdateId": 30_001_002, "E": T0_MS, "T": T0_MS, "bids": [["59980.00", "5.000"]], "asks": [["60000.10", "0.500"]]
    }  # fmt: skip
    replay.pass_line(line(depth(30_001_003, 30_001_004, 30_001_005)), 0)
    assert one.book_id == -1, "one is missing between: what is left belongs to no book"


def test_a_snapshot_that_names_no_symbol_goes_to_the_market_of_its_prices():
    """Its id is no sign: all symbols share one count."""
    names = ("BTCUSDT", "ETHUSDT")
    markets = {f"binance_usdm.{name}": RecordedMarket(spec(name, USDM)) for name in names}
    replay = Replay(markets)
    for message in (
        ticker(1000, 60_000, 1, 60_000.1, 1), ticker(1500, 2500, 1, 2500.1, 1, symbol="ETHUSDT"),
        depth(990, 995, 1001), depth(990, 1490, 1510, symbol="ETHUSDT"),
        snapshot(1500, [(60_000, 1)], [(60_000.1, 1)]), snapshot(1000, [(2500, 1)], [(2500.1, 1)]),
    ):  # fmt: skip
        replay.pass_line(line(message), 0)
    assert [markets[f"binance_usdm.{name}"].book_id for name in names] == [1500, 1510]


def test_a_fill_off_the_book_reaches_no_order_of_ours_and_is_in_no_answer():
    one, replay, fills = market_of(SNAPSHOT)
    one.submit(ExchangeOrder(1, 1, 1, mantissa("59990"), mantissa("1")), "LIMIT", "GTC", 0)
    replay.pass_line(line(trade(7, 51_000, 30, True, "ADL")), 0)
    replay.pass_line(line(trade(8, 0, 0, True, "NA")), 0)
    assert fills == [] and len(one.tape.prints) == 0 and one.tape.last_id == 8 and one.frames == []
    assert [row[0] for row in one.ledger_rows] == ["book", "off_book"], "an id for nothing is no trade"
    replay.pass_line(line(trade(9, 59_985, 30, True)), 0)
    assert fills == [(1, mantissa("59990"), mantissa("1"))] and [frame[0] for frame in one.frames] == [
        "binance_usdm.btcusdt@aggTrade"
    ]


# ---- mark prices and fundings


def marks_of(messages, state=None, recorded=False) -> tuple[MarkPrice, list]:
    price = MarkPrice(RecordedMarket(spec("BTCUSDT", USDM)), None, 0.0, state)
    price.is_recorded = recorded
    return price, [paid for message in messages if (paid := price.take(read_line(line(message)).row))[0]]


def test_a_funding_is_where_the_recorded_time_of_the_next_one_moves_on_at_the_price_and_rate_before():
    messages = [mark("60005.5", "0.0001", 1000), mark("60006", "-0.0003", 1000), mark("59990", "0.0002", 2000)]
    price, paid = marks_of(messages)
    assert paid == [(mantissa("60006"), -30_000)]
    assert (price.state.mark, price.state.rate, price.state.next_ms) == (mantissa("59990"), 20_000, 2000)
    assert not price.tick(5000) and not price.is_due(10**15), "the clock has no part in it"
    again, paid = marks_of(messages, price.state, recorded=True)
    assert paid == [] and again.state.next_ms == 2000, "lines that come again after a kill"
    _, paid = marks_of(messages, again.state.__class__(mark=1, next_ms=10**12))
    assert paid == [(mantissa("60006"), -30_000)], "of another, later capture"
    _, paid = marks_of(messages[:1], again.state.__class__(mark=1, next_ms=500))
    assert paid == [], "the time before was none of the venue's"


# ---- over the exchange's sockets


async def brought(rest, ws: str, count: int, ask: bool = True) -> tuple[list[bytes], bytes]:
    """What a feed gets: so many frames of its three streams, and a snapshot that it asked for at once."""

    async def snapshot_of() -> bytes:
        request = adapter.snapshot(BTC, 1000)
        status, answer = await rest("GET", BASE + request.path, key="", **request.query)
        assert status == 200, answer
        return json.dumps(answer).encode()

    async with listening(f"{ws}{BASE}/public/stream") as socket:
        asked = asyncio.create_task(snapshot_of())
        await asyncio.sleep(0)
        for message in adapter.subscribe([BTC], FeedSettings()):
            await socket.send(message)
        frames: list[bytes] = []
        while len(frames) < count:
            frame = (await asyncio.wait_for(socket.recv(), 20)).encode()
            if b'"stream"' in frame[:10]:
                frames.append(frame)
        return frames, await asked


def events_of(frames) -> list[tuple]:
    """What the adapter makes of frames, without the stamp of their arrival."""
    routes = adapter.routes([BTC])
    events = [event_of(event) for frame in frames for event in adapter.decode(frame, 1, routes)]
    return [(one.kind, one.subject, one.first_id, one.last_id, one.flags, one.records.tobytes()) for one in events]


def replayed(folder, texts: list[str]) -> tuple[list[tuple], list[tuple], bytes]:
    """(events of a feed of an exchange that replays these lines, those of the lines, the snapshot that it gave)."""
    (folder / "capture.dat").write_text("".join(texts))
    payloads = [text.partition(" ")[2].strip().encode() for text in texts]
    wanted = [one for one in payloads if one.startswith(b'{"stream"') and b"@markPrice" not in one[:40]]

    async def scene():
        async with venue(folder, toml(folder / "capture.dat")) as (rest, ws, _):
            return await brought(rest, ws, len(wanted))

    frames, body = asyncio.run(scene())
    return events_of(frames), events_of(wanted), body


def book_at(texts: list[str], last: int) -> dict[tuple[str, Decimal], Decimal]:
    """The best 1000 of each side as of an id, naively: the snapshot, and the changes that end after it, up to the id."""
    messages = [json.loads(text.partition(" ")[2]) for text in texts]
    start = next(message for message in messages if "lastUpdateId" in message)
    changes = [one["data"] for one in messages if "@depth" in one.get("stream", "")]
    between = [(one["b"], one["a"]) for one in changes if start["lastUpdateId"] < one["u"] <= last]
    book: dict[tuple[str, Decimal], Decimal] = {}
    for sides in [(start["bids"], start["asks"]), *between]:
        book |= {(side, Decimal(p)): Decimal(q) for side, rows in zip("ba", sides) for p, q in rows}
    bids, asks = (sorted(level for level in book if level[0] == side and book[level]) for side in "ba")
    return {level: book[level] for level in [*bids[-1000:], *asks[:1000]]}


def check_equal(folder, texts: list[str]) -> list[tuple]:
    got, expected, body = replayed(folder, texts)
    assert got == expected
    last, event = adapter.decode_snapshot(body, 1, BTC)
    served = {
        ("b" if side > 0 else "a", Decimal(price).scaleb(-8)): Decimal(quantity).scaleb(-8)
        for price, quantity, side, *_ in event_of(event).records.tolist()
    }
    assert served == book_at(texts, last) and len(served) > 3
    return got


def judged(folder, frames, body: bytes) -> Findings:
    """What the judge finds of a feed's events and snapshot, beside the ledger of the exchange that replayed them."""
    mine = against_capture.StoredMarket()
    routes = adapter.routes([BTC])
    decoded = [event_of(event) for frame in frames for event in adapter.decode(frame, 1, routes)]
    for one in decoded:
        kind = Kind(one.kind).name
        rows = [tuple(value for value in row if value != b"") for row in one.records.tolist()]
        mine.take(
            SimpleNamespace(kind=kind, flags=one.flags, first_id=one.first_id, last_id=one.last_id, venue_ns=0, records=rows)
        )
    last, snapshot_event = adapter.decode_snapshot(body, 1, BTC)
    mine.depth.insert(0, BookChange(last, last, True, [row[:3] for row in event_of(snapshot_event).records.tolist()]))
    findings = Findings()
    truth = exchange_ledger.read_contents(folder / "data/sim/exchange", findings)
    pair = eras.EraPair(BTC.subject, truth.newest_eras[BTC.subject], mine, [(kind, 0) for kind in against_capture.COMPARED])
    against_ledger.compare(truth, [pair], findings, 0.0)
    return findings


def test_a_feed_gets_the_events_that_the_capture_has_and_the_ledger_says_the_same(tmp_path):
    texts = [f"{line(message, n * 10**6)}\n" for n, message in enumerate(FEW)]
    got = check_equal(tmp_path, texts)
    assert [kind for kind, *_ in got].count(Kind.depth) == 3 and len(got) == 8, "all but mark prices and an id for nothing"
    body = json.dumps(json.loads(market_of(*FEW[:2])[0].snapshot(1000))).encode()
    frames = [text.partition(" ")[2].encode() for text in texts if '"stream"' in text and "@markPrice" not in text]
    findings = judged(tmp_path, frames, body)
    assert not findings.faults, findings.sentences
    assert (findings.counts["books_checked"], findings.counts["off_book"], findings.counts["trades"]) == (1, 1, 3)
    without = [frame for frame in frames if b'"X":"NA"' not in frame and b'"t":2,' not in frame]
    assert judged(tmp_path, without, body).faults == {"lost": 1}, "of a trade; an id for nothing is none"


@needs(USDM_BTC)
@pytest.mark.data
def test_a_feed_gets_the_events_that_a_real_capture_has(tmp_path):
    with gzip.open(USDM_BTC, "rt") as file:
        got = check_equal(tmp_path, list(islice(file, 3000)))
    assert len(got) == 2999 and {kind for kind, *_ in got} == {Kind.trade, Kind.quote, Kind.depth}


async def ended(rest) -> None:
    while not (await rest("GET", "/tickmesh/v1/replay"))[1]["ended"]:
        await asyncio.sleep(0.02)


def test_orders_meet_the_recorded_market_and_have_fees_positions_and_the_recorded_mark_price(tmp_path):
    capture = written(tmp_path / "few.dat", FEW)

    async def scene():
        async with venue(tmp_path, toml(capture, lines=2)) as (rest, ws, _):
            futures = Futures(rest)
            async with listening(f"{ws}{BASE}/public/ws/btcusdt@trade"), listening(f"{ws}{BASE}/market/stream") as marks:
                status, placed = await futures.order(side="BUY", type="LIMIT", timeInForce="GTX", price="59990", quantity="0.4")
                assert status == 200, placed
                await marks.send('{"method":"SUBSCRIBE","params":["btcusdt@markPrice@1s","btcusdt@aggTrade"],"id":1}')
                await ended(rest)
                frames = [json.loads(await asyncio.wait_for(marks.recv(), 10)) for _ in range(5)]
            (made,) = await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT")
            (first,) = await futures.right("GET", "/v3/positionRisk", symbol="BTCUSDT")
            taken = [(await futures.order(**market("SELL", "4.000")))[1] for _ in range(2)]
            rows = await futures.right("GET", "/v1/userTrades", symbol="BTCUSDT")
            income = await futures.right("GET", "/v1/income", incomeType="FUNDING_FEE")
            known = (await rest("GET", f"{BASE}/fapi/v1/trades", key="", symbol="BTCUSDT"))[1]
            return made, first, taken, rows, income, frames, known

    made, first, taken, rows, income, frames, known = asyncio.run(scene())
    assert (made["price"], made["qty"], made["maker"]) == ("59990.00", "0.400", True)
    assert Decimal(made["commission"]) == Decimal("0.4") * 59990 * Decimal("0.0002")
    assert (first["positionAmt"], Decimal(first["entryPrice"]), Decimal(first["markPrice"])) == (
        "0.400",
        59990,
        Decimal("59990.5"),
    )
    assert [(one["status"], one["executedQty"], Decimal(one["avgPrice"])) for one in taken] == [
        ("FILLED", "4.000", 59980), ("EXPIRED", "1.000", 59980)
    ], "five are recorded there, and are there once"  # fmt: skip
    assert Decimal(rows[-1]["commission"]) == 59980 * Decimal("0.0005") and not rows[-1]["maker"]
    # long 0.4 when the recorded time of the next funding moved on, at the mark price and rate recorded before
    assert [Decimal(one["income"]) for one in income] == [Decimal("-0.4") * Decimal("60005.5") * Decimal("0.0001")]
    brought = [(one["stream"], one["data"].get("p")) for one in frames if "stream" in one]
    assert brought == [
        ("btcusdt@markPrice@1s", "60005.5"), ("btcusdt@aggTrade", "60000.10"), ("btcusdt@aggTrade", "59985.00"),
        ("btcusdt@markPrice@1s", "59990.5"),
    ]  # fmt: skip
    assert [one["id"] for one in known] == [1, 4]


# ---- what cannot be


async def refused(folder, text: str) -> None:
    async with venue(folder, text):
        pass


@pytest.mark.parametrize(
    ("messages", "instruments", "sentences"),
    [
        (FEW, f'{USDM_TOML}[[instruments]]\nsymbol = "BTCUSDT"\n', ["binance.BTCUSDT", "of another venue", "binance_usdm."]),
        (replay_lines.FEW, USDM_TOML, ["binance_usdm.BTCUSDT", "of another venue", "they have binance.BTCUSDT"]),
        (FEW, USDM_TOML.replace("BTC", "ETH"), ["binance_usdm.ETHUSDT", "no frame of the captures", "they have binance_usdm."]),
        ([trade(1, 9, 9, True, symbol="BTCUSD_PERP")], USDM_TOML, ["COIN-M futures", "spot or USD-M futures"]),
        ([{**FEW[4], "stream": "btcusdt@aggTrade"}], USDM_TOML, ["trades of BTCUSDT are recorded as @aggTrade only"]),
    ],
    ids=["no spot in it", "spot", "another symbol", "COIN-M", "aggregates"],
)  # fmt: skip
def test_captures_of_something_else_than_mesh_toml_has_are_refused(tmp_path, messages, instruments, sentences):
    with pytest.raises(ConfigError) as refusal:
        asyncio.run(refused(tmp_path, toml(written(tmp_path / "capture.dat", messages), 0, instruments)))
    assert all(one in str(refusal.value) for one in sentences), refusal.value


def test_a_capture_without_a_snapshot_is_named_and_its_book_is_refused_in_a_sentence():
    without = [message for message in FEW if message is not SNAPSHOT]
    assert surveyed(*without).bookless == surveyed(*without, replay_lines.SNAPSHOT).bookless == ["binance_usdm.BTCUSDT"]
    assert surveyed(*FEW).bookless == []
    one, _, _ = market_of(*without)
    with pytest.raises(VenueError, match="holds no depth snapshot of BTCUSDT"):
        one.snapshot(5)


@needs(USDM_BTC_2023)
@pytest.mark.data
def test_a_real_mark_price_is_the_market_s(tmp_path):
    """Of 2023, with `@markPrice@1s` beside the other streams."""
    with gzip.open(USDM_BTC_2023, "rt") as file:
        (tmp_path / "part.dat").write_text("".join(islice(file, 600)))
    last = [text for text in (tmp_path / "part.dat").read_text().splitlines() if "@markPrice" in text[:60]][-1]
    data = json.loads(last.partition(" ")[2])["data"]

    async def scene():
        async with venue(tmp_path, toml(tmp_path / "part.dat")) as (rest, ws, _):
            async with listening(f"{ws}{BASE}/public/ws/btcusdt@trade"):
                await ended(rest)
            return (await rest("GET", f"{BASE}/fapi/v1/premiumIndex", key="", symbol="BTCUSDT"))[1]

    shown = asyncio.run(scene())
    assert (shown["markPrice"], shown["indexPrice"], shown["lastFundingRate"], shown["nextFundingTime"]) == (
        data["p"], data["i"], data["r"], data["T"]
    )  # fmt: skip
    assert mantissa(data["p"]) > 20_000 * UNIT
