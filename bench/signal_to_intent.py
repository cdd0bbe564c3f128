"""Signal in → intent out, inside the executor: its step alone, and with the process's own work around it.

The state is a realistic one: three instruments, three strategies of which two have orders resting, limits of both kinds, and
as many final orders as it ever remembers. Each signal comes after a quote, and its order is filled before the next.
With the process's work: the signal is decoded from its bytes, and the intent is stamped, appended to the outbox and sent.
"""

import shutil
import time

import numpy as np

from bench.floor import line, microseconds, throw_away_mesh
from tickmesh.bus.config import Config
from tickmesh.bus.intake import Intake
from tickmesh.bus.schema import FILL, INSTRUMENT, QUOTE, SIGNAL, UPDATE, Kind, Status
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import Event, decode, encode, kind_of
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.executor.state import CLOSED_ORDERS
from tickmesh.nodes.runner.step import StepRunner
from tickmesh.tools.simulation.simulated_log import SimulatedLog

SIGNALS = 5000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BID, ASK, LOTS = 6_000_000_000_000, 6_000_001_000_000, 100_000
MS = 1_000_000
SETTINGS = {
    "instruments": [{"symbol": symbol} for symbol in SYMBOLS],
    "executor": {"instruments": ["*"], "orders_per_s": 1000.0, "order_ttl_ms": 600_000, "order_quantity": "0.001"},
    "risk": {"notional_max": "100000000", "price_collar": 0.1, "daily_loss_max": "100000000", "messages_per_s": 1000.0},
    "strategies": [
        {"name": "taker", "models": ["imbalance"], "styles": ["market"], "position_max": "1000", "notional_max": "100000000"},
        {"name": "maker", "models": ["flow"], "styles": ["limit"], "position_max": "1000"},
        {"name": "other", "models": ["flow"], "styles": ["limit_maker"], "position_max": "1000"},
    ],
}  # fmt: skip


class Scene:
    """A log that feeds one executor, and a venue that fills at once what its taker orders."""

    def __init__(self, step: executor.Step, name: str):
        self.log = SimulatedLog(step)
        self.step, self._name = step, name
        self._trades = 0
        self.now_ns = 1_760_000_000 * 1000 * MS
        self.log.open(self.now_ns)
        for symbol in SYMBOLS:
            row = np.array([(-8, -8, 1_000_000, 1000, 1000, 0, 0)], INSTRUMENT)
            self.add(encode(Kind.instrument, f"binance.{symbol}", row), "feed-1")
            self.quote(f"binance.{symbol}", 0)
            for signal in (self.signal(f"binance.{symbol}", 1.0, "flow"), self.signal(f"binance.{symbol}", 1.0, "flow")):
                for own in self.add(signal, "model-flow"):
                    self.accept(own)

    def add(self, event: bytearray, producer: str) -> list[Event]:
        """Appends an event a little later; gives what the executor said to it."""
        self.now_ns += 200_000
        return self.log.add(event, producer, self.now_ns)

    def quote(self, subject: str, number: int) -> None:
        """A quote that is not that of before."""
        row = np.array([(number, BID, 5 * LOTS + number % 7, ASK, 5 * LOTS, 0)], QUOTE)
        self.add(encode(Kind.quote, subject, row), "feed-1")

    def signal(self, subject: str, value: float, model: str) -> bytearray:
        """A signal of what the log has last."""
        row = np.array([(model.encode(), value, np.nan, 0, BID)], SIGNAL)
        return encode(Kind.signal, subject, row, cause_seq=self.log.seq)

    def accept(self, own: Event, fill: bool = False) -> None:
        """The venue takes the order of an intent, and fills it."""
        if own.kind != Kind.intent:
            return
        intent = own.records[0]
        update = np.zeros(1, UPDATE)
        for name in ("client_order_id", "side", "order_type", "time_in_force", "price_ticks", "quantity_lots"):
            update[name] = intent[name]
        update["order_id"], update["status"] = own.seq, Status.New
        self.add(encode(Kind.update, own.subject, update), "session")
        if fill:
            self._trades += 1
            row = np.zeros(1, FILL)
            row["client_order_id"], row["side"], row["trade_id"] = intent["client_order_id"], intent["side"], self._trades
            row["price_ticks"], row["quantity_lots"] = ASK if intent["side"] > 0 else BID, intent["quantity_lots"]
            row["fee"], row["fee_asset"] = 6_000_000, b"USDT"
            self.add(encode(Kind.fill, own.subject, row), "session")
            update["status"], update["filled_lots"] = Status.Filled, intent["quantity_lots"]
            self.add(encode(Kind.update, own.subject, update), "session")

    def respond(self, answers: list[bytearray]) -> None:
        """Logs what the executor answered, has it read back, and fills it."""
        for answer in answers:
            for own in [self.log.stamped(answer, self._name)]:
                self.step.step([own])
                self.accept(own, fill=True)

    def next_signal(self, number: int) -> Event:
        """The next signal of the taker's model in the log, after a quote; not told to the executor yet."""
        subject = f"binance.{SYMBOLS[number % len(SYMBOLS)]}"
        self.quote(subject, number)
        self.now_ns += 200_000
        self.log.now_ns = self.now_ns
        # always to the side on which the others rest: against them it would net, and order nothing
        return self.log.stamped(self.signal(subject, 1.0, "imbalance"), "model-imbalance")


def _timed(scene: Scene, answer) -> list[int]:
    """ns of `answer(signal)`, which gives the answers, over SIGNALS signals; what is remembered is full by then."""
    times = []
    for number in range(CLOSED_ORDERS + SIGNALS):
        signal = scene.next_signal(number)
        begin = time.perf_counter_ns()
        answers = answer(signal)
        took = time.perf_counter_ns() - begin
        if not any(kind_of(one) == Kind.intent for one in answers):
            raise RuntimeError(f"signal {number} became no order: {scene.step.counters()}")
        if number >= CLOSED_ORDERS:
            times.append(took)
        scene.respond(answers)
    return times


def step_alone() -> list[int]:
    """The step, given a decoded signal."""
    config = throw_away_mesh(**SETTINGS)
    try:
        step = executor.Step(config, "")
        return _timed(Scene(step, step.name), lambda signal: step.step([signal]))
    finally:
        _remove(config)


def with_its_io() -> list[int]:
    """From the signal's bytes, as they come off the socket, to the intent in the outbox and on the ring."""
    config = throw_away_mesh(**SETTINGS)
    intake = Intake(config, {})
    producer = Producer(config, "executor")
    try:
        runner = StepRunner(executor, config, "executor", "")
        assert isinstance(runner.step, executor.Step)

        def answer(signal: Event) -> list[bytearray]:
            fresh = runner.live([decode(signal.raw)])
            producer.publish(fresh)
            return [bytearray(event) for event in fresh]

        return _timed(Scene(runner.step, "executor"), answer)
    finally:
        intake.close()
        producer.close()
        _remove(config)


def _remove(config: Config) -> None:
    for folder in (*config.outbox_dirs, config.root):
        shutil.rmtree(folder, ignore_errors=True)


def main() -> dict:
    """Prints p50 and p99; gives them."""
    print(f"signal in, intent out, inside the executor: {len(SYMBOLS)} instruments, {len(SETTINGS['strategies'])} strategies")
    figures = {}
    for name, measured in (("step alone", step_alone), ("with decoding, outbox and ring", with_its_io)):
        p50, p99 = microseconds(measured())
        figures[name] = {"p50_us": p50, "p99_us": p99}
        line(f"{name} (p50, p99)", f"{p50:.1f} µs, {p99:.1f} µs")
    return figures


if __name__ == "__main__":
    main()
