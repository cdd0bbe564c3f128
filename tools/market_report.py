"""`mesh market-report`: spread, depth, rates, latency, silences and lines of a recorded market; its best and worst minute."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tickmesh.research.database import Database
from tickmesh.research.market_quality import SHARES, MarketQuality, market_quality
from tickmesh.research.plot.market import PlottedMarket, PlotTerms, read_market
from tickmesh.research.plot.plotting import PICTURES, file_to_write
from tickmesh.research.plot.two_markets import MarketWindow, chosen, windows, write_two_markets
from tickmesh.storage.query.coverage import iso
from tickmesh.storage.query.times import ReadError, Time
from tickmesh.tools.extras import need
from tickmesh.tools.opened import reading
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out


def market_report(
    instrument: str, start: str | None, end: str | None, place: Path | None, plot: Path | None, window_s: float
) -> JsonObject:
    """Measures a market; with `plot`, draws its most efficient window and its worst one side by side. Raises Failure."""
    if plot is not None:
        try:
            file_to_write(plot)
        except ReadError as error:
            raise UsageFailure(str(error)) from None
        if plot.suffix.lower() not in PICTURES:
            raise UsageFailure(f"{plot}: the two windows are a picture; allowed are {', '.join(PICTURES)}")
        need("matplotlib", "plot", "a picture")
    with progress(f"reading {instrument}") as shown:
        result = as_json(reading(place, lambda db: market_quality(db, instrument, start, end, shown)))
        if plot is not None:
            try:
                result["windows"] = reading(place, lambda db: draw_two(db, instrument, start, end, plot, window_s))
            except OSError as error:
                raise Failure(f"{plot} cannot be written: {error.strerror or error}") from None
            result["plot"] = str(plot)
    return result


def draw_two(db: Database, instrument: str, start: Time, end: Time, plot: Path, window_s: float) -> JsonObject:
    """Draws the two windows into a file; gives what they are. Raises ReadError where there are not two with quotes."""
    whole = read_market(db, PlotTerms(instrument, start, end, False))
    found = chosen(windows(whole, round(window_s * 1e9)))
    if found is None:
        raise ReadError(f"{instrument} has too few quotes in there for two windows; take a longer span, or leave out --plot")
    calm, worst = found
    views = [_view(db, whole, one) for one in found]
    titles = f"{whole.instrument}, most efficient: {_words(calm)}", f"Its worst: {_words(worst)}"
    write_two_markets(views[0], views[1], plot, titles)
    return {"efficient": _described(calm), "worst": _described(worst)}


def _view(db: Database, whole: PlottedMarket, one: MarketWindow) -> PlottedMarket:
    try:
        return read_market(db, PlotTerms(whole.instrument, one.begin_ns, one.end_ns, False))
    except ReadError:  # not a row in it
        return PlottedMarket(whole.instrument, one.begin_ns, one.end_ns, coverage=whole.coverage)


def _words(one: MarketWindow) -> str:
    gone = f", {one.unavailable:.0%} of it without a market" if one.unavailable >= 0.005 else ""
    return f"mean spread {one.spread:.4g}{gone}"


def _described(one: MarketWindow) -> JsonObject:
    spread = one.spread if one.spread == one.spread else None
    return {
        "start": iso(one.begin_ns),
        "end": iso(one.end_ns),
        "spread": spread,
        "trades": one.trades,
        "unavailable": one.unavailable,
    }


def as_json(found: MarketQuality) -> JsonObject:
    """What `--json` prints: the fields of `MarketQuality`, times in ISO 8601 (UTC), null for what is not known."""
    names = [f"p{share * 100:g}" for share in SHARES]

    def known(value: float) -> float | None:
        return value if value == value else None

    def shares(values: tuple[float, ...]) -> JsonObject:
        return dict(zip(names, map(known, values)))

    return {
        "instrument": found.instrument,
        "start": iso(found.start_ns),
        "end": iso(found.end_ns),
        "two_sided": found.two_sided,
        "spread_ppm": {"mean": known(found.spread.mean_ppm), **shares(found.spread.shares_ppm)},
        "depth_worth": shares(found.depth_worth),
        "rates": [one._asdict() for one in found.rates],
        "latency_ms": [
            {"of": one.of, "kind": one.kind, "rows": one.rows, "least": one.least_ms, **shares(one.shares_ms)}
            for one in found.latency
        ],
        "missing": found.missing,
        "silences": [
            {"kind": one.kind, "begin": iso(one.begin_ns), "end": iso(one.end_ns), "s": (one.end_ns - one.begin_ns) / 1e9}
            for one in found.silences
        ],
        "lines": [one._asdict() for one in found.lines],
    }


def show(result: JsonObject) -> None:
    """Prints the report for a person."""
    out.print(f"{result['instrument']}, {result['start']} … {result['end']} (UTC, of the log)", markup=False)
    spread, worth = result["spread_ppm"], result["depth_worth"]
    rows = [
        ("spread, ppm of the mid", spread["mean"], spread["p50"], spread["p95"], spread["p99"]),
        ("worth at the best price, at least, for the share of time", None, worth["p50"], worth["p95"], worth["p99"]),
    ]
    rows += [
        (f"{one['kind']}s, ms: {one['of']}; least {_number(one['least'])}", None, one["p50"], one["p95"], one["p99"])
        for one in result["latency_ms"]
    ]
    _table(("", "mean", "50 %", "95 %", "99 %"), [(name, *map(_number, values)) for name, *values in rows])
    below = {one["of"].partition(",")[0] for one in result["latency_ms"] if (one["least"] or 0) < 0}
    for of in (of for of in BELOW_ZERO if of in below):
        out.print(f"{of} below 0: {BELOW_ZERO[of]}", markup=False)
    out.print(f"bid and ask for {result['two_sided']:.2%} of the time")
    rates = [(f"{one['kind']}s", f"{one['rows']:,}", _number(one["per_s"]), f"{one['busiest_s']:,}") for one in result["rates"]]
    _table(("", "rows", "a second", "busiest second"), rates)
    missing = ", ".join(f"{count} of {kind}s" for kind, count in result["missing"].items() if count) or "none"
    out.print(f"missing intervals: {missing}" + ("" if missing == "none" else " (mesh coverage --missing)"))
    _table(
        ("longest silences", "from", "to", "s"),
        [(f"{one['kind']}s", one["begin"], one["end"], _number(one["s"])) for one in result["silences"]],
    )
    if result["lines"]:
        lines = [
            (one["line"], one["kind"], f"{one['events']:,}", f"{one['firsts']:.1%}", str(one["disordered"]),
             *(_number(one[name]) for name in ("lead_p50_ms", "lag_p50_ms", "lag_p99_ms")))
            for one in result["lines"]
        ]  # fmt: skip
        _table(("line", "kind", "events", "firsts", "disordered", "ahead ms", "late ms", "late 99 %"), lines)
    if "plot" in result:
        out.print(f"drawn in {result['plot']}: the most efficient window and the worst", markup=False)


BELOW_ZERO = {  # of a delay: what it means that its shortest is below 0
    "venue → here": "the venue's clock was ahead of this machine's",
    "here → log": (
        "the log's time was behind this machine's clock, which it follows by at most 1 % "
        "(alerts clock_step, clock_slew; docs/decisions/time.md)"
    ),
}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=None)
    for place, name in enumerate(headers):
        table.add_column(name, justify="left" if not place else "right")
    for row in rows:
        table.add_row(*row)
    out.print(table)
