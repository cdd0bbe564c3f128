"""What a message costs: two feeds, sequencer and recorder at 100, 2,000 and 20,000 messages a second, as real processes.

`python -m bench.message`. The local exchange replays a market made for it, each message by itself and evenly spaced, which is
what wakes most: six best prices, three trades and a change of the book in ten. The floor takes part in the same moments: one
client that decodes the same messages (decoding_client.py). Of each process: processor time, wake-ups (voluntary switches of its
threads) and, where strace is installed, system calls, of one message of the market; strace slows what it counts, so it counts
afterwards. Where the mesh does not sustain a rate, or the exchange does not reach it, less are there: the table says how many.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from bench.floor import rounds
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind

RATES = (100, 2000, 20_000)
AIM = 4.0  # the whole beside the floor, at 2,000 a second
WINDOW_S, STRACED_S, BEGIN_S, WAIT_S = 1.5, 1.5, 3.0, 180.0
MESSAGES_MAX = 300_000  # of a market: the exchange reads all of it before it begins
SPEED = 2.0  # of the replay; above 1 it waits for its clients instead of cutting them off
SYMBOL = "BTCUSDT"
FEEDS, SEQUENCER, RECORDER = ("feed 1", "feed 2"), "sequencer", "recorder"
OURS = (*FEEDS, SEQUENCER, RECORDER)
FLOOR = "bare client"
MARKET = (Kind.trade, Kind.quote, Kind.depth)
SETTINGS = f"""\
[log]
level = "error"
keep_segments = 1000
[[instruments]]
symbol = "{SYMBOL}"
[exchange]
lines = 3
speed = {SPEED}
replay = ["market.dat"]
"""
PATTERN = "qqtqdqtqtq"


def write_market(path: Path, rate: int, seconds: float) -> None:
    """Writes a capture of so many messages a second at SPEED, after a snapshot of the book."""
    begin_ns, step_ns = 1_700_000_000_000_000_000, int(1e9 * SPEED / rate)
    levels = [[f"{30_000 - n}.00", "1.500"] for n in range(20)], [[f"{30_001 + n}.00", "2.500"] for n in range(20)]
    update = changed = trades = 1000
    with path.open("w") as file:
        file.write(f"{begin_ns} {json.dumps({'lastUpdateId': update, 'bids': levels[0], 'asks': levels[1]})}\n")
        for n in range(min(int(rate * seconds), MESSAGES_MAX)):
            at_ns, stream, data = begin_ns + (n + 1) * step_ns, "", {}
            update += 1
            kind, size = PATTERN[n % len(PATTERN)], f"{1 + n % 7}.{n % 1000:03d}"
            if kind == "q":
                stream = "bookTicker"
                data = {"u": update, "s": SYMBOL, "b": "30000.00", "B": size, "a": "30001.00", "A": "2.500"}
            elif kind == "t":
                stream, ms, trades = "trade", at_ns // 1_000_000, trades + 1
                data = {"e": stream, "E": ms, "s": SYMBOL, "t": trades, "p": "30000.00", "q": size, "T": ms, "m": True}
            else:
                stream = "depth@100ms"
                data = {
                    "e": "depthUpdate", "E": at_ns // 1_000_000, "s": SYMBOL, "U": changed + 1, "u": update,
                    "b": [["30000.00", size], ["29990.00", size]], "a": [["30001.00", size], ["30010.00", size]],
                }  # fmt: skip
                changed = update
            frame = json.dumps({"stream": f"{SYMBOL.lower()}@{stream}", "data": data}, separators=(",", ":"))
            file.write(f"{at_ns} {frame}\n")


@contextmanager
def _started(children: dict[str, subprocess.Popen], name: str, *words: str, cwd: Path, **more) -> Iterator[subprocess.Popen]:
    child = children[name] = subprocess.Popen([sys.executable, "-m", *words], cwd=cwd, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def capturing(rate: int, seconds: float) -> Iterator[tuple[Config, dict[str, subprocess.Popen]]]:
    """Runs exchange, mesh and floor on such a market; gives the settings and the processes by name."""
    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    (root / "mesh.toml").write_text(SETTINGS)
    write_market(root / "market.dat", rate, seconds)
    config = load(root)
    children: dict[str, subprocess.Popen] = {}
    with ExitStack() as stack:
        for folder in (*config.outbox_dirs, root):
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_started(children, "exchange", "tickmesh.nodes", "exchange", cwd=root))
        _until(lambda: (config.run_dir / "exchange.json").exists(), "the exchange's address", children)
        for name in (SEQUENCER, *FEEDS, RECORDER):
            stack.enter_context(_started(children, name, "tickmesh.nodes", *name.split(), cwd=root))
        ready = [config.run_dir / f"ready/{name}.json" for name in (SEQUENCER, RECORDER, "feed-1", "feed-2")]
        _until(lambda: all(path.exists() for path in ready), "the mesh", children)
        ws = json.loads((config.run_dir / "exchange.json").read_text())["ws"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        words = ("bench.decoding_client", ws, SYMBOL)
        stack.enter_context(_started(children, FLOOR, *words, cwd=Path.cwd(), **pipes))
        _until(lambda: _logged(config, 0) > 0, "the first message in the log", children)
        time.sleep(BEGIN_S)
        yield config, children


def _until(condition, what: str, children: dict[str, subprocess.Popen]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        ended = [name for name, child in children.items() if child.poll() is not None]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come in {WAIT_S:g} s; ended: {', '.join(ended) or 'nothing'}")
        time.sleep(0.05)


def _logged(config: Config, after: int) -> int:
    return sum(event.kind in MARKET for event in LogReader(config.log_dir).events(after))


def cpu_and_wakes(pid: int) -> tuple[float, int]:
    """(µs of the processor, voluntary switches) of all threads of a process until now."""
    cpu_ns = wakes = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((thread / "schedstat").read_text().split()[0])
        wakes += int((thread / "status").read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return cpu_ns / 1000, wakes


def received(client: subprocess.Popen) -> int:
    """How many messages the floor has had."""
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write("\n")
    client.stdin.flush()
    return int(client.stdout.readline())


def system_calls(pid: int, seconds: float) -> int:
    """How many system calls a process makes in so long."""
    words = ["strace", "-c", "-f", "-q", "-U", "calls,name", "-p", str(pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    tracer.send_signal(2)
    _, shown = tracer.communicate(timeout=20)
    found = re.search(r"^\s*(\d+)\s+total", shown, re.M)
    if found is None:
        raise RuntimeError(f"strace says: {shown[-300:]}")
    return int(found[1])


def measured(rate: int) -> dict:
    """Gives of each process the medians of µs, wake-ups and system calls of a message, the rate, and the whole by the floor."""
    windows = max(rounds(), 5)
    traced = shutil.which("strace") is not None
    seconds = 1.5 * (BEGIN_S + WINDOW_S * (windows + 1) + (STRACED_S + 1) * len(OURS) * traced) + 10
    with capturing(rate, seconds) as (config, children):
        names = (*OURS, FLOOR)
        pids = {name: children[name].pid for name in names}
        taken: dict[str, list] = {name: [] for name in names}
        rates, ratios = [], []
        for _ in range(windows):
            seq, had, begun = LogReader(config.log_dir).last, received(children[FLOOR]), time.monotonic()
            before = {name: cpu_and_wakes(pid) for name, pid in pids.items()}
            time.sleep(WINDOW_S)
            after = {name: cpu_and_wakes(pid) for name, pid in pids.items()}
            passed, own = time.monotonic() - begun, received(children[FLOOR]) - had
            logged = _logged(config, seq)
            if not logged or not own:
                raise RuntimeError("the market has ended, or stands still")
            rates.append(logged / passed)
            for name in names:
                used = np.subtract(after[name], before[name])
                taken[name].append(used / (own if name == FLOOR else logged))
            ratios.append(sum(taken[name][-1][0] for name in OURS) / taken[FLOOR][-1][0])
        calls = {}
        for name in OURS if traced else ():
            seq = LogReader(config.log_dir).last
            found = system_calls(pids[name], STRACED_S)
            calls[name] = found / max(_logged(config, seq), 1)
    result: dict = {"messages_per_s": float(np.median(rates)), "whole_by_bare": float(np.median(ratios))}
    for name in names:
        cpu_us, wakes = np.median(taken[name], axis=0)
        result[name] = {"cpu_us": float(cpu_us), "wakes": float(wakes)}
        if name in calls:
            result[name]["system_calls"] = calls[name]
    return result


def show(rate: int, found: dict) -> None:
    """Prints one rate's table."""
    print(f"{rate:,} messages/s wanted, {found['messages_per_s']:,.0f} there: of one message")
    for name in (*OURS, FLOOR):
        own = found[name]
        calls = f"{own['system_calls']:6.2f} system calls" if "system_calls" in own else ""
        print(f"  {name:<14} {own['cpu_us']:7.1f} µs  {own['wakes']:6.2f} wake-ups  {calls}")
    whole = sum(found[name]["cpu_us"] for name in OURS)
    print(f"  {'whole':<14} {whole:7.1f} µs, {found['whole_by_bare']:.1f} × the bare client", flush=True)


def main() -> dict:
    """Prints a table for each rate; gives the figures for JSON."""
    if shutil.which("strace") is None:
        print("skip: system calls: strace is not installed")
    figures = {}
    for rate in RATES:
        figures[str(rate)] = measured(rate)
        show(rate, figures[str(rate)])
    print(f"aim at 2,000 messages/s: at most {AIM:g} × the bare client")
    return figures


if __name__ == "__main__":
    main()
