"""`mesh compare`: live fills beside the simulated venue's, and the settings that fit them."""

import csv
import io
import math
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.config import ConfigError
from tickmesh.bus.segments import LogError
from tickmesh.research.compare.fitting import Fit, Spread
from tickmesh.research.compare.matching import REASONS, ComparedOrder, VenueResult
from tickmesh.research.compare.running import LiveComparison, compare, is_good
from tickmesh.research.compare.whole import WholeComparison
from tickmesh.storage.query.coverage import iso
from tickmesh.tools.progress import progress
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, out

DIFFERENCES_SHOWN = 20
MS = 1e6
OUTCOMES = {
    "same": "filled at the same prices by both, as much",
    "other": "filled by both, at another price or by another quantity",
    "only_live": "filled live alone",
    "only_backtest": "filled by the simulated venue alone",
    "unfilled": "filled by neither",
}


class CompareChoice(NamedTuple):
    """What the command was asked for; the words of `tickmesh.compare`."""

    start: str | None
    end: str | None
    queue: str
    quotes: bool | None
    fees: str
    through: str
    impact: bool
    fitted: bool
    whole: bool
    every: str
    account: str


def run(place: Path | None, choice: CompareChoice) -> LiveComparison:
    """Compares, with a bar on stderr. Raises Failure with a sentence."""
    try:
        with progress("compare") as shown:
            return compare(place, **choice._asdict(), shown=shown)
    except (LogError, ConfigError) as error:
        raise Failure(str(error)) from None


def demand(found: LiveComparison, least: float) -> None:
    """Raises Failure where a smaller share than `least` is reproduced."""
    if least and not is_good(found.share, least):
        share = "no order was filled" if math.isnan(found.share) else f"{found.share:.2%} of the live fills are reproduced"
        raise Failure(f"{share}, and {least:.2%} at least are asked for; the table of `mesh compare` says why")


def summary(found: LiveComparison) -> JsonObject:
    """What `--json` prints (docs/compare.md)."""
    return {
        "schema": 1, "accounts": list(found.accounts), "share": _number(found.share), "orders": len(found.orders),
        "filled_live": found.filled_live, "outcomes": dict(found.outcomes), "reasons": dict(found.reasons),
        "settings": dict(found.settings),
        "down": [{"from": iso(begin), "to": iso(end), "process": name} for begin, end, name in found.down],
        "fit": _fit(found.fit) if found.fit else None, "whole": _whole(found.whole) if found.whole else None,
        "rows": [_row(one) for one in found.orders],
    }  # fmt: skip


def as_csv(found: LiveComparison) -> str:
    """The orders as CSV, one a line."""
    rows = [_flat(_row(one)) for one in found.orders]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show(found: LiveComparison) -> None:
    """Prints for a person: the share, what became of orders, the differences, and the settings that fit."""
    share = "no order was filled" if math.isnan(found.share) else f"{found.share:.2%} of the live fills at the same price"
    out.print(f"{share}: {found.filled_live:,} filled orders of {len(found.orders):,}.", style="bold", markup=False)
    for name, count in found.outcomes.items():
        out.print(f"  {count:>7,}  {OUTCOMES[name]}", markup=False)
    for name, count in found.reasons.items():
        out.print(f"  {count:>7,}  {name}: {REASONS[name]}", markup=False)
    if found.whole:
        _show_whole(found.whole)
    _show_differences([one for one in found.orders if one.reason and (one.live.filled or one.backtest.filled)])
    if found.fit:
        _show_fit(found.fit)


def _show_whole(whole: WholeComparison) -> None:
    every = f", begun anew at the live state every {whole.every_ns / 1e9:g} s (no backtest of the whole)"
    anew = every if whole.every_ns else ", from the first event on"
    sent = f"sent {whole.orders:,} orders, of which {whole.filled:,} were filled"
    made = f"of {whole.intents:,} live intents its executor made {whole.equal:,} again, to the bit"
    out.print(f"The backtest{anew}, {sent}; {made}.", markup=False)
    if (first := whole.parting) is not None:
        where = f"event {first.seq} at {iso(first.at_ns)}, {first.about}"
        out.print(f"First difference: {where}: {first.live} live, {first.backtest} here.", markup=False)
    for sentence in whole.notes:
        out.print(sentence, markup=False)


def _show_differences(rows: list[ComparedOrder]) -> None:
    if not rows:
        return
    table = TerminalTable(box=None, header_style="bold", least=("order",))
    filled = ("filled live", "filled here")
    for header in ("sent", "instrument", "strategy", "order", *filled, "price", "later ms", "slippage bp", "why"):
        table.add_column(header)
    for one in rows[:DIFFERENCES_SHOWN]:
        later = "" if one.later_ns is None else f"{one.later_ns / MS:+.1f}"
        table.add_row(
            iso(one.sent_ns) or "", one.instrument, one.strategy, one.client_order_id, f"{one.live.filled:g}",
            f"{one.backtest.filled:g}", _both(one, "price", "g"), later, _both(one, "slippage_bp", ".2f"), one.reason,
        )  # fmt: skip
    out.print(table)
    if len(rows) > DIFFERENCES_SHOWN:
        out.print(f"{len(rows) - DIFFERENCES_SHOWN:,} more: --csv has all.", markup=False)


def _both(one: ComparedOrder, name: str, how: str) -> str:
    values = [getattr(side, name) for side in (one.live, one.backtest)]
    shown = ["–" if math.isnan(value) else format(value, how) for value in values]
    return " → ".join(shown)


def _show_fit(fit: Fit) -> None:
    latency = fit.latency
    out.print(f"\nLatency of {latency.orders:,} orders, ms (5 %, median, 95 %):", markup=False)
    for name, spread in (("entry", latency.entry), ("of it sending", latency.sending), ("response", latency.response)):
        out.print(f"  {name:<14} {spread.p5:8.2f} {spread.p50:8.2f} {spread.p95:8.2f}", markup=False)
    out.print("Queue models, by resting orders (live fills that they miss, and fills beyond them):", markup=False)
    for one in fit.queues:
        name = f"{one.queue}{', quotes' if one.quotes else ''}"
        out.print(f"  {name:<26} missed {one.missed:7.2%}  extra {one.extra:7.2%}", markup=False)
    out.print(f"With the medians for every order {fit.constant_share:.2%} of the live fills at the same price. To paste:")
    for line in pasted(fit):
        out.print(line, markup=False)


def pasted(fit: Fit) -> list[str]:
    """The lines of mesh.toml, and the command, with what fits best."""
    entry, response, best = fit.latency.entry.p50, fit.latency.response.p50, fit.best
    quotes = " --quotes" if best.quotes else ""
    return [
        "[exchange]", f"entry_ms = {entry:.3f}", f"response_ms = {response:.3f}", f'queue = "{best.queue}"',
        f"# mesh backtest --latency {entry:.3f},{response:.3f} --queue {best.queue}{quotes}",
    ]  # fmt: skip


def _fit(fit: Fit) -> JsonObject:
    latency = fit.latency

    def spread(of: Spread) -> JsonObject:
        return {"p5_ms": of.p5, "p50_ms": of.p50, "p95_ms": of.p95}

    return {
        "orders": latency.orders, "entry": spread(latency.entry), "sending": spread(latency.sending),
        "response": spread(latency.response), "queues": [one._asdict() for one in fit.queues],
        "constant_share": _number(fit.constant_share), "paste": pasted(fit),
    }  # fmt: skip


def _whole(whole: WholeComparison) -> JsonObject:
    first = whole.parting
    parting = first and {
        "seq": first.seq, "at": iso(first.at_ns), "about": first.about, "live": first.live, "backtest": first.backtest,
    }  # fmt: skip
    return {
        "every_s": whole.every_ns / 1e9, "orders": whole.orders, "filled": whole.filled, "intents": whole.intents,
        "intents_equal": whole.equal, "first_difference": parting, "notes": list(whole.notes),
    }  # fmt: skip


def _row(one: ComparedOrder) -> JsonObject:
    return {
        "instrument": one.instrument, "strategy": one.strategy, "client_order_id": one.client_order_id, "side": one.side,
        "type": one.type, "price": one.price, "quantity": one.quantity, "sent": iso(one.sent_ns), "outcome": one.outcome,
        "reason": one.reason, "same": one.same, "live": _side(one.live), "backtest": _side(one.backtest),
        "later_ms": None if one.later_ns is None else one.later_ns / MS,
    }  # fmt: skip


def _side(side: VenueResult) -> JsonObject:
    return {
        "status": side.status, "filled": side.filled, "price": _number(side.price), "first_fill": iso(side.first_fill_ns),
        "slippage_bp": _number(side.slippage_bp),
    }  # fmt: skip


def _flat(row: JsonObject) -> JsonObject:
    """A row without maps in it: `live_filled` for `live` → `filled`."""
    out: JsonObject = {}
    for name, value in row.items():
        out |= {f"{name}_{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return out


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
