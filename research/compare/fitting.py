"""Settings of the simulated venue that reproduce the live fills best: latency from the log's stamps, queue by trying all."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.nodes.exchange.market.latency import ConstantLatency
from tickmesh.research.backtest.live_orders import LiveOrder, LiveOrders
from tickmesh.research.backtest.terms import QUEUES, VenueTerms
from tickmesh.research.compare.matching import ComparedOrder, compared
from tickmesh.research.compare.simulated import simulate

MS = 1e6
TRIED = [(queue, quotes) for queue in QUEUES for quotes in (False, True)]


class Spread(NamedTuple):
    """Quantiles of a latency, in ms."""

    p5: float
    p50: float
    p95: float


class LatencyFit(NamedTuple):
    """What orders took: `entry` from the event that they are about until the venue had them, of it `sending` from the intent
    on; `response` from there until the log had the answer."""

    orders: int
    entry: Spread
    sending: Spread
    response: Spread


class QueueTrial(NamedTuple):
    """How well a queue model fits. `missed`: the share of the resting orders' live fills that it lacks; `extra`: what it fills
    beyond them, as a share of the same."""

    queue: str
    quotes: bool
    missed: float
    extra: float


class Fit(NamedTuple):
    """`constant_share`: the share of live fills at the same price with the fitted queue and the two medians as latency."""

    latency: LatencyFit
    queues: tuple[QueueTrial, ...]
    constant_share: float

    @property
    def best(self) -> QueueTrial:
        return self.queues[0]


def fit_latency(orders: Sequence[LiveOrder]) -> LatencyFit:
    """The latencies of orders that reached the venue, of which there is one at least."""
    there = [one for one in orders if one.arrived_ns]
    entry = _spread([one.arrived_ns - one.cause_ns for one in there])
    sending = _spread([one.arrived_ns - one.sent_ns for one in there])
    return LatencyFit(len(there), entry, sending, _spread([max(one.answered_ns - one.arrived_ns, 0) for one in there]))


def fit(
    config: Config, live: LiveOrders, subjects: Sequence[str], terms: VenueTerms,
    shown: Callable[[int, int], object] = lambda done, of: None,
) -> Fit:  # fmt: skip
    """Tries every queue model, with and without quotes, with the orders' own latencies; the best is first.

    The one with the least missed and extra quantity of resting orders; of equals the one that is more careful. `shown`: called
    with how many runs are done, and of how many. Raises as `simulate` does.
    """
    trials, runs = [], len(TRIED) + 1
    for done, (queue, quotes) in enumerate(TRIED):
        shown(done, runs)
        trials.append(_tried(config, live, subjects, terms._replace(queue=queue, quotes=quotes)))
    queues = tuple(sorted(trials, key=lambda one: one.missed + one.extra))
    latency = fit_latency(live.orders)
    shown(len(TRIED), runs)
    way = ConstantLatency(latency.sending.p50, latency.response.p50)
    medians = terms._replace(queue=queues[0].queue, quotes=queues[0].quotes, latency=way)
    rows = [row for one in simulate(config, live, subjects, medians, exact=False) for row in compared(one, ())]
    shown(runs, runs)
    return Fit(latency, queues, share_of(rows))


def share_of(rows: Sequence[ComparedOrder]) -> float:
    """The share of the live fills that was filled at the same price, orders weighing alike; NaN without live fills."""
    shares = [one.same / one.live.filled for one in rows if one.live.filled]
    return float(np.mean(shares)) if shares else np.nan


def _tried(config: Config, live: LiveOrders, subjects: Sequence[str], terms: VenueTerms) -> QueueTrial:
    missed = extra = wanted = 0.0
    for simulated in simulate(config, live, subjects, terms):
        for order, row in zip(simulated.orders, compared(simulated, ())):
            if order.rests:
                whole = row.quantity
                missed += (row.live.filled - row.same) / whole
                extra += (row.backtest.filled - row.same) / whole
                wanted += row.live.filled / whole
    return QueueTrial(terms.queue, terms.quotes, missed / wanted if wanted else 0.0, extra / wanted if wanted else 0.0)


def _spread(values_ns: Sequence[int]) -> Spread:
    return Spread(*(float(one) / MS for one in np.percentile(values_ns, (5, 50, 95))))
