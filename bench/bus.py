"""One bus hop against bare pyzmq; the log's append and read; the sequencer one by one and batched.

Each hop sends from one process to another and back over real sockets, at a stated rate, since on a virtual machine the
rate decides how deep the cores sleep.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zmq

from bench.floor import line, microseconds, throw_away_mesh
from tickmesh.bus.intake import Cursor, Intake, Received
from tickmesh.bus.layout import event_size
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import QUOTE, Kind
from tickmesh.bus.sockets import Places, Producer, Publisher, Subscriber
from tickmesh.bus.topics import Lane
from tickmesh.bus.wire import encode, stamp_sequenced
from tickmesh.nodes.sequencer.node import Sequencer

EVENTS = 3000


def quote(update_id: int) -> bytearray:
    record = np.zeros(1, QUOTE)
    record["update_id"] = update_id
    return encode(Kind.quote, "binance.BTCUSDT", record, first_id=update_id, last_id=update_id)


def pace(count: int, per_s: float) -> Iterator[int]:
    """Yields 0…count−1 at the rate, sleeping between as a quiet process does."""
    start = time.perf_counter()
    for i in range(count):
        ahead = start + i / per_s - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        yield i


def _hop_publisher(root: str, per_s: float, count: int) -> None:
    from tickmesh.bus.config import load

    config = load(Path(root))
    log = LogWriter(config.log_dir)
    publisher = Publisher(config, log, [0, 0, 0])
    time.sleep(0.5)
    for i in pace(count, per_s):
        event = quote(i)
        stamp_sequenced(event, log.last + 1, log.last, time.time_ns())
        publisher.publish(log.last + 1, [event])
    time.sleep(0.3)


def _bare_publisher(path: str, per_s: float, count: int) -> None:
    pub: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    pub.bind(f"ipc://{path}")
    time.sleep(0.5)
    body = bytes(event_size(Kind.quote, 1))
    for _ in pace(count, per_s):
        pub.send(time.time_ns().to_bytes(8, "little") + body)
    time.sleep(0.3)


def bus_hop(per_s: float, count: int) -> list[int]:
    """ns from the sequencer's stamp before the append to the subscriber's decoded event."""
    config = throw_away_mesh()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_hop_publisher, args=(config.root, per_s, count))
    subscriber = Subscriber(config, frozenset(Lane))
    process.start()
    poller = zmq.Poller()
    poller.register(subscriber._sub, zmq.POLLIN)
    out: list[int] = []
    quiet = time.monotonic() + 5
    while len(out) < count and time.monotonic() < quiet:
        poller.poll(100)
        for event in subscriber.drain():
            out.append(time.time_ns() - event.seq_ns)
            quiet = time.monotonic() + 2
    process.join()
    shutil.rmtree(config.root)
    return out[count // 10 :]


def bare_hop(per_s: float, count: int) -> list[int]:
    path = f"/tmp/tickmesh-bench-{os.getpid()}"
    spawn = multiprocessing.get_context("spawn")
    sub: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    sub.subscribe(b"")
    process = spawn.Process(target=_bare_publisher, args=(path, per_s, count))
    sub.connect(f"ipc://{path}")
    process.start()
    out: list[int] = []
    while len(out) < count * 0.95 and sub.poll(5000):
        data = sub.recv()
        out.append(time.time_ns() - int.from_bytes(data[:8], "little"))
    process.join()
    return out[count // 10 :]


def log_rates() -> None:
    config = throw_away_mesh()
    writer = LogWriter(config.log_dir)
    event = quote(1)
    count = 100_000

    def timed(per_batch: int) -> float:
        start = time.perf_counter()
        for _ in range(0, count, per_batch):
            writer.append(writer.last + 1, [event] * per_batch)
        return count / (time.perf_counter() - start)

    fd = os.open(config.root / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = time.perf_counter()
    for _ in range(count):
        os.write(fd, event)
    floor = count / (time.perf_counter() - start)
    one, many = timed(1), timed(200)
    line("log append, one by one", f"{one:,.0f} events/s", f"{floor:,.0f} bare writes/s", one / floor)
    line("log append, 200 at a time", f"{many:,.0f} events/s", f"{floor:,.0f} bare writes/s", many / floor)
    writer.close()
    size = sum(path.stat().st_size for path in config.log_dir.glob("*.seg"))
    start = time.perf_counter()
    for path in config.log_dir.glob("*.seg"):
        path.read_bytes()
    floor_s = time.perf_counter() - start
    start = time.perf_counter()
    read = sum(1 for _ in LogReader(config.log_dir).events())
    seconds = time.perf_counter() - start
    line("log read, decoded", f"{read / seconds:,.0f} events/s", f"{size / floor_s / 1e6:,.0f} MB/s of bare reads")
    shutil.rmtree(config.root)


def sequencer_rates() -> None:
    config = throw_away_mesh()
    sequencer = Sequencer(config)
    count = 50_000
    sequencer.position.cursors["feed-1"] = Cursor(1, 0)
    figures = []
    for per_batch in (1, 200):
        taken = [Received("feed-1", 1, i, quote(per_batch * 10_000_000 + i)) for i in range(count)]
        start = time.perf_counter()
        for i in range(0, count, per_batch):
            sequencer.sequence(taken[i : i + per_batch])
        figures.append(count / (time.perf_counter() - start))
    line("sequencer: arbitrate, append, ring, one by one", f"{figures[0]:,.0f} events/s")
    line("sequencer, 200 at a time", f"{figures[1]:,.0f} events/s", f"{figures[0]:,.0f} one by one", figures[1] / figures[0])
    sequencer.close()
    shutil.rmtree(config.root)


def producer_cost() -> None:
    config = throw_away_mesh()
    intake = Intake(config, {})
    producer = Producer(config, "feed-1")
    places = Places(config)
    bare: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
    bare.sndhwm = 20_000
    bare.connect(places.intake)
    event = bytes(quote(1))
    count = 5000
    start = time.perf_counter()
    for _ in range(count):
        bare.send(event, zmq.NOBLOCK)
    floor = (time.perf_counter() - start) / count * 1e6
    bare.close()
    start = time.perf_counter()
    for i in range(count):
        producer.publish([quote(i)])
    ours = (time.perf_counter() - start) / count * 1e6
    line("producer: encode, append to outbox, ring", f"{ours:.1f} µs", f"{floor:.1f} µs a bare PUSH", ours / floor)
    intake.close()
    producer.close()
    shutil.rmtree(config.outbox_dir, ignore_errors=True)
    shutil.rmtree(config.root)


def two_lines(count: int = 20_000, part: int = 2000) -> None:
    """What the sequencer takes, from the ring to the log, for the first event of an id, and for the other line's copy."""
    config = throw_away_mesh()
    sequencer = Sequencer(config)
    lines = Producer(config, "feed-binance-1"), Producer(config, "feed-binance-2")
    seconds: list[list[float]] = [[], []]
    for begin in range(0, count, part):
        for producer, taken in zip(lines, seconds):
            for i in range(begin, begin + part):
                producer.publish([quote(i + 1)])
            taken.append(0.0)
            cursor = sequencer.intake.cursors.setdefault(producer.name, Cursor())
            while cursor.number < producer.number:
                before = time.thread_time()
                sequencer.turn()
                taken[-1] += time.thread_time() - before
    first, copy = (float(np.median(own)) / part * 1e6 for own in seconds)
    line("sequencer: a first, its copy on another line", f"{first:.1f} µs, {copy:.1f} µs of the processor")
    sequencer.close()
    for producer in lines:
        producer.close()
    shutil.rmtree(config.root)


def main() -> None:
    print("bus")
    for per_s in (100, 1000, 10_000):
        count = min(EVENTS, int(per_s * 4))
        bare = microseconds(bare_hop(per_s, count))
        ours = microseconds(bus_hop(per_s, count))
        line(
            f"one hop at {per_s:,} events/s (p50, p99)", f"{ours[0]:.0f} µs, {ours[1]:.0f} µs",
            f"pyzmq {bare[0]:.0f} µs, {bare[1]:.0f} µs", ours[0] / bare[0],
        )  # fmt: skip
    producer_cost()
    log_rates()
    sequencer_rates()
    two_lines()


if __name__ == "__main__":
    main()
