"""`tickmesh.backtest()`: recorded data through models, the executor's own step and a simulated venue."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from os import PathLike

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.nodes.exchange.market.latency import LatencyModel
from tickmesh.nodes.exchange.orders.margin import LEVERAGE_DEFAULT
from tickmesh.nodes.executor.node import Step as ExecutorStep
from tickmesh.nodes.model.node import Step as ModelStep
from tickmesh.research.backtest.blind import one_event_at_a_time
from tickmesh.research.backtest.course import NEVER_NS, BacktestCourse, NamedModel
from tickmesh.research.backtest.late_start import in_force, last_before
from tickmesh.research.backtest.recorded_latency import recorded_latency
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.tape import tapes
from tickmesh.research.backtest.terms import (
    RECORDED,
    VenueTerms,
    assets_of,
    balances_of,
    fees_of,
    latency_of,
    order_limits_of,
    usdm_fees_of,
)
from tickmesh.research.opening import settings_of
from tickmesh.research.sources import MeshSource
from tickmesh.storage.query.coverage import described, lacking, span_text
from tickmesh.storage.query.gaps import touched
from tickmesh.storage.query.names import several
from tickmesh.storage.query.recorded import recorded_spans
from tickmesh.storage.query.times import ReadError, Time, span_words, to_ns

COVERED_KINDS = (Kind.trade, Kind.quote, Kind.depth)
DAY_NS = 86_400 * 10**9
WARM_UNITS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": DAY_NS}
WARM_MOST_NS = 3650 * DAY_NS
LOOKBACKS = 2  # of what a model says that its state depends on, as when a live one is warmed up
EXCHANGE = "as [exchange] of mesh.toml says"
INTERVALS_SHOWN = 3  # of one stream
Shown = Callable[[int, int, int], object]  # (start, how far it is, end), ns of the log


def backtest(
    place: "str | PathLike[str] | Config | None" = None, start: Time = None, end: Time = None,
    strategies: str | Iterable[str] = (), latency: str = "", queue: str = "", fees: str = "", through: str = "shown",
    impact: bool = True, seed: int = 1, shown: Shown | None = None, balances: str = "", leverage: int = LEVERAGE_DEFAULT,
    order_limits: str = "", warm_up: str = "", quotes: bool = False,
) -> BacktestResult:  # fmt: skip
    """Trades what was recorded from start ≤ seq_ns < end as mesh.toml says, at a simulated venue (docs/backtest.md).

    place       a mesh's folder, the present one, or a Config
    strategies  of these names, whatever their `state` is; else all but those that are off
    latency     ms one way ("5"), entry and response ("5,3"), a file of measured ones, "recorded": those of the orders in the
                recording; else those of [exchange]
    queue       risk_averse, probability_power, probability_log; else that of [exchange]
    fees        "spot", "free" …, or maker and taker in basis points ("2,5"); else those of [exchange]
    through     what an order gets beyond whose price something trades: as much ("shown"), or all that it wants ("whole")
    impact      what our orders take is gone until the level changes; False: the next order that arrives gets it again
    seed        of what is drawn
    balances    what the accounts begin with: "USDT=1000,BTC=0.5", all else 0; "unchecked": no order is refused for want of it;
                else those of [exchange]
    leverage    of USD-M contracts
    order_limits  "unchecked": the venues take any number of orders; else as many as [exchange] says
    warm_up     how long before `start` models and executor begin to see the market ("1h"), without trading; "": models see the
                whole recording, the executor what comes from `start` on
    quotes      an order's place in the best level follows the quotes too, which are newer than the books' changes

    Models see the recording up to each event, orders are made from `start` on, and positions begin at 0. Raises
    ReadError with a sentence for what cannot be traded, and ModelFault for a model that fails.

    `tickmesh.backtest(start="2024-08-09", end="2024-08-10", latency="5,3", queue="probability_power").fills`
    """
    config = _with_strategies(settings_of(place, "a backtest"), several(strategies, "strategies"))
    latency, fees, warm_up = (str(given) for given in (latency, fees, warm_up))  # 5 for "5"
    span_ns = to_ns(start), to_ns(end)
    begin_ns, end_ns = (0 if span_ns[0] is None else span_ns[0]), (NEVER_NS if span_ns[1] is None else span_ns[1])
    if begin_ns >= end_ns:
        raise ReadError(f"the backtest is to start at {start} and to end at {end}; the end has to be after the start")
    exchange, subjects = config.exchange, tuple(sorted(one.subject for one in config.traded))
    way: LatencyModel
    way = recorded_latency(config, subjects) if latency == RECORDED else latency_of(latency, exchange, seed)
    terms = VenueTerms(
        queue or exchange.queue, through, impact, fees_of(fees, exchange), way, usdm_fees_of(fees, exchange),
        balances_of(balances, exchange, subjects), leverage, order_limits_of(order_limits, exchange), quotes,
    ).checked()  # fmt: skip
    warm_ns = _warm_ns(warm_up, start)
    by_ticks = any(one.execution.improve_ticks for one in config.strategies_resolved)
    names = tuple(one.name for one in config.strategies_resolved)
    models = _models(config)
    executor = ExecutorStep(config, "")
    course = BacktestCourse(
        executor, models, subjects, names, terms, (begin_ns, end_ns), warm_ns=warm_ns, prices_by_ticks=by_ticks
    )
    last_ns = MeshSource(config).now()[1] if shown and end is None else end_ns
    kinds = {kind for model in models for kind in model.step.kinds}
    books_ns = None if span_ns[0] is None else span_ns[0] - (warm_ns or 0)
    lags = any(one.execution.venue_lag_max_ms for one in config.strategies_resolved)
    needs_ns = _needs_ns(models, span_ns[0], warm_ns)
    after = 0 if needs_ns is None else last_before(config, needs_ns)
    others = {subject for model in models for subject in model.step.states.subjects}
    opening = in_force(config, after, subjects, others) if after else None
    course.run(
        tapes(config, subjects, kinds, executor.reads, books_ns, span_ns[1], lags, opening),
        lambda ns: shown(course.first_ns or ns, ns, last_ns) if shown else None,
    )
    if not course.first_ns:
        raise ReadError(f"{', '.join(subjects)}: nothing is recorded {span_words(start, end)} that could be traded")
    fills = course.session.fills()
    last_fill_ns = int(fills["time_ns"][-1]) if len(fills) else 0  # an order may arrive after the last thing that was recorded
    return BacktestResult(
        subjects, names, course.first_ns, max(min(end_ns, course.last_ns + 1), last_fill_ns), fills, course.session.orders(),
        course.marks(), dict.fromkeys(subjects, 0.0),
        _settings(terms, latency, seed, models, executor, course) | {
            "balances": balances or EXCHANGE, "order_limits": order_limits or EXCHANGE, "warm_up": warm_up,
        },
        (*_lacks(config, subjects, *span_ns), *_not_warm(models, warm_up, warm_ns), *_unknown(course)),
    )  # fmt: skip


def _with_strategies(config: Config, names: tuple[str, ...]) -> Config:
    """The settings with those strategies that are to trade, live."""
    known = {one.name: one for one in config.strategies}
    for name in names:
        if name not in known:
            raise ReadError(f"there is no strategy {name!r} in mesh.toml; there are {', '.join(known)}")
    chosen = [known[name] for name in names] if names else [one for one in known.values() if one.state != "off"]
    live = tuple(msgspec.structs.replace(one, state="live") for one in chosen)
    out = Config(msgspec.structs.replace(config.mesh, strategies=live), config.root)
    if not out.traded:
        raise ReadError("no strategy of mesh.toml trades an instrument of it; state them in [[strategies]] or [executor]")
    return out


def _warm_ns(text: str, start: Time) -> int | None:
    """How long a warm-up is, in ns; None for none. Raises ReadError."""
    if not text:
        return None
    if start is None:
        raise ReadError(f"a warm-up of {text} lies before the start, and none is given; give one")
    unit = WARM_UNITS.get(text[-1:], 0)
    try:
        seconds = float(text[:-1])
    except ValueError:
        seconds = -1.0
    if not unit or not 0 <= seconds * unit <= WARM_MOST_NS:
        raise ReadError(
            f"a warm-up of {text!r} is none; allowed are 30s, 5m, 1h, 2d and the like, up to {WARM_MOST_NS // DAY_NS}d"
        )
    return int(seconds * unit)


def _needs_ns(models: tuple[NamedModel, ...], start_ns: int | None, warm_ns: int | None) -> int | None:
    """From when on models and executor need the market, by what models declare of their past; None: from the beginning."""
    if start_ns is None:
        return None
    if warm_ns is not None:
        return start_ns - warm_ns
    pasts = [model.step.lookback_ns for model in models]
    return start_ns - LOOKBACKS * max(pasts) if all(pasts) else None


def _unknown(course: BacktestCourse) -> Iterable[str]:
    """Sentences about instruments whose steps nobody knows."""
    for subject, what in course.unknown_steps.items():
        yield f"the {what} of {subject} is not known: orders are made, and taken, in steps that its venue may refuse"


def _not_warm(models: tuple[NamedModel, ...], text: str, warm_ns: int | None) -> Iterable[str]:
    """Sentences about the models that look back further than the warm-up."""
    for model in models:
        if warm_ns is not None and not 0 < model.step.lookback_ns <= warm_ns:
            past = f"{model.step.lookback_ns / 1e9:g} s" if model.step.lookback_ns else "all of the past"
            yield f"{model.process} depends on {past}, and had a warm-up of {text}: live it would say something else at first"


def _models(config: Config) -> tuple[NamedModel, ...]:
    """The models whose signals a strategy acts on, in the order of their names; none of them sees what comes."""
    signalling = [one for one in config.models if not one.features]
    wanted = [one for one in signalling if any(_acts_on(strategy, one.name) for strategy in config.strategies_resolved)]
    if not wanted:
        raise ReadError("no strategy of mesh.toml acts on a model of it; `models` of [[strategies]] has their names")
    out = []
    for one in sorted(wanted, key=lambda one: one.name):
        step = ModelStep(config, one.name)
        step.wrap_kernel(one_event_at_a_time)
        out.append(NamedModel(f"model-{one.name}", step))
    return tuple(out)


def _acts_on(strategy: StrategySettings, model: str) -> bool:
    return any(fnmatchcase(model, pattern) for pattern in strategy.models)


def _settings(
    terms: VenueTerms, latency: str, seed: int, models: tuple[NamedModel, ...], executor: ExecutorStep, course: BacktestCourse
) -> dict[str, object]:
    """What a person must know to repeat it."""
    kernels = {model.process: {k: model.step.identity()[k] for k in ("kernel", "code", "parameters")} for model in models}
    return {
        "queue": terms.queue, "through": terms.through, "impact": terms.impact, "quotes": terms.quotes,
        "maker_fee_ppm": terms.fees.maker_ppm,
        "taker_fee_ppm": terms.fees.taker_ppm, "usdm_maker_fee_ppm": terms.usdm_fees.maker_ppm,
        "usdm_taker_fee_ppm": terms.usdm_fees.taker_ppm, "leverage": terms.leverage, "latency": latency or EXCHANGE,
        "seed": seed, "models": kernels, "executor": executor.identity(), "events": course.events, "signals": course.signals,
        "wakes": course.follower.wakes,
        "rejected": course.session.rejected, "refused": executor.counters()["refused"],
        "quote_currency": {subject: assets_of(subject)[1] for subject in course.market_volume},
        "market_volume": dict(course.market_volume),
    }  # fmt: skip


def _lacks(config: Config, subjects: tuple[str, ...], start_ns: int | None, end_ns: int | None) -> Iterable[str]:
    """Sentences about what is missing, or cannot be proven, of each stream, and about what is beyond the recording."""
    for subject, span in recorded_spans(config, Kind.depth, subjects).items():
        if beyond := span.beyond(start_ns, end_ns):
            yield f"{subject}: {beyond}"
    for subject in subjects:
        for kind in COVERED_KINDS:
            lost = lacking(touched(config, kind, subject, start_ns, end_ns))
            if len(lost):
                said = [f"{span_text(one)} ({one['state']}: {one['reason']})" for one in described(lost[:INTERVALS_SHOWN])]
                more = f", and {len(lost) - INTERVALS_SHOWN} more" if len(lost) > INTERVALS_SHOWN else ""
                yield f"{kind.name}.{subject} is not complete: {', '.join(said)}{more}"
