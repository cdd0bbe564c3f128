"""The tail of the latency by hop, with `[latency]` off and on, and what the slowest orders met: `python -m bench tails`.

A mesh of separate processes with a recorder, and the exchange in this one, as in tick_to_order.py. The ways take turns,
`rounds()` times, SECONDS each; beside each of them runs the floor, two bare processes that are woken by a timer and by a socket
(woken.py). Each process notes its collections of garbage, its syncs, appends and commits (timed_node.py), so that it can be
seen how many of the slowest hundredth of the orders had one of these on their way, and how many of all had.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.floor import line, rounds
from bench.hops import HOPS, chains
from bench.tick_to_order import SEPARATE
from bench.timed_node import APPEND, COMMIT, GC, SYNC
from bench.watched_exchange import WatchedExchange, throw_away_root, until
from tickmesh.bus.log import LogReader
from tickmesh.tools.diagnosis.hot_path import may_go_first

SECONDS = 8.0
QUOTES_PER_S = 150
SLOW = 99.0  # percent: whoever took longer is among the slowest
QUANTILES = (50, 99, 99.9, 100)
SPIN_US = 10_000  # longer than from one quote to the next
SHOWN_PERCENT = 5.0  # of the slowest orders: what fewer of them met is in the JSON alone
INSIDE = "of it inside: out of the socket … noted as PendingNew"
PROCESSES = (*SEPARATE, ("recorder",))
PLAIN, REALTIME = "as it is", "realtime"
WAYS = {
    PLAIN: "",
    "pinned": '[latency]\npin = "auto"\n',
    "spinning": f"[latency]\nspin_us = {SPIN_US}\n",
    "pinned, spinning": f'[latency]\npin = "auto"\nspin_us = {SPIN_US}\n',
    REALTIME: "[latency]\nrealtime = true\n",
}
Spans = np.ndarray  # (n, 2): begun, ended, ns


class Measured(NamedTuple):
    """One way's orders, floors and spans, of one round. `hops`: (orders, HOPS); `ways`: (orders, 2), sent and arrived; ns."""

    hops: np.ndarray
    ways: Spans
    floor: dict[str, list[int]]
    spans: dict[str, Spans]  # "sequencer: sync" → when


async def measured(settings: str) -> Measured:
    """Runs the mesh with further settings for SECONDS."""
    children: list[subprocess.Popen] = []
    with throw_away_root(QUOTES_PER_S, more=settings) as config:
        notes = {words[0]: config.root / f"{words[0]}.spans" for words in PROCESSES}
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        try:
            async with WatchedExchange(config) as exchange:
                for words in PROCESSES:
                    command = [sys.executable, "-m", "bench.timed_node", str(notes[words[0]]), *words]
                    children.append(subprocess.Popen(command, cwd=config.root, env=environment))
                await until(lambda: len(exchange.arrived) > 20, 60, "the first 20 orders of the mesh", children)
                await asyncio.sleep(1.0)
                exchange.arrived.clear()
                bare = (sys.executable, "-m", "bench.woken", str(SECONDS))
                woken = await asyncio.create_subprocess_exec(*bare, stdout=subprocess.PIPE, env=environment)
                floor, _ = await woken.communicate()
                for child in children:
                    child.send_signal(signal.SIGTERM)
                await until(lambda: all(child.poll() is not None for child in children), 30, "the end of the mesh")
            found = list(chains(LogReader(config.log_dir).events(), exchange.sent, exchange.arrived))
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()
        return Measured(
            np.array([one.hops for one in found]).reshape(-1, len(HOPS)),
            np.array([(one.sent, one.arrived) for one in found]).reshape(-1, 2),
            json.loads(floor),
            _spans(notes),
        )


def _spans(notes: dict[str, Path]) -> dict[str, Spans]:
    """What each process noted, in order of time."""
    return {
        f"{process}: {what}": np.array(sorted(spans)).reshape(-1, 2)
        for process, path in notes.items()
        for what, spans in json.loads(path.read_text()).items()
    }


def met(ways: Spans, spans: Spans) -> np.ndarray:
    """Whether each order had one of these spans on its way, at least in part."""
    ends = np.maximum.accumulate(spans[:, 1]) if len(spans) else spans[:, 1]
    first = np.searchsorted(ends, ways[:, 0], "right")
    begun = np.append(spans[:, 0], np.iinfo(np.int64).max)
    found: np.ndarray = begun[first] < ways[:, 1]
    return found


def within(spans: Spans, ways: Spans) -> Spans:
    """Those that lie in the time of these orders: what a process does as it begins delays none of them."""
    found: Spans = spans[(spans[:, 1] > ways[0, 0]) & (spans[:, 0] < ways[-1, 1])]
    return found


def quantiles_us(samples: object) -> list[float]:
    """p50, p99, p99.9 and the longest, µs."""
    return [float(one) / 1000 for one in np.percentile(np.asarray(samples, float), QUANTILES)]


def _words(figures: list[float]) -> str:
    return ", ".join(f"{one:,.0f}" for one in figures)


def _show(name: str, runs: list[Measured]) -> dict:
    """Prints one way: the floor, each hop, the whole, what was going on. Gives the figures."""
    print(f"\n{name}: p50, p99, p99.9, longest, µs", flush=True)
    result: dict = {"floor": {}, "hops": {}, "slowest": {}, "spans": {}}
    for what in ("timer", "socket"):
        figures = result["floor"][what] = quantiles_us(sum((run.floor[what] for run in runs), []))
        line(f"floor: woken by a {what}", _words(figures))
    hops = np.concatenate([run.hops for run in runs])
    for hop, column in zip(HOPS, hops.T):
        figures = result["hops"][hop] = quantiles_us(column)
        line(hop, _words(figures))
    took = [run.ways[:, 1] - run.ways[:, 0] for run in runs]
    figures = result["whole"] = quantiles_us(np.concatenate(took))
    inside = [run.hops[:, 1:-1].sum(axis=1) for run in runs]
    result["inside"] = quantiles_us(np.concatenate(inside))
    result["inside_rounds"] = [[float(one) / 1000 for one in np.percentile(own, (50, SLOW))] for own in inside]
    line(INSIDE, _words(result["inside"]))
    result["orders"] = sum(map(len, took))
    line("tick to order", _words(figures), f"{result['orders']} orders")
    for what in sorted({what for run in runs for what in run.spans}):
        spans = [within(run.spans.get(what, np.empty((0, 2), int)), run.ways) for run in runs]
        if not sum(map(len, spans)):
            continue
        lasted = np.concatenate([one[:, 1] - one[:, 0] for one in spans])
        on_the_way = np.concatenate([met(run.ways, one) for run, one in zip(runs, spans)])
        slow = np.concatenate([one > np.percentile(one, SLOW) for one in took])
        all_share, slow_share = float(on_the_way.mean() * 100), float(on_the_way[slow].mean() * 100)
        result["spans"][what] = quantiles_us(lasted)
        result["slowest"][what] = {"of_all_percent": all_share, "of_slowest_percent": slow_share}
        met_by = f"met by {all_share:.1f} % of all orders, {slow_share:.1f} % of the slowest hundredth"
        if APPEND in what or slow_share >= SHOWN_PERCENT:
            line(what, _words(result["spans"][what]), "" if APPEND in what else met_by)
    return result


def main() -> dict:
    """Prints the figures; gives them by way."""
    import uvloop

    wanted = dict(WAYS)
    if not may_go_first():
        print(f"{REALTIME} is left out: this user may not use SCHED_FIFO (`ulimit -r`, or CAP_SYS_NICE)")
        del wanted[REALTIME]
    if len(os.sched_getaffinity(0)) < 2:
        print("pinned is left out: there is one core")
        wanted = {name: settings for name, settings in wanted.items() if "pin" not in settings}
    count = rounds()
    print(f"the tail, {QUOTES_PER_S} quotes/s; {os.cpu_count()} cores, exchange included; {count} rounds, together")
    print(f"noted by each process: {GC} (collections, by generation), {SYNC}, {COMMIT}, {APPEND}")
    runs: dict[str, list[Measured]] = {name: [] for name in wanted}
    for _ in range(count):
        for name, settings in wanted.items():
            runs[name].append(uvloop.run(measured(settings)))
    results = {name: _show(name, own) for name, own in runs.items()}
    print(f"\n{INSIDE}, beside as it is: p50 and p99, medians of the rounds' ratios")
    for name, result in results.items():
        ratios = np.median(np.array(result["inside_rounds"]) / np.array(results[PLAIN]["inside_rounds"]), axis=0)
        result["to_plain"] = ratios.tolist()
        line(name, f"{ratios[0]:.2f}, {ratios[1]:.2f}")
    return {"rounds": count, "seconds": SECONDS, "cores": os.cpu_count(), "results": results}


if __name__ == "__main__":
    main()
