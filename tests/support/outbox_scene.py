"""Outboxes on a tmpfs that fills: scenes that run in a namespace of their own (small_tmpfs.py), the tmpfs at TICKMESH_TMPFS."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tickmesh.bus.blocked import read_blocked
from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config, load
from tickmesh.bus.intake import Intake
from tickmesh.bus.log import LogReader
from tickmesh.bus.outbox_room import used_in
from tickmesh.bus.process import Context
from tickmesh.bus.schema import TRADE, Kind
from tickmesh.bus.segments import segments
from tickmesh.bus.sockets import OutboxFull, Producer
from tickmesh.bus.wire import encode
from tickmesh.tools.blocked import blocked

BLOCK = bytes(1 << 16)


def trade(i: int) -> bytearray:
    record = np.zeros(1, TRADE)
    record["trade_id"] = i
    return encode(Kind.trade, "binance.BTCUSDT", record, first_id=i, last_id=i)


def fill(folder: Path) -> Path:
    """Writes a file there until nothing goes in any more."""
    ballast = folder / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        size = len(BLOCK)
        while size:
            try:
                if file.write(BLOCK[:size]) == size:
                    continue
            except OSError:
                pass
            size //= 2
    return ballast


def until(condition: Callable[[], object], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def trades_in(config: Config, producer: str) -> list[int]:
    return [event.last_id for event in LogReader(config.outbox(producer)).events() if event.kind == Kind.trade]


def places_of(config: Config, producer: str) -> list[str]:
    """Of each segment, in order: where it lies."""
    ram = config.outbox_dirs[0]
    return ["ram" if path.is_relative_to(ram) else "disk" for _, path in segments(config.outbox(producer))]


def alerts(config: Config, producer: str) -> list[str]:
    found = [event.map() for event in LogReader(config.outbox(producer)).events() if event.kind == Kind.alert]
    return [f"{one['level']} {one['what']}: {one['why']}" for one in found]


def full_tmpfs(root: Path) -> None:
    """It fills under a producer, and before another one starts: both go on on disk, in order, and go back by themselves."""
    config, tmpfs = load(root), Path(os.environ["TICKMESH_TMPFS"])
    first = Producer(config, "feed-1")
    for i in range(1, 101):
        first.publish([trade(i)])
    assert places_of(config, "feed-1") == ["ram"]
    ballast = fill(tmpfs)
    for i in range(101, 2001):
        first.publish([trade(i)])
    assert places_of(config, "feed-1")[:2] == ["ram", "disk"] and set(places_of(config, "feed-1")[1:]) == {"disk"}
    second = Producer(config, "feed-2")
    second.publish([trade(1)])
    assert places_of(config, "feed-2") == ["disk"], "it starts on a full tmpfs"
    first.close()
    first = Producer(config, "feed-1")
    assert first.number > 2000, "a successor finds the numbers on disk"
    first.publish([trade(2001)])
    ballast.unlink()
    time.sleep(0.6)  # RAM is looked at twice a second
    for producer, i in ((first, 2002), (second, 2)):
        producer.publish([trade(i)])
        producer.publish([trade(i + 1)])
    assert places_of(config, "feed-1")[-1] == places_of(config, "feed-2")[-1] == "ram", "back by itself"
    assert trades_in(config, "feed-1") == list(range(1, 2004)) and trades_in(config, "feed-2") == [1, 2, 3]
    said = alerts(config, "feed-1")
    assert said[0].startswith("warning outbox: RAM has no room") and said[-1].endswith("has room again"), said
    intake = Intake(config, {})
    taken: list[int] = []
    while len(taken) < first.number + second.number:
        got = intake.receive() + intake.sweep(0)
        assert got, f"{len(taken)} were taken"
        taken += [one.number for one in got if one.producer == "feed-1"]
        taken += [0 for one in got if one.producer == "feed-2"]
    assert [number for number in taken if number] == list(range(1, first.number + 1)), "once, and in order"
    intake.release({"feed-1": first.number, "feed-2": second.number})
    assert places_of(config, "feed-1") == places_of(config, "feed-2") == ["ram"], "the disk's are released as well"
    print("held")


def full_tmpfs_and_disk(root: Path) -> None:
    """Neither has room: it says so in run/blocked, on standard error and in `mesh status`, and goes on in order by itself."""
    config, tmpfs = load(root), Path(os.environ["TICKMESH_TMPFS"])
    data = root / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", data], check=True)
    producer = Producer(config, "feed-1")
    producer.publish([trade(1)])
    ballasts = [fill(tmpfs), fill(data)]
    said = ""
    i = 1
    while not said:
        i += 1
        try:
            producer.publish([trade(i)])
        except OutboxFull as full:
            said = str(full)
    assert str(tmpfs) in said and str(data) in said and "0 bytes" in said, said
    (entry,) = read_blocked(config.run_dir)
    assert entry.node == "feed-1" and entry.pid == os.getpid() and entry.why[:60] == said[:60]
    (shown,) = blocked(config)
    assert shown["node"] == "feed-1" and shown["since_s"] < 60 and str(data) in shown["why"]
    ballasts[1].unlink()
    producer.publish([trade(i)])
    assert blocked(config) == []
    assert places_of(config, "feed-1") == ["ram", "disk"], "room on disk is enough"
    assert trades_in(config, "feed-1") == list(range(1, i + 1))
    assert any("published nothing for" in alert for alert in alerts(config, "feed-1"))
    print("held")


def full_run_folder(root: Path) -> None:
    """A process that begins on a full disk does its job; that it does is written over what its predecessor wrote, or later."""
    config, run = load(root), Path(os.environ["TICKMESH_TMPFS"])
    assert config.run_dir == run
    ready = run / "ready/feed-1.json"

    async def begin(meanwhile: Callable[[], object]) -> None:
        ctx = Context(config, "feed-1")
        ctx.ready()
        meanwhile()
        while not ready.exists() or json.loads(ready.read_text())["ready_ns"] < begun_ns:
            await asyncio.sleep(0.02)
        ctx.publish([trade(1)])
        await ctx.close()

    ballast = fill(run)
    begun_ns = now_ns()
    assert not ready.exists()
    asyncio.run(asyncio.wait_for(begin(ballast.unlink), 60))
    fill(run)
    begun_ns = now_ns()
    asyncio.run(asyncio.wait_for(begin(lambda: None), 60))
    assert json.loads(ready.read_text())["pid"] == os.getpid() and not list(run.glob("ready/*.new"))
    print("held")


def small_for_many(root: Path) -> None:
    """Sixteen producers and a sequencer on a tmpfs that their newest segments alone would fill: nothing stops, nothing spills.

    Then something else fills it, and is removed.
    """
    config, tmpfs = load(root), Path(os.environ["TICKMESH_TMPFS"])
    ready = config.run_dir / "ready/sequencer.json"
    process = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "sequencer"], cwd=root)
    try:
        until(lambda: ready.exists() and json.loads(ready.read_text())["pid"] == process.pid, lambda: process.poll())
        producers = [Producer(config, f"backfill-{n}") for n in range(16)]
        published = 0

        def publish(rounds: int) -> None:
            nonlocal published
            for _ in range(rounds):
                for producer in producers:
                    producer.publish([encode(Kind.refusal, producer.name, {"node": "x", "raw": bytes(3000)})])
                published += len(producers)
                time.sleep(0.001)

        def logged() -> int:
            return sum(event.kind == Kind.refusal for event in LogReader(config.log_dir).events())

        for _ in range(10):  # 5 MB in all, through 8 MiB
            publish(10)
            until(lambda: used_in(config.outbox_dir) < 3 << 20, lambda: used_in(config.outbox_dir))
        until(lambda: logged() == published, lambda: (logged(), published))
        assert not any(producer.spills for producer in producers)
        ballast = fill(tmpfs)
        publish(60)
        assert all(producer.spills for producer in producers)
        until(lambda: logged() == published, lambda: (logged(), published))
        ballast.unlink()
        time.sleep(0.6)
        publish(2)
        until(lambda: logged() == published, lambda: (logged(), published))
        assert {places_of(config, producer.name)[-1] for producer in producers} == {"ram"}
        words = [event.map()["why"] for event in LogReader(config.log_dir).events() if event.kind == Kind.alert]
        assert sum("RAM has no room" in why for why in words) == sum("has room again" in why for why in words) == 16, words
    finally:
        process.terminate()
        process.wait(30)
    print("held")
