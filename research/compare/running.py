"""`tickmesh.compare()`: live fills beside those of a simulated venue in the same time."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from os import PathLike

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.nodes.orders.accounts import account_venues
from tickmesh.research.backtest.live_orders import LiveOrders, down_of, read_live_orders, venue_of
from tickmesh.research.backtest.terms import VenueTerms, fees_of
from tickmesh.research.compare.fitting import Fit, fit, share_of
from tickmesh.research.compare.matching import ComparedOrder, compared, not_sent
from tickmesh.research.compare.simulated import simulate
from tickmesh.research.compare.whole import WholeComparison, compare_whole
from tickmesh.research.opening import settings_of
from tickmesh.storage.coverage.duration import ends_ns
from tickmesh.storage.query.coverage import lacking
from tickmesh.storage.query.durations import nanoseconds
from tickmesh.storage.query.gaps import touched
from tickmesh.storage.query.times import ReadError, Time, span_words, to_ns

NEVER_NS = (1 << 63) - 1
Shown = Callable[[int, int], object]  # (how many runs are done, of how many)


@dataclass(frozen=True)
class LiveComparison:
    """Live orders beside simulated ones. `orders`: in order of sending; `fit`: None where it was not asked for.

    share     of the live fills, those at the same price and of the same order, by quantity, orders weighing alike; NaN: no fill
    outcomes  orders by outcome; `reasons`: by reason, where there is a difference
    down      from, to (ns of the log) and which process of trading was not there; of sessions those of the accounts compared
    settings  of the simulated venue
    whole     of a backtest that decides anew; None: the orders that were sent are sent again
    accounts  the venues of the accounts whose orders are compared
    """

    orders: tuple[ComparedOrder, ...]
    share: float
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    down: tuple[tuple[int, int, str], ...]
    settings: Mapping[str, object]
    fit: Fit | None
    whole: WholeComparison | None = None
    accounts: tuple[str, ...] = ()

    @property
    def filled_live(self) -> int:
        return sum(one.live.filled > 0.0 for one in self.orders)


def compare(
    place: "str | PathLike[str] | Config | None" = None, start: Time = None, end: Time = None, queue: str = "",
    quotes: bool | None = None, fees: str = "", through: str = "shown", impact: bool = True, fitted: bool = True,
    shown: Shown = lambda done, of: None, whole: bool = False, every: str = "",
    account: str = "",
) -> LiveComparison:  # fmt: skip
    """Sets the fills of a live run beside those of a simulated venue in the same time.

    place       a mesh's folder, the present one, or a Config
    start, end  orders that were sent from start ≤ seq_ns < end
    queue, quotes, fees, through, impact
                of the simulated venue, as in `tickmesh.backtest`; queue and quotes else as they fit best, or without `fitted`
                as [exchange] says
    fitted      latency, queue and quotes are fitted: seven more runs
    whole       False: the orders that were sent are sent again, each when it arrived then. True: a backtest, in which the
                executor decides anew from the recorded signals on, with its settings of then and the latency that was measured
    every       with `whole`: "": a backtest of the whole, from the first event to the last. "5s": every 5 s it begins anew at
                the live state, what was held and open then; that shows how long a backtest follows, and is none of the whole
    account     the orders, fills and absences of the account at this venue alone, and with `fitted` its latency; "": of all
                accounts. With `whole` the executor decides over all of them even so: limits and profits are of all together

    That models and executor make the same of this recording, to the bit, is what `mesh replay --check` proves. Raises ReadError
    with a sentence for a time in which nothing was ordered, ArchiveError and LogError for damaged files.

    `tickmesh.compare(start="1h").share`
    """
    config = settings_of(place, "a comparison")
    every_ns = nanoseconds(every) if every else 0
    begin_ns, end_ns = to_ns(start) or 0, to_ns(end) or NEVER_NS
    if begin_ns >= end_ns:
        raise ReadError(f"the comparison is to start at {start} and to end at {end}; the end has to be after the start")
    subjects = tuple(sorted(one.subject for one in config.instruments))
    compared_subjects = _of_account(config, subjects, account)
    everything = read_live_orders(config, subjects)
    live = _within(everything, begin_ns, end_ns, compared_subjects)
    if not live.orders:
        raise ReadError(
            f"no order on {', '.join(compared_subjects)} was recorded {span_words(start, end)}, so there is nothing to compare"
        )
    ordered = tuple(subject for subject in subjects if any(one.subject == subject for one in live.orders))
    terms = VenueTerms(queue or config.exchange.queue, through, impact, fees_of(fees, config.exchange), quotes=bool(quotes))
    terms.checked()
    found = None
    if fitted and any(one.arrived_ns for one in live.orders):
        found = fit(config, live, ordered, terms, shown)
        best = next(one for one in found.queues if queue in ("", one.queue) and quotes in (None, one.quotes))
        terms = terms._replace(queue=best.queue, quotes=best.quotes)
    rows: list[ComparedOrder] = []
    about = None
    if whole:
        span_ns, first_ns = (begin_ns, end_ns), live.orders[0].sent_ns
        long_ns = max(live.orders[-1].sent_ns - first_ns, 1)
        rows, about = compare_whole(
            config, everything, subjects, terms, span_ns, every_ns, lambda of: _lost(config, of, begin_ns, end_ns),
            lambda ns: shown(min(max(ns - first_ns, 0), long_ns), long_ns), frozenset(compared_subjects),
        )  # fmt: skip
    else:
        for simulated in simulate(config, live, ordered, terms):
            rows += compared(simulated, _lost(config, simulated.subject, begin_ns, end_ns))
            kept = [one for one in live.orders if one.subject == simulated.subject and not one.arrived_ns]
            rows += not_sent(kept, down_of(live.down, (venue_of(simulated.subject),)), simulated.price, simulated.lots)
    rows.sort(key=lambda one: one.sent_ns)
    settings = {
        "queue": terms.queue, "quotes": terms.quotes, "through": terms.through, "impact": terms.impact,
        "maker_fee_ppm": terms.fees.maker_ppm, "taker_fee_ppm": terms.fees.taker_ppm,
    }  # fmt: skip
    outcomes = Counter(one.outcome for one in rows)
    reasons = Counter(one.reason for one in rows if one.reason)
    accounts = tuple(dict.fromkeys(venue_of(one.instrument) for one in rows)) if not account else (account,)
    down = tuple(down_of(live.down, accounts))
    return LiveComparison(tuple(rows), share_of(rows), outcomes, reasons, down, settings, found, about, accounts)


def _of_account(config: Config, subjects: tuple[str, ...], account: str) -> tuple[str, ...]:
    """Gives the instruments among these that the account trades; "": all. Raises ReadError where there is no such account."""
    known = account_venues(config)
    if account and account not in known:
        raise ReadError(
            f"there is no account {account!r}: this mesh trades on {', '.join(known) or 'none'}, one account a venue; "
            "without an account all are compared"
        )
    return tuple(one for one in subjects if account in ("", venue_of(one)))


def _within(live: LiveOrders, begin_ns: int, end_ns: int, subjects: Collection[str]) -> LiveOrders:
    """What was sent in a time on these instruments, with all that was asked about it later."""
    orders = [one for one in live.orders if begin_ns <= one.sent_ns < end_ns and one.subject in subjects]
    there = {id(one) for one in orders}
    others = [one for one in live.orders if id(one) not in there]
    return LiveOrders(orders, [one for one in live.requests if id(one.order) in there], live.down, others)


def _lost(config: Config, subject: str, begin_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """[begin, end] of what is missing or in doubt of an instrument's trades and books, by the venue's time."""
    found = []
    for kind in (Kind.trade, Kind.depth):
        rows = lacking(touched(config, kind, subject, begin_ns or None, None if end_ns == NEVER_NS else end_ns))
        found += list(zip(rows["begin_ns"].tolist(), np.asarray(ends_ns(rows)).tolist()))
    return found


def is_good(share: float, least: float) -> bool:
    """Whether a share is there and at least so large."""
    return not math.isnan(share) and share >= least
