"""Decode rate per venue and kind: messages of one core to events, beside cryptofeed and msgspec on the same frames.

Real frames of the captures (TICKMESH_DATA), else made ones of the same shape. All take turns on one core, and a figure is the
median of their rounds, in CPU time of this process, so that a busy machine tells less of a lie. Ours: by the compiled scanner
where the venue has usual forms, in reads of READ frames and of one; by the exact way (`[feed] scan = false`), all that other
venues have. Peers: cryptofeed where it is installed (`make peers`), with its book where it is about depth; msgspec's typed
decoding alone, which makes no events. A book with a rule of its own is shown with that rule, too (checksums: Kraken, OKX).
"""

import asyncio
import gzip
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from bench import cryptofeed_peer
from bench.floor import line, machine_words, one_core, take_turns
from tickmesh.bus import compiling_objects
from tickmesh.bus.compiled_objects import load
from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.nodes.feed.scanning import KERNEL, scanner_path
from tickmesh.nodes.net import websocket
from tickmesh.nodes.venues import binance, binance_streams, coinbase, kraken, okx
from tickmesh.nodes.venues.adapter import no_forms
from tickmesh.nodes.venues.scanning.scanner import FrameScanner
from tickmesh.nodes.venues.table import adapter_of

DATA = Path(os.environ.get("TICKMESH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
USDM = DATA / "hftbacktest/usdm/btcusdt_20240808.gz"
SPOT = DATA / "hftbacktest/spot/btcusdt_20240808.gz"
SAMPLES = DATA / "cryptofeed/sample_data"
MESSAGES, LEVELS_MESSAGES = 20_000, 2_000
READ = 16  # frames of one read of a socket, of a busy market
TURNS = 3
RECV_NS = 1_723_161_255_030_314_667


class Levels(msgspec.Struct):
    """Depth as msgspec alone gives it: strings."""

    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class LevelsFrame(msgspec.Struct):
    data: Levels


class KrakenTrade(msgspec.Struct, gc=False):
    """A trade as Kraken v2 sends it, numbers as their text."""

    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: int
    timestamp: str


class KrakenTrades(msgspec.Struct):
    data: list[KrakenTrade]


class OkxBooks(msgspec.Struct):
    data: list[okx.OkxBook]


class OkxTrades(msgspec.Struct):
    data: list[okx.Trade]


class Case(NamedTuple):
    """`has`: bytes that the frames of the kind have near their front. `floor`: what msgspec alone makes of them."""

    venue: str
    kind: str
    has: bytes
    floor: Callable[[bytes], object]
    book: bool = False


BINANCE = (
    ("trade", b'@trade"', msgspec.json.Decoder(binance_streams.TradeFrame).decode, False),
    ("bookTicker", b"@bookTicker", msgspec.json.Decoder(binance_streams.BookTickerFrame).decode, False),
    ("depth", b"@depth", msgspec.json.Decoder(LevelsFrame).decode, False),
)
CASES = (
    *(Case("binance_usdm", *row) for row in BINANCE),
    *(Case("binance", *row) for row in BINANCE),
    Case("coinbase", "match", b'{"type":"match"', msgspec.json.Decoder(coinbase.Match).decode),
    Case("coinbase", "ticker", b'{"type":"ticker"', msgspec.json.Decoder(coinbase.Ticker).decode),
    Case("coinbase", "l2update", b'{"type":"l2update"', msgspec.json.Decoder(coinbase.Update).decode, True),
    Case("kraken", "trade", b'"trade"', msgspec.json.Decoder(KrakenTrades).decode),
    Case("kraken", "book", b'"book"', msgspec.json.Decoder(kraken.BookMessage).decode, True),
    Case("kraken_v1", "book", b"", msgspec.json.Decoder(list[Any]).decode, True),
    Case("okx", "trades", b'"trades"', msgspec.json.Decoder(OkxTrades).decode),
    Case("okx", "books", b'"books"', msgspec.json.Decoder(OkxBooks).decode, True),
)


def made_binance(venue: str) -> list[bytes]:
    levels = b",".join(b'["618%02d.63000000","0.%08d"]' % (i, i * 977) for i in range(17))
    if venue == "binance_usdm":
        return [
            b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT","t":5266583935,'
            b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}',
            b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20",'
            b'"B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}',
            b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"T":1723161255207,"s":"BTCUSDT",'
            b'"U":50093239189,"u":50093239202,"pu":50093239188,"b":[' + levels + b'],"a":[' + levels + b"]}}",
        ]
    return [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
        b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}',
        b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
        b'"a":"61837.64000000","A":"1.54698000"}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,'
        b'"u":50093239202,"b":[' + levels + b'],"a":[' + levels + b"]}}",
    ]


MADE = {
    "kraken": [
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45285.2,"qty":0.00100000,'
        b'"ord_type":"market","trade_id":4665847,"timestamp":"2023-09-25T07:49:37.708706Z"}]}',
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.10000000}],"asks":'
        b'[{"price":45286.4,"qty":1.54571953}],"checksum":2439117997,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    ],
    "coinbase": [
        b'{"type":"match","trade_id":881613,"maker_order_id":"27fff20b","taker_order_id":"1da6ce16","side":"sell",'
        b'"size":"0.04","price":"14.7775","product_id":"BTC-USD","sequence":1,"time":"2021-04-17T16:43:30.244075Z"}',
        b'{"type":"ticker","sequence":2,"product_id":"BTC-USD","price":"14.7775","best_bid":"14.7550","best_ask":"14.8060",'
        b'"side":"buy","time":"2021-04-17T16:43:30.244075Z","trade_id":881613,"last_size":"0.04"}',
        b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","14.75","1.20"]],"time":"2021-04-17T16:43:30.244075Z"}',
    ],
    "okx": [
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"314161276","px":"43474.1",'
        b'"sz":"0.00373695","side":"buy","ts":"1646311839593"}]}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["43736.2","0.1358","0","2"]],'
        b'"bids":[["43675.6","0.05","0","1"]],"ts":"1646314295200","checksum":0,"prevSeqId":1,"seqId":2}]}',
    ],
    "kraken_v1": [b'[320,{"b":[["39071.40000","7.26106570","1622714256.068601"]],"c":"2040672112"},"book-25","XBT/USD"]'],
}  # fmt: skip


def stamped(path: Path) -> list[bytes]:
    with gzip.open(path) as file:
        return [frame for row in file if (frame := row.rstrip(b"\n").split(b" ", 1)[1]).startswith(b'{"stream"')]


def sample(pattern: str) -> list[bytes]:
    """Frames received, of cryptofeed's recordings."""
    rows = (row.rstrip(b"\n") for path in sorted(SAMPLES.glob(pattern)) for row in path.open("rb"))
    return [row.partition(b": ")[2] for row in rows if row and not row.startswith((b"ws", b"configuration"))]


def frames(venue: str) -> tuple[str, list[bytes], list[Instrument]]:
    """(where they are from, frames, instruments)."""
    if venue.startswith("binance"):
        path = USDM if venue == "binance_usdm" else SPOT
        real = path.is_file()
        return path.name if real else "made", stamped(path) if real else made_binance(venue), [Instrument("BTCUSDT", venue)]
    if venue == "coinbase" and SAMPLES.is_dir():
        found = sample("COINBASE.ws.*")
        symbols = {msgspec.json.decode(frame)["product_id"] for frame in found if frame.startswith(b'{"type":"snapshot"')}
        return "sample_data", found, [Instrument(symbol, venue) for symbol in sorted(symbols)]
    if venue == "okx" and SAMPLES.is_dir():
        symbols = {"BTC-USD-220527", "UNI-USD-SWAP", "BTC-USDT"}
        return "sample_data", sample("OKX.ws.*"), [Instrument(symbol, venue) for symbol in sorted(symbols)]
    if venue == "kraken_v1" and SAMPLES.is_dir():
        return "sample_data", [frame for frame in sample("KRAKEN.ws.50.*") if frame[:1] == b"["], kraken_pairs()
    symbol, exponent = {"kraken": ("BTC/USD", -1), "kraken_v1": ("XBT/USD", -5), "okx": ("BTC-USDT", -8)}.get(
        venue, ("BTC-USD", -8)
    )
    return "made", MADE[venue], [Instrument(symbol, venue, exponent)]


def kraken_pairs() -> list[Instrument]:
    """Each pair at the precision of its own texts."""
    decimals = {}
    for frame in sample("KRAKEN.ws.50.*"):
        if b'"as"' in frame[:40]:
            _, levels, _, pair = msgspec.json.decode(frame)
            decimals[pair] = -len(levels["as"][0][0].partition(".")[2])
    return [Instrument(pair, "kraken_v1", exponent) for pair, exponent in sorted(decimals.items())]


def with_book(venue: str, messages: Iterable[bytes], instruments: list[Instrument]) -> float:
    """Messages per second of CPU through decoder and book rule, the whole stream from its beginning."""
    adapter = adapter_of(venue)
    read = header_reader("kind", "flags", "subject", "first_id", "last_id")
    best = 0.0
    for _ in range(TURNS):
        known = adapter.routes(instruments)
        books = {i.subject.encode().ljust(32, b"\0"): adapter.book(i, FeedSettings()) for i in instruments}
        count, start = 0, time.process_time()
        for frame in messages:
            for event in adapter.decode(frame, RECV_NS, known):
                kind, flags, subject, first_id, last_id = read(event)
                if kind != Kind.depth:
                    continue
                book = books[subject]
                if flags & Flag.SNAPSHOT:
                    book.snapshot(event, last_id)
                else:
                    book.change(event, first_id, last_id)
                    count += 1
        best = max(best, count / (time.process_time() - start))
    return best


def scanner_of(folder: Path) -> int:
    """The address of the compiled scanner, made in a process of its own."""
    path = scanner_path(folder)
    subprocess.run(compiling_objects.command(KERNEL, path), check=True, stdout=subprocess.DEVNULL)
    return load(path)["scan"]


def contestants(
    case: Case, some: list[bytes], instruments: list[Instrument], scanner: int
) -> dict[str, Callable[[], object]]:  # fmt: skip
    """Who reads all of `some`, by name."""
    adapter = adapter_of(case.venue)
    known, out = adapter.routes(instruments), dict[str, Callable[[], object]]()

    def exact() -> None:
        for frame in some:
            adapter.decode(frame, RECV_NS, known)

    def scanned(size: int) -> Callable[[], None]:
        reader, reads = (
            FrameScanner(scanner, adapter.forms(known)),
            [list(some[at : at + size]) for at in range(0, len(some), size)],
        )
        assert None not in reader.scan(some[:READ], RECV_NS), f"{case.venue} {case.kind}: not in a usual form"

        def read() -> None:
            for frames in reads:
                reader.scan(frames, RECV_NS)

        return read

    if adapter.forms is not no_forms:
        out = {f"reads of {READ}": scanned(READ), "reads of 1": scanned(1)}
    out |= {"exact": exact, "msgspec": lambda: [case.floor(frame) for frame in some]}
    if case.venue in cryptofeed_peer.NAMES and cryptofeed_peer.version():
        out["cryptofeed"] = cryptofeed_peer.decoder(instruments[0], some)
    return out


def show(case: Case, everything: list[bytes], instruments: list[Instrument], real: bool, scanner: int) -> dict[str, float]:
    adapter = adapter_of(case.venue)
    known = adapter.routes(instruments)
    some = [frame for frame in everything if case.has in frame[:60] and frame[:1] in b"[{" and b'"snapshot"' not in frame[:80]]
    some = [frame for frame in some if b'"event"' not in frame[:40] and b'"as"' not in frame[:40]]
    is_deep = case.book or case.kind == "depth"
    some = (some if real else some * LEVELS_MESSAGES)[: LEVELS_MESSAGES if is_deep else MESSAGES]
    what = f"  {case.venue} {case.kind}"
    if is_deep:
        records = sum(int.from_bytes(e[4:8], "little") for f in some for e in adapter.decode(f, RECV_NS, known))
        what += f", {records / len(some):.0f} levels"
    with one_core():
        turns = take_turns(contestants(case, some, instruments, scanner))
    rates = {name: len(some) / turn.cpu_s for name, turn in turns.items()}
    peer = "cryptofeed" if "cryptofeed" in rates else "msgspec"
    for name, rate in rates.items():
        if name not in ("cryptofeed", "msgspec"):
            line(f"{what}, {name}", f"{rate:,.0f}/s", f"{rates[peer]:,.0f}/s, {peer}", rate / rates[peer])
    if case.book and real:
        line(f"{what} with its book", f"{with_book(case.venue, everything, instruments):,.0f}/s")
    return {f"{case.venue} {case.kind}, {name}": rate for name, rate in rates.items()}


async def over_loopback(messages: list[bytes]) -> float:
    """Messages a second through a real websocket and the decoder, sender in the same process and loop."""
    routes = binance.routes([Instrument(symbol="BTCUSDT")])
    received = 0
    done = asyncio.Event()

    def on_frames(recv_ns: int, some: list[bytes]) -> None:
        nonlocal received
        for message in some:
            binance.decode(message, recv_ns, routes)
        received += len(some)
        if received >= len(messages):
            done.set()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        for frame in messages:
            await ws.send_str(frame.decode())
        await ws.receive()
        return ws

    app = web.Application()
    app.router.add_get("/stream", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    start = time.perf_counter()
    connection = await websocket.connect(f"ws://127.0.0.1:{runner.addresses[0][1]}/stream", on_frames, 60.0)
    await done.wait()
    spent = time.perf_counter() - start
    await connection.close()
    await runner.cleanup()
    return len(messages) / spent


def main() -> dict[str, float]:
    print(f"decode: messages per second of one core to events; ratio: ours to the peer's. {machine_words()}")
    peer = cryptofeed_peer.version() or "is not installed here, and skipped: make peers"
    print(f" cryptofeed {peer}; msgspec {msgspec.__version__}")
    scanner, figures = scanner_of(Path(tempfile.mkdtemp())), dict[str, float]()
    for venue in dict.fromkeys(case.venue for case in CASES):
        source, everything, instruments = frames(venue)
        print(f" {venue}, {source}:")
        for case in CASES:
            if case.venue == venue:
                figures |= show(case, everything, instruments, source != "made", scanner)
    _, everything, _ = frames("binance")
    everything = (everything * (MESSAGES // len(everything) + 1))[:MESSAGES]
    line("  websocket → events, sender in the same process", f"{asyncio.run(over_loopback(everything)):,.0f}/s")
    return figures


if __name__ == "__main__":
    main()
