"""Profit and loss, realised and unrealised, before and after fees: by strategy and instrument, and in all."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tickmesh.research.backtest.measures.measure import Measure, measured, undefined
from tickmesh.research.backtest.measures.mids import Mids
from tickmesh.research.backtest.measures.round_trips import Deal, MatchedDeals, first_in_first_out, flat_to_flat
from tickmesh.research.backtest.result import BacktestResult

NO_STRATEGY = -1  # of orders that no strategy has, and what was held at the start where it cannot be said whose it was
NOBODY = "(none)"


@dataclass(frozen=True)
class ProfitRow:
    """Profit of one strategy in one instrument, or of several. Money is in quote currency.

    `net` = realised + unrealised − fees. `instrument` and `strategy` are "" where the row is of all of them; `position` is None
    for several instruments. `realised` is by average cost.
    """

    instrument: str
    strategy: str
    position: float | None
    realised: Measure
    realised_fifo: Measure
    unrealised: Measure
    unrealised_fifo: Measure
    fees: Measure
    net: Measure
    fills: int


@dataclass(frozen=True)
class MatchedBook:
    """What one strategy did in one instrument, matched both ways."""

    instrument: int
    strategy: int
    fifo: MatchedDeals
    average: MatchedDeals
    fees: float
    fills: int


def initial_strategy(result: BacktestResult) -> int:
    """Whose the position at the start is: the only strategy's, or nobody's (NO_STRATEGY)."""
    return 0 if len(result.strategies) == 1 else NO_STRATEGY


def strategy_name(result: BacktestResult, strategy: int) -> str:
    """The name of a strategy by its number; (none) of NO_STRATEGY."""
    return result.strategies[strategy] if strategy != NO_STRATEGY else NOBODY


def matched_books(result: BacktestResult, mids: Mapping[str, Mids]) -> list[MatchedBook]:
    """The books of all strategies and instruments in which something was held or dealt, in order of their numbers.

    A position at the start counts as bought at the first mid; where there is no quote its price is NaN.
    """
    fills = result.fills
    books = []
    pairs = {(int(one["instrument"]), int(one["strategy"])) for one in np.unique(fills[["instrument", "strategy"]])}
    held = {place: result.initial.get(name, 0.0) for place, name in enumerate(result.instruments)}
    pairs |= {(place, initial_strategy(result)) for place, quantity in held.items() if quantity}
    for instrument, strategy in sorted(pairs):
        own = fills[(fills["instrument"] == instrument) & (fills["strategy"] == strategy)]
        deals = [Deal(*row) for row in own[["time_ns", "side", "price", "quantity", "fee"]].tolist()]
        quantity = held[instrument]
        if quantity and strategy == initial_strategy(result):
            known = mids[result.instruments[instrument]].mid
            price = float(known[0]) if len(known) else float("nan")
            deals.insert(0, Deal(result.start_ns, 1 if quantity > 0 else -1, price, abs(quantity), 0.0))
        fifo = first_in_first_out(deals, instrument, strategy)
        average = flat_to_flat(deals, instrument, strategy)
        books.append(MatchedBook(instrument, strategy, fifo, average, float(own["fee"].sum()), len(own)))
    return books


def profit_rows(result: BacktestResult, mids: Mapping[str, Mids], books: list[MatchedBook]) -> list[ProfitRow]:
    """A row for each book; where there are several, one for each strategy and each instrument in all, and the last: in all."""
    rows = [_row(result, mids, book) for book in books]
    sums = []
    for name in dict.fromkeys(row.strategy for row in rows):
        sums.append(_sum(result, [row for row in rows if row.strategy == name], "", name))
    for name in dict.fromkeys(row.instrument for row in rows):
        sums.append(_sum(result, [row for row in rows if row.instrument == name], name, ""))
    return [*rows, *(sums if len(rows) > 1 else []), _sum(result, rows, "", "")]


def currencies(result: BacktestResult) -> Mapping[str, str]:
    """Quote currencies by subject, of the setting `quote_currency`; empty where it is not there."""
    given = result.settings.get("quote_currency")
    return {str(name): str(asset) for name, asset in given.items()} if isinstance(given, Mapping) else {}


def no_sum_why(result: BacktestResult, subjects: set[str]) -> str:
    """Why money of these instruments cannot be added up; "" where it can, or where no setting names their quote currencies."""
    found = sorted({asset for name, asset in currencies(result).items() if name in subjects})
    return f"the instruments are quoted in {' and '.join(found)}, which do not add up" if len(found) > 1 else ""


def _row(result: BacktestResult, mids: Mapping[str, Mids], book: MatchedBook) -> ProfitRow:
    subject = result.instruments[book.instrument]
    no_quotes = f"{subject} has no quotes"
    known = mids[subject].at(np.array([result.end_ns]))[0] if len(mids[subject].mid) else float("nan")

    def unrealised(one: MatchedDeals) -> Measure:
        return (
            Measure(0.0) if one.held == 0.0 else measured(one.held * known - one.cost, f"{no_quotes}, and is held at the end")
        )

    realised = measured(book.average.realised, f"{no_quotes}, and was held at the start")
    open_part = unrealised(book.average)
    return ProfitRow(
        subject, strategy_name(result, book.strategy), book.average.held, realised,
        measured(book.fifo.realised, realised.why), open_part, unrealised(book.fifo), Measure(book.fees),
        _added([realised, open_part, Measure(-book.fees)]), book.fills,
    )  # fmt: skip


def _added(parts: list[Measure]) -> Measure:
    total = 0.0
    for one in parts:
        if one.value is None:
            return one
        total += one.value
    return Measure(total)


def _sum(result: BacktestResult, rows: list[ProfitRow], instrument: str, strategy: str) -> ProfitRow:
    why = no_sum_why(result, {row.instrument for row in rows})

    def of(name: str) -> Measure:
        return undefined(why) if why else _added([getattr(row, name) for row in rows])

    position = sum(row.position or 0.0 for row in rows) if instrument else None
    return ProfitRow(
        instrument, strategy, position, of("realised"), of("realised_fifo"), of("unrealised"), of("unrealised_fifo"),
        of("fees"), of("net"), sum(row.fills for row in rows),
    )  # fmt: skip
