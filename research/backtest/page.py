"""The report of a backtest as one HTML page that needs nothing else: no network, no script, light and dark, for a phone too."""

import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import msgspec
import numpy as np

from tickmesh.research.backtest import plots
from tickmesh.research.backtest.measures.equity import EquityCurve, equity_at_changes, instruments_dealt, no_curve_why
from tickmesh.research.backtest.measures.mids import Mids
from tickmesh.research.backtest.report import BacktestReport, all_mids, plain
from tickmesh.research.backtest.result import BacktestResult
from tickmesh.research.backtest.sections import ReportTable, sections, time_text

INSTRUMENTS_MAX = 8  # that are drawn: a page stays small enough to be sent
STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fff;--dim:#6b6b76;--line:#dcdce2;--main:#0072b2;
--gain:#007d5b;--loss:#c04a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6ea;--paper:#16161a;--dim:#9a9aa5;--line:#34343c;--main:#6db9ee;--gain:#3fd6a6;
--loss:#ff9d5c}}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}.missing{color:var(--loss);font-weight:600}
p,dd,.dim,figcaption{color:var(--dim)}.missing,.missing p{color:var(--loss)}figure{margin:1rem 0}figcaption{font-size:.85rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;padding-left:0}details{font-size:.85rem}dt{font-weight:600}dd{margin:0 0 .3rem}
figure{overflow-x:auto}
svg{width:100%;min-width:44rem;height:auto;display:block}svg text{fill:var(--dim);font-size:12px}svg path{fill:none}
.grid{stroke:var(--line);stroke-width:.6}.curve{stroke:var(--main);stroke-width:1.3}svg .fall{fill:var(--loss);fill-opacity:.45}
.price{stroke:var(--dim);stroke-width:1}svg .bought{fill:var(--gain)}svg .sold{fill:var(--loss)}
.all,.maker,.taker{fill:none;stroke-width:1.4}.all{stroke:var(--main)}.maker{stroke:var(--gain)}.taker{stroke:var(--loss)}
.all circle{fill:var(--main)}.maker circle{fill:var(--gain)}.taker circle{fill:var(--loss)}
.sent{fill:var(--line)}.filled{fill:var(--main)}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem}
"""
# What a browser may load for this page: nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write(result: BacktestResult, report: BacktestReport, path: Path | str) -> None:
    """Writes the page of a result and its report (of the same backtest) into a file; one that is there is replaced."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(html(result, report), encoding="utf-8")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def html(result: BacktestResult, report: BacktestReport) -> str:
    """The page as text."""
    missing = "".join(f"<p>Missing data: {escape(one)}</p>" for one in report.coverage)
    notes = "".join(f"<p>{escape(one)}</p>" for one in report.notes)
    span = f"{time_text(report.start_ns)} … {time_text(report.end_ns)}"
    settings = msgspec.json.format(msgspec.json.encode(plain(report.settings)), indent=2).decode()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>Backtest {escape(span)}</title>'
        f"<style>{STYLE}</style></head><body>"
        + (f'<div class="missing">{missing}</div>' if missing else "")
        + f"<h1>Backtest: {escape(', '.join(report.strategies))} on {escape(', '.join(report.instruments))}</h1>"
        f"<p>{escape(span)}, UTC</p>{notes}{''.join(_figures(result, report))}"
        f"{''.join(map(_section, sections(report)))}"
        f"<h2>Settings</h2><p>What it takes to repeat this backtest.</p><pre>{escape(settings)}</pre></body></html>\n"
    )


def _section(section: ReportTable) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in section.headers)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in section.terms)
    reasons = "".join(f'<div class="dim">({place}) {escape(one)}</div>' for place, one in enumerate(section.reasons, 1))
    return (
        f'<h2>{escape(section.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f"{reasons}<details><summary>What is this?</summary><dl>{terms}</dl></details>"
    )


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _figures(result: BacktestResult, report: BacktestReport) -> Iterator[str]:
    mids = all_mids(result)
    if why := no_curve_why(result, mids):
        yield f"<p>There is no equity curve: {escape(why)}.</p>"
    else:
        yield from _equity(equity_at_changes(result, mids))
    dealt = instruments_dealt(result)
    for place in dealt[:INSTRUMENTS_MAX]:
        yield from _instrument(result, mids, place)
    if len(dealt) > INSTRUMENTS_MAX:
        yield f"<p>{len(dealt) - INSTRUMENTS_MAX} more instruments are not drawn.</p>"
    yield from _markouts(report)
    yield from _hours(report)


def _equity(curve: EquityCurve) -> Iterator[str]:
    times, equity = curve.time_ns.astype(np.float64), curve.equity
    ticks = plots.time_ticks(int(curve.time_ns[0]), int(curve.time_ns[-1]))
    frame = plots.frame_of(times, [equity], zero=True)
    yield _figure(
        plots.svg(frame, "Equity", [plots.steps(frame, times, equity, "curve")], ticks),
        "Equity: what was gained since the start, fees paid, positions at the mid; quote currency.",
    )
    fall = equity - np.maximum.accumulate(equity)
    frame = plots.frame_of(times, [fall], zero=True, height=130)
    yield _figure(
        plots.svg(frame, "Drawdown", [plots.steps(frame, times, fall, "fall", to_zero=True)], ticks),
        "Drawdown: how far the equity is below its highest value before.",
    )


def _instrument(result: BacktestResult, mids: Mapping[str, Mids], place: int) -> Iterator[str]:
    name = result.instruments[place]
    own = result.fills[result.fills["instrument"] == place]
    ticks = plots.time_ticks(result.start_ns, result.end_ns)
    edges = np.array([result.start_ns, result.end_ns])
    times = np.concatenate((edges[:1], own["time_ns"], edges[1:])).astype(np.float64)
    held = result.initial.get(name, 0.0) + np.cumsum(np.concatenate(([0.0], own["side"] * own["quantity"], [0.0])))
    frame = plots.frame_of(times, [held], zero=True, height=130)
    yield _figure(
        plots.svg(frame, f"Position of {name}", [plots.steps(frame, times, held, "curve")], ticks),
        f"Position of {name}, of all strategies.",
    )
    known = mids[name]
    inside = (known.time_ns >= result.start_ns) & (known.time_ns <= result.end_ns)
    at, mid = known.time_ns[inside].astype(np.float64), known.mid[inside]
    if len(at):  # the last one stands until the end
        at, mid = np.append(at, float(result.end_ns)), np.append(mid, mid[-1])
    frame = plots.frame_of(edges.astype(np.float64), [mid, own["price"]])
    drawn = [plots.steps(frame, at, mid, "price")] if len(at) else []
    shown = 0
    for side, style in ((1, "bought"), (-1, "sold")):
        fills = own[own["side"] == side]
        shapes, count = plots.markers(frame, fills["time_ns"].astype(np.float64), fills["price"], side > 0, style)
        drawn.append(shapes)
        shown += count
    yield _figure(
        plots.svg(frame, f"Price of {name} with fills", drawn, ticks),
        f"{name}: mid price, bought ▲ and sold ▼. {shown} of {len(own)} fills have a place of their own on the picture."
        + ("" if len(at) else " There are no quotes."),
    )


def _markouts(report: BacktestReport) -> Iterator[str]:
    series = {}
    for curve, aside in zip(report.markouts, (-0.05, 0.0, 0.05)):  # so that their intervals do not lie on each other
        points = []
        for place, point in enumerate(curve.points):
            mean = point.mean
            if mean.value is not None:
                low, high = (mean.value if edge is None else edge for edge in (mean.low, mean.high))
                points.append((place + aside, mean.value, low, high))
        if points:
            series[curve.of] = points
    if not series:
        return
    horizons = [point.horizon_ns for point in report.markouts[0].points]
    values = [np.array([point[1:] for point in points]).ravel() for points in series.values()]
    frame = plots.frame_of(np.array([-0.5, len(horizons) - 0.5]), values, zero=True)
    ticks = [(float(place), f"{horizon / 1e9:g} s") for place, horizon in enumerate(horizons)]
    drawn = [plots.whiskers(frame, points, of) for of, points in series.items()]
    yield _figure(
        plots.svg(frame, "Markouts", drawn, ticks),
        "Markouts in basis points after each fill, before fees, 95 % intervals: all fills blue, maker green, taker orange.",
    )


def _hours(report: BacktestReport) -> Iterator[str]:
    sent, filled = np.array(report.hours).T
    if not sent.any():
        return
    frame = plots.Frame(0.0, 24.0, 0.0, float(sent.max()) * 1.05)
    hours = np.arange(24.0) + 0.1
    drawn = [plots.bars(frame, hours, sent, 0.8, "sent"), plots.bars(frame, hours, filled, 0.8, "filled")]
    ticks = [(hour + 0.5, f"{hour:02d}") for hour in range(0, 24, 3)]
    yield _figure(
        plots.svg(frame, "Orders by hour", drawn, ticks),
        "Orders sent (grey) and of them filled (blue), by hour of the day, UTC.",
    )
