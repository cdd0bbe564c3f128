"""`make soak HOURS=8`: the default market for hours, a kill a minute, and what grows meanwhile; it fails beyond the bounds.

`python -m bench.soak [--hours H] [--csv FILE] [--json FILE]`; as `python -m bench soak` it takes TICKMESH_BENCH_SOAK_S (1,800)
seconds. Every SAMPLE_S the memory and descriptors of every process are read, the files and bytes of the mesh's folder by part,
and the hop from a line's receipt to the log. bench/soak_verdict.py has the bounds. Ctrl-C ends it, and it reports what it saw.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.capture import mesh, place, processes
from bench.floor import line, nothing_left
from bench.soak_verdict import SPAN_S_MIN, WARM_S, Sample, judge, judge_disk
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.tools.progress import progress

SAMPLE_S = 10.0
KILL_S = 60.0
BENCH_S = 1800.0
SPARED = ("exchange",)  # the venue is not ours; its restarts are the sweep's
SETTLED_S = 30.0  # before the first kill
PARTS = ("log", "recent", "exchange", "archive")
MB = 1 << 20
Figures = dict[tuple[str, str], list[Sample]]


def memory_of(pid: int) -> dict[str, float]:
    """MB of a process: resident, its share of what is shared (PSS), and its anonymous memory.

    Anonymous memory counts the pages that it shares with others as whole ones: as an n-th each they would grow with every
    process that shares them and dies, or changes its own copy.
    """
    fields = {}
    for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = row.partition(":")
        fields[name] = int(rest.split()[0]) / 1024
    return {"rss_mb": fields["Rss"], "pss_mb": fields["Pss"], "anonymous_mb": fields["Anonymous"]}


def part_of(path: Path, config: Config) -> str:
    """Which part of the mesh's data a file belongs to: one of PARTS, or other."""
    folders = {
        "log": config.log_dir, "recent": config.recent_dir, "exchange": config.exchange_dir, "archive": config.archive_dir,
    }  # fmt: skip
    return next((part for part, folder in folders.items() if path.is_relative_to(folder)), "other")


def disk_of(config: Config, root: Path) -> tuple[dict[str, int], int]:
    """(bytes on disk by part, files): blocks that are taken, not the length that a sparse file says."""
    sizes, files = dict.fromkeys((*PARTS, "other"), 0), 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                taken = os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue  # removed meanwhile
            sizes[part_of(Path(folder) / name, config)] += taken
            files += 1
    return sizes, files


class Soak:
    """A run: samples, kills, and what was seen."""

    def __init__(self, root: Path, seconds: float):
        self.root, self.seconds, self.config = root, seconds, load(root)
        self.figures: Figures = {}
        self.rows: list[tuple[float, str, int, str, float]] = []
        self.disk: list[tuple[dict[str, int], int]] = []  # bytes by part, and the log's last seq
        self.kills = 0
        self.ended_early = False
        self._read_seq = 0
        self._random = random.Random(1)

    def run(self) -> None:
        """Samples and kills until the time is over, or Ctrl-C."""
        begun = time.monotonic()
        next_sample, next_kill = begun, begun + SETTLED_S
        with progress("soak, seconds") as shown:
            try:
                while (now := time.monotonic()) - begun < self.seconds:
                    if now >= next_sample:
                        self.sample(now - begun)
                        next_sample += SAMPLE_S
                    if now >= next_kill:
                        self.kill()
                        next_kill += KILL_S
                    shown(int(now - begun), int(self.seconds))
                    time.sleep(max(min(next_sample, next_kill, now + 1.0) - time.monotonic(), 0.0))
            except KeyboardInterrupt:
                self.ended_early = True

    def kill(self) -> None:
        """Kills one process, any but the venue."""
        there = {name: process for name, process in processes(self.root).items() if name not in SPARED}
        if there:
            name = self._random.choice(sorted(there))
            try:
                there[name].send_signal(signal.SIGKILL)
                self.kills += 1
            except psutil.NoSuchProcess:
                pass

    def sample(self, at_s: float) -> None:
        """Reads every figure once."""
        for name, process in processes(self.root).items():
            try:
                seen = memory_of(process.pid) | {"descriptors": float(process.num_fds())}
            except (psutil.Error, OSError, KeyError):
                continue  # killed meanwhile
            for what, value in seen.items():
                self._note(at_s, name, process.pid, what, value)
        sizes, files = disk_of(self.config, self.root)
        self.disk.append((sizes, LogReader(self.config.log_dir).last))
        for part, size in sizes.items():
            self._note(at_s, "disk", 0, f"{part}_mb", size / MB)
        self._note(at_s, "mesh", 0, "files", float(files))
        hops = list(self._hops())
        if hops:
            for what, share in (("hop_ms", 50), ("hop_p99_ms", 99)):
                self._note(at_s, "mesh", 0, what, float(np.percentile(hops, share)))

    def _note(self, at_s: float, whose: str, life: int, what: str, value: float) -> None:
        self.figures.setdefault((whose, what), []).append(Sample(at_s, life, value))
        self.rows.append((round(at_s, 1), whose, life, what, round(value, 3)))

    def _hops(self) -> Iterator[float]:
        """Milliseconds from receipt to the log, of the market's events since the last look."""
        reader = LogReader(self.config.log_dir)
        last = reader.last
        if self._read_seq:
            for event in reader.events(self._read_seq, last):
                if event.kind in (Kind.trade, Kind.quote, Kind.depth) and event.recv_ns:
                    yield (event.seq_ns - event.recv_ns) / 1e6
        self._read_seq = last

    def result(self) -> dict[str, Any]:
        """What `--json` prints."""
        if not self.disk:
            raise SystemExit("the soak ended before it had seen anything")
        slopes, wrong = judge(self.figures)
        (first, first_seq), (last, last_seq) = self.disk[0], self.disk[-1]
        bytes_an_event, too_much = judge_disk(first, last, last_seq - first_seq)
        return {
            "ok": not (wrong or too_much), "wrong": wrong + too_much, "ended_early": self.ended_early, "kills": self.kills,
            "seconds": self.rows[-1][0],
            "untold": sorted({whose for whose, _ in self.figures} - slopes.keys()),
            "events": last_seq - first_seq, "disk_bytes": last, "bytes_an_event": bytes_an_event,
            "slopes": {whose: {what: one._asdict() for what, one in own.items()} for whose, own in slopes.items()},
        }  # fmt: skip


def soak(seconds: float, table: Path | None = None) -> dict[str, Any]:
    """Runs a mesh of its own so long; gives the result. `table`: a CSV of every sample."""
    root = place("")
    run = Soak(root, seconds)
    try:
        mesh(root, "up", "--json")
        run.run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C may not leave a mesh behind
        mesh(root, "down")
        if table is not None and run.rows:
            with open(table, "w", newline="") as file:
                csv.writer(file).writerows([("at_s", "whose", "pid", "what", "value"), *run.rows])
        shutil.rmtree(root, ignore_errors=True)
    return run.result()


def show(result: dict[str, Any]) -> None:
    """Prints the slopes and the verdict."""
    print(f"soak: {result['seconds']:,.0f} s, {result['kills']} kills, {result['events']:,} events in the log")
    for whose, own in sorted(result["slopes"].items()):
        words = [f"{what} {one['an_hour']:+.1f} ± {one['error']:.1f}" for what, one in own.items()]
        line(f"  {whose}, an hour", "", ", ".join(words))
    for part, grown in result["bytes_an_event"].items():
        line(f"  disk, {part}", f"{result['disk_bytes'][part] / MB:,.1f} MB", f"{grown:,.0f} bytes an event")
    if result["untold"]:
        print(
            f"no life of {', '.join(result['untold'])} was long enough to tell; it takes {(WARM_S + SPAN_S_MIN) / 60:g} minutes"
        )
    print("\n".join(result["wrong"]) or ("nothing grows beyond its bound" + ("; ended early" if result["ended_early"] else "")))


def main() -> dict[str, float]:
    """As one of the benches."""
    result = soak(float(os.environ.get("TICKMESH_BENCH_SOAK_S") or BENCH_S))
    show(result)
    return {f"soak_{part}_bytes_an_event": grown for part, grown in result["bytes_an_event"].items()}


def command(words: list[str]) -> int:
    """As `make soak`: exit status 1 when something grows."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--csv", type=Path, help="a file for every sample")
    parser.add_argument("--json", type=Path, help="a file for the result")
    asked = parser.parse_args(words)
    with nothing_left():
        result = soak(asked.hours * 3600, asked.csv)
    show(result)
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(command(sys.argv[1:]))
