"""Capture through the whole mesh, as real processes: what arrives at a client is in the log, the recent store and the archive.

First the local exchange's market at a steady rate; then a hundred instruments on two venues (bench/many_instruments.py); then,
where the captures are (TICKMESH_DATA), a recorded day as fast as it is taken: the exchange waits for its slowest line, so that
is what the mesh sustains. All are judged for loss afterwards.
Beside them the floor: one client that receives and decodes the same frames, and keeps nothing.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import psutil

from bench.floor import line
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.tools.chaos.sweep_mesh import SweepMesh

STEADY_S = 12.0
MARKET = (Kind.trade, Kind.quote, Kind.depth)
STEADY = """
[exchange]
trades_per_s = 400
quotes_per_s = 1200
[executor]
enabled = false
"""
CAPTURES = ("hftbt_playground/raw/spot/nexousdt_20240723.dat.gz", "hftbt_playground/raw/spot/nexousdt_20240724.dat.gz")


def mesh(root: Path, *words: str) -> str:
    done = subprocess.run([str(root / ".venv/bin/mesh"), *words], cwd=root, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"mesh {' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def place(settings: str) -> Path:
    """A folder as a sweep makes one, with settings of its own."""
    import tempfile

    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    SweepMesh(root, settings)
    return root


def processes(root: Path) -> dict[str, psutil.Process]:
    found = {}
    for path in (root / "run/ready").glob("*.json"):
        try:
            found[path.stem] = psutil.Process(json.loads(path.read_text())["pid"])
        except (psutil.NoSuchProcess, OSError, ValueError):
            continue
    return found


def cpu_s(running: dict[str, psutil.Process]) -> dict[str, float]:
    out = {}
    for name, process in running.items():
        try:
            times = process.cpu_times()
            out[name] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return out


def counted(root: Path, after: int) -> tuple[int, int, float]:
    """(market events, their records, seconds from the first to the last) of the log beyond `after`."""
    events = records = 0
    stamps = []
    for event in LogReader(load(root).log_dir).events(after):
        if event.kind in MARKET:
            events += 1
            records += event.count
            stamps.append(event.seq_ns)
    return events, records, (stamps[-1] - stamps[0]) / 1e9 if stamps else 0.0


def show(what: str, root: Path, after: int, used: dict[str, float], floor_per_s: float) -> None:
    """`used`: CPU seconds of each process meanwhile."""
    events, records, seconds = counted(root, after)
    line(what, f"{events / seconds:,.0f} events/s, {records / seconds:,.0f} records/s")
    if floor_per_s:
        line("  of what one bare client decodes in the same market", f"{events / seconds / floor_per_s:.2f}")
    shares = sorted(((s / seconds, name) for name, s in used.items()), reverse=True)
    line("  share of a core", ", ".join(f"{name} {share:.0%}" for share, name in shares if share >= 0.005))


def judged(root: Path) -> str:
    mesh(root, "down")
    config = load(root)
    against = [str(config.exchange_dir)]
    verdict = json.loads(mesh(root, "verify", "--against", *against, "--json"))
    return f"{verdict['trades']:,} trades, {faults_of(verdict)}"


def faults_of(verdict: dict) -> str:
    return ", ".join(f"{verdict[name]} {name}" for name in ("lost", "duplicated", "different"))


async def bare(where: dict, seconds: float) -> tuple[float, float]:
    """(frames/s, share of a core) of a client that only receives and decodes."""
    import websockets

    decode = msgspec.json.Decoder().decode
    streams = "btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
    count = 0
    me = psutil.Process()
    async with websockets.connect(f"{where['ws']}/stream?streams={streams}", max_size=None) as socket:
        begun, before = time.monotonic(), sum(me.cpu_times()[:2])
        while time.monotonic() - begun < seconds:
            decode(await socket.recv())
            count += 1
    return count / seconds, (sum(me.cpu_times()[:2]) - before) / seconds


def steady() -> None:
    root = place(STEADY)
    try:
        mesh(root, "up")
        where = json.loads((root / "run/exchange.json").read_text())
        floor_per_s, floor_share = asyncio.run(bare(where, 4.0))
        after = LogReader(load(root).log_dir).last
        running = processes(root)
        before = cpu_s(running)
        time.sleep(STEADY_S)
        used = {name: after_s - before[name] for name, after_s in cpu_s(running).items()}
        show("capture of a steady market, two lines", root, after, used, floor_per_s)
        line("  a bare client of one line", f"{floor_per_s:,.0f} frames/s at {floor_share:.0%} of a core")
        line("  against the exchange's ledger", judged(root))
    finally:
        subprocess.run([str(root / ".venv/bin/mesh"), "down"], cwd=root, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


def replayed(data: Path) -> None:
    root = place("[executor]\nenabled = false\n[log]\nkeep_segments = 1000\n")
    try:
        captures = [str(data / name) for name in CAPTURES]
        mesh(root, "up", "--capture", *captures, "--speed", "0")
        config = load(root)
        used = cpu_s(processes(root))
        while not (config.exchange_dir / "ended").exists():
            used |= cpu_s(processes(root))
            time.sleep(0.05)
        show("a recorded day as fast as the mesh takes it", root, 0, used, 0)
        mesh(root, "down")
        verdict = json.loads(mesh(root, "verify", "--against", *captures, "--json"))
        line(
            "  against the capture",
            faults_of(verdict),
        )
    finally:
        subprocess.run([str(root / ".venv/bin/mesh"), "down"], cwd=root, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    from bench import many_instruments  # it uses what is here

    steady()
    many_instruments.main()
    data = Path(os.environ.get("TICKMESH_DATA") or Path(__file__).resolve().parent.parent.parent / "shared/data")
    if (data / CAPTURES[0]).exists():
        replayed(data)
    else:
        line("a recorded day", "no captures here (TICKMESH_DATA)")


if __name__ == "__main__":
    main()
