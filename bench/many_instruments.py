"""A hundred instruments on two venues through the whole mesh, as real processes; run by `bench.capture`.

The local exchange is both venues, with about 20 messages a second of each instrument: trades, best prices and changes of the
book together. Beside it the floor: one bare client for each venue, of the same streams, which decodes and keeps nothing.
"""

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import psutil
import websockets

from bench.capture import cpu_s, faults_of, mesh, place, processes
from bench.floor import line
from bench.mesh_memory import show, taken_mb
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.recorder.cutting import files_expected, interval_s

INSTRUMENTS = 100
AIM_MB = 600.0
STEADY_S = 20.0
FIRST_S_MAX = 180.0
MARKET = (Kind.trade, Kind.quote, Kind.depth)
VENUES = ("binance", "binance_usdm")
PATHS = {"binance": "/stream", "binance_usdm": "/public/stream"}
SETTINGS = """
[exchange]
trades_per_s = 4.0
quotes_per_s = 9.0
[executor]
enabled = false
"""


def settings(count: int = INSTRUMENTS) -> str:
    rows = [f'[[instruments]]\nsymbol = "M{n // 2:02d}USDT"\nvenue = "{VENUES[n % 2]}"' for n in range(count)]
    return "\n".join((SETTINGS, *rows))


def first_ticks_s(config: Config, begun: float) -> float:
    """Seconds from `begun` until a trade, a quote and a change of every instrument's book were in the log."""
    wanted = {(instrument.subject, kind) for instrument in config.instruments for kind in MARKET}
    reader, seq = LogReader(config.log_dir), 0
    while wanted:
        for event in reader.events(seq):
            wanted.discard((event.subject, event.kind))
            seq = event.seq
        if time.monotonic() - begun > FIRST_S_MAX:
            raise SystemExit(f"nothing of {len(wanted)} streams in {FIRST_S_MAX:.0f} s, e.g. {sorted(wanted)[0]}")
        time.sleep(0.05)
    return time.monotonic() - begun


async def bare(config: Config, seconds: float) -> tuple[float, float]:
    """(frames/s, share of a core) of a client for each venue that only receives and decodes."""
    decode, counts, me = msgspec.json.Decoder().decode, [0], psutil.Process()
    shares: list[float] = []

    async def one(venue: str) -> None:
        where = exchange_address.read(config, venue)
        assert where is not None
        symbols = [instrument.symbol.lower() for instrument in config.instruments if instrument.venue == venue]
        names = [f"{symbol}@{stream}" for symbol in symbols for stream in ("trade", "bookTicker", "depth@100ms")]
        url = f"{where.ws}{PATHS[venue]}?streams={'/'.join(names)}"
        async with websockets.connect(url, max_size=None, max_queue=None) as socket:
            begun, before = time.monotonic(), sum(me.cpu_times()[:2])
            while time.monotonic() - begun < seconds:
                decode(await socket.recv())
                counts[0] += 1
            shares.append((sum(me.cpu_times()[:2]) - before) / seconds)

    await asyncio.gather(*(one(venue) for venue in VENUES))
    return counts[0] / seconds, max(shares)


def steady(config: Config, root: Path) -> None:
    after, running = LogReader(config.log_dir).last, processes(root)
    before, begun = cpu_s(running), time.monotonic()
    time.sleep(STEADY_S)
    seconds = time.monotonic() - begun
    used = sorted(((after_s - before[name]) / seconds, name) for name, after_s in cpu_s(running).items())
    events = sum(event.kind in MARKET for event in LogReader(config.log_dir).events(after))
    line("  events in the log", f"{events / seconds:,.0f}/s", f"{events / seconds / INSTRUMENTS:.1f}/s of each instrument")
    line("  share of a core", ", ".join(f"{name} {share:.0%}" for share, name in reversed(used) if share >= 0.005))
    show("  memory, shared pages counted once", taken_mb(root), AIM_MB)
    line("  file descriptors", ", ".join(f"{name} {process.num_fds()}" for name, process in sorted(running.items())))
    floor_per_s, floor_share = asyncio.run(bare(config, 5.0))
    line("  a bare client of each venue, one line", f"{floor_per_s:,.0f} frames/s at {floor_share:.0%} of a core")


def books_in_step(config: Config) -> None:
    """How long the books waited for their snapshots, which the venue's request weight spreads over minutes."""
    begun_ns = 0
    snapshots: dict[str, float] = {}
    for event in LogReader(config.log_dir).events(0):
        begun_ns = begun_ns or event.seq_ns
        if event.kind == Kind.depth and event.flags & Flag.SNAPSHOT:
            snapshots.setdefault(event.subject, (event.seq_ns - begun_ns) / 1e9)
    waits = sorted(snapshots.values())
    line(
        "  books in step",
        f"{len(waits)} of {INSTRUMENTS}",
        f"half after {waits[len(waits) // 2]:.1f} s, the last after {waits[-1]:.1f} s",
    )


def archived(config: Config) -> None:
    """Files of the archive: those of the one cut that the end makes, times the cuts of a day by the recorder's rule."""
    files = sum(1 for path in config.archive_dir.rglob("*") if path.is_file())
    every_s = interval_s(config.recorder, files_expected(config))
    line(
        "  archive", f"{files} files a cut", f"a cut every {every_s / 60:.0f} min: {files * 86_400 / every_s:,.0f} files a day"
    )


def main() -> None:
    root = place(settings())
    try:
        begun = time.monotonic()
        up = subprocess.Popen([str(root / ".venv/bin/mesh"), "up", "--json"], cwd=root, stdout=subprocess.DEVNULL)
        config = load(root)
        while not config.log_dir.exists():
            time.sleep(0.02)
        line(
            f"{INSTRUMENTS} instruments on two venues, two lines each",
            f"first ticks of all in {first_ticks_s(config, begun):.1f} s",
        )
        up.wait(FIRST_S_MAX)
        steady(config, root)
        books_in_step(config)
        mesh(root, "down")
        archived(config)
        verdict = json.loads(mesh(root, "verify", "--against", str(config.exchange_dir), "--json"))
        line("  against the exchange's ledger", f"{verdict['trades']:,} trades, {faults_of(verdict)}")
    finally:
        subprocess.run([str(root / ".venv/bin/mesh"), "down"], cwd=root, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)
