"""Tick to order, wire to wire: the exchange sends a quote → the exchange has the order that it caused.

The local exchange runs in this process and notes both moments (watched_exchange.py). The mesh runs as real processes: separate
ones, with hosted steps, with a hosted line as well, and with rehearsed orders (`[hosting] warm_ms`) besides. Beside it, against
the same exchange, programs that do the same in one process (wire_clients.py): a bare script, the floor, and ccxt.pro, what
people use. All take turns, `rounds()` times; printed are medians over the rounds, of the ratios too: each is to the script,
or to ccxt.pro, of its own round.
"""

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import msgspec
import numpy as np

from bench.floor import line, microseconds, rounds
from bench.hops import HOPS, chains
from bench.watched_exchange import WatchedExchange, throw_away_root, until
from tickmesh.bus.log import LogReader

SECONDS = 5.0
QUOTES_PER_S = (60, 600)
SEPARATE = (
    ("sequencer",), ("feed", "1"), ("model", "imbalance"), ("executor",), ("session",),
)  # fmt: skip
HOSTED = (("sequencer", "model", "imbalance", "executor", "session"), ("feed", "1"))
FEED_TOO = (("sequencer", "feed", "1", "model", "imbalance", "executor", "session"),)
WARM_MS = 4
MESHES = {
    "separate processes": (SEPARATE, 0),
    "hosted steps": (HOSTED, 0),
    "hosted, feed too": (FEED_TOO, 0),
    "rehearsed too": (FEED_TOO, WARM_MS),
}  # the processes, and `warm_ms`
BARE, CCXT = "bare script (websockets, aiohttp)", "ccxt.pro"
Samples = tuple[list[int], list[tuple[int, ...]]]  # ns per order; of the mesh also per hop


def _end(children: list[subprocess.Popen]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()


async def _measured(exchange: WatchedExchange, what: str, children: list[subprocess.Popen]) -> None:
    """Lets a client come to work, then forgets what it did until then and watches it for SECONDS."""
    await until(lambda: len(exchange.arrived) > 20, 60, f"the first 20 orders of {what}", children)
    exchange.arrived.clear()
    await asyncio.sleep(SECONDS)


async def through_the_mesh(quotes: float, processes: tuple, warm_ms: int) -> Samples:
    """Orders of a mesh of these processes, rehearsed every `warm_ms`; 0: never."""
    children: list[subprocess.Popen] = []
    with throw_away_root(quotes, warm_ms) as config:
        try:
            async with WatchedExchange(config) as exchange:
                for words in processes:
                    children.append(subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", *words], cwd=config.root))
                await _measured(exchange, "the mesh", children)
                for child in children:
                    child.send_signal(signal.SIGTERM)
                await until(lambda: all(child.poll() is not None for child in children), 30, "the end of the mesh")
            found = list(chains(LogReader(config.log_dir).events(), exchange.sent, exchange.arrived))
            return [one.arrived - one.sent for one in found], [one.hops for one in found]
        finally:
            _end(children)


async def through_a_client(quotes: float, name: str) -> Samples:
    """Orders of one of wire_clients.py."""
    children: list[subprocess.Popen] = []
    with throw_away_root(quotes) as config:
        try:
            async with WatchedExchange(config) as exchange:
                where = msgspec.json.decode((config.run_dir / "exchange.json").read_bytes())
                words = (name, where["ws"], where["rest"], config.exchange.api_key, config.exchange.api_secret)
                command = [sys.executable, "-m", "bench.wire_clients", *words]
                children.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}))
                await _measured(exchange, name, children)
                ids = ((int(client.rpartition("-")[2]), at) for client, at in exchange.arrived.items())
                return [at - exchange.sent[update_id] for update_id, at in ids if update_id in exchange.sent], []
        finally:
            _end(children)


def _contestants() -> dict[str, Callable]:
    """What takes turns, by name: given the rate of quotes, a coroutine of Samples."""
    found: dict[str, Callable] = {BARE: lambda quotes: through_a_client(quotes, "bare")}
    if importlib.util.find_spec("ccxt") is None:
        print(f"{CCXT} is left out: ccxt is not installed (the extra dev has it)")
    else:
        found[CCXT] = lambda quotes: through_a_client(quotes, "ccxt")
    for name, mesh in MESHES.items():
        found[name] = lambda quotes, mesh=mesh: through_the_mesh(quotes, *mesh)
    return found


def _round(contestants: dict[str, Callable], quotes: int, hops: dict[str, list[tuple[int, ...]]]) -> dict:
    """One turn of everybody: (p50, p99) in µs by name."""
    import uvloop

    figures = {}
    for name, run in contestants.items():
        whole, by_hop = uvloop.run(run(quotes))
        figures[name] = microseconds(whole)
        hops.setdefault(name, []).extend(by_hop)
    return figures


def _show(quotes: int, figures: list[dict], hops: dict[str, list[tuple[int, ...]]]) -> dict:
    """Prints the medians over the rounds of one rate, and gives them for JSON."""
    result: dict[str, dict] = {}
    for name in figures[0]:
        mine = np.array([one[name] for one in figures])
        p50, p99 = np.median(mine, axis=0)
        entry = result[name] = {"p50_us": float(p50), "p99_us": float(p99), "rounds_p50_us": mine[:, 0].tolist()}
        beside = ""
        for other, word in ((BARE, "bare script"), (CCXT, CCXT)):
            if other in figures[0] and name != other:
                ratio = float(np.median(mine[:, 0] / np.array([one[other][0] for one in figures])))
                entry[f"p50_to_{word.replace(' ', '_')}"] = ratio
                beside += f"{ratio:.2f} × {word}  "
        line(f"{name}, {quotes} quotes/s", f"{p50:,.0f} µs, {p99:,.0f} µs", beside.strip())
    for name in MESHES:
        by_hop = np.array(hops[name]) / 1000
        entry = result[name]
        entry["hops_p50_us"] = dict(zip(HOPS, np.median(by_hop, axis=0).tolist(), strict=True))
        entry["hops_p99_us"] = dict(zip(HOPS, np.percentile(by_hop, 99, axis=0).tolist(), strict=True))
    print(f"\n{'by hop (p50, p99), µs; ' + str(quotes) + ' quotes/s':<52}" + "".join(f"{name:>22}" for name in MESHES))
    for hop in HOPS:
        cells = (f"{result[n]['hops_p50_us'][hop]:,.0f}, {result[n]['hops_p99_us'][hop]:,.0f}" for n in MESHES)
        print(f"{hop:<52}" + "".join(f"{cell:>22}" for cell in cells))
    print(flush=True)
    return result


def main() -> dict:
    """Prints the figures; gives them by rate of quotes and contestant."""
    count = rounds()
    print(f"tick to order, wire to wire (p50, p99); {os.cpu_count()} cores, exchange included; medians of {count} rounds")
    contestants = _contestants()
    results = {}
    for quotes in QUOTES_PER_S:
        hops: dict[str, list[tuple[int, ...]]] = {}
        figures = [_round(contestants, quotes, hops) for _ in range(count)]
        results[f"{quotes} quotes/s"] = _show(quotes, figures, hops)
    return {"rounds": count, "seconds": SECONDS, "cores": os.cpu_count(), "results": results}


if __name__ == "__main__":
    main()
