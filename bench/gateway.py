"""What a gateway costs those who trade: tick to order with nobody at it, and with a thousand idle, ten greedy clients.

`python -m bench gateway`. A mesh of separate processes and the exchange in this one, as in tick_to_order.py, and a gateway.
Nobody asks for SECONDS, then the clients are there for as long, then nobody again, and so on: each round with clients is
compared with the two beside it, and so is each round without: that is how much the figures move by themselves, and what is not
beyond it is within the noise. The clients are a process of their own that takes what is left of the processor
(gateway_clients.py): a crowd is on other machines. The gateway has its own priority. Beside them its processor time and memory.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from bench.floor import line, microseconds, rounds
from bench.hops import chains
from bench.tick_to_order import SEPARATE
from bench.watched_exchange import WatchedExchange, throw_away_root, until
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader

SECONDS = 5.0
ENDED_S = 60.0
SETTLED_S = 1.0  # in which the clients' connections end
OPENED_S = 15.0  # in which a browser has started, and the gateway has loaded its page
QUOTES_PER_S = 60
IDLE, GREEDY = 1000, 10
NOBODY, CROWD = "nobody at the gateway", f"{IDLE} idle, {GREEDY} greedy clients"
Span = tuple[int, int]  # ns of the wall clock


async def _clients(url: str, idle: int, greedy: int) -> asyncio.subprocess.Process:
    """Starts clients, and returns when all are connected."""
    words = ("-m", "bench.gateway_clients", url, str(idle), str(greedy))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    if await asyncio.wait_for(child.stdout.readline(), 300) != b"there\n":
        raise RuntimeError("the clients did not connect, see what they wrote above")
    return child


async def _ended(child: asyncio.subprocess.Process) -> str:
    """Ends clients; gives what they did, "" where the machine is so busy that they cannot say it."""
    child.send_signal(signal.SIGTERM)
    try:
        out, _ = await asyncio.wait_for(child.communicate(), ENDED_S)
    except TimeoutError:
        child.kill()
        await child.wait()
        return ""
    return out.decode().strip()


async def _span() -> Span:
    begun = time.time_ns()
    await asyncio.sleep(SECONDS)
    return begun, time.time_ns()


@contextmanager
def _mesh(config: Config) -> Iterator[list[subprocess.Popen]]:
    """The processes of a mesh but for its exchange, the gateway last; they are killed at the end."""
    children: list[subprocess.Popen] = []
    try:
        for words in (*SEPARATE, ("gateway",)):
            children.append(subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", *words], cwd=config.root))
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def _cpu_s(pid: int) -> float:
    """Processor time of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("Pss:")[2].split()[0]) / 1024


async def _cost(pid: int) -> tuple[float, float]:
    """(percent of a core over SECONDS, MB) of a process."""
    before = _cpu_s(pid)
    begun, ended = await _span()
    return (_cpu_s(pid) - before) / ((ended - begun) / 1e9) * 100, _pss_mb(pid)


async def _viewed(pid: int, url: str) -> dict[str, tuple[float, float]]:
    """The cost of a gateway whose page a browser shows, at the lowest priority; {} where none is installed."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("skip: one viewer of the page: no Chromium is installed")
        return {}
    with tempfile.TemporaryDirectory() as profile:
        words = ("nice", "-n", "19", browser, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
        child = await asyncio.create_subprocess_exec(
            *words, f"--user-data-dir={profile}", url, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await asyncio.sleep(OPENED_S)
            return {"one viewer of the page": await _cost(pid)}
        finally:
            child.terminate()
            await child.wait()


async def _measured() -> dict:
    """Runs the mesh; gives the orders' latencies of each round by who was there, and the cost of the gateway."""
    with throw_away_root(QUOTES_PER_S) as config:
        async with WatchedExchange(config) as exchange:
            with _mesh(config) as children:
                gateway, address = children[-1], config.run_dir / "gateway.json"
                await until(lambda: len(exchange.arrived) > 20, 60, "the first 20 orders of the mesh", children)
                await until(address.exists, 60, "the gateway's address", children)
                url = msgspec.json.decode(address.read_bytes())["url"]
                cost = {"nobody": await _cost(gateway.pid)}
                reader = await _clients(f"{url}", 1, 0)
                cost["one idle stream"] = await _cost(gateway.pid)
                await _ended(reader)
                cost |= await _viewed(gateway.pid, url)
                spans: dict[str, list[Span]] = {NOBODY: [], CROWD: []}
                did = ""
                spans[NOBODY].append(await _span())
                for _ in range(rounds()):
                    crowd = await _clients(url, IDLE, GREEDY)
                    before = _cpu_s(gateway.pid)
                    spans[CROWD].append(await _span())
                    share = (_cpu_s(gateway.pid) - before) / SECONDS * 100
                    cost[CROWD] = share, _pss_mb(gateway.pid)
                    did = await _ended(crowd)
                    await asyncio.sleep(SETTLED_S)
                    before = _cpu_s(gateway.pid)
                    spans[NOBODY].append(await _span())
                    cost["nobody, afterwards"] = (_cpu_s(gateway.pid) - before) / SECONDS * 100, _pss_mb(gateway.pid)
            found = list(chains(LogReader(config.log_dir).events(), exchange.sent, exchange.arrived))
    ways = {
        name: [[one.arrived - one.sent for one in found if begun <= one.sent < ended] for begun, ended in own]
        for name, own in spans.items()
    }
    return {"ways": ways, "cost": cost, "did": did}


def compared(nobody: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ratios, limits) of columns of figures: rounds with a crowd against the two rounds with nobody beside them.

    `nobody` has a round more than `crowd`. A ratio is the median of the rounds'; a limit is the logarithm that it has to exceed
    to be more than noise: two standard errors of a median (1.25 σ / √n), σ from rounds with nobody against those beside them.
    """
    logs = np.log(nobody)
    ratios = np.log(crowd) - (logs[:-1] + logs[1:]) / 2
    still = logs[1:-1] - (logs[:-2] + logs[2:]) / 2
    sigma = np.sqrt((still**2).mean(axis=0)) if len(still) else np.full(logs.shape[1], np.inf)
    return np.exp(np.median(ratios, axis=0)), 2 * 1.25 * sigma / np.sqrt(len(ratios))


def main() -> dict:
    """Prints the figures; gives them for JSON."""
    import uvloop

    print(f"tick to order with and without clients of the gateway (p50, p99); {os.cpu_count()} cores; {QUOTES_PER_S} quotes/s")
    measured = uvloop.run(_measured())
    figures = {name: np.array([microseconds(one) for one in own]) for name, own in measured["ways"].items()}
    ratios, limits = compared(figures[NOBODY], figures[CROWD])
    result: dict = {"rounds": len(figures[CROWD]), "seconds": SECONDS}
    for name, own in figures.items():
        p50, p99 = np.median(own, axis=0)
        orders = sum(map(len, measured["ways"][name]))
        result[name] = {"p50_us": float(p50), "p99_us": float(p99), "orders": orders}
        line(name, f"{p50:,.0f} µs, {p99:,.0f} µs", f"{orders} orders")
    for name, ratio, limit in zip(("p50", "p99"), ratios, limits):
        word = "within the noise" if abs(np.log(ratio)) <= limit else "MEASURABLE"
        result |= {f"{name}_ratio": float(ratio), f"{name}_noise": float(np.exp(limit)), f"{name}_verdict": word}
        line(
            f"{name}, ratio of the crowd's rounds to those beside them",
            f"{ratio:.3f}",
            f"noise up to {np.exp(limit):.3f}: {word}",
        )
    for name, (share, memory) in measured["cost"].items():
        result[f"gateway, {name}"] = {"core_percent": share, "pss_mb": memory}
        line(f"the gateway, {name}", f"{share:.1f} % of a core, {memory:.0f} MB")
    print(f"the last crowd: {measured['did']}", flush=True)
    return result


if __name__ == "__main__":
    main()
