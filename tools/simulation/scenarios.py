"""The markets that execution styles are tried on: the local exchange's own, calm and in an outage, and real captures."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import NamedTuple

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.settings import ExchangeSettings, InstrumentSettings, Mesh
from tickmesh.bus.settings_trading import ExecutorSettings, StrategySettings
from tickmesh.nodes.exchange.market.captures import RecordedFrame, lines_of
from tickmesh.nodes.exchange.market.fees import PPM
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM, market_name
from tickmesh.nodes.exchange.protocol import mantissa
from tickmesh.nodes.executor.node import Step
from tickmesh.nodes.executor.styles.table import SCHEDULES
from tickmesh.tools.simulation import markets
from tickmesh.tools.simulation.markets import MS, START_MS, MadeUpMarket, SimulatedMarket
from tickmesh.tools.simulation.trial import MODEL, ParentOutcome, Trial, TrialTerms

SECOND = 1_000_000_000
GAP_S = 1  # between two parents, so that the answers to the one's orders are there
WARM_S = 5  # of a market before its first parent
OVERLOAD_S = 3 * (10 + GAP_S) + 2  # as long as three parents take
CALM_S = 20  # between two overloads
SLICES = 5
SLIPPAGE_MAX_BP = 5.0  # of sweep, from arrival
NO_FOLDER = Path("/nonexistent")  # settings without a mesh
# Spot with a maker rate below the taker rate, or post-only could not save anything; USD-M's are the venue's own (first tier).
FEES = ExchangeSettings(maker_fee_ppm=900, taker_fee_ppm=1000, usdm_maker_fee_ppm=200, usdm_taker_fee_ppm=500)


class Scenario(NamedTuple):
    """One market. `quantity`: of each parent, in the base currency; `window_s`: how long a parent has."""

    name: str
    title: str
    symbol: str
    quantity: str
    window_s: int
    capture: tuple[str, ...] = ()  # files below the folder of the captures; none: the made-up market
    venue: str = SPOT
    overloads: bool = False

    @property
    def taker_fee(self) -> float:
        """The share that a taker pays."""
        return (FEES.usdm_taker_fee_ppm if self.venue == USDM else FEES.taker_fee_ppm) / PPM

    @property
    def maker_fee(self) -> float:
        """The share that a maker pays."""
        return (FEES.usdm_maker_fee_ppm if self.venue == USDM else FEES.maker_fee_ppm) / PPM


SCENARIOS = (
    Scenario("made-up", "the local exchange's made-up market, BTCUSDT spot", "BTCUSDT", "0.1", 10),
    Scenario("outage", "the same in an outage: only market orders get through", "BTCUSDT", "0.1", 10, overloads=True),
    Scenario(
        "btc-spot", "capture of BTCUSDT spot, 2024-08-08 and 09", "BTCUSDT", "0.1", 10,
        ("hftbacktest/spot/btcusdt_20240808.gz", "hftbacktest/spot/btcusdt_20240809.gz"),
    ),
    Scenario(
        "btc-usdm", "capture of BTCUSDT USD-M, 2024-08-08", "BTCUSDT", "0.1", 10,
        ("hftbacktest/usdm/btcusdt_20240808.gz",), USDM,
    ),
    Scenario(
        "nexo-spot", "capture of NEXOUSDT spot, 2024-07-23 and 24", "NEXOUSDT", "400", 60,
        ("hftbt_playground/raw/spot/nexousdt_20240723.dat.gz", "hftbt_playground/raw/spot/nexousdt_20240724.dat.gz"),
    ),
)  # fmt: skip


def read_frames(scenario: Scenario, data: Path) -> list[RecordedFrame]:
    """The frames of a scenario's capture. Raises OSError where a file of it is not there."""
    lines = _lines(data / name for name in scenario.capture)
    return markets.read_frames(lines, market_name(scenario.venue, scenario.symbol))


def _lines(paths: Iterator[Path]) -> Iterator[str]:
    for path in paths:
        with path.open("rb") as file:
            yield from lines_of(file)


def plan(scenario: Scenario, parents: int, frames: list[RecordedFrame]) -> list[tuple[int, ...]]:
    """When each parent begins, in ns from the beginning of the market: a tuple for each pass through it.

    A capture that is too short for all parents is passed several times, at other moments each time.
    """
    each_ns = (scenario.window_s + GAP_S) * SECOND
    if scenario.overloads:
        cycle_ns = (CALM_S + OVERLOAD_S) * SECOND
        return [tuple(CALM_S * SECOND + (n // 3) * cycle_ns + (n % 3) * each_ns + SECOND for n in range(parents))]
    if not frames:
        return [tuple(WARM_S * SECOND + n * each_ns for n in range(parents))]
    span_ns = frames[-1].recv_ns - frames[0].recv_ns - (WARM_S + scenario.window_s) * SECOND
    room = max(span_ns // each_ns, 1)
    passes = ceil(parents / room)
    in_each = ceil(parents / passes)
    every_ns = max(span_ns // in_each, each_ns)
    return [
        tuple(WARM_S * SECOND + n * every_ns + number * every_ns // passes for n in range(in_each)) for number in range(passes)
    ]


def build_market(scenario: Scenario, frames: list[RecordedFrame], seed: int, last_ns: int) -> SimulatedMarket:
    """The market of a scenario from its beginning; of a made-up one `last_ns` is when its last parent begins."""
    settings = msgspec.structs.replace(FEES, seed=seed)
    if scenario.capture:
        return markets.replayed(scenario.symbol, scenario.venue, frames, settings)
    overloads = []
    if scenario.overloads:
        cycle, start = (CALM_S + OVERLOAD_S) * SECOND, START_MS * MS
        begins = range(start + CALM_S * SECOND, start + last_ns + 1, cycle)
        overloads = [(begin, begin + OVERLOAD_S * SECOND) for begin in begins]
    return MadeUpMarket(scenario.symbol, settings, overloads)


def build_step(scenario: Scenario, style: str) -> Step:
    """An executor with one strategy of one style, and with limits that never bind."""
    window_ms = scenario.window_s * 1000
    patience_ms = window_ms // (SLICES * 2 if style in SCHEDULES else 2)
    execution = {
        "lifetime_ms": window_ms, "horizon_ms": window_ms, "patience_ms": patience_ms, "slices": SLICES,
        "reprices_per_min": 60.0, "slippage_max_bp": SLIPPAGE_MAX_BP if style == "sweep" else 0.0, "participation": 0.2,
    }  # fmt: skip
    strategy = msgspec.convert(
        {
            "name": "tried", "models": [MODEL], "instruments": ["*"], "styles": [style], "order_quantity": scenario.quantity,
            "position_max": "1000000", "order_ttl_ms": window_ms, "execution": execution,
        },
        StrategySettings,
    )  # fmt: skip
    instruments = (InstrumentSettings(symbol=scenario.symbol, venue=scenario.venue),)
    # a book that stands still for a while is no reason to wait: quiet instruments are among these
    executor = ExecutorSettings(orders_per_s=1000.0, stale_ms=window_ms)
    mesh = Mesh(instruments=instruments, executor=executor, strategies=(strategy,))
    return Step(Config(mesh, NO_FOLDER), "")


def run(scenario: Scenario, style: str, begins: tuple[int, ...], frames: list[RecordedFrame], seed: int) -> list[ParentOutcome]:
    """One pass of a style through a scenario: the outcome of each parent, in order."""
    market = build_market(scenario, frames, seed, begins[-1])
    terms = TrialTerms(begins, scenario.window_s * SECOND, scenario.taker_fee)
    return Trial(market, build_step(scenario, style), mantissa(scenario.quantity), terms).run()
